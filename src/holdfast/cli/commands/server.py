"""`holdfast server`: a backup server alone; `holdfast server token`: what a manager needs of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import logs
from holdfast.cli.commands.options import DataOption, setting
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.server_service import serve
from holdfast.cli.settings_loading import load
from holdfast.cli.stopping import until_stopped
from holdfast.server.keys import Keys

application = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@application.callback()
def server(
    context: typer.Context,
    data: DataOption = None,  # noqa: ARG001 - all of these are read from the context
    server_host: Annotated[  # noqa: ARG001
        str | None, setting("server_host", "--server-host", "--host", metavar="ADDRESS")
    ] = None,
    server_port: Annotated[  # noqa: ARG001
        str | None, setting("server_port", "--server-port", "--port", metavar="PORT")
    ] = None,
    server_name: Annotated[  # noqa: ARG001
        str | None, setting("server_name", "--server-name", "--name", metavar="NAME")
    ] = None,
    certificate_file: Annotated[  # noqa: ARG001
        Path | None, setting("certificate_file", metavar="FILE")
    ] = None,
    key_file: Annotated[Path | None, setting("key_file", metavar="FILE")] = None,  # noqa: ARG001
    mount_idle_minutes: Annotated[  # noqa: ARG001
        str | None, setting("mount_idle_minutes", metavar="MINUTES")
    ] = None,
    repositories: Annotated[  # noqa: ARG001
        str | None, setting("repositories", metavar="NAME=DIRECTORY,...")
    ] = None,
    ready_file: Annotated[Path | None, setting("ready_file", metavar="FILE")] = None,  # noqa: ARG001
    concurrent_machines: Annotated[  # noqa: ARG001
        str | None, setting("concurrent_machines", metavar="NUMBER")
    ] = None,
    concurrent_per_repository: Annotated[  # noqa: ARG001
        str | None, setting("concurrent_per_repository", metavar="NUMBER")
    ] = None,
    concurrent_per_host: Annotated[  # noqa: ARG001
        str | None, setting("concurrent_per_host", metavar="NUMBER")
    ] = None,
    verbose: Annotated[bool | None, setting("verbose", "--verbose")] = None,  # noqa: ARG001
) -> None:
    """Start a backup server, for a manager in another place.

    The manager needs its address, the fingerprint of its certificate (printed at each start) and
    its token (printed at the first start, and by "holdfast server token").
    """
    if context.invoked_subcommand is not None:
        return
    settings = load(context.params)
    logs.configure(settings.verbose)
    directory = DataDirectory.at(settings.data)
    directory.create()
    with directory.locked():
        asyncio.run(until_stopped(serve(settings, directory)))


@application.command("token")
def token(context: typer.Context, data: DataOption = None) -> None:
    """Print the token of a backup server. Whoever has it commands the server."""
    given = data or (context.parent and context.parent.params.get("data"))
    directory = DataDirectory.at(load({"data": given}).data)
    directory.expect_server()
    typer.echo(Keys(directory.server / "keys").token())
