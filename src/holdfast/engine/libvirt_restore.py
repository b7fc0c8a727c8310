"""Restores a machine to a host: as a new machine, or over the one that is there.

A single disk to a plain file needs no host: see `image_restore`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.engine.durability import discarded_on_exit, partial_name, publish, remove_durably
from holdfast.engine.errors import ChainBroken, EngineError, MachineBusy, MachineMissing
from holdfast.engine.failures import folder_gone, writing_failure
from holdfast.engine.image_lock import unchanged_while_read
from holdfast.engine.image_restore import restore_image
from holdfast.engine.libvirt_connection import LibvirtConnection, uninterrupted
from holdfast.engine.libvirt_domain import Identity, new_identity, read_definition, rewritten
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint, StoredFile
from holdfast.engine.progress import Phases, Progress, ProgressCallback, ignore_progress
from holdfast.engine.repository import folder_name

_SUFFIXES = {"qcow2": "qcow2", "raw": "img"}


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """A point to make a new machine of.

    ``folder`` holds the point's files; ``target_folder`` takes the disks, and the host must see it
    under the same path. ``name`` None keeps the machine's name; with ``new_identifiers`` it gets a
    new UUID and new MAC addresses. ``disks`` names those to restore, None all.
    """

    point: MachinePoint
    folder: Path
    target_folder: Path
    name: str | None = None
    new_identifiers: bool = False
    disks: frozenset[str] | None = None
    power_on: bool = False


@dataclass(frozen=True, slots=True)
class RestoredMachine:
    """A machine that was restored, and the file of each of its disks."""

    uuid: str
    name: str
    disks: dict[str, Path]


@dataclass(frozen=True, slots=True)
class _File:
    """A file to be: a disk of the point, or small content. It gets its name when all are whole."""

    path: Path
    format: str
    source: DiskPoint | bytes

    @property
    def partial(self) -> Path:
        return partial_name(self.path, "restored")


async def restore_machine(
    connection: LibvirtConnection,
    plan: RestorePlan,
    on_progress: ProgressCallback = ignore_progress,
) -> RestoredMachine:
    """Make a new machine of a point. Nothing that exists is overwritten.

    Raise MachineBusy when the host has a machine of that name or UUID, ChainBroken naming the file
    when one of the point's is missing or damaged, NoSpace, HypervisorUnavailable, HypervisorFailed
    or EngineError; then, and when cancelled, neither files nor a definition are left.
    """
    xml = await stored_content(plan.folder, plan.point.definition)
    definition = read_definition(xml)
    name = plan.name or definition.name
    identity = Identity(name, definition.uuid, False)
    if plan.new_identifiers:
        identity = new_identity(name)
    await _ensure_new(connection, identity)
    folder = plan.target_folder.absolute()
    if not await asyncio.to_thread(folder.is_dir):
        raise folder_gone(folder)
    files = [_new_file(folder, name, disk) for disk in _chosen(plan.point, plan.disks)]
    places = {_target(file): (file.path, file.format) for file in files}
    nvram = None
    if plan.point.nvram is not None:
        nvram = folder / f"{folder_name(name)}_VARS.fd"
        files.append(_File(nvram, "raw", await stored_content(plan.folder, plan.point.nvram)))
    new_xml = rewritten(xml, identity=identity, disks=places, nvram=nvram)
    machine = LibvirtMachine(connection, identity.uuid)
    async with _written(plan.folder, files, on_progress, overwrite=False):
        try:
            await connection.call(
                lambda _library, connect: connect.defineXML(new_xml), doing=f"defining {name}"
            )
            if plan.power_on:
                await machine.start()
        except BaseException:
            with contextlib.suppress(EngineError):
                await uninterrupted(_remove(machine))
            raise
    return RestoredMachine(identity.uuid, name, {key: path for key, (path, _) in places.items()})


async def restore_in_place(
    connection: LibvirtConnection,
    plan: RestorePlan,
    on_progress: ProgressCallback = ignore_progress,
) -> RestoredMachine:
    """Bring the machine that a point was made of back to it; it must be off.

    Disks are replaced where the point found them; ``target_folder``, ``name`` and
    ``new_identifiers`` of the plan are not looked at. Without ``disks`` the definition and the
    NVRAM are restored, too. No disk is replaced before all of them are whole. Raise MachineMissing,
    MachineBusy while it runs, and as `restore_machine` does.
    """
    machine = LibvirtMachine(connection, plan.point.uuid)
    if await machine.state() is not State.OFF:
        raise MachineBusy(f"The machine {plan.point.name} runs; power it off first.")
    xml = await stored_content(plan.folder, plan.point.definition)
    definition = read_definition(xml)
    files = [_same_file(disk) for disk in _chosen(plan.point, plan.disks)]
    places = {_target(file): file.path for file in files}
    if plan.disks is None and plan.point.nvram is not None and definition.nvram is not None:
        content = await stored_content(plan.folder, plan.point.nvram)
        files.append(_File(Path(definition.nvram), "raw", content))
    async with _written(plan.folder, files, on_progress, overwrite=True):
        if plan.disks is None:
            # The restored images have no bitmaps, so there is nothing that these records stand for.
            for checkpoint in await machine.checkpoints():
                await machine.delete_checkpoint(checkpoint)
            text = xml.decode()
            await connection.call(
                lambda _library, connect: connect.defineXML(text),
                doing=f"defining {definition.name}",
            )
        if plan.power_on:
            await machine.start()
    return RestoredMachine(plan.point.uuid, definition.name, places)


async def stored_content(folder: Path, file: StoredFile) -> bytes:
    """Return a small file of a point; raise ChainBroken unless it is as it was stored."""
    path = folder / file.name
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise ChainBroken(f"The backup file {path} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ChainBroken(f"The backup file {path} is damaged: it is not what was stored.")
    return content


def _chosen(point: MachinePoint, wanted: frozenset[str] | None) -> list[DiskPoint]:
    if wanted is None:
        return list(point.disks)
    missing = wanted - {disk.state.target for disk in point.disks}
    if missing:
        raise EngineError(f"The point does not hold the disk {', '.join(sorted(missing))}.")
    return [disk for disk in point.disks if disk.state.target in wanted]


def _target(file: _File) -> str:
    return file.source.state.target if isinstance(file.source, DiskPoint) else ""


def _new_file(folder: Path, name: str, disk: DiskPoint) -> _File:
    # In the format it had, where a new file can have it: what the guest sees is the same in any.
    format = disk.state.format if disk.state.format in _SUFFIXES else "qcow2"
    file_name = f"{folder_name(name)}-{disk.state.target}.{_SUFFIXES[format]}"
    return _File(folder / file_name, format, disk)


def _same_file(disk: DiskPoint) -> _File:
    if disk.state.path is None:
        raise EngineError(f"The disk {disk.state.target} was no file, so it cannot be replaced.")
    return _File(Path(disk.state.path), disk.state.format, disk)


async def _ensure_new(connection: LibvirtConnection, identity: Identity) -> None:
    def find(library: Any, connect: Any) -> str | None:
        for look_up, key in (
            (connect.lookupByName, identity.name),
            (connect.lookupByUUIDString, identity.uuid),
        ):
            try:
                look_up(key)
            except library.libvirtError as error:
                if error.get_error_code() != library.VIR_ERR_NO_DOMAIN:
                    raise
            else:
                return key
        return None

    found = await connection.call(find, doing=f"looking for {identity.name}")
    if found is not None:
        raise MachineBusy(
            f"The host has a machine {found} already; restore under another name and with new "
            "identifiers, or over it."
        )


@contextlib.asynccontextmanager
async def _written(
    folder: Path, files: Sequence[_File], on_progress: ProgressCallback, *, overwrite: bool
) -> AsyncIterator[None]:
    """Write all files, name them, and take new ones away again when the block fails."""
    made: list[Path] = []
    async with discarded_on_exit(*(file.partial for file in files)):
        try:
            await _write(folder, files, on_progress)
            for file in files:
                await _name(file, overwrite)
                made.append(file.path)
            yield
        except BaseException:
            if not overwrite:
                for path in made:
                    await remove_durably(path)
            raise


async def _write(folder: Path, files: Sequence[_File], on_progress: ProgressCallback) -> None:
    disks = [file.source for file in files if isinstance(file.source, DiskPoint)]
    sizes = [max(disk.state.virtual_size, 1) for disk in disks]
    phases = Phases(on_progress, sizes or [1])
    number = 0
    for file in files:
        if isinstance(file.source, bytes):
            try:
                await asyncio.to_thread(file.partial.write_bytes, file.source)
            except OSError as error:
                raise writing_failure(error, file.path) from error
            continue
        advance = phases.phase(number)
        number += 1

        def tell(progress: Progress, advance: Callable[[float], None] = advance) -> None:
            advance(progress.fraction)

        point = folder / file.source.file.name
        await restore_image(point, file.partial, tell, format=file.format)


async def _name(file: _File, overwrite: bool) -> None:
    try:
        if overwrite and await asyncio.to_thread(file.path.exists):
            # A machine running on the old file would go on writing to it, unseen, after the rename.
            with unchanged_while_read([file.path]):
                await publish(file.partial, file.path, overwrite=True)
        else:
            await publish(file.partial, file.path)
    except FileExistsError as error:
        raise EngineError(f"{file.path} exists already; it is not overwritten.") from error
    except OSError as error:
        raise writing_failure(error, file.path) from error


async def _remove(machine: LibvirtMachine) -> None:
    with contextlib.suppress(MachineMissing):
        if await machine.state() is not State.OFF:
            await machine.destroy()
        await machine.undefine()
