"""Machines that are off with their memory saved: backed up as they lie, and never replaced."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import libvirt
import pytest

from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import MachineBusy
from holdfast.engine.image import restore_image
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import Identity
from holdfast.engine.libvirt_failback import FailbackPlan, bring_back, ensure_stands_in
from holdfast.engine.libvirt_failover import fail_over, take_back
from holdfast.engine.libvirt_in_place import restore_in_place
from holdfast.engine.libvirt_instant import move_to_own_storage
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_overlay import FailoverPlan
from holdfast.engine.libvirt_restore import RestorePlan
from holdfast.engine.qemu_image import Storing
from holdfast.engine.restored_files import NoLedger, WholeFile

from .lab import Guest, back_up, known, restored_disks
from .test_instant_recovery import running_from_backup

pytestmark = pytest.mark.vm


def save(guest: Guest) -> None:
    guest.domain.managedSave(0)
    assert not guest.domain.isActive()


def resume(guest: Guest) -> None:
    """Power a machine on that must go on where it was."""
    assert guest.domain.hasManagedSaveImage()
    guest.start()
    assert not guest.domain.hasManagedSaveImage()


def disks_of(guest: Guest) -> dict[str, str]:
    return {
        target: hashlib.sha256(disk.path.read_bytes()).hexdigest()
        for target, disk in guest.disks.items()
    }


async def test_it_is_backed_up_without_being_started_and_the_chain_goes_on(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    guest.write_something(0)
    points = [await back_up(connection, guest, folder, "p0")]
    guest.write_something(1)
    save(guest)
    before = disks_of(guest)
    points.append(await back_up(connection, guest, folder, "p1", points[-1]))
    assert (points[1].rung, points[1].consistency) == (Rung.DIFFERENCE, "crash-consistent")
    [warning] = points[1].warnings
    assert "memory is not part of the point" in warning
    assert await restored_disks(points[1], folder, tmp_path / "out") == guest.contents()
    # What was saved is there, and the disks are as they were.
    assert disks_of(guest) == before
    resume(guest)
    guest.write_something(2)
    points.append(await back_up(connection, guest, folder, "p2", points[-1]))
    guest.write_something(3)
    points.append(await back_up(connection, guest, folder, "p3", points[-1]))
    assert [point.rung for point in points[2:]] == [Rung.DIFFERENCE, Rung.CHANGED_BLOCKS]
    assert await restored_disks(points[3], folder, tmp_path / "out") == guest.contents()
    assert guest.checkpoints() == ["holdfast.c1.p2", "holdfast.c1.p3"]


async def test_its_first_point_encrypted_and_from_a_staging_folder(
    connection: LibvirtConnection, make_guest: Callable[..., Guest], folder: Path, tmp_path: Path
) -> None:
    guest = make_guest(targets=("vda",), started=False)
    raw = guest.add_disk("vdb", format="raw")
    guest.define()
    guest.start()
    guest.write_something(0)
    save(guest)
    staging, key = tmp_path / "staging", DataKey.draw()
    staging.mkdir()
    storing = Storing(key=key)
    result = await back_up(connection, guest, folder, "p0", staging=staging, storing=storing)
    assert result.rung is Rung.FULL
    for disk in result.point.disks:
        to = tmp_path / "out"
        await restore_image(folder / disk.file.name, to, overwrite=True, key=key)
        assert to.read_bytes() == guest.contents()[disk.state.target]
    assert raw.path.exists()
    assert not list(staging.iterdir())
    resume(guest)


async def test_a_memory_that_is_saved_as_the_backup_begins_is_not_used_up(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest.write_something(0)
    save(guest)
    look, looks = LibvirtMachine.saved_definition, 0

    async def too_early(machine: LibvirtMachine) -> str | None:
        nonlocal looks
        looks += 1
        return None if looks == 1 else await look(machine)

    monkeypatch.setattr(LibvirtMachine, "saved_definition", too_early)
    result = await back_up(connection, guest, folder, "p0")
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    assert looks > 1
    resume(guest)


async def test_one_that_is_started_as_the_backup_begins_is_left_alone(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save(guest)
    look, looks = LibvirtMachine.saved_definition, 0

    async def ran_meanwhile(machine: LibvirtMachine) -> str | None:
        nonlocal looks
        looks += 1
        if looks == 2:
            resume(guest)
            guest.power_off()
        return await look(machine)

    monkeypatch.setattr(LibvirtMachine, "saved_definition", ran_meanwhile)
    with pytest.raises(MachineBusy, match="was powered on as its backup began"):
        await back_up(connection, guest, folder, "p0")
    assert not list(folder.iterdir())


async def test_none_of_its_disks_is_replaced(
    connection: LibvirtConnection, guest: Guest, folder: Path
) -> None:
    guest.write_something(0)
    point = (await back_up(connection, guest, folder, "p0")).point
    guest.write_something(1)
    before = disks_of(guest)
    plan = RestorePlan(point, folder, folder)

    class SavedMeanwhile(NoLedger):
        async def naming(self, files: Sequence[WholeFile]) -> None:  # noqa: ARG002
            guest.start()
            save(guest)

    guest.power_off()
    before = disks_of(guest)
    with pytest.raises(MachineBusy, match=rf"managedsave-remove {guest.name}"):
        await restore_in_place(connection, plan, ledger=SavedMeanwhile())
    with pytest.raises(MachineBusy, match=rf"{guest.name} is off with its memory saved"):
        await restore_in_place(connection, plan)
    failover = FailoverPlan(Identity("r", guest.uuid, False), folder, point, "one", "")
    with pytest.raises(MachineBusy, match=rf"{guest.name} is off with its memory saved"):
        await bring_back(connection, FailbackPlan(failover, guest.uuid, folder), running=True)
    assert {path.suffix for path in guest.folder.iterdir()} == {".qcow2"}
    resume(guest)
    guest.power_off()
    assert before.keys() == disks_of(guest).keys()
    await restore_in_place(connection, plan)


async def test_one_that_runs_from_its_backup_stays_on_its_layers(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    tmp_path: Path,
) -> None:
    targets = tmp_path / "targets"
    targets.mkdir()
    copy, restored = await running_from_backup(connection, guest, folder, targets)
    files = list(restored.disks.values())
    made = known(files)
    try:
        save(copy)
        with pytest.raises(MachineBusy, match="managedsave-remove copy"):
            await move_to_own_storage(connection, restored.uuid, made, "t1")
        assert sorted(targets.iterdir()) == sorted(files)
        resume(copy)
        await move_to_own_storage(connection, restored.uuid, made, "t1")
    finally:
        with suppress(libvirt.libvirtError):
            copy.domain.managedSaveRemove()
        copy.discard()


async def test_a_replica_that_is_taken_back_forgets_it(
    connection: LibvirtConnection, guest: Guest, folder: Path
) -> None:
    point = (await back_up(connection, guest, folder, "p0")).point
    guest.power_off()
    guest.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
    guest.define()
    ready = guest.domain.XMLDesc(0)
    plan = FailoverPlan(Identity(guest.name, guest.uuid, False), folder, point, "one", ready)
    guest.start()
    save(guest)
    with pytest.raises(MachineBusy, match="is off with its memory saved"):
        await fail_over(connection, plan)
    guest.domain.managedSaveRemove()
    await fail_over(connection, plan)
    save(guest)
    # What is in the memory would not be brought back.
    with pytest.raises(MachineBusy, match="is off with its memory saved"):
        await ensure_stands_in(connection, plan)
    await take_back(connection, plan)
    assert not guest.domain.hasManagedSaveImage()
