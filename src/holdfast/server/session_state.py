"""The states of sessions and which may follow which. Everything else is a bug, and refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class JobSessionState(StrEnum):
    """The states of a job session that this server uses."""

    STARTING = "Starting"
    WORKING = "Working"
    STOPPING = "Stopping"
    STOPPED = "Stopped"


class TaskSessionState(StrEnum):
    """The states of a task session."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"


class Result(StrEnum):
    """How a session ended; `NONE` while it runs."""

    NONE = "None"
    SUCCESS = "Success"
    WARNING = "Warning"
    FAILED = "Failed"


class Cause(StrEnum):
    """Who or what began a job session.

    `PART` is a backup of single machines of the job, asked for by a person; `CHECK` a check of
    what the job has backed up, asked for by a person.
    """

    PERSON = "Person"
    PART = "Part"
    SCHEDULE = "Schedule"
    RETRY = "Retry"
    CHECK = "Check"


#: Sessions that are not the job's own work: they decide nothing about what it does next.
ASIDE = frozenset({Cause.PART, Cause.CHECK})


JOB_SESSION_TRANSITIONS: Mapping[JobSessionState, frozenset[JobSessionState]] = {
    JobSessionState.STARTING: frozenset(
        {JobSessionState.WORKING, JobSessionState.STOPPING, JobSessionState.STOPPED}
    ),
    JobSessionState.WORKING: frozenset({JobSessionState.STOPPING, JobSessionState.STOPPED}),
    JobSessionState.STOPPING: frozenset({JobSessionState.STOPPED}),
    JobSessionState.STOPPED: frozenset(),
}

TASK_SESSION_TRANSITIONS: Mapping[TaskSessionState, frozenset[TaskSessionState]] = {
    TaskSessionState.PENDING: frozenset({TaskSessionState.IN_PROGRESS, TaskSessionState.COMPLETED}),
    TaskSessionState.IN_PROGRESS: frozenset({TaskSessionState.COMPLETED}),
    TaskSessionState.COMPLETED: frozenset(),
}


class IllegalTransitionError(Exception):
    """A session was to go from one state to another that may not follow it."""

    def __init__(self, before: str, after: str) -> None:
        super().__init__(f"A session that is {before} cannot become {after}.")


def check_job_session(before: str, after: JobSessionState) -> None:
    """Raise IllegalTransitionError unless a job session may go from one state to the other."""
    if after not in JOB_SESSION_TRANSITIONS[JobSessionState(before)]:
        raise IllegalTransitionError(before, after)


def check_task_session(before: str, after: TaskSessionState) -> None:
    """Raise IllegalTransitionError unless a task session may go from one state to the other."""
    if after not in TASK_SESSION_TRANSITIONS[TaskSessionState(before)]:
        raise IllegalTransitionError(before, after)


def overall_result(results: Iterable[Result]) -> Result:
    """Given the results of the machines, return that of their session: the worst of them."""
    found = set(results)
    if Result.FAILED in found:
        return Result.FAILED
    return Result.WARNING if Result.WARNING in found else Result.SUCCESS
