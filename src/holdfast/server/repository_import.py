"""Makes the points of a repository known that another server has made: its database may be lost.

What is imported is the backup of a job that is not here: it can be listed, looked into, restored
and copied, and nothing removes points of it. The folder is only read. Importing again changes
nothing, but adds what could not be read before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4, uuid5

import msgspec
from sqlalchemy import Connection, Row, insert, select

from holdfast.engine.errors import RepositoryUnavailable
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint
from holdfast.engine.repository import DirectoryRepository
from holdfast.server import hosted_points, points, tables
from holdfast.server.clock import milliseconds
from holdfast.server.hosted_objects import MACHINE
from holdfast.server.keys import Keys
from holdfast.server.manifest import Manifest, SnapshotManifest
from holdfast.server.messages import Command, Made, RepositoryImport
from holdfast.server.names import imported_folder
from holdfast.server.operations import Done, Operation, Preparation, read_arguments
from holdfast.server.publish import (
    publish_backup,
    publish_backup_file,
    publish_job_session,
    publish_restore_point,
)
from holdfast.server.refusal import RefusedError
from holdfast.server.repositories import Repositories
from holdfast.server.repository_scan import (
    FoundBackup,
    FoundPoint,
    Scanned,
    oldest_first,
    opened,
    scan,
)
from holdfast.server.session_state import Cause, JobSessionState, Result
from holdfast.server.sessions import Machine
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_NO_TASK = UUID(int=0)


class _Password(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    folder: str
    password: Annotated[str, msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if self.password.splitlines() != [self.password]:
            raise ValueError("password: expected a single line")


@dataclass
class _Report:
    """What an import has come to."""

    backups: int = 0
    added: int = 0
    known: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{_counted(self.added, 'restore point')} imported, "
            f"of {_counted(self.backups, 'backup')}; {self.known} known already."
        ]
        if self.problems:
            lines.append("Not imported:")
        return "\n".join([*lines, *self.problems])


class RepositoryImports:
    """Imports repositories, as commands ask for it."""

    def __init__(self, store: Store, repositories: Repositories, keys: Keys) -> None:
        self._store = store
        self._repositories = repositories
        self._keys = keys

    @property
    def preparations(self) -> Mapping[str, Preparation]:
        """Return the operations by their names."""
        return {
            "import-repository": self._prepare_import,
            "offer-repository-password": self._prepare_password,
        }

    async def _prepare_import(self, command: Command) -> Operation:
        wanted = read_arguments(command, RepositoryImport)
        of = await self._looked_at(wanted.folder)
        uid = await self._repository(of, wanted.name.strip() or of.path.name)
        found = [backup async for backup in scan(of, self._keys, self._repositories.data_keys)]
        return partial(_imported, uid, found, of.known)

    async def _prepare_password(self, command: Command) -> Operation:
        wanted = read_arguments(command, _Password)
        of = await self._looked_at(wanted.folder)
        offered = await asyncio.to_thread(self._keys.offered_password, wanted.password)
        try:
            found = [backup async for backup in opened(of, self._keys, offered)]
        finally:
            await asyncio.to_thread(offered.unlink)
        if not found:
            raise RefusedError(
                f"password: it opens no backups of directories in {of.path} that are not open "
                "already."
            )
        for backup in found:
            await asyncio.to_thread(self._keys.keep_password, backup, wanted.password)
        return lambda _connection, _command, _now: Done()

    async def _looked_at(self, folder: str) -> Scanned:
        path = Path(folder)
        if not path.is_absolute():
            raise RefusedError("folder: expected a folder's path from the root, such as /backup.")
        uid = await asyncio.to_thread(_uid_of, path)
        return await self._store.read(lambda c: _scanned(c, path, uid))

    async def _repository(self, of: Scanned, name: str) -> UUID:
        """Make the repository known, unless it is; return its UID."""
        table = tables.repository
        known = await self._store.read(
            lambda c: c.execute(select(table).where(table.c.uid == of.repository)).first()
        )
        if known is None:
            return await self._repositories.add(name, of.path)
        if Path(known.path) != of.path:
            raise RefusedError(
                f'folder: the repository in {of.path} is known here as "{known.name}" in '
                f"{known.path}."
            )
        return of.repository


def _uid_of(path: Path) -> UUID:
    # Nothing is made of a folder that is no repository yet.
    text = DirectoryRepository.open(path).ensure_available()
    try:
        return UUID(text)
    except ValueError:
        raise RepositoryUnavailable(
            f"The marker of the repository in {path} holds no UID."
        ) from None


def _scanned(connection: Connection, path: Path, repository: UUID) -> Scanned:
    managed, point = tables.managed_server, tables.machine_point
    host = connection.scalars(select(managed.c.uid).where(managed.c.kind == "Local")).first()
    known = frozenset(connection.scalars(select(point.c.uid)))
    return Scanned(path, repository, host or repository, known)


def _imported(
    repository: UUID,
    found: list[FoundBackup],
    known: frozenset[UUID],
    connection: Connection,
    _command: Command,
    now: datetime,
) -> Done:
    """Record what was found. `known` are the points that were here when that was looked for."""
    report = _Report()
    for backup in found:
        report.problems += backup.problems
        _import_backup(connection, repository, backup, known, milliseconds(now), report)
    for problem in report.problems:
        _LOGGER.warning("Not imported: %s", problem)
    row = connection.execute(
        select(tables.repository).where(tables.repository.c.uid == repository)
    ).one()
    return Done(str(report), made=Made(type="Repository", uid=repository, name=row.name))


def _import_backup(
    connection: Connection,
    repository: UUID,
    found: FoundBackup,
    known_before: frozenset[UUID],
    now: int,
    report: _Report,
) -> None:
    table = tables.machine_point
    known = set(connection.scalars(select(table.c.uid).where(table.c.backup_uid == found.uid)))
    new = [point for point in oldest_first(found.points) if point.about.point not in known]
    report.known += len(found.points) - len(new)
    if not new:
        return
    if (reason := _why_not(connection, repository, found)) is not None:
        report.problems.append(f"{found.folder}: {reason}")
        return
    if not known_before.isdisjoint(_gone(connection, new)):
        # Their files were not proved, and may be about to go, with what is built on them.
        report.problems.append(
            f"{found.folder}: restore points of it were removed meanwhile. Import it again."
        )
        return
    if not _keys_of(found) <= set(connection.scalars(select(tables.data_key.c.uid))):
        report.problems.append(
            f"{found.folder}: a password of it was deleted meanwhile. Import it again."
        )
        return
    elsewhere = select(table.c.uid).where(table.c.uid.in_([each.about.point for each in new]))
    if connection.execute(elsewhere).first() is not None:
        report.problems.append(
            f"{found.folder}: some of its restore points are those of another backup here."
        )
        return
    job = _ensure_backup(connection, repository, found, now)
    session = _insert_session(connection, job, found, now)
    files = _record_files(connection, found, new)
    for point in new:
        _record_point(connection, found, session, point, files)
    report.backups += 1
    report.added += len(new)


def _keys_of(found: FoundBackup) -> set[UUID]:
    return {each.key for each in found.files.values() if each.key is not None}


def _gone(connection: Connection, new: list[FoundPoint]) -> set[UUID]:
    """Return those of some points that are not here now, in no backup."""
    uids = {each.about.point for each in new}
    column = tables.machine_point.c.uid
    return uids - set(connection.scalars(select(column).where(column.in_(uids))))


def _why_not(connection: Connection, repository: UUID, found: FoundBackup) -> str | None:
    """Return why nothing can be added to a backup, or None."""
    backup, job = tables.backup, tables.job
    row = connection.execute(
        select(backup, job.c.deleted, job.c.name.label("owner"))
        .join(job, job.c.uid == backup.c.job_uid)
        .where(backup.c.uid == found.uid)
    ).first()
    if row is None:
        return None
    if not row.deleted:
        return f'it is the backup of the job "{row.owner}" here, which alone adds points to it.'
    if row.expires is not None:
        return "this backup is known here, and removed as soon as its time is over."
    if (row.repository_uid, row.folder) != (repository, found.folder):
        return f"this backup is known here, in the folder {row.folder} of its repository."
    return None


def _ensure_backup(
    connection: Connection, repository: UUID, found: FoundBackup, now: int
) -> Row[Any]:
    """Return the row of the job that a backup is shown with: it is deleted from the beginning."""
    backup, job = tables.backup, tables.job
    known = connection.scalar(select(backup.c.job_uid).where(backup.c.uid == found.uid))
    uid = known
    if uid is None:
        taken = connection.execute(select(job.c.uid).where(job.c.uid == found.job)).first()
        uid = found.job if taken is None else uuid5(found.uid, "Job")
        connection.execute(
            insert(job).values(
                uid=uid,
                name=found.job_name,
                kind="Backup" if found.files else "NasBackup",
                description="",
                repository_uid=repository,
                folder=imported_folder(found.uid),
                retention=1,
                schedule_enabled=False,
                created=now,
                deleted=True,
            )
        )
        connection.execute(
            insert(backup).values(
                uid=found.uid,
                name=found.job_name,
                job_uid=uid,
                repository_uid=repository,
                folder=found.folder,
            )
        )
        publish_backup(connection, found.uid)
    return connection.execute(select(job).where(job.c.uid == uid)).one()


def _insert_session(connection: Connection, job: Row[Any], found: FoundBackup, now: int) -> UUID:
    """Record the import as a session that has ended: what restore points are shown with."""
    uid = uuid4()
    connection.execute(
        insert(tables.job_session).values(
            uid=uid,
            job_uid=job.uid,
            job_name=job.name,
            job_kind=job.kind,
            created=now,
            ended=now,
            state=JobSessionState.STOPPED,
            result=Result.WARNING if found.problems else Result.SUCCESS,
            progress=100,
            failure_message="\n".join(found.problems),
            is_retry=False,
            cause=Cause.PERSON,
        )
    )
    publish_job_session(connection, uid)
    return uid


def _record_files(
    connection: Connection, found: FoundBackup, new: list[FoundPoint]
) -> dict[str, UUID]:
    """Record the files of points and all that these are built on; return all by their names."""
    needed = set[str]()
    for point in new:
        for file in point.names:
            name: str | None = file
            while name is not None and name not in needed:
                needed.add(name)
                name = found.files[name].parent
    table = tables.backup_file
    rows = connection.execute(select(table).where(table.c.backup_uid == found.uid)).all()
    recorded = {row.path.rpartition("/")[2]: row.uid for row in rows}
    for name, manifest in found.files.items():
        if name not in needed or name in recorded:
            continue
        recorded[name] = uuid5(found.uid, name)
        connection.execute(
            insert(table).values(
                uid=recorded[name],
                backup_uid=found.uid,
                restore_point_uid=manifest.restore_point,
                parent_uid=None if manifest.parent is None else recorded[manifest.parent],
                path=f"{found.folder}/{name}",
                created=manifest.created,
                file_size=manifest.file_size,
                data_size=manifest.data_size,
                virtual_size=manifest.virtual_size,
                sha256=manifest.sha256,
                key_uid=manifest.key,
            )
        )
        publish_backup_file(connection, recorded[name])
    return {name: recorded[name] for name in found.files if name in recorded}


def _record_point(
    connection: Connection,
    found: FoundBackup,
    session: UUID,
    point: FoundPoint,
    files: dict[str, UUID],
) -> None:
    about = point.about
    common: dict[str, Any] = {
        "backup": found.uid,
        "restore_point": _ensure_restore_point(connection, found.uid, session, about),
        "created": about.created,
        "copied_from": about.copied_from,
    }
    if isinstance(about, SnapshotManifest):
        points.record_point(
            connection,
            point=about.point,
            machine=_machine(about, "directory"),
            total_size=about.total_size,
            snapshot_id=about.snapshot,
            **common,
        )
    elif about.detail is None:
        points.record_point(
            connection,
            point=about.point,
            machine=_machine(about, "image"),
            total_size=about.virtual_size,
            backup_file_uid=files[point.names[0]],
            **common,
        )
    else:
        detail = about.detail
        hosted_points.record_disks(
            connection,
            uid=about.point,
            machine=_machine(about, MACHINE),
            point=_as_now(detail, point.files),
            files=[files[name] for name in point.names],
            **common,
        )


def _as_now(detail: MachinePoint, files: tuple[Manifest, ...]) -> MachinePoint:
    """Return what is known of a point, with its files as they are now."""

    def now(disk: DiskPoint, manifest: Manifest) -> DiskPoint:
        return replace(
            disk,
            file=replace(disk.file, sha256=manifest.sha256),
            file_size=manifest.file_size,
            data_size=manifest.data_size,
            incremental=manifest.parent is not None,
        )

    return replace(detail, disks=tuple(map(now, detail.disks, files)))


def _machine(about: Manifest | SnapshotManifest, kind: str) -> Machine:
    return Machine(_NO_TASK, kind, about.machine, about.source, None, about.reference)


def _ensure_restore_point(
    connection: Connection, backup: UUID, session: UUID, about: Manifest | SnapshotManifest
) -> UUID:
    table, uid = tables.restore_point, about.restore_point
    if connection.execute(select(table.c.uid).where(table.c.uid == uid)).first() is None:
        connection.execute(
            insert(table).values(
                uid=uid, backup_uid=backup, job_session_uid=session, created=about.created
            )
        )
        publish_restore_point(connection, uid)
    return uid


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
