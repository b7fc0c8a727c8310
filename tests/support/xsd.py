"""Checking XML answers against the XML schema that the API publishes."""

from __future__ import annotations

from functools import lru_cache

import httpx
from lxml import etree

from holdfast.representation.xsd import xml_schema
from holdfast.schema.resource import Schema


@lru_cache(maxsize=8)
def validator(schema: Schema) -> etree.XMLSchema:
    """Given the resource types, return what validates documents of them."""
    return etree.XMLSchema(etree.fromstring(xml_schema(schema)))


def check_document(content: bytes, schema: Schema) -> None:
    """Given an XML document, fail unless it is valid."""
    found = validator(schema)
    document = etree.fromstring(content)
    assert found.validate(document), f"{found.error_log}\n{content[:2000].decode()}"


class CheckedTransport(httpx.AsyncBaseTransport):
    """A transport that lets no invalid XML answer through."""

    def __init__(self, transport: httpx.AsyncBaseTransport, schema: Schema) -> None:
        self._transport = transport
        self._schema = schema

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Given a request, have it answered; fail if the answer is invalid XML."""
        response = await self._transport.handle_async_request(request)
        content = await response.aread()
        is_xml = response.headers.get("Content-Type", "").startswith("application/xml")
        if is_xml and content and not request.url.path.lower().endswith("/schema.xsd"):
            check_document(content, self._schema)
        return response
