"""Logon sessions: from a logon to the logoff, or until they have been idle too long."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from sqlite3 import Connection
from typing import Any
from uuid import UUID, uuid4

from holdfast.catalog.store import CatalogStore
from holdfast.manager.account import Account
from holdfast.manager.clock import Clock
from holdfast.schema.naming import guid_of
from holdfast.schema.roles import Role

_log = logging.getLogger(__name__)

#: The last use is written down only when it is this much later than the last one written.
_USE_GRANULARITY = 15_000


@dataclass(frozen=True)
class LogonSession:
    """An open logon session.

    `session_id` is the secret that the client holds; it is known only in answers to that client.
    To others the session is known by `uid`. What its account may restore is limited by scopes
    unless it `restores_everything`.
    """

    uid: UUID
    account_uid: UUID
    user_name: str
    roles: frozenset[Role]
    session_id: str | None = None
    restores_everything: bool = True

    @property
    def public_id(self) -> str:
        """The id in the session's address, as the one asking may see it."""
        return self.session_id or str(self.uid)


@dataclass(frozen=True)
class LogonLimits:
    """How long a logon session lives: unused, and at all."""

    idle: timedelta = timedelta(minutes=15)
    absolute: timedelta = timedelta(hours=24)


def token_for(session_id: str) -> str:
    """Given a session id, return the token for the header and the cookie (base64 of its text)."""
    return base64.b64encode(session_id.encode()).decode()


def _session_id_of(token: str) -> str | None:
    try:
        text = base64.b64decode(token.strip(), validate=True).decode("ascii")
        return str(guid_of(text))
    except (binascii.Error, ValueError):
        return None


def _hash(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode()).digest()


# A row for each role; an account without any has no session.
_SELECT = (
    "SELECT s.uid, s.account_uid, a.name, a.allow_restore_all_vms, s.last_used, r.role"
    " FROM logon_session AS s JOIN account AS a ON a.uid = s.account_uid"
    " JOIN account_role AS r ON r.account_uid = a.uid"
    " WHERE s.last_used > ? AND s.created > ?"
)


class LogonSessions:
    """The open logon sessions. Only a hash of each session id is stored."""

    def __init__(self, store: CatalogStore, clock: Clock, limits: LogonLimits) -> None:
        self._store = store
        self._clock = clock
        self._idle = limits.idle // timedelta(milliseconds=1)
        self._absolute = limits.absolute // timedelta(milliseconds=1)

    async def open(self, account: Account) -> LogonSession:
        """Given an account with a role, open a session for it; the result has its session id."""
        if not account.roles:
            raise ValueError("an account without a role cannot log on")
        session_id = str(UUID(bytes=secrets.token_bytes(16)))
        session = LogonSession(
            uuid4(),
            account.uid,
            account.name,
            account.roles,
            session_id,
            account.restores_everything,
        )
        now = self._clock()
        await self._store.write(
            lambda c: c.execute(
                "INSERT INTO logon_session"
                " (uid, token_hash, account_uid, created, last_used, tasks_numbered)"
                " VALUES (?, ?, ?, ?, ?, 0)",
                (session.uid.bytes, _hash(session_id), account.uid.bytes, now, now),
            )
        )
        return session

    async def authenticate(self, token: str) -> LogonSession | None:
        """Given a token, return its open session and count this as a use; None if there is none."""
        session_id = _session_id_of(token)
        if session_id is None:
            return None
        now = self._clock()
        rows = await self._store.read(
            lambda c: c.execute(
                f"{_SELECT} AND s.token_hash = ?", (*self._bounds(now), _hash(session_id))
            ).fetchall()
        )
        if not rows:
            return None
        row = rows[0]
        if now - row[4] >= _USE_GRANULARITY:
            await self._note_use(row[0], now)
        return _session(rows, session_id)

    async def _note_use(self, uid: bytes, now: int) -> None:
        update = "UPDATE logon_session SET last_used = ? WHERE uid = ?"
        try:
            await self._store.write(lambda c: c.execute(update, (now, uid)))
        except sqlite3.Error:
            # A disk that is full must not lock out those who come to see why.
            _log.exception("The use of a logon session could not be noted.")

    async def visible_to(self, caller: LogonSession) -> list[LogonSession]:
        """Given a session, return those it may see, itself first: all for an administrator."""
        rows = await self._store.read(
            lambda c: c.execute(
                f"{_SELECT} ORDER BY s.created, s.uid", self._bounds(self._clock())
            ).fetchall()
        )
        by_session = (list(group) for _, group in groupby(rows, key=lambda row: row[0]))
        others = [
            session
            for session in map(_session, by_session)
            if session.uid != caller.uid
            and (
                Role.PORTAL_ADMINISTRATOR in caller.roles
                or session.account_uid == caller.account_uid
            )
        ]
        return [caller, *others]

    async def close(self, session: LogonSession) -> None:
        """Given a session, end it at once, with its tasks."""
        await self._store.write(lambda c: _delete(c, [session.uid.bytes]))

    async def remove_expired(self) -> None:
        """Remove every session that is over, with its tasks."""
        idle_since, created_after = self._bounds(self._clock())

        def remove(connection: Connection) -> None:
            over = connection.execute(
                "SELECT uid FROM logon_session WHERE last_used <= ? OR created <= ?",
                (idle_since, created_after),
            ).fetchall()
            _delete(connection, [uid for (uid,) in over])

        await self._store.write(remove)

    def _bounds(self, now: int) -> tuple[int, int]:
        # The last use may be this much later than what is written: nobody is sent away too early.
        return now - self._idle - _USE_GRANULARITY, now - self._absolute


def _session(rows: list[tuple[Any, ...]], session_id: str | None = None) -> LogonSession:
    uid, account, name, allowed, _, _ = rows[0]
    roles = frozenset(Role(row[5]) for row in rows)
    everything = bool(allowed) or Role.PORTAL_ADMINISTRATOR in roles
    return LogonSession(UUID(bytes=uid), UUID(bytes=account), name, roles, session_id, everything)


def end_sessions_of(connection: Connection, account: UUID) -> None:
    """Given an account, end its sessions at once, with their tasks; within a transaction."""
    query = "SELECT uid FROM logon_session WHERE account_uid = ?"
    _delete(connection, [uid for (uid,) in connection.execute(query, (account.bytes,)).fetchall()])


def _delete(connection: Connection, uids: list[bytes]) -> None:
    for uid in uids:
        connection.execute(
            "DELETE FROM unfinished_command WHERE task_uid IN"
            " (SELECT uid FROM task WHERE logon_session_uid = ?)",
            (uid,),
        )
        connection.execute("DELETE FROM task WHERE logon_session_uid = ?", (uid,))
        connection.execute("DELETE FROM logon_session WHERE uid = ?", (uid,))
