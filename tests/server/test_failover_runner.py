"""What settles interrupted failovers keeps away from those that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import OperationalError

from holdfast.engine.errors import HypervisorUnavailable
from holdfast.server import failover_plan_runner, failover_plans, failover_runner
from holdfast.server.clock import Clock
from holdfast.server.failover import Failovers
from holdfast.server.failover_plan_runner import FailoverPlanRunner
from holdfast.server.failover_runner import FailoverRunner
from holdfast.server.failover_source import FailoverSource
from holdfast.server.store import Store

from .lab import HandClock


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


class _Waiting(_Beginning):
    """Two are not settled; while the first waits for its host, somebody asks for the second."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = [uuid4(), uuid4()]

    async def read(self, _look: Callable[..., object]) -> list[Any]:
        return [SimpleNamespace(replica_uid=self.begun[1])] if self.recovered else []


async def test_operation_that_is_asked_for_while_another_is_settled_is_left_alone() -> None:
    waiting = _Waiting()
    store, failovers = cast(Store, waiting), cast(Failovers, waiting)
    runner = FailoverRunner(store, cast(Clock, None), failovers)
    await runner._settle()
    assert waiting.recovered == waiting.begun[:1]


class _Failing:
    """A store and its failovers; one fails, and is settled when its host answers again."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.left: list[UUID] = []
        self.settled = asyncio.Event()
        self.tried = count(1)

    async def read(self, _look: Callable[..., object]) -> list[Any]:
        return []

    async def write(self, _work: Callable[..., object]) -> bool:
        return True

    async def run(self, session: UUID, _on_progress: object) -> str:
        self.left.append(session)
        raise HypervisorUnavailable("There is no answer.")

    async def unsettled(self) -> list[UUID]:
        return list(self.left)

    async def recover(self, uid: UUID) -> None:
        if next(self.tried) <= self.away:
            raise HypervisorUnavailable("There is no answer.")
        self.left.remove(uid)
        self.settled.set()


async def test_what_a_failure_has_left_is_settled_as_soon_as_the_host_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failover_runner, "_FIRST_SETTLE_SECONDS", 0.001)
    monkeypatch.setattr(failover_runner, "_SETTLE_SECONDS", 3600.0)
    failing = _Failing(away=3)
    store, failovers = cast(Store, failing), cast(Failovers, failing)
    runner = FailoverRunner(store, cast(Clock, HandClock()), failovers)
    settling = asyncio.create_task(runner.keep_settling())
    await runner.wait_until_idle()
    runner.launch(uuid4())
    async with asyncio.timeout(60):
        await failing.settled.wait()
    settling.cancel()
    assert not failing.left


class _Hanging:
    """The sources of two replicas; the host of the first hangs."""

    def __init__(self) -> None:
        self.hosts = [uuid4(), uuid4()]
        self.seen_to = asyncio.Event()

    async def waiting(self, hosts: Collection[UUID]) -> list[UUID]:
        return [host for host in self.hosts if host in hosts]

    async def see_to(self, uid: UUID) -> None:
        if uid == self.hosts[0]:
            await asyncio.Event().wait()
        self.seen_to.set()


async def test_host_that_hangs_does_not_keep_the_sources_of_others_waiting(tmp_path: Path) -> None:
    nothing: Any = None
    failovers = Failovers(nothing, nothing, nothing, nothing, nothing, tmp_path)
    hanging = _Hanging()
    failovers._source = cast(FailoverSource, hanging)
    looking = asyncio.create_task(failovers.looked_at(hanging.hosts))
    async with asyncio.timeout(60):
        await hanging.seen_to.wait()
    looking.cancel()


class _Refusing:
    """A store that refuses what is written at first, with plans of no machines."""

    def __init__(self) -> None:
        self.refusals = 2
        self.ended: list[str] = []

    async def read(self, _look: Callable[..., object]) -> list[Any]:
        return []

    async def write(self, work: Callable[..., object]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OperationalError("UPDATE", {}, Exception("the database is locked"))
        work(self)


async def test_plan_ends_though_the_database_refuses_that_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(store: _Refusing, _plan: UUID, outcome: str, *, success: bool) -> None:
        assert success
        store.ended.append(outcome)

    monkeypatch.setattr(failover_plans, "end", end)
    monkeypatch.setattr(failover_plan_runner, "_RETRY_SECONDS", 0.0)
    store = _Refusing()
    runner = FailoverPlanRunner(cast(Store, store), cast(Clock, None), cast(FailoverRunner, None))
    runner.launch(uuid4(), failover_plans.START)
    await runner.wait_until_idle()
    assert store.ended == ["0 of 0 machines have taken over."]
