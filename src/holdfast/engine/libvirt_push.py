"""Has QEMU copy a machine's disks, as of one instant, into temporaries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from holdfast.engine.durability import remove_durably, synchronised_meanwhile
from holdfast.engine.encrypted_backup import make_encrypted
from holdfast.engine.errors import (
    AgentSilent,
    CheckpointUnusable,
    EngineError,
    HypervisorFailed,
    HypervisorUnavailable,
    RepositoryUnavailable,
    ScriptFailed,
)
from holdfast.engine.failures import means_no_space, no_space
from holdfast.engine.libvirt_connection import LibvirtConnection, uninterrupted
from holdfast.engine.libvirt_domain import MachineDisk
from holdfast.engine.libvirt_ladder import Decision, Rung, decide, fallen
from holdfast.engine.libvirt_leftovers import LEFT_JOB_BITMAP, take_leftovers
from holdfast.engine.libvirt_machine import State
from holdfast.engine.libvirt_saved import SAVED, copy_at_rest, read_whole
from holdfast.engine.libvirt_secret import (
    backup_secret,
    lend_secret,
    take_secret_back_if_possible,
)
from holdfast.engine.libvirt_tidy import (
    MARK_BEGINNING,
    MARK_FROZEN,
    MARK_STARTED,
    LostJob,
    abort_own_backup,
    checkpoint_prefix,
    end_interrupted_backup,
    mark_of,
    release_checkpoint,
    release_named,
)
from holdfast.engine.libvirt_work import Work
from holdfast.engine.libvirt_xml import backup_xml, checkpoint_xml
from holdfast.engine.script import Script, run_script

_POLL_SECONDS = (0.01, 1.0)
_POLL_GROWTH = 1.02  # so what is waited in vain at the end is a fiftieth of the whole at most
_ENDING_SECONDS = 0.2
_AWAY_SECONDS = 10.0
_SETTLING_SECONDS = 10.0
_THAW_AGAIN_SECONDS = 5.0
_LARGEST_NVRAM = 64 * 1024 * 1024


async def push(work: Work) -> None:
    """Have QEMU write each disk, as of one instant, into its temporary."""
    plan = work.plan
    environment = {
        "HOLDFAST_MACHINE": work.definition.name,
        "HOLDFAST_MACHINE_UUID": plan.uuid,
        "HOLDFAST_POINT": plan.point,
    }
    if plan.before is not None:
        await run_script(plan.before, environment)
    after_is_due = plan.after is not None
    try:
        if work.saved is not None:
            await _copy(work)
            return
        async with _started(work):
            await _begin(work)
            if plan.after is not None:
                # The instant has passed: what the first script stopped may go on.
                after_is_due = False
                await _run_after(work, plan.after, environment)
            async with _synchronised_meanwhile(work):
                await _follow(work)
            if work.started:
                # Once it is off, bitmaps can be removed here alone, not on another host.
                await release_stale(work)
    finally:
        try:
            if plan.storing.key is not None:
                secret = backup_secret(plan.uuid)
                await take_secret_back_if_possible(work.machine.connection, secret)
        finally:  # when that is cancelled, too: the guest waits for it
            if after_is_due and plan.after is not None:
                await _run_after(work, plan.after, environment)


@contextlib.asynccontextmanager
async def _synchronised_meanwhile(work: Work) -> AsyncIterator[None]:
    """Bring to stable storage what QEMU writes and the point keeps as it is, for a block's time."""
    plan = work.plan
    as_it_is = plan.staging is None and plan.keys is None and not plan.storing.packed
    async with contextlib.AsyncExitStack() as stack:
        for disk in work.disks if as_it_is else ():
            await stack.enter_async_context(synchronised_meanwhile(work.pushed(disk.target)))
        yield


async def _copy(work: Work) -> None:
    """Copy the disks without QEMU, and leave the checkpoints as they are."""
    work.consistency = "crash-consistent"
    work.warnings.append(SAVED)
    checkpoints = await work.machine.checkpoints()
    work.decisions = read_whole([_decide(work, disk, checkpoints) for disk in work.disks])
    work.nvram = await asyncio.to_thread(_read_nvram, work)
    await copy_at_rest(work)


