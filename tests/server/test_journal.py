"""The journal: what is about to be done is noted, and settled in that order."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Connection

from holdfast.server import journal, tables
from holdfast.server.journal import ChainKey, RemoveFiles

from .lab import Lab, write_image


async def test_entries_of_one_moment_are_settled_in_the_order_they_were_declared(lab: Lab) -> None:
    job = await lab.create_job("a.raw")
    write_image(lab.source("a.raw"), 1)
    await lab.run(job)
    [backup] = [row.uid for row in await lab.rows(tables.backup)]
    key = ChainKey(backup, "a chain")
    works = [RemoveFiles((f"{number}",)) for number in range(20)]

    def declare(connection: Connection) -> list[journal.Work]:
        for work in works:
            journal.declare(connection, key, work, 1000)
        journal.declare(connection, ChainKey(backup, "another"), works[0], 1000)
        return [intent.work for intent in journal.standing(connection, key)]

    assert await lab.write(declare) == works


async def test_a_chain_that_cannot_be_settled_keeps_no_other_waiting(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await lab.create_job("a.raw")
    write_image(lab.source("a.raw"), 1)
    await lab.run(job)
    [backup] = [row.uid for row in await lab.rows(tables.backup)]
    chains = [ChainKey(backup, name) for name in ("wrong", "right")]
    for key in chains:
        await lab.write(partial(journal.declare, key=key, work=RemoveFiles(("a",)), now=1000))
    settlement = lab.server._runner._settlement
    settle = settlement.settle_chain

    async def fail(key: ChainKey) -> list[str]:
        if key.chain == "wrong":
            raise ValueError("nobody has thought of this")
        return await settle(key)

    monkeypatch.setattr(settlement, "settle_chain", fail)
    assert not await settlement.settle_all()
    assert {row.chain for row in await lab.rows(tables.intent)} == {"wrong"}
