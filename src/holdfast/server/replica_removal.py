"""Removes replicas: the machine on the target, the points, what the source keeps for them.

Only one that is ready can go: what a failover builds on stays. Hosts come first: as long as one of
them does not let go, every point is there, and the removal can be asked for again. One that has
taken over for good is only forgotten: its machine is nobody's replica any more, and runs on the
files. So is, by force, one in any state whose host does not answer: its machine may run there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select

from holdfast.engine.errors import ChainBroken, EngineError, MachineMissing
from holdfast.engine.image_chain import read_backup_header
from holdfast.engine.libvirt_replica import nvram_of
from holdfast.server import failover_plans, hosted_points, journal, points, replicas, tables
from holdfast.server.chain_holds import refuse_if_held
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.expiry import withdraw_chain
from holdfast.server.failover_elsewhere import replace_source
from holdfast.server.failover_record import Operation, record_of
from holdfast.server.hosted_objects import locate
from holdfast.server.hosts import Hosts
from holdfast.server.job_lookup import running_session
from holdfast.server.journal import ChainKey, RemoveFiles
from holdfast.server.messages import Command
from holdfast.server.names import session_name
from holdfast.server.operations import Done, Preparation, read_arguments
from holdfast.server.operations import Operation as Change
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import ReplicaState
from holdfast.server.session_state import JobSessionState
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

#: How long a host may take to answer before a replica there is forgotten by force.
_ANSWER_SECONDS = 30.0


class _Removal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a replica is to be removed: with `force` although its host, or its source's, is away."""

    force: bool = False


