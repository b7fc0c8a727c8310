"""Everything that can be wrong with a request has its status, and all errors one shape."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from contract.all_calls import DOCUMENTED, Documented
from contract.expectations import EXPECTED, SUB_COLLECTIONS
from holdfast.api.app import create_app
from holdfast.catalog.store import ReadTooLong
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.core import CORE
from support.documents import error_message
from support.managers import FORMATS, TOKEN, administrator_client, client_of
from support.sample_rows import FULL, fill

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
READ = {"GET", "HEAD"}

#: A GUID that nothing has.
NOBODYS = UUID("5cc81d1c-79e9-4b12-a4e9-1a7a10abe55b")


def _routes() -> dict[str, set[str]]:
    """Every path of the API with an item's id filled in, and its methods."""
    routes = {
        "/": READ,
        "/sessionMngr": {"POST"},
        "/logonSessions": READ,
        f"/logonSessions/{NOBODYS}": READ | {"DELETE"},
        "/querySvc": READ,
        "/query": READ,
        "/lookupSvc": READ,
        "/lookup": READ,
        "/holdfast/v1/jobs": READ | {"POST"},
        f"/holdfast/v1/jobs/{NOBODYS}": READ | {"PUT"},
        f"/holdfast/v1/jobs/{NOBODYS}/check": {"POST"},
        "/holdfast/v1/vmRestorePoints": READ,
        f"/holdfast/v1/vmRestorePoints/{NOBODYS}": READ,
        "/holdfast/v1/replicas": READ,
        f"/holdfast/v1/replicas/{NOBODYS}": READ | {"POST", "DELETE"},
        "/holdfast/v1/failoverPlans": READ | {"POST"},
        f"/holdfast/v1/failoverPlans/{NOBODYS}": READ | {"PUT", "DELETE"},
        "/holdfast/v1/hosts": READ | {"POST"},
        f"/holdfast/v1/hosts/{NOBODYS}": READ | {"PUT", "DELETE"},
        f"/holdfast/v1/hosts/{NOBODYS}/rescan": {"POST"},
        "/holdfast/v1/repositories/import": {"POST"},
        "/holdfast/v1/accounts": {"POST"},
        f"/holdfast/v1/restoreSessions/{NOBODYS}/stop": {"POST"},
        f"/holdfast/v1/vmRestorePoints/{NOBODYS}/restore": {"POST"},
        f"/holdfast/v1/vmRestorePoints/{NOBODYS}/instantRecovery": {"POST"},
        "/holdfast/v1/instantRecoveries": READ,
        f"/holdfast/v1/instantRecoveries/{NOBODYS}": READ | {"POST"},
        f"/holdfast/v1/accounts/{NOBODYS}/password": {"POST"},
        "/reports/summary": READ,
        "/openapi.json": READ,
        "/schema.xsd": READ,
        "/reference": READ,
    }
    frames = ("overview", "vms_overview", "job_statistics", "processed_vms", "repository")
    routes |= {f"/reports/summary/{frame}": READ for frame in frames}
    for name, expected in EXPECTED.items():
        if not expected.below:
            routes[expected.collection] = READ
            routes[f"{expected.collection}/{FULL[name]}"] = READ
    extra = (("Job", "replicaSessions", "ReplicaJobSession"),)
    for above, path, name in (*SUB_COLLECTIONS, *extra):
        below = f"{EXPECTED[above].collection}/{FULL[above]}/{path}"
        routes[below] = READ
        if EXPECTED[name].below:
            routes[f"{below}/{FULL[name]}"] = READ
    return {path: methods | _documented_methods(path) for path, methods in routes.items()}


def _documented_methods(path: str) -> set[str]:
    """Given a path, return the methods of the documented calls there, built or not."""
    return {call.method for call in DOCUMENTED if _pattern(call).fullmatch(path)}


def _pattern(call: Documented) -> re.Pattern[str]:
    path = re.escape(call.address.partition("?")[0])
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", path))


