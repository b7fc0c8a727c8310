"""The administrator's password: where it comes from when a person does not type it."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import typer

from holdfast.cli.errors import BadInput
from holdfast.cli.settings import Settings

#: The account made at the first start.
ADMINISTRATOR = "admin"

# No letters and digits that look alike; 20 of these are 117 bits.
_ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_GROUPS, _GROUP_LENGTH = 4, 5


def generate() -> str:
    """Return a new random password: four groups of letters and digits."""
    groups = (
        "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS)
    )
    return "-".join(groups)


def supplied(settings: Settings) -> str | None:
    """Return the password that the settings give, by value or by file, or None.

    Raise BadInput when the file cannot be read or holds no password.
    """
    if settings.password_file is not None:
        return first_line_of(settings.password_file, "--password-file")
    if settings.password is not None:
        return settings.password.get_secret_value()
    return None


def asked(text: str, otherwise: str) -> str:
    """Ask for a password at the terminal or, where there is none, read a line of standard input.

    Raise BadInput when there is no line; `otherwise` names what would give the password, too.
    """
    if _has_terminal():
        return str(typer.prompt(text, hide_input=True, err=True))
    line = "" if sys.stdin is None else sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise BadInput(
            f"{otherwise}: expected the password there, or on a line of standard input, since "
            "there is no terminal to ask at"
        )
    return line


def _has_terminal() -> bool:
    """Say whether a person can be asked: standard input may be a pipe with something else."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin is not None and sys.stdin.isatty()
    return True


def first_line_of(path: Path, flag: str) -> str:
    """Return the password in a file. Raise BadInput, naming the flag, when it holds none."""
    expected = "expected a file whose first line is the password"
    try:
        first_line = path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise BadInput(f"{flag}: {path}: {expected}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{flag}: {path}: {expected}, in UTF-8") from None
    if not first_line:
        raise BadInput(f"{flag}: {path}: {expected}, but it is empty")
    return first_line
