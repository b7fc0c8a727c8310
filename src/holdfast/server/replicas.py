"""Replicas: machines that stand ready on another host. Each function runs in a transaction.

The points of a replica are those of its machine in the backup of its job, made, kept and merged as
those of a backup are; `replica_point` finds what a failover needs of one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from holdfast.engine.libvirt_point import MachinePoint
from holdfast.server import hosted_points, points, tables
from holdfast.server.job_specification import ReplicaTarget
from holdfast.server.publish import publish_replica, row_of, withdraw
from holdfast.server.refusal import RefusedError


class ReplicaState(StrEnum):
    """What goes on with a replica.

    `PROCESSING` while a session replicates its machine. In every state but that and `READY` its
    job leaves the replica and its points alone.
    """

    READY = "Ready"
    PROCESSING = "Processing"
    FAILOVER = "Failover"
    FAILBACK = "Failback"
    PERMANENT = "PermanentFailover"


#: The states in which the job of a replica may go on with it.
AT_REST = frozenset({ReplicaState.READY, ReplicaState.PROCESSING})


@dataclass(frozen=True)
class ReplicaPoint:
    """A point of a replica: its files lie in `folder`, under the names that `known` tells."""

    uid: UUID
    replica: Row[Any]
    created: int
    folder: Path
    known: MachinePoint


@dataclass(frozen=True)
class Counterpart:
    """The machine that stands for another, on the `host` of that UID."""

    host: UUID
    name: str
    uuid: str


def target_of(connection: Connection, job: UUID) -> Row[Any]:
    """Return the row of `replica_target` of a job of kind Replica."""
    table = tables.replica_target
    return connection.execute(select(table).where(table.c.job_uid == job)).one()


def networks_of(target: Row[Any]) -> dict[str, str]:
    """Given the row of a target, return which network of the host stands for which."""
    return msgspec.json.decode(target.networks, type=dict[str, str])


def record_target(connection: Connection, job: UUID, target: ReplicaTarget) -> None:
    """Write down where a job makes its replicas."""
    connection.execute(
        insert(tables.replica_target).values(
            job_uid=job,
            host_uid=target.host,
            suffix=target.suffix,
            networks=msgspec.json.encode(target.networks).decode(),
        )
    )


def clone_target(connection: Connection, job: UUID, copy: UUID, suffix: str | None) -> None:
    """Let a copy of a job make its replicas where the job does, under names of their own."""
    row = target_of(connection, job)
    values = dict(row._mapping) | {"job_uid": copy, "suffix": suffix or f"{row.suffix}_clone"}
    connection.execute(insert(tables.replica_target).values(values))


def find_replica(connection: Connection, uid: UUID | None) -> Row[Any]:
    """Return the row of a replica; refuse an unknown one."""
    table = tables.replica
    row = connection.execute(select(table).where(table.c.uid == uid)).first()
    if row is None:
        raise RefusedError(f"Cannot find replica [{uid}].")
    return row


def replica_of(connection: Connection, backup: UUID, reference: str) -> Row[Any] | None:
    """Return the replica of a machine in a backup, or None."""
    table = tables.replica
    same = (table.c.backup_uid == backup) & (table.c.reference == reference)
    return connection.execute(select(table).where(same)).first()


def in_use(connection: Connection, backup: UUID, reference: str) -> bool:
    """Say whether a machine's points in a backup are held by a failover: they may not change."""
    row = replica_of(connection, backup, reference)
    return row is not None and row.state not in AT_REST


def points_of(connection: Connection, uid: UUID) -> list[Row[Any]]:
    """Return the rows of a replica's points, oldest first."""
    row = find_replica(connection, uid)
    return points.points_of(connection, row.backup_uid, row.reference)


def replica_point(connection: Connection, point: UUID) -> ReplicaPoint:
    """Given the UID of a replica's point, return it with what lies where; refuse others."""
    table = tables.machine_point
    row = connection.execute(select(table).where(table.c.uid == point)).first()
    replica = None if row is None else replica_of(connection, row.backup_uid, row.reference)
    if row is None or replica is None:
        raise RefusedError(f"Cannot find replica point [{point}].")
    folder = folder_of(connection, row.backup_uid)
    return ReplicaPoint(
        point, replica, row.created, folder, hosted_points.known_point(connection, point)
    )


