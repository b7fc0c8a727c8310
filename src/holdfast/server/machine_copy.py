"""Copies the points of one machine or directory to another repository, one after the other.

Each point is a point of its own there. It is recorded when it is whole, so that what was copied
before an error, a stop or a crash stays, and the next session goes on after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, select

from holdfast.engine.errors import ChainBroken, EngineError
from holdfast.engine.image import CopyPlan, ImageResult, copy_image, copy_image_anew
from holdfast.engine.image_rebuild import Rebuilt
from holdfast.engine.progress import Progress, ProgressCallback
from holdfast.server import copy_plan, journal, points, sessions, tables
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.clock import Clock, milliseconds, moment_of
from holdfast.server.copy_plan import Point
from holdfast.server.damage import damage_of, note_bad_files
from holdfast.server.fulls import files_of
from holdfast.server.journal import ChainKey, Intent, MakeImage, MakeSnapshot, MergeImages, Work
from holdfast.server.machine_backup import RESTIC_COMPRESSION, SessionPlan
from holdfast.server.manifest import (
    Manifest,
    SnapshotManifest,
    check_manifest,
    write_manifest,
    write_snapshot_manifest,
)
from holdfast.server.publish import row_of
from holdfast.server.repositories import Repositories
from holdfast.server.session_state import Result
from holdfast.server.sessions import Machine
from holdfast.server.settlement import Settlement
from holdfast.server.slots import Slots
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)


class MachineCopy:
    """The copying of one machine's points. The chain they are added to must be held meanwhile.

    A slot of the server is taken for each point, and while it is copied the files of the chain
    that it comes from are shared: a merge there waits, a backup and a restore do not. In this
    order, since who merges may be a backup, which has its slot already.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        repositories: Repositories,
        settlement: Settlement,
        locks: ChainLocks,
        slots: Slots,
        plan: SessionPlan,
        machine: Machine,
    ) -> None:
        self._store = store
        self._clock = clock
        self._repositories = repositories
        self._settlement = settlement
        self._locks = locks
        self._slots = slots
        self._plan = plan
        self._machine = machine
        self._place = plan.place
        self._key = ChainKey.of(plan.place.backup, machine.kind, machine.reference)
        self._newest: tuple[int, UUID] | None = None
        #: Why copies that were made cannot be restored all the same.
        self._damaged: dict[str, None] = {}
        #: Bad news beside the copying itself: they make the result a warning.
        self._remarks: list[str] = []
        #: What is to be known, and no bad news.
        self._told: list[str] = []

    def remark(self, problems: Iterable[str]) -> None:
        """Have bad news told with the result."""
        self._remarks += problems

    async def run(self, on_progress: ProgressCallback) -> None:
        """Copy what is to be copied. Raise EngineError with the reason if that fails."""
        # Names of files that are being made or removed here must not be used before.
        if problems := await self._settlement.settle_chain(self._key):
            raise EngineError(problems[0])
        progress = _CopyProgress(on_progress)
        while left := await self._store.read(self._left):
            await self._settle_source(_chain_of(left[0]))
            async with AsyncExitStack() as held:
                if self._plan.options.bandwidth is not None:
                    # The limit is the job's: its machines share it by taking turns.
                    await held.enter_async_context(self._plan.turns)
                await held.enter_async_context(self._slots.taken(self._place.repository_uid))
                await held.enter_async_context(self._locks.files.share(_chain_of(left[0])))
                await self._store.write(partial(self._begin, left[-1].total_size))
                # Who held the files may have changed what there is to copy.
                left = await self._store.read(self._unhindered)
                if left:
                    await self._copy(left[0], progress.of(left))
                    progress.done(left[0])
        await self._store.write(self._complete)

    async def mend(self) -> bool:
        """Copy damaged files again whose original still has the same bytes; say whether any was.

        With a slot, as `run` copies.
        """
        files = await self._store.read(partial(copy_plan.files_of_chain, key=self._key))
        bad = await self._settlement.damaged(self._key, files)
        mended = False
        for file in files:
            if file.uid not in bad:
                continue
            original = await self._store.read(partial(self._original, file))
            if original is None:
                continue
            source = await self._repositories.place_of(original.backup_uid)
            reading = ChainKey(original.backup_uid, self._key.chain)
            target = self._place.path(file.path)
            plan = CopyPlan(source.path(original.path), target, file.file_size, file.sha256)
            async with self._locks.files.share(reading), self._locks.files.hold(self._key):
                try:
                    await copy_image(plan)
                except EngineError as error:
                    _LOGGER.warning("%s cannot be copied again: %s", target, error)
                else:
                    mended = True
        return mended

    def _original(self, file: Row[Any], connection: Connection) -> Row[Any] | None:
        job = row_of(connection, tables.job, self._plan.job)
        return copy_plan.original_of(connection, job, file)

    def _begin(self, size: int, connection: Connection) -> None:
        """Let the task session begin, unless it has, and note the size of the machine."""
        task = self._machine.task_session
        sessions.ensure_started(connection, task)
        sessions.set_total_size(connection, task, size)

    def _left(self, connection: Connection) -> list[Point]:
        job = row_of(connection, tables.job, self._plan.job)
        now = self._clock.now()
        return copy_plan.points_to_copy(connection, job, self._machine.reference, now)

    def _unhindered(self, connection: Connection) -> list[Point]:
        """Return what is left to copy; nothing while a merge on its chain stands."""
        left = self._left(connection)
        return [] if left and _merges(connection, _chain_of(left[0])) else left

    async def _settle_source(self, key: ChainKey) -> None:
        """Let a merge on the chain that is read come first: it changes the files to be copied.

        Not with a slot: a backup that holds this chain may be waiting for one.
        """
        if await self._store.read(lambda connection: _merges(connection, key)):
            async with self._locks.work.hold(key):
                problems = await self._settlement.settle_chain(key)
            if problems:
                raise EngineError(f"Restore points cannot be copied at the moment: {problems[0]}")

    async def _copy(self, point: Point, on_progress: ProgressCallback) -> None:
        source = await self._repositories.place_of(point.backup_uid)
        await asyncio.to_thread(source.repository.ensure_available)
        if point.snapshot_id is None:
            await self._copy_image(point, on_progress)
        else:
            await self._copy_snapshot(point, on_progress)

    async def _copy_image(self, point: Point, on_progress: ProgressCallback) -> None:
        place, uid = self._place, uuid4()
        source = await self._repositories.place_of(point.backup_uid)
        folder = await asyncio.to_thread(place.folder)
        target = folder / PurePosixPath(point.path).name
        path = str(target.relative_to(place.repository.path))
        parent_name, parent = await self._store.read(lambda c: self._parent(c, point, path))
        image = source.path(point.path)
        await check_manifest(image, point.sha256)
        key = await self._store.read(
            lambda c: row_of(c, tables.backup_file, point.backup_file_uid).key_uid
        )
        await self._bring_key(point, folder, key)
        intent = await self._declare(MakeImage(path))
        try:
            stored = await self._copy_file(point, point, image, target, on_progress, key)
            manifest = self._manifest(point, uid, point, stored, parent_name, key=key)
            await write_manifest(target, manifest)
            result = ImageResult(
                path=target,
                file_size=stored.file_size,
                data_size=stored.data_size,
                virtual_size=point.virtual_size,
                sha256=stored.sha256,
                incremental=parent is not None,
                note=None,
            )

            def record(connection: Connection) -> None:
                points.record_image(
                    connection,
                    backup=place.backup,
                    restore_point=self._restore_point(connection, point),
                    point=uid,
                    machine=self._as_it_was(point),
                    created=point.created,
                    path=path,
                    parent=parent,
                    result=result,
                    copied_from=point.uid,
                    key=key,
                )
                self._note_damaged(connection, [parent])
                journal.strike(connection, intent)

            await self._store.write(record)
        finally:
            # Once the point is recorded the entry no longer stands, and this does nothing.
            await self._settlement.try_settle(intent)
        self._note_newest(point, uid)

    async def _copy_file(
        self,
        point: Point,
        file: Row[Any],
        image: Path,
        target: Path,
        on_progress: ProgressCallback,
        key: UUID | None,
    ) -> Rebuilt:
        """Copy a backup file of a point; return what the copy is.

        As it is, unless the job compresses and the one that made it does not, or the other way.
        What is encrypted (with ``key``) is never compressed.
        """
        options = self._plan.options
        plan = CopyPlan(image, target, file.file_size, file.sha256, options.bandwidth)
        level = options.level
        backup = point.backup_uid
        if key is not None or await self._store.read(
            lambda c: copy_plan.is_compressed(c, backup)
        ) == (level is not None):
            await copy_image(plan, on_progress)
            return Rebuilt(file.file_size, file.data_size, file.sha256)
        return await copy_image_anew(plan, level, on_progress)

    async def _copy_snapshot(self, point: Point, on_progress: ProgressCallback) -> None:
        place, uid = self._place, uuid4()
        source = await self._repositories.place_of(point.backup_uid)
        await asyncio.to_thread(place.folder)
        files = place.files()
        await files.ensure()
        intent = await self._declare(MakeSnapshot(uid, point.snapshot_id))
        try:
            options = self._plan.options
            snapshot = await files.copy_snapshot(
                source.files(),
                point.snapshot_id,
                on_progress,
                compression=RESTIC_COMPRESSION[options.compression],
                rate_limit=options.bandwidth,
            )
            described = SnapshotManifest(
                snapshot=snapshot, total_size=point.total_size, **self._of_point(point, uid)
            )
            await write_snapshot_manifest(files.folder.parent, described)

            def record(connection: Connection) -> None:
                points.record_snapshot(
                    connection,
                    backup=place.backup,
                    restore_point=self._restore_point(connection, point),
                    point=uid,
                    machine=self._as_it_was(point),
                    created=point.created,
                    snapshot_id=snapshot,
                    total_size=point.total_size,
                    copied_from=point.uid,
                )
                journal.strike(connection, intent)

            await self._store.write(record)
        finally:
            await self._settlement.try_settle(intent)
        self._note_newest(point, uid)

    def _parent(
        self, connection: Connection, file: Row[Any], path: str
    ) -> tuple[str | None, UUID | None]:
        """Return name and UID of the file beside the copy that it is built on; None for a full.

        `file` has the columns of the backup file that is copied to `path`.
        """
        name = copy_plan.parent_name(connection, file.parent_uid)
        if name is None:
            return None, None
        beside = str(PurePosixPath(path).with_name(name))
        parent = copy_plan.copied_file(connection, self._place.backup, beside)
        if parent is None:
            raise ChainBroken(
                f"The restore point in {file.path} is built on {name}, which is no restore point "
                "any more. It can be copied when that has been merged into it."
            )
        return name, parent

    def _note_damaged(self, connection: Connection, built_on: Iterable[UUID | None]) -> None:
        """Note of a new copy that what it is built on here is damaged, if it is."""
        bad = {}
        for file in built_on:
            if file is not None and (reason := damage_of(connection, file)) is not None:
                bad[file] = reason
                self._damaged[reason] = None
        note_bad_files(connection, self._key, bad)

    def _restore_point(self, connection: Connection, point: Point) -> UUID:
        return points.ensure_copied_restore_point(
            connection,
            self._plan.session,
            self._place.backup,
            point.restore_point_uid,
            point.restore_point_created,
        )

    def _as_it_was(self, point: Point) -> Machine:
        return replace(self._machine, name=point.display_name, path=point.source_path)

    def _manifest(
        self,
        point: Point,
        uid: UUID,
        file: Row[Any],
        stored: Rebuilt,
        parent: str | None,
        **more: Any,
    ) -> Manifest:
        """Return the manifest of the copy of a point's `file`, which has the columns of one."""
        return Manifest(
            parent=parent,
            file_size=stored.file_size,
            data_size=stored.data_size,
            virtual_size=file.virtual_size,
            sha256=stored.sha256,
            **self._of_point(point, uid),
            **more,
        )

    async def _bring_key(self, point: Point, folder: Path, key: UUID | None) -> None:
        """Put the file of a key beside the copies that need it; say when that is not as before."""
        if key is not None:
            await self._repositories.data_keys.put_beside(folder, [key])
        before = await self._store.read(partial(self._keys_before, point))
        made = f"{moment_of(point.created):%Y-%m-%d %H:%M} UTC"
        if key is None and before and before != {None}:
            self._remarks.append(
                f"From the restore point of {made} on, the copies are not encrypted any more, as "
                "what they are copies of is not."
            )
        elif key is not None and before <= {None}:
            self._told.append(
                f"From the restore point of {made} on, the copies are encrypted with the key of "
                "what they are copies of, and need its password."
            )

    def _keys_before(self, point: Point, connection: Connection) -> set[UUID | None]:
        """Return with which keys the copy before that of a point is encrypted."""
        table = tables.machine_point
        before = connection.execute(
            select(table)
            .where(table.c.backup_uid == self._place.backup, table.c.reference == point.reference)
            .where(table.c.created < point.created)
            .order_by(table.c.created.desc())
            .limit(1)
        ).all()
        return {file.key_uid for row in before for file in files_of(connection, row)}

    def _of_point(self, point: Point, uid: UUID) -> dict[str, Any]:
        """Return what every manifest says of the copy of a point."""
        backup = self._place.backup
        return {
            "server": self._plan.server,
            "backup": backup,
            "job": self._plan.job,
            "job_name": self._plan.job_name,
            "restore_point": points.copied_restore_point_uid(backup, point.restore_point_uid),
            "point": uid,
            "machine": point.display_name,
            "source": point.source_path,
            "reference": point.reference,
            "created": point.created,
            "copied_from": point.uid,
        }

    def _note_newest(self, point: Point, uid: UUID) -> None:
        self._newest = max(self._newest or (0, uid), (point.created, uid))

    def _complete(self, connection: Connection) -> None:
        # What the check has found already is told once.
        told = self._remarks + [
            f"What was copied before is damaged: {each}"
            for each in self._damaged
            if each not in self._remarks
        ]
        newest = {} if self._newest is None else {"machine_point_uid": self._newest[1]}
        sessions.complete_task(
            connection,
            self._machine.task_session,
            milliseconds(self._clock.now()),
            Result.WARNING if told else Result.SUCCESS,
            " ".join((*told, *self._told)),
            **newest,
        )

    async def _declare(self, work: Work) -> Intent:
        now = milliseconds(self._clock.now())
        return await self._store.write(lambda c: journal.declare(c, self._key, work, now))


class _CopyProgress:
    """How far the copying of a machine is, by the bytes of its points."""

    def __init__(self, on_progress: ProgressCallback) -> None:
        self._on_progress = on_progress
        self._done = 0

    def of(self, left: list[Point]) -> ProgressCallback:
        """Given what is left to copy, return what is told the progress of the first of it."""
        own, whole = _weight(left[0]), self._done + sum(map(_weight, left))

        def tell(progress: Progress) -> None:
            copied = self._done + progress.fraction * own
            self._on_progress(Progress(copied / whole, int(copied), whole))

        return tell

    def done(self, point: Point) -> None:
        """Note that a point is copied."""
        self._done += _weight(point)


def _weight(point: Point) -> int:
    size: int = point.total_size if point.stored_size is None else point.stored_size
    return max(size, 1)


def _chain_of(point: Point) -> ChainKey:
    return ChainKey.of(point.backup_uid, point.kind, point.reference)


def _merges(connection: Connection, key: ChainKey) -> bool:
    standing = journal.standing(connection, key)
    return any(isinstance(intent.work, MergeImages) for intent in standing)
