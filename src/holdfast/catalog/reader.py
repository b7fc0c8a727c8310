"""Reading: queries and single rows."""

from __future__ import annotations

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any
from uuid import UUID

from holdfast.catalog.select import Condition, Selection, Statement, quoted
from holdfast.catalog.store import CatalogStore
from holdfast.query.request import Page, Query, default_order
from holdfast.schema.resource import ResourceType

#: Up to so many rows, a table may be read whole in the line of the quick reads.
SMALL_TABLE = 20_000

#: A row by the names that `catalog.select.projection` gives.
Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """The rows of one page, in order, and how many rows there are in all."""

    rows: list[Row]
    total: int


class CatalogReader:
    """Answers queries from the store."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store

    async def rows(self, query: Query, restrictions: tuple[Condition, ...] = ()) -> Rows:
        """Given a query, return its page (or all rows) and the total, as of one moment."""
        selection = Selection(self._store.schema, query, restrictions)
        page, count = selection.rows(), selection.count()
        to_row = selection.projection.row

        def ask_if_quick(connection: Connection) -> Rows | None:
            return None if _is_slow(connection, query, selection) else ask(connection)

        def ask(connection: Connection) -> Rows:
            rows = [to_row(row) for row in connection.execute(page.text, page.parameters)]
            if query.page is None:
                return Rows(rows, len(rows))
            if query.page.number == 1 and len(rows) < query.page.size:
                return Rows(rows, len(rows))
            total: int = connection.execute(count.text, count.parameters).fetchone()[0]
            return Rows(rows, total)

        found = await self._store.read(ask_if_quick)
        return found if found is not None else await self._store.read_slowly(ask)

    async def first(
        self, resource: ResourceType, restrictions: tuple[Condition, ...], *, entities: bool
    ) -> Row | None:
        """Given a type and conditions, return the first row that meets them, or None."""
        order = default_order(self._store.schema, resource)
        query = Query(resource, None, order, Page(1, 1), entities or not resource.key)
        selection = Selection(self._store.schema, query, restrictions)
        statement, to_row = selection.rows(), selection.projection.row
        return await self._store.read(
            lambda c: next(map(to_row, c.execute(statement.text, statement.parameters)), None)
        )

    async def related(self, resource: ResourceType, uid: UUID, relation: str) -> UUID | None:
        """Given a row and one of its relations, return the UID it holds; None if it holds none."""
        column = quoted(resource.relation(relation).column)
        text = f"SELECT {column} FROM {quoted(resource.table)} WHERE uid = ?"
        found = await self._store.read(lambda c: c.execute(text, (uid.bytes,)).fetchone())
        return UUID(bytes=found[0]) if found and found[0] else None


def _is_slow(connection: Connection, query: Query, selection: Selection) -> bool:
    """Say whether a query reads or sorts all of a table that is not small."""
    table = quoted(query.resource.table)
    # Ids only grow, so the greatest is never less than the number of rows, and it costs nothing.
    (greatest,) = connection.execute(f"SELECT max(id) FROM {table}").fetchone()
    if (greatest or 0) <= SMALL_TABLE:
        return False
    if query.page is None or query.page.offset > SMALL_TABLE:
        return True
    keys, count = _plan(connection, selection.keys()), _plan(connection, selection.count())
    sorts_all = "USE TEMP B-TREE FOR ORDER BY" in keys
    reads_all = selection.is_filtered and any(step.startswith("SCAN t") for step in keys)
    counts_all = any(step.startswith("SCAN t") for step in count)
    return sorts_all or reads_all or counts_all


def _plan(connection: Connection, statement: Statement) -> list[str]:
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters)
    return [step for *_, step in plan]
