"""Brings what a replica holds to another place than the source's: a new machine, on any host.

There the point that took over is copied whole, which its files allow while the replica runs: nobody
writes to them. Then what the replica's layers hold themselves is brought over, once while it runs
and once when it is off. All files are whole before the first gets its name, and the machine is
defined last. Each function can be killed at any moment and called again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.engine.disk_difference import Moved, bring_over, held_by, united
from holdfast.engine.disk_service import Image, released, served
from holdfast.engine.durability import partial_name, publish, remove_durably, write_private
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    MachineBusy,
    MachineMissing,
    SourceMissing,
    SourceUnreadable,
)
from holdfast.engine.failures import folder_gone, target_folder_gone, writing_failure
from holdfast.engine.image_chain import read_backup_header
from holdfast.engine.image_lock import unchanged_while_read
from holdfast.engine.known_file import KnownFile
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import (
    Identity,
    files_in,
    leave_host_devices,
    new_identity,
    read_definition,
    rewritten,
)
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_overlay import FailoverPlan
from holdfast.engine.libvirt_replica import connect_cards, networks_of
from holdfast.engine.libvirt_restore import stored_content
from holdfast.engine.libvirt_same_folder import ensure_same_folder
from holdfast.engine.libvirt_users import users_of
from holdfast.engine.libvirt_xml import parse, unparse
from holdfast.engine.nbd_transfer import send
from holdfast.engine.progress import Phases, ProgressCallback, ignore_progress
from holdfast.engine.qemu_image import absolute, create_arguments, run_qemu_image
from holdfast.engine.repository import folder_name

_PURPOSE = "failback"


@dataclass(frozen=True, slots=True)
class NewPlace:
    """The machine that is to take the source's place.

    Its files come into ``folder``, which the host sees under the same path. ``networks`` gives the
    host's network, or bridge, for those of the source that it is to take the place of.
    """

    name: str
    uuid: str
    folder: Path
    networks: Mapping[str, str] = field(default_factory=dict)

    def disk(self, target: str) -> Path:
        """Return the file for a disk, such as vda."""
        return self.folder / f"{folder_name(self.name)}-{target}.qcow2"

    @property
    def nvram(self) -> Path:
        """The file for the machine's NVRAM, if it has one."""
        return self.folder / f"{folder_name(self.name)}_VARS.fd"

    def files(self, plan: FailoverPlan) -> list[Path]:
        """Return all files of the machine."""
        nvram = [] if plan.nvram is None else [self.nvram]
        return [*(self.disk(target) for target in plan.layers), *nvram]


async def identity_for(
    connection: LibvirtConnection,
    plan: FailoverPlan,
    folder: Path,
    name: str,
    networks: Mapping[str, str],
) -> NewPlace:
    """Return a place for the new machine on a host; raise MachineBusy or EngineError if it is none.

    It keeps the UUID of the source, unless the host has a machine with that. ``networks`` are for
    ones that the machine has.
    """
    known_networks = networks_of(await stored_content(plan.folder, plan.point.definition))
    for network in networks:
        if network not in known_networks:
            has = ", ".join(known_networks) or "none"
            raise EngineError(f"networks: the machine has no network {network}; it has {has}.")
    named, known = await _taken(connection, name, plan.point.uuid)
    if named:
        raise MachineBusy(f"name: {connection.uri} has a machine {name} already; say another name.")
    if not await asyncio.to_thread(folder.is_dir):
        raise target_folder_gone(folder)
    await ensure_same_folder(connection, folder)
    uuid = new_identity(name).uuid if known else plan.point.uuid
    place = NewPlace(name, uuid, absolute(folder), networks)
    for path in place.files(plan):
        if await asyncio.to_thread(os.path.lexists, path):
            raise EngineError(f"folder: {path} exists already; it is not overwritten.")
    return place


async def _taken(connection: LibvirtConnection, name: str, uuid: str) -> tuple[bool, bool]:
    """Say whether a host has a machine of a name, and one of a UUID."""

    def look(library: Any, connect: Any) -> tuple[bool, bool]:
        def has(look_up: Any, key: str) -> bool:
            try:
                look_up(key)
            except library.libvirtError as error:
                if error.get_error_code() != library.VIR_ERR_NO_DOMAIN:
                    raise
                return False
            return True

        return has(connect.lookupByName, name), has(connect.lookupByUUIDString, uuid)

    return await connection.call(look, doing=f"looking for {name}")


