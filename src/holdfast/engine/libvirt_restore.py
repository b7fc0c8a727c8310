"""Restores a machine to a host as a new machine, or its disks to files."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.engine.data_key import SEALED_SUFFIX, DataKey, unseal
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    HypervisorUnavailable,
    LeftUnfinished,
    MachineBusy,
    MachineMissing,
)
from holdfast.engine.failures import target_folder_gone
from holdfast.engine.image_chain import backup_files
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import (
    Identity,
    Labels,
    files_in,
    new_identity,
    read_definition,
    rewritten,
)
from holdfast.engine.libvirt_labels import labels_for
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint, StoredFile
from holdfast.engine.libvirt_same_folder import ensure_same_folder
from holdfast.engine.libvirt_secret import (
    layer_secret,
    lend_secret,
    take_secret_back_if_possible,
)
from holdfast.engine.progress import ProgressCallback, ignore_progress
from holdfast.engine.qemu_image import key_refused
from holdfast.engine.repository import folder_name
from holdfast.engine.restored_files import (
    FileToBe,
    Ledger,
    NoLedger,
    Overlay,
    carried_out,
    written,
)

LAYER_SUFFIX = ".instant.qcow2"
"""How the names of layers on a point's disks end, for a machine that runs from it."""
_RECONNECT_SECONDS = 15.0
_SUFFIXES = {"qcow2": "qcow2", "raw": "img"}


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """A point to make a new machine of.

    ``folder`` holds the point's files; ``target_folder`` takes the disks, and the host must see it
    under the same path. ``name`` None keeps the machine's name; with ``new_identifiers`` it gets a
    new UUID, ``uuid`` if that is given, and new MAC addresses. ``disks`` names those to restore,
    None all. With ``instant``, nothing is copied: the disks are layers on the point's own files,
    which must stay as they are until the machine has moved (see `libvirt_instant`). ``key`` is that
    of an encrypted point.
    """

    point: MachinePoint
    folder: Path
    target_folder: Path
    name: str | None = None
    new_identifiers: bool = False
    disks: frozenset[str] | None = None
    power_on: bool = False
    uuid: str | None = None
    instant: bool = False
    key: DataKey | None = None


@dataclass(frozen=True, slots=True)
class RestoredMachine:
    """A machine that was restored, and the file of each of its disks.

    ``warning`` says what could not be done of what was asked for; empty for nothing.
    """

    uuid: str
    name: str
    disks: dict[str, Path]
    warning: str = ""


async def restore_machine(
    connection: LibvirtConnection,
    plan: RestorePlan,
    on_progress: ProgressCallback = ignore_progress,
    ledger: Ledger | None = None,
) -> RestoredMachine:
    """Make a new machine of a point. Nothing that exists is overwritten.

    Raise MachineBusy when the host has a machine of that name or UUID, ChainBroken naming the file
    when one of the point's is missing or damaged, NoSpace, HypervisorUnavailable, HypervisorFailed
    or EngineError; then, and when cancelled, neither files nor a definition are left.

    Raise LeftUnfinished when the host does not let the machine be taken away again: then the
    machine may be there, and so its files stay.
    """
    xml = await stored_content(plan.folder, plan.point.definition, plan.key)
    definition = read_definition(xml)
    name = plan.name or definition.name
    identity = Identity(name, definition.uuid, False)
    if plan.new_identifiers:
        identity = new_identity(name, plan.uuid)
    await _ensure_new(connection, identity)
    folder = plan.target_folder.absolute()
    if not await asyncio.to_thread(folder.is_dir):
        raise target_folder_gone(folder)
    # Else it would be told as restored, with disks that its host does not have.
    await ensure_same_folder(connection, folder, proven=False)
    chosen = chosen_disks(plan.point, plan.disks)
    layers, labels = {}, Labels()
    if plan.instant:
        files = [_layer_on(folder, name, disk) for disk in chosen]
        layers = {
            disk.state.target: await asyncio.to_thread(
                backup_files, (plan.folder / disk.file.name).absolute()
            )
            for disk in chosen
        }
        labels = await labels_for(connection, [path for each in layers.values() for path in each])
    else:
        files = [_new_file(folder, name, disk) for disk in chosen]
    places = {file.target: (file.path, file.format) for file in files}
    nvram = None
    if plan.point.nvram is not None:
        nvram = folder / f"{folder_name(name)}_VARS.fd"
        content = await stored_content(plan.folder, plan.point.nvram, plan.key)
        files.append(FileToBe(nvram, "raw", content))
    secret = layer_secret(identity.uuid) if plan.instant and plan.key is not None else None
    new_xml = rewritten(
        xml,
        identity=identity,
        disks=places,
        nvram=nvram,
        layers=layers,
        labels=labels,
        secret=secret,
    )
    machine = LibvirtMachine(connection, identity.uuid)
    async with written(
        plan.folder, files, on_progress, ledger or NoLedger(), overwrite=False, key=plan.key
    ):
        # Copying took its time: somebody else may have defined such a machine meanwhile.
        await _ensure_new(connection, identity)
        try:
            if secret is not None and plan.key is not None:
                await lend_secret(connection, secret, plan.key)
            await connection.call(
                lambda _library, connect: connect.defineXML(new_xml), doing=f"defining {name}"
            )
            if plan.power_on:
                await machine.start()
        except BaseException as error:  # cancellation too: no machine may stay without its disks
            own = {str(path) for path, _ in places.values()}
            await carried_out(_take_away(machine, own, error))
            # Not before: a machine that may still be there needs it.
            if secret is not None:
                await take_secret_back_if_possible(connection, secret)
            raise
    return RestoredMachine(identity.uuid, name, {key: path for key, (path, _) in places.items()})


