"""Machines that run from their restore point: written down, looked up. Each in a transaction.

The row of an instant recovery is what holds the files of the point's chain, from before the machine
is made until it needs them no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from holdfast.engine.known_file import KnownFile
from holdfast.server import journal, tables
from holdfast.server.host_records import host_in_use
from holdfast.server.journal import ChainKey
from holdfast.server.messages import InstantRecovery
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import (
    DiscardInstant,
    MigrateInstant,
    Plan,
    RestoreHosted,
    instant_target,
)
from holdfast.server.session_state import JobSessionState


class InstantState(StrEnum):
    """What an instant recovery does."""

    STARTING = "Starting"
    RUNNING = "Running"
    MIGRATING = "Migrating"
    DISCARDING = "Discarding"


def begin(connection: Connection, plan: RestoreHosted, point: Row[Any], now: int) -> None:
    """Write a new one down, which holds the chain from now on; refuse while that is changed."""
    key = ChainKey.of(point.backup_uid, point.kind, point.reference)
    if journal.changes_files(connection, key):
        raise RefusedError("The restore point is being worked on by retention. Try again later.")
    connection.execute(
        insert(tables.instant_recovery).values(
            uid=plan.instant,
            machine_point_uid=point.uid,
            backup_uid=key.backup,
            chain=key.chain,
            host_uid=plan.host,
            name=plan.name,
            uuid=plan.uuid,
            state=InstantState.STARTING,
            created=now,
            files="[]",
        )
    )


def row_in_use(connection: Connection, uid: UUID | None) -> Row[Any]:
    """Return the row of an instant recovery; refuse an unknown one."""
    table = tables.instant_recovery
    row = connection.execute(select(table).where(table.c.uid == uid)).first()
    if row is None:
        raise RefusedError(f"Cannot find instant recovery [{uid}].")
    return row


def running(connection: Connection, host: UUID) -> Sequence[Row[Any]]:
    """Return the rows of those on a host that run and neither move nor are being discarded."""
    table = tables.instant_recovery
    of_host = select(table).where(table.c.host_uid == host)
    return connection.execute(of_host.where(table.c.state == InstantState.RUNNING)).all()


def others_with(
    connection: Connection, host: UUID, uuid: str, uid: UUID | None
) -> Sequence[Row[Any]]:
    """Return the rows of those on a host whose machine has a UUID, but for one."""
    table = tables.instant_recovery
    same = (table.c.host_uid == host) & (table.c.uuid == uuid) & (table.c.uid != uid)
    return connection.execute(select(table).where(same)).all()


def take(connection: Connection, uid: UUID | None, state: InstantState) -> Row[Any]:
    """Let one that runs go on to another state; return its row. Refuse one that does not run."""
    row = row_in_use(connection, uid)
    if row.state != InstantState.RUNNING:
        doing = {
            InstantState.STARTING: "is being started",
            InstantState.MIGRATING: "is moving to its own storage; stop that first",
            InstantState.DISCARDING: "is being discarded",
        }[InstantState(row.state)]
        raise RefusedError(f'The machine "{row.name}" {doing}.')
    set_state(connection, row.uid, state)
    return row


def origin(connection: Connection, row: Row[Any]) -> Row[Any]:
    """Given a row, return what a restore session tells of its point, which may be gone by now."""
    table = tables.restore_session
    query: Select[Any] = select(
        table.c.machine_point_uid.label("uid"),
        table.c.job_uid,
        table.c.job_name,
        table.c.display_name,
        table.c.reference,
    )
    at_point = query.where(table.c.machine_point_uid == row.machine_point_uid)
    found: Row[Any] = connection.execute(at_point.limit(1)).one()
    return found


def set_state(connection: Connection, uid: UUID, state: InstantState) -> None:
    """Note what one does. One that is gone stays so."""
    table = tables.instant_recovery
    connection.execute(update(table).where(table.c.uid == uid).values(state=state))


def session_ended(connection: Connection, plan: Plan, *, failed: bool) -> None:
    """Note that a restore has ended, should it be one of an instant recovery."""
    match plan:
        case RestoreHosted(instant=UUID() as uid):
            if failed:
                remove(connection, uid)
            else:
                set_state(connection, uid, InstantState.RUNNING)
        case MigrateInstant() | DiscardInstant():
            if failed:
                set_state(connection, plan.recovery, InstantState.RUNNING)
            else:
                remove(connection, plan.recovery)


def note_files(connection: Connection, uid: UUID, files: Sequence[KnownFile]) -> None:
    """Note the files that a machine is made with."""
    table = tables.instant_recovery
    values = {"files": msgspec.json.encode(files).decode()}
    connection.execute(update(table).where(table.c.uid == uid).values(values))


def files_of(row: Row[Any]) -> list[KnownFile]:
    """Given a row, return the files that the machine was made with."""
    return msgspec.json.decode(row.files, type=list[KnownFile])


def remove(connection: Connection, uid: UUID) -> None:
    """Forget one: it needs the files of the point no more."""
    table = tables.instant_recovery
    connection.execute(delete(table).where(table.c.uid == uid))


def all_of(connection: Connection) -> list[InstantRecovery]:
    """Return all, oldest first, as they are told to managers."""
    table = tables.instant_recovery
    rows = connection.execute(select(table).order_by(table.c.created, table.c.uid)).all()
    return [_told(connection, row) for row in rows]


def _told(connection: Connection, row: Row[Any]) -> InstantRecovery:
    session = tables.restore_session
    moving = connection.execute(
        select(session.c.uid, session.c.progress).where(
            session.c.target == instant_target(row.uid),
            session.c.state != JobSessionState.STOPPED,
        )
    ).first()
    return InstantRecovery(
        uid=row.uid,
        point=row.machine_point_uid,
        host=row.host_uid,
        host_name=host_in_use(connection, row.host_uid).name,
        name=row.name,
        uuid=row.uuid,
        state=row.state,
        created=row.created,
        session=None if moving is None else moving.uid,
        progress=None if moving is None else moving.progress,
    )