ROUTES = _routes()
PUBLIC = {"/", "/sessionMngr", "/openapi.json", "/schema.xsd", "/reference"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[EnterpriseManager, httpx.AsyncClient]]:
    """A manager with rows of every type, and a client that is logged on to it."""
    directory = tmp_path_factory.mktemp("manager")
    async with administrator_client(directory) as (manager, client):
        session = await manager.logon_sessions.authenticate(client.headers[TOKEN])
        assert session is not None
        await manager.store.write(lambda c: fill(c, manager.schema, session.uid))
        yield manager, client


@pytest.fixture
def client(running: tuple[EnterpriseManager, httpx.AsyncClient]) -> httpx.AsyncClient:
    """The client that is logged on."""
    return running[1]


async def test_table_of_routes_is_the_whole_api(
    running: tuple[EnterpriseManager, httpx.AsyncClient],
) -> None:
    application: Any = create_app(running[0])
    known = [route.path_regex for route in application._app.routes]
    for path in ROUTES:
        matching = [regex for regex in known if regex.match(f"/api{path}".rstrip("/"))]
        assert matching, path
        known = [regex for regex in known if regex not in matching]
    # What is left are the places of the types that `tests/schema` holds against its tables, and
    # of calls that `test_calls` holds against theirs.
    elsewhere = _places_of_other_types() | {
        re.sub(r"\{\w+\}", "x", call.address.partition("?")[0]) for call in DOCUMENTED
    }
    assert [regex.pattern for regex in known if not _is_one_of(regex, elsewhere)] == []


def _places_of_other_types() -> set[str]:
    """The paths of collections and items of types that this table does not know."""
    places = set()
    for resource in CORE:
        own = [] if resource.parent else [resource.collection]
        own += [view.path for view in resource.views]
        if resource.name not in EXPECTED:
            places |= {path for top in own for path in (top, f"{top}/x")}
        else:
            places |= {path for view in resource.views for path in (view.path, f"{view.path}/x")}
        for top in own:
            for child in resource.children:
                places |= {f"{top}/x/{child.path}", f"{top}/x/{child.path}/x"}
    return places


def _is_one_of(regex: re.Pattern[str], places: set[str]) -> bool:
    return any(regex.match(f"/api{place}") for place in places)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("path", ROUTES)
async def test_wrong_method_is_refused_naming_the_right_ones(
    client: httpx.AsyncClient, path: str, form: str
) -> None:
    for method in METHODS:
        if method in ROUTES[path]:
            continue
        answer = await client.request(method, f"/api{path}", headers=FORMATS[form])
        assert answer.status_code == 405, (method, path)
        assert set(answer.headers["Allow"].split(", ")) == ROUTES[path]
        if method != "HEAD":
            assert method in error_message(answer, 405)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("path", sorted(set(ROUTES) - PUBLIC))
async def test_nobody_is_answered_without_logging_on(
    running: tuple[EnterpriseManager, httpx.AsyncClient], path: str, form: str
) -> None:
    wrong = [
        {},
        {TOKEN: ""},
        {TOKEN: "x"},
        {TOKEN: "YWJj"},
        {TOKEN: "MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAw"},
        {"Cookie": f"{TOKEN}=nonsense"},
        {"Authorization": "Basic YWRtaW46c2VjcmV0"},
    ]
    async with client_of(running[0]) as stranger:
        for headers in wrong:
            for method in ROUTES[path]:
                answer = await stranger.request(
                    method, f"/api{path}", headers=FORMATS[form] | headers
                )
                assert answer.status_code == 401, (method, path, headers)
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="RestSvc"'
                if method != "HEAD":
                    error_message(answer, 401)


