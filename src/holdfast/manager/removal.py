"""Taking out of the catalog all that came from one backup server.

In bounded batches, each a transaction of its own: others write in between, and an interruption
leaves nothing but a removal to go on with.
"""

from __future__ import annotations

from sqlite3 import Connection
from uuid import UUID

from holdfast.catalog.store import CatalogStore
from holdfast.catalog.writer import OWNER
from holdfast.schema.resource import ResourceType

BATCH = 1000


async def remove_rows_of(store: CatalogStore, server_uid: UUID) -> dict[str, int]:
    """Given a backup server, remove its rows of every type; return how many of which went."""
    removed: dict[str, int] = {}
    for resource in store.schema:
        if any(relation.name == OWNER for relation in resource.relations):
            count = await _remove_of_type(store, resource, server_uid)
            if count:
                removed[resource.name] = count
    return removed


async def _remove_of_type(store: CatalogStore, resource: ResourceType, server_uid: UUID) -> int:
    count, reached = 0, 0
    # The rows are found by a reader, in the order of their ids: the writer is never held up by a
    # search, and the table is gone through once.
    find = f'SELECT id FROM "{resource.table}" WHERE id > ? AND server_uid = ? ORDER BY id LIMIT ?'  # noqa: S608 - the schema's own names
    delete = f'DELETE FROM "{resource.table}" WHERE id = ? AND server_uid = ?'  # noqa: S608
    while True:
        wanted = (reached, server_uid.bytes, BATCH)
        found: list[tuple[int]] = await store.read(
            lambda c, wanted=wanted: c.execute(find, wanted).fetchall()  # type: ignore[misc]
        )
        if not found:
            return count
        ids = [(row[0], server_uid.bytes) for row in found]

        def remove(connection: Connection, ids: list[tuple[int, bytes]] = ids) -> None:
            connection.executemany(delete, ids)

        await store.write(remove)
        count += len(found)
        reached = found[-1][0]
