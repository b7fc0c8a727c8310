"""Backs up the disk image of a machine that is off: a full, or the difference to a parent point.

A full is one qcow2. An increment is found without any record of what changed: an empty layer on
the source is rebased onto the parent point, whereby qemu-img compares the two and keeps what
differs. It costs reading source and parent once. What is to be compressed is written plainly first,
and then packed (`image_packing`); what is to be encrypted is written by `encrypted_backup`.
"""

import asyncio
import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.engine.data_key import DataKey
from holdfast.engine.durability import (
    discarded_on_exit,
    partial_name,
    publish,
    remove_durably,
    remove_if_possible,
    sha256_of,
    synchronise,
    synchronised_meanwhile,
)
from holdfast.engine.encrypted_backup import (
    copy_encrypted,
    name_parent,
    write_encrypted_full,
    write_encrypted_increment,
)
from holdfast.engine.errors import ChainBroken, EngineError, KeyRefused, SourceUnreadable
from holdfast.engine.failures import folder_gone, reading_failure, writing_failure
from holdfast.engine.image_chain import backup_files, read_backup_header
from holdfast.engine.image_check import ensure_still_sound, remember_sound
from holdfast.engine.image_lock import unchanged_while_read
from holdfast.engine.image_packing import Packing, can_be_packed, pack, packed_into
from holdfast.engine.image_source import ImageInfo, inspect
from holdfast.engine.progress import Phases, ProgressCallback, ignore_progress
from holdfast.engine.qcow2_data import stored_data_size
from holdfast.engine.qcow2_header import NotQcow2Error, Qcow2Header, read_header
from holdfast.engine.qemu_image import (
    AS_USUAL,
    FractionCallback,
    Storing,
    absolute,
    convert_arguments,
    create_limited_overlay_arguments,
    create_overlay_arguments,
    layer_name,
    name_backing_arguments,
    rebase_arguments,
    run_qemu_image,
)
from holdfast.engine.together import together

# Read (and compare) : compress : hash.
_FULL_WEIGHTS = (55, 39, 6)
_INCREMENT_WEIGHTS = (80, 15, 5)
_LAYER_WEIGHTS = (80, 20)
_ADOPTED_WEIGHTS = (100,)
_COPIED_WEIGHTS = (70, 30)


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """Which image to back up, and where to.

    ``target`` is the new backup file, ``parent`` the backup file of the point it may be an
    increment on, in the same folder. ``source_format`` (raw or qcow2) should be given wherever it
    is known; see ``image_source`` for why. A source that is ``spent`` is a temporary, and removed
    once it is read.
    """

    source: Path
    target: Path
    parent: Path | None = None
    source_format: str | None = None
    storing: Storing = AS_USUAL
    spent: bool = False


@dataclass(frozen=True, slots=True)
class ImageResult:
    """A backup file that is whole and on stable storage.

    Sizes in bytes. ``data_size`` is the disk data that was moved, before compression, in clusters
    of 64 KiB. ``note`` says why a full was taken although an increment had been asked for.
    """

    path: Path
    file_size: int
    data_size: int
    virtual_size: int
    sha256: str
    incremental: bool
    note: str | None


async def back_up_image(
    plan: ImagePlan, on_progress: ProgressCallback = ignore_progress
) -> ImageResult:
    """Write ``plan.target`` and return what it is. An existing file is never overwritten.

    When the parent cannot be built on (missing, damaged, another virtual size), a full is taken.
    Raise SourceMissing, SourceUnreadable, ImageInUse, NoSpace, RepositoryUnavailable, ToolMissing
    or ToolFailed; then, and when cancelled, nothing is left in the folder.
    """
    plan = replace(plan, source=absolute(plan.source), target=absolute(plan.target))
    await asyncio.to_thread(ensure_writable_name, plan.target)
    source = await inspect(plan.source, plan.source_format)
    partial = partial_name(plan.target)
    async with discarded_on_exit(partial):
        with unchanged_while_read(source.files):
            if await inspect(plan.source, plan.source_format) != source:
                raise SourceUnreadable(f"The disk image {plan.source} is being changed.")
            parent, problem = await usable_parent(
                plan.parent, plan.target, source.virtual_size, plan.storing.key
            )
            weights = _FULL_WEIGHTS if parent is None else _INCREMENT_WEIGHTS
            phases = Phases(on_progress, weights, source.virtual_size)
            if parent is not None:
                problem = await write_increment(source, parent, partial, phases, plan.storing)
            incremental = parent is not None and problem is None
            if not incremental and plan.spent and plan.storing.level is not None:
                await _store_layer(plan.source, None, partial, phases.phase(1), plan.storing.level)
            elif not incremental:
                await write_full(source, partial, phases, plan.storing)
        # Only here is it sure that the source did not change while it was read.
        return await finish_image(
            partial,
            plan.target,
            phases.phase(2),
            virtual_size=source.virtual_size,
            incremental=incremental,
            note=None if problem is None else f"A full backup was taken, because {problem}.",
            key=plan.storing.key,
            spent=plan.source if plan.spent else None,
        )


