"""A machine that runs from its restore point: moved to its own storage, or taken away.

It was made by `libvirt_restore.restore_machine` with ``instant``: each of its disks is a layer on
files of the point. To move it, QEMU copies each disk to a file of its own while the machine runs,
and the machine goes on with the copy once that is equal and on stable storage; then the layers go.
The disks of a machine that is off are copied by qemu-img, and it cannot be started meanwhile.
Whatever interrupts it, a disk is in the one file or in the other, and the move can be begun again.

(Copying into the layers instead would be simpler, but QEMU 7.2 then lets go of the point before all
that it has copied is on stable storage.)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.engine.data_key import DataKey
from holdfast.engine.durability import (
    discarded_on_exit,
    partial_name,
    publish,
    remove_durably,
    synchronise,
)
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    HypervisorFailed,
    MachineBusy,
    MachineMissing,
)
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_lock import unchanged_while_read
from holdfast.engine.image_node import Node, chain_node, name_of, plain_node
from holdfast.engine.image_restore import adopt_permissions, make_private
from holdfast.engine.known_file import KnownFile, remove_known
from holdfast.engine.libvirt_connection import LibvirtConnection, uninterrupted
from holdfast.engine.libvirt_domain import files_in, read_definition, without_layers
from holdfast.engine.libvirt_labels import owner_of
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_restore import LAYER_SUFFIX
from holdfast.engine.libvirt_saved import ensure_nothing_saved
from holdfast.engine.libvirt_secret import (
    layer_secret,
    lend_secret,
    take_secret_back_if_possible,
)
from holdfast.engine.progress import Phases, ProgressCallback, ignore_progress
from holdfast.engine.qcow2_header import NotQcow2Error, read_header
from holdfast.engine.qemu_image import (
    absolute,
    convert_arguments,
    convert_from_encrypted_arguments,
    run_qemu_image,
)

_POLL_SECONDS = (0.05, 1.0)
_ABORT_POLLS = 600


async def move_to_own_storage(
    connection: LibvirtConnection,
    uuid: str,
    files: Sequence[KnownFile],
    token: str,
    on_progress: ProgressCallback = ignore_progress,
    going_on: Callable[[], bool] = lambda: False,
    key: DataKey | None = None,
) -> list[str]:
    """Make a machine need its point no more, be it on or off; its layers are removed.

    Return what is to be said of layers that stay, in sentences: another file has the name of one.
    ``files`` are those it was made with. ``token`` is part of the names of the new files beside
    them, and must be of this machine alone: what has such a name and is not in use is replaced.
    ``key`` is that of an encrypted point, for a machine that is off: one that runs has it.

    Raise MachineMissing, HypervisorUnavailable, HypervisorFailed, ImageInUse, MachineBusy,
    KeyRefused or EngineError; then, and when cancelled, it still needs the point, and this can be
    done again. When cancelled while ``going_on`` says so, QEMU goes on copying, to be followed next
    time.
    """
    machine = LibvirtMachine(connection, uuid)
    moved = _moved(files, token)
    disks = await _disks(machine)
    phases = Phases(on_progress, [1] * max(len(moved), 1))
    for number, (layer, path) in enumerate(moved.items()):
        advance = phases.phase(number)
        if disks.get(str(path)) is None:
            target = disks.get(str(layer))
            if target is None:
                raise _changed(layer)
            if await machine.state() is State.OFF:
                await _move_while_off(machine, moved, phases, key)
                break
            try:
                await _move(machine, target, path, advance)
            except BaseException as error:  # cancellation too: no copying may go on unseen
                if not (isinstance(error, asyncio.CancelledError) and going_on()):
                    with contextlib.suppress(EngineError):
                        await uninterrupted(_leave(machine, target, path))
                raise
        advance(1.0)
    else:
        await _settle_down(machine, moved)
    await take_key_back(connection, uuid)
    return await remove_known(file for file in files if Path(file.path) in moved)


async def stop_moving(
    connection: LibvirtConnection, uuid: str, files: Sequence[KnownFile], token: str
) -> None:
    """Stop the moving that a crash has left going on; nothing to stop is fine."""
    machine = LibvirtMachine(connection, uuid)
    disks = await _disks(machine)
    for layer, path in _moved(files, token).items():
        if (target := disks.get(str(layer))) is not None:
            await _leave(machine, target, path)


async def lend_key(connection: LibvirtConnection, uuid: str, key: DataKey) -> None:
    """Let a machine that runs from an encrypted point be powered on after its host forgot the key.

    Raise MachineMissing, HypervisorUnavailable or HypervisorFailed.
    """
    await LibvirtMachine(connection, uuid).state()
    await lend_secret(connection, layer_secret(uuid), key)


async def take_key_back(connection: LibvirtConnection, uuid: str) -> None:
    """Make a host forget the key of a point that a machine ran from."""
    await take_secret_back_if_possible(connection, layer_secret(uuid))


async def discard_machine(
    connection: LibvirtConnection, uuid: str, files: Sequence[KnownFile], token: str
) -> list[str]:
    """Take a machine away that runs from its point, with all its files. What is gone is fine.

    Return what is to be said of files that stay, as `move_to_own_storage` does. ``files`` and
    ``token`` are as there. A machine that has the UUID and uses none of the files is another one,
    and stays. Raise ImageInUse when something else writes to a file, HypervisorUnavailable,
    HypervisorFailed or EngineError.
    """
    machine = LibvirtMachine(connection, uuid)
    moved = _moved(files, token).values()
    # Nobody else's file has a name with the token.
    made = [*moved, *map(partial_name, moved)]
    own = [*(file.path for file in files), *map(str, made)]
    try:
        used = files_in(await machine.definition(live=False))
        used |= files_in(await machine.definition(live=True))
        if not used.isdisjoint(own):
            if await machine.state() is not State.OFF:
                await machine.destroy()
            await machine.undefine()
    except MachineMissing:
        pass
    await take_key_back(connection, uuid)
    for path in made:
        if await asyncio.to_thread(path.exists):
            with unchanged_while_read([path]):
                await remove_durably(path)
    return await remove_known(files, unused=True)


def _changed(layer: Path) -> EngineError:
    return EngineError(
        f"The machine does not have {layer} as a disk: another program has changed its disks."
    )


def _moved(files: Sequence[KnownFile], token: str) -> dict[Path, Path]:
    """Return the file that takes the place of each layer."""
    return {
        layer: layer.with_name(f"{layer.name.removesuffix(LAYER_SUFFIX)}.{token}.qcow2")
        for layer in (Path(file.path) for file in files)
        if layer.name.endswith(LAYER_SUFFIX)
    }


async def _disks(machine: LibvirtMachine) -> dict[str, str]:
    """Return where the guest has each file, as the machine runs now."""
    definition = read_definition(await machine.definition(live=True))
    return {disk.path: disk.target for disk in definition.disks if disk.path is not None}


async def _move(
    machine: LibvirtMachine, target: str, path: Path, advance: Callable[[float], None]
) -> None:
    # A job that a crash has left going on has this very file as its copy.
    going_on = str(path) in files_in(await machine.definition(live=True))
    if not going_on:
        await remove_durably(path)
        await machine.begin_copy(target, path)
    wait, longest = _POLL_SECONDS
    while True:
        job = await machine.block_job(target)
        if job is None:
            # Why it has ended is not told to those who ask later.
            raise HypervisorFailed(
                f"The disk {target} could not be moved: QEMU gave up copying it to {path}. The log "
                "of the machine on its host says why."
            )
        # From here to the end of the call the disk is in one file or in the other.
        if job.total and job.done >= job.total and await uninterrupted(machine.pivot(target)):
            break
        advance(job.done / job.total if job.total else 0.0)
        await asyncio.sleep(wait)
        wait = min(2 * wait, longest)
    if (await _disks(machine)).get(str(path)) != target:
        raise HypervisorFailed(f"The machine did not change to the copy of {target}.")


async def _move_while_off(
    machine: LibvirtMachine, moved: dict[Path, Path], phases: Phases, key: DataKey | None
) -> None:
    """Copy the disks of a machine that is off and define it on the copies.

    Its layers are locked until then: it cannot be started on what is about to be left.
    """
    disks = await _disks(machine)
    left = [layer for layer in moved if str(layer) in disks]
    for layer, path in moved.items():
        if layer not in left and str(path) not in disks:
            raise _changed(layer)
    with unchanged_while_read(left):
        if await machine.state() is not State.OFF:
            raise MachineBusy("The machine has been powered on this moment. Move it again.")
        name = read_definition(await machine.definition(live=False)).name
        await ensure_nothing_saved(machine, name)
        for number, (layer, path) in enumerate(moved.items()):
            advance = phases.phase(number)
            if layer in left:
                await _copy(layer, path, advance, key)
            advance(1.0)
        await _settle_down(machine, moved)


async def _copy(
    layer: Path, path: Path, advance: Callable[[float], None], key: DataKey | None
) -> None:
    partial = absolute(partial_name(path))
    arguments = convert_arguments(
        absolute(layer), partial, source_format="qcow2", target_format="qcow2"
    )
    if key is not None:
        name = name_of(await asyncio.to_thread(_on_encrypted, layer))
        arguments = convert_from_encrypted_arguments(name, partial, "qcow2")
    async with discarded_on_exit(partial):
        await asyncio.to_thread(make_private, partial)
        await run_qemu_image(
            arguments,
            doing=f"Moving {layer} to {path}",
            writing=partial,
            on_fraction=advance,
            unreadable=ChainBroken,
            key=key,
        )
        try:
            await asyncio.to_thread(adopt_permissions, partial, layer)
            await publish(partial, path, overwrite=True)
        except OSError as error:
            raise writing_failure(error, path) from error


def _on_encrypted(layer: Path) -> Node:
    """Return a layer on an encrypted point. Blocking; raise ChainBroken."""
    try:
        below = read_header(layer).backing_name
    except (OSError, NotQcow2Error) as error:
        raise ChainBroken(f"The disk {layer} cannot be read: {error}.") from error
    if below is None:
        raise ChainBroken(f"The disk {layer} is not a layer on a restore point.")
    return {**plain_node(layer, "qcow2"), "backing": chain_node(Path(below))}


async def _leave(machine: LibvirtMachine, target: str, path: Path) -> None:
    """Stop copying a disk and remove the copy, unless the machine has changed to it."""
    if await machine.state() is not State.OFF:
        await machine.abort_block_job(target)
        for _ in range(_ABORT_POLLS):
            if await machine.block_job(target) is None:
                break
            await asyncio.sleep(_POLL_SECONDS[0])
    if str(path) not in files_in(await machine.definition(live=True)):
        await remove_durably(path)
        await remove_durably(partial_name(path))


async def _settle_down(machine: LibvirtMachine, moved: dict[Path, Path]) -> None:
    """Define the machine as it starts next time: on its own files, as any other."""
    for path in moved.values():
        try:
            await asyncio.to_thread(synchronise, path)
            await asyncio.to_thread(synchronise, path.parent)
            owner = await asyncio.to_thread(owner_of, path)
        except OSError as error:
            raise writing_failure(error, path) from error
        xml = without_layers(await machine.definition(live=False), moved, owner)
        await _define(machine, xml)


async def _define(machine: LibvirtMachine, xml: str) -> None:
    await machine.connection.call(
        lambda _library, connect: connect.defineXML(xml), doing=f"defining {machine.uuid}"
    )
