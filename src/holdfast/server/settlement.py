"""Settles the journal: every entry is brought to an end, done or undone, whatever went before.

The same code runs after a failure, after a stop, and after the power came back; so what recovery
does is what happens every day. Each step may be interrupted and run again.
"""

from __future__ import annotations

import asyncio
import glob
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select

from holdfast.engine.durability import PARTIAL_SUFFIX
from holdfast.engine.errors import ChainBroken, EngineError
from holdfast.engine.file_check import check_file
from holdfast.engine.image import MergeResult, is_merged, merge_into_parent, remove_image
from holdfast.engine.image_rebuild import (
    discard_rebuilt,
    is_built_on,
    measured,
    rebuild_image,
    take_place,
)
from holdfast.engine.progress import ProgressCallback, ignore_progress
from holdfast.engine.qemu_image import Storing
from holdfast.server import journal, points, tables
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.damage import note_bad_files
from holdfast.server.journal import (
    ChainKey,
    ForgetSnapshots,
    Intent,
    MakeImage,
    MakeMachine,
    MakeSnapshot,
    MergeImages,
    RebuildImage,
    RemoveFiles,
    RemoveImage,
)
from holdfast.server.manifest import (
    Manifest,
    recorded_manifest,
    remove_manifest,
    remove_snapshot_manifests,
    write_manifest,
)
from holdfast.server.points import holds
from holdfast.server.publish import row_of
from holdfast.server.repositories import BackupPlace, Repositories
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)


class JournalError(Exception):
    """An entry of the journal would destroy what the catalog still needs. It is not carried out."""


