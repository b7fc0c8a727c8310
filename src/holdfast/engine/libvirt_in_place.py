"""Restores a machine over itself: its disks are replaced where they are now.

Where the point found them is of no account: they may have been moved since, and another machine's
disk may be there now. What is no disk of the machine is never overwritten, nor what is another
machine's, too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.errors import (
    EngineError,
    HypervisorFailed,
    HypervisorUnavailable,
    LeftUnfinished,
    MachineBusy,
)
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import (
    Definition,
    read_definition,
    replaced,
    standing_alone,
)
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_point import DiskPoint
from holdfast.engine.libvirt_restore import (
    LAYER_SUFFIX,
    RestoredMachine,
    RestorePlan,
    chosen_disks,
    stored_content,
)
from holdfast.engine.libvirt_same_folder import ensure_same_folder
from holdfast.engine.libvirt_saved import ensure_nothing_saved
from holdfast.engine.libvirt_users import users_of
from holdfast.engine.progress import ProgressCallback, ignore_progress
from holdfast.engine.restored_files import (
    FileToBe,
    Ledger,
    NoLedger,
    WholeFile,
    carried_out,
    expect_regular,
    finish_naming,
    written,
)


async def restore_in_place(
    connection: LibvirtConnection,
    plan: RestorePlan,
    on_progress: ProgressCallback = ignore_progress,
    ledger: Ledger | None = None,
) -> RestoredMachine:
    """Bring the machine that a point was made of back to it; it must be off.

    ``target_folder``, ``name`` and ``new_identifiers`` of the plan are not looked at. Without
    ``disks`` the definition and the NVRAM are restored, too; the machine keeps the name that it has
    now. No disk is replaced before all of them are whole. Raise MachineMissing, MachineBusy while
    it runs or its memory is saved, EngineError when a disk has no place that is the machine's
    alone, and as `restore_machine` does. Raise LeftUnfinished when only some of it could be done;
    then `finish_in_place` does the rest, later.
    """
    machine = LibvirtMachine(connection, plan.point.uuid)
    if await machine.state() is not State.OFF:
        raise MachineBusy(f"The machine {plan.point.name} runs; power it off first.")
    found = await _found(machine, plan)
    await ensure_nothing_saved(machine, found.now.name)
    await asyncio.to_thread(found.ensure_free, plan)
    await _ensure_alone(connection, plan.point.uuid, found.paths)
    await asyncio.to_thread(expect_regular, map(Path, found.paths))
    await _ensure_seen(connection, found.paths)
    files = [FileToBe(path, format, disk) for disk, path, format in found.disks]
    if found.nvram is not None and plan.point.nvram is not None:
        content = await stored_content(plan.folder, plan.point.nvram, plan.key)
        files.append(FileToBe(found.nvram, "raw", content))

    async def allowed() -> None:
        # The copying took its time.
        nonlocal found
        await ensure_nothing_saved(machine, found.now.name)
        now = await _found(machine, plan)
        if now.paths != found.paths:
            raise EngineError(
                f"The machine {found.now.name} was given other disks while they were restored: "
                "none was replaced."
            )
        await asyncio.to_thread(now.ensure_free, plan)
        await _ensure_alone(connection, plan.point.uuid, now.paths)
        await _ensure_seen(connection, now.paths)
        found = now

    async with written(
        plan.folder,
        files,
        on_progress,
        ledger or NoLedger(),
        overwrite=True,
        key=plan.key,
        allowed=allowed,
    ):
        warning = await carried_out(_use(machine, plan, found))
    places = {disk.state.target: path for disk, path, _ in found.disks}
    return RestoredMachine(plan.point.uuid, found.now.name, places, warning)


async def finish_in_place(
    connection: LibvirtConnection, plan: RestorePlan, files: Sequence[WholeFile]
) -> None:
    """Go on where a restore in place was cut off after it had begun to name ``files``.

    It may have been done already. The machine is left off. Raise as `restore_in_place` and
    `finish_naming` do.
    """
    machine = LibvirtMachine(connection, plan.point.uuid)
    await finish_naming(files)
    if await machine.state() is State.OFF:
        found = await _found(machine, plan)
        if not found.paths <= {file.path for file in files}:
            raise EngineError(
                "The disks were restored, but the machine was given other ones meanwhile: its "
                "definition stays as it is."
            )
        await _redefine(machine, found)


@dataclass(frozen=True)
class _Found:
    """A machine as it is ``now``, and where each disk and the NVRAM of a point is to be.

    ``xml`` is its own definition; ``definition`` is the point's, None where that stays out of it.
    """

    now: Definition
    xml: str
    definition: bytes | None
    disks: list[tuple[DiskPoint, Path, str]]
    nvram: Path | None

    @property
    def paths(self) -> set[str]:
        paths = {str(path) for _, path, _ in self.disks}
        return paths if self.nvram is None else paths | {str(self.nvram)}

    def ensure_free(self, plan: RestorePlan) -> None:
        """Refuse to take for the machine's what it does not have any more. Blocking."""
        own = {_plain(disk.path) for disk in self.now.disks} | {_plain(self.now.nvram)}
        for path in sorted(self.paths - own):
            if os.path.lexists(path):
                raise EngineError(
                    f"{path} is there, but is no disk of the machine {plan.point.name} any more, "
                    "so it is not overwritten. Move it away, or restore to a new machine."
                )


