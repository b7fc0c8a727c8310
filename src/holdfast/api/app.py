"""The API as an ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from holdfast.api import (
    backup_servers,
    catalog,
    documentation,
    entry,
    lookup,
    mounts,
    own,
    own_accounts,
    own_checks,
    own_failover,
    own_hosts,
    own_instant,
    own_repositories,
    own_restores,
    reports,
    resources,
    security,
    server_secrets,
    services,
    system_sessions,
    unbuilt,
)
from holdfast.api.answers import refusal
from holdfast.api.call import ApiSettings
from holdfast.api.errors import ApiError, NotFound
from holdfast.api.paths import TolerantPaths
from holdfast.api.routing import Router
from holdfast.manager.enterprise_manager import EnterpriseManager


def create_app(manager: EnterpriseManager, settings: ApiSettings | None = None) -> ASGIApp:
    """Given a started manager, return the application that answers for it."""
    app = Starlette(
        routes=router_for(manager, settings or ApiSettings()).routes,
        exception_handlers={HTTPException: _refused},
    )
    app.router.redirect_slashes = False
    return TolerantPaths(app)


def router_for(manager: EnterpriseManager, settings: ApiSettings) -> Router:
    """Given a manager, return the routes of the whole API."""
    router = Router(manager, settings)
    entry.add_routes(router)
    resources.add_routes(router, manager.schema)
    catalog.add_routes(router, manager.schema)
    mounts.add_routes(router)
    backup_servers.add_routes(router)
    server_secrets.add_routes(router)
    lookup.add_routes(router)
    reports.add_routes(router)
    security.add_routes(router)
    system_sessions.add_routes(router)
    services.add_routes(router)
    own.add_routes(router)
    own_accounts.add_routes(router)
    own_failover.add_routes(router)
    own_hosts.add_routes(router)
    own_checks.add_routes(router)
    own_restores.add_routes(router)
    own_instant.add_routes(router)
    own_repositories.add_routes(router)
    unbuilt.add_routes(router, manager.schema)
    # It describes the routes that are there, so it comes last.
    documentation.add_routes(router, manager.schema)
    return router


async def _refused(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: a path that no route has."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == NotFound.status:
        return refusal(request, NotFound(f"There is nothing at {request.url.path}."))
    refused = ApiError(str(error))
    refused.status = status
    return refusal(request, refused)
