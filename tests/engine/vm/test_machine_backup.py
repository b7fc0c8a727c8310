"""Machines that run, or are off: every point restored must be all disks as of one instant."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engine import image_backup
from holdfast.engine.durability import sha256_of
from holdfast.engine.image import merge_into_parent
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.qemu_image import Storing

from .lab import DISK_SIZE, Guest, back_up, restored_disks

pytestmark = pytest.mark.vm


async def test_every_point_of_a_machine_with_two_disks_restores_byte_for_byte(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    points: list[MachineResult] = []
    contents = []
    for number in range(4):
        guest.write_something(number)
        if number == 3:
            guest.write("vdb", 0, DISK_SIZE, 0)
        contents.append(guest.contents())
        parent = points[-1] if points else None
        points.append(await back_up(connection, guest, folder, f"p{number}", parent))
    assert [point.rung for point in points] == [Rung.FULL, *[Rung.CHANGED_BLOCKS] * 3]
    assert all(point.warnings == () for point in points)
    for point, content in zip(points, contents, strict=True):
        assert await restored_disks(point, folder, tmp_path / "out") == content
    for disk in points[1].point.disks:
        path = folder / disk.file.name
        assert disk.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert disk.incremental
        assert disk.data_size == 3 * 65536
    assert guest.checkpoints() == ["holdfast.c1.p2", "holdfast.c1.p3"]
    assert {path.suffix for path in folder.iterdir()} == {".qcow2", ".xml"}
    guest.ensure_untouched()


@pytest.mark.parametrize("level", [None, 1])
async def test_disks_with_clusters_of_other_sizes(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
    tmp_path: Path,
    level: int | None,
) -> None:
    """libvirt writes what it copies with clusters of the same size, and with its kind of tables."""
    guest = make_guest(targets=(), started=False)
    for number, options in enumerate(["cluster_size=4k", "cluster_size=2M", "extended_l2=on"]):
        guest.add_disk(f"vd{'abc'[number]}", options=options)
    guest.define()
    guest.start()
    points: list[MachineResult] = []
    contents = []
    for number in range(3):
        guest.write_something(number)
        contents.append(guest.contents())
        parent = points[-1] if points else None
        points.append(
            await back_up(connection, guest, folder, f"p{number}", parent, storing=Storing(level))
        )
    rungs = [[disk.rung for disk in point.point.disks] for point in points]
    assert rungs == [[Rung.FULL] * 3, *[[Rung.CHANGED_BLOCKS] * 3] * 2]
    for point, content in zip(points, contents, strict=True):
        assert await restored_disks(point, folder, tmp_path / "out") == content


async def test_points_that_are_not_compressed_are_what_qemu_has_written(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def copied(*_arguments: object, **_more: object) -> None:
        raise AssertionError("what QEMU has written was copied once more")

    monkeypatch.setattr(image_backup, "convert_arguments", copied)
    results, contents = [], []
    for number in range(3):
        guest.write_something(number)
        last = results[-1] if results else None
        storing = Storing(level=None)
        results.append(
            await back_up(connection, guest, folder, f"p{number}", last, storing=storing)
        )
        contents.append(guest.contents())
    assert [result.rung for result in results] == [Rung.FULL, *[Rung.CHANGED_BLOCKS] * 2]
    for result, content in zip(results, contents, strict=True):
        assert await restored_disks(result, folder, tmp_path / "out") == content
        for disk in result.point.disks:
            assert disk.file.sha256 == await sha256_of(folder / disk.file.name)
    assert len(list(folder.iterdir())) == 3 * (2 + 1)
    # They are a chain like any other: the oldest can be merged, and what is newer stays.
    for target in guest.disks:
        await merge_into_parent(folder / f"p0.{target}.qcow2", folder / f"p1.{target}.qcow2")
    for result, content in list(zip(results, contents, strict=True))[1:]:
        assert await restored_disks(result, folder, tmp_path / "out") == content
