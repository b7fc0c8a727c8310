"""Backs up a machine on libvirt, whether it runs or not: all its disks as of one instant.

QEMU copies (pushes) each disk into a qcow2 of its own, either whole or the blocks that changed
since the checkpoint of the parent point, while the guest goes on. A checkpoint made at the same
instant is where the next point begins. What was pushed is then compressed into the point's files.
A machine that is off is started paused for the time of the copying, since libvirt only copies then;
one whose memory is saved is not (`libvirt_saved`).

At any time: the checkpoint of the parent point stays until a later point is the parent, so that
whatever fails, the next backup finds what it needs; and what a bitmap says is never trusted where
`libvirt_ladder` knows better.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.engine.data_key import SEALED_SUFFIX, seal
from holdfast.engine.durability import discarded_on_exit, remove_durably, write_new
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    MachineBusy,
)
from holdfast.engine.failures import folder_gone, writing_failure
from holdfast.engine.image_backup import (
    ImagePlan,
    ImageResult,
    back_up_image,
    damage_of,
    fits_as_it_is,
    keep_as_it_is,
    keep_difference,
    keep_layer,
    misfit_of,
)
from holdfast.engine.image_send import send_image, send_layer
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import MachineDisk, read_definition
from holdfast.engine.libvirt_ladder import Decision, DiskState, Rung, lowest
from holdfast.engine.libvirt_machine import LibvirtMachine, MemorySaved
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint, StoredFile
from holdfast.engine.libvirt_push import forget, push, release_stale
from holdfast.engine.libvirt_saved import state_at_rest
from holdfast.engine.libvirt_secret import backup_secret, layer_secret, take_secrets_back
from holdfast.engine.libvirt_tidy import (
    MARK_FROZEN,
    checkpoint_prefix,
    end_interrupted_backup,
)
from holdfast.engine.libvirt_work import MachinePlan, Work
from holdfast.engine.progress import Phases, Progress, ProgressCallback, ignore_progress
from holdfast.engine.together import together

_PUSH_WEIGHT, _KEEP_WEIGHT = 50, 50
_in_progress: set[str] = set()


@dataclass(frozen=True, slots=True)
class MachineResult:
    """A point whose files are whole and on stable storage.

    ``rung`` is the lowest that a disk came to, a full only when all did. ``consistency`` is
    "quiesced" (by the guest agent), "crash-consistent" or "powered off". ``warnings`` and ``notes``
    are whole sentences. ``sent`` is what a replica took on the wire, in bytes; 0 for a backup.
    ``frozen`` says that the guest's file systems may be frozen still: see
    `libvirt_tidy.end_left_backup`.
    """

    point: MachinePoint
    rung: Rung
    consistency: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    sent: int = 0
    frozen: bool = False


async def back_up_machine(
    connection: LibvirtConnection,
    plan: MachinePlan,
    on_progress: ProgressCallback = ignore_progress,
) -> MachineResult:
    """Make a restore point of a machine and return it. An existing file is never overwritten.

    Raise MachineMissing, MachineBusy, HypervisorUnavailable, HypervisorFailed, ScriptFailed,
    NoSpace, RepositoryUnavailable, ToolMissing, ToolFailed or EngineError; then, and when
    cancelled, no file, job or checkpoint of this point is left, as far as the host still answers.
    """
    folder, staging = plan.folder.absolute(), plan.staging and plan.staging.absolute()
    plan = replace(plan, folder=folder, staging=staging)
    checkpoint = f"{checkpoint_prefix(plan.chain)}{plan.point}"
    with _alone(plan.uuid):
        machine = LibvirtMachine(connection, plan.uuid)
        # Before anything that can fail: the guest may be frozen.
        done = await end_interrupted_backup(connection, plan.uuid, plan.folders, plan.chain)
        damage: dict[str, str] = {}
        while True:
            work = await _prepared(machine, plan, checkpoint, on_progress)
            work.warnings += done
            work.frozen = work.saved is None and work.definition.mark == MARK_FROZEN
            work.parent_problems |= damage
            try:
                return await _back_up(work)
            except _ParentsDamagedError as error:
                damage |= error.problems
            except MemorySaved:
                continue  # as of now it is backed up without being started


async def take_keys_back(
    connection: LibvirtConnection, backed_up: Collection[str], recovered: Collection[str]
) -> None:
    """Take back what is left on a host of the keys that were lent to it.

    ``backed_up`` are the UUIDs of machines that may have been backed up with a key; those that are
    being backed up now keep it. ``recovered`` are those of machines that ran from a point, and do
    not now. Raise HypervisorUnavailable or HypervisorFailed.
    """
    left = [backup_secret(uuid) for uuid in backed_up if uuid not in _in_progress]
    await take_secrets_back(connection, [*left, *map(layer_secret, recovered)])


async def _back_up(work: Work) -> MachineResult:
    """Have the disks copied while the parent's files are checked, then keep what was copied."""
    async with discarded_on_exit(*(work.pushed(disk.target) for disk in work.disks)):
        try:
            async with together() as group:
                proof = group.create_task(_prove_parents(work))
                if work.plan.before is not None:
                    await proof  # so that a script is run once
                await push(work)
            return await _keep(work)
        except BaseException:  # cancellation too: no checkpoint may stay without its point
            await forget(work)
            raise


