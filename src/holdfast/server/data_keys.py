"""The keys that machine backups are encrypted with.

A backup has one data key for each password that its job was given. The files are encrypted with
the data key; the password only opens that. So a password is changed without a byte of the backups
being written anew. The key is in the database, sealed for this server, and, encrypted with the
password, in a file beside the backups (`holdfast.engine.key_file`), for when there is no database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import EngineError, KeyRefused
from holdfast.engine.failures import writing_failure
from holdfast.engine.key_file import (
    SUFFIX,
    KeyFile,
    Wrapping,
    key_path,
    read_key_file,
    unwrap,
    write_key_file,
)
from holdfast.sealing import Seal, SealBroken
from holdfast.server import tables
from holdfast.server.job_options import JobOptions, decode_options
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.session_state import JobSessionState
from holdfast.server.store import Store


@dataclass(frozen=True)
class KnownKey:
    """A data key, and what it is known by."""

    uid: UUID
    key: DataKey


class DataKeys:
    """Draws, finds and opens data keys. The secrets in the database are sealed with `seal`."""

    def __init__(self, store: Store, seal: Seal) -> None:
        self._store = store
        self._seal = seal
        self._writing = asyncio.Lock()
        #: What was seen to open with its password.
        self._proved: set[str] = set()

    async def of_file(self, file: UUID) -> DataKey | None:
        """Return the key of a backup file, None for one that is not encrypted. KeyRefused."""
        return await self._store.read(lambda connection: self.key_of(connection, file))

    def key_of(self, connection: Connection, file: UUID) -> DataKey | None:
        """As `of_file`, within a transaction."""
        uid = row_of(connection, tables.backup_file, file).key_uid
        return None if uid is None else self._opened(row_of(connection, tables.data_key, uid))

    async def ensure(self, backup: UUID, password: UUID, now: int) -> KnownKey:
        """Return the key of a backup for a password, drawn when there is none.

        Raise KeyRefused when the password is not there any more, or cannot be opened.
        """

        def find(connection: Connection) -> KnownKey:
            table = tables.data_key
            row = connection.execute(
                select(table)
                .where(table.c.backup_uid == backup, table.c.password_uid == password)
                .order_by(table.c.created.desc())
            ).first()
            if row is None:
                return self._draw(connection, backup, password, now)
            return KnownKey(row.uid, self._opened(row))

        return await self._store.write(find)

    async def adopt(self, folder: Path, uid: UUID, backup: UUID, created: int) -> DataKey:
        """Return the key of a backup that another server has made, and keep it from now on.

        A password that is known here must open the file beside the backup, unless the key is known
        itself. `created` is when it was first used, in ms. Raise KeyRefused, or EngineError.
        """
        known = await self._store.read(lambda connection: self._known(connection, uid))
        if known is not None:
            return known
        path, table = key_path(folder, uid), tables.password_key
        file = await asyncio.to_thread(read_key_file, path)
        if file.key != uid:
            raise EngineError(f"{path} holds another key, [{file.key}].")
        rows = await self._store.read(lambda connection: connection.execute(select(table)).all())
        # Each guess takes half a second.
        for row in sorted(rows, key=lambda row: row.hint != file.hint):
            try:
                secret = self._seal.open(row.secret, str(row.uid))
                key = await asyncio.to_thread(unwrap, file, secret)
            except (SealBroken, KeyRefused):
                continue
            keep = partial(self._keep, password=row, backup=backup, file=file, key=key)
            await self._store.write(partial(keep, created=created))
            return key
        hint = f', whose hint is "{file.hint}"' if file.hint else ""
        raise KeyRefused(f"No password that is known here opens {path}{hint}.")

    def _known(self, connection: Connection, uid: UUID) -> DataKey | None:
        table = tables.data_key
        row = connection.execute(select(table).where(table.c.uid == uid)).first()
        return None if row is None else self._opened(row)

    def _keep(
        self,
        connection: Connection,
        *,
        password: Row[Any],
        backup: UUID,
        file: KeyFile,
        key: DataKey,
        created: int,
    ) -> None:
        """Record a key that a password has opened; somebody else may have done so meanwhile."""
        if self._known(connection, file.key) is not None:
            return
        table = tables.password_key
        now = connection.execute(select(table).where(table.c.uid == password.uid)).first()
        if now is None or now.secret != password.secret:
            raise KeyRefused(f'The password "{password.hint}" was changed meanwhile.')
        connection.execute(
            insert(tables.data_key).values(
                uid=file.key,
                backup_uid=backup,
                password_uid=password.uid,
                secret=self._seal.close(key.secret, _purpose(file.key)),
                wrapped=_encoded(file),
                created=created,
            )
        )

    async def put_beside(self, folder: Path, uids: Iterable[UUID]) -> None:
        """Write the files of keys into the folder of a backup, as they are now. EngineError."""
        async with self._writing:
            for uid in uids:
                await self._put_beside(folder, uid)

    async def _put_beside(self, folder: Path, uid: UUID) -> None:
        row, password = await self._store.read(partial(_with_password, uid=uid))
        wanted = msgspec.json.decode(row.wrapped, type=KeyFile)
        path = key_path(folder, uid)
        try:
            present = await asyncio.to_thread(read_key_file, path)
        except EngineError:
            present = None  # missing or damaged
        if present == wanted:
            return
        if present is not None or self._is_readable(password.secret, str(password.uid)):
            await self._prove(row, password, wanted)
        try:
            await asyncio.to_thread(write_key_file, path, wanted)
        except OSError as error:
            raise writing_failure(error, path) from error

    async def _prove(self, row: Row[Any], password: Row[Any], wanted: KeyFile) -> None:
        """Raise KeyRefused unless what is to be written opens with the password."""
        if row.wrapped in self._proved:
            return
        try:
            secret = self._seal.open(password.secret, str(password.uid))
        except SealBroken as error:
            raise KeyRefused(
                f'The password "{password.hint}" cannot be read: {error} Enter it again.'
            ) from error
        if await asyncio.to_thread(unwrap, wanted, secret) != self._opened(row):
            raise KeyRefused(f"The file of the key {row.uid} would hold another key.")
        self._proved.add(row.wrapped)

    def reopen(self, connection: Connection, secret: str) -> None:
        """Take up the keys that a password opens and that this server cannot open by itself.

        Its own key was lost: what that has sealed in the database is sealed anew.
        """
        table, passwords = tables.data_key, tables.password_key
        for row in connection.execute(select(table)).all():
            if self._is_readable(row.secret, _purpose(row.uid)):
                continue
            try:
                key = unwrap(msgspec.json.decode(row.wrapped, type=KeyFile), secret)
            except EngineError:
                continue  # that of another password
            same = table.c.uid == row.uid
            sealed = self._seal.close(key.secret, _purpose(row.uid))
            connection.execute(update(table).where(same).values(secret=sealed))
            owner = row_of(connection, passwords, row.password_uid)
            if not self._is_readable(owner.secret, str(owner.uid)):
                same = passwords.c.uid == owner.uid
                sealed = self._seal.close(secret, str(owner.uid))
                connection.execute(update(passwords).where(same).values(secret=sealed))

    def _is_readable(self, sealed: bytes, purpose: str) -> bool:
        try:
            self._seal.open(sealed, purpose)
        except SealBroken:
            return False
        return True

    def wrap_anew(self, connection: Connection, password: UUID, secret: str, hint: str) -> None:
        """Encrypt the keys of a password with a new secret of it, in the database."""
        table = tables.data_key
        rows = connection.execute(select(table).where(table.c.password_uid == password)).all()
        if not rows:
            return
        # One for all: each takes half a second, in which nobody else writes to the database.
        wrapping = Wrapping(secret, hint)
        for row in rows:
            try:
                key = self._opened(row)
            except KeyRefused as error:
                name = row_of(connection, tables.backup, row.backup_uid).name
                raise RefusedError(
                    f'Password: it does not open what the backup "{name}" is encrypted with. The '
                    "key with which this backup server keeps its secrets is another one than it "
                    "was, so expected is the password as it was last. After that it may be changed."
                ) from error
            connection.execute(
                update(table)
                .where(table.c.uid == row.uid)
                .values(wrapped=_encoded(wrapping.wrap(key, row.uid)))
            )

    def _draw(self, connection: Connection, backup: UUID, password: UUID, now: int) -> KnownKey:
        table = tables.password_key
        row = connection.execute(select(table).where(table.c.uid == password)).first()
        if row is None:
            raise KeyRefused(
                f"The job is to encrypt with the password [{password}], which is gone."
            )
        try:
            secret = self._seal.open(row.secret, str(password))
        except SealBroken as error:
            raise KeyRefused(
                f'The password "{row.hint}" cannot be read: {error} Enter it again.'
            ) from error
        uid, key = uuid4(), DataKey.draw()
        connection.execute(
            insert(tables.data_key).values(
                uid=uid,
                backup_uid=backup,
                password_uid=password,
                secret=self._seal.close(key.secret, _purpose(uid)),
                wrapped=_encoded(Wrapping(secret, row.hint).wrap(key, uid)),
                created=now,
            )
        )
        return KnownKey(uid, key)

    def _opened(self, row: Row[Any]) -> DataKey:
        try:
            return DataKey(self._seal.open(row.secret, _purpose(row.uid)))
        except SealBroken as error:
            hint = msgspec.json.decode(row.wrapped, type=KeyFile).hint
            known_as = f' "{hint}"' if hint else ""
            raise KeyRefused(
                f"The key of this encrypted backup cannot be read: {error} Enter the password"
                f"{known_as} of this backup server again, as it was. The file {row.uid}{SUFFIX} "
                "beside the backup opens it with the password, too."
            ) from error


def keys_of_point(connection: Connection, point: UUID) -> set[UUID]:
    """Return the UIDs of the keys that a machine's point needs: one, or none."""
    file, disk, table = tables.backup_file, tables.machine_disk, tables.machine_point
    of_disks = select(disk.c.backup_file_uid).where(disk.c.point_uid == point)
    first = select(table.c.backup_file_uid).where(table.c.uid == point)
    held = file.c.uid.in_(of_disks) | file.c.uid.in_(first)
    found = connection.scalars(select(file.c.key_uid).where(held, file.c.key_uid.is_not(None)))
    return set(found)