UNKNOWN = [
    ("/nope", "/api/nope"),
    ("/jobs/1", "Cannot find Job [1]."),
    (f"/jobs/{FULL['Backup']}", f"Cannot find Job [{FULL['Backup']}]."),
    ("/jobs/%00", "Cannot find Job"),
    ("/jobs/%F0%9F%98%80", "Cannot find Job [😀]."),
    ("/jobs/urn:other:Job:1", "Cannot find Job"),
    ("/tasks/task-77", "Cannot find Task [task-77]."),
    ("/tasks/1", "Cannot find Task [1]."),
    (f"/jobs/{FULL['Backup']}/includes", "Cannot find Job"),
    (f"/jobs/{FULL['Job']}/includes/{FULL['Backup']}", "Cannot find ObjectInJob"),
    (f"/jobs/{FULL['Job']}/nope", "There is nothing at"),
    (f"/backups/{NOBODYS}/backupFiles", "Cannot find Backup ["),
    ("/backupSessions/xyz/taskSessions", "Cannot find BackupJobSession [xyz]."),
    (f"/logonSessions/{NOBODYS}", "Cannot find LogonSession"),
    ("/logonSessions/x", "Cannot find LogonSession [x]."),
    ("/includes", "There is nothing at"),
    ("/query/x", "There is nothing at"),
    ("/sessionMngr/x/y", "There is nothing at"),
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("path", "words"), UNKNOWN)
async def test_unknown_is_said_to_be_unknown_by_kind_and_id(
    client: httpx.AsyncClient, path: str, words: str, form: str
) -> None:
    answer = await client.get(f"/api{path}", headers=FORMATS[form])
    assert words in error_message(answer, 404)


@pytest.mark.parametrize("path", ["/", "", "/apis", "/api2/jobs", "/favicon.ico", "/%2e%2e/etc"])
async def test_nothing_is_outside_of_the_api(client: httpx.AsyncClient, path: str) -> None:
    for form in FORMATS.values():
        error_message(await client.get(path, headers=form), 404)


BAD = [
    ("/query", "type"),
    ("/query?type=", "type"),
    ("/query?type=Nope", "Nope"),
    ("/query?type=Job&page=0", "page"),
    ("/query?type=Job&page=-1", "page"),
    ("/query?type=Job&page=", "page"),
    ("/query?type=Job&page=1.5", "page"),
    ("/query?type=Job&page=%C2%B2", "page"),
    ("/query?type=Job&pageSize=0", "pageSize"),
    ("/query?type=Job&pageSize=x", "pageSize"),
    ("/query?type=Job&pageSize=%D9%A3", "pageSize"),
    ("/query?type=Job&pageSize=" + "9" * 401, "pageSize"),
    ("/query?type=Job&sortAsc=Name&sortDesc=Name", "both"),
    ("/query?type=Job&sortAsc=", "sortAsc"),
    ("/query?type=Job&sortAsc=Nope", "Nope"),
    ("/query?type=Job&sortDesc=JobScheduleOptions", "JobScheduleOptions"),
    ("/query?type=Job&sortDesc=Name,UID", "Name,UID"),
    ("/query?type=Job&format=Full", "format"),
    ("/jobs?format=Full", "format"),
    (f"/jobs/{FULL['Job']}?format=x", "format"),
    ("/jobs?pageSize=x", "pageSize"),
    ("/jobs?page=0", "page"),
    ("/jobs?sortAsc=Nope", "Nope"),
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("path", "words"), BAD)
async def test_bad_parameter_is_refused_by_name(
    client: httpx.AsyncClient, path: str, words: str, form: str
) -> None:
    answer = await client.get(f"/api{path}", headers=FORMATS[form])
    assert words in error_message(answer, 400)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"/jobs/{FULL['Job']}", "action"),
        (f"/jobs/{FULL['Job']}?action=", "action"),
        (f"/jobs/{FULL['Job']}?action=delete", "action"),
        (f"/jobs/{FULL['Job']}?action=nope", "start, stop, retry, clone"),
        (f"/backupServers/{FULL['BackupServer']}?action=start", "collect"),
    ],
)
async def test_unknown_action_is_refused_naming_the_known(
    client: httpx.AsyncClient, path: str, words: str, form: str
) -> None:
    answer = await client.post(f"/api{path}", headers=FORMATS[form])
    assert words in error_message(answer, 400)


