"""Bodies and answers of what Holdfast adds to the API: JSON alone; refusals name the field."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

import msgspec
from starlette.responses import Response

from holdfast.api.call import Call
from holdfast.api.errors import BadRequest
from holdfast.api.negotiation import sends_json
from holdfast.representation.requests import read_json
from holdfast.representation.struct_reading import MismatchError, read_struct
from holdfast.schema.naming import guid_of

T = TypeVar("T")


async def json_object(call: Call) -> dict[str, Any]:
    """Return the object that the body of a call is. Raises BadRequest."""
    return _object(call, await call.body())


async def optional_object(call: Call) -> dict[str, Any]:
    """As `json_object`, where there may be no body: then it is empty."""
    body = await call.body()
    return _object(call, body) if body.strip() else {}


def _object(call: Call, body: bytes) -> dict[str, Any]:
    if not sends_json(call.request):
        # Also keeps out what a page of another site can send without asking first.
        raise BadRequest("Header Content-Type: expected application/json.")
    found = read_json(body)
    if not isinstance(found, dict):
        raise BadRequest("The body: expected a JSON object.")
    return found


def read_as(given: dict[str, Any], wanted: type[T]) -> T:
    """Given a body, return it as what it should be. Raises BadRequest, naming the field."""
    try:
        return read_struct(given, wanted)
    except MismatchError as error:
        raise BadRequest(f"{error}.") from None


def guid_in(given: Any, field: str) -> UUID:
    """Given a UID or GUID in a field, return the GUID. Raises BadRequest, naming the field."""
    try:
        return guid_of(str(given))
    except ValueError as error:
        raise BadRequest(f"{field}: {error}.") from None


def json_answer(value: Any) -> Response:
    """Given a value, return the answer that holds it as JSON."""
    return Response(msgspec.json.encode(value), media_type="application/json")
