"""Descriptions of the way in: the entry point, logon sessions, the query service."""

from __future__ import annotations

from holdfast.api.description import ENTRY_AREA, Answer, Logon, Operation, Parameter, document
from holdfast.schema import services

_VERSION = Parameter("v", "The version of the API that is wanted; any is taken for the latest.")
_SESSION = services.LOGON_SESSION

ENTRY_POINT = {
    "GET": Operation(
        "Find where to log on",
        ENTRY_AREA,
        {200: document(services.ENTERPRISE_MANAGER.root, "Links, and the versions.")},
        logon=Logon.NOTHING,
    )
}
LOG_ON = {
    "POST": Operation(
        "Log on",
        ENTRY_AREA,
        {
            201: document(
                _SESSION.root,
                "The logon session. The header X-RestSvcSessionId of the answer, also set as a"
                " cookie, is the token that every later request must carry.",
            )
        },
        logon=Logon.PASSWORD,
        parameters=(_VERSION,),
    )
}
LOGON_SESSIONS = {
    "GET": Operation(
        "List the open logon sessions, one's own first",
        ENTRY_AREA,
        {200: document(_SESSION.plural or "", "All for an administrator, else one's own.")},
    )
}
ONE_LOGON_SESSION = {
    "GET": Operation(
        "Read one logon session", ENTRY_AREA, {200: document(_SESSION.root, "The session.")}
    ),
    "DELETE": Operation("Log off", ENTRY_AREA, {204: Answer("The session is over.")}),
}
QUERY_SERVICE = {
    "GET": Operation(
        "List what can be queried",
        "Query",
        {200: document(services.QUERY_SERVICE.root, "A link to a query of each type.")},
    )
}
