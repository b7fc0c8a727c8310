"""The backup servers of a manager: joined, followed, asked, let go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from holdfast.catalog.store import CatalogStore
from holdfast.manager.collection import Collector
from holdfast.manager.connection import BackupServerConnection, BackupServerUnavailable
from holdfast.manager.removal import remove_rows_of
from holdfast.manager.stored_connections import ConnectionDetails, StoredConnections
from holdfast.server.messages import Command, Information, Outcome

_log = logging.getLogger(__name__)

#: Seconds between full collections, and how many run at the same time.
COLLECTION_INTERVAL = 15 * 60.0
_COLLECTIONS_AT_ONCE = 8

#: Seconds that a command's effect is waited for before its outcome is told nevertheless.
_EFFECT_LIMIT = 10.0


class ConnectionRefused(ValueError):
    """A connection is not made or changed; the message says why, in words to act on."""


class BackupServers:
    """Every backup server that this manager collects from, by UID.

    Those that people connected are kept in the catalog's database, the key to their tokens in
    `key_file`. One that was handed in with `connect` is there until the manager stops.
    """

    def __init__(self, store: CatalogStore, key_file: Path) -> None:
        self._store = store
        self._stored = StoredConnections(store, key_file)
        self._collectors: dict[UUID, Collector] = {}
        self._followers: dict[UUID, asyncio.Task[None]] = {}
        self._details: dict[UUID, ConnectionDetails] = {}
        self._handed_in: set[UUID] = set()
        self._leaving: set[UUID] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()

    def get(self, uid: UUID) -> Collector | None:
        """Given a backup server, return what collects from it; None when it is not connected."""
        return self._collectors.get(uid)

    async def open(self) -> None:
        """Begin to collect from the stored backup servers; none of them is waited for."""
        for row in await self._stored.all():
            if row.leaving:
                self._leaving.add(row.server_uid)
                self._in_background(self._finish_leaving(row.server_uid))
            elif row.reason:
                # It can still be changed, with a token that is given anew, or removed.
                self._details[row.server_uid] = row.details
                _log.error("Backup server %s: %s", row.server_uid, row.reason)
            else:
                await self._join(row.server_uid, row.details)
        self._in_background(self._collect_regularly())

    async def connect(
        self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> UUID:
        """Given a backup server's line and token, collect from it until the manager stops.

        Returns its UID. Raises BackupServerUnavailable.
        """
        connection = BackupServerConnection(url, token, transport)
        known = await connection.information()
        collector = Collector(self._store, connection, known.uid)
        await collector.prepare()
        await collector.note(known)
        self._handed_in.add(known.uid)
        self._follow(collector)
        return known.uid

    async def add(self, details: ConnectionDetails) -> UUID:
        """Given how to reach a backup server, connect it for good; return its UID.

        It must answer now: only then is it known who it is. Raises ConnectionRefused and
        BackupServerUnavailable.
        """
        async with self._changing:
            known = await _proved(details)
            if known.uid in self._leaving:
                raise ConnectionRefused(f'Backup server "{known.name}" is still being removed.')
            if known.uid in self._collectors or known.uid in self._details:
                raise ConnectionRefused(f'Backup server "{known.name}" is connected already.')
            await self._stored.put(known.uid, details)
            await self._join(known.uid, details, known)
            return known.uid

    async def edit(self, uid: UUID, **changes: Any) -> None:
        """Given a backup server and what to change of its `ConnectionDetails`, change that.

        Raises ConnectionRefused and BackupServerUnavailable; everything is as before then.
        """
        async with self._changing:
            before = self._changeable(uid)
            after = replace(before, **changes)
            if after.fingerprint != before.fingerprint and "token" not in changes:
                # The stored one was given for whoever holds the key of the old certificate.
                raise ConnectionRefused(
                    "Password: expected the backup server's token, since "
                    "VbrCertificateThumbprint names another certificate."
                )
            known = await _proved(after)
            if known.uid != uid:
                raise ConnectionRefused(f'Another backup server, "{known.name}", answers there.')
            await self._stored.put(uid, after)
            await self._leave(uid)
            await self._join(uid, after, known)

    async def remove(self, uid: UUID) -> None:
        """Given a backup server, collect from it no more and take its rows out of the catalog.

        The server itself, its jobs and its backups stay as they are. Its own row is gone when
        this returns; the others go in the background, also over restarts. Raises
        ConnectionRefused.
        """
        async with self._changing:
            self._changeable(uid)
            await self._leave(uid)
            self._leaving.add(uid)
            await self._stored.begin_leaving(uid)
            self._in_background(self._finish_leaving(uid))

    async def execute(
        self,
        uid: UUID,
        operation: str,
        target: UUID | None,
        arguments: dict[str, Any],
        asked_by: str,
    ) -> Outcome:
        """Given a backup server and the parts of a command, have it carried out.

        Returns the outcome; the catalog then shows its effect, unless collection is slow. The
        command is not kept, unlike a task's, so it may hold a secret. Raises
        BackupServerUnavailable.
        """
        command = Command(
            request_id=uuid4(),
            operation=operation,
            target=target,
            arguments=arguments,
            asked_by=asked_by,
        )
        collector = self.get(uid)
        if collector is None:
            raise BackupServerUnavailable("it is not connected")
        outcome = await collector.connection.execute(command)
        if outcome.success:
            try:
                async with asyncio.timeout(_EFFECT_LIMIT):
                    await collector.reach(outcome.cursor)
            except TimeoutError:
                _log.warning("Backup server %s: collection is slow.", uid)
        return outcome

    async def collected(self) -> None:
        """Return when the catalog holds all that the servers handed in have published by now."""
        for uid in self._handed_in:
            await self._collectors[uid].collect()

    async def stop(self) -> None:
        """Stop collecting; nothing is written any more when this returns."""
        tasks = {*self._background, *self._followers.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for collector in self._collectors.values():
            await collector.close()

    def _changeable(self, uid: UUID) -> ConnectionDetails:
        if uid in self._handed_in:
            raise ConnectionRefused("This backup server is part of this installation.")
        if uid not in self._details:
            raise ConnectionRefused("This backup server is not connected.")
        return self._details[uid]

    async def _join(
        self, uid: UUID, details: ConnectionDetails, known: Information | None = None
    ) -> None:
        connection = BackupServerConnection(
            details.url, details.token, fingerprint=details.fingerprint
        )
        collector = Collector(
            self._store,
            connection,
            uid,
            description=details.description,
            fingerprint=details.fingerprint,
        )
        await collector.prepare()
        if known is not None:
            await collector.note(known)
        self._details[uid] = details
        self._follow(collector)

    async def _leave(self, uid: UUID) -> None:
        del self._details[uid]
        if follower := self._followers.pop(uid, None):
            follower.cancel()
            await asyncio.wait({follower})
        if collector := self._collectors.pop(uid, None):
            await collector.close()

    async def _finish_leaving(self, uid: UUID) -> None:
        try:
            removed = await remove_rows_of(self._store, uid)
            await self._stored.forget(uid)
        except Exception:  # noqa: BLE001 - told, and gone on with at the next start
            _log.exception("Backup server %s cannot be removed now.", uid)
            return
        self._leaving.discard(uid)
        gone = ", ".join(f"{count} {name}" for name, count in removed.items()) or "nothing"
        _log.info("Backup server %s was removed, and of the catalog: %s.", uid, gone)

    async def _collect_regularly(self) -> None:
        """Collect from every server from time to time, whatever its feed has said meanwhile."""
        at_once = asyncio.Semaphore(_COLLECTIONS_AT_ONCE)

        async def collect(collector: Collector) -> None:
            async with at_once:
                try:
                    await collector.collect()
                except BackupServerUnavailable as error:
                    _log.debug("Backup server %s: %s", collector.server_uid, error)
                except Exception:  # noqa: BLE001 - the next round comes whatever happens
                    _log.exception("Collecting from %s failed.", collector.server_uid)

        while True:
            await asyncio.sleep(COLLECTION_INTERVAL)
            await asyncio.gather(*map(collect, list(self._collectors.values())))

    def _follow(self, collector: Collector) -> None:
        uid = collector.server_uid
        self._collectors[uid] = collector
        self._followers[uid] = asyncio.create_task(collector.follow(), name=f"follower of {uid}")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _proved(details: ConnectionDetails) -> Information:
    """Given how to reach a backup server, return who answers there with that certificate.

    Raises BackupServerUnavailable.
    """
    connection = BackupServerConnection(details.url, details.token, fingerprint=details.fingerprint)
    try:
        return await connection.information()
    finally:
        await connection.close()
