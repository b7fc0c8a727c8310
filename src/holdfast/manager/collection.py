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

#: Seconds the feed is asked to wait for something new, and the pause after a failure: longer after
#: each further one, up to the longest.
_WAIT = 20
_PAUSE_AFTER_FAILURE = 1.0
_LONGEST_PAUSE = 10.0

#: Seconds between two questions to a feed that had nothing new, should it not wait as it is asked.
_PAUSE_WITHOUT_NEWS = 0.1


class Collector:
    """Follows the feed of one backup server, which need not answer yet.

    Each batch is written together with the cursor after it in one transaction: after a crash
    collection goes on from there, and running it again from zero does no harm. `description` and
    `fingerprint` are what a person gave for it.
    """

    def __init__(
        self,
        store: CatalogStore,
        connection: BackupServerConnection,
        server_uid: UUID,
        *,
        description: str | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.connection = connection
        self.server_uid = server_uid
        self._description = description
        self._fingerprint = fingerprint
        self._store = store
        self._name = str(server_uid)
        self._cursor = 0
        self._epoch: UUID | None = None
        # While a feed that started anew is read from its beginning: what it has held so far.
        self._seen: set[UUID] | None = None
        self._passes = 0
        self._closed = False
        self._noted: RowState | None = None
        self._collecting = asyncio.Lock()
        self._advanced = asyncio.Condition()

    async def prepare(self) -> None:
        """Read where collection stood."""
        stood = await self._store.read(
            lambda c: c.execute(
                "SELECT epoch, cursor FROM collected_feed WHERE server_uid = ?",
                (self.server_uid.bytes,),
            ).fetchone()
        )
        if stood is not None:
            self._epoch, self._cursor = UUID(bytes=stood[0]), stood[1]

    async def note(self, known: Information) -> None:
        """Given who the backup server says it is, write its own row.

        Raises BackupServerUnavailable when it is another one.
        """
        if known.uid != self.server_uid:
            raise BackupServerUnavailable(f'another backup server, "{known.name}", answers there')
        self._name = known.name
        values = {
            "Description": known.description if self._description is None else self._description,
            "Version": known.version,
            "Port": self.connection.url.port or PRIVATE_PORT,
            "IpOrDnsName": self.connection.url.host,
            "VbrCertificateThumbprint": self._fingerprint,
        }
        resource = self._store.schema["BackupServer"]
        state = RowState(known.uid, known.name, values)
        async with self._collecting:
            self._expect_open()
            if state != self._noted:
                await self._store.write(lambda c: put(c, resource, state))
                self._noted = state

    async def follow(self) -> None:
        """Collect until cancelled. While the server does not answer, try again and again."""
        pause = 0.0
        while True:
            try:
                if pause:
                    await asyncio.sleep(pause)
                if pause or self._name == str(self.server_uid):
                    await self.note(await self.connection.information())
                news = await self._collect_batch(_WAIT)
                if pause:
                    _log.info("Backup server %s: answers.", self._name)
                pause = 0.0
                if not news:
                    await asyncio.sleep(_PAUSE_WITHOUT_NEWS)
                continue
            except BackupServerUnavailable as error:
                if not pause:
                    _log.warning("Backup server %s: %s", self._name, error)
            except Exception:  # noqa: BLE001 - a full disk, say, must not end collecting
                _log.exception("Collecting from %s failed.", self._name)
            pause = min(max(pause * 1.5, _PAUSE_AFTER_FAILURE), _LONGEST_PAUSE)

    async def collect(self) -> None:
        """Collect to the end of the feed as it stands now. Raises BackupServerUnavailable."""
        information = await self.connection.information()
        await self.note(information)
        while self._epoch != information.epoch or self._cursor < information.cursor:
            if not await self._collect_batch(0):
                raise BackupServerUnavailable("its feed does not reach its own end")

    async def reach(self, cursor: int) -> None:
        """Given a cursor, return when the catalog holds everything up to it.

        When the feed starts anew meanwhile, its cursors are others: then all of it is everything.
        Raises BackupServerUnavailable when the server is taken away before that.
        """
        passes = self._passes
        async with self._advanced:
            await self._advanced.wait_for(
                lambda: (
                    self._closed
                    or self._passes != passes
                    or (self._seen is None and self._cursor >= cursor)
                )
            )
        self._expect_open()

    async def close(self) -> None:
        """Write nothing any more, wake whoever waits, and let the connection go."""
        async with self._collecting:
            self._closed = True
        async with self._advanced:
            self._advanced.notify_all()
        await self.connection.close()

    def _expect_open(self) -> None:
        if self._closed:
            raise BackupServerUnavailable("it is no longer connected")

    async def _collect_batch(self, wait: int) -> bool:
        """Ask for what comes next and write it; return whether collection is further now.

        Raises BackupServerUnavailable.
        """
        epoch, after = self._epoch, self._cursor
        batch = await self.connection.changes(after, wait)
        async with self._collecting:
            self._expect_open()
            if self._cursor != after:
                return True  # another reader was faster; its batch is written already
            if self._epoch is not None and batch.epoch != self._epoch:
                await self._start_anew(batch.epoch)
            else:
                if batch.cursor <= after and (batch.changes or batch.more):
                    raise BackupServerUnavailable("its feed goes on without getting further")
                await self._take(batch)
        async with self._advanced:
            self._advanced.notify_all()
        return (self._epoch, self._cursor) != (epoch, after)

    async def _start_anew(self, epoch: UUID) -> None:
        _log.warning("Backup server %s: its feed starts anew.", self._name)
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
                _log.error("Backup server %s: %s", self._name, error)
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
