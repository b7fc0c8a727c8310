"""The documented calls for tests: read from their table, with addresses that items are at."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from contract.expected_calls import CALLS
from holdfast.schema.calls import ApiCall, all_calls
from holdfast.schema.roles import Role
from support.documents import json_of
from support.managers import JSON

ROLES = {
    "A": {Role.PORTAL_ADMINISTRATOR},
    "U": {Role.PORTAL_USER},
    "V": {Role.VM_RESTORE_OPERATOR},
    "F": {Role.FILE_RESTORE_OPERATOR},
    "O": {
        Role.EXCHANGE_RESTORE_OPERATOR,
        Role.ORACLE_RESTORE_OPERATOR,
        Role.SQL_RESTORE_OPERATOR,
    },
}


@dataclass(frozen=True)
class Documented:
    """A call as it is documented."""

    method: str
    address: str
    status: int
    root: str
    roles: frozenset[Role]

    @property
    def name(self) -> str:
        """Method and address."""
        return f"{self.method} {self.address}"


def _read(line: str) -> Documented:
    method, address, status, root, letters = line.split()
    roles = frozenset(role for letter in letters for role in ROLES[letter])
    return Documented(method, address, int(status), root, roles)


DOCUMENTED = [_read(line) for line in CALLS.splitlines() if line and not line.startswith("#")]

#: What a call needs in its query beyond what tells it from others.
QUERIES = {
    "GET /lookup": "?hierarchyRef=urn:VMware:Vm:7a1b2c3d-1111-4111-8111-111111111111.vm-1",
}


def product_call(documented: Documented) -> ApiCall:
    """Given a documented call, return the product's own line for it."""
    path, _, query = documented.address.partition("?")
    parameters = dict([query.split("=")] if query else [])
    found = all_calls().find(documented.method, path, parameters)
    assert found is not None, documented.name
    return found


class Addresses:
    """Finds what stands for the placeholders of an address: the first item of its collection."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._known: dict[str, str | None] = {}

    async def of(self, address: str) -> tuple[str, bool]:
        """Given an address with placeholders, return a real one, and whether its items exist."""
        path, question, rest = address.partition("?")
        found = True
        for placeholder in ("{id}", "{item}"):
            collection, there, below = path.partition(f"/{placeholder}")
            if not there:
                continue
            item = await self._first(collection)
            found = found and item is not None
            path = f"{item or f'{collection}/1'}{below}"
        return path.replace("{path}", "volume1/a%20file") + question + rest, found

    async def _first(self, collection: str) -> str | None:
        if collection not in self._known:
            answer = await self._client.get(f"/api{collection}", headers=JSON)
            items = []
            if answer.status_code == 200:
                members = json_of(answer)
                items = next(value for name, value in members.items() if name != "PagingInfo")
            path = urlsplit(items[0]["Href"]).path if items else None
            self._known[collection] = path.removeprefix("/api") if path else None
        return self._known[collection]
