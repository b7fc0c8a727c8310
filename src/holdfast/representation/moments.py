"""Moments as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%dT")


def moment_text(milliseconds: int) -> str:
    """Given milliseconds since 1970 UTC, return ISO 8601 with ``Z``, trailing zeros trimmed.

    For example ``2021-06-05T01:04:29.56Z``; whole seconds carry no fraction.
    """
    day, within = divmod(milliseconds, _DAY)
    seconds, fraction = divmod(within, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    tail = f".{fraction:03d}".rstrip("0") if fraction else ""
    return f"{_date(day)}{hour:02d}:{minute:02d}:{second:02d}{tail}Z"
