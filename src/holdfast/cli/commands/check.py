"""`holdfast check`: every file in the backup of a job is read, by the Holdfast that runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands.api_command import over_api
from holdfast.cli.commands.restore import shown_progress
from holdfast.cli.errors import BadInput, Failure


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
        path = f"/holdfast/v1/jobs/{_named_job(api, job)['uid']}/check"
        session = api.have_run(
            path, {}, "BackupJobSession", "/backupSessions", lambda done: advance(done / 100)
        )
        tasks = api.get(f"/backupSessions/{session['uid']}/taskSessions?format=Entity")
    for task in tasks["BackupTaskSessions"]:
        typer.echo(f"{task['VmDisplayName']}: {task['Reason']}")
    if session["Result"] != "Success":
        raise Failure(session.get("FailureMessage") or "not everything could be checked")


def _named_job(api: ApiClient, text: str) -> dict[str, Any]:
    """Given the name or UID of a job, return it. Raise BadInput when there is none."""
    jobs: list[dict[str, Any]] = api.get("/holdfast/v1/jobs")["jobs"]
    for job in jobs:
        if text.casefold() in (job["name"].casefold(), job["uid"]):
            return job
    raise BadInput(f"JOB: expected the name or UID of a job, not {text!r}")
