"""Machines that run from their restore point: moved to their own storage, or taken away.

Both can be begun again at any moment, and are, when a crash interrupted them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import EngineError, HypervisorUnavailable, KeyRefused
from holdfast.engine.progress import ProgressCallback
from holdfast.server import instant_records
from holdfast.server.chain_locks import ChainLocks, turn_at
from holdfast.server.data_keys import DataKeys
from holdfast.server.hosts import Hosts
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import Instant, MigrateInstant, point_row
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_HOST_AGAIN_SECONDS = 30.0


class InstantRecoveries:
    """The instant recoveries of a server, once they run."""

    def __init__(self, store: Store, hosts: Hosts, data_keys: DataKeys, locks: ChainLocks) -> None:
        self._store = store
        self._locks = locks
        self._hosts = hosts
        self._data_keys = data_keys
        self._closing = False
        # A key is never lent to a machine while that moves or is being discarded.
        self._turns: defaultdict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def lend_keys(self, hosts: frozenset[UUID]) -> None:
        """Let the machines on hosts that run from encrypted points be powered on.

        A host knows their keys only until its daemon ends: they are lent again at each look.
        """
        await asyncio.gather(*(self._lend_keys(host) for host in hosts))

    async def _lend_keys(self, host: UUID) -> None:
        running = partial(instant_records.running, host=host)
        for row in await self._store.read(running):
            turn = self._turns[row.uid]
            if turn.locked():
                continue  # it moves or is being discarded by now, and its key is then taken back
            async with turn:
                if row in await self._store.read(running):
                    await self._lend_key(row)

    async def _lend_key(self, row: Row[Any]) -> None:
        key = await self._key_of(row)
        if key is None:
            return
        try:
            access = await self._hosts.access(row.host_uid)
            await self._hosts.platform.lend_key(access, row.uuid, key)
        except (EngineError, RefusedError) as error:
            _LOGGER.warning(
                "It could not be seen to that %s can be powered on: %s", row.name, error
            )

    def leave_going(self) -> None:
        """Let what is being copied go on without us, as the server ends: the next start follows."""
        self._closing = True

    async def run(self, plan: Instant, on_progress: ProgressCallback) -> str:
        """Carry a plan out; return what is to be noted.

        Raise EngineError or RefusedError with the reason for a failure.
        """
        async with self._turns[plan.recovery]:
            return await self._run(plan, on_progress)

    async def _run(self, plan: Instant, on_progress: ProgressCallback) -> str:
        row = await self._store.read(lambda c: instant_records.row_in_use(c, plan.recovery))
        async with turn_at(self._locks.machines, row.uuid, row.name):
            return await self._carry_out(row, plan, on_progress)

    async def _carry_out(self, row: Row[Any], plan: Instant, on_progress: ProgressCallback) -> str:
        access = await self._hosts.access(row.host_uid)
        files = instant_records.files_of(row)
        platform = self._hosts.platform
        if isinstance(plan, MigrateInstant):
            key = await self._key_of(row)
            left = await platform.move_to_own_storage(
                access, row.uuid, files, _token(row), on_progress, lambda: self._closing, key
            )
        else:
            left = await platform.discard(access, row.uuid, files, _token(row))
            # It is gone: nothing that is asked for now can change that.
            with contextlib.suppress(asyncio.CancelledError):
                await self._hosts.refresh([row.host_uid])
        return " ".join(left)

    async def _key_of(self, row: Row[Any]) -> DataKey | None:
        """Return the key of the point that a machine runs from, None also when it is not to be had.

        A machine that is on has it, and goes on without.
        """
        try:
            point = await self._store.read(lambda c: point_row(c, row.machine_point_uid))
            return await self._data_keys.of_file(point.backup_file_uid)
        except (RefusedError, KeyRefused) as error:
            _LOGGER.warning("There is no key for the machine %s: %s", row.name, error)
            return None

    async def put_right(
        self, plan: Instant, on_progress: ProgressCallback, stopped: str | None
    ) -> str:
        """Go on with a plan that a crash interrupted, also when it was done already.

        Waits for a host that does not answer. `stopped` is why it was to be stopped, if it was.
        """
        while True:
            try:
                if stopped is None:
                    return await self.run(plan, on_progress)
                await self._leave(plan)
                raise RefusedError(stopped)
            except HypervisorUnavailable as error:
                _LOGGER.warning("%s does not go on yet: %s", plan, error)
                await asyncio.sleep(_HOST_AGAIN_SECONDS)

    async def _leave(self, plan: Instant) -> None:
        if isinstance(plan, MigrateInstant):
            row = await self._store.read(lambda c: instant_records.row_in_use(c, plan.recovery))
            access = await self._hosts.access(row.host_uid)
            files = instant_records.files_of(row)
            await self._hosts.platform.stop_moving(access, row.uuid, files, _token(row))


def _token(row: Row[Any]) -> str:
    """Return what the names of the files that a machine moves to have of their own."""
    return str(row.uid.hex[:8])
