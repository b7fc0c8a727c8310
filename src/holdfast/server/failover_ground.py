"""What an operation on a replica stands on: its record, its plans, the hosts it is about."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, update

from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import Identity
from holdfast.engine.libvirt_failback import FailbackPlan
from holdfast.engine.libvirt_overlay import FailoverPlan
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.server import replicas, tables
from holdfast.server.chain_locks import ChainLocks, turn_at
from holdfast.server.failover_elsewhere import refuse_taken
from holdfast.server.failover_record import Failover, Operation, check, encoded, record_of
from holdfast.server.hosts import Hosts
from holdfast.server.journal import ChainKey
from holdfast.server.publish import publish_replica
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import ReplicaState
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store


class FailoverGround:
    """Reads and writes the records of replicas, and reaches their hosts."""

    def __init__(
        self,
        store: Store,
        hosts: Hosts,
        locks: ChainLocks,
        settlement: Settlement,
        transfers: Path,
    ) -> None:
        """`transfers` is a folder for the keys of transfers."""
        self._store = store
        self._hosts = hosts
        self._locks = locks
        self._settlement = settlement
        self._transfers = transfers

    @contextlib.asynccontextmanager
    async def at_rest(self, replica: Row[Any]) -> AsyncIterator[None]:
        """Keep everybody else off a replica's chain, for the time of a block."""
        key = ChainKey(replica.backup_uid, replica.reference)
        async with self._locks.work.hold(key):
            if reasons := await self._settlement.settle_chain(key):
                raise RefusedError(" ".join(reasons))
            yield

    def source_alone(
        self, replica: Row[Any], seconds: float | None = None
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Keep the backups of a replica's source, and whoever restores it, off it for a block.

        Raise MachineBusy when they are at it for longer than so many seconds; see `turn_at`.
        """
        return turn_at(self._locks.machines, replica.source_uuid, replica.name, seconds)

    @contextlib.asynccontextmanager
    async def target(self, replica: Row[Any]) -> AsyncIterator[LibvirtConnection]:
        """Open the connection to a replica's host for the time of a block."""
        async with self.host(replica.host_uid) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def source(
        self, replica: Row[Any], record: Failover | None = None
    ) -> AsyncIterator[LibvirtConnection]:
        """The host of the source or, with the record of a failback to another place, of that."""
        async with self.host(source_host(replica, record)) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def host(self, uid: UUID) -> AsyncIterator[LibvirtConnection]:
        """Open the connection to a host for the time of a block."""
        access = await self._hosts.access(uid)
        async with self._hosts.platform.connected(access) as connection:
            yield connection

    async def look(self, uid: UUID) -> tuple[Row[Any], Failover | None]:
        """Return a replica's row and its record."""
        row = await self._store.read(lambda c: replicas.find_replica(c, uid))
        return row, record_of(row)

    async def plan(self, row: Row[Any], record: Failover) -> FailoverPlan:
        """Return the plan by which a replica takes over, or did."""
        uid = record.point
        if uid is None:
            raise RefusedError(f'Replica "{row.machine_name}" has no restore point.')
        point = await self._store.read(lambda c: replicas.replica_point(c, uid))
        identity = Identity(row.machine_name, row.machine_uuid, False)
        return FailoverPlan(identity, point.folder, point.known, record.key, record.ready)

    async def failback_plan(self, row: Row[Any], record: Failover) -> FailbackPlan:
        """Return the plan of its failback."""

        def later(connection: Connection) -> tuple[MachinePoint, ...]:
            uids = [point.uid for point in replicas.points_of(connection, row.uid)]
            after = uids[uids.index(record.point) + 1 :]
            return tuple(replicas.replica_point(connection, uid).known for uid in after)

        points = await self._store.read(later)
        plan = await self.plan(row, record)
        return FailbackPlan(plan, row.source_uuid, self._transfers, points)

    async def declare(
        self,
        uid: UUID,
        operation: Operation,
        state: ReplicaState | None = None,
        *,
        force: bool = False,
        **fields: Any,
    ) -> None:
        """Write down what is about to be done, if the replica's state still allows it."""

        def declare(connection: Connection) -> None:
            row = replicas.find_replica(connection, uid)
            check(row, operation, force=force)
            if fields.get("point") is not None:
                found = replicas.replica_point(connection, fields["point"])
                if found.replica.uid != uid:
                    raise RefusedError("The restore point is of another replica.")
            if fields.get("place") is not None:
                refuse_taken(connection, uid, fields["place"])
            record = record_of(row) or Failover(doing=operation)
            changed = msgspec.structs.replace(
                record, **{"doing": operation, "back": False} | fields
            )
            put(connection, uid, state or ReplicaState(row.state), changed)

        await self._store.write(declare)

    async def note(self, uid: UUID, state: ReplicaState | None = None, **fields: Any) -> None:
        """Write down more of what is known of the operation that is under way."""

        def note(connection: Connection) -> None:
            row = replicas.find_replica(connection, uid)
            record = record_of(row)
            if record is not None:
                changed = msgspec.structs.replace(record, **fields)
                put(connection, uid, state or ReplicaState(row.state), changed)

        await self._store.write(note)

    async def settled(self, uid: UUID, state: ReplicaState, **fields: Any) -> None:
        """Write down that a replica has come to a state, and that nothing is under way."""

        def settle(connection: Connection) -> None:
            record = record_of(replicas.find_replica(connection, uid))
            after = None if record is None else msgspec.structs.replace(done(record), **fields)
            put(connection, uid, state, after)

        await self._store.write(settle)


def done(record: Failover) -> Failover:
    """Return a record with nothing under way any more."""
    return msgspec.structs.replace(
        record, doing=None, back=False, source_started=False, asked=0.0, beside=""
    )


def pending(record: Failover | None) -> Failover | None:
    """Return the record that a replica has while it is ready: what its source is to be given back.

    None when that is nothing.
    """
    if record is None or not record.autostart:
        return None
    return Failover(doing=None, autostart=True)


def source_uuid(row: Row[Any], record: Failover | None) -> str:
    """Return the UUID of the source or, after a failback to another place, of its stand-in."""
    place = None if record is None else record.place
    uuid: str = row.source_uuid if place is None else place.uuid
    return uuid


def source_host(row: Row[Any], record: Failover | None) -> UUID:
    """Return the host of the source or, after a failback to another place, of its stand-in."""
    place = None if record is None else record.place
    host: UUID = row.source_host_uid if place is None else place.host
    return host


def put(connection: Connection, uid: UUID, state: ReplicaState, record: Failover | None) -> None:
    """Write down a replica's state and its record, and publish it."""
    table = tables.replica
    connection.execute(
        update(table).where(table.c.uid == uid).values(state=state, failover=encoded(record))
    )
    publish_replica(connection, uid)


def put_ready(connection: Connection, uid: UUID) -> None:
    """Write down that a replica is ready again."""
    record = record_of(replicas.find_replica(connection, uid))
    put(connection, uid, ReplicaState.READY, pending(record))
