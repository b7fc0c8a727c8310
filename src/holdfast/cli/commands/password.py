"""`holdfast password`: a new password for an account."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from holdfast.cli.commands.options import DataOption, setting
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.errors import BadInput
from holdfast.cli.passwords import ADMINISTRATOR, generate, supplied
from holdfast.cli.settings_loading import load
from holdfast.manager.enterprise_manager import EnterpriseManager


def password(
    context: typer.Context,
    data: DataOption = None,  # noqa: ARG001 - read from the context
    password_file: Annotated[str | None, setting("password_file", metavar="FILE")] = None,  # noqa: ARG001
    user: Annotated[str, typer.Option(help="Name of the account.")] = ADMINISTRATOR,
) -> None:
    """Set a new password, made here and shown once. Holdfast must not be running.

    With --password-file, or the variable HOLDFAST_PASSWORD, the password is taken from there and
    not shown.
    """
    settings = load({name: value for name, value in context.params.items() if name != "user"})
    directory = DataDirectory.at(settings.data)
    directory.expect_manager()
    given = supplied(settings)
    new = given or generate()
    with directory.locked():
        asyncio.run(_set(directory, user, new))
    if given is None:
        typer.echo(new)


async def _set(directory: DataDirectory, user: str, new: str) -> None:
    manager = EnterpriseManager(directory.manager)
    await manager.start()
    try:
        await manager.accounts.set_password(user, new)
    except KeyError:
        raise BadInput(f"--user: expected the name of an account, not {user!r}") from None
    finally:
        await manager.stop()
