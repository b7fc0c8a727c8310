"""The health check: every file of a backup is read again and compared with its checksum.

What is damaged or missing is noted in the points that need it: in its own, and in all that are
built on it. They are not restored without being asked for, and nothing more is built on them. What
was noted before and is found whole again (a share that was not mounted) is taken back.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.subprocess import Process
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.engine.errors import ChainBroken, EngineError
from holdfast.engine.file_check import check_file
from holdfast.engine.files import ResticRepository
from holdfast.server import hosted_points, points, tables
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.damage import missing_snapshot, note_damage, points_needing
from holdfast.server.fulls import files_of
from holdfast.server.journal import FILES_CHAIN, ChainKey
from holdfast.server.publish import row_of
from holdfast.server.repositories import BackupPlace, Repositories
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Findings:
    """What a check of a chain found.

    `files` is how many were read (of a restic repository, its points); `problems` say what is
    wrong with which, by the reference of the machine or directory concerned. `packs` are those of
    a restic repository that are damaged.
    """

    files: int
    problems: dict[str, tuple[str, ...]]
    packs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    """A file to be read: its path in the repository, and who needs it."""

    path: str
    sha256: str
    uid: UUID | None
    point: UUID


class HealthCheck:
    """Checks chains. The chain's `work` must be held meanwhile."""

    def __init__(
        self,
        store: Store,
        repositories: Repositories,
        locks: ChainLocks,
        settlement: Settlement,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._locks = locks
        self._settlement = settlement

    async def check(self, key: ChainKey) -> Findings:
        """Check a chain; return and note what is wrong. Raise EngineError if it cannot be read."""
        # What is half done is neither whole nor damaged.
        if problems := await self._settlement.settle_chain(key):
            raise EngineError(f"The backup cannot be checked at the moment: {problems[0]}")
        place = await self._repositories.place_of(key.backup)
        await asyncio.to_thread(place.repository.ensure_available)
        packs: tuple[str, ...] = ()
        async with self._locks.files.share(key):
            if key.chain == FILES_CHAIN:
                checked, damaged, packs = await self._check_snapshots(key, place)
            else:
                checked, damaged = await self._check_files(key, place)
        # Looked at again: of a disk that went away meanwhile everything seems to be missing.
        await asyncio.to_thread(place.repository.ensure_available)
        noted = await self._store.write(lambda c: _note(c, key, damaged))
        return Findings(checked, noted, packs)

    async def look_again(self, keys: Collection[ChainKey]) -> None:
        """Check chains of which something was missing that is there again, one after the other."""
        for key in keys:
            try:
                async with self._locks.work.hold(key):
                    findings = await self.check(key)
            except EngineError as error:
                _LOGGER.warning("What is there again of %s is not checked: %s", key.chain, error)
            else:
                _LOGGER.warning(
                    "What was missing of %s is there again: %s",
                    key.chain,
                    "something is still damaged" if findings.problems else "all of it is whole",
                )

    async def _check_files(self, key: ChainKey, place: BackupPlace) -> tuple[int, dict[UUID, str]]:
        files = await self._store.read(lambda c: _files(c, key))
        bad_files: dict[UUID, str] = {}
        damaged: dict[UUID, str] = {}
        for file in files:
            try:
                await check_file(place.path(file.path), file.sha256)
            except ChainBroken as error:
                if file.uid is None:
                    damaged[file.point] = str(error)
                else:
                    bad_files[file.uid] = str(error)
        if bad_files:
            damaged |= await self._store.read(lambda c: points_needing(c, key.backup, bad_files))
        return len(files), damaged

    async def _check_snapshots(
        self, key: ChainKey, place: BackupPlace
    ) -> tuple[int, dict[UUID, str], tuple[str, ...]]:
        files = place.files()
        rows = await self._store.read(lambda c: _snapshots(c, key))
        present = await asyncio.to_thread(files.present_snapshots) if rows else set()
        damaged = {
            row.uid: missing_snapshot(files, row.snapshot_id)
            for row in rows
            if row.snapshot_id not in present
        }
        packs: tuple[str, ...] | None = ()
        try:
            packs = await files.damaged_packs() if rows else ()
        except ChainBroken as error:
            _LOGGER.error("%s", error)
            packs = None
        # What is damaged says nothing about who needs it: that is seen by reading all of each.
        for row in rows if packs != () else ():
            if row.uid in damaged:
                continue
            if (problem := await unreadable(files, row.snapshot_id)) is not None:
                damaged[row.uid] = problem
        return len(rows), damaged, packs or ()


async def note_readable(
    store: Store, files: ResticRepository, key: ChainKey, among: Collection[UUID] | None = None
) -> set[UUID]:
    """Read points of directories as a whole; note which are damaged, and return these.

    Those `among` these; without it, all that are not known to be damaged. Raise EngineError, also
    when the repository is away by the end: then nothing is noted.
    """
    rows = [
        row
        for row in await store.read(lambda c: _snapshots(c, key))
        if (row.damaged is None if among is None else row.uid in among)
    ]
    damaged: dict[UUID, str] = {}
    for row in rows:
        if (problem := await unreadable(files, row.snapshot_id)) is not None:
            damaged[row.uid] = problem
    await asyncio.to_thread(files.ensure_present)
    await store.write(lambda c: note_damage(c, rows, damaged))
    return set(damaged)


async def unreadable(files: ResticRepository, snapshot: str) -> str | None:
    """Read all of a snapshot; return why that is not possible, twice, or None."""
    running: set[Process] = set()
    problem: str | None = None
    for _ in range(2):
        try:
            async for _piece in files.dump(snapshot, "/", running):
                pass
        except ChainBroken as error:
            problem = str(error)
        else:
            return None
    return problem


def _files(connection: Connection, key: ChainKey) -> list[_File]:
    found = []
    built_on: list[tuple[UUID | None, UUID]] = []
    for row in points.points_of(connection, key.backup, key.chain):
        for file in files_of(connection, row):
            found.append(_File(file.path, file.sha256, file.uid, row.uid))
            built_on.append((file.parent_uid, row.uid))
        if row.detail is not None:
            known = hosted_points.decoded(row.detail)
            small = [each for each in (known.definition, known.nvram) if each is not None]
            paths = hosted_points.small_files(connection, row.uid)
            found += [
                _File(path, each.sha256, None, row.uid)
                for path, each in zip(paths, small, strict=True)
            ]
    # Files that have lost their point, and that others need.
    counted = {file.uid for file in found}
    for parent, point in built_on:
        while parent is not None and parent not in counted:
            file = row_of(connection, tables.backup_file, parent)
            found.append(_File(file.path, file.sha256, file.uid, point))
            counted.add(parent)
            parent = file.parent_uid
    return found


def _snapshots(connection: Connection, key: ChainKey) -> list[Row[Any]]:
    point = tables.machine_point
    return list(
        connection.execute(
            select(point)
            .where(point.c.backup_uid == key.backup, point.c.kind == "directory")
            .order_by(point.c.created)
        )
    )


def _note(
    connection: Connection, key: ChainKey, damaged: dict[UUID, str]
) -> dict[str, tuple[str, ...]]:
    """Write down which points of a chain are damaged, and which are not; return what is wrong."""
    rows: Sequence[Row[Any]] = (
        _snapshots(connection, key)
        if key.chain == FILES_CHAIN
        else points.points_of(connection, key.backup, key.chain)
    )
    note_damage(connection, rows, damaged)
    problems: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.uid in damaged:
            problems.setdefault(row.reference, {})[damaged[row.uid]] = None
    return {reference: tuple(found) for reference, found in problems.items()}