class ReplicaRemoval:
    """Removes replicas, when that was asked for."""

    def __init__(
        self, store: Store, clock: Clock, hosts: Hosts, locks: ChainLocks, settlement: Settlement
    ) -> None:
        self._store = store
        self._clock = clock
        self._hosts = hosts
        self._locks = locks
        self._settlement = settlement

    @property
    def preparations(self) -> Mapping[str, Preparation]:
        """The command, by its name."""
        return {"remove-replica": self._remove}

    async def _remove(self, command: Command) -> Change:
        uid, force = command.target, read_arguments(command, _Removal).force
        row = await self._store.read(lambda c: replicas.find_replica(c, uid))
        await self._store.read(lambda c: _refuse_while_running(c, row))
        key = ChainKey(row.backup_uid, row.reference)
        if row.state == ReplicaState.PERMANENT:
            return await self._forget(row, key)
        if force and await self._is_lost(row):
            return await self._give_up(row, key)
        async with self._locks.work.hold(key):
            await self._store.write(lambda c: _reserve(c, row))
            try:
                if problems := await self._settlement.settle_chain(key):
                    raise RefusedError(" ".join(problems))
                await self._ensure_unneeded(row)
                await self._take_off_hosts(row, force=force)
                told = await self._store.write(lambda c: self._withdraw(c, row, key))
            except BaseException:  # cancellation too: it must not stay reserved
                await self._store.write(lambda c: _unreserve(c, row))
                raise
            # What cannot go now is in the journal, and goes later.
            await self._settlement.settle_chain(key)

        def tell(_connection: Connection, _command: Command, _now: datetime) -> Done:
            return Done(told)

        return tell

    async def _forget(self, row: Row[Any], key: ChainKey) -> Change:
        async with self._locks.work.hold(key):
            if problems := await self._settlement.settle_chain(key):
                raise RefusedError(" ".join(problems))
            # The machine it stood for may be gone for good; what that keeps is no hindrance.
            with contextlib.suppress(RefusedError):
                await self._release(row)
            folder = await self._store.read(lambda c: replicas.folder_of(c, row.backup_uid))
            await self._store.write(lambda c: self._drop(c, row, key))
            await self._settlement.settle_chain(key)

        def tell(_connection: Connection, _command: Command, _now: datetime) -> Done:
            return Done(
                f'"{row.machine_name}" is a replica no more. Its files stay in {folder}: the '
                "machine runs on them."
            )

        return tell

    async def _is_lost(self, row: Row[Any]) -> bool:
        """Say whether the host of a replica does not answer."""
        return not await self._hosts.answering([row.host_uid], _ANSWER_SECONDS)

    async def _give_up(self, row: Row[Any], key: ChainKey) -> Change:
        """Forget a replica whose host does not answer: what is there, and its files, stay."""
        async with self._locks.work.hold(key):
            with contextlib.suppress(RefusedError):
                await self._release(row)
            for problem in await self._settlement.settle_chain(key):
                _LOGGER.warning("%s: given up with the replica: %s", row.machine_name, problem)
            folder = await self._store.read(lambda c: replicas.folder_of(c, row.backup_uid))
            left = await self._store.write(lambda c: _forget_lost(c, row, key))
        told = (
            f'"{row.machine_name}" is forgotten, since its host does not answer. Its files stay in '
            f"{folder}, and its machine on its host, where it may run: remove them by hand."
        )

        def tell(_connection: Connection, _command: Command, _now: datetime) -> Done:
            return Done(" ".join([told, *left]))

        return tell

    async def _ensure_unneeded(self, row: Row[Any]) -> None:
        """Refuse when anything beside the points themselves is built on their files."""

        def read(connection: Connection) -> tuple[Path, set[str]]:
            files = {
                Path(disk.path).name
                for point in replicas.points_of(connection, row.uid)
                for disk in hosted_points.disks_of(connection, point.uid)
            }
            return replicas.folder_of(connection, row.backup_uid), files

        folder, files = await self._store.read(read)
        other = await asyncio.to_thread(_built_on, folder, files)
        if other is not None:
            raise RefusedError(f"{other} is built on a point of the replica. Remove it first.")

    async def _take_off_hosts(self, row: Row[Any], *, force: bool) -> None:
        access = await self._hosts.access(row.host_uid)
        # First what may be refused, since without its machine a replica could not take over. When
        # the second fails instead, the next replication compares whole disks, and no more.
        try:
            await self._release(row)
        except RefusedError:
            if not force:
                raise
        await self._hosts.platform.remove_standby(access, row.machine_uuid)

    async def _release(self, row: Row[Any]) -> None:
        """Have the original's host delete the checkpoints of the chain; raise RefusedError."""
        where = await self._store.read(lambda c: locate(c, row.reference))
        if where is None:
            return  # nothing is left of a machine that is nowhere
        try:
            source = await self._hosts.access(where.host_uid)
            await self._hosts.platform.release(source, where.uuid, str(row.backup_uid))
        except MachineMissing:
            return
        except EngineError as error:
            raise RefusedError(
                f"The host of the original does not let go of its checkpoints: {error}"
            ) from error

    def _drop(self, connection: Connection, row: Row[Any], key: ChainKey) -> None:
        _forget(connection, row)
        # It has another one since it took over.
        self._remove_nvram(connection, row, key)

    def _remove_nvram(self, connection: Connection, row: Row[Any], key: ChainKey) -> None:
        """Note that the NVRAM of the machine that stood by is to go, if there is one."""
        folder = PurePosixPath(row_of(connection, tables.backup, row.backup_uid).folder)
        path = nvram_of(folder, row.machine_uuid)
        now = milliseconds(self._clock.now())
        journal.declare(connection, key, RemoveFiles((str(path),)), now)

    def _withdraw(self, connection: Connection, row: Row[Any], key: ChainKey) -> str:
        """Take the replica and its points out of the catalog; return what is gone, in words."""
        _refuse_while_failing_over(connection, row)
        left = _left_off(replicas.find_replica(connection, row.uid))
        found = replicas.points_of(connection, row.uid)
        names = [session_name(each.display_name, each.created) for each in found]
        withdraw_chain(connection, key, milliseconds(self._clock.now()))
        self._remove_nvram(connection, row, key)
        replicas.delete_replica(connection, row.uid)
        gone = [f"{len(names)} restore points are gone: {', '.join(names)}."] if names else []
        return " ".join(gone + left) or "Ok"


def _forget(connection: Connection, row: Row[Any]) -> None:
    """Take a replica that has taken over for good, and its points, out of the catalog alone."""
    _refuse_while_failing_over(connection, row)
    _refuse_planned(connection, row)
    _drop_points(connection, row)


def _forget_lost(connection: Connection, row: Row[Any], key: ChainKey) -> list[str]:
    """Take a replica whose host is gone, and its points, out of the catalog and of all plans.

    Return what is to be told of its source, if anything.
    """
    _refuse_while_failing_over(connection, row)
    refuse_if_held(connection, row.backup_uid, row.reference)
    failover_plans.take_out(connection, row.uid)
    now = replicas.find_replica(connection, row.uid)
    record = record_of(now)
    # What the undo of a failback takes away, or has taken, is no machine to go on with.
    if (
        now.state == ReplicaState.FAILBACK
        and record is not None
        and record.place is not None
        and record.doing is not Operation.UNDO_FAILBACK
    ):
        # As its commit would have it: there is nothing to go back to.
        replace_source(connection, now, record.place)
    # With its folder gone, too, nothing of this would ever come to its end.
    for intent in journal.standing(connection, key):
        journal.strike(connection, intent)
    _drop_points(connection, row)
    return _left_off(now)


