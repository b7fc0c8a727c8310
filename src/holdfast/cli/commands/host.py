"""`holdfast host`: the hosts of virtual machines, over the API of the Holdfast that runs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from holdfast.cli.api_client import ApiClient, logged_on
from holdfast.cli.commands.options import (
    DataOption,
    PasswordFileOption,
    PortOption,
    ReadyFileOption,
    settings_of,
)
from holdfast.cli.errors import BadInput
from holdfast.cli.passwords import ADMINISTRATOR

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Add, list, rescan and remove hosts of virtual machines. Holdfast must be running; the "
        "password of an administrator is asked for, unless the settings give it."
    ),
)

_HOSTS = "/holdfast/v1/hosts"
# No terminal, no width: rows are then never broken or cut.
_UNLIMITED = 10_000

_User = Annotated[str, typer.Option(help="Name of an administrator's account.")]
_Host = Annotated[str, typer.Argument(metavar="HOST", help="Name, URI or UID of a host.")]


@application.command("add")
def add(
    context: typer.Context,
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
    user: _User = ADMINISTRATOR,
    data: DataOption = None,  # noqa: ARG001 - these are read from the context
    http_port: PortOption = None,  # noqa: ARG001
    ready_file: ReadyFileOption = None,  # noqa: ARG001
    password_file: PasswordFileOption = None,  # noqa: ARG001
) -> None:
    """Add the host at URI, if it answers."""
    wanted = {"uri": uri, "name": name, "description": description}
    optional = {"credentials": credentials, "staging": staging, "server": server}
    body = wanted | {key: value for key, value in optional.items() if value is not None}
    with logged_on(settings_of(context), user) as api:
        before = {host["uid"] for host in _hosts(api)}
        api.have_done("POST", _HOSTS, body)
        for host in _hosts(api):
            if host["uid"] not in before:
                typer.echo(f"{host['name']} added: {_versions(host)}")


@application.command("list")
def list_hosts(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    user: _User = ADMINISTRATOR,
    data: DataOption = None,  # noqa: ARG001 - these are read from the context
    http_port: PortOption = None,  # noqa: ARG001
    ready_file: ReadyFileOption = None,  # noqa: ARG001
    password_file: PasswordFileOption = None,  # noqa: ARG001
) -> None:
    """List the hosts, with what was last found there."""
    with logged_on(settings_of(context), user) as api:
        found = _hosts(api)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    console.print(_table(found))


@application.command("remove")
def remove(
    context: typer.Context,
    host: _Host,
    user: _User = ADMINISTRATOR,
    data: DataOption = None,  # noqa: ARG001 - these are read from the context
    http_port: PortOption = None,  # noqa: ARG001
    ready_file: ReadyFileOption = None,  # noqa: ARG001
    password_file: PasswordFileOption = None,  # noqa: ARG001
) -> None:
    """Remove a host, unless a job has something of it. Its restore points stay."""
    with logged_on(settings_of(context), user) as api:
        found = named_host(api, host)
        api.have_done("DELETE", f"{_HOSTS}/{found['uid']}")
    typer.echo(f"{found['name']} removed")


@application.command("rescan")
def rescan(
    context: typer.Context,
    host: _Host,
    user: _User = ADMINISTRATOR,
    data: DataOption = None,  # noqa: ARG001 - these are read from the context
    http_port: PortOption = None,  # noqa: ARG001
    ready_file: ReadyFileOption = None,  # noqa: ARG001
    password_file: PasswordFileOption = None,  # noqa: ARG001
) -> None:
    """Look at a host now, and list its machines."""
    with logged_on(settings_of(context), user) as api:
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
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("Host", "URI", "State", "Found there", "Reference"):
        table.add_column(heading, no_wrap=heading == "Reference")
    for host in found:
        state = ": ".join(filter(None, (host["state"], host["reason"])))
        table.add_row(host["name"], host["uri"], state, _versions(host), host["reference"])
    return table
