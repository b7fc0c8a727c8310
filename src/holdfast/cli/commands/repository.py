"""`holdfast repository`: repositories, over the API of the Holdfast that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands.api_command import over_api
from holdfast.cli.errors import BadInput, Failure
from holdfast.cli.passwords import asked, first_line_of

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Make known what is in a repository. Holdfast must be running; the password of an "
        "administrator is asked for, unless the settings give it."
    ),
)


@application.callback()
def _options() -> None:
    """Make known what is in a repository."""


@application.command("import")
@over_api
def import_repository(
    api: ApiClient,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder with holdfast-repository.json in it.")
    ],
    name: Annotated[str, typer.Option(help="Name to show; by default the folder's.")] = "",
    repository_password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Password of the backups of directories in it."),
    ] = None,
    ask_repository_password: Annotated[
        bool, typer.Option("--ask-repository-password", help="Ask for that password.")
    ] = False,
    server: Annotated[
        str | None, typer.Option(metavar="UID", help="Backup server, where there are several.")
    ] = None,
) -> None:
    """Make known the restore points that another server has made in FOLDER.

    Every file is read and compared with its checksum; nothing in the folder is changed. What
    cannot be restored is listed with the reason, and the exit code is 1.
    """
    body: dict[str, Any] = {"folder": str(folder.absolute()), "name": name}
    if ask_repository_password and repository_password_file is not None:
        raise BadInput("--ask-repository-password: not together with --repository-password-file")
    if repository_password_file is not None:
        body["password"] = first_line_of(repository_password_file, "--repository-password-file")
    if ask_repository_password:
        body["password"] = asked("Password of the repository", "--repository-password-file")
    if server is not None:
        body["server"] = server
    task = api.have_done("POST", "/holdfast/v1/repositories/import", body)
    summary, *problems = task["Result"]["Message"].splitlines()
    typer.echo(summary)
    for problem in problems[1:]:
        typer.echo(problem)
    if problems:
        raise Failure("not everything could be imported")
