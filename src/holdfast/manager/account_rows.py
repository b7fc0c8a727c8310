"""The rows of an account: its own, and those of the catalog that the API shows, always in step.

Everything here is part of a transaction of the caller's.
"""

from __future__ import annotations

from sqlite3 import Connection
from uuid import UUID, uuid5

from holdfast.catalog.writer import RowState, put, remove
from holdfast.manager.identity import NO_PASSWORD
from holdfast.schema.resource import Schema
from holdfast.schema.resources.security import ROLE_UIDS
from holdfast.schema.roles import Role


class NoSuchAccount(LookupError):
    """There is no such account, or it does not hold the role or scope in question."""


class LastAdministrator(ValueError):
    """Without this account, or this role of it, nobody could administer the manager any more."""


def membership_uid(account: UUID, role: Role) -> UUID:
    """Given an account and a role, return the UID of the row that says the one has the other."""
    return uuid5(account, role.value)


def show(connection: Connection, schema: Schema, account: UUID) -> None:
    """Given an account, write what the API shows of it: itself and its roles."""
    found = connection.execute(
        "SELECT name, kind, allow_restore_all_vms FROM account WHERE uid = ?", (account.bytes,)
    ).fetchone()
    if found is None:
        raise NoSuchAccount(str(account))
    name, kind, allowed = found
    values = {"AccountType": kind, "AllowRestoreAllVms": bool(allowed)}
    put(connection, schema["EnterpriseAccount"], RowState(account, name, values))
    _forget_roles(connection, account)
    for role in roles_of(connection, account):
        state = RowState(
            membership_uid(account, role),
            values={"RoleName": role.value},
            relations={"account": account, "role": ROLE_UIDS[role]},
        )
        put(connection, schema["EnterpriseAccountInRole"], state)


def show_all(connection: Connection, schema: Schema) -> None:
    """Write what the API shows of every role and every account."""
    for role, uid in ROLE_UIDS.items():
        put(connection, schema["EnterpriseRole"], RowState(uid, role.value))
    for (uid,) in connection.execute("SELECT uid FROM account").fetchall():
        show(connection, schema, UUID(bytes=uid))


def roles_of(connection: Connection, account: UUID) -> list[Role]:
    """Given an account, return its roles in the order of the roles."""
    query = "SELECT role FROM account_role WHERE account_uid = ?"
    held = {name for (name,) in connection.execute(query, (account.bytes,))}
    return [role for role in Role if role.value in held]


def grant(connection: Connection, account: UUID, role: Role) -> None:
    """Given an account and a role, let it have the role."""
    connection.execute(
        "INSERT INTO account_role (account_uid, role) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (account.bytes, role.value),
    )


def erase(connection: Connection, schema: Schema, account: UUID) -> None:
    """Given an account, remove every row of it."""
    _forget_roles(connection, account)
    for table in ("account_role", "enterprise_account_hierarchy_scope"):
        connection.execute(f"DELETE FROM {table} WHERE account_uid = ?", (account.bytes,))  # noqa: S608
    connection.execute("DELETE FROM account WHERE uid = ?", (account.bytes,))
    remove(connection, schema["EnterpriseAccount"], account)


def expect_another_administrator(connection: Connection, account: UUID, *, outside: bool) -> None:
    """Given an account, raise LastAdministrator unless another one can administer.

    It must be able to log on: with a local password, or `outside` of the store. Groups cannot.
    """
    others = connection.execute(
        "SELECT count(*) FROM account AS a JOIN account_role AS r ON r.account_uid = a.uid"
        " WHERE r.role = ? AND a.uid <> ? AND a.kind IN ('User', 'ExternalUser')"
        " AND (a.password_hash <> ? OR ?)",
        (Role.PORTAL_ADMINISTRATOR.value, account.bytes, NO_PASSWORD, outside),
    ).fetchone()[0]
    if not others:
        raise LastAdministrator(
            "This is the last account that can log on as Portal Administrator; it must stay one."
        )


def _forget_roles(connection: Connection, account: UUID) -> None:
    connection.execute(
        "DELETE FROM enterprise_account_in_role WHERE account_uid = ?", (account.bytes,)
    )
