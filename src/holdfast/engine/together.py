"""Several things at once, of which none is worth anything without the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from holdfast.engine.errors import ChainBroken


@contextlib.asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Give a task group to a block: what fails first ends all the rest, and is raised as it is."""
    first: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
    if first is not None:
        # Here, where no other is being handled: so it keeps the cause it has.
        raise first


@contextlib.asynccontextmanager
async def proven_meanwhile(proof: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Let a proof that backup files are good go on beside a block that reads them.

    What the block makes of them is worth something only when the proof, which it is given, was
    awaited. A proof that fails ends the block; its error is raised also when the block noticed
    the damage before it, since the proof names the file.
    """
    async with together() as group:
        task = group.create_task(proof)
        try:
            yield task
        except ChainBroken:
            await task
            raise
