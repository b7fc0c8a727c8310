"""Retention: what a job keeps stays; older points are dropped, merged, or cut out of their chain.

First the catalog stops showing the point that goes and the journal says what is to be done, in
one transaction; then the files change, by settling the journal. A file that is to be written anew
(a synthetic full; what stays and is built on what goes) is written beside the old one, and every
point can be restored meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from holdfast.engine.chain import Chain, ChainPoint, Drop, Merge, RetentionStep, next_steps
from holdfast.engine.errors import EngineError
from holdfast.engine.qemu_image import AS_USUAL, Storing
from holdfast.server import journal, points, replicas, tables
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.clock import Clock, milliseconds, moment_of
from holdfast.server.damage import note_bad_files
from holdfast.server.expiry import withdraw_chain
from holdfast.server.fulls import files_of, full_is_due
from holdfast.server.hosted_points import small_files
from holdfast.server.job_options import Days
from holdfast.server.journal import (
    FILES_CHAIN,
    ChainKey,
    ForgetSnapshots,
    Intent,
    MergeImages,
    RebuildImage,
    RemoveFiles,
    RemoveImage,
)
from holdfast.server.keeping import Keeping, Policy, keeping
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.settlement import Settlement
from holdfast.server.slots import Slots
from holdfast.server.store import Store


@dataclass
class _Known:
    """What was found while a chain was worked on.

    `given_up` are the files that could not be made fulls, with the reason; `bad` those that were
    read and are damaged, also such as no point has; `proved` those of the next step that are not.
    """

    given_up: dict[UUID, str] = field(default_factory=dict)
    bad: dict[UUID, str] = field(default_factory=dict)
    proved: set[UUID] = field(default_factory=set)


#: Declares the next step, given what is known; None when there is none.
_Next = Callable[[_Known, Connection], Intent | None]

#: Returns the files that the next steps merge; given the same.
_ToMerge = Callable[[_Known, Connection], Sequence[Row[Any]]]


class Stored(Protocol):
    """A machine or directory that has points."""

    @property
    def kind(self) -> str:
        """What it is, as in `job_object`."""

    @property
    def reference(self) -> str:
        """What identifies it."""


class _ThereIsWorkError(Exception):
    """Takes a transaction back that has declared a step: it was only to be seen whether there is
    one.
    """


@dataclass(frozen=True)
class Rules:
    """What a job keeps, on which days it makes a full of what it has, and how it stores it."""

    policy: Policy
    synthetic: Days | None = None
    storing: Storing = AS_USUAL


@dataclass(frozen=True)
class _Point:
    """The row of a point, as `keeping` wants to see it."""

    row: Row[Any]

    @property
    def created(self) -> datetime:
        return moment_of(points.made_at(self.row))

    @property
    def is_good(self) -> bool:
        return self.row.damaged is None

    @property
    def was_kept_for(self) -> Collection[str]:
        return (self.row.kept_for or "").split(",")


class Retention:
    """Keeps to what a job says about which points to keep."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        locks: ChainLocks,
        settlement: Settlement,
        slots: Slots,
    ) -> None:
        self._store = store
        self._clock = clock
        self._locks = locks
        self._settlement = settlement
        self._slots = slots

    async def apply(self, backup: UUID, machines: Sequence[Stored], rules: Rules) -> list[str]:
        """Let go what is not to be kept of these machines; return why that failed, if so.

        No chain of theirs may be held, and no slot.
        """
        problems: list[str] = []
        for machine in machines:
            if machine.kind == "directory":
                continue
            key = ChainKey(backup, machine.reference)
            problems += await self._follow(
                key,
                partial(self._next, key, rules),
                rules.storing,
                partial(self._to_merge, key, rules),
            )
        directories = [each.reference for each in machines if each.kind == "directory"]
        if directories:
            key = ChainKey(backup, FILES_CHAIN)
            surplus = partial(self._surplus_snapshots, key, directories, rules.policy)
            problems += await self._follow(key, surplus, rules.storing)
        return problems

    async def remove(self, backup: UUID, machine: Stored) -> list[str]:
        """Remove all points of a machine; return why that failed, if so."""
        key = ChainKey.of(backup, machine.kind, machine.reference)
        return await self._follow(key, partial(self._all, key, machine), AS_USUAL)

    async def _follow(
        self,
        key: ChainKey,
        declare_next: _Next,
        storing: Storing,
        to_merge: _ToMerge | None = None,
    ) -> list[str]:
        """Declare and settle one step after the other, until there is none; return problems."""
        # Fulls that could not be made are no reason to keep everything else, too.
        known = _Known()
        told: list[str] = []
        async with AsyncExitStack() as held:
            # The chain first: whoever waits for one must not hold a slot meanwhile.
            await held.enter_async_context(self._locks.work.hold(key))
            try:
                if not await self._has_work(key, partial(declare_next, known)):
                    return []
                repository = await self._store.read(lambda c: _repository_of(c, key))
                await held.enter_async_context(self._slots.taken(repository))
                # What stands from before comes first: the chain is not what the catalog says until
                # it is settled.
                problems = await self._settlement.settle_chain(key)
                while not problems:
                    # What goes, goes because it is not kept, and not while nobody can see it.
                    await self._settlement.ensure_available(key)
                    if to_merge is not None:
                        told += await self._look_at(key, partial(to_merge, known), known)
                    intent = await self._store.write(partial(declare_next, known))
                    if intent is None:
                        break
                    if isinstance(intent.work, RebuildImage):
                        problem = await self._rebuild(intent, storing)
                        if problem is not None and intent.work.onto is None:
                            known.given_up[intent.work.file] = (
                                f"A full could not be made: {problem}"
                            )
                        elif problem is not None:
                            problems.append(problem)
                    problems += await self._settlement.settle_chain(key, known.proved)
            except (EngineError, RefusedError) as error:
                # The repository is away, or a machine runs from the chain; later, it does not.
                problems = [str(error)]
        told += known.given_up.values()
        return told + [f"Old restore points could not be removed: {each}" for each in problems]

    async def _has_work(
        self, key: ChainKey, declare_next: Callable[[Connection], Intent | None]
    ) -> bool:
        """Say whether anything is to be done with a chain: only then a slot is waited for."""

        def look(connection: Connection) -> bool:
            if journal.standing(connection, key):
                return True
            if declare_next(connection) is not None:
                raise _ThereIsWorkError
            return False

        try:
            return await self._store.write(look)
        except _ThereIsWorkError:
            return True

    async def _look_at(
        self, key: ChainKey, to_merge: Callable[[Connection], Sequence[Row[Any]]], known: _Known
    ) -> list[str]:
        """Compare what is to be merged with its checksum; note and return what is damaged.

        Nothing is merged into what is noted, nor what is damaged into anything. Raise EngineError
        when that cannot be told now: nothing is merged that is not proved.
        """
        told: list[str] = []
        known.proved = set()
        while files := await self._store.read(to_merge):
            bad = await self._settlement.damaged(key, files)
            if not bad:
                known.proved = {file.uid for file in files}
                break
            # Without these, others may be next.
            known.bad |= bad
            told += bad.values()
            await self._store.write(partial(note_bad_files, key=key, bad_files=bad))
        return told

    async def _rebuild(self, intent: Intent, storing: Storing) -> str | None:
        """Write a file anew; return why that could not be, or None."""
        try:
            await self._settlement.rebuild(intent, storing)
        except EngineError as error:
            return str(error)
        finally:
            # Once it is recorded the entry no longer stands, and this does nothing.
            await self._settlement.try_settle(intent)
        return None

    def _next(
        self,
        key: ChainKey,
        rules: Rules,
        known: _Known,
        connection: Connection,
    ) -> Intent | None:
        """Declare the next step with a machine's chain; return what was declared last."""
        if replicas.in_use(connection, key.backup, key.chain):
            return None  # a failover builds on these files
        rows = points.points_of(connection, key.backup, key.chain)
        found = keeping([_Point(row) for row in rows], rules.policy, self._clock.now())
        kept_for = {point.row.uid: ",".join(why) for point, why in found.kept_for}
        _note_kept_for(connection, rows, kept_for)
        for full in self._wanted_fulls(connection, key, rules, rows, kept_for):
            if full not in known.given_up:
                return self._declare(connection, key, RebuildImage(full, None))
        surplus, steps = _steps(connection, key, rows, found, known.bad)
        leaving = {_leaves(step) for step in steps}
        small: tuple[str, ...] = ()
        for uid, files in surplus.items():
            if not leaving.isdisjoint(files):
                [row] = [row for row in rows if row.uid == uid]
                small = () if row.detail is None else tuple(small_files(connection, uid))
                points.withdraw_point(connection, uid)
        declared = None
        for step in steps:
            declared = self._declare(connection, key, _work_of(step))
        if small:
            declared = self._declare(connection, key, RemoveFiles(small))
        return declared

    def _to_merge(
        self, key: ChainKey, rules: Rules, known: _Known, connection: Connection
    ) -> list[Row[Any]]:
        """Return the files that the next steps merge into one: fulls, and increments on them."""
        rows = points.points_of(connection, key.backup, key.chain)
        found = keeping([_Point(row) for row in rows], rules.policy, self._clock.now())
        _, steps = _steps(connection, key, rows, found, known.bad)
        return [
            row_of(connection, tables.backup_file, UUID(uid))
            for step in steps
            if isinstance(step, Merge)
            # The full gets a new checksum: what is damaged of it now would never be seen again.
            for uid in (step.oldest, step.next)
        ]

    def _wanted_fulls(
        self,
        connection: Connection,
        key: ChainKey,
        rules: Rules,
        rows: Sequence[Row[Any]],
        kept_for: dict[UUID, str],
    ) -> list[UUID]:
        """Return the files that are increments and are to be fulls."""
        # Of a damaged one no full can be made.
        wanted = [row for row in rows if row.uid in kept_for and row.damaged is None]
        now = self._clock.now()
        due = full_is_due(connection, key.backup, key.chain, rules.synthetic, now)
        if due and rows[-1].damaged is None:
            wanted.append(rows[-1])
        files = [file for row in wanted for file in files_of(connection, row)]
        return [file.uid for file in files if file.parent_uid is not None]

    def _surplus_snapshots(
        self,
        key: ChainKey,
        references: Sequence[str],
        policy: Policy,
        _known: _Known,
        connection: Connection,
    ) -> Intent | None:
        surplus: list[Row[Any]] = []
        for reference in references:
            rows = points.points_of(connection, key.backup, reference)
            found = keeping([_Point(row) for row in rows], policy, self._clock.now())
            kept_for = {point.row.uid: ",".join(why) for point, why in found.kept_for}
            _note_kept_for(connection, rows, kept_for)
            surplus += [point.row for point in found.surplus]
        if not surplus:
            return None
        for row in surplus:
            points.withdraw_point(connection, row.uid)
        work = ForgetSnapshots(tuple(row.snapshot_id for row in surplus))
        return self._declare(connection, key, work)

    def _all(
        self, key: ChainKey, machine: Stored, _known: _Known, connection: Connection
    ) -> Intent | None:
        """Declare the removal of all points of a machine; return what was declared last."""
        if replicas.in_use(connection, key.backup, key.chain):
            return None
        rows = points.points_of(connection, key.backup, machine.reference)
        if not rows:
            return None
        if machine.kind != "directory":
            return withdraw_chain(connection, key, milliseconds(self._clock.now()))
        for row in rows:
            points.withdraw_point(connection, row.uid)
        work = ForgetSnapshots(tuple(row.snapshot_id for row in rows))
        return self._declare(connection, key, work)

    def _declare(self, connection: Connection, key: ChainKey, work: journal.Work) -> Intent:
        return journal.declare(connection, key, work, milliseconds(self._clock.now()))


