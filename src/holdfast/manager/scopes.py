"""Scopes of restore: which objects an account may restore when it may not restore all.

A scope names an object by its reference. One that names a machine covers that machine; one that
names a server (the root of a hierarchy) covers everything below it. What is in other containers
(folders, clusters, tags) is not known to the catalog: such a scope stays Unprocessed and covers
nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from sqlite3 import Connection
from uuid import UUID, uuid4

from holdfast.catalog.store import CatalogStore
from holdfast.catalog.writer import RowState, put, remove
from holdfast.manager.account_rows import NoSuchAccount
from holdfast.schema.naming import guid_of
from holdfast.schema.resource import Schema
from holdfast.schema.types import Enumeration

PROCESSED = "Processed"
UNPROCESSED = "Unprocessed"

_REFERENCE = re.compile(
    r"urn:(?P<platform>\w+):(?P<type>\w+):(?P<root>[0-9a-fA-F-]{36})\.(?P<object>.+)"
)
_MACHINES = frozenset({"vm", "virtualapp", "vapp"})
_ROOTS = frozenset(
    {
        ("vmware", "vc"),
        ("hyperv", "scvmm"),
        ("vcloud", "vcdsystem"),
        ("qemu", "host"),
        ("libvirt", "host"),
    }
)


class WrongReference(ValueError):
    """What should name an object of a hierarchy does not; the message says what was expected."""


@dataclass(frozen=True)
class _Object:
    """An object of a hierarchy, by the parts of its reference."""

    reference: str
    platform: str
    type: str
    root: UUID

    @property
    def pattern(self) -> str | None:
        """The pattern (of LIKE, with ``!``) of what a scope of it covers; None: not known."""
        kind = self.type.casefold()
        if kind in _MACHINES:
            return re.sub(r"[!%_]", lambda sign: f"!{sign[0]}", self.reference)
        if (self.platform.casefold(), kind) in _ROOTS:
            return f"urn:{self.platform}:%:{self.root}.%".replace("_", "!_")
        return None


def _parsed(reference: str) -> _Object:
    found = _REFERENCE.fullmatch(reference.strip())
    if found is None:
        raise WrongReference(
            f"{reference!r}: expected a reference such as urn:VMware:Vm:<root GUID>.<object>."
        )
    try:
        root = guid_of(found["root"])
    except ValueError as error:
        raise WrongReference(f"{reference!r}: {error}.") from None
    return _Object(reference.strip(), found["platform"], found["type"], root)


def add_scope(
    connection: Connection, schema: Schema, account: UUID, reference: str, name: str = ""
) -> UUID:
    """Given an account and an object's reference, let the scope of the account cover the object.

    Part of a transaction of the caller's. Raises WrongReference.
    """
    scope = uuid4()
    _put(connection, schema, scope, account, _parsed(reference), name)
    return scope


def _put(
    connection: Connection, schema: Schema, scope: UUID, account: UUID, named: _Object, name: str
) -> None:
    resource = schema["EnterpriseAccountHierarchyScope"]
    root = connection.execute(
        "SELECT name FROM hierarchy_root WHERE uid = ?", (named.root.bytes,)
    ).fetchone()
    platforms = resource.value("Platform").type
    values = {
        "Name": name or named.reference.rpartition(".")[2],
        "HierarchyRootName": root[0] if root else "",
        "Platform": _known(platforms, named.platform),
        "HierarchyObjectType": named.type,
        "State": UNPROCESSED if named.pattern is None else PROCESSED,
        "HierarchyObjRef": named.reference,
        "Covers": named.pattern,
    }
    relations = {"account": account, "hierarchy_root": named.root}
    put(connection, resource, RowState(scope, values=values, relations=relations))


def _known(platforms: object, platform: str) -> str | None:
    """The platform as the API writes it; one that it does not have is left out."""
    if not isinstance(platforms, Enumeration):
        raise TypeError("a platform is one of a list")
    try:
        return platforms.name_of(platforms.index(platform))
    except ValueError:
        return None


class Scopes:
    """The scopes of all accounts."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self._resource = store.schema["EnterpriseAccountHierarchyScope"]

    async def add(self, account: UUID, objects: list[tuple[str, str]]) -> list[UUID]:
        """Given an account and objects (reference, name), let its scope cover them, all or none.

        Return the scopes' UIDs. Raises WrongReference, NoSuchAccount.
        """

        def insert(connection: Connection) -> list[UUID]:
            known = "SELECT 1 FROM account WHERE uid = ?"
            if connection.execute(known, (account.bytes,)).fetchone() is None:
                raise NoSuchAccount(str(account))
            schema = self._store.schema
            return [add_scope(connection, schema, account, *each) for each in objects]

        return await self._store.write(insert)

    async def remove(self, scope: UUID) -> None:
        """Given a scope, remove it."""
        await self._store.write(lambda c: remove(c, self._resource, scope))

    async def rebuild(self, *, account: UUID | None = None, unprocessed: bool = False) -> int:
        """Find anew what scopes cover; return how many were looked at.

        Only those of one `account`, and only the `unprocessed` ones, when that is asked.
        """

        def again(connection: Connection) -> int:
            rows = connection.execute(
                "SELECT uid, account_uid, hierarchy_obj_ref, name, covers"
                " FROM enterprise_account_hierarchy_scope"
            ).fetchall()
            wanted = [
                row
                for row in rows
                if (account is None or row[1] == account.bytes)
                and not (unprocessed and row[4] is not None)
            ]
            for uid, owner, reference, name, _ in wanted:
                scope, owner_uid = UUID(bytes=uid), UUID(bytes=owner)
                _put(connection, self._store.schema, scope, owner_uid, _parsed(reference), name)
            return len(wanted)

        return await self._store.write(again)
