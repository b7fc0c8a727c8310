"""A sample settings file, made from the settings themselves."""

from __future__ import annotations

import json
import textwrap

from pydantic.fields import FieldInfo

from holdfast.cli.settings import FILE_NAME, NOT_IN_FILE, PREFIX, Settings
from holdfast.cli.settings_loading import flag_of

_WIDTH = 96


def sample() -> str:
    """Return a commented TOML file that names every setting, with its default where it has one.

    It is valid as it stands, and says the same as no file at all.
    """
    parts = [
        f"# Settings of Holdfast: the file {FILE_NAME} in its data directory.\n"
        "# A flag wins over a variable, a variable over this file, this file over the default.\n"
    ]
    for name, field in Settings.model_fields.items():
        if name in NOT_IN_FILE:
            continue
        description = textwrap.wrap(f"{field.description}", _WIDTH)
        sources = f"Flag {flag_of(name)}, variable {PREFIX}{name.upper()}."
        comment = "".join(f"# {line}\n" for line in (*description, sources))
        default = "" if field.default is not None else "# Not set; for example:\n"
        parts.append(f"{comment}{default}# {name} = {_toml(field)}\n")
    return "\n".join(parts)


def _toml(field: FieldInfo) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's too.
    shown = field.default if field.default is not None else (field.examples or [""])[0]
    return json.dumps(shown)
