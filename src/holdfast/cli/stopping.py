"""Ending the process when a person or a service manager asks for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Given work, do it until it ends or the process is asked to stop; then let it clean up.

    The work is cancelled once, by the first signal. A second signal has its usual effect, for
    those who cannot wait; everything that matters survives that too. What the work raises is
    raised.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    asked = asyncio.Event()

    def release() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def stop() -> None:
        release()
        asked.set()
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        await asyncio.wait({task})
    finally:
        release()
    if not (asked.is_set() and task.cancelled()):
        task.result()
