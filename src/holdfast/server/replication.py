"""Replicates one machine of a host in a session: a new point, and the machine that stands by.

The point is made as that of a backup, in the folder of the replicas. The machine on the target is
defined after it is recorded, so that it never points to files that are being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from holdfast.engine.errors import EngineError, HypervisorUnavailable
from holdfast.engine.failures import writing_failure
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_replica import Standby
from holdfast.engine.libvirt_work import MachinePlan
from holdfast.engine.progress import ProgressCallback
from holdfast.server import hosted_points, journal, replicas, sessions
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.hosted_backup import HostedBackup
from holdfast.server.hosts import Hosts
from holdfast.server.journal import Intent
from holdfast.server.machine_backup import Parent, SessionPlan
from holdfast.server.platform import HostAccess
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import AT_REST, Counterpart, ReplicaState
from holdfast.server.session_state import Result
from holdfast.server.sessions import Machine
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store

_MIB = 1024 * 1024


class HostedReplication(HostedBackup):
    """The replication of one machine. Its chain must be held meanwhile.

    `keys` is a folder for the keys of transfers.
    """

    #: The machine where it is now, and the one that stands for it; set before a point is made.
    _source: Row[Any]
    _replica: Counterpart

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settlement: Settlement,
        hosts: Hosts,
        plan: SessionPlan,
        machine: Machine,
        keys: Path,
        remarks: Sequence[str] = (),
    ) -> None:
        super().__init__(store, clock, settlement, hosts, plan, machine, remarks)
        self._keys = keys
        self._result: MachineResult | None = None

    async def run(self, on_progress: ProgressCallback) -> None:
        """Replicate the machine, unless its replica is in use; raise EngineError on failure."""
        if await self._store.write(self._left_alone):
            return
        try:
            await super().run(on_progress)
        finally:
            await self._store.write(self._at_rest)

    def _left_alone(self, connection: Connection) -> bool:
        """End the task with a warning when a failover has the replica; say whether it has."""
        replica = replicas.replica_of(connection, self._place.backup, self._machine.reference)
        if replica is None or replica.state in AT_REST:
            return False
        now = milliseconds(self._clock.now())
        task = self._machine.task_session
        sessions.start_task(connection, task)
        reason = (
            f'"{replica.machine_name}" is in the state {replica.state}: its machine is not '
            "replicated before that has come to an end."
        )
        sessions.complete_task(connection, task, now, Result.WARNING, reason)
        return True

    def _at_rest(self, connection: Connection) -> None:
        replica = replicas.replica_of(connection, self._place.backup, self._machine.reference)
        if replica is not None:
            before = {ReplicaState.PROCESSING}
            replicas.change_state(connection, replica.uid, ReplicaState.READY, before=before)

    async def _make_point(
        self, parent: Parent, created: int, on_progress: ProgressCallback
    ) -> None:
        where = await self._store.read(self._located)
        replica = await self._store.write(lambda c: self._begin(c, where))
        self._source, self._replica = where, replica
        access = await self._access(replica.host)
        # Before anything is moved: what cannot be defined in the end is no replica.
        await self._hosts.platform.ensure_free(access, replica.name, replica.uuid)
        folder = await asyncio.to_thread(self._place.folder)
        await asyncio.to_thread(_let_through, folder)
        await super()._make_point(parent, created, on_progress)
        if self._result is None:
            return
        problem = await self._stand_by(access, replica, folder, self._result)
        result = self._result
        await self._store.write(lambda c: self._end(c, result, problem))

    def _begin(self, connection: Connection, where: Row[Any]) -> Counterpart:
        return replicas.begin_processing(
            connection,
            backup=self._place.backup,
            reference=self._machine.reference,
            source=where,
            target=replicas.target_of(connection, self._plan.job),
        )

    async def _access(self, host: UUID) -> HostAccess:
        try:
            return await self._hosts.access(host)
        except RefusedError as error:
            raise HypervisorUnavailable(f"The target of the replica: {error}") from error

    def _adapted(self, plan: MachinePlan) -> MachinePlan:
        return replace(plan, keys=self._keys)

    def _record(
        self,
        connection: Connection,
        intent: Intent,
        created: int,
        folder: PurePosixPath,
        result: MachineResult,
        parent: UUID | None,
    ) -> None:
        """Record the point, and the replica with its first one.

        The task ends when its machine stands by, or cannot.
        """
        replicas.ensure_replica(
            connection,
            backup=self._place.backup,
            reference=self._machine.reference,
            source=self._source,
            counterpart=self._replica,
            now=created,
        )
        self._record_point(connection, created, folder, result, parent)
        sessions.note_point(connection, self._machine.task_session, self._point)
        journal.strike(connection, intent)
        self._result = result

    async def _stand_by(
        self, access: HostAccess, replica: Counterpart, folder: Path, result: MachineResult
    ) -> str | None:
        """Define the machine on the target; return why it cannot be, or None."""
        target = await self._store.read(lambda c: replicas.target_of(c, self._plan.job))
        standby = Standby(
            name=replica.name,
            uuid=replica.uuid,
            folder=folder,
            point=result.point,
            networks=replicas.networks_of(target),
        )
        try:
            await self._hosts.platform.define_standby(access, standby)
        except EngineError as error:
            return (
                f'The point is good, but the machine "{replica.name}" could not be '
                f"brought up to date: {error}"
            )
        return None

    def _end(self, connection: Connection, result: MachineResult, problem: str | None) -> None:
        outcome, reason = self._outcome(result)
        reason += f" {result.sent / _MIB:.1f} MiB were sent."
        sessions.complete_task(
            connection,
            self._machine.task_session,
            milliseconds(self._clock.now()),
            Result.WARNING if problem else outcome,
            reason if problem is None else f"{problem} {reason}",
            total_size=hosted_points.total_size(result.point.disks),
        )


def _let_through(folder: Path) -> None:
    """Let QEMU, which may run as a user of its own, reach the files in a folder that it is given.

    They cannot be listed, and none can be read but by whom its own mode admits.
    """
    try:
        folder.chmod(0o711)
    except OSError as error:
        raise writing_failure(error, folder) from error