def _steps(
    connection: Connection,
    key: ChainKey,
    rows: Sequence[Row[Any]],
    found: Keeping[_Point],
    bad: Collection[UUID],
) -> tuple[dict[UUID, list[str]], tuple[RetentionStep, ...]]:
    """Return the files of each surplus point, and the next steps to let go of them."""
    surplus = {
        point.row.uid: [str(file.uid) for file in files_of(connection, point.row)]
        for point in found.surplus
    }
    damaged = {
        str(file.uid)
        for row in rows
        if row.damaged is not None
        for file in files_of(connection, row)
    } | {str(uid) for uid in bad}
    chain = _files_in(connection, key.backup)
    return surplus, next_steps(chain, list(surplus.values()), damaged)


def _repository_of(connection: Connection, key: ChainKey) -> UUID:
    repository: UUID = row_of(connection, tables.backup, key.backup).repository_uid
    return repository


def _leaves(step: RetentionStep) -> str | None:
    """Return the file that a step takes away, if any."""
    if isinstance(step, Drop):
        return step.uid
    return step.oldest if isinstance(step, Merge) else None


def _work_of(step: RetentionStep) -> journal.Work:
    if isinstance(step, Drop):
        return RemoveImage(UUID(step.uid))
    if isinstance(step, Merge):
        return MergeImages(full=UUID(step.oldest), increment=UUID(step.next), begun=False)
    return RebuildImage(UUID(step.uid), None if step.parent is None else UUID(step.parent))


def _files_in(connection: Connection, backup: UUID) -> Chain:
    """Return what depends on what among the files of a backup, those without points, too."""
    file = tables.backup_file
    rows = connection.execute(
        select(file.c.uid, file.c.parent_uid)
        .where(file.c.backup_uid == backup)
        .order_by(file.c.created, file.c.uid)
    )
    return Chain(ChainPoint(str(row.uid), row.parent_uid and str(row.parent_uid)) for row in rows)


def _note_kept_for(
    connection: Connection, rows: Sequence[Row[Any]], kept_for: dict[UUID, str]
) -> None:
    table = tables.machine_point
    for row in rows:
        if row.kept_for != kept_for.get(row.uid):
            connection.execute(
                update(table).where(table.c.uid == row.uid).values(kept_for=kept_for.get(row.uid))
            )
            points.show_point(connection, row.uid)
