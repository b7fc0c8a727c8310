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
from sqlalchemy import Connection, Row, insert, select, update

from holdfast.engine.libvirt_point import MachinePoint
from holdfast.server import hosted_points, points, tables
from holdfast.server.job_specification import ReplicaTarget
from holdfast.server.publish import publish_replica, row_of
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


def ensure_replica(
    connection: Connection,
    *,
    backup: UUID,
    reference: str,
    source: Row[Any],
    target: Row[Any],
    now: int,
) -> Row[Any]:
    """Return the replica of a machine, made when it is replicated for the first time.

    `source` is the row of the machine on its host, `target` that of the job's target. A replica
    keeps the machine it has on the target; where that is called after the source, it stays so.
    """
    values = {
        "name": source.name,
        "source_host_uid": source.host_uid,
        "source_uuid": source.uuid,
    }
    known = replica_of(connection, backup, reference)
    table = tables.replica
    if known is None:
        uid = uuid4()
        values |= {
            "uid": uid,
            "backup_uid": backup,
            "reference": reference,
            "host_uid": target.host_uid,
            "machine_uuid": str(uuid4()),
            "machine_name": f"{source.name}{target.suffix}",
            "state": ReplicaState.READY,
            "created": now,
        }
        connection.execute(insert(table).values(values))
    else:
        uid = known.uid
        connection.execute(update(table).where(table.c.uid == uid).values(values))
    publish_replica(connection, uid)
    return row_of(connection, table, uid)


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
