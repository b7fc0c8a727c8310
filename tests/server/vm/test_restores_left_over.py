"""Restores in place that crashed, and that nobody can put right at once: nothing is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import libvirt
import pytest

from engine.vm.lab import Guest, Host
from holdfast.server import restore_runner
from holdfast.server.backup_server import BackupServer
from server.lab import HandClock, Lab

from .lab import HostedLab, QuickPlatform, bytes_of, killed_at, running_hosted_lab

pytestmark = pytest.mark.vm

MakeGuest = Callable[..., Guest]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_runner, "_SETTLE_SECONDS", 0.2)


@asynccontextmanager
async def started(folder: Path, clock: HandClock) -> AsyncIterator[Lab]:
    """Run a server, and wait for nothing: what its hosts are needed for may take for ever."""
    server = BackupServer(folder / "server", "backup01", clock=clock, platform=QuickPlatform())
    await server.start()
    try:
        yield Lab(server, clock, folder)
    finally:
        await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


def held(guest: Guest) -> dict[str, bytes]:
    return {target: bytes_of(disk.path) for target, disk in guest.disks.items()}


async def two_points(lab: HostedLab, guest: Guest) -> tuple[UUID, dict[str, bytes]]:
    job = await lab.job_of(guest)
    point, before = await lab.backed_up(guest, job, 0), guest.contents()
    await lab.backed_up(guest, job, 1)
    return point, before


async def stopped(lab: Lab) -> str:
    """Stop the only restore; return why it has failed."""
    session = (await lab.resources("RestoreSession"))[-1]
    assert session.values["State"] != "Stopped"
    assert (await lab.command("stop-restore", session.uid)).success
    await lab.server.wait_until_idle()
    values = (await lab.resource("RestoreSession", session.uid)).values
    assert values["Result"] == "Failed"
    return str(values["FailureMessage"])


async def test_a_restore_in_place_that_is_stopped_while_its_host_is_away_is_finished_later(
    tmp_path: Path, clock: HandClock, daemon: Host, make_guest: MakeGuest
) -> None:
    guest = make_guest("vda", "vdb")
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        point, before = await two_points(lab, guest)
    guest.power_off()
    checkpoints = guest.checkpoints()
    assert checkpoints
    killed_at("naming", tmp_path, "restore-machine", point, {"overwrite": True})
    daemon.kill()
    try:
        async with started(tmp_path, clock) as plain:
            # The disks need no host: they are of one point before anything is waited for.
            await until(lambda: not list(guest.folder.glob("*.partial")))
            assert held(guest) == before
            reason = await stopped(plain)
            assert reason.startswith("The restore was stopped by operator. Its disks had begun")
    finally:
        daemon.start()
    guest.connection = libvirt.open(daemon.uri)
    assert guest.checkpoints() == checkpoints
    # Another start of the server, and the host is there again.
    async with started(tmp_path, clock):
        await until(lambda: guest.checkpoints() == [])
    assert held(guest) == before


async def test_what_a_stopped_restore_has_left_of_a_new_machine_goes_when_the_host_is_back(
    tmp_path: Path, clock: HandClock, daemon: Host, make_guest: MakeGuest
) -> None:
    guest = make_guest("vda", "vdb")
    targets = tmp_path / "targets"
    targets.mkdir()
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        point = await lab.backed_up(guest, await lab.job_of(guest), 0)
    wanted = {"new_name": "copy", "new_identifiers": True, "folder": str(targets)}
    killed_at("naming", tmp_path, "restore-machine", point, wanted)
    daemon.kill()
    try:
        async with started(tmp_path, clock) as plain:
            reason = await stopped(plain)
            assert reason.startswith("The restore was stopped by operator. What is left of it")
            # The machine may be there, so its disk has to be.
            assert (targets / "copy-vda.qcow2").exists()
            daemon.start()
            await until(lambda: not list(targets.iterdir()))
    finally:
        if daemon.process.poll() is not None:
            daemon.start()


async def test_disks_that_cannot_be_replaced_at_once_are_replaced_later(
    tmp_path: Path, clock: HandClock, daemon: Host, make_guest: MakeGuest
) -> None:
    guest = make_guest("vda", "vdb")
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        point, before = await two_points(lab, guest)
    guest.power_off()
    killed_at("naming", tmp_path, "restore-machine", point, {"overwrite": True})
    # Somebody has the other disk open.
    vdb = guest.disks["vdb"].path
    reading = await asyncio.create_subprocess_exec(
        "qemu-nbd", "--socket", str(tmp_path / "nbd"), "--persistent", "-f", "qcow2", str(vdb)
    )
    try:
        await until((tmp_path / "nbd").exists)
        async with started(tmp_path, clock) as lab:
            await lab.server.wait_until_idle()
            session = (await lab.resources("RestoreSession"))[-1].values
            assert session["Result"] == "Failed"
            assert "vdb.qcow2 is in use" in str(session["FailureMessage"])
            assert "there is no way back" in str(session["FailureMessage"])
            # What would remove the new disk is refused.
            outcome = await lab.command("restore-machine", point, overwrite=True)
            assert outcome.made is not None
            await lab.server.wait_until_idle()
            again = (await lab.resource("RestoreSession", outcome.made.uid)).values
            assert "An earlier restore has still to be put right" in again["FailureMessage"]
            reading.terminate()
            await reading.wait()
            await until(lambda: guest.checkpoints() == [])
            assert held(guest) == before
            assert not list(guest.folder.glob("*.partial"))
    finally:
        if reading.returncode is None:
            reading.kill()
            await reading.wait()
