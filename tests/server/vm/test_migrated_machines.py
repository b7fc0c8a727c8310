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
        moved = Guest(second, guest.name, guest.folder, there, guest.disks)

        def migrate(source: Guest, target: Guest) -> None:
            uri = {"migrate_uri": f"unix://{tmp_path}/migration"}
            source.domain.migrate3(target.connection, uri, _LEFT_DEFINED)
            assert source.domain.isPersistent()
            target.domain.resume()  # QEMU opens its disks for writing only then
            target.domain.suspend()

        async def backed_up() -> str:
            session = await lab.run(job)
            [task] = (await lab.tasks(session.uid)).values()
            *_, last = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
            folder = tmp_path / str(last.uid)
            await lab.server.restore.point(last.uid, folder)
            [disk] = folder.glob("*vda*")
            assert bytes_of(disk) == guest.disks["vda"].content
            return str(task.values["Reason"])

        # There and back again: what was written there is not lost to the next point.
        migrate(guest, moved)
        moved.write_something(1)
        migrate(moved, guest)
        guest.write_something(2)
        await backed_up()
        migrate(guest, moved)
        moved.write_something(3)
        assert "Difference" in await backed_up()
        moved.write_something(4)
        assert "Changed blocks" in await backed_up()
        assert len({row.reference for row in await lab.rows(tables.machine_point)}) == 1
        remove_domain(second, moved.domain)
        there.close()
