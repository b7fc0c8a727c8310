"""Every call of the API: what can be asked at which address, by whom, and whether it is built.

This is the one list. Rights are decided by it, links are shown by it, and a call that is not
built is answered from it. A line of an area (`holdfast.schema.areas`) reads::

    POST   /jobs/{id}?action=start   administrator
    PUT    /jobs/{id}[action=edit]   administrator  unbuilt

A parameter after ``?`` tells calls of one method and address apart (``list*`` is any value that
begins so); one in brackets may be left out. ``unbuilt`` calls are known and answered with 501.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from holdfast.schema import roles
from holdfast.schema.areas import (
    cloud_connect,
    computers,
    continuous_protection,
    file_shares,
    guest_catalog,
    infrastructure,
    queries,
    replicas,
    reports,
    restore,
    security,
    self_service,
    sessions,
)
from holdfast.schema.roles import Role

#: What a line may say of who may make the call.
RIGHTS: Mapping[str, frozenset[Role]] = {
    "administrator": roles.ADMINISTRATOR,
    "users": roles.USERS,
    "restorers": roles.RESTORERS,
    "operators": roles.OPERATORS,
    "vm-restorers": roles.VM_RESTORERS,
    "file-restorers": roles.FILE_RESTORERS,
    "failover": roles.FAILOVER_OPERATORS,
    "everyone": roles.EVERYONE,
}
UNBUILT = "unbuilt"

_LINE = re.compile(
    r"(?P<method>GET|POST|PUT|DELETE) +"
    r"(?P<path>/[^ ?\[]*)"
    r"(?:[?\[](?P<parameter>\w+)=(?P<values>[\w|*]+)(?P<bracket>\])?)?"
    r" +(?P<rights>[\w-]+)(?: +(?P<unbuilt>unbuilt))?"
)
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True)
class ApiCall:
    """One call. With a `parameter`, its value is one of `values`, or `optional`ly missing."""

    area: str
    method: str
    path: str
    roles: frozenset[Role]
    built: bool = True
    parameter: str | None = None
    values: tuple[str, ...] = ()
    optional: bool = False

    @property
    def name(self) -> str:
        """The call in words: method, address and parameter."""
        selected = f"?{self.parameter}={'|'.join(self.values)}" if self.parameter else ""
        return f"{self.method} {self.path}{selected}"

    def is_meant_by(self, value: str | None) -> bool:
        """Given the value of the parameter in a request, say whether it means this call."""
        if self.parameter is None or not value:
            return self.parameter is None or self.optional
        written = value.strip("/ ").casefold()
        return any(fnmatchcase(written, known.casefold()) for known in self.values)


def read_area(area: str, text: str) -> tuple[ApiCall, ...]:
    """Given an area's name and its lines, return its calls. Raises ValueError."""
    return tuple(_read(area, line) for line in text.splitlines() if line.strip())


def _read(area: str, line: str) -> ApiCall:
    found = _LINE.fullmatch(line.strip())
    if found is None or found["rights"] not in RIGHTS:
        raise ValueError(f"calls of {area}: cannot read {line!r}")
    return ApiCall(
        area,
        found["method"],
        found["path"],
        RIGHTS[found["rights"]],
        built=found["unbuilt"] is None,
        parameter=found["parameter"],
        values=tuple((found["values"] or "").split("|")) if found["values"] else (),
        optional=found["bracket"] is not None,
    )


def place_of(path: str) -> str:
    """Given an address with placeholders, return what all spellings of it have in common."""
    return _PLACEHOLDER.sub("{}", path).casefold().rstrip("/") or "/"


class Calls:
    """A list of calls, found by method, address and parameter."""

    def __init__(self, calls: Iterable[ApiCall]) -> None:
        self._calls = tuple(calls)
        self._by_place: dict[tuple[str, str], list[ApiCall]] = {}
        for call in self._calls:
            self._by_place.setdefault((call.method, place_of(call.path)), []).append(call)

    def __iter__(self) -> Iterator[ApiCall]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def at(self, method: str, path: str) -> tuple[ApiCall, ...]:
        """Given a method and an address with placeholders, return the calls there."""
        return tuple(self._by_place.get((method, place_of(path)), ()))

    def find(self, method: str, path: str, parameters: Mapping[str, str]) -> ApiCall | None:
        """Given a request's method, address and parameters (names in lower case), return its call.

        None when there is no such call, or none with this parameter. One whose parameter is named
        comes before one that takes none.
        """
        meant = [
            call
            for call in self.at(method, path)
            if call.is_meant_by(parameters.get(call.parameter) if call.parameter else None)
        ]
        return max(meant, key=lambda call: call.parameter is not None, default=None)


@lru_cache(maxsize=1)
def all_calls() -> Calls:
    """Return every call of the API."""
    areas = {
        "core": infrastructure.CORE,
        "query": queries.QUERY,
        "sessions": sessions.SESSIONS,
        "tasks": sessions.TASKS,
        "restore": restore.RESTORE,
        "catalog": guest_catalog.CATALOG,
        "replica": replicas.REPLICA,
        "lookup": reports.LOOKUP,
        "reports": reports.REPORTS,
        "security": security.SECURITY,
        "nas": file_shares.NAS,
        "agents": computers.AGENTS,
        "cdp": continuous_protection.CDP,
        "cloud-connect": cloud_connect.CLOUD_CONNECT,
        "vcloud-selfservice": self_service.VCLOUD_SELFSERVICE,
    }
    return Calls(call for area, text in areas.items() for call in read_area(area, text))
