"""The operations of commands: what each does to the rows, in a writing transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select

from holdfast.representation.struct_reading import MismatchError, read_struct
from holdfast.server import copy_links, job_edit, jobs, sessions, tables
from holdfast.server.clock import milliseconds
from holdfast.server.job_lookup import job_in_use, running_session
from holdfast.server.job_schedules import toggle_schedule
from holdfast.server.job_specification import (
    CloneSpecification,
    Included,
    JobEdit,
    JobSpecification,
    is_copy,
)
from holdfast.server.messages import Command, Made
from holdfast.server.names import session_name
from holdfast.server.part_backup import OneOffSpecification, begin_one_off, begin_quick_backup
from holdfast.server.publish import job_session_type, row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.session_start import begin_retry, begin_session
from holdfast.server.session_state import Cause, JobSessionState

T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """What a command has done to the rows, and what is still to be done when they are written."""

    message: str = "Ok"
    made: Made | None = None
    launch: UUID | None = None
    interrupt: UUID | None = None
    then: Callable[[], None] | None = None
    #: What the outcome is told by in the end: see `awaited.conclude`.
    awaits: UUID | None = None


#: What a command does to the rows, in a writing transaction, at a moment. May refuse.
Operation = Callable[[Connection, Command, datetime], Done]

#: For a command that must look at things outside the database first: gives what it then does.
Preparation = Callable[[Command], Awaitable[Operation]]


class _Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine, by its hierarchy reference."""

    machine: str


class _LinkedJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job that a copy job is to copy from."""

    job: UUID


class _LinkedRepository(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository that a copy job is to copy from."""

    repository: UUID


def _start_job(connection: Connection, command: Command, now: datetime) -> Done:
    return _launched(connection, begin_session(connection, command.target, milliseconds(now)))


def _sync_job(connection: Connection, command: Command, now: datetime) -> Done:
    job = job_in_use(connection, command.target)
    if not is_copy(job.kind):
        raise RefusedError(f'Job "{job.name}" is no copy job. It can be started.')
    return _start_job(connection, command, now)


def _check_job(connection: Connection, command: Command, now: datetime) -> Done:
    session = begin_session(connection, command.target, milliseconds(now), Cause.CHECK)
    return _launched(connection, session)


def _retry_job(connection: Connection, command: Command, now: datetime) -> Done:
    return _launched(connection, begin_retry(connection, command.target, milliseconds(now)))


def _quick_backup(connection: Connection, command: Command, now: datetime) -> Done:
    wanted = read_arguments(command, _Machine)
    return _launched(connection, begin_quick_backup(connection, wanted.machine, now))


def _one_off_backup(connection: Connection, command: Command, now: datetime) -> Done:
    specification = read_arguments(command, OneOffSpecification)
    return _launched(connection, begin_one_off(connection, specification, now))


def _launched(connection: Connection, uid: UUID) -> Done:
    row = row_of(connection, tables.job_session, uid)
    name = session_name(row.job_name, row.created)
    return Done(made=Made(type=job_session_type(row.job_kind), uid=uid, name=name), launch=uid)


def _stop_job(connection: Connection, command: Command, _now: datetime) -> Done:
    job = job_in_use(connection, command.target)
    running = running_session(connection, job.uid)
    if running is None:
        raise RefusedError(f'Job "{job.name}" is not running.')
    return _stop(connection, running.uid, command)


def _stop_session(connection: Connection, command: Command, _now: datetime) -> Done:
    table = tables.job_session
    row = connection.execute(select(table).where(table.c.uid == command.target)).first()
    if row is None:
        raise RefusedError(f"Cannot find backup session [{command.target}].")
    if row.state == JobSessionState.STOPPED:
        name = session_name(row.job_name, row.created)
        raise RefusedError(f'Session "{name}" has ended already.')
    return _stop(connection, row.uid, command)


def _stop(connection: Connection, session: UUID, command: Command) -> Done:
    by = f" by {command.asked_by}" if command.asked_by else ""
    sessions.request_stop(connection, session, f"The session was stopped{by}.")
    return Done(interrupt=session)


def _clone_job(connection: Connection, command: Command, now: datetime) -> Done:
    specification = read_arguments(command, CloneSpecification)
    uid, name = jobs.clone_job(connection, command.target, specification, now)
    return Done(made=Made(type="Job", uid=uid, name=name))


def _toggle_schedule(connection: Connection, command: Command, now: datetime) -> Done:
    toggle_schedule(connection, command.target, now)
    return Done()


def _delete_job(connection: Connection, command: Command, _now: datetime) -> Done:
    jobs.delete_job(connection, command.target)
    return Done()


def _create_job(connection: Connection, command: Command, now: datetime) -> Done:
    specification = read_arguments(command, JobSpecification)
    uid = jobs.create_job(connection, specification, now)
    return Done(made=Made(type="Job", uid=uid, name=specification.name.strip()))


def _edit_job(connection: Connection, command: Command, now: datetime) -> Done:
    job_edit.edit_job(connection, command.target, read_arguments(command, JobEdit), now)
    return Done()


def _add_object(connection: Connection, command: Command, _now: datetime) -> Done:
    job_edit.add_object(connection, command.target, read_arguments(command, Included))
    return Done()


def _remove_object(connection: Connection, command: Command, _now: datetime) -> Done:
    job_edit.remove_object(connection, command.target)
    return Done()


def _add_linked_job(connection: Connection, command: Command, now: datetime) -> Done:
    linked = read_arguments(command, _LinkedJob).job
    job_edit.add_link(connection, command.target, copy_links.JOBS, linked, now)
    return Done()


def _add_linked_repository(connection: Connection, command: Command, now: datetime) -> Done:
    linked = read_arguments(command, _LinkedRepository).repository
    job_edit.add_link(connection, command.target, copy_links.REPOSITORIES, linked, now)
    return Done()


def _remove_linked_job(connection: Connection, command: Command, _now: datetime) -> Done:
    job_edit.remove_link(connection, command.target, copy_links.JOBS)
    return Done()


def _remove_linked_repository(connection: Connection, command: Command, _now: datetime) -> Done:
    job_edit.remove_link(connection, command.target, copy_links.REPOSITORIES)
    return Done()


def read_arguments(command: Command, wanted: type[T]) -> T:
    """Return a command's arguments as the type they should have; refuse what does not fit."""
    try:
        return read_struct(command.arguments, wanted)
    except MismatchError as error:
        raise RefusedError(f"{error}.") from None


#: The operations of jobs and job sessions.
OPERATIONS: Mapping[str, Operation] = {
    "start-job": _start_job,
    "stop-job": _stop_job,
    "retry-job": _retry_job,
    "check-job": _check_job,
    "clone-job": _clone_job,
    "toggle-schedule": _toggle_schedule,
    "delete-job": _delete_job,
    "stop-session": _stop_session,
    "create-job": _create_job,
    "edit-job": _edit_job,
    "add-object": _add_object,
    "remove-object": _remove_object,
    "add-linked-job": _add_linked_job,
    "remove-linked-job": _remove_linked_job,
    "add-linked-repository": _add_linked_repository,
    "remove-linked-repository": _remove_linked_repository,
    "sync-job": _sync_job,
    "quick-backup": _quick_backup,
    "one-off-backup": _one_off_backup,
}
