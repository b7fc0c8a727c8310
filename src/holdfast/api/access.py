"""Who is calling, and whether they may."""

from __future__ import annotations

import base64

from starlette.requests import Request

from holdfast.api.call import Call
from holdfast.api.errors import Forbidden, Unauthorized
from holdfast.manager.account import Account
from holdfast.manager.logon_failures import LogonRefused
from holdfast.manager.logon_sessions import LogonSession
from holdfast.schema.roles import Role

TOKEN_NAME = "X-RestSvcSessionId"  # noqa: S105 - the name of the header and the cookie


_TOKENS_TRIED = 4


async def logged_on(call: Call) -> LogonSession:
    """Given a call, return the logon session its token belongs to. Raises Unauthorized.

    A cookie wins over the header; of several cookies the first that is valid counts.
    """
    for token in _tokens(call.request):
        session = await call.manager.logon_sessions.authenticate(token)
        if session is not None:
            return session
    raise Unauthorized("The logon session is missing, unknown or over.")


def _tokens(request: Request) -> list[str]:
    cookies = [
        value
        for part in "; ".join(request.headers.getlist("cookie")).split(";")
        for name, separator, value in [part.strip().partition("=")]
        if separator and name == TOKEN_NAME
    ]
    tokens = [cookie.strip('"') for cookie in cookies] or request.headers.getlist(TOKEN_NAME)
    return tokens[:_TOKENS_TRIED]


async def account_of(call: Call) -> Account:
    """Given a call with basic credentials, return the account. Raises Unauthorized, Forbidden."""
    name, password = _credentials(call.request)
    client = call.request.client
    try:
        account = await call.manager.accounts.authenticate(
            name, password, client.host if client else "unknown"
        )
    except LogonRefused as error:
        raise Unauthorized(str(error)) from None
    if not account.roles:
        raise Forbidden(f"The account {account.name} has no portal role.")
    return account


def _credentials(request: Request) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise Unauthorized("Expected the header Authorization: Basic <user:password in base64>.")
    try:
        raw = base64.b64decode(encoded.strip(), validate=True)
    except ValueError:
        raise Unauthorized("The header Authorization is not base64.") from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    name, separator, password = text.partition(":")
    if not separator:
        raise Unauthorized("Expected user:password in the header Authorization.")
    return name, password


def require(call: Call, roles: frozenset[Role], what: str) -> None:
    """Given the roles that may do something, raise Forbidden unless the caller has one."""
    if not roles & call.session.roles:
        raise Forbidden(f"{call.rights.names} may not {what}.")
