"""What can be wrong with a request, each with its HTTP status."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """A request that cannot be answered; `message` is for the person who made it."""

    status = 500

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})


class BadRequest(ApiError):
    """The request is malformed."""

    status = 400


class Unauthorized(ApiError):
    """Nobody is logged on, or not any more."""

    status = 401

    def __init__(self, message: str) -> None:
        super().__init__(message, {"WWW-Authenticate": 'Basic realm="RestSvc"'})


class Forbidden(ApiError):
    """The account may not do this."""

    status = 403


class NotFound(ApiError):
    """There is no such resource."""

    status = 404


class NotBuilt(ApiError):
    """The API has this call, and Holdfast does not carry it out yet."""

    status = 501


class Overloaded(ApiError):
    """The request would take too long; it may be tried again later."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message, {"Retry-After": "60"})


class BackupServerDown(ApiError):
    """What was asked for needs a backup server, and that does not answer."""

    status = 503


class Unreadable(ApiError):
    """What is asked for is there, but cannot be read."""

    status = 500


class MethodNotAllowed(ApiError):
    """The resource is there, but not for this method."""

    status = 405

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(
            f"The method {method} is not supported here; supported: {', '.join(allowed)}.",
            {"Allow": ", ".join(allowed)},
        )
