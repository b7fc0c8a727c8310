"""Brings what a replica has written while it was failed over back to the source machine.

Only what may differ is read, and only what differs is written: the clusters of the replica's
layers, and what the source has written since the point, as its own bitmap knows. Where that bitmap
cannot be trusted the whole disks are compared. The source's disks are written in place and through
QEMU, so that the source's bitmaps learn of every block: the next replication finds what changed.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.disk_difference import (
    Extent,
    Moved,
    bring_over,
    held_by,
    united,
    written_since,
)
from holdfast.engine.disk_service import Image, released, served
from holdfast.engine.durability import (
    discarded_on_exit,
    partial_name,
    publish,
    write_private,
)
from holdfast.engine.errors import EngineError, HypervisorFailed, MachineBusy, ToolFailed
from holdfast.engine.failures import reading_failure, writing_failure
from holdfast.engine.image_restore import adopt_permissions
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import MachineDisk, read_definition
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_overlay import FailoverPlan
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint
from holdfast.engine.libvirt_same_folder import ensure_same_folder
from holdfast.engine.libvirt_saved import ensure_nothing_saved
from holdfast.engine.libvirt_uri import is_local
from holdfast.engine.progress import Phases, ProgressCallback, ignore_progress


@dataclass(frozen=True, slots=True)
class FailbackPlan:
    """Which machine gets back what a replica has written.

    ``source`` is its UUID. ``later`` are the points of the same chain that came after the one that
    was failed over to, oldest first: the last of them, or that one, is where the source's bitmap
    begins. ``keys`` is a folder for the keys of transfers.
    """

    failover: FailoverPlan
    source: str
    keys: Path
    later: tuple[MachinePoint, ...] = ()

    @property
    def newest(self) -> MachinePoint:
        """The newest point of the chain."""
        return self.later[-1] if self.later else self.failover.point


@dataclass(frozen=True, slots=True)
class DiskBroughtBack:
    """A disk that is equal to the replica's now, and what that took.

    ``reason`` says why the whole disk was compared; None when only what may differ was.
    """

    target: str
    moved: Moved
    reason: str | None


async def ensure_possible(
    replica: LibvirtConnection, source: LibvirtConnection, plan: FailbackPlan
) -> None:
    """Raise why a failback cannot be begun: MachineMissing, MachineBusy or EngineError."""
    for disk, there in await _disks(source, plan):
        await _ensure_same_size(LibvirtMachine(source, plan.source), disk.state.target, there)
    await ensure_stands_in(replica, plan.failover)


async def ensure_stands_in(replica: LibvirtConnection, plan: FailoverPlan) -> None:
    """Raise EngineError when the replica is not on its layers, MachineMissing without one.

    Raise MachineBusy when its memory is saved: what is in that would be lost.
    """
    machine = LibvirtMachine(replica, plan.identity.uuid)
    ours = await machine.definition(live=False)
    await ensure_nothing_saved(machine, plan.identity.name)
    if not plan.stands_in(ours):
        raise EngineError(
            f"The replica {plan.identity.name} has other disks than it was given when it "
            "took over, so it is not known what it has written."
        )


async def bring_back(
    source: LibvirtConnection,
    plan: FailbackPlan,
    on_progress: ProgressCallback = ignore_progress,
    *,
    running: bool,
) -> list[DiskBroughtBack]:
    """Bring the disks of the source to those of the replica, as far as they differ.

    With ``running`` the replica still writes: what is brought over then is only most of it, and has
    to be followed by a call without, once the replica is off. Raise MachineBusy when the source
    runs, EngineError when its disks are not as the replica's, ImageInUse, NoSpace or ToolFailed:
    then the source's disks are between two states, and this is to be called again.
    """
    disks = await _disks(source, plan)
    sizes = [float(max(disk.state.virtual_size, 1)) for disk, _ in disks]
    phases = Phases(on_progress, sizes)
    done = []
    for number, (disk, there) in enumerate(disks):
        advance = phases.phase(number)
        done.append(await _bring_disk(plan, disk, there, running, advance))
        advance(1.0)
    if not running:
        await _bring_nvram(source, plan)
    return done


async def _disks(
    source: LibvirtConnection, plan: FailbackPlan
) -> list[tuple[DiskPoint, MachineDisk]]:
    """Return the disks of the point with those of the source that take what was written."""
    machine = LibvirtMachine(source, plan.source)
    definition = read_definition(await machine.definition(live=False))
    if await machine.state() is not State.OFF:
        raise MachineBusy(
            f"The source machine {definition.name} runs; shut it down before the failback."
        )
    await ensure_nothing_saved(machine, definition.name)
    found = {disk.target: disk for disk in definition.disks}
    chosen, folders = [], set[Path]()
    for disk in plan.failover.point.disks:
        there = found.get(disk.state.target)
        if there is None or there.path is None:
            raise EngineError(
                f"The source machine {definition.name} has no disk {disk.state.target} that can be "
                "written to. Fail back to another place."
            )
        path = Path(there.path)
        if there.device or path.is_relative_to("/dev"):
            # Whatever has that name here may be another one, such as a disk of this machine.
            _ensure_local(source, path)
        if await asyncio.to_thread(_is_device, path):
            _ensure_local(source, path)
        else:
            folders.add(path.parent)
        chosen.append((disk, there))
    if plan.failover.nvram is not None and definition.nvram is not None:
        folders.add(Path(definition.nvram).parent)
    for folder in sorted(folders):
        await ensure_same_folder(source, folder)
    return chosen


def _is_device(path: Path) -> bool:
    """Say whether a disk is a block device. Blocking; raise EngineError when it is no disk here."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise EngineError(
            f"The disk {path} of the source cannot be reached from here: {error.strerror}. "
            "Fail back to another place."
        ) from error
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise EngineError(f"The disk {path} of the source is neither a file nor a block device.")
    return stat.S_ISBLK(mode)


