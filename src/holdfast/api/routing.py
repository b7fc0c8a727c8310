"""Routes: paths without regard to case, every outcome in the API's shape."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.api.access import logged_on
from holdfast.api.answers import refusal
from holdfast.api.call import BASE_PATH, ApiSettings, Call
from holdfast.api.errors import ApiError, BadRequest, MethodNotAllowed, Overloaded
from holdfast.catalog.store import ReadTooLong
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.query.errors import QueryError
from holdfast.representation.requests import RequestError

_log = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Response]]

#: Handlers of one path, by method.
Methods = dict[str, Handler]


class Router:
    """Collects routes. Whatever is not marked `public` needs a logon session."""

    def __init__(self, manager: EnterpriseManager, settings: ApiSettings) -> None:
        self._manager = manager
        self._settings = settings
        self.routes: list[Route] = []
        self._handlers: dict[str, Methods] = {}

    def add(self, path: str, methods: Methods, *, public: bool = False) -> None:
        """Given a path below the API and its handlers, add the route.

        A path that is there already gets these handlers beside the ones it has.
        """
        known = self._handlers.get(path)
        handlers = self._handlers.setdefault(path, {})
        handlers.update(methods)
        if "GET" in handlers:
            handlers.setdefault("HEAD", handlers["GET"])
        if known is not None:
            return

        async def endpoint(request: Request) -> Response:
            call = Call(request, self._manager, self._settings)
            return await guarded(request, _handled(call, handlers, public=public))

        route = Route(f"{BASE_PATH}{path}".rstrip("/"), endpoint)
        # Every method comes here, so that a wrong one is refused in the API's own shape.
        route.methods = None
        # Starlette's routes mind the case; this API's clients do not.
        route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
        self.routes.append(route)


async def _handled(call: Call, handlers: Methods, *, public: bool) -> Response:
    if not public:
        call.session = await logged_on(call)
    handler = handlers.get(call.request.method)
    if handler is None:
        raise MethodNotAllowed(call.request.method, tuple(sorted(handlers)))
    return await handler(call)


async def guarded(request: Request, handling: Awaitable[Response]) -> Response:
    """Given the handling of a request, return its answer, or the error it ended with."""
    try:
        return await handling
    except ApiError as error:
        return refusal(request, error)
    except (QueryError, RequestError) as error:
        return refusal(request, BadRequest(str(error)))
    except ReadTooLong as error:
        return refusal(request, Overloaded(str(error)))
    except Exception:  # noqa: BLE001 - the last resort
        # Nobody is shown a traceback, and the log has it.
        _log.exception("%s %s failed.", request.method, request.url.path)
        return refusal(request, ApiError("Something went wrong inside the server."))
