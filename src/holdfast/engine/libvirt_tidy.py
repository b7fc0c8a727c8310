"""Takes away what backups leave on a host: what a crash left, and checkpoints nobody needs.

A machine is never lost sight of. What a backup changes about it in passing, being started paused or
its file systems frozen, is written into its metadata first, and ended by whoever finds that note.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Collection
from pathlib import Path

from holdfast.engine.durability import PARTIAL_SUFFIX
from holdfast.engine.errors import (
    AgentSilent,
    EngineError,
    HypervisorFailed,
    LeftUnfinished,
    MachineBusy,
)
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import Definition, read_definition
from holdfast.engine.libvirt_leftovers import take_leftovers
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_secret import backup_secret, take_secret_back_if_possible
from holdfast.engine.qemu_image import bitmaps_of, remove_bitmap

MARK_STARTED = "started paused"
MARK_FROZEN = "frozen"
MARK_BEGINNING = "beginning"
_POLL_SECONDS = 0.05
_ABORT_SECONDS = 60.0
_LOST_JOB = "backup job data missing"
_CHAIN = re.compile(r"[A-Za-z0-9-]{1,64}")


class LostJob(HypervisorFailed):
    """libvirt takes a backup of the machine for running that it knows nothing of."""


def checkpoint_prefix(chain: str) -> str:
    """Given a chain's id, return what the names of its checkpoints begin with.

    Raise EngineError unless the id is made of letters, digits and dashes.
    """
    if not _CHAIN.fullmatch(chain):
        raise EngineError(f"The id {chain!r} of a chain must be letters, digits and dashes.")
    return f"holdfast.{chain}."


async def end_interrupted_backup(
    connection: LibvirtConnection, uuid: str, folders: Collection[Path], chain: str
) -> list[str]:
    """End what a crash left going on of a chain's backup; return what was done, in whole sentences.

    A backup job is ours when it writes nothing but temporaries in ``folders``: it is aborted. Raise
    MachineBusy when another program's job runs. Call it only while no backup of ours does. File
    systems that may be frozen still are told by `may_be_frozen` after that.
    """
    machine = LibvirtMachine(connection, uuid)
    done = []
    mark = await mark_of(machine)
    if mark == MARK_FROZEN:
        # First of all: the guest stands still until then, and the rest may fail or take its time.
        thawed, told = await _thawed(machine)
        done.append(told)
        if thawed:
            mark = MARK_BEGINNING
            await machine.mark(mark)
    await take_secret_back_if_possible(connection, backup_secret(uuid))
    if await machine.state() is State.OFF:
        return done
    # The daemon may have been killed as well. A backup that it knows of, it also ends well.
    if mark is not None and await machine.backup_targets() is None:
        await take_leftovers(machine, folders, checkpoint_prefix(chain))
    if await abort_own_backup(machine, folders):
        done.append("A backup job left by an interrupted session was stopped.")
    if mark == MARK_STARTED and await machine.state() is State.PAUSED:
        await machine.destroy()
        done.append("The machine, left started and paused, was powered off again.")
    elif mark not in (None, MARK_FROZEN):
        await machine.mark(None)
    return done


async def may_be_frozen(machine: LibvirtMachine) -> bool:
    """Say whether a backup has left the file systems of a guest frozen, as far as is known."""
    return await mark_of(machine) == MARK_FROZEN


async def end_left_backup(
    connection: LibvirtConnection, uuid: str, folders: Collection[Path], chain: str
) -> None:
    """As `end_interrupted_backup`, but raise LeftUnfinished when that is not all done."""
    done = await end_interrupted_backup(connection, uuid, folders, chain)
    if await may_be_frozen(LibvirtMachine(connection, uuid)):
        raise LeftUnfinished(" ".join(done))


async def mark_of(machine: LibvirtMachine) -> str | None:
    """Return what a backup has noted on a machine, or None."""
    return read_definition(await machine.definition(live=True)).mark


async def _thawed(machine: LibvirtMachine) -> tuple[bool, str]:
    """Thaw file systems that may have been frozen; say if they are now, and what to tell of it."""
    try:
        await machine.thaw()
    except HypervisorFailed as error:
        # Where it cannot be asked for at all, as without a guest agent, nothing had been frozen.
        refused = not isinstance(error, AgentSilent)
        return refused, f"An interrupted session may have left file systems frozen: {error}"
    return True, "File systems left frozen by an interrupted session were thawed."


async def abort_own_backup(machine: LibvirtMachine, folders: Collection[Path]) -> bool:
    """Abort the backup job that writes to ``folders``, and wait for its end; say if there was one.

    Raise MachineBusy when there is another program's, HypervisorFailed when it does not stop.
    """
    if await machine.state() is State.OFF:
        return False
    targets = await machine.backup_targets()
    if targets is None:
        await _ensure_no_lost_job(machine)
        return False
    if not _ours(targets, folders):
        raise MachineBusy(f"Another program is backing up the machine {machine.uuid}.")
    await machine.abort_backup()
    try:
        async with asyncio.timeout(_ABORT_SECONDS):
            while await _has_job(machine):  # noqa: ASYNC110 - the event is in another program
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise HypervisorFailed(
            f"The backup job of the machine {machine.uuid} does not stop."
        ) from error
    return True


async def _ensure_no_lost_job(machine: LibvirtMachine) -> None:
    """Raise LostJob when libvirt takes a backup for running that it knows nothing of."""
    try:
        await machine.backup_job()
    except HypervisorFailed as error:
        if _LOST_JOB not in str(error):
            raise
        # Not even a restart of the daemon alone ends that: it reads it from the machine's state.
        raise LostJob(
            f"libvirt's daemon was killed when it began a backup of the machine {machine.uuid}, "
            "and allows no other since. Power the machine off, restart the daemon, and power the "
            "machine on."
        ) from error


async def _has_job(machine: LibvirtMachine) -> bool:
    return await machine.state() is not State.OFF and await machine.backup_job() is not None


def _ours(targets: Collection[Path], folders: Collection[Path]) -> bool:
    # A job that another program pulls from writes to no target at all.
    return bool(targets) and all(
        path.name.endswith(PARTIAL_SUFFIX) and path.parent in folders for path in targets
    )


async def release_checkpoints(connection: LibvirtConnection, uuid: str, chain: str) -> list[str]:
    """Delete a chain's checkpoints and bitmaps on a machine; return the names deleted.

    To be called when a chain ends (its job is deleted, its points are gone).
    While the machine is off, bitmaps are removed from those of its images that can be written here.
    """
    machine = LibvirtMachine(connection, uuid)
    prefix = checkpoint_prefix(chain)
    return await _release(machine, lambda name: name.startswith(prefix))


async def release_named(machine: LibvirtMachine, names: Collection[str]) -> None:
    """Delete some checkpoints, as `release_checkpoints` does; missing ones are fine."""
    if names:
        await _release(machine, lambda name: name in names)


async def release_checkpoint(machine: LibvirtMachine, name: str) -> None:
    """Delete one checkpoint, as `release_checkpoints` does; a missing one is fine."""
    await release_named(machine, [name])


async def _release(machine: LibvirtMachine, unwanted: Callable[[str], bool]) -> list[str]:
    names = [name for name in await machine.checkpoints() if unwanted(name)]
    # The newest first: a bitmap then never has to be merged into an older one.
    for name in reversed(names):
        await machine.delete_checkpoint(name)
    if await machine.state() is State.OFF:
        await _remove_bitmaps(read_definition(await machine.definition(live=False)), unwanted)
    return names


async def _remove_bitmaps(definition: Definition, unwanted: Callable[[str], bool]) -> None:
    for disk in definition.backed_up:
        if disk.path is None or not disk.tracked:
            continue
        path = Path(disk.path)
        # Of an image on another host, or one started meanwhile, the bitmap stays: it is not in the
        # way, since no two checkpoints ever have the same name.
        with contextlib.suppress(EngineError):
            for bitmap in await bitmaps_of(path):
                if unwanted(bitmap):
                    await remove_bitmap(path, bitmap)
