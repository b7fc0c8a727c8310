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
from holdfast.manager.logon_failures import LogonFailures, LogonRefused
from holdfast.query.literals import fold
from holdfast.schema.roles import Role

#: How many passwords are checked at a time. Each check takes a core and 64 MiB for a while.
_CHECKS_AT_ONCE = 2


@dataclass(frozen=True)
class Account:
    """Somebody who may log on. Without a role there is nothing they may do."""

    uid: UUID
    name: str
    role: Role | None


class AccountExists(ValueError):
    """There is an account of this name already."""


class Accounts:
    """The accounts of the local store. Passwords are kept as argon2id hashes and nowhere else."""

    def __init__(self, store: CatalogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.failures = LogonFailures(store, clock)
        self._hashing = asyncio.Semaphore(_CHECKS_AT_ONCE)
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
        # Whoever sends many at once waits here, and is then refused by what the first have failed.
        async with self._hashing:
            await self.failures.refuse_while_delayed(name, address)
            row = await self._store.read(
                lambda c: c.execute(
                    "SELECT uid, name, role, password_hash FROM account WHERE name_key = ?",
                    (fold(name),),
                ).fetchone()
            )
            hashed = row[3] if row else self._no_account
            matches = await asyncio.to_thread(self._matches, hashed, password)
            if row is None or not matches:
                await self.failures.count(name, address)
                raise LogonRefused("The user name or the password is wrong.")
            await self.failures.forget(name, address)
        return Account(UUID(bytes=row[0]), row[1], Role(row[2]) if row[2] else None)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
