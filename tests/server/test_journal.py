"""The journal: what is about to be done is noted, and settled in that order."""

from __future__ import annotations

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
