"""The repositories of the server, and where in them a backup lies."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import NoResultFound

from holdfast.engine.errors import EngineError
from holdfast.engine.files import ResticRepository
from holdfast.engine.key_file import key_path
from holdfast.engine.repository import MARKER_NAME, DirectoryRepository, Space
from holdfast.sealing import Seal
from holdfast.server import tables
from holdfast.server.data_keys import DataKeys, places_of_keys
from holdfast.server.keys import Keys
from holdfast.server.publish import publish_backup_file, publish_repository
from holdfast.server.refusal import RefusedError
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

#: Where in a backup's folder its restic repository lies, if it has one.
FILES_FOLDER = "files"


@dataclass(frozen=True)
class BackupPlace:
    """Where a backup lies: its repository, and its folder there."""

    backup: UUID
    repository_uid: UUID
    repository: DirectoryRepository
    folder_name: str
    password_file: Path

    def folder(self) -> Path:
        """Return the backup's folder, made when it is not there. Blocking; raise EngineError."""
        return self.repository.folder_for(self.folder_name)

    def path(self, relative: str) -> Path:
        """Given a path relative to the repository, return the absolute one."""
        return self.repository.path / relative

    def files(self) -> ResticRepository:
        """Return the backup's restic repository. Nothing is made or checked."""
        folder = self.repository.path / self.folder_name / FILES_FOLDER
        return ResticRepository(folder, self.password_file)


class Repositories:
    """The repositories of one server."""

    def __init__(self, store: Store, keys: Keys, seal: Seal) -> None:
        self._store = store
        self._keys = keys
        #: What the machine backups in them are encrypted with.
        self.data_keys = DataKeys(store, seal)
        self._renewing = asyncio.Lock()
        #: The files of keys that were seen to be right, by backup and key: where, what is in them.
        self._renewed: dict[tuple[UUID, UUID], tuple[Path, str]] = {}

    async def add(self, name: str, path: Path) -> UUID:
        """Make a directory a repository; return its UID.

        A directory that is a repository already, and not known here, keeps its UID. Adding the
        same directory under the same name again does nothing; adding it under its name where it
        was moved to makes it known there. Refuse a name or a directory that is in use, and a
        directory that lies inside another repository or has one inside; raise EngineError when
        the directory cannot be used.
        """
        if not path.is_absolute():
            raise RefusedError(f"The path of a repository must be absolute, and {path} is not.")
        present = await asyncio.to_thread(_uid_in, path)
        if present is not None:
            await self._store.write(lambda connection: _note_move(connection, present, name, path))

        def look(connection: Connection) -> UUID | None:
            existing = _known(connection, name, path)
            if existing is None:
                _refuse_overlap(connection, present, path)
            return existing

        existing = await self._store.read(look)
        if existing is not None:
            return existing
        uid, space = await asyncio.to_thread(_create, path)
        await asyncio.to_thread(self._keys.ensure_repository_password, uid)

        def record(connection: Connection) -> None:
            _known(connection, name, path)
            table = tables.repository
            if elsewhere := connection.scalar(select(table.c.path).where(table.c.uid == uid)):
                raise RefusedError(f"The repository in {path} is known as that in {elsewhere}.")
            _refuse_overlap(connection, uid, path)
            connection.execute(
                insert(tables.repository).values(
                    uid=uid,
                    name=name,
                    path=str(path),
                    capacity=space.capacity,
                    free_space=space.free,
                )
            )
            publish_repository(connection, uid)

        await self._store.write(record)
        return uid

    async def refresh_space(self) -> None:
        """Note how much space there is now. A repository that is away keeps its last figures."""
        rows = await self._store.read(
            lambda connection: connection.execute(select(tables.repository)).all()
        )
        for row in rows:
            repository = DirectoryRepository(Path(row.path), str(row.uid))
            try:
                space = await asyncio.to_thread(repository.space)
            except EngineError as error:
                _LOGGER.warning('Repository "%s": %s', row.name, error)
                continue
            if (space.capacity, space.free) != (row.capacity, row.free_space):
                await self._note_space(row.uid, space)

    async def place_of(self, backup: UUID) -> BackupPlace:
        """Given a backup, return where it lies. Nothing is checked to be there."""
        return await self._store.read(lambda connection: self.place_in(connection, backup))

    async def renew_key_files(self) -> bool:
        """Write the files of keys that are not what the database says; say whether all could be.

        What is in a repository that is away waits for the next time. Each file is read once after
        a start, and again only when it is gone or the database says something else.
        """
        complete = True
        async with self._renewing:
            wanted = await self._store.read(places_of_keys)
            for backup, key in await asyncio.to_thread(self._to_renew, wanted):
                try:
                    place = await self.place_of(backup)
                    await asyncio.to_thread(place.repository.ensure_available)
                    # What has been removed by now must not come to be there again.
                    if await asyncio.to_thread(place.path(place.folder_name).is_dir):
                        folder = await asyncio.to_thread(place.folder)
                        await self.data_keys.put_beside(folder, [key])
                        self._renewed[backup, key] = key_path(folder, key), wanted[backup, key]
                except NoResultFound:
                    continue  # the backup, or what needs the key in it, is gone since we looked
                except EngineError as error:
                    _LOGGER.warning("The file of a key is not renewed yet: %s", error)
                    complete = False
        return complete

    def _to_renew(self, wanted: Mapping[tuple[UUID, UUID], str]) -> list[tuple[UUID, UUID]]:
        """Return of which files of keys it is not known that they are right. Blocking."""
        found = []
        for place, wrapped in wanted.items():
            path, written = self._renewed.get(place, (None, ""))
            if path is None or written != wrapped or not path.is_file():
                found.append(place)
        return found

    def place_in(self, connection: Connection, backup: UUID) -> BackupPlace:
        """As `place_of`, within a transaction."""
        row = connection.execute(
            select(tables.backup.c.folder, tables.repository.c.uid, tables.repository.c.path)
            .join(tables.repository, tables.repository.c.uid == tables.backup.c.repository_uid)
            .where(tables.backup.c.uid == backup)
        ).one()
        repository = DirectoryRepository(Path(row.path), str(row.uid))
        return BackupPlace(
            backup, row.uid, repository, row.folder, self._keys.repository_password(row.uid, backup)
        )

    async def _note_space(self, uid: UUID, space: Space) -> None:
        def note(connection: Connection) -> None:
            connection.execute(
                update(tables.repository)
                .where(tables.repository.c.uid == uid)
                .values(capacity=space.capacity, free_space=space.free)
            )
            publish_repository(connection, uid)

        await self._store.write(note)