@contextlib.contextmanager
def _alone(uuid: str) -> Iterator[None]:
    """Keep two backups of this process off the same machine: each would end the other's."""
    if uuid in _in_progress:
        raise MachineBusy(f"The machine {uuid} is being backed up already.")
    _in_progress.add(uuid)
    try:
        yield
    finally:
        _in_progress.discard(uuid)


class _ParentsDamagedError(ChainBroken):
    """Files of the parent point turned out to be damaged; ``problems`` tells it by disk."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


def _parents(work: Work) -> dict[str, Path]:
    """Return, by disk, the parent point's file."""
    plan = work.plan
    if plan.parent is None:
        return {}
    found = {disk.target: plan.parent.disk(disk.target) for disk in work.disks}
    return {target: plan.folder / disk.file.name for target, disk in found.items() if disk}


async def _misfits(work: Work) -> dict[str, str]:
    """Return, by disk, why the parent point's file cannot be built on, as far as headers tell."""
    problems = {}
    for target, path in _parents(work).items():
        size, key = work.states[target].virtual_size, work.plan.storing.key
        if problem := await misfit_of(path, work.target(target), size, key):
            problems[target] = problem
    return problems


async def _prove_parents(work: Work) -> None:
    """Check the parent point's files that are to be built on; raise when they cannot be."""
    problems = {}
    for target, path in _parents(work).items():
        if target in work.parent_problems:
            continue
        if problem := await damage_of(path, work.plan.storing.key):
            problems[target] = problem
    if problems:
        raise _ParentsDamagedError(problems)


async def _prepared(
    machine: LibvirtMachine, plan: MachinePlan, checkpoint: str, on_progress: ProgressCallback
) -> Work:
    """Look at the machine, and raise when it or the plan makes a backup impossible."""
    saved = await machine.saved_definition()
    definition = read_definition(saved or await machine.definition(live=True))
    disks = [disk for disk in definition.backed_up if disk.target not in plan.left_out]
    state = _state if saved is None else state_at_rest
    states = {disk.target: await state(machine, disk) for disk in disks}
    weights = [_PUSH_WEIGHT, *[_KEEP_WEIGHT / max(len(disks), 1)] * len(disks)]
    total = sum(state.virtual_size for state in states.values())
    work = Work(
        plan=plan,
        machine=machine,
        definition=definition,
        stored_definition=await machine.definition(live=False),
        checkpoint=checkpoint,
        phases=Phases(on_progress, weights, total),
        states=states,
        saved=saved,
    )
    await asyncio.to_thread(_ensure_possible, work)
    work.parent_problems = await _misfits(work)
    _describe(work)
    return work


async def _state(machine: LibvirtMachine, disk: MachineDisk) -> DiskState:
    def inode() -> int | None:
        try:
            return None if disk.path is None else Path(disk.path).stat().st_ino
        except OSError:
            return None  # it lies on another host

    return DiskState(
        disk.target,
        disk.path,
        disk.format,
        await machine.capacity(disk.target),
        await asyncio.to_thread(inode),
    )


def _describe(work: Work) -> None:
    """Note what is no part of the point, and where the machine differs from its definition."""
    for disk in work.definition.disks:
        if disk.left_out is not None:
            work.notes.append(f"{disk.target} is not backed up: {disk.left_out}.")
        elif disk.target in work.plan.left_out:
            work.notes.append(f"{disk.target} is not backed up: the job leaves it out.")
    if work.definition.has_tpm:
        work.warnings.append("The state of the machine's TPM is not part of the point.")
    stored = {(disk.target, disk.path) for disk in read_definition(work.stored_definition).disks}
    for disk in work.disks:
        if (disk.target, disk.path) not in stored:
            work.warnings.append(
                f"{disk.target} ({disk.path}) is attached to the running machine only; its stored "
                "definition, which is part of the point, does not have it like that."
            )


def _ensure_possible(work: Work) -> None:
    if not work.disks:
        raise EngineError(f"The machine {work.definition.name} has no disk to back up.")
    if any(sign in work.plan.point for sign in ":/") or work.plan.point.startswith("."):
        raise EngineError(f"{work.plan.point!r} cannot be the name of a point's files.")
    for folder in (work.plan.folder, work.plan.staging or work.plan.folder):
        if not folder.is_dir():
            raise folder_gone(folder)
    for path in (*(work.target(disk.target) for disk in work.disks), _definition_path(work)):
        if os.path.lexists(path):
            raise EngineError(f"The backup file {path} exists already; it is never overwritten.")


