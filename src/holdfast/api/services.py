"""Services: documents of links to what belongs together."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response

from holdfast.api.answers import answer
from holdfast.api.call import Call
from holdfast.api.description import Operation, document
from holdfast.api.routing import Handler, Router
from holdfast.representation.documents import Service
from holdfast.representation.links import LinkValue, method_of
from holdfast.schema.link_lists import SERVICES, Leading, LinkService


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    for service in SERVICES:
        described = Operation(
            f"Find what belongs to {service.path}",
            "Services",
            {200: document(service.root, "Links.")},
        )
        router.add(service.path, {"GET": _answering(service)}, describe={"GET": described})


def shown(call: Call, links: Iterable[Leading]) -> list[LinkValue]:
    """Given links, return those that the caller may follow."""
    return [
        LinkValue(link.rel, call.address(link.path), link.name, link.type)
        for link in links
        if call.rights(method_of(link.rel), link.path)
    ]


def _answering(service: LinkService) -> Handler:
    async def answer_with_links(call: Call) -> Response:
        links = shown(call, service.links)
        if service.up:
            address = call.address(f"/logonSessions/{call.session.public_id}")
            links.insert(0, LinkValue("Up", address, type="LogonSession"))
        href = call.address(service.path) if service.href else None
        return answer(call.request, Service(service.root, links, type=service.type, href=href))

    return answer_with_links
