"""The routes of the private service that look into the catalog of files. See `messages`."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.engine.guest_index import GuestIndex
from holdfast.server.guest_catalog import GuestCatalog
from holdfast.server.mount_service import guarded, in_json, part_wanted, parts_of, uid_in


def catalog_routes(catalog: GuestCatalog) -> list[Route]:
    """Given the catalog of a server, return the routes that serve it."""

    async def index(request: Request) -> GuestIndex:
        return await asyncio.to_thread(catalog.index_of, uid_in(request.path_params["point"]))

    async def entry(request: Request) -> Response:
        known = await index(request)
        return in_json(await asyncio.to_thread(known.entry, parts_of(request)))

    async def entries(request: Request) -> Response:
        known, part = await index(request), part_wanted(request)
        return in_json(await asyncio.to_thread(known.listing, parts_of(request), *part))

    return [
        Route("/catalog/{point}/entry", guarded(entry), methods=["GET"]),
        Route("/catalog/{point}/entries", guarded(entries), methods=["GET"]),
    ]
