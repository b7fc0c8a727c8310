"""Twenty thousand requests made from the OpenAPI document: none fails, and all answers are true.

Every operation is asked with what its description allows and with what it does not, by ids that
nothing has and by real ones, in JSON and in XML.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import anyio
import httpx
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from starlette.types import ASGIApp

from contract.all_calls import Addresses
from holdfast.api.app import create_app
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.core import CORE
from holdfast.schema.roles import Role
from schema.generated_rows import fill, uid_of
from support.direct import Answered, ask
from support.fake_backup_server import FakeBackupServer, served_over_tls
from support.managers import HOST, TOKEN, client_of, log_on, running_manager
from support.xsd import check_document

BASE = f"{HOST}/api"
REQUESTS = int(os.environ.get("HOLDFAST_REQUESTS", "20000"))
PARTS = 8
SEED = 20_251_122

_CHECKED = [
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]
#: Operations of which more is asked than of others, for they take more apart.
_WEIGHTS = {"GET /query": 20, "GET /lookup": 4}


@dataclass
class House:
    """A manager with rows of every type, asked directly, with an administrator's token."""

    app: ASGIApp
    manager: EnterpriseManager
    client: httpx.AsyncClient
    addresses: Addresses

    @property
    def token(self) -> str:
        """The token to send."""
        return self.client.headers[TOKEN]

    async def address_of(self, case: Case) -> str | None:
        """Given a case, return the address of something there is, or None for the case's own."""
        ends_the_session = case.path.startswith("/logonSessions/") and case.method == "DELETE"
        if "{" not in case.path or ends_the_session:
            return None
        path = case.path
        if path.startswith("/holdfast/v1/"):
            path = path.removeprefix("/holdfast/v1").replace("/accounts", "/security/accounts")
        real, there = await self.addresses.of(path)
        if path != case.path:
            real = f"/holdfast/v1{real.replace('/security', '')}"
        return real if there else None


@asynccontextmanager
async def house(directory: Path) -> AsyncIterator[House]:
    """Given a directory, run a manager there; its one backup server says yes to everything."""
    server = FakeBackupServer(uid_of("BackupServer"), "BackupServer 1")
    async with (
        served_over_tls(server, directory / "tls") as details,
        running_manager(directory / "data") as manager,
    ):
        # By name this account comes last: what is done to accounts is done to others.
        await manager.accounts.create("zoe", "secret", Role.PORTAL_ADMINISTRATOR)
        await manager.store.write(fill)
        await manager.servers.add(details)
        async with client_of(manager) as client:
            await log_on(client, "zoe", "secret")
            with mock.patch("anyio.connect_tcp", _only_here(anyio.connect_tcp)):
                yield House(create_app(manager), manager, client, Addresses(client))


def _only_here(connect_tcp: Any) -> Any:
    """What is made up must not reach for hosts that there may be."""

    async def connect(remote_host: str, remote_port: int, **more: Any) -> Any:
        if remote_host != "127.0.0.1":
            raise OSError("no such host")
        return await connect_tcp(remote_host, remote_port, **more)

    return connect


def operations(document: dict[str, Any]) -> list[APIOperation]:
    """Given the OpenAPI document, return its operations."""
    config = SchemathesisConfig()
    config.projects.default.generation.update(with_security_parameters=False)
    schema = schemathesis.openapi.from_dict(document, config=config)
    return [found.ok() for found in schema.get_all_operations()]


