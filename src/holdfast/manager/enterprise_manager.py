"""The manager as a whole: what the API, the command line and the tests hold on to."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from holdfast.catalog.reader import CatalogReader
from holdfast.catalog.store import CatalogStore
from holdfast.catalog.writer import OWNER
from holdfast.manager.accounts import Accounts
from holdfast.manager.backup_servers import BackupServers
from holdfast.manager.clock import Clock, system_clock
from holdfast.manager.commands import COMMANDS
from holdfast.manager.connection import BackupServerConnection, BackupServerUnavailable
from holdfast.manager.errors import ResourceGone
from holdfast.manager.logon_sessions import LogonLimits, LogonSession, LogonSessions
from holdfast.manager.reports import Reports
from holdfast.manager.scopes import Scopes
from holdfast.manager.tasks import Tasks
from holdfast.schema.core import CORE
from holdfast.schema.resource import Action, ResourceType, Schema
from holdfast.server.messages import Command

_log = logging.getLogger(__name__)

_CLEANING_INTERVAL = 60.0


class EnterpriseManager:
    """One manager: its catalog, accounts, logon sessions, tasks and backup servers.

    `directory` holds its database and its keys, nothing else. With `from_schema` the catalog's
    tables are made straight from `schema` instead of by migrations. `logon_program` proves
    accounts that have no local password.
    """

    def __init__(
        self,
        directory: Path,
        schema: Schema = CORE,
        *,
        clock: Clock = system_clock,
        logon_limits: LogonLimits | None = None,
        from_schema: bool = False,
        logon_program: Path | None = None,
    ) -> None:
        self._directory = directory
        self._from_schema = from_schema
        self.schema = schema
        self.clock = clock
        self.store = CatalogStore(directory / "catalog.db", schema)
        self.reader = CatalogReader(self.store)
        self.reports = Reports(self.store, clock)
        self.accounts = Accounts(self.store, clock, logon_program)
        self.scopes = Scopes(self.store)
        self.logon_sessions = LogonSessions(self.store, clock, logon_limits or LogonLimits())
        self.servers = BackupServers(self.store, directory / "keys" / "secrets.key")
        self._background: set[asyncio.Task[None]] = set()
        self.tasks = Tasks(self.store, self.servers.get)

    async def start(self) -> None:
        """Open the catalog. Connect the backup servers next (`servers`), then `resume`."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self.store.open(from_schema=self._from_schema)
        await self.accounts.show_all()
        await self.logon_sessions.remove_expired()
        self._in_background(self._clean())

    async def connect(
        self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> UUID:
        """Given a backup server's line and token, collect from it until the manager stops.

        Returns its UID. Raises BackupServerUnavailable.
        """
        return await self.servers.connect(url, token, transport)

    async def resume(self) -> None:
        """Go on with the tasks of before the last stop."""
        await self.tasks.resume()

    async def stop(self) -> None:
        """Stop collecting and close the catalog."""
        await self.tasks.stop()
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)
        await self.servers.stop()
        await self.store.close()

    async def collected(self) -> None:
        """Return when the catalog holds all that the servers handed in have published by now."""
        await self.servers.collected()

    def connection_to(self, server: UUID | None) -> BackupServerConnection:
        """Given a backup server, return the line to it. Raises BackupServerUnavailable."""
        collector = None if server is None else self.servers.get(server)
        if collector is None:
            raise BackupServerUnavailable("it is not connected")
        return collector.connection

    async def act(
        self,
        session: LogonSession,
        resource: ResourceType,
        action: Action,
        row: Mapping[str, Any],
        body: Mapping[str, Any],
        above: ResourceType | None = None,
    ) -> UUID:
        """Given an action on a row, start a task that has it done; return the task's UID.

        For an action that creates, the row is that of the type `above` below which it does.
        Raises RequestError for a body that makes no sense.
        """
        target, uid = above or resource, UUID(row["UID"])
        if (resource.name, action.name) == ("BackupServer", "collect"):
            return await self.tasks.start_collection(session, action.operation, uid)
        kind = COMMANDS[resource.name, action.name]
        command = Command(
            request_id=uuid4(),
            operation=kind.operation,
            target=uid,
            arguments=kind.arguments(body, row),
            asked_by=session.user_name,
        )
        is_server = target.name == "BackupServer"
        server = uid if is_server else await self.reader.related(target, uid, OWNER)
        if server is None:
            raise ResourceGone(f"Cannot find {target.name} [{uid}].")
        return await self.tasks.start(session, action.operation, server, command)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        self._background.add(asyncio.create_task(work))

    async def _clean(self) -> None:
        while True:
            await asyncio.sleep(_CLEANING_INTERVAL)
            try:
                await self.logon_sessions.remove_expired()
                await self.accounts.failures.remove_old()
            except sqlite3.Error:
                _log.exception("Logon sessions that are over could not be removed.")
