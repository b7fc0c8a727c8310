"""Files and folders inside a restore point, as they are shown to people.

Names in a disk image are bytes that anybody may have written. They are shown escaped, and found
again by comparing what is shown; no name out of an image ever becomes a path of this machine.
"""

from __future__ import annotations

from typing import Literal

import msgspec

#: Entries of one folder beyond this number are not shown, and it is said that there are more.
GREATEST_FOLDER = 100_000
DEEPEST_PATH = 256

_LONGEST_PATH = 32 * 1024
_ESCAPED = {number: f"\\x{number:02x}" for number in (*range(32), 127, ord("/"))}
# A backslash that is shown as it is would make two names look alike.
_ESCAPED[ord("\\")] = "\\x5c"

Kind = Literal["directory", "file", "link", "other"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder. ``size`` in bytes; ``modified`` in milliseconds since 1970 UTC."""

    name: str
    kind: Kind
    size: int = 0
    owner: str = ""
    modified: int = 0


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a folder's entries, folders first, by name; ``total`` is how many there are."""

    entries: list[Entry]
    total: int


class WrongPathError(ValueError):
    """A path that cannot be one inside a restore point; the message says why."""


def shown_name(name: bytes) -> str:
    """Given a name's bytes, return it as it is shown: printable, and without a slash.

    For example ``b"a/b\\n"`` becomes ``a\\x2fb\\x0a``.
    """
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(chr(b) if 32 <= b < 127 and b not in b"\\/" else f"\\x{b:02x}" for b in name)
    return text.translate(_ESCAPED)


def path_parts(path: str) -> tuple[str, ...]:
    """Given a path with slashes, return its names; raise WrongPathError for one that climbs."""
    if len(path) > _LONGEST_PATH:
        raise WrongPathError("The path is too long.")
    parts = tuple(part for part in path.split("/") if part)
    if len(parts) > DEEPEST_PATH:
        raise WrongPathError(f"The path has more than {DEEPEST_PATH} parts.")
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise WrongPathError("A path inside a restore point has no parts such as . and .. .")
    return parts


def match(name: str, shown: list[str]) -> str | None:
    """Given a name as somebody wrote it, return the one it means; None if there is none.

    Exactly, or else without regard to case: some clients change the case of addresses.
    """
    if name in shown:
        return name
    folded = name.casefold()
    return next((known for known in shown if known.casefold() == folded), None)


def in_order(entries: list[Entry]) -> list[Entry]:
    """Given entries, return them folders first, each by name."""
    return sorted(entries, key=lambda entry: (entry.kind != "directory", entry.name))


def part_of(entries: list[Entry], kinds: str, offset: int, limit: int) -> Listing:
    """Given a folder's entries in order, return those asked for.

    ``kinds`` is "all", "directories" or "files" (whatever is no folder).
    """
    if kinds != "all":
        wanted = kinds == "directories"
        entries = [entry for entry in entries if (entry.kind == "directory") is wanted]
    return Listing(entries=entries[offset : offset + limit], total=len(entries))


def more_than_shown(folder: str) -> str:
    """Given the name of a folder of which not all is shown, return what is to be said of it."""
    return (
        f"{folder} has more than {GREATEST_FOLDER} entries, and only so many of them are listed. "
        "The others are found by their path alone."
    )
