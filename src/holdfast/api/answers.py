"""From documents to responses."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.errors import ApiError
from holdfast.api.negotiation import Format, wanted
from holdfast.representation import json, xml
from holdfast.representation.documents import Document, Error


def answer(
    request: Request,
    document: Document,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Given a document, return it in the format that the request wants."""
    want = wanted(request)
    if want.format is Format.JSON:
        body = json.encode(document.to_json(), camel=want.camel)
    else:
        body = (xml.DECLARATION + document.to_xml()).encode()
    response = Response(body, status, headers)
    response.raw_headers.append((b"Content-Type", want.format.value.encode()))
    return response


def refusal(request: Request, error: ApiError) -> Response:
    """Given what is wrong, return it in the one shape that errors have."""
    return answer(request, Error(error.status, error.message), error.status, error.headers)
