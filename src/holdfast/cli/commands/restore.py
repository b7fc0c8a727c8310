"""`holdfast restore`: a restore point back into a file or a directory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from holdfast.cli.commands.options import DataOption
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.errors import BadInput
from holdfast.cli.settings_loading import load
from holdfast.engine import progress
from holdfast.schema.naming import guid_of
from holdfast.server.restore import Restored, restore_point


def restore(
    point: Annotated[str, typer.Argument(metavar="POINT", help="UID of a restore point.")],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="File or directory to make there.")
    ],
    data: DataOption = None,
    image_format: Annotated[
        Literal["raw", "qcow2"], typer.Option("--format", help="Format of a disk image.")
    ] = "raw",
    force: Annotated[
        bool, typer.Option("--force", help="Restore a damaged point, too: what can be read of it.")
    ] = False,
) -> None:
    """Restore a point to TARGET, which must not exist. Holdfast may be running or not.

    The points are listed by "holdfast points". The point of a machine makes a file (a disk image)
    or a directory; a restore point of the API with several machines makes a directory of them.
    """
    directory = DataDirectory.at(load({"data": data}).data)
    directory.expect_server()
    restored = asyncio.run(
        _restore(directory, _uid(point), target.expanduser().absolute(), image_format, force)
    )
    for one in restored:
        typer.echo(f"{one.machine} restored to {one.path}")


async def _restore(
    directory: DataDirectory, uid: UUID, target: Path, image_format: str, force: bool
) -> list[Restored]:
    console = Console(stderr=True)
    columns = (TextColumn("Restoring"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        bar = shown.add_task("", total=1.0)

        def advance(done: progress.Progress) -> None:
            shown.update(bar, completed=done.fraction)

        return await restore_point(
            directory.server,
            uid,
            target,
            image_format=image_format,
            force=force,
            on_progress=advance,
        )


def _uid(text: str) -> UUID:
    try:
        return guid_of(text)
    except ValueError:
        expected = "expected the UID of a restore point, as holdfast points lists them"
        raise BadInput(f"POINT: {expected}, not {text!r}") from None
