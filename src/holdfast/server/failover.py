"""Carries out failovers and what follows them.

Before the first change to a host, what is about to be done is written into the replica's row; when
it is done, the row says so. `settle` brings what is written there to its end, carried on or taken
back, however often it is called: after a failure, after a stop, after the power came back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from holdfast.engine.disk_difference import Moved
from holdfast.engine.errors import (
    EngineError,
    HypervisorUnavailable,
    MachineBusy,
    MachineMissing,
    ToolFailed,
)
from holdfast.engine.libvirt_connection import LibvirtConnection, uninterrupted
from holdfast.engine.libvirt_failback import (
    DiskBroughtBack,
    bring_back,
    ensure_possible,
)
from holdfast.engine.libvirt_failover import (
    is_on,
    ready_definition,
    shut_down,
)
from holdfast.engine.progress import Phases, ProgressCallback, fraction_of
from holdfast.server import replicas, tables
from holdfast.server.chain_locks import PATIENCE, ChainLocks
from holdfast.server.failover_elsewhere import Elsewhere
from holdfast.server.failover_ground import FailoverGround, source_uuid
from holdfast.server.failover_record import Failover, Operation, record_of
from holdfast.server.failover_settlement import FailoverSettlement
from holdfast.server.failover_source import FailoverSource
from holdfast.server.failover_specification import FailoverOptions
from holdfast.server.hosts import Hosts
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import ReplicaState
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

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
        self._replicate = replicate
        self._ground = FailoverGround(store, hosts, locks, settlement, transfers)
        self._source = FailoverSource(store, hosts, self._ground)
        self._elsewhere = Elsewhere(transfers)
        self._settlement = FailoverSettlement(
            store, hosts, locks, self._ground, self._source, self._elsewhere
        )
        self._working: dict[UUID, asyncio.Lock] = {}

    async def run(self, session: UUID, on_progress: ProgressCallback) -> str:
        """Carry out the operation of a session; return what is to be noted about it, if anything.

        Raise RefusedError or EngineError; then, and when cancelled, what was begun is taken back,
        or, where there is no way back, carried on until it is done.
        """
        row = await self._store.read(lambda c: row_of(c, tables.failover_session, session))
        async with self._alone(row.replica_uid), self._failback_alone(row):
            try:
                return await self.carry_out(row, on_progress)
            except BaseException:  # cancellation too: nothing may stay between two states
                await uninterrupted(self._settlement.give_up(row.replica_uid))
                raise

    async def carry_out(self, session: Row[Any], on_progress: ProgressCallback) -> str:
        """As `run`, but leave what was begun as it is when it fails."""
        replica = await self._store.read(lambda c: replicas.find_replica(c, session.replica_uid))
        options = msgspec.json.decode(session.options, type=FailoverOptions)
        note = ""
        match Operation(session.operation):
            case Operation.FAILOVER:
                await self._prepare_failover(session, replica, options)
            case Operation.PLANNED:
                note = await self._prepare_planned(session, replica, options)
            case Operation.FAILBACK:
                note = await self._prepare_failback(replica, options, on_progress)
            case Operation.COMMIT:
                await self._ensure_source_is_left(replica.uid)
                await self._ground.declare(replica.uid, Operation.COMMIT)
            case Operation.UNDO_FAILBACK:
                await self._ground.declare(
                    replica.uid, Operation.UNDO_FAILBACK, force=options.force, back=options.force
                )
            case Operation.UNDO | Operation.PERMANENT as operation:
                await self._ground.declare(replica.uid, operation)
        was = record_of(replica)
        more = await self._settlement.settle(replica.uid)
        if session.operation == Operation.UNDO and was is not None and was.source_was_on:
            more = await self._still_shut_down(replica.uid)
        elif session.operation == Operation.FAILOVER:
            more = await self._source.told_beside(replica.uid)
        return " ".join(each for each in (note, more) if each)

    async def _ensure_source_is_left(self, uid: UUID) -> None:
        """Raise EngineError or RefusedError unless the source of a failback is there."""
        await self._source.follow(uid)
        replica, record = await self._ground.look(uid)
        try:
            async with self._ground.source(replica, record) as source:
                await is_on(source, source_uuid(replica, record))
        except (EngineError, RefusedError) as error:
            raise RefusedError(
                f"{error} After the commit that machine is all that is left. To go back to the "
                "replica: undo-failback with force."
            ) from error

    async def _still_shut_down(self, uid: UUID) -> str:
        """Return what is to be noted of a source that its failover, undone now, has left off."""
        await self._source.follow(uid)
        replica, _ = await self._ground.look(uid)
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
            await self._settlement.recover(uid)

    async def unsettled(self) -> list[UUID]:
        """Return the replicas with something that is not settled."""
        return await self._settlement.unsettled()

    async def looked_at(self, hosts: Collection[UUID]) -> None:
        """See to what sources need whose hosts answer, as they may not have done when needed."""
        # A host that hangs now keeps nobody waiting but those that have their sources there, too.
        await asyncio.gather(*(self._see_to_sources(host) for host in hosts))

    async def _see_to_sources(self, host: UUID) -> None:
        for uid in await self._source.waiting([host]):
            alone = self._alone(uid)
            # What is done to a replica now sees to that itself.
            if not alone.locked():
                async with alone:
                    await self._source.see_to(uid)

    def _alone(self, uid: UUID) -> asyncio.Lock:
        """Return what keeps two from working on a replica: one may have waited for a dead host."""
        return self._working.setdefault(uid, asyncio.Lock())

    @contextlib.asynccontextmanager
    async def _failback_alone(self, session: Row[Any]) -> AsyncIterator[None]:
        """Keep others off the source of a failback to it until it runs, or is given up."""
        options = msgspec.json.decode(session.options, type=FailoverOptions)
        if session.operation != Operation.FAILBACK or options.elsewhere:
            yield
            return
        replica = await self._store.read(lambda c: replicas.find_replica(c, session.replica_uid))
        async with self._ground.source_alone(replica):
            yield

    async def _prepare_failover(
        self, session: Row[Any], replica: Row[Any], options: FailoverOptions
    ) -> None:
        host = await self._source.runs_elsewhere(replica.uid)
        if host is not None and not options.force:
            raise MachineBusy(
                f'The source machine {replica.name} has moved to host "{host}" and runs there. '
                "Shut it down first; or, to have both run, fail over with force."
            )
        async with self._ground.at_rest(replica), self._ground.target(replica) as target:
            try:
                ready = await ready_definition(target, replica.machine_uuid)
            except MachineMissing as error:
                # Such as after a removal that was cut short.
                raise MachineMissing(
                    f"The machine {replica.machine_name} is gone from its host. Have its job "
                    "replicate it once more, which defines it anew, or remove the replica."
                ) from error
            await self._ground.declare(
                replica.uid,
                Operation.FAILOVER,
                ReplicaState.FAILOVER,
                force=options.force,
                point=session.point_uid,
                key=session.uid.hex[:12],
                ready=ready,
            )

    async def _prepare_planned(
        self, session: Row[Any], replica: Row[Any], options: FailoverOptions
    ) -> str:
        await self._source.follow(replica.uid)
        # Most of it is moved while the machine still runs.
        await self._replicate(replica.uid)
        # That has found it where it is now.
        replica, _ = await self._ground.look(replica.uid)
        async with self._ground.source_alone(replica), self._ground.source(replica) as source:
            was_on = await is_on(source, replica.source_uuid)
            await self._ground.declare(replica.uid, Operation.PLANNED, source_was_on=was_on)
            note = await self._shut_down(source, replica.uid, replica.source_uuid, options)
        await self._replicate(replica.uid)
        await self._source.follow(replica.uid)
        replica, _ = await self._ground.look(replica.uid)
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
        await self._source.follow(replica.uid)
        replica, _ = await self._ground.look(replica.uid)
        plan = await self._ground.failback_plan(replica, record)
        phases = Phases(on_progress, [50, 50])
        first, last = phases.phase(0), phases.phase(1)
        notes: list[str] = []
        async with self._ground.target(replica) as target, self._ground.source(replica) as source:
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
        host = await self._source.runs_elsewhere(replica.uid)
        if host is not None:
            raise MachineBusy(
                f'The source machine {replica.name} runs on host "{host}"; shut it down before '
                "the failback."
            )
        try:
            # A backup of a machine that is off powers it on, too, for as long as it takes.
            async with (
                self._ground.source_alone(replica, PATIENCE),
                self._ground.source(replica) as source,
            ):
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