async def copy_point(
    plan: FailoverPlan,
    place: NewPlace,
    keys: Path,
    on_progress: ProgressCallback = ignore_progress,
) -> int:
    """Copy the disks of the point to temporary names there; return the bytes that were sent.

    The replica may run. Raise ChainBroken naming the file that is missing or damaged, NoSpace,
    RepositoryUnavailable or ToolFailed.
    """
    phases = Phases(on_progress, [float(max(d.state.virtual_size, 1)) for d in plan.point.disks])
    sent = 0
    for number, disk in enumerate(plan.point.disks):
        source = plan.folder / disk.file.name
        partial = partial_name(place.disk(disk.state.target), _PURPOSE)
        size = (await asyncio.to_thread(read_backup_header, source)).virtual_size
        await _removed(partial)
        await run_qemu_image(
            create_arguments(partial, size),
            doing=f"Making {partial}",
            writing=partial,
            unreadable=ChainBroken,
        )
        try:
            await asyncio.to_thread(partial.chmod, 0o600)  # it takes people's data
        except OSError as error:
            raise writing_failure(error, partial) from error
        advance = phases.phase(number)
        sent += await send(source, partial, backing=None, keys=keys, on_fraction=advance)
    return sent


async def bring_layers(
    plan: FailoverPlan,
    place: NewPlace,
    keys: Path,
    on_progress: ProgressCallback = ignore_progress,
    *,
    running: bool,
) -> dict[str, Moved]:
    """Bring what the replica's layers hold to the copies; return what that took for each disk.

    With ``running`` the replica still writes: it has to be followed by a call without, once the
    replica is off. Raise ImageInUse, NoSpace, ToolFailed or EngineError; then it is to be called
    again.
    """
    phases = Phases(on_progress, [1.0 for _ in plan.layers])
    done = {}
    for number, (target, layer) in enumerate(plan.layers.items()):
        copy = Image(partial_name(place.disk(target), _PURPOSE), "qcow2")
        size = (await asyncio.to_thread(read_backup_header, copy.path)).virtual_size
        if not running:
            await released(layer)
        extents = united(await held_by(layer, running=running), size)
        advance = phases.phase(number)

        def tell(read: int, total: int, advance: Callable[[float], None] = advance) -> None:
            advance(read / total if total else 1.0)

        async with (
            served(Image(layer, "qcow2"), keys, running=running) as reading,
            served(copy, keys, writable=True) as writing,
        ):
            done[target] = await bring_over(reading, writing, extents, tell)
    if not running and plan.nvram is not None:
        partial = partial_name(place.nvram, _PURPOSE)
        await _removed(partial)
        try:
            content = await asyncio.to_thread(plan.nvram.read_bytes)
            await asyncio.to_thread(write_private, partial, content)
        except OSError as error:
            raise writing_failure(error, partial) from error
    return done


async def whole_files(plan: FailoverPlan, place: NewPlace) -> tuple[KnownFile, ...]:
    """Return the files that are whole now, by the names that they are about to get."""

    def look() -> tuple[KnownFile, ...]:
        return tuple(
            replace(KnownFile.at(partial_name(path, _PURPOSE)), path=str(path))
            for path in place.files(plan)
        )

    try:
        return await asyncio.to_thread(look)
    except OSError as error:
        raise writing_failure(error, place.folder / "it") from error