async def _found(machine: LibvirtMachine, plan: RestorePlan) -> _Found:
    current = await machine.definition(live=False)
    now = read_definition(current)
    disks = [_place_of(disk, now, plan) for disk in chosen_disks(plan.point, plan.disks)]
    _refuse_one_place(disks)
    if plan.disks is not None:
        return _Found(now, current, None, disks, None)
    xml = await stored_content(plan.folder, plan.point.definition, plan.key)
    nvram = None
    if plan.point.nvram is not None and (before := read_definition(xml).nvram) is not None:
        nvram = Path(now.nvram or before)
    return _Found(now, current, xml, disks, nvram)


def _plain(path: str | None) -> str | None:
    """Return a path as `_Found.paths` has it: without what is twice in it."""
    return None if path is None else str(Path(path))


def _refuse_one_place(disks: Sequence[tuple[DiskPoint, Path, str]]) -> None:
    """Refuse to restore two disks to one file: the machine has a disk where another one was."""
    there: dict[Path, str] = {}
    for disk, path, _ in disks:
        target = disk.state.target
        if path in there:
            raise EngineError(
                f"{there[path]} and {target} would both be restored to {path}. Restore one of them "
                "alone, or the machine as a new one."
            )
        there[path] = target


def _place_of(disk: DiskPoint, now: Definition, plan: RestorePlan) -> tuple[DiskPoint, Path, str]:
    target = disk.state.target
    there = next((each for each in now.disks if each.target == target), None)
    if there is None:
        if plan.disks is not None:
            raise EngineError(
                f"The machine {now.name} has no disk {target} any more. Restore the whole machine, "
                "or the disk to a file."
            )
        path, format = disk.state.path, disk.state.format
    else:
        path, format = there.path, there.format
    if path is None or (there is not None and there.left_out is not None):
        raise EngineError(f"{target} is no disk in a file now, so it cannot be replaced.")
    if path.endswith(LAYER_SUFFIX):
        raise EngineError(
            f"The machine {now.name} runs from a restore point. Move it to its own storage, or "
            "discard it, first."
        )
    return disk, Path(path), format


async def _ensure_alone(connection: LibvirtConnection, uuid: str, paths: Collection[str]) -> None:
    """Refuse files that another machine of the host has, too."""

    for user in await users_of(connection, paths):
        if user.uuid != uuid:
            raise EngineError(
                f"{user.path} is a disk of the machine {user.name}, too: it is not overwritten."
            )


async def _ensure_seen(connection: LibvirtConnection, paths: Collection[str]) -> None:
    """Refuse files whose folders are others on the host: its disks would stay as they are."""
    for folder in sorted({Path(path).parent for path in paths}):
        await ensure_same_folder(connection, folder)


async def _use(machine: LibvirtMachine, plan: RestorePlan, found: _Found) -> str:
    """Define a machine whose disks are restored, and power it on; return what is to be noted."""
    try:
        await _redefine(machine, found)
    except HypervisorUnavailable as error:
        raise LeftUnfinished(
            f"The disks are restored, but the definition is not: {error}"
        ) from error
    except EngineError as error:
        raise HypervisorFailed(
            f"The disks are restored, but the definition is not: {error}"
        ) from error
    try:
        if plan.power_on:
            await machine.start()
    except HypervisorUnavailable as error:
        return f"The machine is restored. Whether it was powered on is not known: {error}"
    except EngineError as error:
        return f"The machine is restored, but was not powered on: {error}"
    return ""


async def _redefine(machine: LibvirtMachine, found: _Found) -> None:
    """Give a machine the definition of the point, if that is restored, or what is true of disks."""
    places = {disk.state.target: (path, format) for disk, path, format in found.disks}
    xml: str | None
    if found.definition is None:
        xml = standing_alone(found.xml, places.keys())
    else:
        # The restored images have no bitmaps, so there is nothing that these records stand for.
        for checkpoint in await machine.checkpoints():
            await machine.delete_checkpoint(checkpoint)
        xml = replaced(found.definition, found.xml, places, found.nvram)
    if xml is None:
        return
    await machine.connection.call(
        lambda _library, connect: connect.defineXML(xml), doing=f"defining {machine.uuid}"
    )