async def restore_disks(
    plan: RestorePlan,
    format: str,
    on_progress: ProgressCallback = ignore_progress,
    ledger: Ledger | None = None,
) -> dict[str, Path]:
    """Write disks of a point to plain files in ``target_folder``; return the file of each disk.

    ``format`` is raw, qcow2 or vmdk. No host is asked. Nothing that exists is overwritten; of the
    plan, ``new_identifiers`` and ``power_on`` are not looked at. Raise as `restore_machine` does.
    """
    folder = plan.target_folder.absolute()
    if not await asyncio.to_thread(folder.is_dir):
        raise target_folder_gone(folder)
    name = folder_name(plan.name or plan.point.name)
    files = [
        FileToBe(folder / f"{name}-{disk.state.target}.{format}", format, disk)
        for disk in chosen_disks(plan.point, plan.disks)
    ]
    async with written(
        plan.folder, files, on_progress, ledger or NoLedger(), overwrite=False, key=plan.key
    ):
        return {file.target: file.path for file in files}


async def machine_disks(connection: LibvirtConnection, uuid: str) -> Mapping[str, str] | None:
    """Return the file of each disk that a machine starts with, or None when there is no machine."""
    try:
        xml = await LibvirtMachine(connection, uuid).definition(live=False)
    except MachineMissing:
        return None
    return {disk.target: disk.path for disk in read_definition(xml).disks if disk.path is not None}


async def stored_content(folder: Path, file: StoredFile, key: DataKey | None = None) -> bytes:
    """Return a small file of a point; raise ChainBroken unless it is as it was stored.

    Raise KeyRefused when it is sealed, and not with ``key``.
    """
    path = folder / file.name
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise ChainBroken(f"The backup file {path} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ChainBroken(f"The backup file {path} is damaged: it is not what was stored.")
    if not file.name.endswith(SEALED_SUFFIX):
        return content
    if key is None:
        raise key_refused(f"Opening {path}", missing=True)
    return unseal(content, key, file.name)


def chosen_disks(point: MachinePoint, wanted: frozenset[str] | None) -> list[DiskPoint]:
    """Return the disks of a point that are to be restored, all for None. Raise EngineError."""
    if wanted is None:
        return list(point.disks)
    missing = wanted - {disk.state.target for disk in point.disks}
    if missing:
        raise EngineError(f"The point does not hold the disk {', '.join(sorted(missing))}.")
    return [disk for disk in point.disks if disk.state.target in wanted]


def _new_file(folder: Path, name: str, disk: DiskPoint) -> FileToBe:
    # In the format it had, where a new file can have it: what the guest sees is the same in any.
    format = disk.state.format if disk.state.format in _SUFFIXES else "qcow2"
    file_name = f"{folder_name(name)}-{disk.state.target}.{_SUFFIXES[format]}"
    return FileToBe(folder / file_name, format, disk)


def _layer_on(folder: Path, name: str, disk: DiskPoint) -> FileToBe:
    path = folder / f"{folder_name(name)}-{disk.state.target}{LAYER_SUFFIX}"
    return FileToBe(path, "qcow2", Overlay(disk))


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


async def _take_away(machine: LibvirtMachine, files: set[str], error: BaseException) -> None:
    """As `_remove`, after an error: by another connection when this one has hung or was lost.

    Raise LeftUnfinished when that cannot be done either.
    """
    try:
        try:
            await _remove(machine, files)
        except HypervisorUnavailable:
            async with machine.connection.another(_RECONNECT_SECONDS) as connection:
                await _remove(LibvirtMachine(connection, machine.uuid), files)
    except EngineError as reason:
        why = str(error) or "The restore was stopped."
        raise LeftUnfinished(
            f"{why} The machine cannot be taken away again, so its files stay for now: {reason}"
        ) from error


async def _remove(machine: LibvirtMachine, files: set[str]) -> None:
    """Take away a machine that has one of these files; another one with its UUID stays."""
    with contextlib.suppress(MachineMissing):
        if files.isdisjoint(files_in(await machine.definition(live=False))):
            return
        if await machine.state() is not State.OFF:
            await machine.destroy()
        await machine.undefine()
