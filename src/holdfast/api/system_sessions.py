"""The events of system sessions."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from holdfast.api.answers import answer
from holdfast.api.call import Call
from holdfast.api.description import Operation, area_of, document
from holdfast.api.resources import Place
from holdfast.api.routing import Router
from holdfast.representation.links import LinkValue
from holdfast.representation.records import Record, links_value
from holdfast.schema.resources.sessions import SYSTEM_SESSION
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.schema.services import SYSTEM_SESSION_EVENTS


def add_routes(router: Router) -> None:
    """Given a router, add the route of this module."""
    described = Operation(
        "List the events of one SystemSession",
        area_of(SYSTEM_SESSION),
        {200: document(SYSTEM_SESSION_EVENTS.name, "The events.")},
        ADMINISTRATOR,
    )
    path = f"{SYSTEM_SESSION.collection}/{{id}}/events"
    router.add(path, {"GET": events}, describe={"GET": described})


async def events(call: Call) -> Response:
    """Answer with the events of a session: none, for backup servers report no such events."""
    session = await Place(SYSTEM_SESSION).row(call)
    address = f"{SYSTEM_SESSION.collection}/{session['UID']}"
    # Typed so in the API.
    up = LinkValue("Up", f"{address}?format=Entity", session["Name"], "BackupJobSession")
    values: dict[str, Any] = {
        "Links": links_value([up]),
        "Events": [],
        "Type": SYSTEM_SESSION_EVENTS.name,
        "Href": f"{address}/events",
    }
    return answer(call.request, Record(SYSTEM_SESSION_EVENTS, values, call.base))
