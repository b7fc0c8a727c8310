"""Carries out failovers and what follows them.

Before the first change to a host, what is about to be done is written into the replica's row; when
it is done, the row says so. `settle` brings what is written there to its end, carried on or taken
back, however often it is called: after a failure, after a stop, after the power came back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select

from holdfast.engine.disk_difference import Moved
from holdfast.engine.errors import (
    EngineError,
    HypervisorUnavailable,
    MachineBusy,
    MachineMissing,
    RepositoryUnavailable,
    ToolFailed,
)
from holdfast.engine.libvirt_connection import LibvirtConnection, uninterrupted
from holdfast.engine.libvirt_failback import (
    DiskBroughtBack,
    bring_back,
    ensure_possible,
)
from holdfast.engine.libvirt_failover import (
    fail_over,
    is_failed_over,
    is_on,
    keep_on,
    make_permanent,
    power_off,
    ready_definition,
    shut_down,
    start,
    take_back,
)
from holdfast.engine.libvirt_overlay import hold_anything
from holdfast.engine.libvirt_tidy import end_interrupted_backup
from holdfast.engine.progress import Phases, ProgressCallback, fraction_of
from holdfast.server import replicas, tables
from holdfast.server.chain_locks import PATIENCE, ChainLocks
from holdfast.server.failover_elsewhere import (
    Elsewhere,
    jobs_with_source,
    left_behind,
    replace_source,
)
from holdfast.server.failover_ground import FailoverGround, done, put, source_uuid
from holdfast.server.failover_record import Failover, Operation, Place, record_of
from holdfast.server.failover_specification import FailoverOptions
from holdfast.server.hosts import Hosts
from holdfast.server.journal import ChainKey
from holdfast.server.publish import row_of, withdraw
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import ReplicaState
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_SECOND_TRY_SECONDS = 5.0

#: For how many seconds it is looked whether a guest that was given up on goes off after all.
_LONGEST_LOOK = 30.0

#: What can be taken back; the rest is carried on, since it takes something back itself.
_REVERSIBLE = frozenset(
    {Operation.FAILOVER, Operation.PLANNED, Operation.PERMANENT, Operation.FAILBACK}
)

Replicate = Callable[[UUID], Awaitable[None]]
"""Given a replica, make a new point of it; raise RefusedError saying why that failed."""


class Failovers:
    """What is done to replicas, one operation at a time for each."""

    def __init__(
        self,
        store: Store,
        hosts: Hosts,
        locks: ChainLocks,
        settlement: Settlement,
        replicate: Replicate,
        transfers: Path,
    ) -> None:
        """`transfers` is a folder for the keys of transfers."""
        self._store = store
        self._hosts = hosts
        self._locks = locks
        self._replicate = replicate
        self._ground = FailoverGround(store, hosts, locks, settlement, transfers)
        self._elsewhere = Elsewhere(transfers)
        self._working: dict[UUID, asyncio.Lock] = {}

    async def run(self, session: UUID, on_progress: ProgressCallback) -> str:
        """Carry out the operation of a session; return what is to be noted about it, if anything.

        Raise RefusedError or EngineError; then, and when cancelled, what was begun is taken back,
        or, where there is no way back, carried on until it is done.
        """
        row = await self._store.read(lambda c: row_of(c, tables.failover_session, session))
        async with self._alone(row.replica_uid):
            try:
                return await self.carry_out(row, on_progress)
            except BaseException:  # cancellation too: nothing may stay between two states
                await uninterrupted(self._give_up(row.replica_uid))
                raise

    async def carry_out(self, session: Row[Any], on_progress: ProgressCallback) -> str:
        """As `run`, but leave what was begun as it is when it fails."""
        replica = await self._store.read(lambda c: replicas.find_replica(c, session.replica_uid))
        options = msgspec.json.decode(session.options, type=FailoverOptions)
        note = ""
        match Operation(session.operation):
            case Operation.FAILOVER:
                await self._prepare_failover(session, replica)
            case Operation.PLANNED:
                note = await self._prepare_planned(session, replica, options)
            case Operation.FAILBACK:
                note = await self._prepare_failback(replica, options, on_progress)
            case Operation.COMMIT:
                record = record_of(replica)
                async with self._ground.source(replica, record) as source:
                    await is_on(source, source_uuid(replica, record))  # what is left after this
                await self._ground.declare(replica.uid, Operation.COMMIT)
            case Operation.UNDO_FAILBACK:
                await self._ground.declare(replica.uid, Operation.UNDO_FAILBACK, back=options.force)
            case Operation.UNDO | Operation.PERMANENT as operation:
                await self._ground.declare(replica.uid, operation)
        more = await self.settle(replica.uid)
        if session.operation == Operation.UNDO:
            more = await self._still_shut_down(replica)
        return " ".join(each for each in (note, more) if each)

    async def _still_shut_down(self, replica: Row[Any]) -> str:
        """Return what is to be noted of a source that its failover, undone now, has left off."""
        record = record_of(replica)
        if record is None or not record.source_was_on:
            return ""
        try:
            async with self._ground.source(replica) as source:
                if await is_on(source, replica.source_uuid):
                    return ""
        except (EngineError, RefusedError):
            return ""
        return (
            f"The source machine {replica.name}, which was shut down for the failover, is off: "
            "power it on to use it again."
        )

    async def recover(self, uid: UUID) -> None:
        """Bring to its end what a crash interrupted.

        What may have been seen by others is carried on: a replica that may have run, a source that
        may. All else is taken back. Raise EngineError when a host does not answer.
        """
        async with self._alone(uid):
            await self._recover(uid)

    def _alone(self, uid: UUID) -> asyncio.Lock:
        """Return what keeps two from working on a replica: one may have waited for a dead host."""
        return self._working.setdefault(uid, asyncio.Lock())

    async def _recover(self, uid: UUID) -> None:
        row, record = await self._ground.look(uid)
        if record is None or record.doing is None:
            return
        back = record.back
        if record.doing in (Operation.FAILOVER, Operation.PLANNED):
            back = not await self._may_have_run(row, record)
        elif record.doing is Operation.FAILBACK:
            back = back or not record.arrived
        if back != record.back:
            await self._ground.note(uid, back=back)
        try:
            await self.settle(uid)
        except HypervisorUnavailable:
            raise
        except EngineError:
            if back or record.doing not in _REVERSIBLE:
                raise
            if record.doing in (Operation.FAILOVER, Operation.PLANNED):
                plan = await self._ground.plan(row, record)
                if await hold_anything(plan):
                    # It has run. Nobody has asked for what it wrote to be given up.
                    _LOGGER.exception("%s has taken over, but does not start", row.machine_name)
                    await self._ground.settled(uid, ReplicaState.FAILOVER, record)
                    return
            await self._ground.note(uid, back=True)
            await self.settle(uid)

    async def _may_have_run(self, row: Row[Any], record: Failover) -> bool:
        """Say whether a replica that was taking over must be taken for one that has."""
        if row.state != ReplicaState.FAILOVER:
            return False
        plan = await self._ground.plan(row, record)
        async with self._ground.target(row) as target:
            if not await is_failed_over(target, plan):
                return False
            if not record.back or await is_on(target, row.machine_uuid):
                return True
        # It was to be taken back, but its host did not answer. What it wrote since is kept.
        return await hold_anything(plan)

    async def settle(self, uid: UUID) -> str:
        """Bring what the record says to its end; return what is to be noted.

        Nothing, when that is done already. Raise EngineError when it cannot be now.
        """
        row, record = await self._ground.look(uid)
        if record is None or record.doing is None:
            return ""
        match record.doing:
            case Operation.FAILOVER | Operation.PLANNED:
                await self._settle_failover(row, record)
            case Operation.UNDO | Operation.COMMIT:
                return await self._settle_undo(row, record)
            case Operation.PERMANENT:
                await self._settle_permanent(row, record)
            case Operation.FAILBACK:
                await self._settle_failback(row, record)
            case Operation.UNDO_FAILBACK:
                return await self._settle_undo_failback(row, record)
        return ""

    async def unsettled(self) -> list[UUID]:
        """Return the replicas with something that is not settled."""
        table = tables.replica
        rows = await self._store.read(
            lambda c: c.execute(select(table).where(table.c.failover.is_not(None))).all()
        )
        found = [(row.uid, record_of(row)) for row in rows]
        return [uid for uid, record in found if record is not None and record.doing is not None]

    async def _give_up(self, uid: UUID) -> None:
        """Take back, after a failure, what was begun."""
        _row, record = await self._ground.look(uid)
        if record is None or record.doing is None:
            return
        if record.doing in _REVERSIBLE:
            await self._ground.note(uid, back=True)
        try:
            await self.settle(uid)
        except EngineError as error:
            _LOGGER.warning("Replica %s is not settled yet: %s", uid, error)

    async def _prepare_failover(self, session: Row[Any], replica: Row[Any]) -> None:
        async with self._ground.at_rest(replica), self._ground.target(replica) as target:
            ready = await ready_definition(target, replica.machine_uuid)
            await self._ground.declare(
                replica.uid,
                Operation.FAILOVER,
                ReplicaState.FAILOVER,
                point=session.point_uid,
                key=session.uid.hex[:12],
                ready=ready,
            )

    async def _prepare_planned(
        self, session: Row[Any], replica: Row[Any], options: FailoverOptions
    ) -> str:
        # Most of it is moved while the machine still runs.
        await self._replicate(replica.uid)
        async with self._ground.source_alone(replica), self._ground.source(replica) as source:
            was_on = await is_on(source, replica.source_uuid)
            await self._ground.declare(replica.uid, Operation.PLANNED, source_was_on=was_on)
            note = await self._shut_down(source, replica.uid, replica.source_uuid, options)
        await self._replicate(replica.uid)
        async with self._ground.at_rest(replica), self._ground.target(replica) as target:
            async with self._ground.source_alone(replica), self._ground.source(replica) as source:
                if await is_on(source, replica.source_uuid):
                    raise MachineBusy(
                        f"The source of {replica.machine_name} was powered on again meanwhile."
                    )
            ready = await ready_definition(target, replica.machine_uuid)
            newest = await self._store.read(lambda c: replicas.points_of(c, replica.uid)[-1].uid)
            await self._ground.note(
                replica.uid,
                ReplicaState.FAILOVER,
                point=newest,
                key=session.uid.hex[:12],
                ready=ready,
            )
        return note or ""

    async def _prepare_failback(
        self,
        replica: Row[Any],
        options: FailoverOptions,
        on_progress: ProgressCallback,
    ) -> str:
        record = record_of(replica)
        if record is None:
            raise RefusedError(f'Replica "{replica.machine_name}" has not taken over.')
        if options.elsewhere:
            return await self._prepare_elsewhere(replica, record, options, on_progress)
        plan = await self._ground.failback_plan(replica, record)
        phases = Phases(on_progress, [50, 50])
        first, last = phases.phase(0), phases.phase(1)
        notes: list[str] = []
        async with (
            self._ground.source_alone(replica),
            self._ground.target(replica) as target,
            self._ground.source(replica) as source,
        ):
            await ensure_possible(target, source, plan)
            was_on = await is_on(target, replica.machine_uuid)
            await self._ground.declare(
                replica.uid,
                Operation.FAILBACK,
                replica_was_on=was_on,
                source_written=True,
                arrived=False,
                place=None,
            )
            passes = []
            if was_on:
                # While it still writes. What this misses, or reads wrongly, the second look finds.
                with contextlib.suppress(ToolFailed):
                    passes.append(await bring_back(source, plan, fraction_of(first), running=True))
                said = await self._shut_down(target, replica.uid, replica.machine_uuid, options)
                notes += [] if said is None else [said]
            done = await bring_back(source, plan, fraction_of(last), running=False)
            passes.append(done)
            notes += [
                f"{disk.target} was compared as a whole, because {disk.reason}."
                for disk in done
                if disk.reason is not None
            ]
        brought = _told(passes)
        _LOGGER.info("Failback of %s: %s", replica.machine_name, brought)
        await self._ground.note(replica.uid, arrived=True, source_written=False, brought=brought)
        return " ".join(notes)

    async def _prepare_elsewhere(
        self,
        replica: Row[Any],
        record: Failover,
        options: FailoverOptions,
        on_progress: ProgressCallback,
    ) -> str:
        plan = await self._ground.plan(replica, record)
        await self._left_off(replica)
        host = options.host or replica.source_host_uid
        phases = Phases(on_progress, [90, 10])
        first, last = (fraction_of(phases.phase(number)) for number in (0, 1))
        async with self._ground.target(replica) as target:
            async with self._ground.host(host) as there:
                place = await self._elsewhere.find(target, there, plan, host, options)
            was_on = await is_on(target, replica.machine_uuid)
            await self._ground.declare(
                replica.uid,
                Operation.FAILBACK,
                replica_was_on=was_on,
                arrived=False,
                place=place,
            )
            sent = await self._elsewhere.copy(plan, place, first, running=was_on)
            # That took its time: the source may have been started meanwhile.
            notes = await self._left_off(replica)
            if was_on:
                said = await self._shut_down(target, replica.uid, replica.machine_uuid, options)
                notes += [] if said is None else [said]
            place, words = await self._elsewhere.finish(plan, place, last)
        notes += [note for note in await self._left_off(replica) if note not in notes]
        brought = f'To "{place.name}" in {place.folder}: {sent} bytes sent. {words}'
        _LOGGER.info("Failback of %s: %s", replica.machine_name, brought)
        await self._ground.note(replica.uid, arrived=True, place=place, brought=brought)
        return " ".join(notes)

    async def _left_off(self, replica: Row[Any]) -> list[str]:
        """Raise MachineBusy when the source runs; return what is to be noted if nobody knows."""
        try:
            async with self._ground.source(replica) as source:
                if await is_on(source, replica.source_uuid):
                    raise MachineBusy(
                        f"The source machine {replica.name} runs; shut it down before the failback."
                    )
        except MachineMissing:
            return []
        except (HypervisorUnavailable, RefusedError) as error:
            return [f"{error} See to it that the source machine {replica.name} stays off."]
        return []

    async def _shut_down(
        self, connection: LibvirtConnection, uid: UUID, machine: str, options: FailoverOptions
    ) -> str | None:
        """Have a guest shut down, as `shut_down` does, and keep in mind that it was asked to."""
        await self._ground.note(uid, asked=float(options.seconds))
        return await shut_down(connection, machine, options.seconds, force=options.force)

    async def _settle_undo(self, row: Row[Any], record: Failover) -> str:
        plan, place = await self._ground.plan(row, record), record.place
        async with self._ground.target(row) as target:
            await take_back(target, plan)

        def settled(connection: Connection) -> dict[UUID, str]:
            jobs = {}
            if place is not None:
                jobs = jobs_with_source(connection, row)
                replace_source(connection, row, place)
            put(connection, row.uid, ReplicaState.READY, None)
            return jobs

        jobs = await self._store.write(settled)
        if place is None:
            return ""
        away = (await self._hosts.refresh([place.host])).get(place.host)
        told = await self._store.read(lambda c: left_behind(c, jobs, row.name, place, away))
        if told:
            _LOGGER.warning("Failback of %s: %s", row.machine_name, told)
        return told

    async def _settle_failover(self, row: Row[Any], record: Failover) -> None:
        if not record.back:
            plan = await self._ground.plan(row, record)
            async with self._ground.target(row) as target:
                await fail_over(target, plan)
            await self._ground.settled(row.uid, ReplicaState.FAILOVER, record)
            return
        if row.state == ReplicaState.FAILOVER:
            plan = await self._ground.plan(row, record)
            async with self._ground.target(row) as target:
                await take_back(target, plan)
        if record.source_was_on:
            await self._start_source(row, min(record.asked, _LONGEST_LOOK))
        await self._ground.settled(row.uid, ReplicaState.READY, None)

    async def _start_source(self, row: Row[Any], seconds: float) -> None:
        """Start a source that was shut down, also where an interrupted replication has it."""
        folders = {await self._store.read(lambda c: replicas.folder_of(c, row.backup_uid))}
        if (staging := await self._hosts.staging(row.source_host_uid)) is not None:
            folders.add(staging)
        async with (
            self._locks.work.hold(ChainKey(row.backup_uid, row.reference)),
            # What is not done now is settled later.
            self._ground.source_alone(row, PATIENCE),
            self._ground.source(row) as source,
        ):
            await end_interrupted_backup(source, row.source_uuid, folders, str(row.backup_uid))
            await keep_on(source, row.source_uuid, seconds)

    async def _settle_permanent(self, row: Row[Any], record: Failover) -> None:
        if record.back:
            await self._ground.settled(row.uid, ReplicaState.FAILOVER, record)
            return
        async with self._ground.target(row) as target:
            await make_permanent(target, row.machine_uuid)

        def record_it(connection: Connection) -> None:
            # The files stay: the machine runs on them. So their rows stay, too, and keep retention
            # away from them; but there is nothing to be failed over to any more.
            for point in replicas.points_of(connection, row.uid):
                withdraw(connection, "VmReplicaPoint", point.uid)
            put(connection, row.uid, ReplicaState.PERMANENT, done(record))

        await self._store.write(record_it)

    async def _settle_failback(self, row: Row[Any], record: Failover) -> None:
        place = record.place
        if not record.back:
            async with self._ground.source(row, record) as source:
                if place is not None:
                    await self._elsewhere.begin(source, await self._ground.plan(row, record), place)
                await self._ground.note(row.uid, source_started=True)
                await start(source, source_uuid(row, record))
            await self._ground.settled(row.uid, ReplicaState.FAILBACK, record)
            return
        if record.source_started:
            # It may have started although that failed, or was called off. Never both of them.
            await self._end_source(row, record)
        async with self._ground.target(row) as target:
            if record.replica_was_on:
                await keep_on(target, row.machine_uuid, min(record.asked, _LONGEST_LOOK))
        told = {}
        if place is not None and not record.source_started:
            try:
                await self._twice(lambda: self._give_place_up(row, record, place))
            except (HypervisorUnavailable, RepositoryUnavailable) as error:
                # What was made was never started. It must not keep the replica for ever.
                told = {"brought": f"{_left(place)} {error}"}
                _LOGGER.warning("Failback of %s: %s", row.machine_name, told["brought"])
        await self._ground.settled(row.uid, ReplicaState.FAILOVER, record, place=None, **told)

    async def _give_place_up(self, row: Row[Any], record: Failover, place: Place) -> None:
        """Take away what a failback to another place has made and not started."""
        plan = await self._ground.plan(row, record)
        if place.files:
            async with self._ground.host(place.host) as there:
                await self._elsewhere.give_up(there, plan, place)
        else:
            await self._elsewhere.give_up(None, plan, place)

    async def _twice(self, work: Callable[[], Awaitable[None]]) -> None:
        """Try something again if a host does not answer: a daemon may be started anew."""
        try:
            await work()
        except HypervisorUnavailable:
            await asyncio.sleep(_SECOND_TRY_SECONDS)
            await work()

    async def _end_source(self, row: Row[Any], record: Failover) -> None:
        """Power the source off or, at another place, take away what a failback has made."""
        async with self._ground.source(row, record) as source:
            if record.place is None:
                with contextlib.suppress(MachineMissing):
                    await power_off(source, row.source_uuid)
            else:
                # By what it runs on, not by its UUID, which another machine may have got since.
                plan = await self._ground.plan(row, record)
                await self._elsewhere.give_up(source, plan, record.place)

    async def _settle_undo_failback(self, row: Row[Any], record: Failover) -> str:
        note = ""
        try:
            if record.back:
                # By that it was asked for in any case. What was meant is a host that is away, not
                # a daemon that was started anew: then both would run.
                await self._twice(lambda: self._end_source(row, record))
            else:
                await self._end_source(row, record)
        except HypervisorUnavailable as error:
            if not record.back:
                raise
            note = f"The source machine was not powered off: {error} See to it that it stays off."
            if record.place is not None:
                note += f' Remove "{record.place.name}" there, with its disks.'
        except RepositoryUnavailable as error:
            # It is off: that comes first.
            if not record.back or record.place is None:
                raise
            note = f"{_left(record.place)} {error}"
        async with self._ground.target(row) as target:
            await start(target, row.machine_uuid)
        # What that failback brought is gone; it is not told as if it were news of this.
        await self._ground.settled(row.uid, ReplicaState.FAILOVER, record, place=None, brought="")
        return note


def _left(place: Place) -> str:
    return (
        f'What the failback made was not removed: remove the machine "{place.name}", if it is '
        f"there, and its files in {place.folder}."
    )


def _told(passes: Sequence[Sequence[DiskBroughtBack]]) -> str:
    """Return what was done with each disk, over all passes, in words."""
    told = []
    for disk in passes[-1]:
        moved = sum(
            (each.moved for done in passes for each in done if each.target == disk.target),
            Moved(0, 0),
        )
        where = "where the two may differ" if disk.reason is None else "as a whole"
        told.append(
            f"{disk.target}: {moved.read} bytes compared ({where}), {moved.written} written."
        )
    return " ".join(told)
