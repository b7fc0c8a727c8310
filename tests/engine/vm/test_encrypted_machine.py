"""Encrypted points of a machine: nothing of it is readable, and all of it comes back."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from holdfast.engine import libvirt_restore
from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import HypervisorFailed, KeyRefused, LeftUnfinished
from holdfast.engine.guest_disk import GuestDisk
from holdfast.engine.image import merge_into_parent, restore_image
from holdfast.engine.image_rebuild import measured, rebuild_image, take_place
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_in_place import restore_in_place
from holdfast.engine.libvirt_instant import discard_machine, move_to_own_storage
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_restore import (
    LAYER_SUFFIX,
    RestorePlan,
    restore_disks,
    restore_machine,
)
from holdfast.engine.libvirt_secret import layer_secret, take_secret_back
from holdfast.engine.qemu_image import Storing

from .lab import DISK_SIZE, Guest, VirtualDisk, back_up, known, restored_disks
from .test_machine_restore import bytes_of

pytestmark = pytest.mark.vm

KEY = DataKey.draw()
ENCRYPTED = Storing(key=KEY)


def holding(folder: Path, *patterns: bytes) -> list[str]:
    """The files that hold one of these texts, whatever they are."""
    return [
        f"{path.name}: {pattern[:20]!r}"
        for path in folder.rglob("*")
        if path.is_file()
        for pattern in patterns
        if pattern in path.read_bytes()
    ]


async def encrypted_disks(
    result: MachineResult, folder: Path, to: Path, key: DataKey = KEY
) -> dict[str, bytes]:
    contents = {}
    for disk in result.point.disks:
        await restore_image(folder / disk.file.name, to, overwrite=True, key=key)
        contents[disk.state.target] = to.read_bytes()
    return contents


def secrets_of(guest: Guest) -> list[str]:
    return [str(secret.UUIDString()) for secret in guest.connection.listAllSecrets()]


async def test_full_increments_merge_and_new_fulls_are_unreadable_and_equal(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    points: list[MachineResult] = []
    contents = []
    for number in range(4):
        guest.write_something(number)
        guest.write("vda", 6 * 2**20, 8192, 0xA5)
        contents.append(guest.contents())
        parent = points[-1] if points else None
        points.append(
            await back_up(connection, guest, folder, f"p{number}", parent, storing=ENCRYPTED)
        )
    assert [point.rung for point in points] == [Rung.FULL, *[Rung.CHANGED_BLOCKS] * 3]
    assert all(point.warnings == () for point in points)
    for point, content in zip(points, contents, strict=True):
        assert await encrypted_disks(point, folder, tmp_path / "out") == content
    for disk in points[1].point.disks:
        path = folder / disk.file.name
        assert disk.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert disk.incremental
        assert path.stat().st_mode & 0o077 == 0
    # The oldest goes into the next, the third becomes a full of its own.
    for target in guest.disks:
        await merge_into_parent(
            folder / f"p0.{target}.qcow2", folder / f"p1.{target}.qcow2", key=KEY
        )
        await rebuild_image(folder / f"p2.{target}.qcow2", None, ENCRYPTED)
        await take_place(folder / f"p2.{target}.qcow2")
        assert (await measured(folder / f"p2.{target}.qcow2")).data_size > 0
    for point, content in list(zip(points, contents, strict=True))[1:]:
        assert await encrypted_disks(point, folder, tmp_path / "out") == content
    for target in guest.disks:
        await rebuild_image(folder / f"p3.{target}.qcow2", folder / f"p2.{target}.qcow2", ENCRYPTED)
        await take_place(folder / f"p3.{target}.qcow2")
    assert await encrypted_disks(points[3], folder, tmp_path / "out") == contents[3]
    secret_texts = (b"\xa5" * 512, KEY.passphrase, b"<domain", guest.name.encode() + b"</name>")
    assert not holding(folder, *secret_texts)
    assert secrets_of(guest) == []
    guest.ensure_untouched()


async def test_what_differs_is_encrypted_too_and_a_plain_chain_is_not_built_on(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    guest.write_something(0)
    plain = await back_up(connection, guest, folder, "p0")
    first = await back_up(connection, guest, folder, "p1", plain, storing=ENCRYPTED)
    assert first.rung is Rung.FULL
    assert "is not encrypted" in str(first.warnings)
    guest.write_something(1)
    guest.write("vda", 6 * 2**20, 8192, 0xA5)
    # The bitmaps are lost: all is read, and what differs is kept.
    guest.kill()
    guest.start()
    second = await back_up(connection, guest, folder, "p2", first, storing=ENCRYPTED)
    assert second.rung is Rung.DIFFERENCE
    assert all(disk.incremental for disk in second.point.disks)
    assert second.point.disk("vda").data_size < DISK_SIZE / 4  # type: ignore[union-attr]
    assert await encrypted_disks(second, folder, tmp_path / "out") == guest.contents()
    assert not holding(folder, b"\xa5" * 512)
    # Nor is what is encrypted built on by what is not.
    third = await back_up(connection, guest, folder, "p3", second)
    assert third.rung is Rung.FULL
    assert await restored_disks(third, folder, tmp_path / "out") == guest.contents()


async def test_a_staging_folder_holds_nothing_readable_either(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    guest.write_something(0)
    first = await back_up(connection, guest, folder, "p0", staging=staging, storing=ENCRYPTED)
    guest.write_something(1)
    second = await back_up(
        connection, guest, folder, "p1", first, staging=staging, storing=ENCRYPTED
    )
    assert second.rung is Rung.CHANGED_BLOCKS
    assert await encrypted_disks(second, folder, tmp_path / "out") == guest.contents()
    assert not list(staging.iterdir())


async def test_without_its_key_or_with_another_nothing_is_restored_and_nothing_left(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    guest.write_something(0)
    point = (await back_up(connection, guest, folder, "p0", storing=ENCRYPTED)).point
    targets, mounted = tmp_path / "targets", tmp_path / "mounted"
    targets.mkdir()
    mounted.mkdir()
    disk = folder / point.disks[0].file.name
    for key, reason in ((None, "no key"), (DataKey.draw(), "another key|this key")):
        plan = RestorePlan(point, folder, targets, "copy", True, key=key)
        with pytest.raises(KeyRefused, match=reason):
            await restore_machine(connection, plan)
        with pytest.raises(KeyRefused, match=reason):
            await restore_machine(connection, replace(plan, instant=True, power_on=True))
        with pytest.raises(KeyRefused, match=reason):
            await restore_disks(plan, "raw")
        with pytest.raises(KeyRefused, match=reason):
            await restore_image(disk, targets / "out", key=key)
        with pytest.raises(KeyRefused, match=reason):
            await rebuild_image(disk, None, Storing(key=key))
        with pytest.raises(KeyRefused, match=reason):
            await GuestDisk.open([disk], mounted, key)
    assert not list(targets.iterdir())
    assert {path.suffix for path in folder.iterdir()} == {".qcow2", ".sealed"}
    assert [domain.name() for domain in guest.connection.listAllDomains()] == [guest.name]
    assert secrets_of(guest) == []


async def test_it_runs_from_an_encrypted_point_moves_and_comes_back_in_place(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    targets = tmp_path / "targets"
    targets.mkdir()
    guest.write_something(0)
    older = await back_up(connection, guest, folder, "p0", storing=ENCRYPTED)
    guest.write_something(1)
    newer = await back_up(connection, guest, folder, "p1", older, storing=ENCRYPTED)
    content = guest.contents()
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    plan = RestorePlan(
        newer.point, folder, targets, "copy", True, power_on=True, instant=True, key=KEY
    )
    copies = []
    for name in ("copy", "other"):
        restored = await restore_machine(connection, replace(plan, name=name))
        guest.connection.lookupByName(name).suspend()
        disks = {
            target: VirtualDisk(target, restored.disks[target], "qcow2", bytearray(content[target]))
            for target in guest.disks
        }
        copies.append((Guest(guest.host, name, targets, guest.connection, disks), restored))
    moving, restored = copies[0]
    moving.write_something(2)
    await move_to_own_storage(connection, restored.uuid, known(restored.disks.values()), "t1")
    moving.power_off()
    for target in moving.disks:
        own = targets / f"copy-{target}.t1.qcow2"
        assert bytes_of(own, "qcow2", tmp_path / "out") == moving.contents()[target]
    # Started anew it needs neither the point nor its key.
    moving.start()
    moving.discard()
    _, thrown_away = copies[1]
    files = list(thrown_away.disks.values())
    await discard_machine(connection, thrown_away.uuid, known(files), "t2")
    assert secrets_of(guest) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    with pytest.raises(libvirt.libvirtError):
        guest.connection.lookupByName("other")
    guest.write_something(3)
    guest.power_off()
    await restore_in_place(connection, replace(plan, instant=False, power_on=False))
    for target, disk in guest.disks.items():
        assert bytes_of(disk.path, "qcow2", tmp_path / "out") == content[target]


async def test_one_that_is_off_moves_with_its_key_and_keeps_what_opens_it_until_it_is_gone(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    targets = tmp_path / "targets"
    targets.mkdir()
    guest.write_something(0)
    older = await back_up(connection, guest, folder, "p0", storing=ENCRYPTED)
    guest.write_something(1)
    newer = await back_up(connection, guest, folder, "p1", older, storing=ENCRYPTED)
    content = guest.contents()
    plan = RestorePlan(
        newer.point, folder, targets, "copy", True, power_on=True, instant=True, key=KEY
    )

    async def refused(*_: Any) -> None:
        raise HypervisorFailed("not now")

    with monkeypatch.context() as patched:
        patched.setattr(LibvirtMachine, "start", refused)
        patched.setattr(libvirt_restore, "_remove", refused)
        with pytest.raises(LeftUnfinished):
            await restore_machine(connection, plan)
    # The machine is there, and may be powered on.
    uuid = guest.connection.lookupByName("copy").UUIDString()
    assert secrets_of(guest) == [layer_secret(uuid)]
    await take_secret_back(connection, layer_secret(uuid))
    files = [targets / f"copy-{target}{LAYER_SUFFIX}" for target in guest.disks]
    made = known(files)
    with pytest.raises(KeyRefused, match="no key"):
        await move_to_own_storage(connection, uuid, made, "t1")
    await move_to_own_storage(connection, uuid, made, "t1", key=KEY)
    for target in guest.disks:
        own = targets / f"copy-{target}.t1.qcow2"
        assert bytes_of(own, "qcow2", tmp_path / "out") == content[target]
    assert not any(path.exists() for path in files)
    await discard_machine(connection, uuid, made, "t1")
    assert not list(targets.iterdir())