def cases(operation: APIOperation, count: int, number: int) -> list[Case]:
    """Given an operation, return at most so many requests: allowed ones, then others."""
    raw = operation.definition.raw
    # Any text will do in a path: without more than that nothing can be wrong with a request.
    wrong = count // 2 if "requestBody" in raw or raw["parameters"] else 0
    found: list[Case] = []
    for mode, many in (
        (GenerationMode.POSITIVE, count - wrong),
        (GenerationMode.NEGATIVE, wrong),
    ):
        if many == 0:
            continue

        @seed(number)
        @settings(
            max_examples=many,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def keep(case: Case) -> None:
            found.append(case)

        keep()
    return found


def delivered(case: Case, real: str | None, token: str) -> Iterator[requests.PreparedRequest]:
    """Given a case and the address of something real, return the requests to make of it.

    It is asked for as it is, in JSON; then for what is real, in JSON and in XML.
    """
    given_as = case.as_transport_kwargs(base_url=BASE)
    given_as["headers"].update({TOKEN: token, "Accept": "application/json"})
    yield requests.Request(**given_as).prepare()
    if real is not None:
        given_as["url"] = f"{BASE}{real}"
        yield requests.Request(**given_as).prepare()
    given_as["headers"]["Accept"] = "application/xml"
    if "json" in given_as:
        given_as["data"] = as_xml(case, given_as.pop("json"))
        given_as["headers"]["Content-Type"] = "application/xml"
    yield requests.Request(**given_as).prepare()


def as_xml(case: Case, value: Any) -> bytes:
    """Given a case with a body of JSON, return the document that has the same to say in XML."""
    content = case.operation.definition.raw["requestBody"]["content"]
    if "application/xml" not in content:
        return msgspec.json.encode(value)
    root = content["application/xml"]["schema"]["description"].split()[2].rstrip(".")
    return f"<{root}>{_elements(value)}</{root}>".encode("utf-8", "replace")


def _elements(value: Any) -> str:
    match value:
        case dict():
            parts = [(escape(str(name)), part) for name, part in value.items()]
            return "".join(
                f"<{name}>{_elements(item)}</{name}>"
                for name, part in parts
                for item in (part if isinstance(part, list) else [part])
            )
        case None:
            return ""
        case _:
            return escape(str(value))


def check(case: Case, request: requests.PreparedRequest, answered: Answered) -> None:
    """Given a case, a request made of it and the answer, fail unless the answer is described."""
    raw = case.operation.definition.raw
    what = f"{request.method} {request.url} {request.headers} {request.body!r}\n{answered}"[:4000]
    if answered.status >= 500:
        assert str(answered.status) in raw["responses"], what
    if "%3f" in urlsplit(request.url or "").path.lower():
        # Taken for the beginning of the query, as some clients write it: another call is answered.
        return
    media = answered.headers.get("content-type", [""])[0]
    if media.startswith("application/xml") and "/schema.xsd" not in case.path:
        check_document(answered.content, CORE)
    else:
        response = schemathesis.Response(
            status_code=answered.status,
            headers=answered.headers,
            content=answered.content,
            request=request,
            elapsed=0.0,
            verify=False,
        )
        case.validate_response(response, checks=_CHECKED)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> list[APIOperation]:
    """Every operation of the OpenAPI document; what deletes comes last."""

    async def read() -> Any:
        async with running_manager(tmp_path_factory.mktemp("manager")) as manager:
            answered = await ask(create_app(manager), "GET", f"{BASE}/openapi.json", {})
            return msgspec.json.decode(answered.content)

    found = operations(asyncio.run(read()))
    return sorted(found, key=lambda one: (one.method.upper() == "DELETE", one.path))


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_request_fails_and_every_answer_is_as_described(
    described: list[APIOperation], part: int, tmp_path: Path
) -> None:
    mine = described[part::PARTS]
    wanted = REQUESTS // PARTS
    weights = {one.label: _weight(one) for one in mine}
    # Of most cases three requests are made.
    unit = wanted / sum(weights[one.label] * (3 if "{" in one.path else 2) for one in mine)
    statuses: Counter[int] = Counter()
    async with house(tmp_path) as at:
        number = SEED
        while statuses.total() < wanted:
            for operation in mine:
                if statuses.total() >= wanted and number > SEED:
                    break
                count = max(2, round(unit * weights[operation.label]))
                for case in cases(operation, count, number):
                    statuses.update(await _ask(at, case))
            number += 1
    print(f"part {part}: {statuses.total()} requests, {sorted(statuses.items())}")
    assert statuses.total() >= wanted
    # They must not all have been refused at the door.
    assert statuses[200] > statuses.total() / 10
    assert statuses[401] < statuses.total() / 10


def _weight(operation: APIOperation) -> float:
    raw = operation.definition.raw
    if "x-unbuilt" in raw:
        return 0.5
    return _WEIGHTS.get(operation.label, 3 if "requestBody" in raw else 1)


async def _ask(at: House, case: Case) -> list[int]:
    """Given a case, make its requests, check the answers, return their statuses."""
    real = await at.address_of(case)
    statuses = []
    for request in delivered(case, real, at.token):
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        answered = await ask(at.app, request.method, request.url, dict(request.headers), body)
        check(case, request, answered)
        statuses.append(answered.status)
    return statuses
