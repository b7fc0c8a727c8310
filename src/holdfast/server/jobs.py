"""Jobs: made, cloned, deleted. Each function runs in a writing transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, insert, select, update

from holdfast.engine.repository import folder_name
from holdfast.server import copy_links, job_schedules, replicas, tables
from holdfast.server.clock import milliseconds
from holdfast.server.data_keys import check_password
from holdfast.server.job_lookup import is_free, job_in_use, running_session
from holdfast.server.job_objects import (
    add,
    add_source,
    exclude,
    excluded_of,
    objects_of,
    resolve,
)
from holdfast.server.job_options import check_scripts, encode_options
from holdfast.server.job_specification import (
    IMMEDIATE_COPY,
    LONGEST_NAME,
    REPLICA,
    CloneSpecification,
    JobSpecification,
    is_copy,
)
from holdfast.server.names import clone_name
from holdfast.server.publish import row_of
from holdfast.server.publish_job import publish_job
from holdfast.server.refusal import RefusedError
from holdfast.server.schedule import Continuously, encode_hours, encode_schedule


def create_job(
    connection: Connection,
    specification: JobSpecification,
    now: datetime,
    *,
    place: UUID | None = None,
) -> UUID:
    """Make a job; return its UID. Refuse a name in use, an unknown repository or linked job.

    `place` is the repository in the folder of the target of a job of kind Replica.
    """
    uid = uuid4()
    schedule = specification.schedule
    if schedule is None and specification.kind == IMMEDIATE_COPY:
        schedule = Continuously()
    check_scripts(specification.options)
    check_password(connection, specification.options)
    insert_job(
        connection,
        {
            "uid": uid,
            "name": specification.name.strip(),
            "kind": specification.kind,
            "description": specification.description,
            "repository_uid": specification.repository or place,
            "retention": specification.retention,
            "schedule": encode_schedule(schedule),
            "schedule_enabled": schedule is not None and specification.schedule_enabled,
            "retry_times": specification.retry.times,
            "retry_minutes": specification.retry.minutes,
            "backup_window": encode_hours(specification.window),
            "retention_days": specification.retention_days,
            "options": encode_options(specification.options),
        },
        now,
    )
    if specification.target is not None:
        replicas.record_target(connection, uid, specification.target)
    job_schedules.check_chain(connection, uid, schedule)
    for source in specification.sources:
        add_source(connection, uid, specification.kind, source)
    for each in specification.objects:
        add(connection, uid, resolve(connection, each.reference, each.name))
    exclude(connection, row_of(connection, tables.job, uid), specification.excludes)
    _link(connection, uid, copy_links.JOBS, specification.linked_jobs)
    _link(connection, uid, copy_links.REPOSITORIES, specification.linked_repositories)
    job_schedules.reckon(connection, uid, now)
    publish_job(connection, uid)
    return uid


def clone_job(
    connection: Connection, uid: UUID | None, specification: CloneSpecification, now: datetime
) -> tuple[UUID, str]:
    """Copy a job; return the UID and the name of the copy.

    The copy has a folder and chains of its own, and its schedule is switched off.
    """
    original = job_in_use(connection, uid)
    copy_uid = uuid4()
    name = (specification.name or "").strip() or _free_name(connection, clone_name(now))
    if len(name) > LONGEST_NAME:
        raise RefusedError(f"A job's name has at most {LONGEST_NAME} characters.")
    description = specification.description
    if original.kind == REPLICA and specification.repository is not None:
        raise RefusedError(f'The replicas of job "{original.name}" are in no repository.')
    insert_job(
        connection,
        {
            "uid": copy_uid,
            "name": name,
            "kind": original.kind,
            "description": original.description if description is None else description,
            "repository_uid": specification.repository or original.repository_uid,
            "retention": original.retention,
            "schedule": original.schedule,
            "schedule_enabled": False,
            "retry_times": original.retry_times,
            "retry_minutes": original.retry_minutes,
            "backup_window": original.backup_window,
            "retention_days": original.retention_days,
            "options": original.options,
        },
        now,
    )
    if original.kind == REPLICA:
        replicas.clone_target(connection, original.uid, copy_uid, specification.suffix)
    # The objects of a copy job are not its own: they are made anew for each session.
    objects = []
    if not is_copy(original.kind):
        objects = [
            *objects_of(connection, original.uid),
            *excluded_of(connection, original.uid),
        ]
    links = copy_links.links_of(connection, original.uid)
    for table, rows in ((tables.job_object, objects), (tables.job_link, links)):
        for row in rows:
            copied = dict(row._mapping) | {"uid": uuid4(), "job_uid": copy_uid}
            connection.execute(insert(table).values(copied))
    copy_links.check_target(connection, row_of(connection, tables.job, copy_uid))
    publish_job(connection, copy_uid)
    return copy_uid, name


def delete_job(connection: Connection, uid: UUID | None) -> str:
    """Delete a job; return its name. Its backups, its replicas and its history stay.

    Refused while it runs, and while another job follows it or copies what it makes.
    """
    job = job_in_use(connection, uid)
    if running_session(connection, job.uid) is not None:
        raise RefusedError(f'Job "{job.name}" is running. Stop it first, then delete it.')
    followers = job_schedules.followers_of(connection, job.uid)
    if followers:
        raise RefusedError(
            f'Job "{followers[0].name}" starts after job "{job.name}" and would never run again. '
            "Give it another schedule first."
        )
    copiers = copy_links.linking_to(connection, job.uid)
    if copiers:
        raise RefusedError(
            f'Copy job "{copiers[0].name}" copies what job "{job.name}" makes. '
            "Take it out of the linked jobs there first."
        )
    connection.execute(
        update(tables.job)
        .where(tables.job.c.uid == job.uid)
        .values(deleted=True, schedule_enabled=False, next_run=None, retry_at=None)
    )
    replicas.delete_unmade(connection, job.uid)
    publish_job(connection, job.uid)
    return str(job.name)


def _link(connection: Connection, uid: UUID, column: str, targets: Iterable[UUID]) -> None:
    job = row_of(connection, tables.job, uid)
    for target in targets:
        copy_links.add_link(connection, job, column, target)


def insert_job(
    connection: Connection, values: dict[str, Any], now: datetime, *, one_off: bool = False
) -> None:
    """Insert the row of a job. One for a `one_off` backup is deleted from the beginning.

    Refuse a name in use or an unknown repository.
    """
    if not one_off and not is_free(connection, values["name"]):
        raise RefusedError(f'There is a job named "{values["name"]}" already.')
    repository = values["repository_uid"]
    known = select(tables.repository.c.uid).where(tables.repository.c.uid == repository)
    if connection.execute(known).first() is None:
        raise RefusedError(f"Cannot find repository [{repository}].")
    # The UID keeps it unique, also after the job is gone and another takes its name.
    folder = folder_name(f"{folder_name(values['name'])}-{values['uid'].hex[:8]}")
    connection.execute(
        insert(tables.job).values(
            **values, folder=folder, created=milliseconds(now), deleted=one_off
        )
    )


def _free_name(connection: Connection, name: str) -> str:
    candidate, number = name, 1
    while not is_free(connection, candidate):
        number += 1
        candidate = f"{name} {number}"
    return candidate
