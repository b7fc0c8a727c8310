"""Merges and deletes restore points of machines, disk by disk.

What may be deleted or merged is the chain's question (`chain`): a point is an increment on its
parent when any of its disks is. Within such a point another disk may be whole, because it fell a
rung; of that disk the older point's file is then of no use to anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from holdfast.engine.image import remove_image
from holdfast.engine.image_merge import merge_into_parent
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint
from holdfast.engine.progress import Phases, Progress, ProgressCallback, ignore_progress


def point_files(point: MachinePoint) -> list[str]:
    """Return the names of all files of a point, in its folder."""
    small = [file for file in (point.definition, point.nvram) if file is not None]
    return [*(disk.file.name for disk in point.disks), *(file.name for file in small)]


async def remove_machine_point(folder: Path, point: MachinePoint) -> None:
    """Delete a point's files for good; missing ones are fine. Raise RepositoryUnavailable."""
    for name in point_files(point):
        await remove_image(folder / name)


async def merge_machine_points(
    folder: Path,
    oldest: MachinePoint,
    following: MachinePoint,
    on_progress: ProgressCallback = ignore_progress,
) -> MachinePoint:
    """Merge the oldest point into the one that follows it; return that one as it is then: a full.

    Safe to call again after any interruption, with the same two points. Raise as
    `image_merge.merge_into_parent` does. Every point but the oldest stays restorable.
    """
    disks = []
    phases = Phases(on_progress, [max(disk.data_size, 1) for disk in following.disks])
    for number, disk in enumerate(following.disks):
        advance = phases.phase(number)

        def tell(progress: Progress, advance: Callable[[float], None] = advance) -> None:
            advance(progress.fraction)

        disks.append(await _merged(folder, oldest, disk, tell))
        advance(1.0)
    # What is left are disks that the following point does not need, and the small files.
    await remove_machine_point(folder, oldest)
    return replace(following, disks=tuple(disks))


async def _merged(
    folder: Path, oldest: MachinePoint, disk: DiskPoint, tell: ProgressCallback
) -> DiskPoint:
    below = oldest.disk(disk.state.target)
    if not disk.incremental or below is None:
        return disk
    result = await merge_into_parent(folder / below.file.name, folder / disk.file.name, tell)
    file = replace(disk.file, sha256=result.sha256)
    return replace(disk, file=file, file_size=result.file_size, incremental=False)
