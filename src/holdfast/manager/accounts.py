"""Accounts: who may log on, and what they may be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from sqlite3 import Connection
from uuid import UUID, uuid4

from holdfast.catalog.store import CatalogStore
from holdfast.manager import account_rows
from holdfast.manager.account import CAN_LOG_ON, Account, NewAccount
from holdfast.manager.account_rows import NoSuchAccount
from holdfast.manager.clock import Clock
from holdfast.manager.identity import NO_PASSWORD, CredentialCheck, LocalPasswords, OutsideProgram
from holdfast.manager.logon_failures import LogonFailures, LogonRefused
from holdfast.manager.logon_sessions import end_sessions_of
from holdfast.manager.scopes import add_scope
from holdfast.query.literals import fold
from holdfast.schema.roles import Role

#: How many passwords are checked at a time. Each check takes a core and 64 MiB for a while.
_CHECKS_AT_ONCE = 2

_Check = tuple[CredentialCheck, asyncio.Semaphore]


class AccountExists(ValueError):
    """There is an account of this name already."""


class Accounts:
    """The accounts of the manager, in its own tables and, in step, in the catalog's."""

    def __init__(
        self, store: CatalogStore, clock: Clock, logon_program: Path | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._local = LocalPasswords(store)
        # Each has turns of its own: a program that hangs must not keep local accounts out.
        self._local_check: _Check = (self._local, asyncio.Semaphore(_CHECKS_AT_ONCE))
        self._outside_check: _Check | None = None
        if logon_program is not None:
            outside = OutsideProgram(logon_program)
            self._outside_check = (outside, asyncio.Semaphore(_CHECKS_AT_ONCE))
        self.failures = LogonFailures(store, clock)

    async def show_all(self) -> None:
        """Bring what the API shows of roles and accounts into step with them."""
        await self._store.write(lambda c: account_rows.show_all(c, self._store.schema))

    async def exist(self) -> bool:
        """Say whether there is any account yet."""
        query = "SELECT EXISTS (SELECT 1 FROM account)"
        return await self._store.read(lambda c: bool(c.execute(query).fetchone()[0]))

    async def create(self, name: str, password: str, role: Role | None) -> UUID:
        """Given a name, a password and a role, make an account. Raises AccountExists."""
        return await self.add(NewAccount(name, (role,) if role else (), password))

    async def add(self, new: NewAccount) -> UUID:
        """Given a new account, make it and return its UID. Raises AccountExists."""
        hashed = NO_PASSWORD if new.password is None else await self._local.hash(new.password)
        uid, now = uuid4(), self._clock()

        def insert(connection: Connection) -> None:
            taken = "SELECT 1 FROM account WHERE name_key = ?"
            if connection.execute(taken, (fold(new.name),)).fetchone():
                raise AccountExists(f"There is an account {new.name} already.")
            connection.execute(
                "INSERT INTO account (uid, name, name_key, password_hash, kind,"
                " allow_restore_all_vms, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    uid.bytes,
                    new.name,
                    fold(new.name),
                    hashed,
                    new.kind,
                    new.allow_restore_all_vms,
                    now,
                ),
            )
            for role in new.roles:
                account_rows.grant(connection, uid, role)
            account_rows.show(connection, self._store.schema, uid)
            for reference in new.scopes:
                add_scope(connection, self._store.schema, uid, reference)

        await self._store.write(insert)
        return uid

    async def remove(self, uid: UUID) -> None:
        """Given an account, end it and its logon sessions.

        Raises NoSuchAccount, LastAdministrator.
        """

        def delete(connection: Connection) -> None:
            self._expect(connection, uid)
            if Role.PORTAL_ADMINISTRATOR in account_rows.roles_of(connection, uid):
                self._expect_another_administrator(connection, uid)
            end_sessions_of(connection, uid)
            account_rows.erase(connection, self._store.schema, uid)

        await self._store.write(delete)

    async def toggle_allow_restore_all_vms(self, uid: UUID) -> None:
        """Given an account, let it restore everything, or no longer. Raises NoSuchAccount."""

        def toggle(connection: Connection) -> None:
            self._expect(connection, uid)
            connection.execute(
                "UPDATE account SET allow_restore_all_vms = NOT allow_restore_all_vms"
                " WHERE uid = ?",
                (uid.bytes,),
            )
            account_rows.show(connection, self._store.schema, uid)

        await self._store.write(toggle)

    async def grant(self, uid: UUID, role: Role) -> UUID:
        """Given an account and a role, let it have the role; return the UID of that.

        Raises NoSuchAccount.
        """

        def insert(connection: Connection) -> None:
            self._expect(connection, uid)
            account_rows.grant(connection, uid, role)
            account_rows.show(connection, self._store.schema, uid)

        await self._store.write(insert)
        return account_rows.membership_uid(uid, role)

    async def revoke(self, uid: UUID, membership: UUID) -> None:
        """Given an account and the UID of a role of it, take the role away.

        What is left decides at once what its open sessions may; without any they are over.
        Raises NoSuchAccount, LastAdministrator.
        """

        def delete(connection: Connection) -> None:
            held = account_rows.roles_of(connection, uid)
            by_uid = {account_rows.membership_uid(uid, each): each for each in held}
            role = by_uid.get(membership)
            if role is None:
                raise NoSuchAccount(str(membership))
            if role is Role.PORTAL_ADMINISTRATOR:
                self._expect_another_administrator(connection, uid)
            connection.execute(
                "DELETE FROM account_role WHERE account_uid = ? AND role = ?",
                (uid.bytes, role.value),
            )
            if len(held) == 1:
                end_sessions_of(connection, uid)
            account_rows.show(connection, self._store.schema, uid)

        await self._store.write(delete)

    async def set_password(self, name: str, password: str) -> None:
        """Given an account's name and a new password, set it. Ends the account's logon sessions.

        Raises KeyError if there is no such account.
        """
        await self._set_password("name_key = ?", fold(name), password)

    async def set_password_of(self, uid: UUID, password: str) -> None:
        """Given an account and a new password, set it. Ends the account's logon sessions.

        Raises KeyError if there is no such account.
        """
        await self._set_password("uid = ?", uid.bytes, password)

    async def _set_password(self, which: str, value: str | bytes, password: str) -> None:
        hashed = await self._local.hash(password)
        text = f"UPDATE account SET password_hash = ? WHERE {which} RETURNING uid"  # noqa: S608

        def update(connection: Connection) -> None:
            found = connection.execute(text, (hashed, value)).fetchone()
            if found is None:
                raise KeyError(value)
            end_sessions_of(connection, UUID(bytes=found[0]))
            connection.execute("DELETE FROM logon_failure")

        await self._store.write(update)

    async def authenticate(self, name: str, password: str, address: str) -> Account:
        """Given credentials and the address they come from, return the account.

        Raises LogonRefused.
        """
        row = await self._store.read(
            lambda c: c.execute(
                "SELECT uid, name, allow_restore_all_vms, kind, password_hash FROM account"
                " WHERE name_key = ?",
                (fold(name),),
            ).fetchone()
        )
        can_log_on = row is not None and row[3] in CAN_LOG_ON
        check, turns = self._local_check
        if self._outside_check is not None and can_log_on and row[4] == NO_PASSWORD:
            check, turns = self._outside_check
        # Whoever sends many at once waits here, and is then refused by what the first have failed.
        async with turns:
            await self.failures.refuse_while_delayed(name, address)
            # By the name of the account, not as it was typed: a program that tells names apart by
            # their case would prove somebody else.
            known = row[1] if row is not None else name
            if not await check.accepts(known, password) or not can_log_on:
                await self.failures.count(name, address)
                raise LogonRefused("The user name or the password is wrong.")
            await self.failures.forget(name, address)
        uid = UUID(bytes=row[0])
        roles = frozenset(await self._store.read(lambda c: account_rows.roles_of(c, uid)))
        everything = bool(row[2]) or Role.PORTAL_ADMINISTRATOR in roles
        return Account(uid, row[1], roles, everything)

    def _expect(self, connection: Connection, uid: UUID) -> None:
        known = "SELECT 1 FROM account WHERE uid = ?"
        if connection.execute(known, (uid.bytes,)).fetchone() is None:
            raise NoSuchAccount(str(uid))

    def _expect_another_administrator(self, connection: Connection, uid: UUID) -> None:
        outside = self._outside_check is not None
        account_rows.expect_another_administrator(connection, uid, outside=outside)
