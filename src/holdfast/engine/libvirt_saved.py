"""Machines that are off, with what was in their memory stored on the host (`virsh managedsave`).

Such a machine goes on where it was: with its next start, paused or not, libvirt brings the memory
back and forgets it. Its disks stand in the middle of whatever it was doing. So it is never started
for a backup, and none of its disks is replaced: the memory would go on over other disks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from holdfast.engine.errors import EngineError, MachineBusy
from holdfast.engine.image_backup import write_full
from holdfast.engine.image_lock import unchanged_while_read
from holdfast.engine.image_restore import make_private
from holdfast.engine.image_source import ImageInfo, inspect
from holdfast.engine.libvirt_domain import MachineDisk
from holdfast.engine.libvirt_ladder import Decision, DiskState, Rung
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_same_folder import ensure_same_folder
from holdfast.engine.libvirt_work import Work
from holdfast.engine.progress import Phases, Progress

SAVED = (
    "The machine is off with its memory saved (virsh managedsave). That memory is not part of the "
    "point, which is crash-consistent: a restored machine starts as after a power failure."
)
_NOT_ASKED = "the machine is off with its memory saved, so QEMU was not asked what changed"


async def ensure_nothing_saved(machine: LibvirtMachine, name: str) -> None:
    """Raise MachineBusy when a machine that is off would go on where it was, over its disks."""
    if await machine.saved_definition() is not None:
        raise MachineBusy(
            f"The machine {name} is off with its memory saved (virsh managedsave), and would go on "
            f"over other disks with that. Start it and shut it down, or discard what is saved: "
            f"virsh managedsave-remove {name}"
        )


def read_whole(decisions: Collection[Decision]) -> list[Decision]:
    """Given decisions for a machine that runs, return those for one that is not to be started."""
    return [
        replace(decision, rung=Rung.DIFFERENCE, reason=_NOT_ASKED, expected=True)
        if decision.rung is Rung.CHANGED_BLOCKS
        else decision
        for decision in decisions
    ]


async def state_at_rest(machine: LibvirtMachine, disk: MachineDisk) -> DiskState:
    """Return what identifies a disk of a machine that is not to be started.

    Raise SourceMissing, SourceUnreadable, or EngineError when it is no file that is seen here.
    """
    source = await _source(disk)
    await ensure_same_folder(machine.connection, Path(disk.path or "").parent)
    inode = (await asyncio.to_thread(source.files[0].stat)).st_ino
    return DiskState(disk.target, disk.path, disk.format, source.virtual_size, inode)


async def _source(disk: MachineDisk) -> ImageInfo:
    if disk.path is None:
        raise EngineError(
            f"{disk.target} is no file, so it cannot be read while the machine is off with its "
            "memory saved. Start the machine, or leave that disk out."
        )
    return await inspect(Path(disk.path), disk.format)


async def copy_at_rest(work: Work) -> None:
    """Copy the disks of a machine with a saved memory, as of one instant, into its temporaries.

    It cannot be started meanwhile. Raise ImageInUse or MachineBusy when it was just before, and as
    `back_up_image` does.
    """
    advance = work.phases.phase(0)
    sources = [await _source(disk) for disk in work.disks]
    with unchanged_while_read([file for source in sources for file in source.files]):
        if await work.machine.saved_definition() != work.saved:
            raise MachineBusy(
                f"The machine {work.definition.name} was powered on as its backup began. Back it "
                "up again."
            )
        for number, (disk, source) in enumerate(zip(work.disks, sources, strict=True)):

            def tell(progress: Progress, number: int = number) -> None:
                advance((number + progress.fraction) / len(sources))

            pushed = work.pushed(disk.target)
            # It is compressed when it is kept.
            storing = replace(work.plan.storing, level=None)
            if storing.key is None:
                await asyncio.to_thread(make_private, pushed)
            await write_full(source, pushed, Phases(tell, (1, 0)), storing)
