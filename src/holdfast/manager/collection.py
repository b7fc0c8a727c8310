"""Data collection: a backup server's feed into the catalog, exactly once."""

from __future__ import annotations

import asyncio
import logging
from sqlite3 import Connection
from uuid import UUID

from holdfast.catalog.store import CatalogStore
from holdfast.catalog.sweeping import sweep
from holdfast.catalog.writer import RowState, WrongRow, put, remove
from holdfast.manager.connection import BackupServerConnection, BackupServerUnavailable
from holdfast.schema.resource import Schema
from holdfast.server.messages import Change, Changes, Information

_log = logging.getLogger(__name__)

#: Where a backup server answers unless its address says otherwise.
PRIVATE_PORT = 9392

#: Seconds the feed is asked to wait for something new, and the pause after a failure.
_WAIT = 20
_PAUSE_AFTER_FAILURE = 2.0


class Collector:
    """Follows one backup server's feed.

    Each batch is written together with the cursor after it in one transaction: after a crash
    collection goes on from there, and running it again from zero does no harm.
    """

    def __init__(
        self, store: CatalogStore, connection: BackupServerConnection, information: Information
    ) -> None:
        self.information = information
        self.connection = connection
        self._store = store
        self._cursor = 0
        self._epoch: UUID | None = None
        # While a feed that started anew is read from its beginning: what it has held so far.
        self._seen: set[UUID] | None = None
        self._passes = 0
        self._collecting = asyncio.Lock()
        self._advanced = asyncio.Condition()

    @property
    def server_uid(self) -> UUID:
        """The backup server's UID."""
        return self.information.uid

    async def prepare(self) -> None:
        """Write the backup server's own row and read where collection stood."""
        known = self.information
        state = RowState(
            known.uid,
            known.name,
            {
                "Description": known.description,
                "Version": known.version,
                "Port": self.connection.url.port or PRIVATE_PORT,
                "IpOrDnsName": self.connection.url.host,
            },
        )
        resource = self._store.schema["BackupServer"]
        await self._store.write(lambda c: put(c, resource, state))
        stood = await self._store.read(
            lambda c: c.execute(
                "SELECT epoch, cursor FROM collected_feed WHERE server_uid = ?",
                (known.uid.bytes,),
            ).fetchone()
        )
        if stood is not None:
            self._epoch, self._cursor = UUID(bytes=stood[0]), stood[1]

    async def follow(self) -> None:
        """Collect until cancelled. While the server does not answer, try again and again."""
        failing = False
        while True:
            try:
                await self._collect_batch(_WAIT)
                failing = False
            except BackupServerUnavailable as error:
                if not failing:
                    _log.warning("Backup server %s: %s", self.information.name, error)
                failing = True
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)
            except Exception:  # noqa: BLE001 - a full disk, say, must not end collecting
                _log.exception("Collecting from %s failed.", self.information.name)
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)

    async def collect(self) -> None:
        """Collect to the end of the feed as it stands now. Raises BackupServerUnavailable."""
        information = await self.connection.information()
        while self._epoch != information.epoch or self._cursor < information.cursor:
            await self._collect_batch(0)

    async def reach(self, cursor: int) -> None:
        """Given a cursor, return when the catalog holds everything up to it.

        When the feed starts anew meanwhile, its cursors are others: then all of it is everything.
        """
        passes = self._passes
        async with self._advanced:
            await self._advanced.wait_for(
                lambda: self._passes != passes or (self._seen is None and self._cursor >= cursor)
            )

    async def _collect_batch(self, wait: int) -> None:
        after = self._cursor
        batch = await self.connection.changes(after, wait)
        async with self._collecting:
            if self._cursor != after:
                return  # another reader was faster; its batch is written already
            if self._epoch is not None and batch.epoch != self._epoch:
                await self._start_anew(batch.epoch)
            else:
                await self._take(batch)
        async with self._advanced:
            self._advanced.notify_all()

    async def _start_anew(self, epoch: UUID) -> None:
        _log.warning("Backup server %s: its feed starts anew.", self.information.name)
        self._seen = set()
        self._epoch = epoch
        self._cursor = 0

    async def _take(self, batch: Changes) -> None:
        """Write a batch and the cursor after it, in one transaction."""
        if self._seen is not None:
            self._seen |= {change.uid for change in batch.changes if not change.removed}
        swept = self._seen if self._seen is not None and not batch.more else None
        if batch.changes or swept is not None or batch.epoch != self._epoch:
            await self._store.write(lambda c: self._apply(c, batch, swept))
        self._epoch, self._cursor = batch.epoch, batch.cursor
        if swept is not None:
            self._seen = None
            self._passes += 1

    def _apply(self, connection: Connection, batch: Changes, swept: set[UUID] | None) -> None:
        for change in batch.changes:
            try:
                self._apply_change(connection, self._store.schema, change)
            except WrongRow as error:
                # One bad record must not keep all others out of the catalog.
                _log.error("Backup server %s: %s", self.information.name, error)
        if swept is not None:
            sweep(connection, self._store.schema, self.server_uid, swept)
        elif self._seen is not None:
            # Until a new feed is read to its end, the old epoch stands: after a crash it is begun
            # again, since what was seen of it is not written down.
            return
        connection.execute(
            "INSERT INTO collected_feed (server_uid, epoch, cursor) VALUES (?, ?, ?)"
            " ON CONFLICT (server_uid) DO UPDATE"
            " SET epoch = excluded.epoch, cursor = excluded.cursor",
            (self.server_uid.bytes, batch.epoch.bytes, batch.cursor),
        )

    def _apply_change(self, connection: Connection, schema: Schema, change: Change) -> None:
        if change.type not in schema or not any(
            relation.name == "server" for relation in schema[change.type].relations
        ):
            raise WrongRow(f"{change.type} is nothing that a backup server has")
        resource = schema[change.type]
        if change.removed:
            remove(connection, resource, change.uid, owner=self.server_uid)
            return
        relations = {**change.relations, "server": self.server_uid}
        put(connection, resource, RowState(change.uid, change.name, change.values, relations))
