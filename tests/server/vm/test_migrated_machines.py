"""A machine that libvirt migrates between two hosts of a server is one machine with one chain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from engine.vm.lab import Guest, libvirt_daemon, remove_domain
from holdfast.server import tables
from holdfast.server.libvirt_references import host_reference

from .lab import HostedLab, bytes_of

pytestmark = pytest.mark.vm

_LEFT_DEFINED = (
    libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNSAFE
)


async def test_the_chain_of_a_machine_goes_on_where_it_has_migrated_to(
    lab: HostedLab, make_guest: Callable[..., Guest], tmp_path: Path
) -> None:
    guest = make_guest()
    with libvirt_daemon() as second:
        outcome = await lab.command("add-host", **second.named("kvm2"))
        assert outcome.made is not None, outcome.message
        job = await lab.job_of()
        added = {"reference": host_reference(outcome.made.uid)}
        assert (await lab.command("add-object", job, **added)).success
        await lab.backed_up(guest, job, 0)

        there = libvirt.open(second.uri)
        for checkpoint in guest.domain.listAllCheckpoints():
            checkpoint.delete()  # libvirt migrates no machine that has one
        guest.domain.migrate3(there, {"migrate_uri": f"unix://{tmp_path}/migration"}, _LEFT_DEFINED)
        assert guest.domain.isPersistent()
        moved = Guest(second, guest.name, guest.folder, there, guest.disks)
        moved.domain.resume()  # QEMU opens its disks for writing only then
        moved.domain.suspend()
        moved.write_something(1)
        session = await lab.run(job)
        [task] = (await lab.tasks(session.uid)).values()
        assert "Difference" in task.values["Reason"], task.values
        first, last = await lab.rows(tables.machine_point)
        assert first.reference == last.reference
        await lab.server.restore.point(last.uid, tmp_path / "restored")
        [disk] = (tmp_path / "restored").glob("*vda*")
        assert bytes_of(disk) == moved.disks["vda"].content
        remove_domain(second, moved.domain)
        there.close()
