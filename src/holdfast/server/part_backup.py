"""Backups of single machines, asked for by a person. Each function runs in a writing transaction.

A quick backup adds a point to the chain of a job that has the machine. A one-off backup makes
fulls that belong to no job: it has a backup of its own, which is kept as long as was asked for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, select, update

from holdfast.server import points, tables
from holdfast.server.clock import milliseconds
from holdfast.server.data_keys import check_password
from holdfast.server.hosted_objects import HOSTED, MACHINE, expand, locate
from holdfast.server.job_objects import add, objects_of, resolve
from holdfast.server.job_options import JobOptions, encode_options
from holdfast.server.job_roles import INCLUDED
from holdfast.server.jobs import insert_job
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.session_start import open_session
from holdfast.server.session_state import Cause

Keeping = Literal[
    "Never", "Tonight", "TomorrowNight", "In3days", "In1Week", "In2Weeks", "In1Month",
    "In3Months", "In6Months", "In1Year", "In2Years", "In3Years", "In5Years", "In7Years",
]  # fmt: skip

_MONTHS = {
    "In1Month": 1, "In3Months": 3, "In6Months": 6, "In1Year": 12, "In2Years": 24, "In3Years": 36,
    "In5Years": 60, "In7Years": 84,
}  # fmt: skip
_DAYS = {"In3days": 3, "In1Week": 7, "In2Weeks": 14}
_NIGHTS = {"Tonight": 1, "TomorrowNight": 2}


class OneOffSpecification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which machines to back up once, by hierarchy reference, where to, and how long to keep it.

    `compression`, `compression_level`, `quiesce` and `encryption`, the UID of a password, as in the
    options of a job.
    """

    machines: tuple[str, ...]
    repository: UUID
    remove: Keeping = "Never"
    compression: Literal["none", "zstd"] = "zstd"
    compression_level: int | None = None
    quiesce: bool = True
    encryption: UUID | None = None

    def __post_init__(self) -> None:
        if not self.machines:
            raise ValueError("machines: expected at least one")
        if len({machine.lower() for machine in self.machines}) != len(self.machines):
            raise ValueError("machines: each may be given once")
        _ = self.options  # says what is wrong with them

    @property
    def options(self) -> JobOptions:
        """How the backup is made."""
        return JobOptions(
            compression=self.compression,
            compression_level=self.compression_level,
            quiesce=self.quiesce,
            encryption=self.encryption,
        )


def begin_quick_backup(connection: Connection, reference: str, now: datetime) -> UUID:
    """Begin a session of one machine, in the newest job that has it; return the session's UID."""
    found, table, job = resolve(connection, reference), tables.job_object, tables.job
    if found.kind == MACHINE:
        return _begin_hosted(connection, found.reference, found.name, now)
    row = connection.execute(
        select(table)
        .join(job, job.c.uid == table.c.job_uid)
        .where(
            table.c.reference == found.reference,
            ~table.c.removed,
            table.c.role == INCLUDED,
            ~job.c.deleted,
            job.c.kind == "Backup",
        )
        .order_by(job.c.created.desc(), job.c.uid.desc())
        .limit(1)
    ).first()
    if row is None or row.kind in HOSTED:
        raise _in_no_job(found.name)
    owner = row_of(connection, job, row.job_uid)
    return open_session(connection, owner, [row], milliseconds(now), Cause.PART)


def _begin_hosted(connection: Connection, reference: str, name: str, now: datetime) -> UUID:
    """As `begin_quick_backup`, of a machine that may be in a job by its host or a tag."""
    job = tables.job
    jobs = connection.execute(
        select(job)
        .where(~job.c.deleted, job.c.kind == "Backup")
        .order_by(job.c.created.desc(), job.c.uid.desc())
    ).all()
    for owner in jobs:
        for row in expand(connection, owner.uid):
            where = locate(connection, row.reference)
            if where is not None and where.reference == reference:
                return open_session(connection, owner, [row], milliseconds(now), Cause.PART)
    raise _in_no_job(name)


def _in_no_job(name: str) -> RefusedError:
    return RefusedError(f'No job backs up the machine "{name}". Put it into one first.')


def begin_one_off(
    connection: Connection, specification: OneOffSpecification, now: datetime
) -> UUID:
    """Begin a session that makes fulls of machines apart from any job; return its UID."""
    found = [resolve(connection, reference) for reference in specification.machines]
    for each in found:
        if each.kind in ("host", "tag"):
            raise RefusedError(f'"{each.name}" is a {each.kind}. Name the machines themselves.')
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    uid = uuid4()
    options = specification.options
    check_password(connection, options)
    insert_job(
        connection,
        {
            "uid": uid,
            "name": f"VeeamZip of {found[0].name}{more}",
            "kind": "Backup",
            "description": "",
            "repository_uid": specification.repository,
            "retention": 1,
            "schedule_enabled": False,
            "options": encode_options(options),
        },
        now,
        one_off=True,
    )
    for machine in found:
        add(connection, uid, machine)
    backup = points.backup_of_job(connection, uid)
    end = removal_of(specification.remove, now)
    connection.execute(
        update(tables.backup)
        .where(tables.backup.c.uid == backup)
        .values(expires=None if end is None else milliseconds(end))
    )
    row = row_of(connection, tables.job, uid)
    return open_session(connection, row, objects_of(connection, uid), milliseconds(now), Cause.PART)


def one_off_ended(connection: Connection, session: UUID, now: datetime) -> None:
    """Let the backup of a one-off session that made no point be removed at once.

    Nothing, for any other session.
    """
    row = row_of(connection, tables.job_session, session)
    job = row_of(connection, tables.job, row.job_uid)
    if job.deleted and row.cause == Cause.PART and row.restore_point_uid is None:
        backup = tables.backup
        connection.execute(
            update(backup).where(backup.c.job_uid == job.uid).values(expires=milliseconds(now))
        )


def removal_of(keeping: Keeping, now: datetime) -> datetime | None:
    """Given how long a backup is kept, return when it is removed; None for never.

    Nights end at midnight of the server's local time; months are those of the calendar.
    """
    if keeping in _DAYS:
        return now + timedelta(days=_DAYS[keeping])
    if keeping in _MONTHS:
        return _months_later(now, _MONTHS[keeping])
    if keeping in _NIGHTS:
        day = now.astimezone().replace(tzinfo=None) + timedelta(days=_NIGHTS[keeping])
        # Without a zone, so that the offset is that of the night itself.
        return day.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(now.tzinfo)
    return None


def _months_later(moment: datetime, months: int) -> datetime:
    month = moment.month - 1 + months
    first = moment.replace(year=moment.year + month // 12, month=month % 12 + 1, day=1)
    day = first + timedelta(days=moment.day - 1)
    # The 31st, where there is none, is the last day.
    while day.month != first.month:
        day -= timedelta(days=1)
    return day
