"""Machines run from their restore point: kept through crashes, migrated, discarded, told of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from engine.lab import wait_until
from engine.vm.lab import Guest, Host, VirtualDisk
from holdfast.engine.errors import HypervisorUnavailable
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_machine import BackupJob, LibvirtMachine
from holdfast.engine.qcow2_header import read_header
from holdfast.server import instant_records, libvirt_platform, restore_sessions, tables
from holdfast.server.backup_server import BackupServer
from holdfast.server.messages import Command, InstantRecovery
from server.lab import HandClock

from .lab import (
    HostedLab,
    QuickPlatform,
    bytes_of,
    disks_of,
    entries,
    is_there,
    killed_at,
    running_hosted_lab,
)

pytestmark = pytest.mark.vm

MakeGuest = Callable[..., Guest]


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    made = tmp_path / "targets"
    made.mkdir()
    return made


def copy_of(guest: Guest, content: dict[str, bytes], targets: Path) -> Guest:
    """The machine "copy" that runs from a backup of another, to be written to.

    It is paused, since a guest without a system does nothing but use the processor.
    """
    disks = {
        target: VirtualDisk(
            target, targets / f"copy-{target}.instant.qcow2", "qcow2", bytearray(held)
        )
        for target, held in content.items()
    }
    copy = Guest(guest.host, "copy", targets, guest.connection, disks)
    if copy.domain.isActive():
        copy.domain.suspend()
    return copy


def ensure_held(copy: Guest) -> None:
    found = {target: bytes_of(path) for target, path in disks_of(copy.domain).items()}
    assert found == copy.contents()


def ensure_alone(copy: Guest, targets: Path) -> None:
    """The machine has its own files, and they are all there is."""
    paths = disks_of(copy.domain).values()
    assert sorted(paths) == sorted(targets.iterdir())
    for path in paths:
        assert read_header(path).backing_name is None


async def test_a_machine_that_runs_is_kept_when_it_was_to_be_stopped_too_late(
    lab: HostedLab, make_guest: MakeGuest, targets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = make_guest()
    point = await lab.backed_up(guest, await lab.job_of(guest), 0)
    runs, closing = asyncio.Event(), asyncio.Event()
    restore, close = libvirt_platform.restore_machine, LibvirtConnection.close

    async def restored(*arguments: Any) -> Any:
        found = await restore(*arguments)
        runs.set()
        return found

    async def slow(connection: LibvirtConnection) -> None:
        if runs.is_set() and not closing.is_set():
            closing.set()
            await asyncio.sleep(1)
        await close(connection)

    monkeypatch.setattr(libvirt_platform, "restore_machine", restored)
    monkeypatch.setattr(LibvirtConnection, "close", slow)
    wanted = {"new_name": "copy", "new_identifiers": True, "folder": str(targets)}
    session = await lab.begun("start-instant-recovery", point, **wanted)
    await closing.wait()
    assert (await lab.command("stop-restore", session)).success
    assert (await lab.ended(session)).values["Result"] == "Success"
    guest.connection.lookupByName("copy").suspend()
    # The point is held: the machine reads from it.
    (recovery,) = await recoveries(lab)
    assert recovery.state == "Running"
    await lab.done("discard-instant-recovery", recovery.uid)
    assert entries(targets) == []


async def recoveries(lab: HostedLab) -> list[InstantRecovery]:
    return await lab.server._store.read(instant_records.all_of)


def wanted(targets: Path) -> dict[str, Any]:
    return {"new_name": "copy", "new_identifiers": True, "folder": str(targets)}


async def test_a_machine_runs_from_its_backup_which_stays_until_it_has_migrated(
    lab: HostedLab, make_guest: MakeGuest, targets: Path
) -> None:
    guest = make_guest("vda", "vdb")
    job = await lab.job_of(guest, retention=2)
    await lab.backed_up(guest, job, 0)
    point, content = await lab.backed_up(guest, job, 1), guest.contents()
    before = lab.point_files()
    started = await lab.done("start-instant-recovery", point, **wanted(targets))
    assert started.values["JobType"] == "RestoreVm"
    assert started.relations == {"point": point}
    copy = copy_of(guest, content, targets)
    assert copy.domain.isActive()
    ensure_held(copy)
    [recovery] = await recoveries(lab)
    assert (recovery.name, recovery.state, recovery.point) == ("copy", "Running", point)
    assert (recovery.uuid, recovery.host_name) == (copy.uuid, "kvm1")
    copy.write_something(5)
    # A third point: the oldest would go, and be merged into the one that the machine runs from.
    guest.write_something(2)
    session = await lab.run(job)
    assert session.values["Result"] == "Warning"
    assert 'The machine "copy" runs from this backup' in session.values["FailureMessage"]
    assert len(await lab.points(guest.name)) == 3
    assert before.items() <= lab.point_files().items()
    removed = await lab.command("remove-host", lab.host)
    assert not removed.success
    # It moves while it writes.
    migrating = await lab.begun("migrate-instant-recovery", recovery.uid)
    refused = await lab.command("discard-instant-recovery", recovery.uid)
    assert "is moving to its own storage" in refused.message
    for number in range(6, 10):
        copy.write_something(number)
        await asyncio.sleep(0.05)
    ended = await lab.ended(migrating)
    assert (ended.values["Result"], ended.values["Progress"]) == ("Success", 100)
    assert before.items() <= lab.point_files().items()
    assert await recoveries(lab) == []
    ensure_alone(copy, targets)
    copy.write_something(3)
    # Nothing is held any more: the next session brings the chain down to what the job says.
    guest.write_something(3)
    assert (await lab.run(job)).values["Result"] == "Success"
    assert len(await lab.points(guest.name)) == 2
    ensure_held(copy)
    unknown = await lab.command("migrate-instant-recovery", recovery.uid)
    assert "Cannot find instant recovery" in unknown.message


async def test_discarding_and_failing_to_start_leave_nothing(
    lab: HostedLab, make_guest: MakeGuest, targets: Path
) -> None:
    guest = make_guest("vda", "vdb")
    point = await lab.backed_up(guest, await lab.job_of(guest), 0)
    before = lab.point_files()
    await lab.done("start-instant-recovery", point, **wanted(targets))
    copy = copy_of(guest, guest.contents(), targets)
    copy.write_something(5)
    twice = await lab.begun("start-instant-recovery", point, **wanted(targets))
    failed = await lab.ended(twice)
    assert "has a machine copy already" in failed.values["FailureMessage"]
    [recovery] = await recoveries(lab)
    copy.kill()
    # After the host went down and came up again, it starts where it was.
    copy.start()
    ensure_held(copy)
    # What somebody has put in the place of a layer is not Holdfast's to remove.
    layer = copy.disks["vda"].path
    layer.unlink()
    layer.write_bytes(b"somebody's")
    session = await lab.ended(await lab.begun("discard-instant-recovery", recovery.uid))
    assert session.values["Result"] == "Warning"
    assert f"{layer} stays: it is not the file" in session.values["FailureMessage"]
    assert await recoveries(lab) == []
    assert entries(targets) == [layer.name]
    assert layer.read_bytes() == b"somebody's"
    assert not is_there(lab.daemon, "copy")
    assert lab.point_files() == before


async def test_it_survives_that_the_server_is_killed_at_any_moment(
    tmp_path: Path, clock: HandClock, daemon: Host, make_guest: MakeGuest, targets: Path
) -> None:
    guest = make_guest("vda", "vdb")

    async def put_right() -> tuple[dict[str, Any], list[InstantRecovery]]:
        async with running_hosted_lab(tmp_path, clock, daemon) as lab:
            sessions = await lab.resources("RestoreSession")
            return sessions[-1].values, await recoveries(lab)

    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        job = await lab.job_of(guest)
        point = await lab.backed_up(guest, job, 0)
        before = lab.point_files()
    content = guest.contents()
    killed_at("naming", tmp_path, "start-instant-recovery", point, wanted(targets))
    assert entries(targets) != []
    session, found = await put_right()
    assert (session["Result"], found, entries(targets)) == ("Failed", [], [])
    killed_at("starting", tmp_path, "start-instant-recovery", point, wanted(targets))
    session, [recovery] = await put_right()
    assert (session["Result"], recovery.state) == ("Warning", "Running")
    copy = copy_of(guest, content, targets)
    copy.start()
    copy.write_something(5)
    killed_at("migrating", tmp_path, "migrate-instant-recovery", recovery.uid, {})
    copy.write_something(6)
    killed_at("pivoted", tmp_path, "migrate-instant-recovery", recovery.uid, {})
    # It is gone on with, and done, before anybody asks.
    session, found = await put_right()
    assert (session["Result"], session["Progress"], found) == ("Success", 100, [])
    ensure_alone(copy, targets)
    ensure_held(copy)
    copy.discard()
    wait_until(lambda: not is_there(daemon, "copy"))
    for name in entries(targets):
        (targets / name).unlink()
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        await lab.done("start-instant-recovery", point, **wanted(targets))
        [recovery] = await recoveries(lab)
    killed_at("discarding", tmp_path, "discard-instant-recovery", recovery.uid, {})
    session, found = await put_right()
    assert (session["Result"], found, entries(targets)) == ("Success", [], [])
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        assert lab.point_files() == before
        assert await lab.rows(tables.instant_recovery) == []


async def test_a_migration_goes_on_while_the_server_is_stopped_and_after(
    tmp_path: Path,
    clock: HandClock,
    daemon: Host,
    make_guest: MakeGuest,
    targets: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest("vda", "vdb")
    copying = asyncio.Event()

    async def never_done(_machine: LibvirtMachine, _target: str) -> BackupJob:
        copying.set()
        return BackupJob(0, 1)

    with monkeypatch.context() as patched:
        async with running_hosted_lab(tmp_path, clock, daemon) as lab:
            point = await lab.backed_up(guest, await lab.job_of(guest), 0)
            await lab.done("start-instant-recovery", point, **wanted(targets))
            [recovery] = await recoveries(lab)
            copy = copy_of(guest, guest.contents(), targets)
            copy.write_something(5)
            patched.setattr(LibvirtMachine, "block_job", never_done)
            session = await lab.begun("migrate-instant-recovery", recovery.uid)
            await copying.wait()
    # The server has stopped, and QEMU goes on.
    assert copy.domain.blockJobInfo("vda", 0)
    copy.write_something(6)
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        values = (await lab.resource("RestoreSession", session)).values
        assert (values["Result"], values["Progress"]) == ("Success", 100)
        assert await recoveries(lab) == []
        ensure_alone(copy, targets)
        ensure_held(copy)


async def test_the_point_is_held_when_nobody_knows_whether_the_machine_runs(
    tmp_path: Path,
    clock: HandClock,
    daemon: Host,
    make_guest: MakeGuest,
    targets: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest()
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        point = await lab.backed_up(guest, await lab.job_of(guest), 0)
    killed_at("starting", tmp_path, "start-instant-recovery", point, wanted(targets))
    asked = asyncio.Event()

    async def away(*_arguments: object) -> None:
        asked.set()
        raise HypervisorUnavailable("The host is away.")

    with monkeypatch.context() as patched:
        patched.setattr(QuickPlatform, "machine_disks", away)
        server = BackupServer(
            tmp_path / "server", "backup01", clock=clock, platform=QuickPlatform()
        )
        await server.start()
        try:
            await asked.wait()
            [row] = await server._store.read(restore_sessions.unfinished)
            stop = Command(request_id=uuid4(), operation="stop-restore", target=row.uid)
            assert (await server.execute(stop)).success
            await server.wait_until_idle()
        finally:
            await server.stop()
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        session = (await lab.resources("RestoreSession"))[-1].values
        assert session["Result"] == "Warning"
        assert "may run from its restore point" in session["FailureMessage"]
        [recovery] = await recoveries(lab)
        assert recovery.state == "Running"
        await lab.done("discard-instant-recovery", recovery.uid)
        assert (await recoveries(lab), entries(targets)) == ([], [])
    assert not is_there(daemon, "copy")


async def test_only_what_can_run_from_a_backup_does(lab: HostedLab, make_guest: MakeGuest) -> None:
    guest = make_guest()
    job = await lab.job_of(guest)
    point = await lab.backed_up(guest, job, 0)
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"disks": ["vda"]}, "whole, beside its original"),
        ({"overwrite": True}, "whole, beside its original"),
        ({"format": "raw", "folder": "/x"}, "whole, beside its original"),
    ]
    for options, reason in refusals:
        outcome = await lab.command("start-instant-recovery", point, **options)
        assert reason in outcome.message
    image = next(lab.repository_path.rglob("*.qcow2"))
    image.write_bytes(image.read_bytes() + b"x")
    begun = await lab.begun(
        "start-instant-recovery", point, new_name="copy", folder=str(lab.folder)
    )
    ended = await lab.ended(begun)
    assert "is damaged: it has" in ended.values["FailureMessage"]
    assert await recoveries(lab) == []
    # What a check has found is known before anything is read.
    assert (await lab.run(job, "check-job")).values["Result"] == "Warning"
    outcome = await lab.command(
        "start-instant-recovery", point, new_name="copy", folder=str(lab.folder)
    )
    assert "is damaged" in outcome.message
    assert "only restored with force" in outcome.message
    unknown = UUID(int=1)
    outcome = await lab.command("discard-instant-recovery", unknown)
    assert "Cannot find instant recovery" in outcome.message
