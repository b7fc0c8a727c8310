"""Sends what was read of a disk into a file of a replica, on storage that another host sees.

As `image_backup` makes the files of a backup, but uncompressed, since a machine is to run on them,
and over NBD with TLS (`nbd_transfer`), the way it would go to another machine.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.durability import discarded_on_exit, partial_name
from holdfast.engine.errors import ChainBroken
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_backup import (
    ImageResult,
    as_clause,
    ensure_writable_name,
    finish_image,
)
from holdfast.engine.image_chain import read_backup_header
from holdfast.engine.nbd_transfer import send
from holdfast.engine.progress import Phases, ProgressCallback, ignore_progress
from holdfast.engine.qemu_image import (
    absolute,
    create_arguments,
    create_overlay_arguments,
    name_backing_arguments,
    rebase_arguments,
    run_qemu_image,
)

# Compare, send, hash.
_LAYER_WEIGHTS = (0, 80, 20)
_DIFFERENCE_WEIGHTS = (60, 25, 15)


@dataclass(frozen=True, slots=True)
class SendResult:
    """A file that was sent, and how many bytes that took on the wire."""

    image: ImageResult
    sent: int


async def send_layer(
    layer: Path,
    parent: Path,
    target: Path,
    keys: Path,
    on_progress: ProgressCallback = ignore_progress,
) -> SendResult:
    """Send the changed blocks that somebody wrote into a qcow2, as an increment on ``parent``.

    As `image_backup.keep_layer`; ``keys`` is a folder for the keys of the transfer.
    """
    layer, parent, target = absolute(layer), absolute(parent), absolute(target)
    await run_qemu_image(
        name_backing_arguments(layer, parent),
        doing=f"Putting what changed on {parent}",
        writing=layer,
    )
    return await _send(layer, parent, target, keys, Phases(on_progress, _LAYER_WEIGHTS), None)


async def send_image(
    image: Path,
    parent: Path | None,
    target: Path,
    keys: Path,
    on_progress: ProgressCallback = ignore_progress,
) -> SendResult:
    """Send a qcow2 that nobody writes to: what differs from ``parent``, or all without one.

    When the parent cannot be compared with, all is sent, and the result's note says why. Beside
    the image there must be room for what differs. Raise NoSpace, RepositoryUnavailable,
    ToolMissing, ToolFailed or EngineError; then, and when cancelled, nothing is left.
    """
    image, target = absolute(image), absolute(target)
    if parent is None:
        return await _send(image, None, target, keys, Phases(on_progress, _LAYER_WEIGHTS), None)
    parent = absolute(parent)
    phases = Phases(on_progress, _DIFFERENCE_WEIGHTS)
    difference = partial_name(image.with_name(target.name), "difference")
    async with discarded_on_exit(difference):
        await run_qemu_image(
            create_overlay_arguments(difference, image, "qcow2"),
            doing=f"Preparing to compare {image}",
            writing=difference,
        )
        try:
            await run_qemu_image(
                rebase_arguments(difference, str(parent)),
                doing=f"Comparing {image} with {parent}",
                writing=difference,
                on_fraction=phases.phase(0),
            )
        except ChainBroken as error:
            note = f"A full was sent, because {as_clause(error)}."
            return await _send(image, None, target, keys, phases, note)
        return await _send(difference, parent, target, keys, phases, None)


async def _send(
    source: Path, parent: Path | None, target: Path, keys: Path, phases: Phases, note: str | None
) -> SendResult:
    await asyncio.to_thread(ensure_writable_name, target)
    size = (await asyncio.to_thread(read_backup_header, parent or source)).virtual_size
    partial = partial_name(target)
    async with discarded_on_exit(partial):
        create = create_arguments(partial, size)
        if parent is not None:
            create = create_overlay_arguments(partial, Path(parent.name), "qcow2")
        await run_qemu_image(create, doing=f"Making {target}", writing=partial)
        try:
            await asyncio.to_thread(partial.chmod, 0o600)  # copies of people's data
        except OSError as error:
            raise writing_failure(error, partial) from error
        sent = await send(source, partial, backing=parent, keys=keys, on_fraction=phases.phase(1))
        result = await finish_image(
            partial,
            target,
            phases.phase(2),
            virtual_size=size,
            incremental=parent is not None,
            note=note,
        )
    return SendResult(result, sent)
