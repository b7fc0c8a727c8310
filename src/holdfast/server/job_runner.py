"""Runs job sessions: their machines, a few at a time over the whole server, then retention."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.errors import EngineError
from holdfast.engine.progress import Progress, ProgressCallback
from holdfast.server import job_schedules, points, sessions, stand_ins, tables
from holdfast.server.chain_locks import ChainLocks, turn_at
from holdfast.server.clock import Clock, milliseconds, moment_of
from holdfast.server.clock_watch import jumps, note_time
from holdfast.server.data_keys import KnownKey
from holdfast.server.health import Findings, HealthCheck
from holdfast.server.health_schedule import check_is_due, newest_is_damaged, note_check
from holdfast.server.hosted_backup import HostedBackup
from holdfast.server.hosted_copy import HostedCopy
from holdfast.server.hosted_objects import MACHINE, locate
from holdfast.server.hosts import Hosts
from holdfast.server.job_options import JobOptions, decode_options
from holdfast.server.job_specification import REPLICA, is_copy
from holdfast.server.journal import ChainKey
from holdfast.server.left_backups import LeftBackups
from holdfast.server.libvirt_references import read_reference
from holdfast.server.machine_backup import MachineBackup, SessionPlan
from holdfast.server.machine_copy import MachineCopy
from holdfast.server.other_machines import OtherMachines
from holdfast.server.part_backup import one_off_ended
from holdfast.server.publish import row_of
from holdfast.server.replication import HostedReplication
from holdfast.server.repositories import BackupPlace, Repositories
from holdfast.server.retention import Retention
from holdfast.server.session_machines import add_found, ask_hosts
from holdfast.server.session_state import ASIDE, Cause, JobSessionState, Result
from holdfast.server.sessions import Machine, was_asked_to_stop
from holdfast.server.settlement import Settlement
from holdfast.server.slots import Concurrency, Slots
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_PROGRESS_SECONDS = 1.0
_RETRY_SECONDS = 5.0
WAITING = (
    "It waits for its turn: the machine is being backed up or replicated by another job, restored "
    "or failed over."
)
_MENDED = "It was copied again from the backup, and is whole."
UNEXPECTED = "An internal error ended this. The log of the backup server tells more."


class JobRunner:
    """The sessions that are running now."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        repositories: Repositories,
        locks: ChainLocks,
        settlement: Settlement,
        hosts: Hosts,
        left: LeftBackups,
        concurrency: Concurrency,
        keys: Path,
    ) -> None:
        """`keys` is a folder for the keys of transfers."""
        self._store = store
        self._clock = clock
        self._repositories = repositories
        self._locks = locks
        self._settlement = settlement
        self._hosts = hosts
        self._left = left
        self._keys = keys
        self._slots = Slots(concurrency)
        self._retention = Retention(store, clock, locks, settlement, self._slots)
        self._health = HealthCheck(store, repositories, locks, settlement)
        self._others = OtherMachines(
            store, clock, hosts, locks, self._slots, self._health, self._retention
        )
        self._work: dict[UUID, asyncio.Task[list[str]]] = {}
        self._supervisors: dict[UUID, asyncio.Task[None]] = {}
        self._when_ended: list[Callable[[], None]] = []
        #: Why all sessions are stopped, when they are because the server goes down.
        self._going_down: str | None = None

    def when_ended(self, call: Callable[[], None]) -> None:
        """Have something called whenever a session has ended."""
        self._when_ended.append(call)

    def launch(self, session: UUID) -> None:
        """Let a session that was begun run. What becomes of it is in its rows."""
        work = asyncio.create_task(self._run(session), name=f"session {session}")
        self._work[session] = work
        self._supervisors[session] = asyncio.create_task(self._supervise(session, work))

    def interrupt(self, session: UUID) -> None:
        """Let go of a session that was asked to stop: what it is doing is cancelled at once."""
        # One that is not launched yet finds in its row that it was stopped.
        if (work := self._work.pop(session, None)) is not None:
            work.cancel()

    async def ended(self, session: UUID) -> None:
        """Return when a session that was launched has ended."""
        if (supervisor := self._supervisors.get(session)) is not None:
            await asyncio.wait({supervisor})

    async def wait_until_idle(self) -> None:
        """Return when no session runs."""
        while self._supervisors:
            await asyncio.wait(list(self._supervisors.values()))

    async def stop_all(self, reason: str) -> None:
        """Stop every session, for the reason given, and return when all have ended."""

        def request(connection: Connection) -> None:
            for uid in sessions.unfinished_sessions(connection):
                sessions.request_stop(connection, uid, reason)

        self._going_down = reason
        await self._store.write(request)
        for session in list(self._work):
            self.interrupt(session)
        await self.wait_until_idle()
        # One that was begun, but never launched, has nobody else to end it.
        for session in await self._store.read(sessions.unfinished_sessions):
            await self._end(session)

    async def _supervise(self, session: UUID, work: asyncio.Task[list[str]]) -> None:
        """See a session to its end, whatever its work does. This task is never cancelled."""
        try:
            await asyncio.wait({work})
            self._work.pop(session, None)
            if work.cancelled():
                await self._end(session, cut_short="The session was stopped.")
            elif error := work.exception():
                _LOGGER.error("Session %s ended unexpectedly", session, exc_info=error)
                reason = str(error) if isinstance(error, EngineError) else UNEXPECTED
                await self._end(session, cut_short=reason)
            else:
                await self._end(session, warnings=work.result())
            await self._repositories.refresh_space()
        finally:
            del self._supervisors[session]

    async def _end(
        self, session: UUID, *, cut_short: str | None = None, warnings: Sequence[str] = ()
    ) -> None:
        """End a session; try until the database takes it, since no session may stay running."""

        def end(connection: Connection) -> None:
            now = self._clock.now()
            row = row_of(connection, tables.job_session, session)
            if row.state == JobSessionState.STOPPED:
                return
            sessions.end_session(
                connection, session, milliseconds(now), cut_short=cut_short, warnings=warnings
            )
            job_schedules.session_ended(
                connection,
                session,
                now,
                stopped=was_asked_to_stop(row, self._going_down),
                cut_off=self._going_down is not None,
            )
            one_off_ended(connection, session, now)

        while True:
            try:
                await self._store.write(end)
            except SQLAlchemyError:
                _LOGGER.exception("The end of session %s cannot be written yet", session)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                for call in self._when_ended:
                    call()
                return

    async def _run(self, session: UUID) -> list[str]:
        """Do what a session has to do; return what went wrong beside its machines."""
        away = await ask_hosts(self._store, self._hosts, session)

        def begin(connection: Connection) -> tuple[list[str], SessionPlan | None]:
            problems = [] if away is None else add_found(connection, session, away)
            return problems, self._plan(connection, session)

        problems, plan = await self._store.write(begin)
        if plan is None:
            return []
        if (password := plan.options.encryption) is not None:
            plan = replace(plan, key=await self._key_of(plan.place, password))
        if plan.jumped is not None:
            problems.append(plan.jumped)
        progress = _SessionProgress(self._store, session, len(plan.machines))
        publishing = asyncio.create_task(progress.keep_publishing())
        try:
            outcomes = await asyncio.gather(
                *(self._process(plan, machine, progress) for machine in plan.machines),
                return_exceptions=True,
            )
        finally:
            publishing.cancel()
            # However it ended: what people see of the progress decides nothing.
            await asyncio.gather(publishing, return_exceptions=True)
        for machine, outcome in zip(plan.machines, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _LOGGER.error("Unexpected, with machine %s", machine.name, exc_info=outcome)
                await self._fail(machine, UNEXPECTED)
        if plan.checking:
            found, complete = await self._others.check(plan)
            problems += found
            if complete and plan.all_checked:
                await self._store.write(lambda c: note_check(c, plan.job, plan.begun))
        if plan.whole:
            problems += await self._others.retain(plan)
        if plan.apart and plan.job_kind == REPLICA:
            # It may be the last replication of a planned failover: a machine is off, and waits.
            return problems
        if not await self._store.read(lambda c: _has_new_points(c, session)):
            return problems
        backup, machines = plan.place.backup, plan.machines
        return problems + await self._retention.apply(backup, machines, plan.rules)

    async def _key_of(self, place: BackupPlace, password: UUID) -> KnownKey:
        """Return what a session encrypts with. What opens it lies beside the backup from then on.

        Raise EngineError: nothing may be encrypted that could not be opened again.
        """
        keys, now = self._repositories.data_keys, milliseconds(self._clock.now())
        folder = await asyncio.to_thread(place.folder)
        known = await keys.ensure(place.backup, password, now)
        await keys.put_beside(folder, [known.uid])
        return known

    def _plan(self, connection: Connection, session: UUID) -> SessionPlan | None:
        machines = sessions.start_working(connection, session)
        if machines is None:
            return None
        begun = row_of(connection, tables.job_session, session)
        job_uid = begun.job_uid
        job = row_of(connection, tables.job, job_uid)
        options, now = decode_options(job.options), self._clock.now()
        only_checking = begun.cause == Cause.CHECK
        note_time(connection, now)
        backup = points.backup_of_job(connection, job_uid)
        return SessionPlan(
            session=session,
            server=connection.scalars(select(tables.server.c.uid)).one(),
            host=connection.scalars(select(tables.managed_server.c.name)).one(),
            job=job_uid,
            job_name=job.name,
            job_kind=job.kind,
            retention=job.retention,
            retention_days=job.retention_days,
            options=options,
            place=self._repositories.place_in(connection, backup),
            machines=tuple(machines),
            begun=milliseconds(now),
            checking=only_checking or check_is_due(job, begun, options.health_check, now),
            only_checking=only_checking,
            whole=not begun.is_retry and begun.cause not in ASIDE,
            apart=begun.cause == Cause.PART,
            jumps=jumps(connection),
            jumped=_jumped(connection, job, options, begun),
        )

    async def _process(
        self, plan: SessionPlan, machine: Machine, progress: _SessionProgress
    ) -> None:
        key = ChainKey.of(plan.place.backup, machine.kind, machine.reference)
        work = self._copy if is_copy(plan.job_kind) else self._back_up
        # The chain first: whoever waits for one must not hold a slot meanwhile.
        async with self._locks.work.hold(key):
            try:
                await work(plan, machine, lambda done: progress.note(machine, done))
            except EngineError as error:
                await self._fail(machine, str(error))
        progress.note(machine, Progress(1.0))

    async def _back_up(
        self, plan: SessionPlan, machine: Machine, on_progress: ProgressCallback
    ) -> None:
        problems: Sequence[str] = ()
        if plan.checking:
            async with self._slots.taken(plan.place.repository_uid):
                findings, problems = await self._checked(plan, machine)
            if plan.only_checking and not await self._store.read(
                lambda c: newest_is_damaged(c, plan.place.backup, machine.reference)
            ):
                await self._note_findings(machine, findings, problems)
                return
        try:
            async with self._turn(plan, machine):
                await self._backup_of(plan, machine, problems).run(on_progress)
        except EngineError as error:
            if not problems:
                raise
            # What the check found must be told, too.
            raise EngineError(" ".join((*problems, str(error)))) from error

    @asynccontextmanager
    async def _turn(self, plan: SessionPlan, machine: Machine) -> AsyncIterator[None]:
        """Take a slot and, of a host, the machine itself, and keep others off it meanwhile.

        Others may have the machine for hours: who waits for it has no slot, and who waits for a
        slot does not have it. Raise MachineBusy when they are at it too long.
        """
        while True:
            uuid, host = await self._store.read(lambda c: _where(c, machine))
            if uuid is not None and self._locks.machines.is_held(uuid):
                await self._wait_until_free(uuid, machine)
                continue
            async with AsyncExitStack() as held:
                if plan.options.bandwidth is not None:
                    # The limit is the job's: its machines share it by taking turns.
                    await held.enter_async_context(plan.turns)
                await held.enter_async_context(self._slots.taken(plan.place.repository_uid, host))
                if uuid is not None:
                    if self._locks.machines.is_held(uuid):
                        continue
                    # Called when the machine is free again.
                    held.callback(self._left.wake)
                    await held.enter_async_context(self._locks.machines.hold(uuid))
                yield
                return

    async def _wait_until_free(self, uuid: str, machine: Machine) -> None:
        """Return when nobody works on a machine of a host; its task session says so meanwhile."""
        task = machine.task_session
        await self._store.write(lambda c: sessions.note_waiting(c, task, WAITING))
        async with turn_at(self._locks.machines, uuid, machine.name):
            pass
        await self._store.write(lambda c: sessions.note_waiting(c, task, ""))

    async def _checked(
        self, plan: SessionPlan, machine: Machine
    ) -> tuple[Findings | None, Sequence[str]]:
        """Check a machine's backup, if the session is to do so; return what is wrong with it."""
        try:
            findings = await self._findings(plan, machine)
        except EngineError as error:
            # That is no reason to make no backup.
            if plan.only_checking:
                raise
            return None, (f"What was backed up before could not be checked: {error}",)
        if findings is None:
            return None, ()
        return findings, findings.problems.get(machine.reference, ())

    async def _findings(self, plan: SessionPlan, machine: Machine) -> Findings | None:
        """Check a machine's backup, if the session is to do so; of directories, all at once."""
        key = ChainKey.of(plan.place.backup, machine.kind, machine.reference)
        if not plan.checking or key in plan.findings:
            return plan.findings.get(key)
        task = machine.task_session
        await self._store.write(lambda c: sessions.ensure_started(c, task))
        plan.findings[key] = await self._health.check(key)
        return plan.findings[key]

    async def _note_findings(
        self, machine: Machine, findings: Findings | None, problems: Sequence[str]
    ) -> None:
        """End a task session that was about a check alone."""
        count = 0 if findings is None else findings.files
        result = Result.WARNING if problems else Result.SUCCESS
        reason = " ".join(problems) or f"All {count} files are as they were written."
        now = milliseconds(self._clock.now())
        await self._store.write(
            lambda c: sessions.complete_task(c, machine.task_session, now, result, reason)
        )

    def _backup_of(
        self, plan: SessionPlan, machine: Machine, remarks: Sequence[str]
    ) -> MachineBackup:
        """Return what backs up a source of this kind."""
        store, clock, settlement, hosts = self._store, self._clock, self._settlement, self._hosts
        if machine.kind != MACHINE:
            return MachineBackup(store, clock, settlement, plan, machine, remarks)
        if plan.job_kind == REPLICA:
            return HostedReplication(
                store, clock, settlement, hosts, plan, machine, self._keys, remarks
            )
        return HostedBackup(store, clock, settlement, hosts, plan, machine, remarks)

    async def _copy(
        self, plan: SessionPlan, machine: Machine, on_progress: ProgressCallback
    ) -> None:
        kind = HostedCopy if machine.kind == MACHINE else MachineCopy
        copying = kind(
            self._store,
            self._clock,
            self._repositories,
            self._settlement,
            self._locks,
            self._slots,
            plan,
            machine,
        )
        place = plan.place
        if plan.checking:
            async with self._slots.taken(place.repository_uid):
                _, problems = await self._checked(plan, machine)
                if problems and await copying.mend():
                    key = ChainKey.of(place.backup, machine.kind, machine.reference)
                    # There is none when the check itself had failed.
                    plan.findings.pop(key, None)
                    _, left = await self._checked(plan, machine)
                    problems = [*problems, *left] if left else [*problems, _MENDED]
            copying.remark(problems)
        await copying.run(on_progress)

    async def _fail(self, machine: Machine, reason: str) -> None:
        now = milliseconds(self._clock.now())
        await self._store.write(lambda c: sessions.fail_task(c, machine.task_session, now, reason))


class _SessionProgress:
    """How far a session is: the mean over its machines, published about once a second."""

    def __init__(self, store: Store, session: UUID, machines: int) -> None:
        self._store = store
        self._session = session
        self._machines = max(machines, 1)  # a copy job may have nothing to do
        self._fractions: dict[UUID, float] = {}

    def note(self, machine: Machine, progress: Progress) -> None:
        """Take in how far a machine is."""
        self._fractions[machine.task_session] = progress.fraction

    async def keep_publishing(self) -> None:
        """Publish the progress while it changes, until cancelled."""
        published = 0
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            percent = int(100 * sum(self._fractions.values()) / self._machines)
            if percent > published:
                published = percent
                await self._store.write(partial(self._record, percent))

    def _record(self, percent: int, connection: Connection) -> None:
        sessions.set_progress(connection, self._session, percent)


def _where(connection: Connection, machine: Machine) -> tuple[str | None, UUID | None]:
    """Return the UUID that a machine of a host has there, and the host that it is on, if any."""
    if machine.kind != MACHINE:
        return None, None
    read = read_reference(stand_ins.current(connection, machine.reference))
    where = locate(connection, machine.reference)
    # As it is written in the locks.
    uuid = None if read is None else read.item.lower()
    return uuid, None if where is None else where.host_uid


def _jumped(
    connection: Connection, job: Row[Any], options: JobOptions, begun: Row[Any]
) -> str | None:
    """Say that the clock has jumped since the last session of a job that deletes by its time."""
    if job.retention_days is None and options.remove_deleted_after is None:
        return None
    session = tables.job_session
    last = connection.scalar(
        select(func.max(session.c.created)).where(
            session.c.job_uid == job.uid, session.c.uid != begun.uid
        )
    )
    since = [
        each for each in jumps(connection) if last is not None and moment_of(last) <= each.before
    ]
    if not since:
        return None
    days = sum((each.length for each in since), timedelta()).days
    return (
        f"The clock of the backup server has gone on by {days} days since "
        f"{since[0].before:%Y-%m-%d %H:%M} UTC, and the server did not run meanwhile or the "
        "clock is wrong. Restore points do not age by that: they stay so much longer."
    )


def _has_new_points(connection: Connection, session: UUID) -> bool:
    task = tables.task_session
    found = select(task.c.uid).where(
        task.c.job_session_uid == session, task.c.machine_point_uid.is_not(None)
    )
    return connection.execute(found).first() is not None
