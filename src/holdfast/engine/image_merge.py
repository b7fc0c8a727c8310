"""Forever forward: the oldest increment is merged into the full, and the full takes its place.

    before   day1.qcow2 (full) ◀── day2.qcow2 ◀── day3.qcow2
    commit   the data of day2 is written into day1.qcow2
    rename   day1.qcow2 replaces day2.qcow2 in one step
    after                          day2.qcow2 (full) ◀── day3.qcow2

Since the file takes the increment's name, the header of day3 stays right and is never touched.

It can be killed at any moment and run again. Until the rename, day2 and all after it read as
before: whatever the commit has already written into day1 is hidden by day2, which holds the same
data. Only the point day1 is lost from the first byte on, so the caller must have taken it out of
the catalog before. After the rename, day2 has no backing file and day1 is gone: it is done.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.data_key import DataKey
from holdfast.engine.durability import sha256_of, synchronise
from holdfast.engine.errors import ChainBroken, EngineError
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_chain import read_backup_header
from holdfast.engine.image_check import ensure_sound
from holdfast.engine.image_node import chain_node, name_of
from holdfast.engine.progress import Phases, ProgressCallback, ignore_progress
from holdfast.engine.qemu_image import (
    absolute,
    commit_arguments,
    free_leaked_clusters,
    run_qemu_image,
    shrink_image,
)

# Commit : hash.
_WEIGHTS = (80, 20)


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The file that is a full now; its size in bytes and its SHA-256 in hexadecimal."""

    path: Path
    file_size: int
    sha256: str


async def merge_into_parent(
    full: Path,
    increment: Path,
    on_progress: ProgressCallback = ignore_progress,
    key: DataKey | None = None,
) -> MergeResult:
    """Merge ``increment`` into the ``full`` it sits on; the result has the increment's path.

    Safe to call again after any interruption: what is left to do is done, and the same result
    returned. Raise ChainBroken when the two files are not a full and an increment on it, or are
    damaged; EngineError when another file depends on the full; ImageInUse when a restore is
    reading them; KeyRefused when they are encrypted with another key; NoSpace, ToolMissing or
    ToolFailed. Every point but the full's stays restorable.
    """
    full, increment = absolute(full), absolute(increment)
    phases = Phases(on_progress, _WEIGHTS)
    if not await is_merged(full, increment):
        await _commit(full, increment, phases, key)
        try:
            await asyncio.to_thread(_replace_durably, full, increment)
        except OSError as error:
            raise writing_failure(error, increment) from error
    return await _measured(increment, phases)


async def is_merged(full: Path, increment: Path) -> bool:
    """Say whether the increment is the full already; if not, raise unless it can become it.

    Raises ChainBroken and EngineError as `merge_into_parent` does. Nothing is written.
    """
    return await asyncio.to_thread(_is_merged, absolute(full), absolute(increment))


def _is_merged(full: Path, increment: Path) -> bool:
    backing_name = read_backup_header(increment).backing_name
    if backing_name is None and not full.exists():
        return True
    if full.parent != increment.parent or backing_name != full.name:
        raise ChainBroken(
            f"{increment} cannot be merged into {full}: it depends on {backing_name or 'nothing'}."
        )
    if read_backup_header(full).backing_name is not None:
        raise ChainBroken(f"{full} is not a full backup, so nothing can be merged into it.")
    for other in full.parent.glob("*.qcow2"):
        if other not in (full, increment) and _depends_on(other, full):
            raise EngineError(f"{full} cannot be merged away, because {other} depends on it, too.")
    return False


def _depends_on(other: Path, full: Path) -> bool:
    try:
        return read_backup_header(other).backing_name == full.name
    except ChainBroken:
        return False  # whatever it is, it cannot be restored in any case


async def _commit(full: Path, increment: Path, phases: Phases, key: DataKey | None) -> None:
    # A damaged increment must be noticed before the full is written to.
    await ensure_sound((increment, full), key)
    name = None
    if (await asyncio.to_thread(read_backup_header, increment)).encrypted:
        name = name_of(await asyncio.to_thread(chain_node, increment))
    await run_qemu_image(
        commit_arguments(increment, name),
        doing=f"Merging {increment} into {full}",
        writing=full,
        on_fraction=phases.phase(0),
        unreadable=ChainBroken,
        key=key,
    )
    # A commit enlarges the full where needed, but never makes it smaller.
    size = (await asyncio.to_thread(read_backup_header, increment)).virtual_size
    if (await asyncio.to_thread(read_backup_header, full)).virtual_size > size:
        await shrink_image(full, size, key)
    await free_leaked_clusters(full, key)


def _replace_durably(full: Path, increment: Path) -> None:
    # The increment's data must be in the full on stable storage before its file goes.
    synchronise(full)
    full.rename(increment)
    synchronise(increment.parent)


async def _measured(merged: Path, phases: Phases) -> MergeResult:
    advance = phases.phase(1)
    try:
        # Once more: the crash may have come between the rename and its synchronisation.
        await asyncio.to_thread(synchronise, merged.parent)
        file_size = (await asyncio.to_thread(merged.stat)).st_size
        sha256 = await sha256_of(merged, lambda bytes_read: advance(bytes_read / file_size))
    except OSError as error:
        raise ChainBroken(
            f"The backup file {merged} cannot be read: {error.strerror or error}."
        ) from error
    advance(1.0)
    return MergeResult(merged, file_size, sha256)
