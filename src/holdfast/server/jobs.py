"""Jobs: made, cloned, switched, deleted. Each function runs in a writing transaction."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from holdfast.engine.repository import folder_name
from holdfast.server import tables
from holdfast.server.clock import milliseconds
from holdfast.server.names import clone_name, directory_reference, image_reference
from holdfast.server.publish_job import publish_job
from holdfast.server.refusal import RefusedError
from holdfast.server.schedule import Schedule, decode_schedule, encode_schedule
from holdfast.server.session_state import JobSessionState

LONGEST_NAME = 255


def plain_path(text: str) -> PurePosixPath:
    """Given a path, return it without doubled or final slashes, so that equal ones look equal."""
    # Two slashes at the beginning are kept by pathlib, since POSIX lets them mean something.
    return PurePosixPath("/" + text.lstrip("/")) if text.startswith("/") else PurePosixPath(text)


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A disk image or a directory to back up.

    `path` is absolute, on the server's host. `name` is what people see; by default the file's
    name without its ending, or the directory's path. `format` is the image's format: whoever
    knows it should say it, otherwise ``.raw`` and ``.qcow2`` tell, and then the image itself.
    """

    path: str
    name: str = ""
    format: Literal["raw", "qcow2"] | None = None

    def __post_init__(self) -> None:
        path = plain_path(self.path)
        if not path.is_absolute() or ".." in path.parts or "\0" in self.path:
            raise ValueError(f"the source {self.path!r} is not an absolute path")
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"a name has at most {LONGEST_NAME} characters")


class JobSpecification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job to be made.

    A `Backup` job takes disk images of machines, a `NasBackup` job directories. `retention` is
    how many restore points to keep of each.
    """

    name: str
    sources: tuple[Source, ...]
    repository: UUID
    kind: Literal["Backup", "NasBackup"] = "Backup"
    description: str = ""
    retention: int = 7
    schedule: Schedule | None = None
    schedule_enabled: bool = True

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > LONGEST_NAME:
            raise ValueError(f"a job needs a name of at most {LONGEST_NAME} characters")
        if not self.sources:
            raise ValueError("a job needs at least one source")
        if not 1 <= self.retention <= 9999:
            raise ValueError("a job keeps between 1 and 9999 restore points")
        paths = {plain_path(source.path) for source in self.sources}
        if len(paths) != len(self.sources):
            raise ValueError("each source may be given once")
        if self.kind == "NasBackup" and any(source.format for source in self.sources):
            raise ValueError("a directory has no image format")


class CloneSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """How a clone differs from its job; what is left out stays as it is."""

    name: str | None = None
    description: str | None = None
    repository: UUID | None = None


def job_in_use(connection: Connection, uid: UUID | None) -> Row[Any]:
    """Given a job's UID, return its row; refuse when there is no such job (any more)."""
    job = tables.job
    row = connection.execute(select(job).where(job.c.uid == uid, ~job.c.deleted)).first()
    if row is None:
        raise RefusedError(f"Cannot find job [{uid}].")
    return row


def running_session(connection: Connection, job_uid: UUID) -> Row[Any] | None:
    """Given a job, return the row of its session that has not stopped yet, if there is one."""
    session = tables.job_session
    return connection.execute(
        select(session).where(
            session.c.job_uid == job_uid, session.c.state != JobSessionState.STOPPED
        )
    ).first()


def create_job(connection: Connection, specification: JobSpecification, now: datetime) -> UUID:
    """Make a job; return its UID. Refuse a name in use or an unknown repository."""
    uid = uuid4()
    enabled = specification.schedule is not None and specification.schedule_enabled
    _insert(
        connection,
        {
            "uid": uid,
            "name": specification.name.strip(),
            "kind": specification.kind,
            "description": specification.description,
            "repository_uid": specification.repository,
            "retention": specification.retention,
            "schedule": encode_schedule(specification.schedule),
            "schedule_enabled": enabled,
            "next_run": _next_run(specification.schedule, now) if enabled else None,
        },
        now,
    )
    host = connection.scalars(select(tables.managed_server.c.uid)).one()
    for position, source in enumerate(specification.sources):
        connection.execute(
            insert(tables.job_object).values(
                uid=uuid4(),
                job_uid=uid,
                position=position,
                **_object(specification.kind, source, host),
            )
        )
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
    _insert(
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
            "next_run": None,
        },
        now,
    )
    job_object = tables.job_object
    for row in connection.execute(select(job_object).where(job_object.c.job_uid == original.uid)):
        copied = dict(row._mapping) | {"uid": uuid4(), "job_uid": copy_uid}
        connection.execute(insert(job_object).values(copied))
    publish_job(connection, copy_uid)
    return copy_uid, name