async def _run_after(work: Work, script: Script, environment: dict[str, str]) -> None:
    try:
        await run_script(script, environment)
    except ScriptFailed as error:
        # The point is good in any case.
        work.warnings.append(str(error))


@contextlib.asynccontextmanager
async def _started(work: Work) -> AsyncIterator[None]:
    """Start a machine that is off, paused, for the time of a block."""
    machine = work.machine
    if await machine.state() is not State.OFF:
        yield
        return
    try:
        # Within, since a start that is cancelled may still come about.
        await machine.start_paused(MARK_STARTED)
        work.started = True
        yield
    finally:
        await uninterrupted(_power_off(work))


async def _power_off(work: Work) -> None:
    """Power a machine off that was started paused for a backup."""
    machine = work.machine
    state = await machine.state()
    # Without the mark somebody else was quicker to start it.
    if state is State.OFF or await mark_of(machine) != MARK_STARTED:
        return
    if state is State.PAUSED:
        await abort_own_backup(machine, work.plan.folders)
        await machine.destroy()
    else:
        # Somebody let it run meanwhile: then it stays.
        await machine.mark(None)


async def _begin(work: Work) -> None:
    """Begin the job on the best rungs that libvirt accepts."""
    plan = work.plan
    parent = None if plan.parent is None else plan.parent.checkpoint
    checkpoints = await work.machine.checkpoints()
    if plan.parent is not None:
        expected = {plan.parent.parent_checkpoint, parent} - {None}
        if not expected.issubset(checkpoints):
            await _take_leftovers(work)
    own = [name for name in checkpoints if name.startswith(checkpoint_prefix(plan.chain))]
    # Without a parent the newest stays: there the chain goes on, should this full fail.
    keep = parent or (own[-1] if own else None)
    work.stale = [name for name in own if name != keep]
    work.decisions = [_decide(work, disk, checkpoints) for disk in work.disks]
    if await work.machine.state() is State.RUNNING:
        async with _quiesced(work) if plan.quiesce else _marked(work):
            await _begin_job(work)
        return
    if work.started:
        await _begin_job(work)
        return
    work.notes.append("The machine is paused, so its file systems were not quiesced.")
    async with _marked(work):
        await _begin_job(work)


async def release_stale(work: Work) -> None:
    """Delete the checkpoints of the chain from which no point will be made any more.

    Those that cannot be deleted now are when the next point is made.
    """
    names, work.stale = work.stale, []
    with contextlib.suppress(EngineError):
        await release_named(work.machine, names)


async def _take_leftovers(work: Work) -> None:
    """Remove the bitmaps whose checkpoints another program has deleted, or a crash never recorded.

    Without the record libvirt does not know them, and QEMU would keep them up for ever.
    """
    if await work.machine.backup_targets() is None:
        prefix = checkpoint_prefix(work.plan.chain)
        await take_leftovers(work.machine, work.plan.folders, prefix)


def _decide(work: Work, disk: MachineDisk, checkpoints: list[str]) -> Decision:
    parent = work.plan.parent
    before = None if parent is None else parent.disk(disk.target)
    return decide(
        work.states[disk.target],
        None if before is None else before.state,
        tracked=disk.tracked,
        first=parent is None,
        parent_problem=work.parent_problems.get(disk.target),
        checkpoint=None if parent is None else parent.checkpoint,
        checkpoints=checkpoints,
        why_full=work.plan.why_full,
    )


@contextlib.asynccontextmanager
async def _quiesced(work: Work) -> AsyncIterator[None]:
    """Freeze the guest's file systems for the time of a block, where its agent can."""
    work.consistency = "crash-consistent"
    frozen = True
    await work.machine.mark(MARK_FROZEN)
    try:
        try:
            await work.machine.freeze()
        except HypervisorFailed as error:
            # An agent that has not answered in time may freeze them later.
            frozen = work.frozen or isinstance(error, AgentSilent)
            work.notes.append(f"The point is crash-consistent, not quiesced: {error}")
        else:
            work.consistency = "quiesced"
        yield
    finally:
        # Also when freezing was cancelled: it may have come about all the same.
        await uninterrupted(_end_mark(work, frozen=frozen))


