"""Machines that run, or are off: every point restored must be all disks as of one instant."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

import hashlib
from pathlib import Path

import pytest

from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_ladder import Rung

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