async def keep_layer(
    layer: Path,
    parent: Path,
    target: Path,
    on_progress: ProgressCallback = ignore_progress,
    storing: Storing = AS_USUAL,
) -> ImageResult:
    """Keep the changed blocks that somebody wrote into a qcow2 as an increment on ``parent``.

    ``layer`` holds exactly what changed since ``parent``, which `usable_parent` has accepted. What
    it names as its backing file is not looked at, but replaced. It is encrypted if that is how it
    is to be stored. Raise as `back_up_image` does.
    """
    layer, parent, target = absolute(layer), absolute(parent), absolute(target)
    await asyncio.to_thread(ensure_writable_name, target)
    virtual_size = (await asyncio.to_thread(read_backup_header, parent)).virtual_size
    if storing.key is not None or await fits_as_it_is(layer, target, storing):
        return await keep_as_it_is(layer, parent, target, on_progress, storing.key)
    phases = Phases(on_progress, _LAYER_WEIGHTS)
    partial = partial_name(target)
    async with discarded_on_exit(partial):
        await _store_layer(layer, parent, partial, phases.phase(0), storing.level)
        return await finish_image(
            partial,
            target,
            phases.phase(1),
            virtual_size=virtual_size,
            incremental=True,
            note=None,
            key=storing.key,
        )


async def fits_as_it_is(pushed: Path, target: Path, storing: Storing) -> bool:
    """Say whether a qcow2 that somebody wrote can become a backup file without being copied."""
    if storing.level is not None or not await _is_ours_beside(pushed, target):
        return False
    # libvirt makes what it writes like the disk that it copies.
    return not (await asyncio.to_thread(_header_of, pushed)).extended_tables


async def _is_ours_beside(pushed: Path, target: Path) -> bool:
    if pushed.parent != target.parent:
        return False
    # Of another account's file nobody knows what that will do with it.
    return (await asyncio.to_thread(pushed.stat)).st_uid == os.geteuid()


async def keep_as_it_is(
    pushed: Path,
    parent: Path | None,
    target: Path,
    on_progress: ProgressCallback = ignore_progress,
    key: DataKey | None = None,
) -> ImageResult:
    """Make a qcow2 the backup file ``target``, on ``parent`` or as a full.

    It fits as it is, or is encrypted with ``key``: then it is copied first if it must be.
    """
    pushed, target = absolute(pushed), absolute(target)
    await asyncio.to_thread(ensure_writable_name, target)
    if key is None or await _is_ours_beside(pushed, target):
        advance = Phases(on_progress, _ADOPTED_WEIGHTS).phase(0)
        return await _adopt(pushed, parent, target, advance, key)
    partial, phases = partial_name(target), Phases(on_progress, _COPIED_WEIGHTS)
    copying = phases.phase(0)
    async with discarded_on_exit(partial):
        await copy_encrypted(pushed, partial, lambda done: copying(done.fraction))
        return await _adopt(partial, parent, target, phases.phase(1), key)


async def _adopt(
    pushed: Path,
    parent: Path | None,
    target: Path,
    advance: FractionCallback,
    key: DataKey | None,
) -> ImageResult:
    if parent is not None and key is not None:
        await name_parent(pushed, parent, key)
    elif parent is not None:
        await run_qemu_image(
            name_backing_arguments(pushed, Path(parent.name)),
            doing=f"Putting what changed on {parent}",
            writing=pushed,
        )
    virtual_size = (await asyncio.to_thread(read_backup_header, pushed)).virtual_size
    return await finish_image(
        pushed,
        target,
        advance,
        virtual_size=virtual_size,
        incremental=parent is not None,
        note=None,
        key=key,
    )


