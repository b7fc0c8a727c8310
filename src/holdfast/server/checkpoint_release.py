"""Takes the checkpoints of ended chains off the machines: no bitmap goes on growing for nobody.

A chain ends with its job. What its points know of a checkpoint is what tells that it may still be
on the machine: that is taken out of their rows when the host has let go of it, so that a host that
is away is asked again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Connection, select, update

from holdfast.engine.errors import EngineError, MachineMissing
from holdfast.server import hosted_points, tables
from holdfast.server.hosted_objects import MACHINE, locate
from holdfast.server.hosts import Hosts
from holdfast.server.job_lookup import running_session
from holdfast.server.refusal import RefusedError
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ended:
    """A chain that has ended: a machine in the backup of a job that was deleted."""

    backup: UUID
    reference: str
    host: UUID | None
    uuid: str


class CheckpointRelease:
    """Looks for ended chains whenever hosts were looked at."""

    def __init__(self, store: Store, hosts: Hosts) -> None:
        self._store = store
        self._hosts = hosts
        hosts.when_looked_at(self.run)

    async def run(self, hosts: frozenset[UUID]) -> None:
        """Release the checkpoints of the chains on some hosts that have ended."""
        for chain in await self._store.read(_ended):
            if chain.host is not None and chain.host not in hosts:
                continue
            try:
                # Of a machine that is nowhere any more, nothing is left.
                if chain.host is not None:
                    access = await self._hosts.access(chain.host)
                    await self._hosts.platform.release(access, chain.uuid, str(chain.backup))
            except MachineMissing:
                pass  # it went since the host was looked at
            except (EngineError, RefusedError) as error:
                _LOGGER.warning("Checkpoints of %s stay for now: %s", chain.reference, error)
                continue

            def note(connection: Connection, ended: _Ended = chain) -> None:
                _note_release(connection, ended)

            await self._store.write(note)


def _ended(connection: Connection) -> list[_Ended]:
    point, backup, job = tables.machine_point, tables.backup, tables.job
    rows = connection.execute(
        select(point.c.backup_uid, point.c.reference, point.c.detail, backup.c.job_uid)
        .join(backup, backup.c.uid == point.c.backup_uid)
        .join(job, job.c.uid == backup.c.job_uid)
        .where(job.c.deleted, point.c.kind == MACHINE)
    )
    found = {}
    for row in rows:
        known = hosted_points.decoded(row.detail)
        if known.checkpoint is None or running_session(connection, row.job_uid) is not None:
            continue
        where = locate(connection, row.reference)
        host = None if where is None else where.host_uid
        found[row.backup_uid, row.reference] = _Ended(
            row.backup_uid, row.reference, host, known.uuid
        )
    return list(found.values())


def _note_release(connection: Connection, chain: _Ended) -> None:
    table = tables.machine_point
    same = (table.c.backup_uid == chain.backup) & (table.c.reference == chain.reference)
    for row in connection.execute(select(table).where(same)).all():
        known = replace(hosted_points.decoded(row.detail), checkpoint=None, parent_checkpoint=None)
        text = hosted_points.encoded(known)
        connection.execute(update(table).where(table.c.uid == row.uid).values(detail=text))
