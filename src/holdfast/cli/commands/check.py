"""`holdfast check`: every file in the backup of a job is read, by the Holdfast that runs."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands.api_command import over_api
from holdfast.cli.commands.job import named_job
from holdfast.cli.commands.restore import shown_progress
from holdfast.cli.errors import Failure


@over_api
def check(
    api: ApiClient,
    job: Annotated[str, typer.Argument(metavar="JOB", help="Name or UID of a job.")],
) -> None:
    """Read every file that a job has backed up, and compare it with its checksum.

    What is damaged is listed, and the exit code is 1. A machine whose newest point is damaged is
    backed up at once, from nothing. The password of an administrator is asked for, unless the
    settings give it.
    """
    with shown_progress("Checking") as advance:
        found = named_job(api, job)
        what = "replica" if found["kind"] == "Replica" else "backup"
        tasks_of = "taskSessions" if what == "backup" else "replicaTaskSessions"
        kind, sessions = f"{what.capitalize()}JobSession", f"/{what}Sessions"
        path = f"/holdfast/v1/jobs/{found['uid']}/check"
        session = api.have_run(path, {}, kind, sessions, lambda done: advance(done / 100))
        tasks = api.get(f"{sessions}/{session['uid']}/{tasks_of}?format=Entity")
    for task in tasks[f"{what.capitalize()}TaskSessions"]:
        typer.echo(f"{task['VmDisplayName']}: {task['Reason']}")
    if session["Result"] != "Success":
        raise Failure(session.get("FailureMessage") or "not everything could be checked")
