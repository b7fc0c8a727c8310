"""Loading the settings, and saying in one line what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from holdfast.cli.errors import BadInput
from holdfast.cli.settings import NOT_IN_FILE, PREFIX, Settings, file_of


def load(flags: Mapping[str, Any]) -> Settings:
    """Given the flags by setting, None where a person typed none, return the settings.

    Raise BadInput naming the flag, variable or file and what was expected there.
    """
    typed = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**typed)
    except ValidationError as error:
        raise BadInput(_explained(error.errors()[0], typed)) from None


def flag_of(name: str) -> str:
    """Given a setting's name, return its flag: ``https_port`` → ``--https-port``."""
    return f"--{name.replace('_', '-')}"


def _explained(details: ErrorDetails, typed: Mapping[str, Any]) -> str:
    name = str(details["loc"][0])
    if details["type"] == "extra_forbidden":
        known = ", ".join(sorted(Settings.model_fields.keys() - NOT_IN_FILE))
        return f"{_file(typed)}: {name}: no such setting; expected one of {known}"
    message = details["msg"].removeprefix("Value error, ").partition(", unable to")[0]
    expected = message.replace("Input should be", "expected")
    return f"{_where(name, typed)}: {expected}, not {details['input']!r}"


def _where(name: str, typed: Mapping[str, Any]) -> str:
    if name in typed:
        return flag_of(name)
    variable = PREFIX + name.upper()
    if os.environ.get(variable):
        return variable
    return f"{_file(typed)}: {name}"


def _file(typed: Mapping[str, Any]) -> str:
    data = typed.get("data") or os.environ.get(f"{PREFIX}DATA")
    return str(file_of({"data": data} if data else {}))
