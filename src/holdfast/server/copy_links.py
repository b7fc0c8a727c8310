"""What copy jobs copy from: jobs and repositories, linked and unlinked. Each in a transaction.

Only what backup jobs made is copied, never copies, so that no points can travel in a circle; and
never within one repository, where a copy would be lost together with what it is a copy of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from holdfast.server import tables
from holdfast.server.job_lookup import job_in_use
from holdfast.server.job_specification import IMMEDIATE_COPY, REPLICA, Linked, is_copy
from holdfast.server.publish import row_of, withdraw
from holdfast.server.refusal import RefusedError

#: Columns of `job_link` by what they link to, and the resource that a link is shown as.
JOBS = "linked_job_uid"
REPOSITORIES = "linked_repository_uid"
RESOURCES = {JOBS: "LinkedJobObject", REPOSITORIES: "LinkedBackupRepositoryObject"}


def links_of(connection: Connection, job_uid: UUID, column: str | None = None) -> list[Row[Any]]:
    """Return the links that a job has, in their order; those of one sort if that is named."""
    link = tables.job_link
    query = select(link).where(link.c.job_uid == job_uid).order_by(link.c.position)
    if column is not None:
        query = query.where(link.c[column].is_not(None))
    return list(connection.execute(query))


def add_link(connection: Connection, job: Row[Any], column: str, target: UUID) -> UUID:
    """Let a copy job copy from a job or a repository too; return the link's UID.

    Refuse what is unknown, there already, or makes no sense to copy.
    """
    _expect_copy(job)
    name = _job_name(connection, job, target) if column == JOBS else ""
    name = name or _repository_name(connection, job, target)
    link = tables.job_link
    known = select(link.c.uid).where(link.c.job_uid == job.uid, link.c[column] == target)
    if connection.execute(known).first() is not None:
        raise RefusedError(f'Copy job "{job.name}" copies from {name} already.')
    last = connection.scalar(select(func.max(link.c.position)).where(link.c.job_uid == job.uid))
    uid = uuid4()
    position = 0 if last is None else last + 1
    values = {"uid": uid, "job_uid": job.uid, column: target, "position": position}
    connection.execute(insert(link).values(values))
    return uid


def take_out(connection: Connection, link: Row[Any]) -> None:
    """Let a copy job no longer copy from something. What it has copied stays."""
    connection.execute(delete(tables.job_link).where(tables.job_link.c.uid == link.uid))
    withdraw(connection, resource_of(link), link.uid)


def expect_source(connection: Connection, job: Row[Any]) -> None:
    """Refuse a change that leaves a copy job with nothing to copy from."""
    if not links_of(connection, job.uid):
        raise RefusedError(
            f'Copy job "{job.name}" would have nothing left to copy from. Delete the job, or link '
            "another job or repository first."
        )


def set_links(connection: Connection, job: Row[Any], column: str, wanted: Iterable[Linked]) -> None:
    """Let a copy job have these links of one sort, in this order."""
    _expect_copy(job)
    present = {row.uid: row for row in links_of(connection, job.uid, column)}
    order: list[UUID] = []
    for linked in wanted:
        order.append(_link_for(connection, job, column, linked, present))
    if len(set(order)) != len(order):
        raise RefusedError(f'A link of copy job "{job.name}" is given twice.')
    for uid in present.keys() - set(order):
        take_out(connection, present[uid])
    for position, uid in enumerate(order):
        table = tables.job_link
        connection.execute(update(table).where(table.c.uid == uid).values(position=position))


def link_in_use(connection: Connection, uid: UUID | None, column: str) -> Row[Any]:
    """Given a link's UID, return its row; refuse when there is no such link of that sort."""
    link = tables.job_link
    row = connection.execute(
        select(link).where(link.c.uid == uid, link.c[column].is_not(None))
    ).first()
    if row is None:
        raise RefusedError(f"Cannot find {RESOURCES[column]} [{uid}].")
    return row


def resource_of(link: Row[Any]) -> str:
    """Given a link, return the name of the resource that it is shown as."""
    return RESOURCES[REPOSITORIES if link.linked_job_uid is None else JOBS]


