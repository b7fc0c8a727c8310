"""The route of the private service that tells of instant recoveries. See `messages`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.server import instant_records
from holdfast.server.mount_service import in_json
from holdfast.server.store import Store


def instant_routes(store: Store) -> list[Route]:
    """Given the database of a server, return the routes that serve its instant recoveries."""

    async def listed(_request: Request) -> Response:
        return in_json(await store.read(instant_records.all_of))

    return [Route("/instant-recoveries", listed, methods=["GET"])]
