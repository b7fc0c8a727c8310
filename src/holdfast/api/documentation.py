"""The API's description of itself: XML schema, OpenAPI document, reference page. For anybody."""

from __future__ import annotations

from functools import lru_cache

from starlette.responses import Response

from holdfast.api import (
    own_descriptions,
    own_failover_descriptions,
    own_host_descriptions,
    own_repository_descriptions,
    own_restore_descriptions,
)
from holdfast.api.bodies import body_schemas
from holdfast.api.call import Call
from holdfast.api.description import Answer, Logon, Operation, Operations
from holdfast.api.openapi import Object, openapi_document
from holdfast.api.reference import CONTENT_SECURITY_POLICY, reference_page
from holdfast.api.routing import Handler, Router
from holdfast.representation import json
from holdfast.representation.xsd import xml_schema
from holdfast.schema.resource import Schema

_HTML = "text/html"
_JSON = "application/json"
_XML = "application/xml"


def add_routes(router: Router, schema: Schema) -> None:
    """Given a router that has all other routes, and the resource types, add the routes."""

    @lru_cache(maxsize=8)
    def described(base: str) -> Object:
        bodies = body_schemas(schema)
        for own in (
            own_descriptions,
            own_failover_descriptions,
            own_host_descriptions,
            own_repository_descriptions,
            own_restore_descriptions,
        ):
            bodies = bodies | own.SCHEMAS
        return openapi_document(router.served, schema, base, bodies)

    async def schema_document(_call: Call) -> Response:
        return Response(xml_schema(schema), media_type=_XML)

    async def openapi(call: Call) -> Response:
        return Response(json.encode(described(call.base)), media_type=_JSON)

    async def reference(call: Call) -> Response:
        headers = {
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return Response(reference_page(described(call.base)), media_type=_HTML, headers=headers)

    _add(router, "/schema.xsd", schema_document, "Read the XML schema", _XML)
    _add(router, "/openapi.json", openapi, "Read this description as OpenAPI", _JSON)
    _add(router, "/reference", reference, "Read this description as a page", _HTML)


def _add(router: Router, path: str, handler: Handler, summary: str, media: str) -> None:
    answers = {200: Answer("The description.", media=media)}
    operation = Operation(summary, "Documentation", answers, logon=Logon.NOTHING)
    describe: Operations = {"GET": operation}
    router.add(path, {"GET": handler}, describe=describe, public=True)