def toggle_schedule(connection: Connection, uid: UUID | None, now: datetime) -> bool:
    """Switch a job's schedule on or off; return whether it is on now."""
    job = job_in_use(connection, uid)
    schedule = decode_schedule(job.schedule)
    if schedule is None:
        raise RefusedError(f'Job "{job.name}" has no schedule.')
    enabled = not job.schedule_enabled
    set_next_run(connection, job.uid, _next_run(schedule, now) if enabled else None, enabled)
    return enabled


def delete_job(connection: Connection, uid: UUID | None) -> str:
    """Delete a job; return its name. Its backups and its history stay. Refused while it runs."""
    job = job_in_use(connection, uid)
    if running_session(connection, job.uid) is not None:
        raise RefusedError(f'Job "{job.name}" is running. Stop it first, then delete it.')
    connection.execute(
        update(tables.job)
        .where(tables.job.c.uid == job.uid)
        .values(deleted=True, schedule_enabled=False, next_run=None)
    )
    publish_job(connection, job.uid)
    return str(job.name)


def due_jobs(connection: Connection, now: datetime) -> list[Row[Any]]:
    """Return the jobs whose time has come, and give each its next time, counted from now."""
    job = tables.job
    due = connection.execute(
        select(job).where(job.c.schedule_enabled, job.c.next_run <= milliseconds(now))
    ).all()
    for row in due:
        schedule = decode_schedule(row.schedule)
        set_next_run(connection, row.uid, _next_run(schedule, now), True)
    return list(due)


def first_due(connection: Connection) -> int | None:
    """Return when the next scheduled run of any job is, in milliseconds; None without one."""
    job = tables.job
    first: int | None = connection.scalar(
        select(func.min(job.c.next_run)).where(job.c.schedule_enabled)
    )
    return first


def set_next_run(
    connection: Connection, uid: UUID, next_run: int | None, schedule_enabled: bool
) -> None:
    """Note when a job is due next, in milliseconds."""
    connection.execute(
        update(tables.job)
        .where(tables.job.c.uid == uid)
        .values(next_run=next_run, schedule_enabled=schedule_enabled)
    )
    publish_job(connection, uid)


def _next_run(schedule: Schedule | None, now: datetime) -> int | None:
    return None if schedule is None else milliseconds(schedule.next_run(now))


def _insert(connection: Connection, values: dict[str, Any], now: datetime) -> None:
    if not _is_free(connection, values["name"]):
        raise RefusedError(f'There is a job named "{values["name"]}" already.')
    repository = values["repository_uid"]
    known = select(tables.repository.c.uid).where(tables.repository.c.uid == repository)
    if connection.execute(known).first() is None:
        raise RefusedError(f"Cannot find repository [{repository}].")
    # The UID keeps it unique, also after the job is gone and another takes its name.
    folder = folder_name(f"{folder_name(values['name'])}-{values['uid'].hex[:8]}")
    connection.execute(
        insert(tables.job).values(**values, folder=folder, created=milliseconds(now), deleted=False)
    )


def _is_free(connection: Connection, name: str) -> bool:
    names = connection.scalars(select(tables.job.c.name).where(~tables.job.c.deleted))
    # By case folding here, since databases do not agree on what lower case is.
    return name.casefold() not in {other.casefold() for other in names}


def _free_name(connection: Connection, name: str) -> str:
    candidate, number = name, 1
    while not _is_free(connection, candidate):
        number += 1
        candidate = f"{name} {number}"
    return candidate


def _object(kind: str, source: Source, host: UUID) -> dict[str, Any]:
    path = plain_path(source.path)
    if kind == "NasBackup":
        return {
            "kind": "directory",
            "name": source.name.strip() or str(path),
            "path": str(path),
            "format": None,
            "reference": directory_reference(host, str(path)),
        }
    by_ending = {".raw": "raw", ".qcow2": "qcow2"}.get(path.suffix.lower())
    return {
        "kind": "image",
        "name": source.name.strip() or path.stem,
        "path": str(path),
        "format": source.format or by_ending,
        "reference": image_reference(host, str(path)),
    }
