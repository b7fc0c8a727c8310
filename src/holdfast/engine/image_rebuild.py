"""Writes a point's file anew from the repository alone: on an older point, or as a full.

    before   day1.qcow2 (full) ◀── day2.qcow2 ◀── day3.qcow2 ◀── day4.qcow2
    a full   day1.qcow2 (full) ◀── day2.qcow2     day3.qcow2 (full) ◀── day4.qcow2
    on day1  day1.qcow2 (full) ◀── day3.qcow2 ◀── day4.qcow2, and day2.qcow2 on day1.qcow2

The source is not read: that is a synthetic full. The new file holds the same, and takes the name
of the old one in one step. So the header of day4 stays right and is never touched, whoever reads
the old file goes on reading it, and every point can be restored at every moment. Killed before
that step, it leaves a temporary; after it, `is_built_on` tells.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.durability import partial_name, publish, remove_durably, sha256_of
from holdfast.engine.errors import ChainBroken, EngineError
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_backup import difference_name, write_full, write_increment
from holdfast.engine.image_chain import backup_files, read_backup_header
from holdfast.engine.image_check import ensure_sound
from holdfast.engine.image_packing import unpacked_name
from holdfast.engine.image_source import ImageInfo
from holdfast.engine.progress import Phases, ProgressCallback, ignore_progress
from holdfast.engine.qcow2_data import stored_data_size
from holdfast.engine.qemu_image import AS_USUAL, Storing, absolute

# Read and write (or, on a point, compare) : compress.
_WEIGHTS = (65, 35)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A file that was written anew. Sizes in bytes, as in `ImageResult`; SHA-256 in hexadecimal."""

    file_size: int
    data_size: int
    sha256: str


def rebuilt_name(file: Path) -> Path:
    """Return the temporary that a file is written anew to."""
    return partial_name(file, "rebuilt")


async def rebuild_image(
    file: Path,
    onto: Path | None,
    storing: Storing = AS_USUAL,
    on_progress: ProgressCallback = ignore_progress,
) -> None:
    """Write what the point in ``file`` restores into `rebuilt_name`, built on ``onto`` or a full.

    ``onto`` is one of the files that ``file`` is built on. Nothing may change any of them
    meanwhile. When they are encrypted, ``storing`` must have their key. Raise ChainBroken when one
    is missing or damaged, KeyRefused, NoSpace, ToolMissing or ToolFailed; then, and when cancelled,
    the temporary is gone.
    """
    file, partial = absolute(file), rebuilt_name(absolute(file))
    await discard_rebuilt(file)
    files = await asyncio.to_thread(backup_files, file)
    if onto is not None and absolute(onto) not in files[1:]:
        raise ChainBroken(f"The backup file {file} is not built on {onto}.")
    await ensure_sound(files, storing.key)
    header = await asyncio.to_thread(read_backup_header, file)
    source = ImageInfo("qcow2", header.virtual_size, None, (file,))
    phases = Phases(on_progress, _WEIGHTS, header.virtual_size)
    try:
        if onto is None:
            await write_full(source, partial, phases, storing)
        else:
            problem = await write_increment(source, absolute(onto), partial, phases, storing)
            if problem is not None:
                raise ChainBroken(f"{file} cannot be built on {onto}, because {problem}.")
    except BaseException:  # cancellation too: half a file must not stay
        await discard_rebuilt(file)
        raise


async def discard_rebuilt(file: Path) -> None:
    """Remove what writing a file anew has left; nothing there is fine. Raise EngineError."""
    partial = rebuilt_name(absolute(file))
    for each in (partial, unpacked_name(partial), difference_name(partial)):
        try:
            await remove_durably(each)
        except OSError as error:
            raise writing_failure(error, each) from error


async def take_place(file: Path) -> None:
    """Let the file that was written anew take the place of the old one. Raise EngineError."""
    try:
        await publish(rebuilt_name(absolute(file)), absolute(file), overwrite=True)
    except OSError as error:
        raise writing_failure(error, file) from error


async def is_built_on(file: Path, onto: Path | None) -> bool:
    """Say whether a file is built on just that file, or, for None, is a full.

    Raise ChainBroken when the file is missing or damaged.
    """
    header = await asyncio.to_thread(read_backup_header, file)
    return header.backing_name == (None if onto is None else onto.name)


async def measured(file: Path) -> Rebuilt:
    """Return what a file is. Raise EngineError."""
    try:
        data_size = await stored_data_size(file)
        file_size = (await asyncio.to_thread(file.stat)).st_size
        return Rebuilt(file_size, data_size, await sha256_of(file))
    except OSError as error:
        raise EngineError(
            f"The backup file {file} cannot be read: {error.strerror or error}."
        ) from error
