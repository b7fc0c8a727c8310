"""What settles interrupted failovers keeps away from those that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID, uuid4

from holdfast.server.clock import Clock
from holdfast.server.failover import Failovers
from holdfast.server.failover_runner import FailoverRunner
from holdfast.server.store import Store


class _Beginning:
    """A store and its failovers; one is begun whenever somebody has looked for sessions."""

    def __init__(self) -> None:
        self.begun: list[UUID] = []
        self.recovered: list[UUID] = []

    async def read(self, _look: Callable[..., object]) -> list[Any]:
        self.begun.append(uuid4())
        return []

    async def unsettled(self) -> list[UUID]:
        return list(self.begun)

    async def recover(self, uid: UUID) -> None:
        self.recovered.append(uid)


async def test_operation_that_begins_meanwhile_is_not_taken_for_an_interrupted_one() -> None:
    beginning = _Beginning()
    store, failovers = cast(Store, beginning), cast(Failovers, beginning)
    runner = FailoverRunner(store, cast(Clock, None), failovers)
    settling = asyncio.create_task(runner.keep_settling())
    await runner.wait_until_idle()
    settling.cancel()
    assert beginning.begun
    assert not beginning.recovered
