"""`holdfast restore`: a restore point back into files, or as a machine to a host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from holdfast.cli.api_client import ApiClient, logged_on
from holdfast.cli.commands.host import named_host
from holdfast.cli.commands.options import (
    DataOption,
    PasswordFileOption,
    PortOption,
    ReadyFileOption,
    UserOption,
    settings_of,
)
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.errors import BadInput
from holdfast.cli.passwords import ADMINISTRATOR
from holdfast.cli.settings_loading import load
from holdfast.engine import progress
from holdfast.schema.naming import guid_of

if TYPE_CHECKING:
    from holdfast.server.restore import Restored


def restore(
    context: typer.Context,
    point: Annotated[str, typer.Argument(metavar="POINT", help="UID of a restore point.")],
    target: Annotated[
        Path | None, typer.Argument(metavar="[TARGET]", help="File or directory to make there.")
    ] = None,
    data: DataOption = None,
    image_format: Annotated[
        Literal["raw", "qcow2", "vmdk"], typer.Option("--format", help="Format of a disk image.")
    ] = "raw",
    force: Annotated[
        bool, typer.Option("--force", help="Restore a damaged point, too: what can be read of it.")
    ] = False,
    disks: Annotated[
        list[str] | None,
        typer.Option("--disk", metavar="NAME", help="Disk of a host's machine, such as vda."),
    ] = None,
    to_host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Host to restore a machine to: its name, URI or UID."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Restore over the machine, which must be off.")
    ] = False,
    folder: Annotated[
        str, typer.Option(metavar="FOLDER", help="Folder for the disks of a machine on a host.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the machine on the host.")] = "",
    new_identifiers: Annotated[
        bool, typer.Option("--new-identifiers", help="Make it another machine than the original.")
    ] = False,
    power_on: Annotated[bool, typer.Option("--power-on", help="Power it on after.")] = False,
    user: UserOption = ADMINISTRATOR,
    http_port: PortOption = None,  # noqa: ARG001 - these are read from the context
    ready_file: ReadyFileOption = None,  # noqa: ARG001
    password_file: PasswordFileOption = None,  # noqa: ARG001
) -> None:
    """Restore a point to TARGET, which must not exist. Holdfast may be running or not.

    The points are listed by "holdfast points". The point of a machine makes a file (a disk image)
    or a directory; a restore point of the API with several machines makes a directory of them.
    That of a machine of a host always makes a directory, also for one --disk: TARGET/vda.raw for
    each disk, and TARGET/NAME.xml with the definition unless disks were chosen.

    With --to-host or --in-place, a machine of a host is restored to a host, by the Holdfast that
    runs; the password of the account is asked for, unless the settings give it.
    """
    uid = uid_of_point(point)
    if to_host is None and not in_place:
        if target is None:
            raise BadInput("TARGET: expected the file or directory to make, or --to-host")
        for option, given in (
            ("--folder", folder),
            ("--name", name),
            ("--new-identifiers", new_identifiers),
            ("--power-on", power_on),
        ):
            if given:
                raise BadInput(f"{option}: this is for a machine on a host; give --to-host, too")
        _to_files(data, uid, target, image_format, disks or [], force)
        return
    if target is not None:
        raise BadInput("TARGET: a machine on a host has its disks in --folder")
    body: dict[str, Any] = {
        "in_place": in_place,
        "folder": folder,
        "name": name,
        "new_identifiers": new_identifiers,
        "power_on": power_on,
        "disks": disks or None,
        "force": force,
    }
    with logged_on(settings_of(context), user) as api, shown_progress("Restoring") as advance:
        if to_host is not None:
            body["host"] = uid_of_host(api, to_host)
        path = f"/holdfast/v1/vmRestorePoints/{uid}/restore"
        note = api.have_restored(path, body, lambda percent: advance(percent / 100))
    typer.echo(" ".join(filter(None, ("Restored.", note))))


def uid_of_point(text: str) -> UUID:
    """Given the UID of a restore point as a person wrote it, return it. Raise BadInput."""
    try:
        return guid_of(text)
    except ValueError:
        expected = "expected the UID of a restore point, as holdfast points lists them"
        raise BadInput(f"POINT: {expected}, not {text!r}") from None


def uid_of_host(api: ApiClient, text: str) -> str:
    """Given the name, URI or UID of a host, return its UID. Raise BadInput."""
    try:
        # Who may restore may not always see the hosts.
        return str(guid_of(text))
    except ValueError:
        return str(named_host(api, text)["uid"])


@contextmanager
def shown_progress(doing: str) -> Iterator[Callable[[float], None]]:
    """Show how far something is on a terminal; the block tells the fraction that is done."""
    console = Console(stderr=True)
    columns = (TextColumn(doing), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        bar = shown.add_task("", total=1.0)
        yield lambda fraction: shown.update(bar, completed=fraction)


def _to_files(
    data: Path | None, uid: UUID, target: Path, image_format: str, disks: list[str], force: bool
) -> None:
    directory = DataDirectory.at(load({"data": data}).data)
    directory.expect_server()
    place = target.expanduser().absolute()
    for one in asyncio.run(_restore(directory, uid, place, image_format, disks, force)):
        typer.echo(f"{one.machine} restored to {one.path}")
        if one.note:
            typer.echo(one.note, err=True)


async def _restore(
    directory: DataDirectory,
    uid: UUID,
    target: Path,
    image_format: str,
    disks: list[str],
    force: bool,
) -> list[Restored]:
    # With it comes most of a backup server, which no command needs that asks the API.
    from holdfast.server.restore import restore_point

    with shown_progress("Restoring") as show:

        def advance(done: progress.Progress) -> None:
            show(done.fraction)

        return await restore_point(
            directory.server,
            uid,
            target,
            image_format=image_format,
            disks=disks,
            force=force,
            on_progress=advance,
        )
