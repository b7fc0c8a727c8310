"""Machines that a job has points of, and that its session is not about.

They were taken out of the job or are gone from their hosts; with a copy job, there is nothing new
of them. Their points are checked with all others, age with them where a job keeps points for days,
and are removed whole where the job says so: some days after the first session without them, with a
copy job after the first one that finds nothing of them that it could copy (`lost_sources`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, func, select

from holdfast.engine.errors import EngineError, MachineMissing
from holdfast.server import hosted_points, tables
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.clock import Clock, milliseconds, moment_of
from holdfast.server.health import HealthCheck
from holdfast.server.hosted_objects import MACHINE, locate
from holdfast.server.hosts import Hosts
from holdfast.server.job_specification import is_copy
from holdfast.server.journal import ChainKey
from holdfast.server.keeping import age
from holdfast.server.lost_sources import lost_since, note_lost_sources
from holdfast.server.machine_backup import SessionPlan
from holdfast.server.refusal import RefusedError
from holdfast.server.retention import Retention
from holdfast.server.session_state import ASIDE
from holdfast.server.slots import Slots
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class OtherMachine:
    """A machine or directory that has points; `newest` is when the last was made, in ms."""

    kind: str
    reference: str
    name: str
    newest: int


class OtherMachines:
    """Looks after what the sessions of jobs are not about."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        hosts: Hosts,
        locks: ChainLocks,
        slots: Slots,
        health: HealthCheck,
        retention: Retention,
    ) -> None:
        self._store = store
        self._clock = clock
        self._hosts = hosts
        self._locks = locks
        self._slots = slots
        self._health = health
        self._retention = retention

    async def check(self, plan: SessionPlan) -> tuple[list[str], bool]:
        """Check their points; return what is wrong, and whether all could be checked."""
        problems: list[str] = []
        complete = True
        for machine in await self._of(plan):
            key = ChainKey.of(plan.place.backup, machine.kind, machine.reference)
            try:
                if key not in plan.findings:
                    async with (
                        self._locks.work.hold(key),
                        self._slots.taken(plan.place.repository_uid),
                    ):
                        plan.findings[key] = await self._health.check(key)
            except EngineError as error:
                problems.append(f"{machine.name}: {error}")
                complete = False
                continue
            found = plan.findings[key].problems.get(machine.reference, ())
            problems += [f"{machine.name}: {each}" for each in found]
        return problems, complete

    async def retain(self, plan: SessionPlan) -> list[str]:
        """Let go what is not to be kept of them; return why that failed, if so."""
        machines = await self._of(plan)
        problems: list[str] = []
        if is_copy(plan.job_kind):
            problems += await self._store.write(partial(self._look_for_sources, plan, machines))
        if not machines:
            return problems
        over = await self._store.read(partial(self._over, plan, machines))
        ageing = []
        for machine in machines:
            if machine in over:
                problems += await self._remove(plan.place.backup, machine)
            else:
                ageing.append(machine)
        if plan.rules.policy.days is not None:
            # No full is made of a point that was there on that day already.
            rules = replace(plan.rules, synthetic=None)
            problems += await self._retention.apply(plan.place.backup, ageing, rules)
        return problems

    async def _of(self, plan: SessionPlan) -> list[OtherMachine]:
        among = {machine.reference for machine in plan.machines}
        return await self._store.read(lambda c: _others(c, plan.place.backup, among))

    def _look_for_sources(
        self, plan: SessionPlan, machines: Collection[OtherMachine], connection: Connection
    ) -> list[str]:
        """Note whose copies have nothing that they are copies of any more; return warnings."""
        now = milliseconds(self._clock.now())
        references = {machine.reference for machine in machines}
        new = note_lost_sources(connection, plan.job, references, now)
        told = []
        for machine in machines:
            left = self._left(plan, machine, connection)
            if left is None and machine.reference not in new:
                continue
            if left is not None and left <= timedelta():
                continue
            becomes = (
                "stay"
                if left is None
                else f"are removed in {_days(left)}, unless there is something to copy from again"
            )
            told.append(
                f"{machine.name}: what its restore points here are copies of is gone, and there is "
                f"nothing else of it to copy from. They {becomes}."
            )
        return told

    def _over(
        self, plan: SessionPlan, machines: Collection[OtherMachine], connection: Connection
    ) -> set[OtherMachine]:
        """Return those of which all points are to go now."""
        left = {machine: self._left(plan, machine, connection) for machine in machines}
        return {each for each, time in left.items() if time is not None and time <= timedelta()}

    def _left(
        self, plan: SessionPlan, machine: OtherMachine, connection: Connection
    ) -> timedelta | None:
        """Return after what time all points of a machine are to go, None if they are not."""
        days = plan.options.remove_deleted_after
        if days is None:
            return None
        if is_copy(plan.job_kind):
            since = lost_since(connection, plan.job, machine.reference)
        else:
            since = _missed_since(connection, plan.job, machine)
        if since is None:
            return None
        past = age(moment_of(since), self._clock.now(), plan.rules.policy.jumps)
        return timedelta(days=days) - past

    async def _remove(self, backup: UUID, machine: OtherMachine) -> list[str]:
        """Remove all points of a machine, and before that what it has of them itself."""
        try:
            await self._release(backup, machine)
        except (EngineError, RefusedError) as error:
            return [f"The restore points of {machine.name} stay for now: {error}"]
        _LOGGER.warning(
            "All restore points of %s are removed, as its job says of deleted machines",
            machine.name,
        )
        return await self._retention.remove(backup, machine)

    async def _release(self, backup: UUID, machine: OtherMachine) -> None:
        """Take the checkpoints of a machine's points off it, should it still be on a host."""
        if machine.kind != MACHINE:
            return
        host, uuid = await self._store.read(lambda c: _where(c, backup, machine.reference))
        if host is None:
            return
        access = await self._hosts.access(host)
        try:
            await self._hosts.platform.release(access, uuid, str(backup))
        except MachineMissing:
            return  # it went since the host was looked at


