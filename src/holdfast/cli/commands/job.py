"""`holdfast job`: jobs, over the API of the Holdfast that runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands.api_command import over_api
from holdfast.cli.commands.restore import shown_progress
from holdfast.cli.errors import BadInput, Failure
from holdfast.cli.printing import new_table, print_table

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "List, show, create, edit and start jobs. Holdfast must be running; the password of an "
        "administrator is asked for, unless the settings give it."
    ),
)

_JOBS = "/holdfast/v1/jobs"

_Job = Annotated[str, typer.Argument(metavar="JOB", help="Name or UID of a job.")]


@application.command("list")
@over_api
def list_jobs(
    api: ApiClient,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the jobs, and what they keep."""
    found = _jobs(api)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = new_table()
    for heading in ("Job", "Kind", "Keeps", "Scheduled"):
        table.add_column(heading)
    for job in found:
        days = job["retention_days"]
        keeps = f"{job['retention']} points" if days is None else f"{days} days"
        long = " and longer" if "gfs" in job["options"] else ""
        scheduled = "yes" if job["schedule_enabled"] else "no"
        table.add_row(job["name"], job["kind"], keeps + long, scheduled)
    print_table(table)


@application.command("show")
@over_api
def show(api: ApiClient, job: _Job) -> None:
    """Write all that is known of a job, as JSON."""
    typer.echo(json.dumps(named_job(api, job), indent=2))


@application.command("create")
@over_api
def create(
    api: ApiClient,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A job as a JSON object; - for standard input.")
    ],
) -> None:
    """Create the job that FILE describes, as the API would take it."""
    wanted = _object_in(file)
    api.have_done("POST", _JOBS, wanted)
    typer.echo(f"{wanted.get('name')} created")


@application.command("edit")
@over_api
def edit(
    api: ApiClient,
    job: _Job,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help=(
                "What a field is to be, as JSON or plain text; null for nothing. An option, or a "
                "part of one, has dots: options.gfs.weekly.keep=4. Can be given several times."
            ),
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What changes as a JSON object; - for standard input."),
    ] = None,
) -> None:
    """Change a job; what is not said stays as it is."""
    found = named_job(api, job)
    edited = {} if file is None else _object_in(file)
    for change in changes or ():
        _apply(edited, found, change)
    if not edited:
        raise BadInput("expected --set or --file, which say what is to change")
    api.have_done("PUT", f"{_JOBS}/{found['uid']}", edited)
    typer.echo(f"{edited.get('name', found['name'])} changed")


@application.command("start")
@over_api
def start(api: ApiClient, job: _Job) -> None:
    """Start a job and wait for its end.

    How it ended is written for each machine. When the job has failed, the exit code is 1. Without
    waiting, POST /api/jobs/{ID}?action=start starts it.
    """
    found = named_job(api, job)
    session = have_run(api, found, f"/jobs/{found['uid']}?action=start", "Running")
    if session["Result"] == "Failed":
        raise Failure(session.get("FailureMessage") or f"{found['name']} failed")
    typer.echo(f"{found['name']} ended: {session['Result']}")


def have_run(api: ApiClient, job: dict[str, Any], path: str, doing: str) -> dict[str, Any]:
    """Ask for a session of a job and wait for its end; write how it was with each machine.

    Return the session's document.
    """
    what = "replica" if job["kind"] == "Replica" else "backup"
    tasks_of = "taskSessions" if what == "backup" else "replicaTaskSessions"
    kind, sessions = f"{what.capitalize()}JobSession", f"/{what}Sessions"
    with shown_progress(doing) as advance:
        session = api.have_run(path, {}, kind, sessions, lambda done: advance(done / 100))
        tasks = api.get(f"{sessions}/{session['uid']}/{tasks_of}?format=Entity")
    for task in tasks[f"{what.capitalize()}TaskSessions"]:
        typer.echo(f"{task['VmDisplayName']}: {task.get('Reason') or task['Result']}")
    return session


def named_job(api: ApiClient, text: str) -> dict[str, Any]:
    """Given the name or UID of a job, return it. Raise BadInput when there is none."""
    for job in _jobs(api):
        if text.casefold() in (job["name"].casefold(), job["uid"]):
            return job
    raise BadInput(f"JOB: expected the name or UID of a job, not {text!r}")


def _jobs(api: ApiClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(_JOBS)["jobs"]
    return found


def _apply(edited: dict[str, Any], job: dict[str, Any], change: str) -> None:
    """Put a change such as options.bandwidth=1000000 into what is sent of a job."""
    path, equals, text = change.partition("=")
    names = path.split(".")
    if not equals or not all(names):
        raise BadInput(f"--set: expected FIELD=VALUE, not {change!r}")
    if len(names) > 1 and names[0] != "options":
        raise BadInput(f"--set: {names[0]} is given whole, as JSON; only options have parts")
    inside = edited
    if len(names) > 1:
        # All options are sent, since all of them are replaced.
        edited.setdefault("options", job["options"])
    for name in names[:-1]:
        if not isinstance(inside.get(name), dict):
            inside[name] = {}
        inside = inside[name]
    value = _value(text)
    if value is None and len(names) > 1:
        inside.pop(names[-1], None)
    else:
        inside[names[-1]] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _object_in(file: str) -> dict[str, Any]:
    """Return the JSON object in a file, or on standard input. Raise BadInput."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        found = json.loads(text)
    except OSError as error:
        raise BadInput(f"FILE: {file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise BadInput(f"FILE: {file} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"FILE: expected a JSON object in {file}")
    return found