def _ensure_local(source: LibvirtConnection, path: Path) -> None:
    if not is_local(source.uri):
        raise EngineError(
            f"The disk {path} of {source.uri} is a block device, of which the backup server cannot "
            "see whether it is the one that it has under that path. Fail back to another place."
        )


async def _ensure_same_size(machine: LibvirtMachine, target: str, there: MachineDisk) -> None:
    """Raise EngineError when a disk's file here cannot be the one that the host has under its path.

    A device is let pass.
    """
    path = Path(there.path or "")
    here = await asyncio.to_thread(_size_of_file, path)
    if here is None:
        return
    try:
        on_host = await machine.file_size(target)
    except HypervisorFailed:
        return  # it cannot look at it while the machine is off
    if on_host != here:
        raise EngineError(
            f"The file {path} has {here} bytes here and {on_host} on the source's host, so it is "
            "another one. The backup server must see the source's disks under the same path."
        )


def _size_of_file(path: Path) -> int | None:
    """Return the size of a regular file, None for a device. Blocking."""
    if not path.is_file():
        return None
    try:
        # Opened, since only then a share is asked anew.
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise reading_failure(error, path) from error


async def _bring_disk(
    plan: FailbackPlan,
    disk: DiskPoint,
    there: MachineDisk,
    running: bool,
    advance: Callable[[float], None],
) -> DiskBroughtBack:
    assert there.path is not None  # noqa: S101 - _disks has seen to it
    target = Image(Path(there.path), there.format)
    layer = plan.failover.layer(disk.state.target)
    for path in (target.path, *([] if running else [layer])):
        await released(path)
    extents, reason = await _may_differ(plan, disk, there, layer, running)

    def tell(done: int, total: int) -> None:
        advance(done / total if total else 1.0)

    async with (
        served(Image(layer, "qcow2"), plan.keys, running=running) as reading,
        served(target, plan.keys, writable=True) as writing,
    ):
        moved = await bring_over(reading, writing, extents, tell)
    return DiskBroughtBack(disk.state.target, moved, reason)


async def _may_differ(
    plan: FailbackPlan, disk: DiskPoint, there: MachineDisk, layer: Path, running: bool
) -> tuple[list[Extent] | None, str | None]:
    """Return where the two disks may differ, or None for anywhere and the reason."""
    name = disk.state.target
    newest, bitmap = plan.newest.disk(name), plan.newest.checkpoint
    if reason := await asyncio.to_thread(_mistrusted, newest, there):
        return None, reason
    assert bitmap is None or there.path is not None  # noqa: S101
    if bitmap is None:
        return None, "the newest point was made without a checkpoint"
    extents = await held_by(layer, running=running)
    for point in plan.later:
        increment = point.disk(name)
        if increment is None or not increment.incremental:
            return None, "a later point of the chain holds the whole disk"
        extents += await held_by(plan.failover.folder / increment.file.name)
    try:
        extents += await written_since(Image(Path(there.path or ""), there.format), bitmap)
    except ToolFailed:
        return None, "the source's record of what it wrote is missing or broken"
    return united(extents, disk.state.virtual_size), None


def _mistrusted(newest: DiskPoint | None, there: MachineDisk) -> str | None:
    """Return why a bitmap on the source's disk says nothing of the chain, or None. Blocking."""
    if newest is None:
        return "the newest point does not hold this disk"
    if not there.tracked:
        return f"its format {there.format} keeps no record of what changed"
    if (newest.state.path, newest.state.format) != (there.path, there.format):
        return "it lies in another place than at the newest point"
    if (
        newest.state.inode is not None
        and newest.state.inode != Path(there.path or "").stat().st_ino
    ):
        return "its file was replaced by another since the newest point"
    return None


async def _bring_nvram(source: LibvirtConnection, plan: FailbackPlan) -> None:
    ours = plan.failover.nvram
    if ours is None:
        return
    definition = read_definition(await LibvirtMachine(source, plan.source).definition(live=False))
    if definition.nvram is None:
        return
    path = Path(definition.nvram)
    partial = partial_name(path, "failback")
    async with discarded_on_exit(partial):
        try:
            content = await asyncio.to_thread(ours.read_bytes)
            await asyncio.to_thread(write_private, partial, content)
            await asyncio.to_thread(adopt_permissions, partial, path)
            await publish(partial, path, overwrite=True)
        except OSError as error:
            raise writing_failure(error, path) from error
