"""Hosts of virtual machines: added, changed, removed, looked at again and again.

A host that is away delays nobody: it is asked outside the database, with a time limit, and what
was known of it stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection, update

from holdfast.engine.errors import EngineError
from holdfast.engine.libvirt_uri import checked_uri
from holdfast.sealing import SealBroken
from holdfast.server import host_machines, host_records, tables
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.host_specification import HostEdit, HostSpecification
from holdfast.server.messages import Command, Made
from holdfast.server.operations import Done, Operation, Preparation, read_arguments
from holdfast.server.platform import HostAccess, Platform
from holdfast.server.refusal import RefusedError
from holdfast.server.secrets_at_rest import SecretsAtRest
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

RESCAN = timedelta(minutes=10)
_TIME_LIMIT = 120.0
T = TypeVar("T")


class Hosts:
    """The hosts of one server."""

    def __init__(
        self, store: Store, clock: Clock, platform: Platform, secrets: SecretsAtRest
    ) -> None:
        self._store = store
        self._clock = clock
        self._platform = platform
        self._secrets = secrets
        self._asking: set[asyncio.Task[Any]] = set()
        self._stopped = False
        self._when_looked_at: list[Callable[[frozenset[UUID]], Awaitable[None]]] = []
        # Two looks at one host, one after the other: the later one is what counts.
        self._turns: defaultdict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def preparations(self) -> Mapping[str, Preparation]:
        """The commands for which a host is asked first, by name."""
        return {
            "add-host": self._add,
            "edit-host": self._edit,
            "rescan-host": self._rescan,
        }

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The other commands that are about hosts, by name."""
        return {"remove-host": self._remove}

    async def run(self) -> None:
        """Look at all hosts now and then, until cancelled."""
        thorough = True
        while True:
            again = self._clock.now() + RESCAN
            try:
                await self._scan_all(thorough=thorough)
                thorough = False
            except Exception:
                # One look that fails, for whatever reason, must not be the last.
                _LOGGER.exception("The hosts cannot be looked at at the moment")
            await self._clock.sleep_until(again)

    def when_looked_at(self, call: Callable[[frozenset[UUID]], Awaitable[None]]) -> None:
        """Have something called with the hosts that have answered when some were looked at."""
        self._when_looked_at.append(call)

    def stop(self) -> None:
        """Wait for no host any more."""
        self._stopped = True
        for task in self._asking:
            task.cancel()

    async def refresh(self, hosts: Iterable[UUID]) -> dict[UUID, str]:
        """Note which machines hosts have now; return those that cannot be asked, and why.

        Others are looked at, too, when machines may have moved to them.
        """
        uids = list(hosts)
        before = await self._store.read(lambda c: host_machines.active_on(c, uids))
        reasons = await asyncio.gather(*(self._scan(uid, thorough=False) for uid in uids))
        away = {uid: reason for uid, reason in zip(uids, reasons, strict=True) if reason}
        doubtful = await self._store.read(lambda c: host_machines.hosts_in_doubt(c, uids, before))
        await asyncio.gather(*(self._scan(uid, thorough=False) for uid in doubtful - away.keys()))
        return away

    async def answering(self, hosts: Iterable[UUID], seconds: float) -> set[UUID]:
        """Note which machines hosts have now; return those that have answered in time."""

        async def look(uid: UUID) -> str | None:
            try:
                async with asyncio.timeout(seconds):
                    return await self._scan(uid, thorough=False)
            except TimeoutError:
                return f"The host did not answer within {seconds:g} s."

        uids = list(hosts)
        reasons = await asyncio.gather(*(look(uid) for uid in uids))
        return {uid for uid, reason in zip(uids, reasons, strict=True) if reason is None}

    @property
    def platform(self) -> Platform:
        """What asks the hosts."""
        return self._platform

    async def staging(self, uid: UUID) -> Path | None:
        """Return the folder that QEMU on a host writes to; None for the repository's own."""
        return await self._store.read(lambda c: self.staging_in(c, uid))

    def staging_in(self, connection: Connection, uid: UUID) -> Path | None:
        """As `staging`, within a transaction."""
        row = host_records.host_in_use(connection, uid)
        return None if row.staging is None else Path(row.staging)

    async def access(self, uid: UUID) -> HostAccess:
        """Return how to reach a host. Raise RefusedError when that is not known."""
        return await self._store.read(lambda c: self.access_in(c, uid))

    def access_in(self, connection: Connection, uid: UUID) -> HostAccess:
        """As `access`, within a transaction."""
        row = host_records.host_in_use(connection, uid)
        return self._access(connection, row.uri, row.credentials_uid)

    async def _add(self, command: Command) -> Operation:
        wanted = read_arguments(command, HostSpecification)
        uri = checked_uri(wanted.uri)
        name = wanted.name.strip()
        given = {"uri": uri} | ({"name": name} if name else {})
        await self._store.read(lambda c: host_records.refuse_duplicates(c, None, given))
        access = await self._store.read(lambda c: self._access(c, uri, wanted.credentials))
        facts = await self._ask(self._platform.probe(access))
        machines = await self._ask(self._platform.machines(access))

        def add(connection: Connection, _command: Command, now: datetime) -> Done:
            uid = uuid4()
            shown = name or facts.hostname
            values = {
                "uid": uid,
                "name": shown,
                "uri": uri,
                "description": wanted.description,
                "credentials_uid": wanted.credentials,
                "staging": wanted.staging,
            }
            host_records.insert_host(connection, values)
            host_records.record_scan(connection, uid, facts, machines, milliseconds(now))
            return Done(made=Made(type="ManagedServer", uid=uid, name=shown))

        return add

    async def _edit(self, command: Command) -> Operation:
        edit = read_arguments(command, HostEdit)
        before = await self._store.read(lambda c: host_records.host_in_use(c, command.target))
        values: dict[str, Any] = {
            name: value
            for name, value in msgspec.structs.asdict(edit).items()
            if value is not UNSET
        }
        if "name" in values:
            values["name"] = values["name"].strip()
        if "uri" in values:
            values["uri"] = checked_uri(values["uri"])
        if "credentials" in values:
            values["credentials_uid"] = values.pop("credentials")
        after = {**before._mapping, **values}
        facts, machines = None, None
        if any(after[name] != before._mapping[name] for name in ("uri", "credentials_uid")):
            # Nothing is changed unless the host answers there.
            access = await self._store.read(
                lambda c: self._access(c, after["uri"], after["credentials_uid"])
            )
            facts = await self._ask(self._platform.probe(access))
            machines = await self._ask(self._platform.machines(access))

        def change(connection: Connection, _command: Command, now: datetime) -> Done:
            host = host_records.host_in_use(connection, command.target)
            host_records.refuse_duplicates(connection, host.uid, values)
            if values:
                table = tables.host
                connection.execute(update(table).where(table.c.uid == host.uid).values(values))
            host_records.rename_host(connection, host.uid)
            if machines is not None:
                at = milliseconds(now)
                host_records.record_scan(connection, host.uid, facts, machines, at)
            return Done(made=Made(type="ManagedServer", uid=host.uid, name=after["name"]))

        return change

    async def _rescan(self, command: Command) -> Operation:
        """Look at one host or, without a target, at all of them."""
        if command.target is None:
            problems = await self._scan_all(thorough=True)
        else:
            uid = command.target
            await self._store.read(lambda c: host_records.host_in_use(c, uid))
            problems = await self._look([uid], thorough=True)
        reasons = [problem for problem in problems if problem is not None]

        def tell(_connection: Connection, _command: Command, _now: datetime) -> Done:
            if reasons:
                raise RefusedError(" ".join(reasons))
            return Done()

        return tell

    def _remove(self, connection: Connection, command: Command, _now: datetime) -> Done:
        host_records.remove_host(connection, command.target)
        return Done()

    async def _scan_all(self, *, thorough: bool) -> list[str | None]:
        uids = await self._store.read(host_records.host_uids)
        return await self._look(uids, thorough=thorough)

    async def _look(self, uids: Sequence[UUID], *, thorough: bool) -> list[str | None]:
        """Look at hosts, and see to what those need that have answered."""
        problems = await asyncio.gather(*(self._scan(uid, thorough=thorough) for uid in uids))
        answered = {uid for uid, problem in zip(uids, problems, strict=True) if problem is None}
        for call in self._when_looked_at:
            try:
                await self._ask(call(frozenset(answered)))
            except (EngineError, RefusedError) as error:
                _LOGGER.warning("What hosts need could not be seen to: %s", error)
            except Exception:
                # It is done again at the next look, and what was found stays found.
                _LOGGER.exception("What hosts need could not be seen to")
        return problems

    async def _scan(self, uid: UUID, *, thorough: bool) -> str | None:
        """Look at a host and write down what is found; return why it cannot be, if so.

        A `thorough` look probes what the host can, too, as does the first after it was away.
        """
        async with self._turns[uid]:
            try:
                row, access = await self._store.read(
                    lambda c: (host_records.host_in_use(c, uid), self.access_in(c, uid))
                )
                probed = thorough or row.state != host_records.AVAILABLE
                facts = await self._ask(self._platform.probe(access)) if probed else None
                machines = await self._ask(self._platform.machines(access))
            except (EngineError, RefusedError) as error:
                reason = str(error)
                if not self._stopped:
                    await self._store.write(lambda c: host_records.record_away(c, uid, reason))
                return reason
            now = milliseconds(self._clock.now())
            await self._store.write(
                lambda c: host_records.record_scan(c, uid, facts, machines, now)
            )
            return None

    async def _ask(self, question: Awaitable[T]) -> T:
        """Wait for a host's answer, for a time, and not beyond the end of the server."""
        task: asyncio.Task[T] = asyncio.ensure_future(question)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        try:
            async with asyncio.timeout(_TIME_LIMIT):
                return await task
        except TimeoutError:
            raise RefusedError(f"The host did not answer within {_TIME_LIMIT:g} s.") from None
        except asyncio.CancelledError:
            if self._stopped and task.cancelled():
                raise RefusedError("The backup server is shutting down.") from None
            raise

    def _access(self, connection: Connection, uri: str, credentials: UUID | None) -> HostAccess:
        if credentials is None:
            return HostAccess(uri)
        try:
            account = self._secrets.account(connection, credentials)
        except SealBroken as error:
            raise RefusedError(f"credentials: {error}") from None
        except RefusedError as error:
            raise RefusedError(f"credentials: {error}") from None
        return HostAccess(uri, account.username, account.password)
