"""Which machines a session is about, where that is known only when it begins: hosts and tags.

The hosts are asked first, so that a machine that came up a moment ago is in. One that is away is
taken as it was last seen: its machines fail each for itself, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.engine.errors import HypervisorUnavailable
from holdfast.server import hosted_objects, tables
from holdfast.server.hosts import Hosts
from holdfast.server.job_specification import is_copy
from holdfast.server.publish import row_of
from holdfast.server.session_start import add_machines
from holdfast.server.session_state import Cause, JobSessionState
from holdfast.server.store import Store

NOTHING = "There is no machine to back up: the hosts and tags in the job have none."


async def ask_hosts(store: Store, hosts: Hosts, session: UUID) -> dict[UUID, str] | None:
    """Ask the hosts of its job which machines a session is about, unless that is known already.

    Return those that cannot be asked, and why. None when none had to be.
    """
    wanted = await store.read(lambda c: _hosts_to_ask(c, session))
    return None if wanted is None else await hosts.refresh(wanted)


def add_found(connection: Connection, session: UUID, away: Mapping[UUID, str]) -> list[str]:
    """Give a session that was begun the machines of its job's hosts; return what went wrong.

    Raise HypervisorUnavailable when that leaves it without any machine because a host is away.
    """
    names = _names(connection, away) if away else {}
    problems = [
        f'Host "{names.get(uid, uid)}" cannot be asked for its machines: {reason}'
        for uid, reason in away.items()
    ]
    if _add(connection, session):
        return problems
    if problems:
        raise HypervisorUnavailable(" ".join(problems))
    return [NOTHING]


def _hosts_to_ask(connection: Connection, session: UUID) -> set[UUID] | None:
    """Return the hosts that tell what a session is about; None when that is known already."""
    row = row_of(connection, tables.job_session, session)
    if is_copy(row.job_kind):
        return None  # what there is to copy does not hang on what hosts have now
    if row.cause == Cause.PART or (row.is_retry and _has_tasks(connection, session)):
        return None
    objects = hosted_objects.hosted_in(connection, row.job_uid)
    return hosted_objects.hosts_of(connection, row.job_uid) if objects else None


def _add(connection: Connection, session: UUID) -> bool:
    """Add the machines; say whether the session has any, or is to stop anyway."""
    row = row_of(connection, tables.job_session, session)
    if row.state != JobSessionState.STARTING:
        return True
    objects: Iterable[Row[Any]] = hosted_objects.expand(connection, row.job_uid)
    add_machines(connection, session, objects)
    return _has_tasks(connection, session)


def _has_tasks(connection: Connection, session: UUID) -> bool:
    task = tables.task_session
    found = select(task.c.uid).where(task.c.job_session_uid == session).limit(1)
    return connection.execute(found).first() is not None


def _names(connection: Connection, uids: Iterable[UUID]) -> dict[UUID, str]:
    table = tables.host
    rows = connection.execute(select(table.c.uid, table.c.name).where(table.c.uid.in_(list(uids))))
    return {row.uid: row.name for row in rows}
