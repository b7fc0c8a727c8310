"""One call of the API: the request with all that its handler needs to know."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from starlette.requests import Request

from holdfast.api.errors import BadRequest, NotFound, Unauthorized
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.manager.logon_sessions import LogonSession
from holdfast.query.request import PageLimits, Parameters, single
from holdfast.representation.requests import MAXIMUM_BYTES
from holdfast.schema.naming import guid_of
from holdfast.schema.resource import ResourceType

#: Where the API stands below the host.
BASE_PATH = "/api"


@dataclass(frozen=True)
class ApiSettings:
    """What the API needs to know beyond the manager.

    `public_url` (such as ``https://backup.example:9398``) is where clients reach it, when that is
    not what their requests say. `allowed_hosts` are the names a request's Host may have beside
    loopback, this machine's names and the address it came in by.
    """

    public_url: str | None = None
    allowed_hosts: frozenset[str] = frozenset()
    page_limits: PageLimits = field(default_factory=PageLimits)


class Call:
    """A request to the API, its logon session once it is known, and the parts of its address."""

    def __init__(self, request: Request, manager: EnterpriseManager, settings: ApiSettings) -> None:
        self.request = request
        self.manager = manager
        self.settings = settings
        self._session: LogonSession | None = None

    @property
    def session(self) -> LogonSession:
        """The caller's logon session; only in calls that need one."""
        if self._session is None:
            raise Unauthorized("Log on first: POST /api/sessionMngr/?v=latest")
        return self._session

    @session.setter
    def session(self, session: LogonSession) -> None:
        self._session = session

    @cached_property
    def parameters(self) -> Parameters:
        """The query parameters, decoded, in their order."""
        query: bytes = self.request.scope["query_string"]
        return parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True)

    def parameter(self, name: str) -> str | None:
        """Given a parameter's name in any case, return its value, or None."""
        return single(self.parameters, name)

    async def body(self) -> bytes:
        """Read the request's body. Raises BadRequest, without reading on, when it is too large."""
        body = bytearray()
        async for chunk in self.request.stream():
            body += chunk
            if len(body) > MAXIMUM_BYTES:
                raise BadRequest(f"The body is larger than {MAXIMUM_BYTES} bytes.")
        return bytes(body)

    @cached_property
    def base(self) -> str:
        """The address of the API, as this client reaches it, without a final slash."""
        if self.settings.public_url is not None:
            return self.settings.public_url.rstrip("/") + BASE_PATH
        return f"{self.request.url.scheme}://{self._host()}{BASE_PATH}"

    def address(self, resource: str) -> str:
        """Given a path below the API, return its address."""
        return f"{self.base}{resource}"

    def path_uid(self, resource: ResourceType, name: str = "id") -> UUID:
        """Given a path parameter's name, return its GUID; a full urn will do. Raises NotFound."""
        written: str = self.request.path_params[name]
        try:
            return guid_of(written)
        except ValueError:
            raise not_found(resource, written) from None

    def _host(self) -> str:
        """The Host of the request, if it is one of ours: links are made of it."""
        host = self.request.headers.get("host", "")
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname, parts.port
        except ValueError:
            name = None
        if not name or parts.netloc != host or parts.path or "@" in host:
            raise BadRequest("Header Host: expected a host name, with a port if not the usual one.")
        server = self.request.scope.get("server")
        if not (_is_loopback(name) or name in self._own_names(server)):
            raise BadRequest(
                f"Header Host: {name} is not a name of this server; it can be allowed in settings."
            )
        return host

    def _own_names(self, server: Iterable[object] | None) -> frozenset[str]:
        by_address = {str(part).lower() for part in list(server or ())[:1]}
        allowed = {host.lower() for host in self.settings.allowed_hosts}
        return machine_names() | by_address | allowed


@lru_cache(maxsize=1)
def machine_names() -> frozenset[str]:
    """Return the names this machine has, short and full, in lower case."""
    return frozenset(name.lower() for name in (socket.gethostname(), socket.getfqdn()))


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def not_found(resource: ResourceType, identifier: object) -> NotFound:
    """Given a type and an id, return the error that says there is none."""
    return NotFound(f"Cannot find {resource.name} [{identifier}].")
