"""Slow reads and quick ones."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from holdfast.catalog.reader import CatalogReader
from holdfast.catalog.store import LONGEST_QUEUE, CatalogStore, ReadTooLong, TooManyReads
from holdfast.catalog.writer import RowState, put
from holdfast.query.request import PageLimits, parse_query
from holdfast.schema.core import CORE


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CatalogStore]:
    store = CatalogStore(tmp_path / "a?b#c.db", CORE)
    await store.open()
    yield store
    await store.close()


async def test_quick_reads_go_on_while_slow_ones_take_every_thread_of_theirs(
    store: CatalogStore,
) -> None:
    over = threading.Event()
    slow = [
        asyncio.create_task(store.read_slowly(lambda _: over.wait())) for _ in range(LONGEST_QUEUE)
    ]
    try:
        await asyncio.sleep(0.1)
        assert await store.read(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
        assert [task for task in slow if task.done()] == []
        with pytest.raises(TooManyReads):
            await store.read_slowly(lambda _: 1)
    finally:
        over.set()
    assert await asyncio.gather(*slow) == [True] * LONGEST_QUEUE


async def test_a_read_under_way_does_not_hold_up_closing(tmp_path: Path) -> None:
    store = CatalogStore(tmp_path / "catalog.db", CORE)
    await store.open()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    reading = asyncio.create_task(store.read_slowly(lambda c: c.execute(endless).fetchone()))
    await asyncio.sleep(0.2)

    async with asyncio.timeout(60):
        await store.close()

    with pytest.raises(ReadTooLong):
        await reading


async def test_which_queries_are_slow_is_told_by_what_they_read(
    store: CatalogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.catalog.reader.SMALL_TABLE", 10)
    resource = CORE["BackupTaskSession"]

    def fill(connection: sqlite3.Connection) -> None:
        for number in range(50):
            values = {
                "VmDisplayName": f"vm{number % 5}",
                "CreationTimeUTC": number,
                "Result": "Failed" if number % 9 == 0 else "Success",
                "State": "Completed",
                "TotalSize": number,
            }
            put(connection, resource, RowState(UUID(int=number), f"s{number}", values))

    await store.write(fill)
    slowly: list[bool] = []
    read_slowly = store.read_slowly

    async def noted(question):  # type: ignore[no-untyped-def]
        slowly.append(True)
        return await read_slowly(question)

    monkeypatch.setattr(store, "read_slowly", noted)

    async def is_slow(**parameters: str) -> bool:
        slowly.clear()
        pairs = [("type", "BackupTaskSession"), *parameters.items()]
        await CatalogReader(store).rows(parse_query(CORE, pairs, PageLimits()))
        return bool(slowly)

    seed = "Result==Failed;VmDisplayName==vm1"
    assert not await is_slow(filter=seed, sortDesc="CreationTime")
    assert not await is_slow(filter="Result==Failed", sortDesc="CreationTime")
    assert await is_slow(filter="TotalSize>5", sortDesc="CreationTime")
    assert await is_slow(filter="Result==Failed", sortAsc="TotalSize")
    assert await is_slow(filter=seed, page="5")
