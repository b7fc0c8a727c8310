"""A machine runs from its restore point, writes, moves to its own storage, or is taken away."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import libvirt
import pytest

from holdfast.engine import libvirt_instant
from holdfast.engine.errors import EngineError
from holdfast.engine.known_file import KnownFile
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import read_definition
from holdfast.engine.libvirt_instant import (
    discard_machine,
    move_to_own_storage,
    stop_moving,
)
from holdfast.engine.libvirt_machine import BackupJob, LibvirtMachine
from holdfast.engine.libvirt_restore import RestoredMachine, RestorePlan, restore_machine
from holdfast.engine.qcow2_header import read_header

from .lab import MIB, Guest, VirtualDisk, back_up, known
from .test_machine_restore import bytes_of

pytestmark = pytest.mark.vm


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    made = tmp_path / "targets"
    made.mkdir()
    return made


def state_of(folder: Path) -> dict[str, tuple[str, int, int, int]]:
    """The files of points: each one's SHA-256, owner, permissions and time of last change."""
    return {
        path.name: (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_uid,
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in folder.iterdir()
    }


async def running_from_backup(
    connection: LibvirtConnection, guest: Guest, folder: Path, targets: Path
) -> tuple[Guest, RestoredMachine]:
    """Two points of a machine, and another machine that runs from the second."""
    guest.write_something(0)
    older = await back_up(connection, guest, folder, "p0")
    guest.write_something(1)
    newer = await back_up(connection, guest, folder, "p1", older)
    plan = RestorePlan(newer.point, folder, targets, "copy", True, power_on=True, instant=True)
    restored = await restore_machine(connection, plan)
    # Paused, since a guest without a system does nothing but use the processor.
    guest.connection.lookupByName("copy").suspend()
    disks = {
        target: VirtualDisk(target, restored.disks[target], "qcow2", bytearray(disk.content))
        for target, disk in guest.disks.items()
    }
    return Guest(guest.host, "copy", targets, guest.connection, disks), restored


def own_disks(copy: Guest, targets: Path) -> dict[str, Path]:
    """The files of a machine's disks, which must be those that it moved to."""
    disks = read_definition(copy.domain.XMLDesc(0)).disks
    found = {disk.target: Path(str(disk.path)) for disk in disks}
    assert found == {target: targets / f"copy-{target}.t1.qcow2" for target in copy.disks}
    return found


def readable_by_others(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.stat().st_mode & 0o077]


async def test_it_writes_moves_while_it_writes_and_needs_the_point_no_more(
    connection: LibvirtConnection, guest: Guest, folder: Path, targets: Path, tmp_path: Path
) -> None:
    copy, restored = await running_from_backup(connection, guest, folder, targets)
    try:
        before = state_of(folder)
        copy.write_something(5)
        files = list(restored.disks.values())
        told: list[float] = []
        moving = asyncio.create_task(
            move_to_own_storage(
                connection,
                restored.uuid,
                known(files),
                "t1",
                lambda done: told.append(done.fraction),
            )
        )
        number = 6
        while not moving.done():
            copy.write_something(5 + number % 10)
            number += 1
            await asyncio.sleep(0.02)
        await moving
        assert told == sorted(told)
        assert told[-1] == 1.0
        moved = own_disks(copy, targets)
        assert sorted(targets.iterdir()) == sorted(moved.values())
        assert all(read_header(path).backing_name is None for path in moved.values())
        # All of it is on stable storage: it is there when QEMU is killed now.
        copy.kill()
        for target, path in moved.items():
            assert bytes_of(path, "qcow2", tmp_path / "out") == copy.contents()[target]
        copy.start()
        copy.write_something(3)
        assert state_of(folder) == before
        assert copy.domain.isActive()
        # As it starts next time, it is a machine as any other.
        copy.power_off()
        for point in folder.iterdir():
            point.rename(point.with_suffix(".away"))
        assert "backingStore" not in copy.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        copy.start()
        for target, path in own_disks(copy, targets).items():
            assert bytes_of(path, "qcow2", tmp_path / "out") == copy.contents()[target]
    finally:
        copy.discard()


async def test_a_copy_that_is_told_to_be_whole_too_early_is_waited_for(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    targets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """QEMU has copied all a moment before it can go on with the copy."""
    copy, restored = await running_from_backup(connection, guest, folder, targets)
    asked: list[bool] = []
    pivot = LibvirtMachine.pivot

    async def whole(_self: LibvirtMachine, _target: str) -> BackupJob:
        return BackupJob(1, 1)

    async def told(self: LibvirtMachine, target: str) -> bool:
        asked.append(await pivot(self, target))
        return asked[-1]

    monkeypatch.setattr(LibvirtMachine, "block_job", whole)
    monkeypatch.setattr(LibvirtMachine, "pivot", told)
    try:
        copy.write("vda", 0, 4 * MIB, 7)
        files = known(restored.disks.values())
        await move_to_own_storage(connection, restored.uuid, files, "t1")
        assert False in asked
        copy.domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
        for target, path in own_disks(copy, targets).items():
            assert bytes_of(path, "qcow2", tmp_path / "out") == copy.contents()[target]
    finally:
        copy.discard()


async def test_a_move_can_be_left_and_a_machine_can_be_taken_away(
    connection: LibvirtConnection, guest: Guest, folder: Path, targets: Path, tmp_path: Path
) -> None:
    copy, restored = await running_from_backup(connection, guest, folder, targets)
    before = state_of(folder)
    files = list(restored.disks.values())
    made = known(files)
    copy.write_something(5)
    # As after a crash: a job goes on that nobody follows.
    machine = LibvirtMachine(connection, restored.uuid)
    await machine.begin_copy("vda", targets / "copy-vda.t1.qcow2")
    await stop_moving(connection, restored.uuid, known(files), "t1")
    assert copy.domain.blockJobInfo("vda", 0) == {}
    assert sorted(targets.iterdir()) == files
    moving = asyncio.create_task(move_to_own_storage(connection, restored.uuid, known(files), "t1"))
    await asyncio.sleep(0)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    assert copy.domain.blockJobInfo("vda", 0) == {}
    assert sorted(targets.iterdir()) == files
    copy.kill()
    # The host was gone and is back: what was written is there.
    copy.start()
    for target, path in restored.disks.items():
        assert bytes_of(path, "qcow2", tmp_path / "out") == copy.contents()[target]
    assert await discard_machine(connection, restored.uuid, made, "t1") == []
    assert await discard_machine(connection, restored.uuid, made, "t1") == []
    assert list(targets.iterdir()) == []
    assert [domain.name() for domain in guest.connection.listAllDomains()] == [guest.name]
    assert state_of(folder) == before


async def test_a_machine_that_is_off_moves_and_cannot_be_started_meanwhile(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    targets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy, restored = await running_from_backup(connection, guest, folder, targets)
    before = state_of(folder)
    files = list(restored.disks.values())
    copy.write_something(5)
    copy.power_off()
    refused: list[str] = []
    real = libvirt_instant.run_qemu_image

    async def started_meanwhile(*arguments: Any, **more: Any) -> None:
        await real(*arguments, **more)
        with pytest.raises(libvirt.libvirtError) as error:
            copy.start()
        refused.append(str(error.value))

    async def fails(*_arguments: Any, **_more: Any) -> None:
        raise EngineError("No.")

    try:
        with monkeypatch.context() as patched:
            patched.setattr(libvirt_instant, "run_qemu_image", fails)
            with pytest.raises(EngineError, match="No"):
                await move_to_own_storage(connection, restored.uuid, known(files), "t1")
        assert sorted(targets.iterdir()) == files
        assert not readable_by_others(targets)
        monkeypatch.setattr(libvirt_instant, "run_qemu_image", started_meanwhile)
        await move_to_own_storage(connection, restored.uuid, known(files), "t1")
        assert len(refused) == len(files)
        assert all("lock" in reason for reason in refused)
        moved = own_disks(copy, targets)
        assert sorted(targets.iterdir()) == sorted(moved.values())
        assert not readable_by_others(targets)
        assert state_of(folder) == before
        for point in folder.iterdir():
            point.rename(point.with_suffix(".away"))
        copy.start()
        copy.write_something(6)
        for target, path in moved.items():
            assert read_header(path).backing_name is None
            assert bytes_of(path, "qcow2", tmp_path / "out") == copy.contents()[target]
    finally:
        copy.discard()


async def test_what_somebody_else_has_put_in_the_place_of_its_files_stays(
    connection: LibvirtConnection, guest: Guest, folder: Path, targets: Path
) -> None:
    copy, restored = await running_from_backup(connection, guest, folder, targets)
    layers = restored.disks
    made = known(layers.values())
    # QEMU has the layer open, whatever it is called.
    layers["vda"].rename(tmp := targets / "away")
    layers["vda"].write_bytes(b"somebody's")
    [said] = await move_to_own_storage(connection, restored.uuid, made, "t1")
    assert said.startswith(f"{layers['vda']} stays: it is not the file")
    assert layers["vda"].read_bytes() == b"somebody's"
    moved = own_disks(copy, targets)
    assert sorted(targets.iterdir()) == sorted([*moved.values(), layers["vda"], tmp])
    # Of what an older version has made nobody knows more than the name.
    layers["vdb"].write_bytes(b"unknown")
    unknown = [KnownFile(str(path)) for path in layers.values()]
    said_of = await discard_machine(connection, restored.uuid, unknown, "t1")
    assert [sentence.split(",")[0] for sentence in said_of] == [
        f"{p} stays" for p in layers.values()
    ]
    assert sorted(targets.iterdir()) == sorted([*layers.values(), tmp])


async def test_another_machine_of_its_uuid_is_not_taken_away(
    connection: LibvirtConnection, guest: Guest, targets: Path
) -> None:
    stray = targets / "stray.instant.qcow2"
    stray.write_bytes(guest.disks["vda"].path.read_bytes())
    with pytest.raises(EngineError, match="does not have"):
        await move_to_own_storage(connection, guest.uuid, known([stray]), "t1")
    await discard_machine(connection, guest.uuid, known([stray]), "t1")
    assert guest.domain.isActive()
    assert list(targets.iterdir()) == []