class Settlement:
    """Brings entries of the journal to an end. The chain's `work` must be held meanwhile."""

    def __init__(self, store: Store, repositories: Repositories, locks: ChainLocks) -> None:
        self._store = store
        self._repositories = repositories
        self._locks = locks

    async def settle(self, intent: Intent, proved: Collection[UUID] = ()) -> None:
        """Bring one entry to an end, if it still stands. Raise EngineError if it cannot be now.

        `proved` are files that were compared with their checksums just before.
        """
        if not await self._store.read(lambda connection: journal.stands(connection, intent)):
            return
        place = await self._repositories.place_of(intent.key.backup)
        # An empty mount point must not look like a repository whose files are gone.
        await asyncio.to_thread(place.repository.ensure_available)
        match intent.work:
            case MakeImage():
                await self._undo_image(intent, intent.work, place)
            case MakeMachine():
                await self._undo_machine(intent, intent.work, place)
            case RemoveFiles():
                async with self._locks.files.hold(intent.key):
                    await self._remove_files(intent, intent.work, place)
            case MakeSnapshot():
                await self._undo_snapshot(intent, intent.work, place)
            case RemoveImage():
                async with self._locks.files.hold(intent.key):
                    await self._remove_image(intent, intent.work, place)
            case MergeImages():
                async with self._locks.files.hold(intent.key):
                    await self._merge_images(intent, intent.work, place, proved)
            case RebuildImage():
                await self._settle_rebuilding(intent, intent.work, place)
            case ForgetSnapshots():
                async with self._locks.files.hold(intent.key):
                    await self._forget_snapshots(intent, intent.work, place)

    async def try_settle(self, intent: Intent, proved: Collection[UUID] = ()) -> str | None:
        """As `settle`, but return the reason when it cannot be now; it is tried again later."""
        try:
            await self.settle(intent, proved)
        except (EngineError, JournalError) as error:
            _LOGGER.warning("Not settled yet: %s: %s", intent.work, error)
            return str(error)
        return None

    async def settle_chain(self, key: ChainKey, proved: Collection[UUID] = ()) -> list[str]:
        """Settle all entries of a chain; return why some could not be, if any. See `settle`."""
        intents = await self._store.read(lambda connection: journal.standing(connection, key))
        reasons = [await self.try_settle(intent, proved) for intent in intents]
        return [reason for reason in reasons if reason is not None]

    async def settle_all(self) -> bool:
        """Settle what can be settled, on every chain that has entries; say whether all could."""
        problems: list[str] = []
        for key in {intent.key for intent in await self._store.read(journal.standing)}:
            try:
                async with self._locks.work.hold(key):
                    problems += await self.settle_chain(key)
            except Exception:  # whatever is wrong with one chain must not keep all others waiting
                _LOGGER.exception("The chain %s cannot be settled now", key)
                problems.append(str(key))
        return not problems

    async def _undo_image(self, intent: Intent, work: MakeImage, place: BackupPlace) -> None:
        backup_file = tables.backup_file
        recorded = await self._store.read(
            lambda connection: connection.execute(
                select(backup_file.c.uid).where(
                    backup_file.c.backup_uid == intent.key.backup, backup_file.c.path == work.path
                )
            ).first()
        )
        if recorded is not None:
            raise JournalError(f"{work.path} is recorded, and yet it is noted as being made.")
        image = place.path(work.path)
        await remove_image(image)
        await remove_manifest(image)
        for leftover in await asyncio.to_thread(_partials_of, image):
            await remove_image(leftover)
        await self._strike(intent)

    async def _undo_machine(self, intent: Intent, work: MakeMachine, place: BackupPlace) -> None:
        point, file = tables.machine_point, tables.backup_file
        recorded = await self._store.read(
            lambda connection: connection.execute(
                # Of a copy, the files are named as those it is a copy of, which others may need.
                select(point.c.uid)
                .where(point.c.uid == work.point)
                .union(
                    select(file.c.uid).where(
                        file.c.backup_uid == intent.key.backup,
                        file.c.path.startswith(f"{work.path}.", autoescape=True),
                    )
                )
            ).first()
        )
        if recorded is not None:
            raise JournalError(f"{work.path} is recorded, and yet it is noted as being made.")
        beginnings = [place.path(work.path)]
        if work.staging is not None:
            beginnings.append(Path(work.staging) / beginnings[0].name)
        for beginning in beginnings:
            for leftover in await asyncio.to_thread(_beginning_with, beginning):
                await remove_image(leftover)
        await self._strike(intent)

    async def _remove_files(self, intent: Intent, work: RemoveFiles, place: BackupPlace) -> None:
        for path in work.paths:
            await remove_image(place.path(path))
        await self._strike(intent)

    async def _undo_snapshot(self, intent: Intent, work: MakeSnapshot, place: BackupPlace) -> None:
        files = place.files()
        if await asyncio.to_thread((files.folder / "config").exists):
            snapshot = tables.machine_point.c.snapshot_id
            of_backup = tables.machine_point.c.backup_uid == intent.key.backup
            recorded = await self._store.read(
                lambda connection: set(connection.scalars(select(snapshot).where(of_backup)))
            )
            await files.unlock()
            await files.sweep_temporary()
            # Nothing else, known or not: the catalog may have lost points whose data is there.
            made = [
                each.id
                for each in await files.snapshots()
                if work.has_made(each) and each.id not in recorded
            ]
            await remove_snapshot_manifests(files.folder.parent, made)
            await files.forget(made)
        await self._strike(intent)

    async def _remove_image(self, intent: Intent, work: RemoveImage, place: BackupPlace) -> None:
        row = await self._store.read(lambda connection: _unneeded_file(connection, work.file))
        image = place.path(row.path)
        await remove_image(image)
        await remove_manifest(image)

        def record(connection: Connection) -> tuple[Intent, RemoveImage] | None:
            points.remove_file(connection, work.file)
            journal.strike(connection, intent)
            if not _is_left_over(connection, intent.key, row.parent_uid):
                return None
            following = RemoveImage(row.parent_uid)
            return journal.declare(connection, intent.key, following, row.created), following

        following = await self._store.write(record)
        if following is not None:
            await self._remove_image(*following, place)

    async def _merge_images(
        self, intent: Intent, work: MergeImages, place: BackupPlace, proved: Collection[UUID]
    ) -> None:
        full, increment = await self._store.read(lambda connection: _mergeable(connection, work))
        image = place.path(increment.path)
        result = await self._merged(intent, work, place, (full, increment), proved)
        if result is None:
            return
        recorded = await self._store.read(
            lambda connection: recorded_manifest(connection, work.increment)
        )
        await _renew_manifest(
            image,
            recorded,
            parent=None,
            file_size=result.file_size,
            data_size=points.merged_data_size(full, increment),
            sha256=result.sha256,
        )
        await remove_manifest(place.path(full.path))

        def record(connection: Connection) -> None:
            points.record_merge(connection, work.full, work.increment, result)
            journal.strike(connection, intent)

        await self._store.write(record)

    async def _merged(
        self,
        intent: Intent,
        work: MergeImages,
        place: BackupPlace,
        files: tuple[Row[Any], Row[Any]],
        proved: Collection[UUID],
    ) -> MergeResult | None:
        """Merge an increment into its full; None when that can never be, and was called off.

        What it writes gets a new checksum. So nothing is merged that is not what it was: no check
        would find it any more.
        """
        full, increment = (place.path(file.path) for file in files)
        try:
            done = await is_merged(full, increment)
        except ChainBroken:
            done = False  # seen when they are compared with their checksums, or merged
        except EngineError as error:
            if work.begun:
                raise
            await self._call_off(intent, {}, str(error))
            return None
        if not done:
            # What has begun has changed the full, and never the increment.
            unproved = [
                file
                for file in files
                if file.uid not in proved and not (work.begun and file.uid == work.full)
            ]
            if bad := await self.damaged(intent.key, unproved):
                await self._call_off(intent, bad, " ".join(bad.values()))
                return None
        if not done and not work.begun:
            begun = msgspec.structs.replace(work, begun=True)
            await self._store.write(lambda c: journal.restate(c, intent, begun))
        key = await self._repositories.data_keys.of_file(work.increment)
        try:
            return await merge_into_parent(full, increment, ignore_progress, key)
        except ChainBroken as error:
            _LOGGER.warning("A merge is tried once more, for it may be passing: %s", error)
        try:
            return await merge_into_parent(full, increment, ignore_progress, key)
        except ChainBroken as error:
            await asyncio.to_thread(place.repository.ensure_available)
            await self._call_off(intent, {work.full: str(error)}, str(error))
            return None

    async def _call_off(self, intent: Intent, bad: Mapping[UUID, str], reason: str) -> None:
        """Give up what can never be done, so that the chain is free; note what is damaged."""

        def call_off(connection: Connection) -> None:
            note_bad_files(connection, intent.key, bad)
            journal.strike(connection, intent)

        await self._store.write(call_off)
        _LOGGER.error("A merge of restore points was called off: %s", reason)

    async def rebuild(
        self, intent: Intent, storing: Storing, on_progress: ProgressCallback = ignore_progress
    ) -> None:
        """Carry out what a `RebuildImage` says. Raise EngineError; then `settle` undoes it.

        Readers of the chain are only waited for at the end, when the new file takes its place.
        """
        assert isinstance(intent.work, RebuildImage)  # noqa: S101 - nothing else is rebuilt
        work = intent.work
        place = await self._repositories.place_of(intent.key.backup)
        file, onto = await self._rebuilding(work, place)
        line = await self._store.read(lambda connection: _line(connection, work))
        if bad := await self.damaged(intent.key, line):
            # What is made of damaged files would look whole for ever after.
            await self._store.write(lambda c: note_bad_files(c, intent.key, bad))
            raise ChainBroken(next(iter(bad.values())))
        # A chain stays as it is, encrypted or not, whatever the job says by now.
        key = await self._repositories.data_keys.of_file(work.file)
        await rebuild_image(file, onto, replace(storing, key=key), on_progress)
        async with self._locks.files.hold(intent.key):
            await take_place(file)
            await self._record_rebuilt(intent, work, file, onto)

    async def ensure_available(self, key: ChainKey) -> None:
        """Raise RepositoryUnavailable unless the repository of a chain is there."""
        place = await self._repositories.place_of(key.backup)
        await asyncio.to_thread(place.repository.ensure_available)

    async def damaged(self, key: ChainKey, files: Sequence[Row[Any]]) -> dict[UUID, str]:
        """Compare files of a chain with their checksums; return what is wrong with which.

        Raise EngineError when the repository is away.
        """
        place = await self._repositories.place_of(key.backup)
        found = {}
        for row in files:
            try:
                await check_file(place.path(row.path), row.sha256)
            except ChainBroken as error:
                found[row.uid] = str(error)
        # When its disk is away, everything seems to be missing.
        await asyncio.to_thread(place.repository.ensure_available)
        return found

    async def _settle_rebuilding(
        self, intent: Intent, work: RebuildImage, place: BackupPlace
    ) -> None:
        file, onto = await self._rebuilding(work, place)
        await discard_rebuilt(file)
        try:
            is_done = await is_built_on(file, onto)
        except ChainBroken:
            await asyncio.to_thread(place.repository.ensure_available)
            is_done = False  # it is missing or damaged, so it is not the one just written
        if is_done:
            async with self._locks.files.hold(intent.key):
                await self._record_rebuilt(intent, work, file, onto)
        else:
            await self._strike(intent)

    async def _rebuilding(self, work: RebuildImage, place: BackupPlace) -> tuple[Path, Path | None]:
        """Return the file that is written anew, and the one that it is to be built on."""

        def path(connection: Connection, uid: UUID) -> Path:
            return place.path(row_of(connection, tables.backup_file, uid).path)

        def paths(connection: Connection) -> tuple[Path, Path | None]:
            onto = None if work.onto is None else path(connection, work.onto)
            return path(connection, work.file), onto

        return await self._store.read(paths)

    async def _record_rebuilt(
        self, intent: Intent, work: RebuildImage, file: Path, onto: Path | None
    ) -> None:
        result = await measured(file)
        recorded = await self._store.read(lambda c: recorded_manifest(c, work.file))
        await _renew_manifest(
            file,
            recorded,
            parent=None if onto is None else onto.name,
            file_size=result.file_size,
            data_size=result.data_size,
            sha256=result.sha256,
        )

        def record(connection: Connection) -> None:
            points.record_rebuilt(connection, work.file, work.onto, result)
            journal.strike(connection, intent)

        await self._store.write(record)

    async def _forget_snapshots(
        self, intent: Intent, work: ForgetSnapshots, place: BackupPlace
    ) -> None:
        point = tables.machine_point
        needed = await self._store.read(
            lambda connection: connection.execute(
                select(point.c.uid).where(
                    point.c.backup_uid == intent.key.backup,
                    point.c.snapshot_id.in_(work.snapshots),
                )
            ).first()
        )
        if needed is not None:
            raise JournalError("A snapshot that a restore point needs is noted to be forgotten.")
        files = place.files()
        await files.unlock()
        await files.forget(work.snapshots)
        await remove_snapshot_manifests(files.folder.parent, work.snapshots)
        try:
            await files.prune()
        except ChainBroken as error:
            # As long as a damaged snapshot is kept. They must not keep each other for ever.
            _LOGGER.warning("The space of forgotten snapshots is not freed now: %s", error)
        await self._strike(intent)

    async def _strike(self, intent: Intent) -> None:
        await self._store.write(lambda connection: journal.strike(connection, intent))


