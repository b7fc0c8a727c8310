"""`holdfast up`: a manager and a backup server in one process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import logs
from holdfast.cli.commands.options import DataOption, setting
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.service import serve
from holdfast.cli.settings_loading import load
from holdfast.cli.stopping import until_stopped


def up(
    context: typer.Context,
    data: DataOption = None,  # noqa: ARG001 - all of these are read from the context
    https_host: Annotated[  # noqa: ARG001
        str | None, setting("https_host", "--https-host", "--host", metavar="ADDRESS")
    ] = None,
    https_port: Annotated[str | None, setting("https_port", metavar="PORT")] = None,  # noqa: ARG001
    http_host: Annotated[str | None, setting("http_host", metavar="ADDRESS")] = None,  # noqa: ARG001
    http_port: Annotated[str | None, setting("http_port", metavar="PORT")] = None,  # noqa: ARG001
    public_url: Annotated[str | None, setting("public_url", metavar="URL")] = None,  # noqa: ARG001
    certificate_file: Annotated[  # noqa: ARG001
        Path | None, setting("certificate_file", metavar="FILE")
    ] = None,
    key_file: Annotated[Path | None, setting("key_file", metavar="FILE")] = None,  # noqa: ARG001
    allowed_hosts: Annotated[str | None, setting("allowed_hosts", metavar="NAMES")] = None,  # noqa: ARG001
    repositories: Annotated[  # noqa: ARG001
        str | None, setting("repositories", metavar="NAME=DIRECTORY,...")
    ] = None,
    ready_file: Annotated[Path | None, setting("ready_file", metavar="FILE")] = None,  # noqa: ARG001
    password_file: Annotated[Path | None, setting("password_file", metavar="FILE")] = None,  # noqa: ARG001
    logon_program: Annotated[Path | None, setting("logon_program", metavar="FILE")] = None,  # noqa: ARG001
    samples: Annotated[  # noqa: ARG001
        bool | None, setting("samples", "--samples/--no-samples")
    ] = None,
    mount_idle_minutes: Annotated[  # noqa: ARG001
        str | None, setting("mount_idle_minutes", metavar="MINUTES")
    ] = None,
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
    """Start Holdfast: the API, a backup server and, the first time, two sample jobs."""
    settings = load(context.params)
    logs.configure(settings.verbose)
    directory = DataDirectory.at(settings.data)
    directory.create()
    with directory.locked():
        logs.keep_in(directory.log)
        asyncio.run(until_stopped(serve(settings, directory)))