def _known(connection: Connection, name: str, path: Path) -> UUID | None:
    """Return the repository of that name and path; refuse when only one of the two is known."""
    table = tables.repository
    for row in connection.execute(
        select(table).where((table.c.name == name) | (table.c.path == str(path)))
    ):
        if row.name == name and row.path == str(path):
            uid: UUID = row.uid
            return uid
        raise RefusedError(f'Repository "{row.name}" in {row.path} is there already.')
    return None


def _uid_in(path: Path) -> UUID | None:
    """Return the UID of the repository in a directory, or None. Blocking."""
    try:
        return UUID(DirectoryRepository.open(path).ensure_available())
    except (EngineError, ValueError):
        return None


def _note_move(connection: Connection, uid: UUID, name: str, path: Path) -> None:
    """Note where a repository is now, if it is known by this name in another place."""
    repository, backup, file = tables.repository, tables.backup, tables.backup_file
    moved = (repository.c.uid == uid) & (repository.c.name == name)
    moved &= repository.c.path != str(path)
    if connection.execute(select(repository.c.uid).where(moved)).first() is None:
        return
    _refuse_overlap(connection, uid, path)
    connection.execute(update(repository).where(moved).values(path=str(path)))
    _LOGGER.warning('The repository "%s" is in %s now.', name, path)
    inside = select(file.c.uid).join(backup, backup.c.uid == file.c.backup_uid)
    for backup_file in connection.scalars(inside.where(backup.c.repository_uid == uid)).all():
        publish_backup_file(connection, backup_file)


def _refuse_overlap(connection: Connection, uid: UUID | None, path: Path) -> None:
    """Refuse a directory of which another known repository is a part, or the other way round.

    `uid` is the repository that the directory holds, if any. The other one need not be there now:
    where nothing is mounted, its marker cannot be seen.
    """
    real, table = Path(os.path.realpath(path)), tables.repository
    for row in connection.execute(select(table).where(table.c.uid != uid)):
        other = Path(os.path.realpath(row.path))
        if real == other:
            raise RefusedError(f'{path} is where repository "{row.name}" is: {row.path}.')
        if real.is_relative_to(other):
            raise RefusedError(f"{path} lies inside the repository in {row.path}.")
        if other.is_relative_to(real):
            raise RefusedError(f"The repository in {row.path} lies inside {path}.")


def _refuse_inside_another(path: Path) -> None:
    """Refuse a directory in which a repository that is not known would find files of strangers."""
    for above in path.resolve().parents:
        if (above / MARKER_NAME).exists():
            raise RefusedError(f"{path} lies inside the repository in {above}.")


def _create(path: Path) -> tuple[UUID, Space]:
    """Make a directory a repository, or open the one it is; return its UID and space. Blocking."""
    if not (path / MARKER_NAME).exists():
        _refuse_inside_another(path)
        uid = uuid4()
        return uid, DirectoryRepository.create(path, str(uid)).space()
    # Made by an attempt that was interrupted, or brought here from another server.
    repository = DirectoryRepository.open(path)
    try:
        return UUID(repository.ensure_available()), repository.space()
    except ValueError as error:
        raise RefusedError(f"The marker of the repository in {path} holds no UID.") from error
