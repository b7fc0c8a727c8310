"""`holdfast check`: every file in the backup of a job is read, by the Holdfast that runs."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands.api_command import over_api
from holdfast.cli.commands.job import have_run, named_job
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
    found = named_job(api, job)
    session = have_run(api, found, f"/holdfast/v1/jobs/{found['uid']}/check", "Checking")
    if session["Result"] != "Success":
        raise Failure(session.get("FailureMessage") or "not everything could be checked")
