"""Brings what was begun with a replica to its end: carried on or taken back.

Whatever crashed, and however often this is called: what the record says is what counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.engine.errors import (
    EngineError,
    HypervisorUnavailable,
    ImageInUse,
    MachineBusy,
    MachineMissing,
    RepositoryUnavailable,
)
from holdfast.engine.libvirt_failover import (
    fail_over,
    is_failed_over,
    is_on,
    keep_on,
    make_permanent,
    power_off,
    start,
    start_with_host,
    take_back,
)
from holdfast.engine.libvirt_overlay import hold_anything
from holdfast.engine.libvirt_tidy import end_interrupted_backup
from holdfast.server import replicas, tables
from holdfast.server.chain_locks import PATIENCE, ChainLocks, hold_within
from holdfast.server.failover_elsewhere import (
    Elsewhere,
    jobs_with_source,
    left_behind,
    replace_source,
)
from holdfast.server.failover_ground import FailoverGround, done, put, put_ready, source_uuid
from holdfast.server.failover_record import Failover, Operation, Place, record_of
from holdfast.server.failover_source import FailoverSource
from holdfast.server.host_records import is_known
from holdfast.server.hosts import Hosts
from holdfast.server.journal import ChainKey
from holdfast.server.publish import withdraw
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import ReplicaState
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_SECOND_TRY_SECONDS = 5.0

#: For how many seconds it is looked whether a guest that was given up on goes off after all.
_LONGEST_LOOK = 30.0

#: What can be taken back; the rest is carried on, since it takes something back itself.
_REVERSIBLE = frozenset(
    {Operation.FAILOVER, Operation.PLANNED, Operation.PERMANENT, Operation.FAILBACK}
)

#: Why what a failback has made elsewhere may stay there.
_NOT_REMOVED = (HypervisorUnavailable, RepositoryUnavailable, ImageInUse, MachineBusy)


class FailoverSettlement:
    """Brings what the records of replicas say to its end."""

    def __init__(
        self,
        store: Store,
        hosts: Hosts,
        locks: ChainLocks,
        ground: FailoverGround,
        source: FailoverSource,
        elsewhere: Elsewhere,
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._locks = locks
        self._ground = ground
        self._source = source
        self._elsewhere = elsewhere

    async def recover(self, uid: UUID) -> None:
        """Bring to its end what a crash interrupted, see `Failovers.recover`."""
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
        async with contextlib.AsyncExitStack() as held:
            if record.doing is Operation.FAILBACK and record.place is None and not back:
                # A backup that has powered the source on for itself would power it off again.
                await held.enter_async_context(self._ground.source_alone(row, PATIENCE))
            await self._recover(row, record, back=back)

    async def _recover(self, row: Row[Any], record: Failover, *, back: bool) -> None:
        """Settle what a crash interrupted; what does not go on, but can be taken back, is."""
        uid: UUID = row.uid
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
                    await self._ground.settled(uid, ReplicaState.FAILOVER)
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

    async def give_up(self, uid: UUID) -> None:
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

    async def _settle_undo(self, row: Row[Any], record: Failover) -> str:
        plan, place, notes = await self._ground.plan(row, record), record.place, list[str]()
        async with self._ground.target(row) as target:
            await take_back(target, plan)
        if place is None:
            await self._source.give_back(row.uid)
        else:
            notes.append(await self._source.hand_over(row.uid, place))

        def settled(connection: Connection) -> dict[UUID, str]:
            jobs = {}
            if place is not None:
                jobs = jobs_with_source(connection, row)
                replace_source(connection, row, place)
                put(connection, row.uid, ReplicaState.READY, None)
            else:
                put_ready(connection, row.uid)
            return jobs

        jobs = await self._store.write(settled)
        if place is None:
            return ""
        away = (await self._hosts.refresh([place.host])).get(place.host)
        notes.append(await self._store.read(lambda c: left_behind(c, jobs, row.name, place, away)))
        told = " ".join(note for note in notes if note)
        if told:
            _LOGGER.warning("Failback of %s: %s", row.machine_name, told)
        return told

    async def _settle_failover(self, row: Row[Any], record: Failover) -> None:
        if not record.back:
            plan = await self._ground.plan(row, record)
            if not record.quiet:
                await self._source.keep_off(row.uid)
            async with self._ground.target(row) as target:
                await fail_over(target, plan)
            await self._ground.settled(row.uid, ReplicaState.FAILOVER)
            return
        if row.state == ReplicaState.FAILOVER:
            plan = await self._ground.plan(row, record)
            async with self._ground.target(row) as target:
                await take_back(target, plan)
            # What is left is about the source alone.
            await self._ground.note(row.uid, ReplicaState.READY)
        await self._source.give_back(row.uid)
        if record.source_was_on:
            await self._start_source(row.uid, min(record.asked, _LONGEST_LOOK))
        await self._store.write(lambda c: put_ready(c, row.uid))

    async def _start_source(self, uid: UUID, seconds: float) -> None:
        """Start a source that was shut down, also where an interrupted replication has it.

        One that is gone for good, or whose host is, keeps nothing waiting.
        """
        await self._source.follow(uid)
        row, _ = await self._ground.look(uid)
        if not await self._store.read(lambda c: is_known(c, row.source_host_uid)):
            _LOGGER.warning("The host of %s, which was shut down, is gone", row.name)
            return
        try:
            await self._start_there(row, seconds)
        except MachineMissing as error:
            _LOGGER.warning("%s, which was shut down, is gone: %s", row.name, error)

    async def _start_there(self, row: Row[Any], seconds: float) -> None:
        folders = {await self._store.read(lambda c: replicas.folder_of(c, row.backup_uid))}
        if (staging := await self._hosts.staging(row.source_host_uid)) is not None:
            folders.add(staging)
        key, what = ChainKey(row.backup_uid, row.reference), f'replica "{row.machine_name}"'
        async with (
            # What is not done now is settled later; others are not to wait for it.
            hold_within(self._locks.work, key, what, PATIENCE),
            self._ground.source_alone(row, PATIENCE),
            self._ground.source(row) as source,
        ):
            await end_interrupted_backup(source, row.source_uuid, folders, str(row.backup_uid))
            await keep_on(source, row.source_uuid, seconds)

    async def _settle_permanent(self, row: Row[Any], record: Failover) -> None:
        if record.back:
            await self._ground.settled(row.uid, ReplicaState.FAILOVER)
            return
        async with self._ground.target(row) as target:
            await make_permanent(target, row.machine_uuid)
            if record.autostart:
                await start_with_host(target, row.machine_uuid, on=True)

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
            if place is None:
                await self._source.give_back(row.uid)
            await self._ground.settled(row.uid, ReplicaState.FAILBACK)
            return
        if record.source_started:
            # It may have started although that failed, or was called off. Never both of them.
            await self._end_source(row.uid)
            if place is None:
                await self._source.keep_off(row.uid)
        async with self._ground.target(row) as target:
            if record.replica_was_on:
                await keep_on(target, row.machine_uuid, min(record.asked, _LONGEST_LOOK))
        told = {}
        if place is not None and not record.source_started:
            try:
                await self._twice(lambda: self._give_place_up(row, record, place))
            except _NOT_REMOVED as error:
                # What was made was never started. It must not keep the replica for ever.
                told = {"brought": f"{_left(place)} {error}"}
                _LOGGER.warning("Failback of %s: %s", row.machine_name, told["brought"])
        await self._ground.settled(row.uid, ReplicaState.FAILOVER, place=None, **told)

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

    async def _end_source(self, uid: UUID) -> None:
        """Power the source off or, at another place, take away what a failback has made."""
        await self._source.follow(uid)
        row, record = await self._ground.look(uid)
        if record is None:
            return
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
                await self._twice(lambda: self._end_source(row.uid))
            else:
                await self._end_source(row.uid)
        except (HypervisorUnavailable, RefusedError) as error:
            if not record.back:
                raise
            note = f"The source machine was not powered off: {error} See to it that it stays off."
            if record.place is not None:
                note += f' Remove "{record.place.name}" there, with its disks.'
        except (RepositoryUnavailable, ImageInUse, MachineBusy) as error:
            # It is off: that comes first. Or it has no disk any more that was made for it.
            if not record.back or record.place is None:
                raise
            note = f"{_left(record.place)} {error}"
        if record.place is None:
            await self._source.keep_off(row.uid)
        async with self._ground.target(row) as target:
            await start(target, row.machine_uuid)
        # What that failback brought is gone; it is not told as if it were news of this.
        await self._ground.settled(row.uid, ReplicaState.FAILOVER, place=None, brought="")
        return note


def _left(place: Place) -> str:
    return (
        f'What the failback made was not removed: remove the machine "{place.name}", if it is '
        f"there, and its files in {place.folder}."
    )
