"""The API as an ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from holdfast.api import catalog, entry, mounts, own, own_restores, resources
from holdfast.api.answers import refusal
from holdfast.api.call import ApiSettings
from holdfast.api.errors import ApiError, NotFound
from holdfast.api.paths import TolerantPaths
from holdfast.api.routing import Router
from holdfast.manager.enterprise_manager import EnterpriseManager


def create_app(manager: EnterpriseManager, settings: ApiSettings | None = None) -> ASGIApp:
    """Given a started manager, return the application that answers for it."""
    router = Router(manager, settings or ApiSettings())
    entry.add_routes(router)
    catalog.add_routes(router, manager.schema)
    resources.add_routes(router, manager.schema)
    mounts.add_routes(router)
    own.add_routes(router)
    own_restores.add_routes(router)
    app = Starlette(
        routes=router.routes,
        exception_handlers={HTTPException: _refused},
    )
    app.router.redirect_slashes = False
    return TolerantPaths(app)


async def _refused(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: a path that no route has."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == NotFound.status:
        return refusal(request, NotFound(f"There is nothing at {request.url.path}."))
    refused = ApiError(str(error))
    refused.status = status
    return refusal(request, refused)
