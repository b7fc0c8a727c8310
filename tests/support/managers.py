"""A manager to talk to, and clients that are logged on to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import httpx
from argon2 import PasswordHasher

from holdfast.api.app import create_app
from holdfast.api.call import ApiSettings
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.core import CORE
from holdfast.schema.resource import Schema
from holdfast.schema.roles import Role

TOKEN = "X-RestSvcSessionId"
HOST = "http://localhost:9399"
XML = {"Accept": "application/xml"}
JSON = {"Accept": "application/json"}
ADMINISTRATOR = ("admin", "secret")
FORMATS = {"xml": XML, "json": JSON}

#: As slow as passwords must be to try, tests need not be.
QUICK_HASHER = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)


class FakeClock:
    """A clock that stands still until it is moved. Milliseconds since 1970 UTC."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        """Move on by so many seconds."""
        self.now += round(seconds * 1000)


@asynccontextmanager
async def running_manager(
    directory: Path,
    schema: Schema = CORE,
    *,
    from_schema: bool = False,
    clock: FakeClock | None = None,
) -> AsyncIterator[EnterpriseManager]:
    """Given a directory, run a manager in it; stop it at the end."""
    clocked = {"clock": clock} if clock is not None else {}
    with mock.patch("holdfast.manager.accounts.PasswordHasher", QUICK_HASHER):
        manager = EnterpriseManager(directory, schema, from_schema=from_schema, **clocked)
    await manager.start()
    try:
        yield manager
    finally:
        await manager.stop()


def client_of(
    manager: EnterpriseManager, settings: ApiSettings | None = None, base_url: str = HOST
) -> httpx.AsyncClient:
    """Given a manager, return a client of its API that is not logged on."""
    transport = httpx.ASGITransport(app=create_app(manager, settings))
    return httpx.AsyncClient(transport=transport, base_url=base_url)


async def log_on(
    client: httpx.AsyncClient, name: str = ADMINISTRATOR[0], password: str = ADMINISTRATOR[1]
) -> httpx.Response:
    """Given a client, log it on: from now on it sends its token as a header, and no cookie."""
    answer = await client.post("/api/sessionMngr/?v=latest", auth=(name, password))
    assert answer.status_code == 201, answer.text
    client.cookies.clear()
    client.headers[TOKEN] = answer.headers[TOKEN]
    return answer


async def add_administrator(manager: EnterpriseManager) -> None:
    """Given a manager, give it the account `admin` with the password `secret`."""
    await manager.accounts.create(*ADMINISTRATOR, Role.PORTAL_ADMINISTRATOR)


@asynccontextmanager
async def administrator_client(
    directory: Path, schema: Schema = CORE, *, from_schema: bool = False
) -> AsyncIterator[tuple[EnterpriseManager, httpx.AsyncClient]]:
    """Given a directory, run a manager in it and give it with a client of its administrator."""
    async with running_manager(directory, schema, from_schema=from_schema) as manager:
        await add_administrator(manager)
        async with client_of(manager) as client:
            await log_on(client)
            yield manager, client
