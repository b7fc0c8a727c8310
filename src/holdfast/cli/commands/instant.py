"""`holdfast instant`: machines that run from their restore point, over the API."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands.api_command import over_api
from holdfast.cli.commands.restore import shown_progress, uid_of_host, uid_of_point
from holdfast.cli.errors import BadInput

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Run machines of hosts from their restore points, and move them to their own storage. "
        "Holdfast must be running; the password of the account is asked for, unless the settings "
        "give it."
    ),
)

_RECOVERIES = "/holdfast/v1/instantRecoveries"

_Machine = Annotated[
    str, typer.Argument(metavar="MACHINE", help="Name or UUID of a machine that is listed.")
]


@application.command("start")
@over_api
def start(
    api: ApiClient,
    point: Annotated[str, typer.Argument(metavar="POINT", help="UID of a restore point.")],
    to_host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Host to run it on: its name, URI or UID."),
    ] = None,
    folder: Annotated[
        str, typer.Option(metavar="FOLDER", help="Folder for what it writes and moves to.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the machine on the host.")] = "",
    new_identifiers: Annotated[
        bool, typer.Option("--new-identifiers", help="Make it another machine than the original.")
    ] = False,
) -> None:
    """Run the machine of POINT from there, within seconds. Nothing is copied."""
    body: dict[str, Any] = {"folder": folder, "name": name, "new_identifiers": new_identifiers}
    path = f"/holdfast/v1/vmRestorePoints/{uid_of_point(point)}/instantRecovery"
    if to_host is not None:
        body["host"] = uid_of_host(api, to_host)
    before = {each["uid"] for each in _recoveries(api)}
    note = api.have_restored(path, body, lambda _percent: None)
    for each in _recoveries(api):
        if each["uid"] not in before:
            typer.echo(f"{each['name']} runs on {each['host_name']}")
    if note:
        typer.echo(note)


@application.command("list")
@over_api
def list_machines(
    api: ApiClient,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the machines that run from a restore point."""
    found = _recoveries(api)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for each in found:
        percent = "" if each["progress"] is None else f" ({each['progress']} %)"
        typer.echo(f"{each['name']}\t{each['host_name']}\t{each['state']}{percent}\t{each['uuid']}")


@application.command("migrate")
@over_api
def migrate(
    api: ApiClient,
    machine: _Machine,
) -> None:
    """Move a machine to its own storage, while it runs or is off; it needs the backup no more.

    One that is off cannot be powered on before it has moved.
    """
    with shown_progress("Migrating") as advance:
        found = _named(api, machine)
        path = f"{_RECOVERIES}/{found['uid']}?action=migrate"
        api.have_restored(path, {}, lambda percent: advance(percent / 100))
    typer.echo(f"{found['name']} has moved to its own storage")


@application.command("discard")
@over_api
def discard(
    api: ApiClient,
    machine: _Machine,
) -> None:
    """Power a machine off and take it away, with all that it has written."""
    found = _named(api, machine)
    api.have_restored(f"{_RECOVERIES}/{found['uid']}?action=discard", {}, lambda _percent: None)
    typer.echo(f"{found['name']} discarded")


def _recoveries(api: ApiClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(_RECOVERIES)["recoveries"]
    return found


def _named(api: ApiClient, text: str) -> dict[str, Any]:
    found = [
        each
        for each in _recoveries(api)
        if text == each["name"] or text.lower() in (each["uuid"], each["uid"])
    ]
    if len(found) != 1:
        which = "several machines have this name" if found else "it is not listed"
        raise BadInput(f"MACHINE: expected the name or UUID of a machine, not {text!r}: {which}")
    return found[0]