@contextlib.asynccontextmanager
async def _marked(work: Work) -> AsyncIterator[None]:
    """Note on the machine that a backup begins, for the time of a block that does that."""
    work.consistency = "crash-consistent"
    if not work.frozen:
        await work.machine.mark(MARK_BEGINNING)
    try:
        yield
    finally:
        await uninterrupted(_end_mark(work, frozen=work.frozen))


async def _end_mark(work: Work, *, frozen: bool) -> None:
    """Thaw what may be frozen, and remove the mark; while that cannot be done, it stays."""
    work.frozen = frozen
    if not frozen:
        await work.machine.mark(None)
    elif (problem := await _thawed(work)) is not None:
        work.warnings.append(
            f"The guest's file systems may still be frozen: {problem} Thawing them is tried again "
            "and again."
        )


async def _thawed(work: Work) -> str | None:
    """Thaw the guest's file systems and remove the mark; return why that cannot be done now."""
    try:
        await work.machine.thaw()
    except HypervisorFailed as error:
        work.thaw_at = asyncio.get_running_loop().time() + _THAW_AGAIN_SECONDS
        return str(error)
    work.frozen = False
    await work.machine.mark(None)
    return None


async def _thaw_again(work: Work) -> None:
    """Thaw file systems that could not be thawed at once, if it is time to try that."""
    if work.frozen and asyncio.get_running_loop().time() >= work.thaw_at:
        await _thawed(work)


async def _begin_job(work: Work) -> None:
    others = [
        disk.target
        for disk in work.definition.disks
        if disk.target not in {ours.target for ours in work.disks}
    ]
    untracked = [disk.target for disk in work.disks if not disk.tracked] + others
    checkpoint = checkpoint_xml(work.checkpoint, work.tracked, untracked) if work.tracked else None
    targets = {disk.target: work.pushed(disk.target) for disk in work.disks}
    parent = None if work.plan.parent is None else work.plan.parent.checkpoint
    left = False
    while True:
        bases = {
            decision.target: parent
            for decision in work.decisions
            if decision.rung is Rung.CHANGED_BLOCKS and parent is not None
        }
        try:
            secret = await _prepare_encrypted(work)
            job = backup_xml(targets, bases, others, secret)
            if secret is None:
                await work.machine.begin_backup(job, checkpoint)
            else:
                await work.machine.begin_backup_into_existing(job, checkpoint)
        except CheckpointUnusable as error:
            if not bases:
                raise
            work.decisions = fallen(work.decisions, str(error))
        except HypervisorFailed as error:
            if left or LEFT_JOB_BITMAP not in str(error):
                raise _begin_failure(work, error) from error
            # A daemon that was killed while it copied what changed has left it in QEMU.
            left = True
            await _take_leftovers(work)
        else:
            break
    await _limit(work)
    work.nvram = await asyncio.to_thread(_read_nvram, work)


async def _prepare_encrypted(work: Work) -> str | None:
    """Make the files that QEMU is to write encrypted; return the secret to do so with, or None."""
    key = work.plan.storing.key
    if key is None:
        return None
    for disk in work.disks:
        path = work.pushed(disk.target)
        # What an attempt has written that failed on a better rung.
        await remove_durably(path)
        await make_encrypted(path, work.states[disk.target].virtual_size, key)
    secret = backup_secret(work.plan.uuid)
    await lend_secret(work.machine.connection, secret, key)
    return secret