@pytest.mark.parametrize(
    ("body", "media", "words"),
    [
        ("<JobCloneSpec", "application/xml", "well-formed"),
        ("<Other/>", "text/xml; charset=utf-8", "JobCloneSpec"),
        ("<JobCloneSpec><Nope/></JobCloneSpec>", "application/xml", "Nope"),
        ("<!DOCTYPE x [<!ENTITY e 'x'>]><JobCloneSpec/>", "application/xml", "document type"),
        (
            "<JobCloneSpec><BackupJobCloneInfo><FolderName>a</FolderName><JobName>b</JobName>"
            "</BackupJobCloneInfo></JobCloneSpec>",
            "application/xml",
            "order",
        ),
        ("{", "application/json", "not JSON"),
        ("[]", "application/json", "object"),
        ('{"Nope": 1}', "application/json", "Nope"),
        ('{"BackupJobCloneInfo": {"RepositoryUid": "x"}}', "application/json", "GUID"),
        ('{"BackupJobCloneInfo": []}', "application/json", "object"),
        ("[" * 100_000, "application/json", "JSON"),
        ("<a>" * 10_000, "application/xml", "well-formed"),
        (" " * (1 << 20) + "<JobCloneSpec/>", "application/xml", "larger"),
        ("\ud83d".encode("utf-8", "surrogatepass"), "application/json", "JSON"),
    ],
    ids=range(14),
)
async def test_bad_body_is_refused(
    client: httpx.AsyncClient, body: str | bytes, media: str, words: str
) -> None:
    for form in FORMATS.values():
        answer = await client.post(
            f"/api/jobs/{FULL['Job']}?action=clone",
            content=body,
            headers=form | {"Content-Type": media},
        )
        assert words in error_message(answer, 400)


@pytest.mark.parametrize("path", [*UNKNOWN[:4], *BAD[:4], ("/jobs", "")])
async def test_head_is_get_without_a_body(client: httpx.AsyncClient, path: tuple[str, str]) -> None:
    for form in FORMATS.values():
        got = await client.get(f"/api{path[0]}", headers=form)
        head = await client.head(f"/api{path[0]}", headers=form)
        assert head.content == b""
        assert head.status_code == got.status_code
        assert head.headers == got.headers


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "path",
    ["/jobs", f"/jobs/{FULL['Job']}", "/query?type=Job", f"/jobs/{FULL['Job']}/includes"],
)
async def test_exception_inside_is_told_without_its_traceback(
    running: tuple[EnterpriseManager, httpx.AsyncClient],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
    form: str,
) -> None:
    manager, client = running

    async def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("the secret reason")

    for method in ("rows", "first"):
        monkeypatch.setattr(manager.reader, method, fail)
    with caplog.at_level(logging.ERROR):
        answer = await client.get(f"/api{path}", headers=FORMATS[form])

    error_message(answer, 500)
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    assert "the secret reason" in caplog.text
    head = await client.head(f"/api{path}", headers=FORMATS[form])
    assert (head.status_code, head.content) == (500, b"")


@pytest.mark.parametrize("form", FORMATS)
async def test_read_that_takes_too_long_is_given_up_as_overload(
    running: tuple[EnterpriseManager, httpx.AsyncClient],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    manager, client = running

    async def give_up(*_arguments: object) -> None:
        raise ReadTooLong("The query took longer than 60 s.")

    monkeypatch.setattr(manager.reader, "rows", give_up)
    answer = await client.get("/api/query?type=Job", headers=FORMATS[form])

    assert "60 s" in error_message(answer, 503)
    assert answer.headers["Retry-After"] == "60"


async def test_error_never_repeats_markup_of_the_request(client: httpx.AsyncClient) -> None:
    path = "/api/query?type=%3Cscript%3E%22%26%00&filter=x"
    message = error_message(await client.get(path), 400)
    assert "<script>" in message
    assert "<script>" not in (await client.get(path)).text
