"""Accounts: who may log on, and proving that it is them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from sqlite3 import Connection
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from holdfast.catalog.store import CatalogStore
from holdfast.manager.clock import Clock
from holdfast.query.literals import fold
from holdfast.schema.roles import Role

#: Failed logons an account or an address may have before it must wait, and how long it waits:
#: twice as long after each further failure, up to the longest.
FREE_FAILURES = 5
FIRST_DELAY = 1_000
LONGEST_DELAY = 5 * 60_000


@dataclass(frozen=True)
class Account:
    """Somebody who may log on. Without a role there is nothing they may do."""

    uid: UUID
    name: str
    role: Role | None


class LogonRefused(Exception):
    """The name or the password is wrong, or it was tried too often; the message does not say
    which of the first two.
    """


class AccountExists(ValueError):
    """There is an account of this name already."""


class Accounts:
    """The accounts of the local store. Passwords are kept as argon2id hashes and nowhere else."""

    def __init__(self, store: CatalogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._hasher = PasswordHasher()
        # Verified in place of a hash when there is no such account, so that both take as long.
        self._no_account = self._hasher.hash("no account")

    async def exist(self) -> bool:
        """Say whether there is any account yet."""
        query = "SELECT EXISTS (SELECT 1 FROM account)"
        return await self._store.read(lambda c: bool(c.execute(query).fetchone()[0]))

    async def create(self, name: str, password: str, role: Role | None) -> None:
        """Given a name, a password and a role, make an account. Raises AccountExists."""
        hashed = await asyncio.to_thread(self._hasher.hash, password)
        now = self._clock()

        def insert(connection: Connection) -> None:
            taken = "SELECT 1 FROM account WHERE name_key = ?"
            if connection.execute(taken, (fold(name),)).fetchone():
                raise AccountExists(f"There is an account {name} already.")
            connection.execute(
                "INSERT INTO account (uid, name, name_key, password_hash, role, created)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (uuid4().bytes, name, fold(name), hashed, role.value if role else None, now),
            )

        await self._store.write(insert)

    async def set_password(self, name: str, password: str) -> None:
        """Given an account's name and a new password, set it. Ends the account's logon sessions.

        Raises KeyError if there is no such account.
        """
        hashed = await asyncio.to_thread(self._hasher.hash, password)

        def update(connection: Connection) -> None:
            found = connection.execute(
                "UPDATE account SET password_hash = ? WHERE name_key = ? RETURNING uid",
                (hashed, fold(name)),
            ).fetchone()
            if found is None:
                raise KeyError(name)
            connection.execute("DELETE FROM logon_session WHERE account_uid = ?", found)
            connection.execute("DELETE FROM logon_failure")

        await self._store.write(update)

    async def authenticate(self, name: str, password: str, address: str) -> Account:
        """Given credentials and the address they come from, return the account.

        Raises LogonRefused.
        """
        subjects = (f"account {fold(name)}", f"address {address}")
        await self._refuse_while_delayed(subjects)
        row = await self._store.read(
            lambda c: c.execute(
                "SELECT uid, name, role, password_hash FROM account WHERE name_key = ?",
                (fold(name),),
            ).fetchone()
        )
        hashed = row[3] if row else self._no_account
        matches = await asyncio.to_thread(self._matches, hashed, password)
        if row is None or not matches:
            await self._store.write(lambda c: self._count_failure(c, subjects))
            raise LogonRefused("The user name or the password is wrong.")
        await self._store.write(lambda c: _forget_failures(c, subjects))
        return Account(UUID(bytes=row[0]), row[1], Role(row[2]) if row[2] else None)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _refuse_while_delayed(self, subjects: tuple[str, str]) -> None:
        until: int | None = await self._store.read(
            lambda c: c.execute(
                "SELECT max(refused_until) FROM logon_failure WHERE subject IN (?, ?)", subjects
            ).fetchone()[0]
        )
        wait = (until or 0) - self._clock()
        if wait > 0:
            seconds = -(-wait // 1000)
            raise LogonRefused(f"Too many failed logons; try again in {seconds} s.")

    def _count_failure(self, connection: Connection, subjects: tuple[str, str]) -> None:
        for subject in subjects:
            (failures,) = connection.execute(
                "INSERT INTO logon_failure (subject, failures, refused_until) VALUES (?, 1, 0)"
                " ON CONFLICT (subject) DO UPDATE SET failures = failures + 1"
                " RETURNING failures",
                (subject,),
            ).fetchone()
            if failures >= FREE_FAILURES:
                doublings = min(failures - FREE_FAILURES, 16)
                delay = min(FIRST_DELAY << doublings, LONGEST_DELAY)
                connection.execute(
                    "UPDATE logon_failure SET refused_until = ? WHERE subject = ?",
                    (self._clock() + delay, subject),
                )


def _forget_failures(connection: Connection, subjects: tuple[str, str]) -> None:
    connection.execute("DELETE FROM logon_failure WHERE subject IN (?, ?)", subjects)