def password_of(connection: Connection, key: UUID) -> UUID:
    """Return the password that a data key needs."""
    found: UUID = row_of(connection, tables.data_key, key).password_uid
    return found


def refuse_if_needed(connection: Connection, password: UUID) -> None:
    """Refuse the deletion of a password that jobs or running sessions use, or files need."""
    table = tables.job
    jobs = [
        job.name
        for job in connection.execute(select(table).where(~table.c.deleted).order_by(table.c.name))
        if decode_options(job.options).encryption == password
    ]
    if len(jobs) == 1:
        raise RefusedError(f'Job "{jobs[0]}" encrypts its backup with this password.')
    if jobs:
        raise RefusedError(f"The jobs {_quoted(jobs)} encrypt their backups with this password.")
    if running := _sessions_with(connection, password):
        raise RefusedError(
            f"Sessions of {_quoted(running)} are running, and may encrypt with this password."
        )
    key, file, backup = tables.data_key, tables.backup_file, tables.backup
    point = tables.machine_point
    needed = (
        select(backup.c.name)
        .join(file, file.c.backup_uid == backup.c.uid)
        .join(key, key.c.uid == file.c.key_uid)
        .where(key.c.password_uid == password)
        .distinct()
        .order_by(backup.c.name)
    )
    names = list(connection.scalars(needed))
    if not names:
        return
    count = len(
        connection.execute(
            select(point.c.uid)
            .join(file, file.c.uid == point.c.backup_file_uid)
            .join(key, key.c.uid == file.c.key_uid)
            .where(key.c.password_uid == password)
        ).all()
    )
    lost = "1 restore point" if count == 1 else f"{count} restore points"
    raise RefusedError(
        f"Without this password, {lost} in the backups of {_quoted(names)} could not be restored. "
        "Delete what is encrypted with it first."
    )


