"""The time, as the manager reads it."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A function that returns milliseconds since 1970 UTC. Tests hand in their own.
Clock = Callable[[], int]


def system_clock() -> int:
    """Return the present time in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000
