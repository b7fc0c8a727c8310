"""Options that several commands share. Their help is the setting's own description."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.settings import PREFIX, Settings
from holdfast.cli.settings_loading import load


def setting(name: str, *flags: str, metavar: str | None = None) -> Any:
    """Given a setting's name (and its flags, when it has more than one), return its option.

    `metavar` says what a value is where its type does not: a number that the settings will check
    is text until then.
    """
    field = Settings.model_fields[name]
    default = f"; default {field.default}" if metavar and field.default else ""
    text = f"{field.description} [{PREFIX}{name.upper()}{default}]"
    return typer.Option(*flags, metavar=metavar, help=text)


#: The data directory; None when a person typed none.
DataOption = Annotated[Path | None, setting("data", metavar="DIRECTORY")]

#: How a command reaches the Holdfast that runs, and as whom.
UserOption = Annotated[str, typer.Option(help="Name of the account to log on with.")]
PortOption = Annotated[str | None, setting("http_port", metavar="PORT")]
ReadyFileOption = Annotated[Path | None, setting("ready_file", metavar="FILE")]
PasswordFileOption = Annotated[Path | None, setting("password_file", metavar="FILE")]

_OF_THE_SETTINGS = ("data", "http_port", "ready_file", "password_file")


def settings_of(context: typer.Context) -> Settings:
    """Return the settings of a command that has the options above and that of the data."""
    return load({name: context.params[name] for name in _OF_THE_SETTINGS})