def _days(length: timedelta) -> str:
    """Return a time in days, rounded up, for people."""
    days = -(-length // timedelta(days=1))
    return "1 day" if days == 1 else f"{days} days"


def _others(connection: Connection, backup: UUID, among: Collection[str]) -> list[OtherMachine]:
    """Return the machines that have points in a backup, but for those `among` these references."""
    point = tables.machine_point
    rows = connection.execute(
        select(
            point.c.kind,
            point.c.reference,
            func.max(point.c.display_name).label("name"),
            func.max(point.c.created).label("newest"),
        )
        .where(point.c.backup_uid == backup)
        .group_by(point.c.kind, point.c.reference)
        .order_by(point.c.reference)
    )
    return [
        OtherMachine(row.kind, row.reference, row.name, row.newest)
        for row in rows
        if row.reference not in among
    ]


def _missed_since(connection: Connection, job: UUID, machine: OtherMachine) -> int | None:
    """Return when the first whole session of a job began that was not about a machine any more.

    Not when its last point was made: a host that comes back empty after weeks, or a job that was
    disabled for long, leaves people as many days as they asked for to notice it.
    """
    session, task = tables.job_session, tables.task_session
    about = connection.scalar(
        select(func.max(task.c.created)).where(
            task.c.job_uid == job, task.c.reference == machine.reference
        )
    )
    found: int | None = connection.scalar(
        select(func.min(session.c.created)).where(
            session.c.job_uid == job,
            ~session.c.is_retry,
            session.c.cause.not_in(ASIDE),
            session.c.created > max(machine.newest, about or 0),
        )
    )
    return found


def _where(connection: Connection, backup: UUID, reference: str) -> tuple[UUID | None, str]:
    """Return the host that a machine with points is on, if it is on one, and its UUID there."""
    point = tables.machine_point
    detail = connection.scalars(
        select(point.c.detail)
        .where(point.c.backup_uid == backup, point.c.reference == reference)
        .order_by(point.c.created.desc())
        .limit(1)
    ).one()
    where = locate(connection, reference)
    return None if where is None else where.host_uid, hosted_points.decoded(detail).uuid