def folder_of(connection: Connection, backup: UUID) -> Path:
    """Return the folder with the files of a backup's points."""
    row = row_of(connection, tables.backup, backup)
    repository: str = row_of(connection, tables.repository, row.repository_uid).path
    folder: str = row.folder
    return Path(repository, folder)


def begin_processing(
    connection: Connection,
    *,
    backup: UUID,
    reference: str,
    source: Row[Any],
    target: Row[Any],
) -> Counterpart:
    """Return the machine that stands for another, or is to; a replica that is there is processed.

    `source` is the row of the machine on its host, `target` that of the job's target. A replica
    keeps the machine it has on the target; where that is called after the source, it stays so. One
    that is made now gets its row with its first point: before that, nothing of it is anywhere.
    """
    known = replica_of(connection, backup, reference)
    if known is None:
        name = f"{source.name}{target.suffix}"
        return Counterpart(target.host_uid, name, str(uuid4()))
    table = tables.replica
    same = table.c.uid == known.uid
    connection.execute(update(table).where(same).values(_source_values(source)))
    publish_replica(connection, known.uid)
    change_state(connection, known.uid, ReplicaState.PROCESSING, before=AT_REST)
    return Counterpart(known.host_uid, known.machine_name, known.machine_uuid)


def ensure_replica(
    connection: Connection,
    *,
    backup: UUID,
    reference: str,
    source: Row[Any],
    counterpart: Counterpart,
    now: int,
) -> None:
    """Write down the replica of a machine whose first point is recorded, unless it is known."""
    if replica_of(connection, backup, reference) is not None:
        return
    uid = uuid4()
    connection.execute(
        insert(tables.replica).values(
            **_source_values(source),
            uid=uid,
            backup_uid=backup,
            reference=reference,
            host_uid=counterpart.host,
            machine_uuid=counterpart.uuid,
            machine_name=counterpart.name,
            state=ReplicaState.PROCESSING,
            created=now,
        )
    )
    publish_replica(connection, uid)


def _source_values(source: Row[Any]) -> dict[str, Any]:
    return {
        "name": source.name,
        "source_host_uid": source.host_uid,
        "source_uuid": source.uuid,
    }


def delete_replica(connection: Connection, uid: UUID) -> None:
    """Delete the row of a replica and the history of what was done with it."""
    session, table = tables.failover_session, tables.replica
    connection.execute(delete(session).where(session.c.replica_uid == uid))
    connection.execute(delete(table).where(table.c.uid == uid))
    withdraw(connection, "Replica", uid)


def delete_unmade(connection: Connection, job: UUID) -> None:
    """Delete the replicas of a job that never had a point: nothing of them is anywhere.

    One that is in a failover plan stays, and one whose points are gone: its machine stands by.
    """
    table, backup = tables.replica, tables.backup
    task, point, plan = tables.task_session, tables.machine_point, tables.failover_plan_machine
    had_point = select(task.c.uid).where(
        task.c.job_uid == job,
        task.c.reference == table.c.reference,
        task.c.machine_point_uid.is_not(None),
    )
    has_point = select(point.c.uid).where(
        point.c.backup_uid == table.c.backup_uid, point.c.reference == table.c.reference
    )
    planned = select(plan.c.uid).where(plan.c.replica_uid == table.c.uid)
    query = (
        select(table.c.uid)
        .join(backup, backup.c.uid == table.c.backup_uid)
        .where(backup.c.job_uid == job)
        .where(~had_point.exists(), ~has_point.exists(), ~planned.exists())
    )
    for uid in connection.scalars(query).all():
        delete_replica(connection, uid)


def change_state(
    connection: Connection, uid: UUID, after: ReplicaState, *, before: Collection[ReplicaState]
) -> bool:
    """Let a replica go from one of the states `before` to another; say whether it was in one."""
    table = tables.replica
    same = (table.c.uid == uid) & table.c.state.in_([str(state) for state in before])
    if not connection.execute(update(table).where(same).values(state=after)).rowcount:
        return False
    publish_replica(connection, uid)
    return True


def end_processing(connection: Connection) -> None:
    """Let replicas whose session a crash has ended be ready again."""
    table = tables.replica
    query = select(table.c.uid).where(table.c.state == ReplicaState.PROCESSING)
    for uid in connection.scalars(query).all():
        change_state(connection, uid, ReplicaState.READY, before={ReplicaState.PROCESSING})
