"""Backs up one machine or directory of a session: from its source to a recorded restore point."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection

from holdfast.engine.errors import ChainBroken
from holdfast.engine.files import FilesPlan, FilesResult, ResticRepository
from holdfast.engine.image import ImagePlan, ImageResult, back_up_image, inspect
from holdfast.engine.progress import Progress, ProgressCallback
from holdfast.engine.qemu_image import Storing
from holdfast.engine.repository import folder_name
from holdfast.engine.script import Script, around
from holdfast.server import fulls, journal, points, sessions, tables
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.clock_watch import is_behind
from holdfast.server.damage import has_damage, note_damage
from holdfast.server.data_keys import KnownKey
from holdfast.server.health import Findings, note_readable, unreadable
from holdfast.server.job_options import JobOptions, ScriptOption
from holdfast.server.job_specification import REPLICA
from holdfast.server.journal import ChainKey, Intent, MakeImage, MakeSnapshot, Work
from holdfast.server.keeping import Jump, Policy
from holdfast.server.manifest import (
    Manifest,
    SnapshotManifest,
    write_manifest,
    write_snapshot_manifest,
)
from holdfast.server.names import image_file_name
from holdfast.server.publish import row_of
from holdfast.server.repositories import BackupPlace
from holdfast.server.retention import Rules
from holdfast.server.session_state import Result
from holdfast.server.sessions import Machine
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store

#: What the compression of a job is called by restic.
RESTIC_COMPRESSION = {"none": "off", "zstd": "auto", "max": "max"}


@dataclass(frozen=True)
class SessionPlan:
    """What a session has to do, and for whom."""

    session: UUID
    server: UUID
    host: str
    job: UUID
    job_name: str
    job_kind: str
    retention: int
    retention_days: int | None
    options: JobOptions
    place: BackupPlace
    machines: tuple[Machine, ...]
    #: Whether the backup is checked first, and whether that is all there is to do.
    begun: int = 0
    checking: bool = False
    only_checking: bool = False
    #: Whether it is about all that the job has, and is to look after what it has no more.
    whole: bool = False
    #: Whether it is about single machines that a person, or a planned failover, has asked for.
    apart: bool = False
    #: By how much the clock has jumped; and what is to be said of that, if anything.
    jumps: tuple[Jump, ...] = ()
    jumped: str | None = None
    findings: dict[ChainKey, Findings] = field(default_factory=dict)
    #: What machines are encrypted with, if the job says so.
    key: KnownKey | None = None
    #: For machines that must not be backed up at the same time.
    turns: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def all_checked(self) -> bool:
        """Whether the backup of every machine was checked, whatever was found."""
        keys = {
            ChainKey.of(self.place.backup, machine.kind, machine.reference)
            for machine in self.machines
        }
        return keys <= self.findings.keys()

    @property
    def rules(self) -> Rules:
        """What is kept of the machines, and how."""
        policy = Policy(self.retention, self.retention_days, self.options.gfs, self.jumps)
        return Rules(policy, self.options.synthetic_full, self.storing)

    @property
    def storing(self) -> Storing:
        """How disks are brought into the repository."""
        # A machine is to run on the files of a replica.
        level = None if self.job_kind == REPLICA else self.options.level
        key = None if self.key is None else self.key.key
        return Storing(level, self.options.bandwidth, key)

    @property
    def key_uid(self) -> UUID | None:
        """The key of the files that are made."""
        return None if self.key is None else self.key.uid


@dataclass(frozen=True)
class Parent:
    """The newest point of a machine, which the next one is built on."""

    created: int
    file: UUID | None
    path: str | None
    snapshot: str | None
    point: UUID | None = None


class MachineBackup:
    """The backup of one machine. Its chain must be held meanwhile.

    However it ends (an error, a stop), either the point is recorded or nothing of it is left.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settlement: Settlement,
        plan: SessionPlan,
        machine: Machine,
        remarks: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._settlement = settlement
        self._plan = plan
        self._machine = machine
        self._place = plan.place
        self._key = ChainKey.of(plan.place.backup, machine.kind, machine.reference)
        self._point = uuid4()
        #: When the point is made, in ms, if it bears a later time.
        self._made: int | None = None
        #: Bad news from before the backup: they make the result a warning.
        self._remarks = list(remarks)
        #: What is to be known, and no bad news.
        self._told: list[str] = []
        self._why_full: str | None = None
        #: Points of directories that were good before damaged packs were taken out.
        self._lost: set[UUID] = set()
        #: Why a new point of a directory is damaged from the first, if it is.
        self._problem: str | None = None

    async def run(self, on_progress: ProgressCallback) -> None:
        """Back the machine up. Raise EngineError with the reason if that fails."""
        if await self._store.write(self._start):
            # What cannot be settled now does not stand in the way of a backup: it is settled later.
            await self._settlement.settle_chain(self._key)
        parent = await self._store.read(self._look_back)
        # Later than the last point, also when the clock was set back: order is told by it.
        now = milliseconds(self._clock.now())
        created = max(now, parent.created + 1)
        self._made = now if created > now else None
        await self._make_point(parent, created, on_progress)

    def _start(self, connection: Connection) -> bool:
        """Let the task begin; say whether something is to be settled first."""
        sessions.ensure_started(connection, self._machine.task_session)
        return bool(journal.standing(connection, self._key))

    def _look_back(self, connection: Connection) -> Parent:
        """Return the newest point; find out whether the next is to be a full nevertheless."""
        backup, reference = self._place.backup, self._machine.reference
        row = points.newest_point(connection, backup, reference)
        if row is None:
            return Parent(0, None, None, None)
        found = fulls.why_full(
            connection,
            backup,
            reference,
            self._plan.options.active_full,
            self._clock.now(),
            self._plan.key_uid,
        )
        if found is not None:
            self._why_full, is_bad = found
            (self._remarks if is_bad else self._told).append(
                f"A full backup was taken, because {self._why_full}."
            )
        return Parent(row.created, row.backup_file_uid, row.path, row.snapshot_id, row.uid)

    async def _make_point(
        self, parent: Parent, created: int, on_progress: ProgressCallback
    ) -> None:
        if self._machine.kind == "image":
            await self._back_up_image(parent, created, on_progress)
        else:
            await self._back_up_directory(parent, created, on_progress)

    def _scripts(self) -> AbstractAsyncContextManager[None]:
        """Return the context in which the source is read, between the job's two scripts."""
        environment = {
            "HOLDFAST_MACHINE": self._machine.name,
            "HOLDFAST_SOURCE": self._machine.path,
            "HOLDFAST_POINT": str(self._point),
        }
        options = self._plan.options
        return around(
            script_of(options.before), script_of(options.after), environment, self._remarks
        )

    async def _back_up_image(
        self, parent: Parent, created: int, on_progress: ProgressCallback
    ) -> None:
        machine, place = self._machine, self._place
        source = await inspect(Path(machine.path), machine.format)
        await self._note_size(source.virtual_size)
        folder = await asyncio.to_thread(place.folder)
        target = folder / image_file_name(folder_name(machine.name), created, self._point)
        path = str(target.relative_to(place.repository.path))
        image_plan = ImagePlan(
            source=Path(machine.path),
            target=target,
            parent=None if self._why_full or parent.path is None else place.path(parent.path),
            source_format=machine.format,
            storing=self._plan.storing,
        )
        intent = await self._declare(MakeImage(path))
        try:
            async with self._scripts():
                result = await back_up_image(image_plan, on_progress)
            await write_manifest(target, self._image_manifest(created, parent, result))
            await self._store.write(
                lambda c: self._record_image(c, intent, created, path, parent, result)
            )
        except BaseException:
            await self._undo(intent)
            raise

    async def _back_up_directory(
        self, parent: Parent, created: int, on_progress: ProgressCallback
    ) -> None:
        place = self._place
        await asyncio.to_thread(place.folder)
        files = place.files()
        await files.ensure()
        read_all = await self._healed(files)
        in_doubt = not read_all and await self._store.read(self._has_damaged_data)
        plan = FilesPlan(
            source=Path(self._machine.path),
            tag=str(self._point),
            host=self._plan.host,
            parent=parent.snapshot,
            compression=RESTIC_COMPRESSION[self._plan.options.compression],
            rate_limit=self._plan.options.bandwidth,
            read_all=read_all,
        )
        seen = LargestTotal(on_progress)
        intent = await self._declare(MakeSnapshot(self._point))
        try:
            async with self._scripts():
                result = await files.back_up(plan, seen)
            if in_doubt:
                await self._prove(files, result.snapshot_id)
            await write_snapshot_manifest(files.folder.parent, self._described(created, result))
            await self._store.write(lambda c: self._record_snapshot(c, intent, created, result))
        except BaseException:
            await self._undo(intent, seen.total)
            raise
        if self._lost:
            # What was stored anew makes some of them whole.
            await note_readable(self._store, files, self._key, self._lost)

    async def _healed(self, files: ResticRepository) -> bool:
        """Take damaged data out of a restic repository; say whether there may have been any."""
        findings = self._plan.findings.get(self._key)
        if findings is not None and findings.problems:
            packs = findings.packs
        elif self._why_full is not None:
            try:
                packs = await files.damaged_packs()
            except ChainBroken:
                packs = ()  # set aside before, by a session that did not come to its end
        else:
            return False
        # What is damaged must not be taken for there: it would be missing in this point, too.
        await files.set_aside(packs)
        # A pack holds more than what is damaged of it.
        self._lost = await note_readable(self._store, files, self._key)
        return True

    def _has_damaged_data(self, connection: Connection) -> bool:
        """Say whether restic may take damaged data for there: nothing was stored anew for it."""
        findings = self._plan.findings.get(self._key)
        if findings is not None and findings.packs:
            return True
        return has_damage(connection, self._place.backup, self._place.files())

    async def _prove(self, files: ResticRepository, snapshot: str) -> None:
        """Read a new snapshot as a whole; when that is not possible, it is damaged from the first.

        The next backup then stores anew what is missing.
        """
        self._problem = await unreadable(files, snapshot)
        await asyncio.to_thread(files.ensure_present)
        if self._problem is not None:
            self._remarks.append(
                "The restore point needs data that was stored before and is damaged, which the "
                f"next backup stores anew: {self._problem}"
            )

    def _record_image(
        self,
        connection: Connection,
        intent: Intent,
        created: int,
        path: str,
        parent: Parent,
        result: ImageResult,
    ) -> None:
        backup = self._place.backup
        points.record_image(
            connection,
            backup=backup,
            restore_point=points.ensure_restore_point(connection, self._plan.session, backup),
            point=self._point,
            machine=self._machine,
            created=created,
            path=path,
            parent=parent.file if result.incremental else None,
            result=result,
            key=self._plan.key_uid,
        )
        self._note_made(connection)
        notes = () if result.note is None else (result.note,)
        self._complete(connection, intent, result.virtual_size, notes)

    def _record_snapshot(
        self, connection: Connection, intent: Intent, created: int, result: FilesResult
    ) -> None:
        backup = self._place.backup
        points.record_snapshot(
            connection,
            backup=backup,
            restore_point=points.ensure_restore_point(connection, self._plan.session, backup),
            point=self._point,
            machine=self._machine,
            created=created,
            snapshot_id=result.snapshot_id,
            total_size=result.total_size,
        )
        self._note_made(connection)
        if self._problem is not None:
            row = row_of(connection, tables.machine_point, self._point)
            note_damage(connection, [row], {self._point: self._problem})
        self._complete(connection, intent, result.total_size, result.warnings)

    def _note_made(self, connection: Connection) -> None:
        """Note, in the transaction of the point itself, when it was made."""
        if self._made is not None:
            is_right = not is_behind(connection)
            points.note_made(connection, self._point, self._made, is_right=is_right)

    def _complete(
        self, connection: Connection, intent: Intent, total_size: int, notes: tuple[str, ...]
    ) -> None:
        noted = (*self._remarks, *notes)
        result = Result.WARNING if noted else Result.SUCCESS
        self._end_task(connection, intent, total_size, result, " ".join((*noted, *self._told)))

    def _end_task(
        self, connection: Connection, intent: Intent, total_size: int, result: Result, reason: str
    ) -> None:
        """End the task session and strike the intent, in the transaction of the point itself."""
        sessions.complete_task(
            connection,
            self._machine.task_session,
            milliseconds(self._clock.now()),
            result,
            reason,
            total_size=total_size,
            machine_point_uid=self._point,
        )
        journal.strike(connection, intent)

    def _image_manifest(self, created: int, parent: Parent, result: ImageResult) -> Manifest:
        built_on = parent.path if result.incremental else None
        return self._manifest(
            created=created,
            parent=None if built_on is None else Path(built_on).name,
            file_size=result.file_size,
            data_size=result.data_size,
            virtual_size=result.virtual_size,
            sha256=result.sha256,
            key=self._plan.key_uid,
        )

    def _described(self, created: int, result: FilesResult) -> SnapshotManifest:
        return SnapshotManifest(
            created=created,
            snapshot=result.snapshot_id,
            total_size=result.total_size,
            **self._of_point(),
        )

    def _manifest(self, **of_file: Any) -> Manifest:
        """Given what a manifest says of its file alone, return it with what all of a point have."""
        return Manifest(**self._of_point(), **of_file)

    def _of_point(self) -> dict[str, Any]:
        return {
            "server": self._plan.server,
            "backup": self._place.backup,
            "job": self._plan.job,
            "job_name": self._plan.job_name,
            "restore_point": points.restore_point_uid(self._plan.session),
            "point": self._point,
            "machine": self._machine.name,
            "source": self._machine.path,
            "reference": self._machine.reference,
        }

    async def _declare(self, work: Work) -> Intent:
        now = milliseconds(self._clock.now())
        return await self._store.write(lambda c: journal.declare(c, self._key, work, now))

    async def _undo(self, intent: Intent, size: int = 0) -> None:
        """Remove what was made of a point; note how large the source is, if that was seen.

        If the point was recorded after all, the entry no longer stands, and this does nothing.
        """
        if size:
            await self._note_size(size)
        await self._settlement.try_settle(intent)

    async def _note_size(self, size: int) -> None:
        task = self._machine.task_session
        await self._store.write(lambda c: sessions.set_total_size(c, task, size))


def script_of(option: ScriptOption | None) -> Script | None:
    """Return a job's script as the engine wants it."""
    return None if option is None else Script(Path(option.path), float(option.seconds))


class LargestTotal:
    """Passes progress on and remembers the greatest total seen: the size of a tree, so far."""

    def __init__(self, on_progress: ProgressCallback) -> None:
        self._on_progress = on_progress
        self.total = 0

    def __call__(self, progress: Progress) -> None:
        self.total = max(self.total, progress.bytes_total or 0)
        self._on_progress(progress)
