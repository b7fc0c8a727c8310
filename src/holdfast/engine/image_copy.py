"""Copies the files of points to another repository, and proves that they are whole.

A backup file is never changed by this. The copy has the same name, so that an increment finds the
copy of its parent beside it by the name in its own header, and the same bytes, unless it is to be
stored in another way: then it holds the same.
"""

import asyncio

from holdfast.engine.byte_copy import FOR_OWNER, CopyPlan, copy_bytes
from holdfast.engine.durability import discarded_on_exit, partial_name, publish
from holdfast.engine.errors import ChainBroken
from holdfast.engine.failures import folder_gone, writing_failure
from holdfast.engine.file_check import check_file
from holdfast.engine.image_chain import read_backup_header
from holdfast.engine.image_packing import packed_into
from holdfast.engine.image_rebuild import Rebuilt, measured
from holdfast.engine.progress import Phases, Progress, ProgressCallback, ignore_progress
from holdfast.engine.qemu_image import convert_arguments, run_qemu_image

# Compare with the checksum : read and write : compress.
_ANEW_WEIGHTS = (30, 40, 30)
_FOR_ALL = 0o666  # of which the process takes away what it always does


async def copy_image(plan: CopyPlan, on_progress: ProgressCallback = ignore_progress) -> None:
    """Write ``plan.target``, whole and on stable storage. Nothing may change the source meanwhile.

    A file that is in the way is replaced, but only then: whoever calls this knows of no point in
    it. Raise ChainBroken when the source is missing, is not what was recorded, or is built on a
    file that the target's folder lacks; NoSpace or RepositoryUnavailable when the target cannot be
    written. Then, and when cancelled, nothing of the copy is left.
    """
    await asyncio.to_thread(_ensure_complete, plan)
    await _copy_whole(plan, on_progress, _FOR_ALL)
    on_progress(Progress(1.0, plan.file_size, plan.file_size))


async def copy_image_anew(
    plan: CopyPlan, level: int | None, on_progress: ProgressCallback = ignore_progress
) -> Rebuilt:
    """As `copy_image`, but compressed at a level or, with None, not; return what the copy is.

    All of the source is compared with its checksum first, then what this file itself holds is
    written. What it is built on is read in the source's folder, and not copied.
    """
    await asyncio.to_thread(_ensure_complete, plan)
    phases = Phases(on_progress, _ANEW_WEIGHTS, plan.file_size)
    checked = phases.phase(0)
    await check_file(plan.source, plan.sha256, lambda n: checked(n / max(plan.file_size, 1)))
    header = await asyncio.to_thread(read_backup_header, plan.source)
    partial = partial_name(plan.target)
    async with discarded_on_exit(partial):
        async with packed_into(partial, header.backing_name, level, phases.phase(2)) as written:
            await run_qemu_image(
                convert_arguments(
                    plan.source,
                    written,
                    source_format="qcow2",
                    target_format="qcow2",
                    rate_limit=plan.rate_limit,
                    backing_name=header.backing_name,
                ),
                doing=f"Copying {plan.source}",
                writing=written,
                on_fraction=phases.phase(1),
                unreadable=ChainBroken,
            )
        stored = await measured(partial)
        try:
            await publish(partial, plan.target, overwrite=True)
        except OSError as error:
            raise writing_failure(error, plan.target) from error
    on_progress(Progress(1.0, plan.file_size, plan.file_size))
    return stored


async def copy_small_file(plan: CopyPlan) -> None:
    """As `copy_image`, with a file that is no image and that only its owner may read."""
    if not await asyncio.to_thread(plan.target.parent.is_dir):
        raise folder_gone(plan.target.parent)
    await _copy_whole(plan, ignore_progress, FOR_OWNER)


async def _copy_whole(plan: CopyPlan, on_progress: ProgressCallback, mode: int) -> None:
    partial = partial_name(plan.target)
    async with discarded_on_exit(partial):
        digest = await copy_bytes(plan, partial, on_progress, mode)
        if digest != plan.sha256:
            raise ChainBroken(
                f"The backup file {plan.source} is damaged: its SHA-256 is {digest}, and it was "
                f"{plan.sha256} when the file was written. It was not copied."
            )
        try:
            await publish(partial, plan.target, overwrite=True)
        except OSError as error:
            raise writing_failure(error, plan.target) from error


def _ensure_complete(plan: CopyPlan) -> None:
    """Raise unless the file is there, and its parent's copy where the file will look for it."""
    header = read_backup_header(plan.source)
    if not plan.target.parent.is_dir():
        raise folder_gone(plan.target.parent)
    if header.backing_name is not None:
        read_backup_header(plan.target.with_name(header.backing_name))
