"""A guest that a backup froze is thawed by the server, also after it or the host had ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from engine.vm.booted import KERNEL, is_frozen, let_run, with_agent
from engine.vm.lab import Guest, Host
from holdfast.engine import libvirt_push
from holdfast.engine.errors import HypervisorUnavailable
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.server import tables
from server.lab import HandClock

from .lab import HostedLab, killed_at, running_hosted_lab

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(not KERNEL.is_dir(), reason="make tools has not fetched a kernel"),
]


async def thawed(lab: HostedLab, guest: Guest) -> None:
    """Wait until the server has forgotten what a backup left; the guest must be thawed then."""

    async def forgotten() -> bool:
        return not await lab.rows(tables.left_backup)

    await lab.until(forgotten)
    assert not is_frozen(guest)
    guest.ensure_untouched()


async def test_a_guest_is_thawed_after_the_end_of_holdfast_and_of_its_host(
    tmp_path: Path,
    clock: HandClock,
    daemon: Host,
    make_guest: Callable[..., Guest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest(**with_agent(tmp_path))
    let_run(guest)
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        job = await lab.job_of(guest)
        assert (await lab.run(job)).values["Result"] == "Success"
        assert not await lab.rows(tables.left_backup)
    killed_at("frozen", tmp_path, "start-job", job, {})
    assert is_frozen(guest)
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        await thawed(lab, guest)

        async def losing(*_arguments: object) -> None:
            assert is_frozen(guest)
            daemon.kill()
            raise HypervisorUnavailable("The host is gone.")

        with monkeypatch.context() as changed:
            changed.setattr(LibvirtMachine, "begin_backup", losing)
            changed.setattr(libvirt_push, "_AWAY_SECONDS", 0.2)
            session = await lab.run(job)
        assert session.values["Result"] == "Failed"
        assert await lab.rows(tables.left_backup)
        await asyncio.to_thread(daemon.start)
        guest.connection = libvirt.open(daemon.uri)
        # At first the daemon is not connected with the agent: that proves nothing.
        await thawed(lab, guest)
