"""The OpenAPI document: valid, complete, and true of what is answered."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from sqlite3 import Connection
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from lxml import html
from openapi_spec_validator import validate

from contract.all_calls import QUERIES
from holdfast.api.app import router_for
from holdfast.api.bodies import body_schemas
from holdfast.api.call import ApiSettings
from holdfast.api.description import Operation, Parameter
from holdfast.api.own_descriptions import SCHEMAS
from holdfast.api.reference import CONTENT_SECURITY_POLICY, reference_page
from holdfast.api.unbuilt_descriptions import describe_unbuilt, with_unbuilt
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.representation.json_schema import components
from holdfast.schema.calls import all_calls, place_of, read_area
from holdfast.schema.core import CORE
from holdfast.schema.roles import Role
from support.documents import error_message, json_of
from support.fake_backup_server import FILE, FakeBackupServer
from support.generated_rows import fill
from support.managers import HOST, JSON, TOKEN, administrator_client, client_of, log_on
from support.openapi import answer_schema, problems

BASE = f"{HOST}/api"
#: What is in the point of a row without a backup server cannot be asked.
OF_NO_SERVER = 503
OWN_JOBS = "/holdfast/v1/jobs"
OWN_POINTS = "/holdfast/v1/vmRestorePoints"
OWN_HOSTS = "/holdfast/v1/hosts"
OWN_INSTANT = "/holdfast/v1/instantRecoveries"
OWN_FAILOVER = ("/holdfast/v1/replicas", "/holdfast/v1/failoverPlans")
Running = tuple[EnterpriseManager, httpx.AsyncClient]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A manager with rows of every type, and a client that is logged on to it."""
    directory = tmp_path_factory.mktemp("manager")
    async with administrator_client(directory) as (manager, client):
        session = await manager.logon_sessions.authenticate(client.headers[TOKEN])
        assert session is not None
        await manager.store.write(lambda c: fill(c, manager.schema, session.uid))
        for uid in await manager.store.read(_servers):
            transport = httpx.ASGITransport(app=FakeBackupServer(uid, "a server").app)
            await manager.connect("http://backup-server.local", "a-token", transport)
        yield manager, client


