"""Old points of machines are merged away, also where one of the disks fell a rung."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

import hashlib
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from engine.lab import MIB
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.libvirt_retention import merge_machine_points, point_files

from .lab import Guest, back_up, restored_disks

pytestmark = pytest.mark.vm


async def test_points_stay_right_when_older_ones_are_merged_away(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    results, contents = [], []
    for number in range(4):
        if number == 2:
            guest.domain.blockResize("vda", 10 * MIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
            guest.disks["vda"].content += bytes(2 * MIB)
        guest.write_something(number)
        parent = results[-1] if results else None
        results.append(await back_up(connection, guest, folder, f"p{number}", parent))
        contents.append(guest.contents())
    assert results[2].point.disks[0].rung is Rung.FULL
    assert results[2].point.incremental

    for number in (1, 2):
        oldest, following = results[number - 1].point, results[number].point
        merged = await merge_machine_points(folder, oldest, following)
        # Once more, as after a crash before it was recorded.
        assert await merge_machine_points(folder, oldest, following) == merged
        results[number] = replace(results[number], point=merged)
        assert not merged.incremental
        for disk in merged.disks:
            path = folder / disk.file.name
            assert disk.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        for later in range(number, 4):
            restored = await restored_disks(results[later], folder, tmp_path / "out")
            assert restored == contents[later]
    left = sorted(path.name for path in folder.iterdir())
    assert left == sorted(point_files(results[2].point) + point_files(results[3].point))
