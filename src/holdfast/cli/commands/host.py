"""`holdfast host`: the hosts of virtual machines, over the API of the Holdfast that runs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands.api_command import over_api
from holdfast.cli.errors import BadInput
from holdfast.cli.printing import new_table, print_table

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Add, list, rescan and remove hosts of virtual machines. Holdfast must be running; the "
        "password of an administrator is asked for, unless the settings give it."
    ),
)

_HOSTS = "/holdfast/v1/hosts"

_Host = Annotated[str, typer.Argument(metavar="HOST", help="Name, URI or UID of a host.")]


@application.command("add")
@over_api
def add(
    api: ApiClient,
    uri: Annotated[
        str, typer.Argument(metavar="URI", help="Connection URI, such as qemu:///system.")
    ],
    name: Annotated[str, typer.Option(help="Name to show; by default the host's own.")] = "",
    description: Annotated[str, typer.Option(help="What people should know of it.")] = "",
    credentials: Annotated[
        str | None, typer.Option(metavar="UID", help="Credentials, where the host asks for them.")
    ] = None,
    staging: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Folder both QEMU there and Holdfast can write to."),
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="UID", help="Backup server, where there are several.")
    ] = None,
) -> None:
    """Add the host at URI, if it answers."""
    wanted = {"uri": uri, "name": name, "description": description}
    optional = {"credentials": credentials, "staging": staging, "server": server}
    body = wanted | {key: value for key, value in optional.items() if value is not None}
    before = {host["uid"] for host in _hosts(api)}
    api.have_done("POST", _HOSTS, body)
    for host in _hosts(api):
        if host["uid"] not in before:
            typer.echo(f"{host['name']} added: {_versions(host)}")


@application.command("list")
@over_api
def list_hosts(
    api: ApiClient,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the hosts, with what was last found there."""
    found = _hosts(api)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    print_table(_table(found))


@application.command("remove")
@over_api
def remove(
    api: ApiClient,
    host: _Host,
) -> None:
    """Remove a host, unless a job has something of it. Its restore points stay."""
    found = named_host(api, host)
    api.have_done("DELETE", f"{_HOSTS}/{found['uid']}")
    typer.echo(f"{found['name']} removed")


@application.command("rescan")
@over_api
def rescan(
    api: ApiClient,
    host: _Host,
) -> None:
    """Look at a host now, and list its machines."""
    path = f"{_HOSTS}/{named_host(api, host)['uid']}"
    api.have_done("POST", f"{path}/rescan")
    machines = [each for each in api.get(path)["objects"] if each["type"] == "Vm"]
    for each in machines:
        typer.echo(f"{each['name']}\t{each['reference']}")


def _hosts(api: ApiClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(_HOSTS)["hosts"]
    return found


def named_host(api: ApiClient, text: str) -> dict[str, Any]:
    """Given the name, URI or UID of a host, return it. Raise BadInput when there is none."""
    for host in _hosts(api):
        if text.casefold() in (host["name"].casefold(), host["uri"].casefold(), host["uid"]):
            return host
    raise BadInput(f"HOST: expected the name, URI or UID of a host, not {text!r}")


def _versions(host: dict[str, Any]) -> str:
    acceleration = "KVM" if host["acceleration"] == "kvm" else "no KVM"
    return f"QEMU {host['hypervisor']}, libvirt {host['library']}, {acceleration}"


def _table(found: list[dict[str, Any]]) -> Table:
    table = new_table()
    for heading in ("Host", "URI", "State", "Found there", "Reference"):
        table.add_column(heading, no_wrap=heading == "Reference")
    for host in found:
        state = ": ".join(filter(None, (host["state"], host["reason"])))
        table.add_row(host["name"], host["uri"], state, _versions(host), host["reference"])
    return table
