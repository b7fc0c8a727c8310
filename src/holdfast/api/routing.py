"""Routes: paths without regard to case, every outcome in the API's shape."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.api.access import logged_on
from holdfast.api.answers import refusal
from holdfast.api.call import BASE_PATH, ApiSettings, Call
from holdfast.api.description import Operation, Operations
from holdfast.api.errors import (
    ApiError,
    BadRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Unauthorized,
)
from holdfast.api.rights import roles_of
from holdfast.catalog.store import ReadTooLong, TooManyReads
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.manager.errors import LogonSessionOver, ResourceGone
from holdfast.query.errors import QueryError
from holdfast.representation.requests import RequestError
from holdfast.schema.calls import ApiCall, place_of

_log = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Response]]

#: Handlers of one path, by method.
Methods = dict[str, Handler]

#: What answers a call that is not built.
Refusal = Callable[[Call, ApiCall], Awaitable[Response]]


@dataclass(frozen=True)
class ServedPath:
    """A path below the API, the methods it has handlers for, and what is said of them."""

    path: str
    methods: tuple[str, ...]
    operations: Operations


class Router:
    """Collects routes. What is not marked `public` needs a logon session and the right to it."""

    def __init__(self, manager: EnterpriseManager, settings: ApiSettings) -> None:
        self._manager = manager
        self._settings = settings
        self.routes: list[Route] = []
        self._handlers: dict[str, Methods] = {}
        self._refuse_unbuilt: Refusal | None = None
        self.served: list[ServedPath] = []

    def serves(self, method: str, path: str) -> bool:
        """Given a method and a path with placeholders, say whether there is a handler for it."""
        return method in self._handlers.get(place_of(path), {})

    def describe(self, path: str, method: str, operation: Operation) -> None:
        """Given a path and a method that are served, say anew what is done there."""
        place = self._served_at(path)
        if place is None or method not in place.methods:
            raise ValueError(f"nothing serves {method} {path}")
        operations = {**place.operations, method: operation}
        self.served[self.served.index(place)] = replace(place, operations=operations)

    def described(self, path: str, method: str) -> Operation | None:
        """Given a path and a method, return what is said of it, or None."""
        place = self._served_at(path)
        return place.operations.get(method) if place is not None else None

    def _served_at(self, path: str) -> ServedPath | None:
        return next((s for s in self.served if place_of(s.path) == place_of(path)), None)

    def when_unbuilt(self, refusal: Refusal) -> None:
        """Given what answers calls that are not built, let it."""
        self._refuse_unbuilt = refusal

    def add(
        self,
        path: str,
        methods: Methods,
        *,
        describe: Operations | None = None,
        public: bool = False,
    ) -> None:
        """Given a path below the API, its handlers and their descriptions, add the route.

        A path that is there already gets these handlers beside the ones it has.
        """
        known = self._served_at(path)
        # How much of an address a placeholder takes is of no use to readers.
        shown = path.replace(":path}", "}")
        served = ServedPath(shown, tuple(methods), _with_rights(path, describe or {}))
        if known is None:
            self.served.append(served)
        else:
            both = {**known.operations, **served.operations}
            merged = ServedPath(known.path, (*known.methods, *served.methods), both)
            self.served[self.served.index(known)] = merged
        self._add(path, methods, public=public)

    def _add(self, path: str, methods: Methods, *, public: bool) -> None:
        known = place_of(path) in self._handlers
        handlers = self._handlers.setdefault(place_of(path), {})
        handlers.update(methods)
        if "GET" in handlers:
            handlers.setdefault("HEAD", handlers["GET"])
        if known:
            return

        async def endpoint(request: Request) -> Response:
            call = Call(request, self._manager, self._settings)
            return await guarded(request, self._handled(call, path, handlers, public=public))

        route = Route(f"{BASE_PATH}{path}".rstrip("/"), endpoint)
        # Every method comes here, so that a wrong one is refused in the API's own shape.
        route.methods = None
        # Starlette's routes mind the case; this API's clients do not.
        route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
        self.routes.append(route)

    async def _handled(self, call: Call, path: str, handlers: Methods, *, public: bool) -> Response:
        # Before anything is done: a request for a host that is not us must have no effect.
        call.ensure_host_is_ours()
        if not public:
            call.session = await logged_on(call)
        method = call.request.method
        handler = handlers.get(method)
        if handler is None:
            raise MethodNotAllowed(method, tuple(sorted(handlers)))
        if not public:
            # Whoever may read something may ask for its head alone.
            asked = call.rights.call("GET" if method == "HEAD" else method, path, call.named)
            if asked is not None and not asked.built and self._refuse_unbuilt is not None:
                return await self._refuse_unbuilt(call, asked)
        return await handler(call)


def _with_rights(path: str, operations: Operations) -> Operations:
    """Given descriptions of a path, return them with the roles that the table of calls says."""
    return {
        method: replace(operation, roles=roles_of(method, path) or operation.roles)
        for method, operation in operations.items()
    }


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
