"""The connections to backup servers that people made: kept over restarts, tokens encrypted.

The key is in a file beside the database, not in it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any
from uuid import UUID

from holdfast.catalog.store import CatalogStore
from holdfast.catalog.writer import remove
from holdfast.sealing import Seal, SealBroken


@dataclass(frozen=True)
class ConnectionDetails:
    """How to reach a backup server, and what proves the two to each other."""

    address: str
    port: int
    fingerprint: str
    token: str
    description: str

    @property
    def url(self) -> str:
        """The base of the server's private API."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{host}:{self.port}"


@dataclass(frozen=True)
class StoredConnection:
    """A row. A token that cannot be read is empty, for the `reason` that is given then.

    `leaving` tells that the server is being removed, and its rows with it.
    """

    server_uid: UUID
    details: ConnectionDetails
    leaving: bool
    reason: str = ""


class StoredConnections:
    """The rows of ``backup_server_connection``."""

    def __init__(self, store: CatalogStore, key_file: Path) -> None:
        self._store = store
        self._key_file = key_file
        self._seal: Seal | None = None

    async def all(self) -> list[StoredConnection]:
        """Return every connection."""
        rows = await self._store.read(
            lambda c: c.execute(
                "SELECT server_uid, address, port, fingerprint, token, description, leaving"
                " FROM backup_server_connection ORDER BY server_uid"
            ).fetchall()
        )
        if not rows:
            return []
        try:
            seal = await self._opened()
        except (OSError, SealBroken) as error:
            return [_unreadable(error, *row) for row in rows]
        return [_read(seal, *row) for row in rows]

    async def put(self, server_uid: UUID, details: ConnectionDetails) -> None:
        """Given a backup server and how to reach it, keep that."""
        seal = await self._opened()
        token = seal.close(details.token, _purpose(server_uid))
        await self._store.write(
            lambda c: c.execute(
                "INSERT INTO backup_server_connection"
                " (server_uid, address, port, fingerprint, token, description, leaving)"
                " VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT (server_uid) DO UPDATE SET"
                " address = excluded.address, port = excluded.port, token = excluded.token,"
                " fingerprint = excluded.fingerprint, description = excluded.description",
                (
                    server_uid.bytes,
                    details.address,
                    details.port,
                    details.fingerprint,
                    token,
                    details.description,
                ),
            )
        )

    async def begin_leaving(self, server_uid: UUID) -> None:
        """Note that a server is being removed; its own row goes in the same transaction."""

        def leave(connection: Connection) -> None:
            connection.execute(
                "UPDATE backup_server_connection SET leaving = 1 WHERE server_uid = ?",
                (server_uid.bytes,),
            )
            remove(connection, self._store.schema["BackupServer"], server_uid)

        await self._store.write(leave)

    async def forget(self, server_uid: UUID) -> None:
        """Forget a connection, and where collection from it stood."""

        def forget(connection: Connection) -> None:
            key = (server_uid.bytes,)
            connection.execute("DELETE FROM collected_feed WHERE server_uid = ?", key)
            connection.execute("DELETE FROM backup_server_connection WHERE server_uid = ?", key)

        await self._store.write(forget)

    async def _opened(self) -> Seal:
        if self._seal is None:
            self._seal = await asyncio.to_thread(Seal, self._key_file)
        return self._seal


def _purpose(server_uid: UUID) -> str:
    return f"token of backup server {server_uid}"


def _read(seal: Seal, uid: bytes, *columns: Any) -> StoredConnection:
    address, port, fingerprint, token, description, leaving = columns
    server_uid = UUID(bytes=uid)
    try:
        opened = seal.open(token, _purpose(server_uid))
    except SealBroken as error:
        return _unreadable(error, uid, *columns)
    details = ConnectionDetails(address, port, fingerprint, opened, description)
    return StoredConnection(server_uid, details, bool(leaving))


def _unreadable(error: Exception, uid: bytes, *columns: Any) -> StoredConnection:
    address, port, fingerprint, _, description, leaving = columns
    details = ConnectionDetails(address, port, fingerprint, "", description)
    reason = f"its token cannot be read: {error}"
    return StoredConnection(UUID(bytes=uid), details, bool(leaving), reason)