async def _keep(work: Work) -> MachineResult:
    """Turn what was pushed into the point's files."""
    made: list[Path] = []
    try:
        disks = []
        async with together() as group:
            group.create_task(release_stale(work))
            for number, decision in enumerate(work.decisions, start=1):
                disks.append(await _keep_disk(work, decision, work.phases.phase(number)))
                made.append(work.target(decision.target))
        nvram = None
        if work.nvram is not None:
            nvram = await _keep_small(work, "nvram", work.nvram, made)
        definition = await _keep_small(work, "xml", work.stored_definition.encode(), made)
    except BaseException:  # cancellation too: no file may stay without its point
        for path in made:
            await remove_durably(path)
        raise
    parent = work.plan.parent
    point = MachinePoint(
        uuid=work.plan.uuid,
        name=work.definition.name,
        checkpoint=work.checkpoint if work.tracked and work.saved is None else None,
        parent_checkpoint=None if parent is None else parent.checkpoint,
        definition=definition,
        nvram=nvram,
        disks=tuple(disks),
    )
    return MachineResult(
        point=point,
        rung=lowest([disk.rung for disk in disks]),
        consistency=work.consistency,
        warnings=tuple(work.warnings),
        notes=tuple(work.notes),
        sent=work.sent,
        frozen=work.frozen,
    )


async def _keep_disk(work: Work, decision: Decision, advance: Callable[[float], None]) -> DiskPoint:
    def tell(progress: Progress) -> None:
        advance(progress.fraction)

    target, pushed = work.target(decision.target), work.pushed(decision.target)
    before = None if work.plan.parent is None else work.plan.parent.disk(decision.target)
    parent = None if before is None else work.plan.folder / before.file.name
    rung, reason = decision.rung, decision.reason
    result: ImageResult
    # The disk was read at the speed that is allowed; this is about the copy of it.
    storing = replace(work.plan.storing, rate_limit=None)
    if work.plan.keys is not None:
        result = await _send_disk(work, decision, parent, tell)
    elif rung is Rung.CHANGED_BLOCKS and parent is not None:
        result = await keep_layer(pushed, parent, target, tell, storing)
    elif storing.key is not None and rung is Rung.DIFFERENCE and parent is not None:
        result = await keep_difference(pushed, parent, target, tell, storing)
    elif storing.key is not None:
        result = await keep_as_it_is(pushed, None, target, tell, storing.key)
    elif rung is Rung.FULL and await fits_as_it_is(pushed, target, storing):
        result = await keep_as_it_is(pushed, None, target, tell)
    else:
        parent = parent if rung is Rung.DIFFERENCE else None
        plan = ImagePlan(pushed, target, parent, "qcow2", storing, spent=True)
        result = await back_up_image(plan, tell)
    if result.note is not None:
        rung, reason = Rung.FULL, f"{reason}; {result.note}"
    if reason is not None and not decision.expected:
        work.warnings.append(_fall(decision.target, rung, reason))
    elif reason is not None:
        work.notes.append(_fall(decision.target, rung, reason))
    return DiskPoint(
        state=work.states[decision.target],
        file=StoredFile(target.name, result.sha256),
        file_size=result.file_size,
        data_size=result.data_size,
        incremental=result.incremental,
        rung=rung,
        reason=reason,
    )


async def _send_disk(
    work: Work, decision: Decision, parent: Path | None, tell: ProgressCallback
) -> ImageResult:
    """Send what was pushed of a disk of a replica."""
    target, pushed = work.target(decision.target), work.pushed(decision.target)
    keys = work.plan.keys
    assert keys is not None  # noqa: S101 - it is what makes a replica
    if decision.rung is Rung.CHANGED_BLOCKS and parent is not None:
        result = await send_layer(pushed, parent, target, keys, tell)
    else:
        parent = parent if decision.rung is Rung.DIFFERENCE else None
        result = await send_image(pushed, parent, target, keys, tell)
    work.sent += result.sent
    return result.image


def _fall(target: str, rung: Rung, reason: str) -> str:
    kept = "was kept whole" if rung is Rung.FULL else "was read whole to keep what differs"
    return f"{target} {kept}, because {reason.rstrip('.')}."


def _definition_path(work: Work) -> Path:
    return _small_path(work, "xml")


def _small_path(work: Work, suffix: str) -> Path:
    sealed = SEALED_SUFFIX if work.plan.storing.key is not None else ""
    return work.plan.folder / f"{work.plan.point}.{suffix}{sealed}"


async def _keep_small(work: Work, suffix: str, content: bytes, made: list[Path]) -> StoredFile:
    path, key = _small_path(work, suffix), work.plan.storing.key
    if key is not None:
        content = seal(content, key, path.name)
    try:
        sha256 = await write_new(path, content)
    except OSError as error:
        raise writing_failure(error, path) from error
    made.append(path)
    return StoredFile(path.name, sha256)
