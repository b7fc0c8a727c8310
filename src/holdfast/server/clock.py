"""The time, as something that can be handed in: tests move it by hand instead of waiting."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """What the server asks about time."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""

    async def sleep_until(self, moment: datetime) -> None:
        """Return when the moment has come; at once when it has passed."""


class SystemClock:
    """The machine's own clock."""

    #: The longest sleep in seconds. The machine's clock may be set while we sleep; looking
    #: again every so often keeps the schedule right.
    LONGEST_SLEEP = 30.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        while True:
            left = (moment - self.now()).total_seconds()
            if left <= 0:
                return
            await asyncio.sleep(min(left, self.LONGEST_SLEEP))


async def pause(clock: Clock, length: timedelta) -> None:
    """Return when so much time has passed: by the clock, or truly if that is set back."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(length.total_seconds()):
            await clock.sleep_until(clock.now() + length)


def milliseconds(moment: datetime) -> int:
    """Given a moment with a time zone, return it as milliseconds since 1970 UTC, rounded down."""
    return (moment - _EPOCH) // _MILLISECOND


def moment_of(value: int) -> datetime:
    """Given milliseconds since 1970 UTC, return the moment."""
    return _EPOCH + value * _MILLISECOND