async def keep_difference(
    pushed: Path,
    parent: Path,
    target: Path,
    on_progress: ProgressCallback,
    storing: Storing,
) -> ImageResult:
    """Keep what differs from ``parent`` of an encrypted qcow2 that somebody wrote.

    All of it, when the parent cannot be built on; the note says why. Raise as `back_up_image` does.
    """
    pushed, parent, target = absolute(pushed), absolute(parent), absolute(target)
    await asyncio.to_thread(ensure_writable_name, target)
    size = (await asyncio.to_thread(read_backup_header, pushed)).virtual_size
    built_on, problem = await usable_parent(parent, target, size, storing.key)
    partial, phases = partial_name(target), Phases(on_progress, _INCREMENT_WEIGHTS, size)
    async with discarded_on_exit(partial):
        if built_on is not None:
            source = ImageInfo("qcow2", size, None, (pushed,))
            problem = await write_increment(source, built_on, partial, phases, storing)
        if problem is None:
            return await finish_image(
                partial,
                target,
                phases.phase(2),
                virtual_size=size,
                incremental=True,
                note=None,
                key=storing.key,
            )
    kept = await keep_as_it_is(pushed, None, target, on_progress, storing.key)
    return replace(kept, note=f"A full backup was taken, because {problem}.")


def ensure_writable_name(target: Path) -> None:
    """Raise EngineError unless a backup file can be made under this name. Blocking."""
    if ":" in target.name:
        raise EngineError(f"The backup file name {target.name} must not contain a colon.")
    if not target.parent.is_dir():
        raise folder_gone(target.parent)
    if os.path.lexists(target):
        raise _already_there(target)


def _already_there(target: Path) -> EngineError:
    return EngineError(f"The backup file {target} exists already; it is never overwritten.")


async def usable_parent(
    parent: Path | None, target: Path, virtual_size: int, key: DataKey | None = None
) -> tuple[Path | None, str | None]:
    """Return the parent that ``target`` can be built on, or None and the reason in words.

    ``virtual_size`` is that of the disk now, in bytes. With ``key`` the target is to be encrypted,
    and so must all that it is built on be. Without a parent there is no reason either.
    """
    if parent is None:
        return None, None
    problem = await misfit_of(parent, target, virtual_size, key)
    if problem is None:
        problem = await damage_of(parent, key)
    return (absolute(parent), None) if problem is None else (None, problem)


async def misfit_of(
    parent: Path, target: Path, virtual_size: int, key: DataKey | None
) -> str | None:
    """Return why ``target`` cannot be built on ``parent``, as far as headers tell it, or None.

    See `usable_parent`. It takes next to no time.
    """
    parent = absolute(parent)
    if parent.parent != absolute(target).parent:
        return f"the previous point {parent} lies in another folder"
    try:
        headers = await asyncio.to_thread(_headers_of_chain, parent)
    except ChainBroken as error:
        return as_clause(error)
    if any(each.encrypted != (key is not None) for each in headers):
        how = "is encrypted" if key is None else "is not encrypted"
        return f"the previous point {how}, and this one is to be otherwise"
    if headers[0].virtual_size != virtual_size:
        sizes = f"from {headers[0].virtual_size} to {virtual_size} bytes"
        return f"the size of the disk changed {sizes} since the previous point"
    return None


def _headers_of_chain(point: Path) -> list[Qcow2Header]:
    return [read_backup_header(file) for file in backup_files(point)]


async def damage_of(parent: Path, key: DataKey | None) -> str | None:
    """Return why a parent that fits cannot be built on all the same, or None.

    All that describes its data is read, in every file of the chain, unless that is known from a
    short while ago. Raise as `ensure_still_sound` does.
    """
    try:
        await ensure_still_sound(await asyncio.to_thread(backup_files, absolute(parent)), key)
    except KeyRefused:
        return "the previous point is encrypted with another key"
    except ChainBroken as error:
        return as_clause(error)
    return None


async def write_increment(
    source: ImageInfo, parent: Path, partial: Path, phases: Phases, storing: Storing
) -> str | None:
    """Write what differs from the parent into ``partial``; return why it cannot be, or None."""
    limit = storing.rate_limit
    if storing.key is not None:
        try:
            await write_encrypted_increment(source, parent, partial, phases.phase(0), storing)
        except ChainBroken as error:
            await remove_durably(partial)
            return as_clause(error)
        return None
    difference = difference_name(partial)
    image = source.files[0]
    async with discarded_on_exit(difference):
        layer = create_overlay_arguments(difference, image, source.format)
        if limit is not None:
            layer = create_limited_overlay_arguments(
                difference, image, source.format, source.virtual_size
            )
        await run_qemu_image(
            layer,
            doing=f"Preparing to compare {image}",
            writing=difference,
        )
        try:
            await run_qemu_image(
                rebase_arguments(difference, parent.name, limit),
                doing=f"Comparing {image} with {parent}",
                writing=difference,
                on_fraction=phases.phase(0),
            )
        except ChainBroken as error:
            return as_clause(error)
        # What differs was read already, at the speed that is allowed.
        await _store_layer(difference, parent, partial, phases.phase(1), storing.level)
    return None


