"""Retention: of each machine, the newest N points stay; older ones are dropped or merged.

First the catalog stops showing the point that goes and the journal says what is to be done, in
one transaction; then the files change, by settling the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.engine.chain import Drop, retention_step
from holdfast.server import journal, points, replicas, tables
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.hosted_points import disks_of, small_files
from holdfast.server.journal import (
    FILES_CHAIN,
    ChainKey,
    ForgetSnapshots,
    Intent,
    MergeImages,
    RemoveFiles,
    RemoveImage,
    Work,
)
from holdfast.server.sessions import Machine
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store


class Retention:
    """Keeps to what a job says about how many points to keep."""

    def __init__(
        self, store: Store, clock: Clock, locks: ChainLocks, settlement: Settlement
    ) -> None:
        self._store = store
        self._clock = clock
        self._locks = locks
        self._settlement = settlement

    async def apply(self, backup: UUID, machines: Sequence[Machine], keep: int) -> list[str]:
        """Bring each machine's points down to `keep`; return why that was not possible, if so."""
        problems: list[str] = []
        for machine in machines:
            if machine.kind == "directory":
                continue
            key = ChainKey(backup, machine.reference)
            step = self._next_step if machine.kind == "image" else self._oldest_machine
            problems += await self._follow(key, partial(step, key, keep))
        directories = [each.reference for each in machines if each.kind == "directory"]
        if directories:
            key = ChainKey(backup, FILES_CHAIN)
            surplus = partial(self._surplus_snapshots, key, directories, keep)
            problems += await self._follow(key, surplus)
        return [f"Old restore points could not be removed: {problem}" for problem in problems]

    async def _follow(
        self, key: ChainKey, next_intent: Callable[[Connection], Intent | None]
    ) -> list[str]:
        """Declare and settle one step after the other, until there is none; return problems."""
        async with self._locks.work.hold(key):
            # What stands from before comes first: the chain is not what the catalog says until
            # it is settled.
            problems = await self._settlement.settle_chain(key)
            while not problems and await self._store.write(next_intent) is not None:
                problems = await self._settlement.settle_chain(key)
        return problems

    def _next_step(self, key: ChainKey, keep: int, connection: Connection) -> Intent | None:
        step = retention_step(points.image_chain(connection, key.backup, key.chain), keep)
        if step is None:
            return None
        work: Work
        if isinstance(step, Drop):
            going = UUID(step.uid)
            work = RemoveImage(going)
        else:
            going = UUID(step.oldest)
            work = MergeImages(full=going, increment=UUID(step.next))
        point = tables.machine_point
        shown = select(point.c.uid).where(point.c.backup_file_uid == going)
        points.withdraw_point(connection, connection.scalars(shown).one())
        return journal.declare(connection, key, work, self._now())

    def _oldest_machine(self, key: ChainKey, keep: int, connection: Connection) -> Intent | None:
        """Let the oldest point of a machine go, if it is surplus: each disk for itself."""
        if replicas.in_use(connection, key.backup, key.chain):
            return None  # a failover builds on these files
        surplus = points.points_of(connection, key.backup, key.chain)[:-keep]
        for row in surplus:
            works = [_step(connection, disk) for disk in disks_of(connection, row.uid)]
            if None in works:
                continue
            small = RemoveFiles(tuple(small_files(connection, row.uid)))
            points.withdraw_point(connection, row.uid)
            for work in works:
                if work is not None:
                    journal.declare(connection, key, work, self._now())
            return journal.declare(connection, key, small, self._now())
        return None

    def _surplus_snapshots(
        self, key: ChainKey, references: Sequence[str], keep: int, connection: Connection
    ) -> Intent | None:
        surplus = [
            row
            for reference in references
            for row in points.points_of(connection, key.backup, reference)[:-keep]
        ]
        if not surplus:
            return None
        for row in surplus:
            points.withdraw_point(connection, row.uid)
        work = ForgetSnapshots(tuple(row.snapshot_id for row in surplus))
        return journal.declare(connection, key, work, self._now())

    def _now(self) -> int:
        return milliseconds(self._clock.now())


def _step(connection: Connection, disk: Row[Any]) -> Work | None:
    """Given a disk's file whose point goes, return what becomes of it; None if it must stay."""
    file = tables.backup_file
    built_on = connection.scalars(select(file.c.uid).where(file.c.parent_uid == disk.uid)).all()
    if not built_on:
        return RemoveImage(disk.uid)
    if disk.parent_uid is None and len(built_on) == 1:
        return MergeImages(full=disk.uid, increment=built_on[0])
    return None
