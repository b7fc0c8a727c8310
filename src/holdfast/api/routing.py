"""Routes: paths without regard to case, every outcome in the API's shape."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.api.access import logged_on
from holdfast.api.answers import refusal
from holdfast.api.call import BASE_PATH, ApiSettings, Call
from holdfast.api.description import Operations
from holdfast.api.errors import (
    ApiError,
    BadRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Unauthorized,
)
from holdfast.catalog.store import ReadTooLong, TooManyReads
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.manager.errors import LogonSessionOver, ResourceGone
from holdfast.query.errors import QueryError
from holdfast.representation.requests import RequestError

_log = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Response]]

#: Handlers of one path, by method.
Methods = dict[str, Handler]


@dataclass(frozen=True)
class ServedPath:
    """A path below the API, the methods it has handlers for, and what is said of them."""

    path: str
    methods: tuple[str, ...]
    operations: Operations


class Router:
    """Collects routes. Whatever is not marked `public` needs a logon session."""

    def __init__(self, manager: EnterpriseManager, settings: ApiSettings) -> None:
        self._manager = manager
        self._settings = settings
        self.routes: list[Route] = []
        self.served: list[ServedPath] = []

    def add(
        self,
        path: str,
        methods: Methods,
        *,
        describe: Operations | None = None,
        public: bool = False,
    ) -> None:
        """Given a path below the API, its handlers and their descriptions, add the route."""
        self.served.append(ServedPath(path, tuple(methods), describe or {}))
        handlers = dict(methods)
        if "GET" in handlers:
            handlers.setdefault("HEAD", handlers["GET"])

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
    # Before anything is done: a request for a host that is not us must have no effect.
    call.ensure_host_is_ours()
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
    except (ReadTooLong, TooManyReads) as error:
        return refusal(request, Overloaded(str(error)))
    except ClientDisconnect:
        return Response(status_code=BadRequest.status)  # nobody is there to read it
    except LogonSessionOver as error:
        return refusal(request, Unauthorized(str(error)))
    except ResourceGone as error:
        return refusal(request, NotFound(str(error)))
    except Exception:  # noqa: BLE001 - the last resort
        # Nobody is shown a traceback, and the log has it.
        _log.exception("%s %s failed.", request.method, request.url.path)
        return refusal(request, ApiError("Something went wrong inside the server."))