async def _limit(work: Work) -> None:
    """Let the job read no more in a second than the plan allows, all disks together."""
    limit = work.plan.storing.rate_limit
    if limit is None:
        return
    for disk in work.disks:
        await work.machine.limit_backup(disk.target, max(limit // len(work.disks), 1))


def _begin_failure(work: Work, error: HypervisorFailed) -> EngineError:
    folder = work.plan.staging or work.plan.folder
    if "Permission denied" in str(error):
        return RepositoryUnavailable(
            f"QEMU may not write into {folder}: {error} Let it in, or name a staging folder that "
            "it may write to."
        )
    if "No such file" in str(error):
        return RepositoryUnavailable(
            f"QEMU cannot write into {folder}: {error} The host must see it under the same path."
        )
    return error


def _read_nvram(work: Work) -> bytes | None:
    if work.definition.nvram is None:
        return None
    try:
        with Path(work.definition.nvram).open("rb") as file:
            return file.read(_LARGEST_NVRAM)
    except OSError as error:
        work.warnings.append(
            f"The NVRAM {work.definition.nvram} cannot be read ({error.strerror}), so it is not "
            "part of the point: a restored machine starts with its firmware's template."
        )
        return None


async def _follow(work: Work) -> None:
    """Wait for the end of the job; raise why it failed."""
    advance = work.phases.phase(0)
    pause, longest = _POLL_SECONDS
    seen = await asyncio.to_thread(_all_seen, work)
    try:
        if not seen:
            # A job that fails takes away what it has written, and ends a moment later: it has the
            # reason. One that goes on writes to another machine's folder.
            await asyncio.sleep(_ENDING_SECONDS)
            if await work.machine.backup_job() is not None:
                raise _written_elsewhere(work)
        while (job := await work.machine.backup_job()) is not None:
            advance(job.done / job.total if job.total else 0.0)
            await _thaw_again(work)
            await asyncio.sleep(pause)
            pause = min(pause * _POLL_GROWTH, longest)
        failure = await work.machine.backup_outcome()
    except HypervisorFailed as error:
        if await work.machine.state() is not State.OFF:
            raise
        raise HypervisorFailed(
            f"The machine {work.definition.name} ended while it was backed up."
        ) from error
    if failure is not None:
        if means_no_space(failure):
            raise no_space(work.pushed(work.disks[0].target))
        raise HypervisorFailed(f"Copying the disks of {work.definition.name} failed: {failure}.")
    if not seen:
        raise _written_elsewhere(work, "Remove what it has left there.")
    advance(1.0)


def _all_seen(work: Work) -> bool:
    return all(work.pushed(disk.target).exists() for disk in work.disks)


def _written_elsewhere(work: Work, advice: str = "") -> RepositoryUnavailable:
    return RepositoryUnavailable(
        f"{work.machine.connection.uri} does not write to the {work.pushed('').parent} of this "
        f"machine. The host must see that folder under the same path. {advice}".rstrip()
    )


async def forget(work: Work) -> None:
    """Take the job and the checkpoint of a failed backup away, as far as the host lets us."""
    # What cannot be done now is done when the next backup begins; the first error is to be told.
    with contextlib.suppress(EngineError):
        await uninterrupted(_forget(work))


async def _forget(work: Work) -> None:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _SETTLING_SECONDS
    while True:
        await _reach(work.machine.connection)
        try:
            await _take_away(work)
        except HypervisorFailed as error:
            # For a moment, a machine whose QEMU was killed is on, and yet nothing can be done.
            if isinstance(error, LostJob) or loop.time() > give_up_at:
                raise
            await asyncio.sleep(_POLL_SECONDS[1])
        else:
            return


async def _take_away(work: Work) -> None:
    plan = work.plan
    await end_interrupted_backup(work.machine.connection, plan.uuid, plan.folders, plan.chain)
    await release_checkpoint(work.machine, work.checkpoint)


async def _reach(connection: LibvirtConnection) -> None:
    """Open a lost connection again: a daemon that was killed is soon started again."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _AWAY_SECONDS
    while not await connection.alive():
        try:
            await connection.open(time_limit=_AWAY_SECONDS)
        except HypervisorUnavailable:
            if loop.time() > give_up_at:
                raise
            await asyncio.sleep(_POLL_SECONDS[1])
