"""Waiting for a moment, or for word that it is another one now."""

from __future__ import annotations

import asyncio

from holdfast.server.clock import Clock, moment_of


class Alarm:
    """For one that waits, and any number that wake it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Let `wait` return, now or when it is next called."""
        self._woken.set()

    def clear(self) -> None:
        """Forget what it was woken for. To be done before looking at what to wait for."""
        self._woken.clear()

    async def wait(self, until: int | None) -> None:
        """Given milliseconds since 1970 UTC or None, return when they have come, or when woken."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._woken.wait())]
        if until is not None:
            waits.append(asyncio.create_task(self._clock.sleep_until(moment_of(until))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
