"""The source of a replica: where it is now, and whether it starts by itself with its host.

It may have migrated since the last replication. And a host that starts it when it is booted would
have it run beside its replica, so for the time of a failover it does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select, update

from holdfast.engine.errors import EngineError, HypervisorUnavailable, MachineMissing
from holdfast.engine.libvirt_failover import is_on, start_with_host, starts_with_host
from holdfast.server import host_machines, replicas, tables
from holdfast.server.failover_ground import FailoverGround, pending, put, source_host, source_uuid
from holdfast.server.failover_record import Failover, Place, record_of
from holdfast.server.host_records import AVAILABLE, host_in_use
from holdfast.server.hosts import Hosts
from holdfast.server.publish import publish_replica
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import AT_REST, ReplicaState
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

#: For how long a host may keep a failover waiting that can go on without its answer.
_LOOK_SECONDS = 10.0

#: For how long it may keep what was left undone at its other sources waiting.
_SEE_TO_SECONDS = 30.0

#: The states in which a source must not start by itself.
_TAKEN_OVER = frozenset({ReplicaState.FAILOVER, ReplicaState.PERMANENT})


class FailoverSource:
    """Follows sources, and keeps them from starting by themselves while a replica runs."""

    def __init__(self, store: Store, hosts: Hosts, ground: FailoverGround) -> None:
        self._store = store
        self._hosts = hosts
        self._ground = ground

    async def follow(self, uid: UUID) -> None:
        """Note where a replica's source is now, or its stand-in: it may have migrated.

        As long as its host does not answer, it is taken for moved only where it runs elsewhere.
        """
        row, record = await self._ground.look(uid)
        here = True
        try:
            async with self._ground.source(row, record) as source:
                if await is_on(source, source_uuid(row, record)):
                    return
        except MachineMissing:
            here = False
        except (EngineError, RefusedError):
            pass
        if not here:
            # That it is gone from there is to be known to all, its job among them.
            await self._hosts.answering([source_host(row, record)], _LOOK_SECONDS)
        found = await self._elsewhere(row, record)
        if found is not None and (found.active or not here):
            await self._note_moved(row, record, found.host_uid)

    async def runs_elsewhere(self, uid: UUID) -> str | None:
        """Return the name of the host that a source has moved to and runs on, and note that.

        None when it is not known to run on any host but the one where it was.
        """
        row, _ = await self._ground.look(uid)
        found = await self._elsewhere(row, None)
        if found is None or not found.active:
            return None
        await self._note_moved(row, None, found.host_uid)
        return str(found.host_name)

    async def _elsewhere(self, row: Row[Any], record: Failover | None) -> Row[Any] | None:
        """Return the source's row at another host that has it now, and answers in time."""
        place = None if record is None else record.place
        if place is not None and not place.files:
            return None  # it was never defined
        uuid, host = source_uuid(row, record), source_host(row, record)
        table = tables.host
        others = select(table.c.uid).where(table.c.uid != host, table.c.state == AVAILABLE)
        uids = await self._store.read(lambda c: c.scalars(others).all())
        answered = await self._hosts.answering(uids, _LOOK_SECONDS)
        # What a failback has made may have the UUID of the source, but never its disks.
        disks = None if place is None else {file.path for file in place.files}
        return await self._store.read(
            lambda c: host_machines.moved_to(c, uuid, host, answered, disks)
        )

    async def _note_moved(self, row: Row[Any], record: Failover | None, host: UUID) -> None:
        _LOGGER.info("The source of %s has moved to host %s", row.machine_name, host)

        def note(connection: Connection) -> None:
            if record is not None and record.place is not None:
                now = replicas.find_replica(connection, row.uid)
                known = record_of(now)
                if known is not None and known.place == record.place:
                    place = msgspec.structs.replace(record.place, host=host)
                    changed = msgspec.structs.replace(known, place=place)
                    put(connection, row.uid, ReplicaState(now.state), changed)
                return
            table = tables.replica
            same = (table.c.uid == row.uid) & (table.c.source_host_uid == row.source_host_uid)
            connection.execute(update(table).where(same).values(source_host_uid=host))
            publish_replica(connection, row.uid)

        await self._store.write(note)

    async def told_beside(self, uid: UUID) -> str:
        """Return what is to be noted of a source that runs although its replica has taken over."""
        row, record = await self._ground.look(uid)
        # One whose host has not answered just now is not asked again.
        if record is None or not record.quiet:
            return ""
        with _if_it_answers(row):
            async with asyncio.timeout(_LOOK_SECONDS):
                if host := await self._look_beside(uid):
                    return (
                        f'The source machine "{row.name}" runs, too, on host "{host}": shut it '
                        "down, or undo the failover."
                    )
        return ""

    async def _look_beside(self, uid: UUID) -> str:
        """Note, and return, on which host a source runs beside its replica; empty for none."""
        row, _ = await self._ground.look(uid)
        host, on = await self._store.read(lambda c: host_in_use(c, row.source_host_uid)), False
        with contextlib.suppress(MachineMissing):
            async with self._ground.source(row) as source:
                on = await is_on(source, row.source_uuid)
        if on:
            _LOGGER.warning("%s runs on %s beside its replica", row.name, host.name)
        beside = str(host.name) if on else ""
        await self._ground.note(uid, beside=beside)
        return beside

    async def keep_off(self, uid: UUID) -> None:
        """Have the source not start by itself, if its host answers soon; else `see_to` does.

        Whether it did is remembered.
        """
        row, _ = await self._ground.look(uid)
        state = await self._store.read(
            lambda c: c.scalar(
                select(tables.host.c.state).where(tables.host.c.uid == row.source_host_uid)
            )
        )
        if state != AVAILABLE:
            return
        with _if_it_answers(row):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._keep_off(uid)

    async def _keep_off(self, uid: UUID) -> None:
        row, record = await self._ground.look(uid)
        if record is None:
            return
        async with self._ground.source(row) as source:
            did = await starts_with_host(source, row.source_uuid)
            # Remembered before it is changed, and not forgotten when this is done again.
            did_once = did or bool(record.autostart)
            await self._ground.note(uid, autostart=did_once)
            if did_once and row.state == ReplicaState.PERMANENT:
                async with self._ground.target(row) as target:
                    await start_with_host(target, row.machine_uuid, on=True)
            if did:
                await start_with_host(source, row.source_uuid, on=False)
        await self._ground.note(uid, quiet=True)

    async def _keep_off_now(self, row: Row[Any], record: Failover) -> None:
        if record.quiet:
            return
        await self.follow(row.uid)
        try:
            await self._keep_off(row.uid)
        except MachineMissing:
            if row.state != ReplicaState.PERMANENT:
                raise
            # One of the two is gone: nobody is to be kept from running beside the other.
            await self._ground.note(row.uid, quiet=True)

    async def give_back(self, uid: UUID) -> None:
        """Have the source start by itself again, if it did; what its host delays is done later.

        The record tells whether anything is left: then it keeps `autostart`.
        """
        row, record = await self._ground.look(uid)
        if record is None or not record.autostart:
            return
        with _if_it_answers(row):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._give_back(uid)

    async def _give_back(self, uid: UUID) -> None:
        # It may start by itself from here on, whatever becomes of this.
        await self._ground.note(uid, quiet=False)
        await self.follow(uid)
        row, _ = await self._ground.look(uid)
        try:
            async with self._ground.source(row) as source:
                await start_with_host(source, row.source_uuid, on=True)
        except HypervisorUnavailable:
            raise
        except (EngineError, RefusedError) as error:
            # It is gone, or cannot have that any more: later it will not be otherwise.
            _LOGGER.warning("%s does not start with its host any more: %s", row.name, error)
        await self._ground.note(uid, autostart=None)

    async def hand_over(self, uid: UUID, place: Place) -> str:
        """Have the machine that takes the source's place start with its host, as the source did.

        Return what is to be noted when that cannot be done, or nobody knows.
        """
        row, record = await self._ground.look(uid)
        if record is not None and not record.quiet:
            # Nobody looks at it later: it is no source any more.
            await self.keep_off(uid)
            row, record = await self._ground.look(uid)
        if record is None:
            return ""
        notes = []
        if record.autostart:
            try:
                async with asyncio.timeout(_LOOK_SECONDS), self._ground.host(place.host) as there:
                    await start_with_host(there, place.uuid, on=True)
            except (EngineError, RefusedError, TimeoutError) as error:
                reason = str(error) or "It did not answer in time."
                notes.append(f'"{place.name}" does not start with its host: {reason}')
        elif not record.quiet:
            notes.append(
                f'"{place.name}" does not start with its host: whether "{row.name}" did is not '
                "known."
            )
        if not record.quiet:
            notes.append(f'See to it that the source machine "{row.name}" stays off.')
        return " ".join(notes)

    async def waiting(self, hosts: Collection[UUID]) -> list[UUID]:
        """Return the replicas with something left undone because a source's host was away.

        So are those that have taken over whose source runs, or did. Only those of which the host is
        among these.
        """
        table, machine = tables.replica, tables.host_machine
        runs = select(machine.c.uuid).where(
            machine.c.host_uid == table.c.source_host_uid,
            machine.c.uuid == table.c.source_uuid,
            machine.c.active,
        )
        query = select(table, runs.exists().label("runs")).where(
            table.c.failover.is_not(None), table.c.source_host_uid.in_(hosts)
        )
        rows = await self._store.read(lambda c: c.execute(query).all())
        return [row.uid for row in rows if _waits(row, record_of(row), runs=row.runs)]

    async def see_to(self, uid: UUID) -> None:
        """Do what was left undone with a source, as far as that is possible now."""
        row, record = await self._ground.look(uid)
        if record is None or not _waits(row, record, runs=True):
            return
        with _if_it_answers(row):
            async with asyncio.timeout(_SEE_TO_SECONDS):
                if row.state in _TAKEN_OVER:
                    await self._keep_off_now(row, record)
                    await self._look_beside(uid)
                else:
                    await self._give_back(uid)
        await self._store.write(lambda c: _forget_done(c, uid))


def _waits(row: Row[Any], record: Failover | None, *, runs: bool) -> bool:
    """Say whether something is left to be done with the source of a replica, which may run."""
    if record is None or record.doing is not None or record.place is not None:
        return False
    if row.state in _TAKEN_OVER:
        return not record.quiet or runs or bool(record.beside)
    return bool(record.autostart)


def _forget_done(connection: Connection, uid: UUID) -> None:
    """Forget the record of a replica that is ready when nothing is left to be done."""
    row = replicas.find_replica(connection, uid)
    record = record_of(row)
    if record is not None and record.doing is None and row.state in AT_REST:
        put(connection, uid, ReplicaState(row.state), pending(record))


@contextlib.contextmanager
def _if_it_answers(row: Row[Any]) -> Iterator[None]:
    """Leave what a source's host does not answer for its return."""
    try:
        yield
    except (EngineError, RefusedError, TimeoutError) as error:
        _LOGGER.info("The source of %s cannot be seen to now: %s", row.machine_name, error)