def _sessions_with(connection: Connection, password: UUID) -> list[str]:
    """Return of which jobs sessions are running that may have taken up a key of a password.

    The job may be gone, or encrypt with another one by now, and no file be recorded yet.
    """
    key, backup, session = tables.data_key, tables.backup, tables.job_session
    names = (
        select(session.c.job_name)
        .join(backup, backup.c.job_uid == session.c.job_uid)
        .join(key, key.c.backup_uid == backup.c.uid)
        .where(key.c.password_uid == password, session.c.state != JobSessionState.STOPPED)
        .distinct()
        .order_by(session.c.job_name)
    )
    return list(connection.scalars(names))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def check_password(connection: Connection, options: JobOptions) -> None:
    """Refuse options that name a password which is not there."""
    table = tables.password_key
    wanted = options.encryption
    if wanted is None:
        return
    if connection.execute(select(table.c.uid).where(table.c.uid == wanted)).first() is None:
        raise RefusedError(
            f"options.encryption: expected the UID of a password of this backup server, not "
            f"{wanted}."
        )


def forget_keys(connection: Connection, password: UUID) -> None:
    """Delete the keys of a password that no file needs."""
    table = tables.data_key
    connection.execute(delete(table).where(table.c.password_uid == password))


def places_of_keys(connection: Connection) -> dict[tuple[UUID, UUID], str]:
    """Return in which backups there are files with which keys: pairs of backup and key.

    Each comes with what is to be in the file of the key.
    """
    file, key = tables.backup_file, tables.data_key
    query = select(file.c.backup_uid, file.c.key_uid, key.c.wrapped)
    query = query.join(key, key.c.uid == file.c.key_uid).distinct()
    return {(row.backup_uid, row.key_uid): row.wrapped for row in connection.execute(query)}


def _with_password(connection: Connection, uid: UUID) -> tuple[Row[Any], Row[Any]]:
    row = row_of(connection, tables.data_key, uid)
    return row, row_of(connection, tables.password_key, row.password_uid)


def _encoded(file: KeyFile) -> str:
    return msgspec.json.encode(file).decode()


def _purpose(uid: UUID) -> str:
    return f"data key {uid}"