async def take_place(
    connection: LibvirtConnection,
    plan: FailoverPlan,
    place: NewPlace,
    files: Sequence[KnownFile],
) -> None:
    """Name the files and define the new machine on them, unless that is done.

    Raise MachineBusy when the host has another machine of that name or UUID, EngineError when
    somebody else's file has one of the names, ChainBroken, or what `LibvirtConnection` raises.
    """
    for file in files:
        path = Path(file.path)
        if await asyncio.to_thread(file.is_there):
            continue
        partial = partial_name(path, _PURPOSE)
        if not await asyncio.to_thread(replace(file, path=str(partial)).is_there):
            raise EngineError(f"{partial}, which was to become {path}, is gone.")
        try:
            await publish(partial, path)
        except FileExistsError as error:
            raise EngineError(f"folder: {path} exists already; it is not overwritten.") from error
        except OSError as error:
            raise writing_failure(error, path) from error
    machine = LibvirtMachine(connection, place.uuid)
    if await _is_own(machine, plan, place):
        return
    # Looked for before, but that was before hours of copying; libvirt would replace its definition.
    if any(await _taken(connection, place.name, place.uuid)):
        raise MachineBusy(
            f"{connection.uri} has got a machine named {place.name}, or with the UUID "
            f"{place.uuid}, meanwhile."
        )
    await machine.define(
        _definition(await stored_content(plan.folder, plan.point.definition), plan, place)
    )


async def give_place_up(
    connection: LibvirtConnection,
    plan: FailoverPlan,
    place: NewPlace,
    files: Sequence[KnownFile],
) -> None:
    """Take the new machine away, if it is there, and all that was made for it.

    It may have been changed since: it is the one of that UUID that has any of its files. Another
    machine that has taken its UUID, and others' files, stay. Raise MachineBusy when another machine
    has any of the files, or when it runs on others alone; ImageInUse, RepositoryUnavailable or what
    `LibvirtConnection` raises. Then it is off, unless it has none of its files, and is to be called
    again.
    """
    machine = LibvirtMachine(connection, place.uuid)
    found = await users_of(connection, {str(path) for path in place.files(plan)})
    users = {user.uuid: user.name for user in found}
    own = place.uuid in users
    if own and await machine.state() is not State.OFF:
        await machine.destroy()
    elif not own and await _runs_as(machine, place.name):
        raise MachineBusy(
            f"The machine {place.name} of {connection.uri} has other disks than it was given. "
            "Shut it down, and remove it."
        )
    for uuid, name in users.items():
        if uuid != place.uuid:
            raise MachineBusy(
                f"The machine {name} of {connection.uri} has files of {place.name}, so that these "
                "are not removed."
            )
    if own:
        await machine.undefine()
    await give_files_up(plan, place, files)


async def give_files_up(plan: FailoverPlan, place: NewPlace, files: Sequence[KnownFile]) -> None:
    """Remove what was made for a machine that is not defined; missing is fine.

    Raise ImageInUse when any machine, on whatever host, writes to one of the files.
    """
    if not await asyncio.to_thread(place.folder.is_dir):
        raise folder_gone(place.folder)
    for path in place.files(plan):
        await _removed(partial_name(path, _PURPOSE))
    found = [Path(file.path) for file in files if await asyncio.to_thread(file.is_there)]
    for path in found:
        await released(path)
        await asyncio.to_thread(_ensure_unused, path)
    for path in found:
        await _removed(path)


def _ensure_unused(path: Path) -> None:
    # One that a host has given to its QEMU cannot be asked about.
    with contextlib.suppress(SourceUnreadable, SourceMissing), unchanged_while_read([path]):
        pass


async def _runs_as(machine: LibvirtMachine, name: str) -> bool:
    """Say whether a machine is on and has that name."""
    try:
        definition = read_definition(await machine.definition(live=True))
        return definition.name == name and await machine.state() is not State.OFF
    except MachineMissing:
        return False


def _definition(original: bytes, plan: FailoverPlan, place: NewPlace) -> str:
    text = rewritten(
        original,
        identity=Identity(place.name, place.uuid, new_addresses=False),
        disks={target: (place.disk(target), "qcow2") for target in plan.layers},
        nvram=None if plan.nvram is None else place.nvram,
    )
    root = parse(text, "The definition of the machine")
    leave_host_devices(root)
    connect_cards(root, place.networks)
    return unparse(root)


async def _is_own(machine: LibvirtMachine, plan: FailoverPlan, place: NewPlace) -> bool:
    """Say whether the machine of that UUID is the one of this failback: it has its disks."""
    own = {str(place.disk(target)) for target in plan.layers}
    try:
        return own <= files_in(await machine.definition(live=False))
    except MachineMissing:
        return False


async def _removed(path: Path) -> None:
    try:
        await remove_durably(path)
    except OSError as error:
        raise writing_failure(error, path) from error