def copiers_of(connection: Connection, job: Row[Any]) -> list[Row[Any]]:
    """Return the copy jobs that copy what a job makes, by a link to it or to its repository."""
    link, copier = tables.job_link, tables.job
    if is_copy(job.kind) or job.kind == REPLICA:
        return []
    of_it = or_(
        link.c.linked_job_uid == job.uid, link.c.linked_repository_uid == job.repository_uid
    )
    query = (
        select(copier)
        .where(~copier.c.deleted, copier.c.repository_uid != job.repository_uid)
        .where(copier.c.uid.in_(select(link.c.job_uid).where(of_it)))
        .order_by(copier.c.created, copier.c.uid)
    )
    return list(connection.execute(query))


def immediate_copiers_of(connection: Connection, job: Row[Any]) -> Sequence[Row[Any]]:
    """Return those of `copiers_of` that copy each new point at once and are switched on."""
    return [
        row
        for row in copiers_of(connection, job)
        if row.kind == IMMEDIATE_COPY and row.schedule_enabled
    ]


def linking_to(connection: Connection, job_uid: UUID) -> list[Row[Any]]:
    """Return the copy jobs that a link ties to a job itself."""
    link, copier = tables.job_link, tables.job
    query = select(copier).join(link, link.c.job_uid == copier.c.uid)
    return list(
        connection.execute(query.where(link.c.linked_job_uid == job_uid, ~copier.c.deleted))
    )


def check_target(connection: Connection, job: Row[Any]) -> None:
    """Refuse a copy job whose repository holds what it is to copy."""
    for link in links_of(connection, job.uid):
        if link.linked_job_uid is not None:
            _expect_elsewhere(job, row_of(connection, tables.job, link.linked_job_uid))
        elif link.linked_repository_uid == job.repository_uid:
            _repository_name(connection, job, link.linked_repository_uid)


def _link_for(
    connection: Connection,
    job: Row[Any],
    column: str,
    linked: Linked,
    present: dict[UUID, Row[Any]],
) -> UUID:
    if linked.uid is None:
        assert linked.target is not None  # noqa: S101 - Linked has one of the two
        return add_link(connection, job, column, linked.target)
    found = present.get(linked.uid)
    if found is None:
        raise RefusedError(f'Copy job "{job.name}" has no {RESOURCES[column]} [{linked.uid}].')
    if linked.target not in (None, getattr(found, column)):
        raise RefusedError(
            f"The link [{linked.uid}] leads to [{getattr(found, column)}]. To copy from something "
            "else, add a link without an ObjectInJobId."
        )
    return linked.uid


def _expect_copy(job: Row[Any]) -> None:
    if not is_copy(job.kind):
        raise RefusedError(
            f'Job "{job.name}" is no copy job: it has no linked jobs and repositories.'
        )


def _job_name(connection: Connection, job: Row[Any], target: UUID) -> str:
    """Return what a linked job is called; refuse one that cannot be copied from."""
    linked = job_in_use(connection, target)
    if is_copy(linked.kind):
        raise RefusedError(
            f'Job "{linked.name}" is a copy job itself. Link the jobs that it copies from.'
        )
    if linked.kind == REPLICA:
        raise RefusedError(f'Job "{linked.name}" makes replicas, which are not copied.')
    _expect_elsewhere(job, linked)
    return f'job "{linked.name}"'


def _expect_elsewhere(job: Row[Any], linked: Row[Any]) -> None:
    if linked.repository_uid == job.repository_uid:
        raise RefusedError(
            f'Job "{linked.name}" keeps its backups in the repository that copy job "{job.name}" '
            "copies to. A copy belongs into another one."
        )


def _repository_name(connection: Connection, job: Row[Any], target: UUID) -> str:
    table = tables.repository
    row = connection.execute(select(table).where(table.c.uid == target)).first()
    if row is None:
        raise RefusedError(f"Cannot find repository [{target}].")
    if target == job.repository_uid:
        raise RefusedError(
            f'Copy job "{job.name}" copies to the repository "{row.name}" itself. A copy belongs '
            "into another one."
        )
    return f'repository "{row.name}"'
