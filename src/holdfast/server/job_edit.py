"""Jobs, changed: what is left out stays. Each function runs in a writing transaction.

A change is made whole or, being refused anywhere, not at all: the transaction takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection, Row, update

from holdfast.server import copy_links, job_objects, job_schedules, tables
from holdfast.server.clock import moment_of
from holdfast.server.data_keys import check_password
from holdfast.server.hours import Hours, offset_at, offset_text
from holdfast.server.job_lookup import is_free, job_in_use
from holdfast.server.job_options import check_options, check_scripts, encode_options
from holdfast.server.job_specification import (
    IMMEDIATE_COPY,
    Included,
    JobEdit,
    check_immediate,
    check_retention_days,
    is_copy,
)
from holdfast.server.publish_job import publish_job
from holdfast.server.refusal import RefusedError
from holdfast.server.schedule import (
    Continuously,
    Daily,
    Monthly,
    Periodically,
    Schedule,
    decode_hours,
    decode_schedule,
    encode_hours,
    encode_schedule,
)


def edit_job(connection: Connection, uid: UUID | None, edit: JobEdit, now: datetime) -> None:
    """Change a job. Refuse a name in use, an unknown object, and what makes no sense."""
    job = job_in_use(connection, uid)
    values = _plain_values(connection, job, edit) | _schedule_values(connection, job, edit, now)
    if values:
        connection.execute(update(tables.job).where(tables.job.c.uid == job.uid).values(values))
    # What was excluded before may be included now, and the other way round.
    if edit.excludes is not UNSET:
        job_objects.clear_excluded(connection, job.uid)
    if edit.objects is not UNSET:
        _set_objects(connection, job, edit.objects)
    if edit.excludes is not UNSET:
        job_objects.exclude(connection, job, edit.excludes)
    linked = _set_links(connection, job, edit)
    if linked or not {"schedule", "schedule_enabled", "backup_window"}.isdisjoint(values):
        job_schedules.reckon(connection, job.uid, now)
    publish_job(connection, job.uid)


def add_object(connection: Connection, uid: UUID | None, included: Included) -> UUID:
    """Put an object into a job; return its UID. Refuse what is unknown or there already."""
    job = job_in_use(connection, uid)
    found = job_objects.resolve(connection, included.reference, included.name)
    added = job_objects.add(connection, job.uid, found)
    publish_job(connection, job.uid)
    return added


def remove_object(connection: Connection, uid: UUID | None) -> None:
    """Take an object out of its job. Its points stay. Refuse the last one."""
    table = tables.job_object
    row = connection.execute(table.select().where(table.c.uid == uid, ~table.c.removed)).first()
    if row is None:
        raise RefusedError(f"Cannot find object in job [{uid}].")
    job = job_in_use(connection, row.job_uid)
    job_objects.take_out(connection, job, row.uid)
    publish_job(connection, job.uid)


def add_link(
    connection: Connection, uid: UUID | None, column: str, target: UUID, now: datetime
) -> UUID:
    """Let a copy job copy from a job or a repository too; return the link's UID.

    Refuse what is unknown, there already, or makes no sense to copy.
    """
    job = job_in_use(connection, uid)
    added = copy_links.add_link(connection, job, column, target)
    if job.kind == IMMEDIATE_COPY:
        job_schedules.reckon(connection, job.uid, now)
    publish_job(connection, job.uid)
    return added


def remove_link(connection: Connection, uid: UUID | None, column: str) -> None:
    """Let a copy job no longer copy from something. What it copied stays. Refuse the last one."""
    link = copy_links.link_in_use(connection, uid, column)
    job = job_in_use(connection, link.job_uid)
    copy_links.take_out(connection, link)
    copy_links.expect_source(connection, job)
    publish_job(connection, job.uid)


def _set_links(connection: Connection, job: Row[Any], edit: JobEdit) -> bool:
    """Let a copy job have the links that an edit names; say whether it is to run for them."""
    wanted = {
        copy_links.JOBS: edit.linked_jobs,
        copy_links.REPOSITORIES: edit.linked_repositories,
    }
    named = False
    for column, links in wanted.items():
        if links is not UNSET:
            copy_links.set_links(connection, job, column, links)
            named = True
    if named:
        copy_links.expect_source(connection, job)
    return named and job.kind == IMMEDIATE_COPY


def _plain_values(connection: Connection, job: Row[Any], edit: JobEdit) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if edit.name is not UNSET:
        name = edit.name.strip()
        if not is_free(connection, name, job.uid):
            raise RefusedError(f'There is a job named "{name}" already.')
        values["name"] = name
    if edit.description is not UNSET:
        values["description"] = edit.description
    if edit.retention is not UNSET:
        values["retention"] = edit.retention
    try:
        if edit.retention_days is not UNSET:
            check_retention_days(edit.retention_days)
            values["retention_days"] = edit.retention_days
        if edit.options is not UNSET:
            check_options(edit.options, job.kind)
            check_scripts(edit.options)
            check_password(connection, edit.options)
            values["options"] = encode_options(edit.options)
    except ValueError as error:
        raise RefusedError(f"Not changed: {error}.") from None
    if edit.retry is not UNSET:
        values |= {"retry_times": edit.retry.times, "retry_minutes": edit.retry.minutes}
        if edit.retry.times == 0:
            values["retry_at"] = None
    return values


def _schedule_values(
    connection: Connection, job: Row[Any], edit: JobEdit, now: datetime
) -> dict[str, Any]:
    """Return what changes in the columns that decide when the job is due."""
    before, window = decode_schedule(job.schedule), decode_hours(job.backup_window)
    after = before
    zone = _zone_of(before) or (window.zone if window else None)
    if edit.schedule is not UNSET:
        shown_at = moment_of(job.next_run or job.created)
        after = _in_zone(edit.schedule, zone, (shown_at, now))
        job_schedules.check_chain(connection, job.uid, after)
    if edit.window is not UNSET:
        kept = window.zone if window else None
        window = _hours_in_zone(edit.window, kept or _zone_of(after) or zone)
    enabled = bool(job.schedule_enabled)
    if edit.schedule_enabled is not UNSET:
        enabled = edit.schedule_enabled
    if job.kind == IMMEDIATE_COPY:
        try:
            check_immediate(after)
        except ValueError as error:
            raise RefusedError(f"Not changed: {error}.") from None
    if after is None:
        enabled = False
    values = {
        "schedule": encode_schedule(after),
        "schedule_enabled": enabled,
        "backup_window": encode_hours(window),
    }
    changed = {name: value for name, value in values.items() if value != getattr(job, name)}
    if not enabled:
        changed["retry_at"] = None
    return changed


def _set_objects(connection: Connection, job: Row[Any], wanted: Iterable[Included]) -> None:
    """Let a job have these objects, in this order."""
    if is_copy(job.kind):
        raise RefusedError(
            f'Copy job "{job.name}" has no objects: it copies what its linked jobs and linked '
            "repositories hold."
        )
    present = {row.uid: row for row in job_objects.objects_of(connection, job.uid)}
    order: list[UUID] = []
    for included in wanted:
        if included.uid is None:
            found = job_objects.resolve(connection, included.reference, included.name)
            order.append(job_objects.add(connection, job.uid, found))
        elif included.uid not in present:
            raise RefusedError(f'Job "{job.name}" has no object [{included.uid}].')
        elif included.uid in order:
            raise RefusedError(f"The object [{included.uid}] is given twice.")
        else:
            order.append(included.uid)
    for uid in present.keys() - set(order):
        job_objects.take_out(connection, job, uid)
    for position, uid in enumerate(order):
        job_objects.place(connection, uid, position)


def _zone_of(schedule: Schedule | None) -> str | None:
    match schedule:
        case Daily() | Monthly():
            return schedule.zone
        case Periodically() | Continuously() if schedule.hours is not None:
            return schedule.hours.zone
        case _:
            return None


def _in_zone(
    schedule: Schedule | None, zone: str | None, moments: Iterable[datetime]
) -> Schedule | None:
    """Given a schedule, return it in the zone the job had, where it does not say another.

    Documents know offsets only. One that is the zone's own at one of the moments means the zone,
    so that a schedule that was read and written back still minds summer time.
    """
    offsets = {offset_text(offset_at(zone, moment)) for moment in moments} if zone else set()
    match schedule:
        case Daily() | Monthly() if zone and schedule.zone in offsets:
            return msgspec.structs.replace(schedule, zone=zone)
        case Periodically() | Continuously():
            return msgspec.structs.replace(schedule, hours=_hours_in_zone(schedule.hours, zone))
        case _:
            return schedule


def _hours_in_zone(hours: Hours | None, zone: str | None) -> Hours | None:
    if hours is None or hours.zone is not None:
        return hours
    return msgspec.structs.replace(hours, zone=zone)
