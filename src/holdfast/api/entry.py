"""The way in: the entry point, logging on and off, and the query service."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from holdfast.api.access import TOKEN_NAME, account_of
from holdfast.api.answers import answer
from holdfast.api.call import Call
from holdfast.api.entry_descriptions import (
    ENTRY_POINT,
    LOG_ON,
    LOGON_SESSIONS,
    ONE_LOGON_SESSION,
    QUERY_SERVICE,
)
from holdfast.api.errors import NotFound
from holdfast.api.routing import Methods, Router
from holdfast.api.services import shown
from holdfast.manager.logon_sessions import LogonSession, token_for
from holdfast.representation.documents import NamedItem, Service, ServiceCollection
from holdfast.representation.links import LinkValue
from holdfast.schema.core import CORE, QUERY_SERVICE_ORDER
from holdfast.schema.link_lists import LOGON_SESSION, LOGON_SESSION_END
from holdfast.schema.naming import guid_of
from holdfast.schema.resource import ResourceType, Schema

_VERSIONS = ("v1_5", "v1_6", "v1_7")


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add("/", {"GET": entry_point}, describe=ENTRY_POINT, public=True)
    router.add("/sessionMngr", {"POST": log_on}, describe=LOG_ON, public=True)
    router.add("/logonSessions", {"GET": logon_sessions}, describe=LOGON_SESSIONS)
    methods: Methods = {"GET": logon_session, "DELETE": log_off}
    router.add("/logonSessions/{id}", methods, describe=ONE_LOGON_SESSION)
    router.add("/querySvc", {"GET": query_service}, describe=QUERY_SERVICE)


async def entry_point(call: Call) -> Response:
    """Answer with where to log on."""
    versions = [
        NamedItem("SupportedVersion", version, [_log_on_link(call, version)])
        for version in _VERSIONS
    ]
    document = Service(
        root="EnterpriseManager",
        links=[
            LinkValue("Down", call.address("/logonSessions"), type="LogonSessionList"),
            _log_on_link(call, "latest"),
        ],
        wrapped={"SupportedVersions": versions},
    )
    return answer(call.request, document)


def _log_on_link(call: Call, version: str) -> LinkValue:
    return LinkValue("Create", call.address(f"/sessionMngr/?v={version}"), type="LogonSession")


async def log_on(call: Call) -> Response:
    """Open a logon session for the account whose credentials came; any version will do."""
    session = await call.manager.logon_sessions.open(await account_of(call))
    call.session = session
    token = token_for(session.public_id)
    location = {"Location": session_address(call, session)}
    response = answer(call.request, _document(call, session), 201, location)
    secure = "; Secure" if call.request.url.scheme == "https" else ""
    cookie = f"{TOKEN_NAME}={token}; Path=/api; HttpOnly; SameSite=Lax{secure}"
    # Written raw: some clients compare the header's name with its case.
    response.raw_headers.append((TOKEN_NAME.encode(), token.encode()))
    response.raw_headers.append((b"Set-Cookie", cookie.encode()))
    return response


async def logon_sessions(call: Call) -> Response:
    """Answer with the logon sessions that the caller may see."""
    sessions = await call.manager.logon_sessions.visible_to(call.session)
    documents = [_document(call, session) for session in sessions]
    return answer(call.request, ServiceCollection("LogonSessions", documents))


async def logon_session(call: Call) -> Response:
    """Answer with one logon session."""
    return answer(call.request, _document(call, await _found(call)))


async def log_off(call: Call) -> Response:
    """End a logon session."""
    await call.manager.logon_sessions.close(await _found(call))
    return Response(status_code=204)


async def query_service(call: Call) -> Response:
    """Answer with everything that can be queried."""
    schema = call.manager.schema
    down = [
        LinkValue(
            "Down",
            call.address(
                f"/query?type={resource.name}&format=Entities"
                f"&sortAsc={resource.query_service_sort}&pageSize=15&page=1"
            ),
            type=f"{resource.document_type}List",
        )
        for resource in (*_in_order(schema, QUERY_SERVICE_ORDER), *_further(schema))
        if resource.queryable and resource.readers & call.session.roles
        if call.rights("GET", f"/query?type={resource.name}")
    ]
    up = LinkValue("Up", session_address(call, call.session), type="LogonSession")
    document = Service("QuerySvc", [up, *down], type="QueryService", href=call.address("/querySvc"))
    return answer(call.request, document)


def _in_order(schema: Schema, order: tuple[str, ...]) -> Iterator[ResourceType]:
    """Those of the ordered types that the schema has."""
    for name in order:
        if name in schema:
            yield schema[name]


async def _found(call: Call) -> LogonSession:
    written: str = call.request.path_params["id"]
    try:
        wanted = str(guid_of(written))
    except ValueError:
        wanted = ""
    for session in await call.manager.logon_sessions.visible_to(call.session):
        if wanted in (session.session_id, str(session.uid)):
            return session
    raise NotFound(f"Cannot find LogonSession [{written}].")


def session_address(call: Call, session: LogonSession) -> str:
    """Given a logon session, return its address."""
    return call.address(f"/logonSessions/{session.public_id}")


def _document(call: Call, session: LogonSession) -> Service:
    address = session_address(call, session)
    links = [
        LinkValue("Up", call.address("/"), type="EnterpriseManager"),
        *shown(call, LOGON_SESSION),
        *_further_collections(call),
        LinkValue("Delete", address),
        *shown(call, LOGON_SESSION_END),
    ]
    texts = {"UserName": session.user_name}
    if session.session_id is not None:
        texts["SessionId"] = session.session_id
    return Service("LogonSession", links, type="LogonSession", href=address, texts=texts)


def _further_collections(call: Call) -> Iterator[LinkValue]:
    """Links to collections of types that an installation declares beyond the API's own."""
    for resource in _further(call.manager.schema):
        if resource.readers & call.session.roles:
            address = call.address(resource.collection)
            yield LinkValue("Down", address, type=f"{resource.reference_type}List")
            entities = f"{address}?format=Entity"
            yield LinkValue("Down", entities, type=f"{resource.document_type}List")


def _further(schema: Schema) -> Iterator[ResourceType]:
    return (r for r in schema if r.name not in CORE and r.parent is None and r.key)
