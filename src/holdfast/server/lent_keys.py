"""Takes the keys back that were lent to hosts when a crash came in between.

Backups and instant recoveries take theirs back themselves. What a crash, or a host that was away at
that moment, has left is looked for when a host has answered for the first time since the start.
"""

from __future__ import annotations

import logging
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select

from holdfast.engine.errors import EngineError
from holdfast.server import tables
from holdfast.server.hosts import Hosts
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import Plan, RestoreHosted
from holdfast.server.session_state import JobSessionState
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)


class LentKeys:
    """Looks once for keys on each host."""

    def __init__(self, store: Store, hosts: Hosts) -> None:
        self._store = store
        self._hosts = hosts
        self._looked_at: set[UUID] = set()
        hosts.when_looked_at(self.run)

    async def run(self, hosts: frozenset[UUID]) -> None:
        """Take back what is left on some hosts, of what this server may have lent."""
        for host in hosts - self._looked_at:

            def read(connection: Connection, host: UUID = host) -> tuple[set[str], set[str]]:
                return _backed_up(connection, host), _no_more_recovered(connection, host)

            backed_up, recovered = await self._store.read(read)
            try:
                access = await self._hosts.access(host)
                await self._hosts.platform.take_keys_back(access, backed_up, recovered)
            except (EngineError, RefusedError) as error:
                _LOGGER.warning("Keys that were lent to a host may be there still: %s", error)
            else:
                self._looked_at.add(host)


def _backed_up(connection: Connection, host: UUID) -> set[str]:
    """Return the UUIDs of the machines of a host of which there was a backup."""
    machine, task = tables.host_machine, tables.task_session
    of_host = select(machine.c.uuid).where(machine.c.host_uid == host)
    tried = machine.c.reference.in_(select(task.c.reference))
    return set(connection.scalars(of_host.where(tried)))


def _no_more_recovered(connection: Connection, host: UUID) -> set[str]:
    """Return the UUIDs of the machines that were to run from a point on a host, and do not now."""
    session, recovery = tables.restore_session, tables.instant_recovery
    ended, in_use = set[str](), set[str]()
    begun = select(session.c.plan, session.c.state).where(session.c.plan.contains('"instant":"'))
    for row in connection.execute(begun):
        plan = msgspec.json.decode(row.plan, type=Plan)
        if isinstance(plan, RestoreHosted) and plan.host == host:
            (ended if row.state == JobSessionState.STOPPED else in_use).add(plan.uuid)
    running = select(recovery.c.uuid).where(recovery.c.host_uid == host)
    return ended - in_use - set(connection.scalars(running))
