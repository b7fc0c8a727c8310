"""Options that several commands share. Their help is the setting's own description."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.settings import PREFIX, Settings


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