def _left_off(row: Row[Any]) -> list[str]:
    """Tell of the source of a replica that goes, if a failover has turned its autostart off."""
    record = record_of(row)
    if record is None or not record.autostart:
        return []
    return [f'The source machine "{row.name}" does not start with its host any more.']


def _drop_points(connection: Connection, row: Row[Any]) -> None:
    held: set[UUID] = set()
    for point in reversed(replicas.points_of(connection, row.uid)):
        held |= {disk.uid for disk in hosted_points.disks_of(connection, point.uid)}
        points.withdraw_point(connection, point.uid)
    for file in _chains_of(connection, row, held):
        points.remove_file(connection, file)
    replicas.delete_replica(connection, row.uid)


def _chains_of(connection: Connection, row: Row[Any], held: set[UUID]) -> list[UUID]:
    """Given files of a replica, return them and those in their chains that no point has any more.

    Each comes before what it is built on.
    """
    table = tables.backup_file
    of_backup = select(table).where(table.c.backup_uid == row.backup_uid)
    rows = connection.execute(of_backup.order_by(table.c.created.desc())).all()
    ours, before = held, set[UUID]()
    while ours != before:
        before = ours
        ours = ours | {each.uid for each in rows if each.parent_uid in ours}
        ours |= {each.parent_uid for each in rows if each.uid in ours and each.parent_uid}
    # Newest first: what a file is built on was made before it.
    return [each.uid for each in rows if each.uid in ours]


def _refuse_while_running(connection: Connection, row: Row[Any]) -> None:
    job = row_of(connection, tables.backup, row.backup_uid).job_uid
    if running_session(connection, job) is not None:
        raise RefusedError("The job of the replica is running. Stop it first.")


def _refuse_while_failing_over(connection: Connection, row: Row[Any]) -> None:
    session = tables.failover_session
    running = select(session.c.uid).where(
        session.c.replica_uid == row.uid, session.c.state != JobSessionState.STOPPED
    )
    if connection.execute(running.limit(1)).first() is not None:
        raise RefusedError(f'Something is being done to "{row.machine_name}" already.')


def _reserve(connection: Connection, row: Row[Any]) -> None:
    """Keep everything else off a replica; refuse one that is not ready, or that is needed."""
    _refuse_while_failing_over(connection, row)
    _refuse_planned(connection, row)
    # Before its machine goes, not when the points are to.
    refuse_if_held(connection, row.backup_uid, row.reference)
    record = record_of(replicas.find_replica(connection, row.uid))
    if record is not None and record.doing is not None:
        raise RefusedError(
            f'What was interrupted with "{row.machine_name}" is not settled yet. Try again later.'
        )
    before = {ReplicaState.READY}
    if not replicas.change_state(connection, row.uid, ReplicaState.PROCESSING, before=before):
        state = replicas.find_replica(connection, row.uid).state
        raise RefusedError(
            f'"{row.machine_name}" is in the state {state}; '
            "only a replica that is Ready, or has taken over for good, can be removed."
        )


def _refuse_planned(connection: Connection, row: Row[Any]) -> None:
    machine, plan = tables.failover_plan_machine, tables.failover_plan
    of_plan = select(plan.c.name).join(machine, machine.c.plan_uid == plan.c.uid)
    name = connection.scalar(of_plan.where(machine.c.replica_uid == row.uid).limit(1))
    if name is not None:
        raise RefusedError(f'The failover plan "{name}" has the replica. Take it out first.')


def _unreserve(connection: Connection, row: Row[Any]) -> None:
    before = {ReplicaState.PROCESSING}
    replicas.change_state(connection, row.uid, ReplicaState.READY, before=before)


def _built_on(folder: Path, files: set[str]) -> Path | None:
    """Return an image in a folder, beside these, that is built on one of them. Blocking."""
    for other in folder.glob("*.qcow2"):
        if other.name in files:
            continue
        try:
            if read_backup_header(other).backing_name in files:
                return other
        except ChainBroken:
            continue  # whatever it is, it is built on nothing here
    return None
