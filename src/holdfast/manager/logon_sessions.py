"""Logon sessions: from a logon to the logoff, or until they have been idle too long."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from sqlite3 import Connection
from typing import Any
from uuid import UUID, uuid4

from holdfast.catalog.store import CatalogStore
from holdfast.manager.accounts import Account
from holdfast.manager.clock import Clock
from holdfast.schema.naming import guid_of
from holdfast.schema.roles import Role

#: The last use is written down only when it is this much later than the last one written.
_USE_GRANULARITY = 15_000


@dataclass(frozen=True)
class LogonSession:
    """An open logon session.

    `session_id` is the secret that the client holds; it is known only in answers to that client.
    To others the session is known by `uid`.
    """

    uid: UUID
    account_uid: UUID
    user_name: str
    role: Role
    session_id: str | None = None

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


_SELECT = (
    "SELECT s.uid, s.account_uid, a.name, a.role, s.last_used"
    " FROM logon_session AS s JOIN account AS a ON a.uid = s.account_uid"
    " WHERE a.role IS NOT NULL AND s.last_used > ? AND s.created > ?"
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
        if account.role is None:
            raise ValueError("an account without a role cannot log on")
        session_id = str(UUID(bytes=secrets.token_bytes(16)))
        session = LogonSession(uuid4(), account.uid, account.name, account.role, session_id)
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
        row = await self._store.read(
            lambda c: c.execute(
                f"{_SELECT} AND s.token_hash = ?", (*self._bounds(now), _hash(session_id))
            ).fetchone()
        )
        if row is None:
            return None
        if now - row[4] >= _USE_GRANULARITY:
            await self._store.write(
                lambda c: c.execute(
                    "UPDATE logon_session SET last_used = ? WHERE uid = ?", (now, row[0])
                )
            )
        return _session(row, session_id)

    async def visible_to(self, caller: LogonSession) -> list[LogonSession]:
        """Given a session, return those it may see, itself first: all for an administrator."""
        rows = await self._store.read(
            lambda c: c.execute(
                f"{_SELECT} ORDER BY s.created", self._bounds(self._clock())
            ).fetchall()
        )
        others = [
            session
            for session in map(_session, rows)
            if session.uid != caller.uid
            and (
                caller.role is Role.PORTAL_ADMINISTRATOR
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


def _session(row: tuple[Any, ...], session_id: str | None = None) -> LogonSession:
    return LogonSession(UUID(bytes=row[0]), UUID(bytes=row[1]), row[2], Role(row[3]), session_id)


def _delete(connection: Connection, uids: list[bytes]) -> None:
    for uid in uids:
        connection.execute(
            "DELETE FROM unfinished_command WHERE task_uid IN"
            " (SELECT uid FROM task WHERE logon_session_uid = ?)",
            (uid,),
        )
        connection.execute("DELETE FROM task WHERE logon_session_uid = ?", (uid,))
        connection.execute("DELETE FROM logon_session WHERE uid = ?", (uid,))