async def _store_layer(
    layer: Path,
    parent: Path | None,
    partial: Path,
    on_fraction: FractionCallback,
    level: int | None,
) -> None:
    """Write what a layer holds itself into ``partial``, on ``parent`` or as a full."""
    backing_name = None if parent is None else parent.name
    if level is not None and can_be_packed(await asyncio.to_thread(_header_of, layer)):
        await pack(Packing(layer, partial, backing_name, level), on_fraction)
        return
    phases = Phases(lambda progress: on_fraction(progress.fraction), (50, 50))
    async with packed_into(partial, backing_name, level, phases.phase(1)) as written:
        await _convert(
            convert_arguments(
                layer_name(layer, parent),
                written,
                source_format="qcow2",
                target_format="qcow2",
                backing_name=backing_name,
            ),
            f"Keeping what changed in {layer}",
            written,
            phases.phase(0),
            kept=written == partial,
        )


def _header_of(layer: Path) -> Qcow2Header:
    """Read the header of what QEMU has written, whatever it is built on."""
    try:
        return read_header(layer)
    except NotQcow2Error as error:
        raise SourceUnreadable(f"{layer} is no qcow2: {error}.") from error
    except OSError as error:
        raise reading_failure(error, layer) from error


def as_clause(error: ChainBroken) -> str:
    """Return an error's sentence as what follows a "because"."""
    sentence = str(error).rstrip(".")
    return sentence[0].lower() + sentence[1:]


async def write_full(source: ImageInfo, partial: Path, phases: Phases, storing: Storing) -> None:
    """Write all that a disk image holds into ``partial``."""
    image = source.files[0]
    if storing.key is not None:
        await write_encrypted_full(source, partial, phases.phase(0), storing)
        return
    async with packed_into(partial, None, storing.level, phases.phase(1)) as written:
        await _convert(
            convert_arguments(
                image,
                written,
                source_format=source.format,
                target_format="qcow2",
                rate_limit=storing.rate_limit,
            ),
            f"Copying {image}",
            written,
            phases.phase(0),
            kept=written == partial,
        )


def difference_name(partial: Path) -> Path:
    """Given the temporary of an increment, return that of what differs from its parent."""
    return partial_name(partial.with_suffix(""), "difference")


async def _convert(
    arguments: list[str],
    doing: str,
    partial: Path,
    on_fraction: FractionCallback,
    *,
    kept: bool,
) -> None:
    """Have qemu-img write a file, which need not be on stable storage unless it is ``kept``."""
    try:
        async with synchronised_meanwhile(partial) if kept else contextlib.nullcontext():
            await run_qemu_image(arguments, doing=doing, writing=partial, on_fraction=on_fraction)
    except OSError as error:
        raise writing_failure(error, partial) from error


async def finish_image(
    partial: Path,
    target: Path,
    advance: FractionCallback,
    *,
    virtual_size: int,
    incremental: bool,
    note: str | None,
    key: DataKey | None = None,
    spent: Path | None = None,
) -> ImageResult:
    """Hash, synchronise and name a finished file, encrypted with ``key``; return what it is.

    ``spent`` is a temporary that nobody needs any more, removed meanwhile if it can be: of a large
    file that takes its time.
    """
    try:
        file_size = (await asyncio.to_thread(partial.stat)).st_size
        async with together() as group:
            measuring = group.create_task(stored_data_size(partial))
            hashing = group.create_task(
                sha256_of(partial, lambda bytes_read: advance(bytes_read / file_size))
            )
            group.create_task(asyncio.to_thread(synchronise, partial))
            if spent is not None:
                group.create_task(asyncio.to_thread(remove_if_possible, spent))
        await publish(partial, target)
        await asyncio.to_thread(remember_sound, target, key)
    except FileExistsError as error:
        raise _already_there(target) from error
    except OSError as error:
        raise writing_failure(error, target) from error
    advance(1.0)
    return ImageResult(
        target, file_size, measuring.result(), virtual_size, hashing.result(), incremental, note
    )
