"""The time zone of this machine, by its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

_LOCALTIME = Path("/etc/localtime")
_TIMEZONE = Path("/etc/timezone")


def local_zone() -> str:
    """Return the IANA name of the local time zone, or UTC where the machine does not say."""
    return next((name for name in _candidates() if _is_zone(name)), "UTC")


def _candidates() -> Iterator[str]:
    yield os.environ.get("TZ", "").removeprefix(":")
    yield str(_LOCALTIME.resolve()).partition("/zoneinfo/")[2]
    try:
        yield _TIMEZONE.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return False
    return True
