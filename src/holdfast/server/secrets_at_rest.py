"""Credentials and passwords: what this server logs on with and encrypts with.

The secrets are in the database only sealed; the key is a file in the server's folder of keys.
Nothing of them is ever shown to a manager, nor kept with the commands that brought them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, Table, delete, insert, select, update

from holdfast.sealing import Seal
from holdfast.server import tables
from holdfast.server.clock import milliseconds
from holdfast.server.data_keys import DataKeys, forget_keys, refuse_if_needed
from holdfast.server.messages import Command, Made
from holdfast.server.operations import Done, Operation, read_arguments
from holdfast.server.outbox import Resource, publish, withdraw
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.secret_specifications import CredentialsSpecification, PasswordSpecification

CREDENTIALS = "Credentials"
PASSWORD = "Passwords"  # noqa: S105 - the name of a type


@dataclass(frozen=True)
class Account:
    """What to log on with."""

    username: str
    password: str


class SecretsAtRest:
    """Makes, changes, deletes and opens secrets. Each method runs in the caller's transaction."""

    def __init__(self, seal: Seal, data_keys: DataKeys, renew: Callable[[], None]) -> None:
        """`renew` is called when files of keys are to be written anew."""
        self._seal = seal
        self._data_keys = data_keys
        self._renew = renew

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The commands that are about secrets, by name."""
        return {
            "create-credentials": self._create_credentials,
            "edit-credentials": self._edit_credentials,
            "delete-credentials": self._delete_credentials,
            "create-password": self._create_password,
            "edit-password": self._edit_password,
            "delete-password": self._delete_password,
        }

    def account(self, connection: Connection, uid: UUID) -> Account:
        """Given credentials, return what to log on with. Raises RefusedError, SealBroken."""
        row = _found(connection, tables.credentials, uid, "credentials")
        return Account(row.username, self._seal.open(row.secret, str(uid)))

    def password(self, connection: Connection, uid: UUID) -> str:
        """Given a password's UID, return the password. Raises RefusedError, SealBroken."""
        row = _found(connection, tables.password_key, uid, "password")
        return self._seal.open(row.secret, str(uid))

    def _create_credentials(self, connection: Connection, command: Command, _now: datetime) -> Done:
        wanted = read_arguments(command, CredentialsSpecification)
        if not (wanted.username or "").strip():
            raise RefusedError("Credentials need a user name.")
        uid = uuid4()
        values = {
            "uid": uid,
            "username": wanted.username,
            "description": wanted.description or "",
            "secret": self._seal.close(wanted.password or "", str(uid)),
        }
        connection.execute(insert(tables.credentials).values(values))
        return _show_credentials(connection, uid)

    def _edit_credentials(self, connection: Connection, command: Command, _now: datetime) -> Done:
        wanted = read_arguments(command, CredentialsSpecification)
        uid = _found(connection, tables.credentials, command.target, "credentials").uid
        if wanted.username is not None and not wanted.username.strip():
            raise RefusedError("Credentials need a user name.")
        values = {
            "username": wanted.username,
            "description": wanted.description,
            # A document that was read has no password in it; sent back so, it keeps the one there.
            "secret": self._seal.close(wanted.password, str(uid)) if wanted.password else None,
        }
        _change(connection, tables.credentials, uid, values)
        return _show_credentials(connection, uid)

    def _delete_credentials(self, connection: Connection, command: Command, _now: datetime) -> Done:
        uid = _found(connection, tables.credentials, command.target, "credentials").uid
        host = tables.host
        user = connection.scalar(select(host.c.name).where(host.c.credentials_uid == uid).limit(1))
        if user is not None:
            raise RefusedError(f'Host "{user}" is reached with these credentials.')
        connection.execute(delete(tables.credentials).where(tables.credentials.c.uid == uid))
        withdraw(connection, CREDENTIALS, uid)
        return Done()

    def _create_password(self, connection: Connection, command: Command, now: datetime) -> Done:
        wanted = read_arguments(command, PasswordSpecification)
        if not wanted.password:
            raise RefusedError("Password: expected a password that is not empty.")
        uid = uuid4()
        values = {
            "uid": uid,
            "hint": wanted.hint or "",
            "secret": self._seal.close(wanted.password, str(uid)),
            "modified": milliseconds(now),
        }
        self._data_keys.reopen(connection, wanted.password)
        connection.execute(insert(tables.password_key).values(values))
        return _show_password(connection, uid)

    def _edit_password(self, connection: Connection, command: Command, now: datetime) -> Done:
        wanted = read_arguments(command, PasswordSpecification)
        row = _found(connection, tables.password_key, command.target, "password")
        uid = row.uid
        values = {
            "hint": wanted.hint,
            "secret": self._seal.close(wanted.password, str(uid)) if wanted.password else None,
            "modified": milliseconds(now),
        }
        _change(connection, tables.password_key, uid, values)
        done = _show_password(connection, uid)
        if not wanted.password:
            return done
        self._data_keys.reopen(connection, wanted.password)
        # What was encrypted before is opened by the new password from now on.
        hint = row.hint if wanted.hint is None else wanted.hint
        self._data_keys.wrap_anew(connection, uid, wanted.password, hint)
        return replace(done, then=self._renew)

    def _delete_password(self, connection: Connection, command: Command, _now: datetime) -> Done:
        uid = _found(connection, tables.password_key, command.target, "password").uid
        refuse_if_needed(connection, uid)
        forget_keys(connection, uid)
        connection.execute(delete(tables.password_key).where(tables.password_key.c.uid == uid))
        withdraw(connection, PASSWORD, uid)
        return Done()


def _found(connection: Connection, table: Table, uid: UUID | None, what: str) -> Row[Any]:
    row = connection.execute(select(table).where(table.c.uid == uid)).first()
    if row is None:
        raise RefusedError(f"Cannot find {what} [{uid}].")
    return row


def _change(connection: Connection, table: Table, uid: UUID, values: Mapping[str, Any]) -> None:
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        connection.execute(update(table).where(table.c.uid == uid).values(given))


def _show_credentials(connection: Connection, uid: UUID) -> Done:
    row = row_of(connection, tables.credentials, uid)
    values = {"Id": str(uid), "Username": row.username, "Description": row.description}
    publish(connection, Resource(CREDENTIALS, uid, row.username, values))
    return Done(made=Made(type=CREDENTIALS, uid=uid, name=row.username))


def _show_password(connection: Connection, uid: UUID) -> Done:
    row = row_of(connection, tables.password_key, uid)
    values = {"Id": str(uid), "Hint": row.hint, "LastModificationDate": row.modified}
    publish(connection, Resource(PASSWORD, uid, row.hint, values))
    return Done(made=Made(type=PASSWORD, uid=uid, name=row.hint))
