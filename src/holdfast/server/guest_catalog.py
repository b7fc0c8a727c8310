"""The catalog of the files in restore points: indexed when a session has ended, kept beside the
database, and shown to managers as CatalogVm and CatalogVmRestorePoint.

An index that cannot be made is logged; the backup it belongs to is none the worse for it. It is
tried again, unless the reason lies in the point itself: that is kept, in a file beside the indexes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, Row, Select, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.browser import Browser
from holdfast.engine.durability import PARTIAL_SUFFIX
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    ImageInUse,
    KeyRefused,
    NoSpace,
    RepositoryUnavailable,
    ToolMissing,
)
from holdfast.engine.guest_disk import GuestDisk
from holdfast.engine.guest_index import (
    GREATEST_INDEX,
    GuestIndex,
    IndexNotWritten,
    build_index,
)
from holdfast.engine.guest_snapshot import GuestSnapshot, whole_snapshot
from holdfast.server import outbox, tables
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.hosted_points import disk_paths
from holdfast.server.job_specification import REPLICA
from holdfast.server.journal import ChainKey
from holdfast.server.names import restore_point_name
from holdfast.server.outbox import Resource, publish, withdraw
from holdfast.server.refusal import RefusedError
from holdfast.server.repositories import Repositories
from holdfast.server.restore_plan import point_row
from holdfast.server.session_state import JobSessionState
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
#: A point that takes longer than this is given up for now.
_LONGEST_SECONDS = 600.0
#: When it is tried again: each time after twice as long as before.
_AGAIN_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0
#: What may lie in the point as well as in the machine that reads it is taken for lasting after so
#: many attempts.
_ATTEMPTS = 5
_READING = ".reading"
_REASON = ".reason"
_LONGEST_REASON = 1000

#: What has nothing to do with the point. It never leaves one without an index.
_PASSING = (
    RepositoryUnavailable,
    IndexNotWritten,
    NoSpace,
    ToolMissing,
    ImageInUse,
    KeyRefused,
    RefusedError,
    OSError,
)


class _Attempts:
    """How often points could not be indexed, and when that is tried again. A start forgets it."""

    def __init__(self) -> None:
        self._failures: dict[UUID, tuple[int, float]] = {}

    def are_over(self, point: UUID) -> bool:
        """Say whether this was the last attempt."""
        return self._failures.get(point, (0, 0.0))[0] + 1 >= _ATTEMPTS

    def note(self, point: UUID) -> None:
        """Note one more that has failed."""
        number, _ = self._failures.get(point, (0, 0.0))
        pause = min(_AGAIN_SECONDS * 2 ** min(number, 10), _LONGEST_PAUSE_SECONDS)
        self._failures[point] = (number + 1, time.monotonic() + pause)

    def may_be_made(self, point: UUID) -> bool:
        """Say whether it is time for one."""
        return time.monotonic() >= self._failures.get(point, (0, 0.0))[1]

    def forget(self, point: UUID) -> None:
        """Forget them: there is an index, or never will be."""
        self._failures.pop(point, None)


class GuestCatalog:
    """The indexes of a server's points. `directory` is theirs alone."""

    def __init__(
        self, store: Store, repositories: Repositories, locks: ChainLocks, directory: Path
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._locks = locks
        self._directory = directory
        self._turn = asyncio.Lock()
        self._attempts = _Attempts()

    def index_of(self, point: UUID) -> GuestIndex:
        """Return the index of a point; refuse when there is none. Blocking."""
        path = self._path(point)
        if not path.is_file():
            refusal = f"The files of restore point [{point}] are not in the catalog."
            with contextlib.suppress(OSError):
                refusal += f" {self._reason(point).read_text()}"
            raise RefusedError(refusal)
        return GuestIndex(path)

    async def run(self) -> None:
        """Keep the catalog up with the points, until cancelled."""
        await asyncio.to_thread(self._prepare)
        await self._store.write(self._forget_unexplained)
        while True:
            seen = await self._store.read(outbox.cursor)
            try:
                await self.catch_up()
            except (SQLAlchemyError, OSError):
                _LOGGER.exception("The catalog of files cannot be brought up to date at the moment")
            await self._store.wait_for_changes(seen, _WAIT_SECONDS)
            # A session changes much within a moment: that is looked at once.
            await asyncio.sleep(_PAUSE_SECONDS)

    def _prepare(self) -> None:
        """Remove what an index that was being made has left."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for left in self._directory.glob(f"*{_READING}"):
            shutil.rmtree(left, ignore_errors=True)
        for left in self._directory.glob(f"*{PARTIAL_SUFFIX}"):
            left.unlink(missing_ok=True)

    async def catch_up(self) -> None:
        """Index the points that have no index yet; forget those that are gone."""
        async with self._turn:
            await self._catch_up()

    async def _catch_up(self) -> None:
        for uid in await self._store.read(_gone):
            self._attempts.forget(uid)
            for path in (self._path(uid), self._reason(uid)):
                await asyncio.to_thread(path.unlink, missing_ok=True)
            await self._store.write(partial(_forget, uid))
        later: set[UUID] = set()
        while points := [
            point
            for point in await self._store.read(_without_index)
            if point.uid not in later and self._attempts.may_be_made(point.uid)
        ]:
            for row in points:
                entries = await self._index(row)
                if entries is None:
                    later.add(row.uid)
                else:
                    self._attempts.forget(row.uid)
                    await self._store.write(partial(_record, row, entries))

    def _forget_unexplained(self, connection: Connection) -> None:
        """Forget that points have no index where it is not kept why: older versions kept none."""
        for uid in connection.scalars(_unindexed()).all():
            if not self._path(uid).exists() and not self._reason(uid).exists():
                _forget(uid, connection)

    async def _index(self, row: Row[Any]) -> int | None:
        """Index a point; return how many entries it has: 0 when it cannot be indexed, None when it
        cannot be just now."""
        try:
            return await self._try_index(row)
        except SQLAlchemyError:
            raise  # our own database
        except TimeoutError as error:
            return await self._later_or_never(row, error)
        except _PASSING as error:
            return self._later(row, error)
        except ChainBroken as error:
            return await self._never(row, error)
        except EngineError as error:
            return await self._later_or_never(row, error)
        except Exception as error:
            # What is in a point was written by others: one must not end the catalog of all.
            _LOGGER.exception('The files of "%s" cannot be indexed', row.display_name)
            return await self._never(row, error)

    def _later(self, row: Row[Any], error: Exception) -> int | None:
        reason = _told(error)
        _LOGGER.warning('The files of "%s" are indexed later: %s', row.display_name, reason)
        # Whether a repository is there again costs nothing to ask.
        if not isinstance(error, RepositoryUnavailable):
            self._attempts.note(row.uid)
        return None

    async def _later_or_never(self, row: Row[Any], error: Exception) -> int | None:
        if self._attempts.are_over(row.uid):
            return await self._never(row, error)
        return self._later(row, error)

    async def _never(self, row: Row[Any], error: Exception) -> int | None:
        """Keep why a point has no index; return 0, or None when even that cannot be done now."""
        reason = _told(error)
        try:
            await asyncio.to_thread(self._reason(row.uid).write_text, reason)
        except OSError as full:
            return self._later(row, full)
        _LOGGER.warning('The files of "%s" are not indexed: %s', row.display_name, reason)
        return 0

    async def _try_index(self, row: Row[Any]) -> int | None:
        """As `_index`; raise what went wrong."""
        stopped = asyncio.Event()
        key = ChainKey.of(row.backup_uid, row.kind, row.reference)
        # Retention does not wait for an index: it is made when the files are at rest again.
        async with self._locks.files.share(key, stopped.set):
            async with asyncio.timeout(_LONGEST_SECONDS):
                return await self._unless(stopped, self._build(row))

    async def _unless(self, stopped: asyncio.Event, work: Coroutine[None, None, int]) -> int | None:
        """Return what the work returns, or None when it is to stop before it is done."""
        building = asyncio.create_task(work)
        waiting = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({building, waiting}, return_when=asyncio.FIRST_COMPLETED)
            return building.result() if building.done() else None
        finally:
            waiting.cancel()
            building.cancel()
            await asyncio.gather(building, waiting, return_exceptions=True)

    async def _build(self, row: Row[Any]) -> int:
        place = await self._repositories.place_of(row.backup_uid)
        await asyncio.to_thread(place.repository.ensure_available)
        known = await self._store.read(lambda c: point_row(c, row.uid))
        folder = self._directory / f"{row.uid.hex}{_READING}"
        await asyncio.to_thread(folder.mkdir, mode=0o700, exist_ok=True)
        try:
            browser: Browser
            if row.snapshot_id is None:
                paths = await self._store.read(lambda c: disk_paths(c, known))
                key = await self._repositories.data_keys.of_file(known.backup_file_uid)
                disks = [place.path(path) for path in paths]
                try:
                    browser = await GuestDisk.open(disks, folder, key)
                except ChainBroken:
                    # When its disk goes away meanwhile, everything seems to be missing.
                    await asyncio.to_thread(place.repository.ensure_available)
                    raise
            else:
                root = PurePath(row.source_path).name or row.display_name
                snapshot = GuestSnapshot(place.files(), known.snapshot_id, root)
                browser = await whole_snapshot(snapshot, GREATEST_INDEX)
            try:
                return await build_index(browser, self._path(row.uid))
            finally:
                await browser.close()
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _path(self, point: UUID) -> Path:
        return self._directory / f"{point.hex}.sqlite"

    def _reason(self, point: UUID) -> Path:
        return self._directory / f"{point.hex}{_REASON}"


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "It took too long."
    known = isinstance(error, EngineError | RefusedError | OSError)
    said = str(error) if known else "What is in it cannot be understood."
    return said[:_LONGEST_REASON]


def _without_index(connection: Connection) -> list[Row[Any]]:
    """Return points of ended sessions that have no index yet: running ones are not held up."""
    point, known = tables.machine_point, tables.guest_index
    restore_point, session = tables.restore_point, tables.job_session
    return list(
        connection.execute(
            select(point)
            .join(restore_point, restore_point.c.uid == point.c.restore_point_uid)
            .join(session, session.c.uid == restore_point.c.job_session_uid)
            .outerjoin(known, known.c.point_uid == point.c.uid)
            .where(known.c.point_uid.is_(None), session.c.state == JobSessionState.STOPPED)
            # Points of replicas have no place in the catalog.
            .where(session.c.job_kind != REPLICA)
            .order_by(point.c.created)
        )
    )


def _unindexed() -> Select[Any]:
    known = tables.guest_index
    return select(known.c.point_uid).where(known.c.entries == 0)


def _gone(connection: Connection) -> list[UUID]:
    known, point = tables.guest_index, tables.machine_point
    query = select(known.c.point_uid).outerjoin(point, point.c.uid == known.c.point_uid)
    return list(connection.scalars(query.where(point.c.uid.is_(None))))


def _record(point: Row[Any], entries: int, connection: Connection) -> None:
    """Note that a point was indexed, and show it when there is something in its index."""
    connection.execute(
        insert(tables.guest_index).values(
            point_uid=point.uid, display_name=_catalog_name(point), entries=entries
        )
    )
    if not entries:
        return
    name = _catalog_name(point)
    machine = _machine_uid(connection, name)
    publish(connection, Resource("CatalogVm", machine, name, {"VmDisplayName": name}))
    relations = {"vm": machine}
    if point.snapshot_id is None:
        relations["point"] = point.uid
    publish(
        connection,
        Resource(
            "CatalogVmRestorePoint",
            point.uid,
            restore_point_name(point.created),
            {"BackupDateUTC": point.created},
            relations,
        ),
    )


def _forget(point: UUID, connection: Connection) -> None:
    table = tables.guest_index
    name = connection.scalar(select(table.c.display_name).where(table.c.point_uid == point))
    connection.execute(delete(table).where(table.c.point_uid == point))
    withdraw(connection, "CatalogVmRestorePoint", point)
    others = select(table.c.point_uid).where(table.c.display_name == name, table.c.entries > 0)
    if connection.execute(others.limit(1)).first() is None:
        withdraw(connection, "CatalogVm", _machine_uid(connection, str(name)))


def _catalog_name(point: Row[Any]) -> str:
    """Return the name of a machine in the catalog: a part of an address, so without slashes."""
    return str(point.display_name).strip("/").replace("/", "\\")


def _machine_uid(connection: Connection, name: str) -> UUID:
    server: UUID = connection.scalars(select(tables.server.c.uid)).one()
    return uuid5(server, f"CatalogVm {name}")