def _servers(connection: Connection) -> list[UUID]:
    return [UUID(bytes=uid) for (uid,) in connection.execute("SELECT uid FROM backup_server")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def document(running: Running) -> dict[str, Any]:
    """The OpenAPI document, as served to somebody who is not logged on."""
    async with client_of(running[0]) as client:
        answer = await client.get("/api/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = json_of(answer)
    return found


@pytest.mark.asyncio(loop_scope="module")
async def test_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": BASE}]


@pytest.mark.asyncio(loop_scope="module")
async def test_every_method_of_every_path_is_described(
    running: Running, document: dict[str, Any]
) -> None:
    served = router_for(running[0], ApiSettings()).served
    undescribed = [
        f"{method} {place.path}"
        for place in served
        for method in place.methods
        if method not in place.operations
    ]
    assert undescribed == []
    assert all(set(place.operations) <= set(place.methods) for place in served)
    assert set(document["paths"]) == {place.path.replace(":path}", "}") for place in served}
    identifiers = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.asyncio(loop_scope="module")
async def test_every_call_of_the_table_is_described(document: dict[str, Any]) -> None:
    paths = {place_of(path): item for path, item in document["paths"].items()}
    for call in all_calls():
        operation = paths[place_of(call.path)][call.method.lower()]
        if call.parameter is not None:
            described = {p["name"]: p for p in operation["parameters"]}
            assert call.parameter in described, call
            schema = described[call.parameter]["schema"]
            known = [value.casefold() for value in schema.get("enum", ())]
            for value in call.values:
                pattern = schema.get("pattern", "$^")
                assert fnmatch.filter(known, value.casefold()) or re.search(pattern, value), call
        roles = set(operation.get("x-roles", [role.value for role in Role]))
        assert {role.value for role in call.roles} <= roles, call.name
        alone = len(all_calls().at(call.method, call.path)) == 1
        if alone:
            assert operation.get("x-unbuilt", False) is not call.built, call.name
        if not call.built:
            assert "501" in operation["responses"], call.name
            if call.parameter and "x-unbuilt" not in operation:
                assert set(call.values) <= set(operation["x-unbuilt-values"]), call.name


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_not_built_and_nothing_else_is_described_with_501(
    document: dict[str, Any],
) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters" or "501" not in operation["responses"]:
                continue
            calls = all_calls().at(method.upper(), path)
            assert any(not call.built for call in calls), (method, path)
            assert operation.get("x-unbuilt", False) is not any(call.built for call in calls)


@pytest.mark.asyncio(loop_scope="module")
async def test_file_may_be_answered_as_it_is(document: dict[str, Any]) -> None:
    below = "/vmRestorePoints/{id}/mounts/{item}"
    for path, kinds in ((f"{below}/{{path}}", {"octet-stream"}), (below, set())):
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert set(content) == {f"application/{kind}" for kind in {"xml", "json", *kinds}}


def test_address_with_built_and_unbuilt_calls_is_described_with_both() -> None:
    lines = "POST /a/{id}?action=later users unbuilt\nPOST /a/{id}?action=list* users unbuilt"
    later, several = read_area("test", lines)
    start = Parameter("action", "", {"type": "string", "enum": ["start"]}, required=True)
    built = Operation("Act", "Area", {}, parameters=(start,))

    one = with_unbuilt(built, later)
    assert one.unbuilt_values == ("later",)
    assert one.parameters[0].schema["enum"] == ["start", "later"]
    assert one.parameters[0].required
    both = with_unbuilt(one, several)
    assert both.unbuilt_values == ("later", "list*")
    assert both.parameters[0].schema["pattern"] == "^(start|later|list)"
    assert with_unbuilt(built, replace(later, parameter=None)).parameters[0].required is False
    alone = with_unbuilt(describe_unbuilt(later, "Area"), several)
    assert (alone.built, alone.unbuilt_values) == (False, ())


@pytest.mark.asyncio(loop_scope="module")
async def test_actions_are_the_choices_of_one_parameter(document: dict[str, Any]) -> None:
    post = document["paths"]["/jobs/{id}"]["post"]

    [action] = post["parameters"]
    assert action["name"] == "action"
    built = [a.name for a in CORE["Job"].actions if a.method == "POST"]
    assert action["schema"]["enum"] == built
    clone = next(choice for choice in post["x-actions"] if choice["action"] == "clone")
    assert clone["body"] == "JobCloneSpec"
    assert clone["x-roles"] == ["Portal Administrator"]
    assert set(post["requestBody"]["content"]) == {"application/xml", "application/json"}


@pytest.mark.asyncio(loop_scope="module")
async def test_every_body_of_an_action_is_told(document: dict[str, Any]) -> None:
    post = document["paths"]["/backupServers/{id}"]["post"]
    assert bodies(post) == ["QuickBackupStartupSpec", "VeeamZipStartupSpec"]
    assert post["requestBody"]["required"] is False

    put = document["paths"]["/jobs/{id}"]["put"]
    assert [choice["action"] for choice in put["x-actions"]] == ["edit"]
    assert [parameter["required"] for parameter in put["parameters"]] == [False]
    assert bodies(put) == ["JobChanges"]
    assert put["requestBody"]["required"] is True

    includes = document["paths"]["/jobs/{id}/includes"]["post"]
    assert includes["parameters"] == []
    assert bodies(includes) == ["CreateObjectInJobSpec"]
    assert set(document["paths"]["/jobs/{id}/includes/{item}"]) == {"get", "delete", "parameters"}


def bodies(operation: dict[str, Any]) -> list[str]:
    """Given an operation, return the names of the schemas that its body may have."""
    described = operation["requestBody"]["content"]["application/json"]["schema"]
    return [each["$ref"].rpartition("/")[2] for each in described.get("anyOf", [described])]


def test_no_schema_has_the_name_of_another() -> None:
    described = [set(components(CORE)), set(body_schemas(CORE)), set(SCHEMAS)]
    assert sum(map(len, described)) == len(set.union(*described))


@pytest.mark.asyncio(loop_scope="module")
async def test_job_as_it_is_read_is_what_its_changes_are_described_as(
    running: Running, document: dict[str, Any]
) -> None:
    _, client = running
    described = {"$ref": "#/components/schemas/JobChanges"}
    for address in await hrefs(client, "/jobs"):
        read = json_of(await client.get(f"/api{address}?format=Entity", headers=JSON))
        assert problems(document, described, read) == []
    for part in ({}, {"Name": "a"}, {"JobInfo": {"BackupJobInfo": {"Includes": None}}}):
        assert problems(document, described, part) == []
    for wrong in ({"Nope": 1}, {"Name": 1}, {"JobInfo": {"Nope": 1}}):
        assert problems(document, described, wrong) != []


@pytest.mark.asyncio(loop_scope="module")
async def test_our_own_specification_is_what_is_described(document: dict[str, Any]) -> None:
    described = {"$ref": "#/components/schemas/JobSpecification"}
    least = {"name": "a", "sources": [{"path": "/a"}], "repository": "urn:veeam:Repository:b"}
    whole = least | {
        "kind": "Backup",
        "schedule": {"type": "Monthly", "time": "22:00:00", "day_number": "Last"},
        "window": {"days": {"Monday": [3]}, "zone": "America/New_York"},
        "retry": {"times": 1},
    }
    copy = {"name": "a", "repository": "b", "kind": "BackupCopy", "linked_jobs": ["urn:c"]}
    for right in (least, whole, least | {"schedule": None}, copy):
        assert problems(document, described, right) == []
    hosts = {"objects": [{"reference": "urn:Libvirt:Host:b"}], "excludes": []}
    assert problems(document, described, {"name": "a", "repository": "b"} | hosts) == []
    for wrong in ({}, least | {"sources": []}, least | {"schedule": {"type": "Hourly"}}):
        assert problems(document, described, wrong) != []
    content = document["paths"][OWN_JOBS]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json"}
    answer = document["paths"][OWN_JOBS]["get"]["responses"]["200"]["content"]
    assert set(answer) == {"application/json"}


@pytest.mark.asyncio(loop_scope="module")
async def test_query_tells_every_type(document: dict[str, Any]) -> None:
    parameters = {p["name"]: p for p in document["paths"]["/query"]["get"]["parameters"]}

    assert list(parameters) == [
        "type", "format", "filter", "sortAsc", "sortDesc", "pageSize", "page",
    ]  # fmt: skip
    assert parameters["type"]["required"] is True
    types = parameters["type"]["schema"]["enum"]
    assert types == sorted(resource.name for resource in CORE if resource.queryable)


async def hrefs(client: httpx.AsyncClient, path: str) -> list[str]:
    """Given a collection's path, return the paths of its items."""
    answer = await client.get(f"/api{path}", headers=JSON)
    if answer.status_code == OF_NO_SERVER:
        return []
    document = json_of(answer)
    [items] = [value for name, value in document.items() if name != "PagingInfo"]
    if path in (OWN_JOBS, OWN_HOSTS, OWN_POINTS, OWN_INSTANT, *OWN_FAILOVER):
        return [f"{path}/{item['uid']}" for item in items]
    return [item["Href"].removeprefix(BASE).partition("?")[0] for item in items]


async def addresses(client: httpx.AsyncClient, path: str) -> list[str]:
    """Given a path of the document, return every address that it stands for."""
    if "{" not in path:
        return [path]
    above, _, below = path.rpartition("/{")
    if below == "path}":
        return [f"{item}/volume1/{quote(FILE.name)}" for item in await addresses(client, above)]
    ending = below.partition("}")[2]
    return [
        f"{item}{ending}"
        for collection in await addresses(client, above)
        for item in await hrefs(client, collection)
    ]


@pytest.mark.asyncio(loop_scope="module")
async def test_every_json_answer_is_what_is_described(
    running: Running, document: dict[str, Any]
) -> None:
    _, client = running
    asked = 0
    for path, item in document["paths"].items():
        operation = item.get("get")
        if operation is None or "x-unbuilt" in operation:
            continue
        if path in ("/query", "/schema.xsd", "/openapi.json", "/reference"):
            continue
        schema = answer_schema(document, path)
        names = {parameter["name"] for parameter in operation["parameters"]}
        given = QUERIES.get(f"GET {path}", "")
        queries = [given, *(["?format=Entity"] if "format" in names else [])]
        queries += [f"{query}{'&' if query else '?'}page=1" for query in queries if "page" in names]
        found_there = await addresses(client, path)
        assert found_there, path
        for address in found_there:
            for query in queries:
                # The XML is held to the XML schema by the client itself.
                answer = await client.get(f"/api{address}{query}")
                if answer.status_code == OF_NO_SERVER:
                    continue
                assert answer.status_code == 200, (address, query, answer.text)
                answer = await client.get(f"/api{address}{query}", headers=JSON)
                assert answer.status_code == 200, (address, query, answer.text)
                found = problems(document, schema, json_of(answer))
                assert found == [], (address, query)
                asked += 1
    assert asked > 100


@pytest.mark.asyncio(loop_scope="module")
async def test_every_answer_to_a_query_is_what_is_described(
    running: Running, document: dict[str, Any]
) -> None:
    _, client = running
    schema = answer_schema(document, "/query")
    for resource in CORE:
        if not resource.queryable:
            continue
        for form in ("Reference", "Entities"):
            path = f"/api/query?type={resource.name}&format={form}"
            assert (await client.get(path)).status_code == 200
            answer = json_of(await client.get(path, headers=JSON))
            assert answer["PagingInfo"]["PagesCount"] == 1
            assert problems(document, schema, answer) == [], path


@pytest.mark.asyncio(loop_scope="module")
async def test_error_is_what_is_described(running: Running, document: dict[str, Any]) -> None:
    _, client = running
    answer = await client.get("/api/query?type=Nothing", headers=JSON)

    error_message(answer, 400)
    assert problems(document, {"$ref": "#/components/schemas/Error"}, json_of(answer)) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_described_roles_are_those_who_may(
    running: Running, document: dict[str, Any]
) -> None:
    manager, _ = running
    missing = "00000000-0000-0000-0000-000000000000"
    for role in Role:
        await manager.accounts.create(role.value, "secret", role)
        async with client_of(manager) as client:
            await log_on(client, role.value)
            for path, item in document["paths"].items():
                if "get" not in item or path == "/query":
                    continue
                answer = await client.get(f"/api{re.sub('{[^}]*}', missing, path)}")
                may = role.value in item["get"].get("x-roles", [role.value])
                assert (answer.status_code != 403) is may, (role, path, answer.text)


@pytest.mark.asyncio(loop_scope="module")
async def test_reference_page_shows_every_path_and_loads_nothing(
    running: Running, document: dict[str, Any]
) -> None:
    async with client_of(running[0]) as client:
        answer = await client.get("/api/reference")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    page = html.fromstring(answer.text)
    shown = {str(code.text) for code in page.iterfind(".//td/code")}
    assert set(document["paths"]) <= shown
    anchors = {str(element.get("id")) for element in page.iter() if element.get("id")}
    targets = [str(link.get("href")) for link in page.iter("a")]
    assert {target.removeprefix("#") for target in targets} <= anchors
    loading = {"script", "link", "img", "iframe", "object", "form"}
    assert not [element.tag for element in page.iter() if element.tag in loading]
    assert not page.xpath("//@style | //@src | //@*[starts-with(name(), 'on')]")


def test_reference_page_escapes_everything() -> None:
    nasty = "<script>&\"'"
    operation = {
        "summary": nasty,
        "tags": [nasty],
        "parameters": [
            {"name": nasty, "required": True, "description": nasty, "schema": {"enum": [nasty]}}
        ],
        "responses": {"200": {"content": {nasty: {}}}},
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": {"type": "object", "properties": {nasty: {"type": nasty}}}
                }
            }
        },
        "x-roles": [nasty],
    }
    page = reference_page(
        {
            "info": {"title": nasty, "version": nasty, "description": nasty},
            "servers": [{"url": nasty}],
            "tags": [{"name": nasty}],
            "paths": {nasty: {"get": operation}},
            "components": {"schemas": {nasty: {"properties": {nasty: {"$ref": nasty}}}}},
        }
    )

    assert "<script" not in page
    assert page.count("&lt;script&gt;&amp;&quot;&#x27;") > 15
