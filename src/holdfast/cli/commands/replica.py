"""`holdfast replica`: replicas that take over and give back, over the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands.api_command import over_api
from holdfast.cli.commands.restore import uid_of_host
from holdfast.cli.errors import BadInput
from holdfast.cli.printing import new_table, print_table

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "List replicas, let them take over and give back. Holdfast must be running; the password "
        "of the account is asked for, unless the settings give it."
    ),
)

_REPLICAS = "/holdfast/v1/replicas"

#: What each operation does, for its help.
_OPERATIONS = {
    "failover": "Let a replica take over from its newest restore point.",
    "planned-failover": "Replicate, shut the source down, replicate the rest, and take over.",
    "undo-failover": "Go back to the source; what the replica wrote is gone.",
    "permanent-failover": "Make a replica that has taken over an ordinary machine.",
    "failback": (
        "Bring what differs to the source, shut the replica down, start the source. With a host, a "
        "folder or a name, a new machine there takes the source's place."
    ),
    "commit-failback": "End a failback; the replica stands ready again.",
    "undo-failback": "Go back to the replica; what the source wrote since is gone.",
}

_Replica = Annotated[
    str, typer.Argument(metavar="REPLICA", help="Name or UID of a replica, or its source's name.")
]


_Seconds = Annotated[int, typer.Option(min=1, help="How long a guest may take to shut down.")]
_Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Power a guest off then; undo a failback though its source's host is away; fail over "
        "though the source runs on another host than before.",
    ),
]


@application.command("list")
@over_api
def list_replicas(
    api: ApiClient,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the replicas, and how it stands with them."""
    found = _replicas(api)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = new_table()
    for heading in ("Replica", "Source", "State"):
        table.add_column(heading)
    for replica in found:
        more = [replica["doing"]] if replica["doing"] else []
        if replica["source_runs_on"]:
            more.append(f"source runs on {replica['source_runs_on']}")
        state = f"{replica['state']} ({', '.join(more)})" if more else replica["state"]
        table.add_row(replica["name"], replica["source"], state)
    print_table(table)


def _command(operation: str) -> Callable[..., None]:
    """Given an operation, return the command that has it done."""

    @over_api
    def command(
        api: ApiClient, replica: _Replica, seconds: _Seconds = 300, force: _Force = False
    ) -> None:
        _have_done(api, replica, operation, {"seconds": seconds, "force": force})

    return command


@over_api
def fail_back(
    api: ApiClient,
    replica: _Replica,
    seconds: _Seconds = 300,
    force: _Force = False,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="To another host: its name, URI or UID.")
    ] = "",
    folder: Annotated[
        str, typer.Option(metavar="FOLDER", help="To another folder, for the disks of the machine.")
    ] = "",
    name: Annotated[str, typer.Option(help="To a new machine of this name.")] = "",
    networks: Annotated[
        list[str] | None,
        typer.Option(
            "--network",
            metavar="OLD=NEW",
            help="Network or bridge at the other place for one of the source.",
        ),
    ] = None,
) -> None:
    """Fail back to the source or, with a host, a folder or a name, to another place."""
    body: dict[str, Any] = {"seconds": seconds, "force": force}
    if host:
        body["host"] = uid_of_host(api, host)
    body |= {key: value for key, value in (("folder", folder), ("name", name)) if value}
    if networks:
        body["networks"] = dict(map(_pair, networks))
    _have_done(api, replica, "failback", body)


def _have_done(api: ApiClient, replica: str, operation: str, body: dict[str, Any]) -> None:
    path = f"{_REPLICAS}/{_named(api, replica)['uid']}"
    note = api.have_restored(f"{path}?action={operation}", body, lambda _percent: None)
    left = [each for each in _replicas(api) if path.endswith(each["uid"])]
    for each in left:
        typer.echo(f"{each['name']}: {each['state']}. {each['failback']}".rstrip())
    if note:
        typer.echo(note)


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise BadInput(f"--network: expected OLD=NEW, not {text!r}")
    return old, new


for _operation, _text in _OPERATIONS.items():
    _made = fail_back if _operation == "failback" else _command(_operation)
    application.command(_operation, help=_text)(_made)


def _replicas(api: ApiClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(_REPLICAS)["replicas"]
    return found


def _named(api: ApiClient, text: str) -> dict[str, Any]:
    """Given a replica's name or UID, or its source's name, return it. Raise BadInput."""
    found = _replicas(api)
    for key in ("uid", "name", "source"):
        named = [each for each in found if each[key].casefold() == text.casefold()]
        if len(named) == 1:
            return named[0]
        if named:
            uids = ", ".join(each["uid"] for each in named)
            raise BadInput(
                f"REPLICA: expected the name or UID of one replica: {text!r} is the name of "
                f"{len(named)}, give the UID: {uids}"
            )
    raise BadInput(f"REPLICA: expected the name or UID of one replica, not {text!r}")
