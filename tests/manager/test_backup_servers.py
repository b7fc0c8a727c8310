"""Stored connections: over restarts, without their key, and while their rows are being removed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from sqlite3 import Connection
from uuid import UUID

import pytest

from holdfast.catalog.store import CatalogStore
from holdfast.catalog.writer import RowState, put
from holdfast.manager import removal
from holdfast.manager.backup_servers import BackupServers
from holdfast.manager.connection import BackupServerUnavailable
from holdfast.manager.stored_connections import ConnectionDetails, StoredConnections
from holdfast.schema.core import CORE
from support.managers import running_manager

SERVER, OTHER = UUID(int=1), UUID(int=2)
# Nothing listens on port 1 of loopback.
DETAILS = ConnectionDetails("127.0.0.1", 1, "AB" * 32, "the-token", "described")


async def store_connection(store: CatalogStore, key: Path) -> StoredConnections:
    stored = StoredConnections(store, key)
    await stored.put(SERVER, DETAILS)
    return stored


def fill(connection: Connection) -> None:
    for server in (SERVER, OTHER):
        put(connection, CORE["BackupServer"], RowState(server, f"server {server.int}"))
        for number in range(25):
            uid = UUID(int=100 * server.int + number)
            state = RowState(uid, "row", relations={"server": server})
            put(connection, CORE["Repository"], state)


async def count(store: CatalogStore, table: str) -> int:
    query = f"SELECT count(*) FROM {table}"  # noqa: S608 - names of this module
    found: int = await store.read(lambda c: c.execute(query).fetchone()[0])
    return found


async def test_a_stored_connection_that_is_down_holds_up_nothing(tmp_path: Path) -> None:
    key = tmp_path / "key"
    async with running_manager(tmp_path / "manager") as manager:
        await store_connection(manager.store, key)
        servers = BackupServers(manager.store, key)
        async with asyncio.timeout(60):
            await servers.open()
        assert servers.get(SERVER) is not None
        with pytest.raises(BackupServerUnavailable, match="does not answer"):
            await servers.execute(SERVER, "create-password", None, {}, "admin")
        collector = servers.get(SERVER)
        assert collector is not None
        async with asyncio.timeout(60):
            await servers.stop()
        # Who was asking just then is told so, in the words for a server that cannot be reached.
        with pytest.raises(BackupServerUnavailable, match="no longer connected"):
            await collector.connection.information()


async def test_without_its_key_a_connection_is_not_used_but_can_be_removed(tmp_path: Path) -> None:
    key = tmp_path / "key"
    async with running_manager(tmp_path / "manager") as manager:
        await store_connection(manager.store, key)
        key.unlink()
        servers = BackupServers(manager.store, key)
        await servers.open()
        assert servers.get(SERVER) is None
        await servers.remove(SERVER)
        async with asyncio.timeout(60):
            while await count(manager.store, "backup_server_connection"):
                await asyncio.sleep(0.01)
        await servers.stop()


async def test_a_removal_that_was_cut_short_is_gone_on_with_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "BATCH", 10)
    key = tmp_path / "key"
    async with running_manager(tmp_path / "manager") as manager:
        await manager.store.write(fill)
        stored = await store_connection(manager.store, key)
        await stored.begin_leaving(SERVER)
        assert await count(manager.store, "backup_server") == 1
        assert await count(manager.store, "repository") == 50
        servers = BackupServers(manager.store, key)
        await servers.open()
        async with asyncio.timeout(60):
            while await count(manager.store, "backup_server_connection"):
                await asyncio.sleep(0.01)
        assert await count(manager.store, "repository") == 25
        await servers.stop()


async def test_rows_of_other_servers_stay(tmp_path: Path) -> None:
    async with running_manager(tmp_path / "manager") as manager:
        await manager.store.write(fill)
        assert await removal.remove_rows_of(manager.store, SERVER) == {"Repository": 25}
        assert await removal.remove_rows_of(manager.store, SERVER) == {}
        assert await count(manager.store, "repository") == 25
