"""Work that ends at a chosen moment, as when the power goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any


class Killed(BaseException):
    """As if the process had ended: nobody catches it."""


class _CutOff:
    """Awaits something up to its nth wait, where it is killed or cancelled."""

    def __init__(self, work: Any, waits: int, error: Callable[[], BaseException]) -> None:
        self.work, self.waits, self.error, self.finished = work, waits, error, False

    def __await__(self) -> Generator[Any, Any, None]:
        inner = self.work.__await__()
        number = 0
        failure: BaseException | None = None
        while True:
            # What follows the error are the waits of its cleaning up.
            thrown = self.error() if number == self.waits else failure
            try:
                waiting = inner.send(None) if thrown is None else inner.throw(thrown)
            except StopIteration:
                self.finished = number <= self.waits
                return
            number, failure = number + 1, None
            try:
                yield waiting
            except BaseException as error:  # noqa: BLE001 - what was waited for has failed
                failure = error


async def cut_off(
    work: Callable[[], Awaitable[Any]], waits: int, error: Callable[[], BaseException] = Killed
) -> bool:
    """Do some work up to its nth wait; say whether it came to its end before."""
    cutting = _CutOff(work(), waits, error)
    with suppress(Killed, asyncio.CancelledError):
        await cutting
    return cutting.finished