async def _renew_manifest(image: Path, recorded: Manifest | None, **changed: Any) -> None:
    """Write what is true of a file now; what belongs to no point any more has no manifest."""
    if recorded is None:
        await remove_manifest(image)
    else:
        await write_manifest(image, msgspec.structs.replace(recorded, **changed))


def _partials_of(image: Path) -> list[Path]:
    return list(image.parent.glob(f"{glob.escape(image.name)}*{PARTIAL_SUFFIX}"))


def _beginning_with(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{glob.escape(path.name)}.*"))


def _unneeded_file(connection: Connection, uid: UUID) -> Row[Any]:
    """Return the row of a backup file that may go; JournalError if anything is built on it."""
    row = row_of(connection, tables.backup_file, uid)
    if _is_needed(connection, uid):
        raise JournalError(f"{row.path} is noted to be removed, and yet it is needed.")
    return row


def _is_left_over(connection: Connection, key: ChainKey, uid: UUID | None) -> bool:
    """Say whether a file has lost its point before, by a merge that was called off, and serves
    nothing any more.
    """
    if uid is None or any(
        isinstance(each.work, RemoveImage) and each.work.file == uid
        for each in journal.standing(connection, key)
    ):
        return False
    return not _is_needed(connection, uid)


def _is_needed(connection: Connection, uid: UUID) -> bool:
    """Say whether a point has a backup file, or another file is built on it."""
    point, file = tables.machine_point, tables.backup_file
    needed = select(point.c.uid).where(holds(uid))
    built_on = select(file.c.uid).where(file.c.parent_uid == uid)
    return connection.execute(needed.union(built_on)).first() is not None


def _line(connection: Connection, work: RebuildImage) -> list[Row[Any]]:
    """Return the files that are read to write one anew: from itself back to what it will be on."""
    table, line = tables.backup_file, list[Row[Any]]()
    uid: UUID | None = work.file
    while uid is not None and uid != work.onto:
        line.append(row_of(connection, table, uid))
        uid = line[-1].parent_uid
    return line


def _mergeable(connection: Connection, work: MergeImages) -> tuple[Row[Any], Row[Any]]:
    """Return the rows of full and increment; JournalError if anything else needs the full."""
    point, file = tables.machine_point, tables.backup_file
    full, increment = row_of(connection, file, work.full), row_of(connection, file, work.increment)
    shown = select(point.c.uid).where(holds(work.full))
    others = select(file.c.uid).where(file.c.parent_uid == work.full, file.c.uid != work.increment)
    if connection.execute(shown.union(others)).first() is not None:
        raise JournalError(f"{full.path} is noted to be merged away, and yet it is needed.")
    return full, increment
