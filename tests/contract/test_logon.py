"""Logging on as clients really do it, staying logged on, and no longer being so."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from holdfast.api.app import create_app
from holdfast.catalog.writer import RowState, put
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.roles import Role
from support.documents import error_message, json_of, links_of, local, parsed, part
from support.managers import (
    FORMATS,
    JSON,
    TOKEN,
    FakeClock,
    add_administrator,
    client_of,
    log_on,
    running_manager,
)
from support.servers import raw_exchange, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = ("admin", "secret")
MINUTE = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clock() -> FakeClock:
    """The clock of the manager that these tests share."""
    return FakeClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(
    tmp_path_factory: pytest.TempPathFactory, clock: FakeClock
) -> AsyncIterator[EnterpriseManager]:
    """A manager with an administrator, whose time stands still until it is moved."""
    async with running_manager(tmp_path_factory.mktemp("manager"), clock=clock) as manager:
        await add_administrator(manager)
        yield manager


@pytest_asyncio.fixture(loop_scope="module")
async def client(manager: EnterpriseManager) -> AsyncIterator[httpx.AsyncClient]:
    """A client that nobody has logged on."""
    async with client_of(manager) as client:
        yield client


def session_id(answer: httpx.Response) -> str:
    """Given the answer to a logon in XML, return the SessionId in it."""
    element = part(parsed(answer), "SessionId")
    assert element is not None
    assert element.text
    return element.text


VARIANTS: list[tuple[str, dict[str, str], bytes]] = [
    ("/api/sessionMngr/?v=latest", {}, b""),
    ("/api/sessionMngr?v=latest", {}, b""),
    ("/api/sessionMngr/?v=v1_7", {}, b""),
    ("/api/sessionMngr/?v=v1_2", {}, b""),
    ("/api/sessionMngr/?v=v9_9", {}, b""),
    ("/api/sessionMngr/?v=", {}, b""),
    ("/api/sessionMngr/?v=v1_4&v=latest", {}, b""),
    ("/api/sessionMngr/", {}, b""),
    ("/api/sessionMngr", {}, b""),
    ("/API/SESSIONMNGR/?V=latest", {}, b""),
    ("//api//sessionMngr//?v=latest", {}, b""),
    ("/api/sessionMngr%3Fv=latest", {}, b""),
    ("/api/sessionMngr/?v=latest", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b"),
    ("/api/sessionMngr/?v=latest", {"Content-Type": "application/json"}, b"{}"),
    ("/api/sessionMngr/?v=latest", {"Content-Type": "application/json"}, b"null"),
    ("/api/sessionMngr/?v=latest", {"Content-Type": "application/json"}, b"{not json"),
    ("/api/sessionMngr/?v=latest", {"Content-Type": "application/xml"}, b"<LoginSpec/>"),
    ("/api/sessionMngr/?v=latest", {"Content-Type": "text/xml; charset=utf-8"}, b"<not xml"),
    ("/api/sessionMngr/?v=latest", {"Content-Type": "nonsense"}, b"\xff\x00"),
    ("/api/sessionMngr/?v=latest", {"Content-Length": "0"}, b""),
    ("/api/sessionMngr/?v=latest", {TOKEN: "an old token"}, b""),
    ("/api/sessionMngr/?v=latest", {"Cookie": f"{TOKEN}=old"}, b""),
]


@pytest.mark.parametrize(("address", "headers", "body"), VARIANTS)
async def test_every_way_of_logging_on_that_clients_know(
    client: httpx.AsyncClient, address: str, headers: dict[str, str], body: bytes
) -> None:
    url = f"http://localhost:9399{address}"
    answer = await client.post(url, auth=ADMIN, headers=headers, content=body)

    assert answer.status_code == 201
    root = parsed(answer)
    assert local(root) == "LogonSession"
    assert [local(child) for child in root] == ["Links", "UserName", "SessionId"]
    identity = session_id(answer)
    token = answer.headers[TOKEN]
    assert token == base64.b64encode(identity.encode()).decode()
    client.cookies.clear()
    assert (await client.get("/api/jobs", headers={TOKEN: token})).status_code == 200


async def test_logon_is_answered_in_json_too(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/sessionMngr/?v=latest", auth=ADMIN, headers=JSON)

    value = json_of(answer)
    assert list(value) == ["UserName", "SessionId", "Links", "Href", "Type"]
    assert value["UserName"] == "admin"
    assert value["Href"].endswith(f"/api/logonSessions/{value['SessionId']}")
    assert answer.headers["Location"] == value["Href"]
    assert answer.headers[TOKEN] == base64.b64encode(value["SessionId"].encode()).decode()


async def test_logon_may_be_followed_by_its_own_links(client: httpx.AsyncClient) -> None:
    answer = await log_on(client)

    links = links_of(parsed(answer))
    assert links[0]["Href"].endswith("/api/")
    for link in links:
        if link["Rel"] in ("Up", "Down"):
            assert (await client.get(link["Href"])).status_code == 200, link
    (delete,) = [link for link in links if link["Rel"] == "Delete"]
    assert (await client.delete(delete["Href"])).status_code == 204


async def test_session_ids_are_long_and_never_the_same(client: httpx.AsyncClient) -> None:
    identities = {session_id(await client.post("/api/sessionMngr/", auth=ADMIN)) for _ in range(5)}

    assert len(identities) == 5
    for identity in identities:
        assert len(UUID(identity).bytes) * 8 >= 128
    # No bits are fixed, as they are in a random UUID: all 128 are drawn.
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", i) for i in identities)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Bearer abc",
        "Basic " + base64.b64encode(b"admin").decode(),
        "Basic " + base64.b64encode(b"admin:").decode(),
        "Basic " + base64.b64encode(b":secret").decode(),
        "Basic " + base64.b64encode(b"admin:Secret").decode(),
        "Basic " + base64.b64encode(b"nobody:secret").decode(),
        "Basic " + base64.b64encode(b"admin:secret\x00").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    ],
)
async def test_wrong_credentials_are_refused(
    client: httpx.AsyncClient, clock: FakeClock, authorization: str | None
) -> None:
    clock.pass_seconds(10 * MINUTE)  # whatever was wrong before is over
    for form in FORMATS.values():
        headers = form | ({} if authorization is None else {"Authorization": authorization})
        answer = await client.post("/api/sessionMngr/?v=latest", headers=headers)
        assert error_message(answer, 401)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="RestSvc"'
        assert TOKEN not in answer.headers
        assert "Set-Cookie" not in answer.headers
        clock.pass_seconds(10 * MINUTE)
    await client.post("/api/sessionMngr/", auth=ADMIN)


async def test_name_is_without_case_and_password_may_be_any_text(
    manager: EnterpriseManager, client: httpx.AsyncClient
) -> None:
    await manager.accounts.create("Jürgen", "pä:ß 😀", Role.PORTAL_USER)
    for name in ("Jürgen", "JÜRGEN", "jürgen"):
        encoded = base64.b64encode(f"{name}:pä:ß 😀".encode()).decode()
        for scheme in ("Basic", "basic", "BASIC"):
            headers = {"Authorization": f"{scheme} {encoded}"}
            answer = await client.post("/api/sessionMngr/", headers=headers)
            assert answer.status_code == 201
            user = part(parsed(answer), "UserName")
            assert user is not None
            assert user.text == "Jürgen"


async def test_account_without_a_role_is_forbidden(
    manager: EnterpriseManager, client: httpx.AsyncClient
) -> None:
    await manager.accounts.create("nothing", "secret", None)
    for form in FORMATS.values():
        answer = await client.post("/api/sessionMngr/", auth=("nothing", "secret"), headers=form)
        assert "nothing" in error_message(answer, 403)
        assert TOKEN not in answer.headers


# The wire ----------------------------------------------------------------------------------------


async def test_header_is_spelt_exactly_so_on_the_wire(manager: EnterpriseManager) -> None:
    basic = base64.b64encode(b"admin:secret")
    async with served(create_app(manager)) as port:
        host = b"Host: 127.0.0.1:%d\r\nConnection: close\r\n" % port
        answer = await raw_exchange(
            port,
            b"POST /api/sessionMngr/?v=latest HTTP/1.1\r\nAuthorization: Basic " + basic
            + b"\r\nContent-Length: 0\r\n" + host + b"\r\n",
        )  # fmt: skip
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0].startswith(b"HTTP/1.1 201 ")
        (token,) = [line[19:] for line in lines if line.startswith(b"X-RestSvcSessionId: ")]
        token = token.strip()
        (cookie,) = [line for line in lines if line.lower().startswith(b"set-cookie:")]
        assert cookie == b"Set-Cookie: X-RestSvcSessionId=" + token + b"; Path=/api; HttpOnly"
        assert any(line.lower().startswith(b"date: ") for line in lines)
        found = re.search(rb"<SessionId>([^<]+)</SessionId>", body)
        assert found
        assert token == base64.b64encode(found[1])

        for name in (b"x-restsvcsessionid", b"X-RESTSVCSESSIONID", b"X-RestSvcSessionId"):
            request = b"GET /api/jobs HTTP/1.1\r\n" + name + b": " + token + b"\r\n" + host
            assert (await raw_exchange(port, request + b"\r\n")).startswith(b"HTTP/1.1 200 ")
        request = b"HEAD /api/jobs HTTP/1.1\r\nCookie: X-RestSvcSessionId=" + token + b"\r\n"
        head = await raw_exchange(port, request + host + b"\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert head.endswith(b"\r\n\r\n")
        wrong = await raw_exchange(port, b"GET /api/jobs HTTP/1.1\r\n" + host + b"\r\n")
        assert wrong.startswith(b"HTTP/1.1 401 ")
        assert b'www-authenticate: basic realm="restsvc"' in wrong.lower()


async def test_cookie_is_secure_on_https(manager: EnterpriseManager) -> None:
    async with client_of(manager, base_url="https://localhost:9398") as client:
        answer = await client.post("/api/sessionMngr/", auth=ADMIN)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{TOKEN}={answer.headers[TOKEN]}; Path=/api")
    assert "; HttpOnly" in cookie
    assert "; Secure" in cookie


# Tokens ------------------------------------------------------------------------------------------


async def test_cookie_wins_over_the_header(client: httpx.AsyncClient) -> None:
    good = (await log_on(client)).headers[TOKEN]
    del client.headers[TOKEN]
    bad = base64.b64encode(str(uuid4()).encode()).decode()

    async def status(cookie: str | None, header: str | None) -> int:
        headers = {"Cookie": cookie} if cookie is not None else {}
        headers |= {TOKEN: header} if header is not None else {}
        return (await client.get("/api/jobs", headers=headers)).status_code

    assert await status(None, good) == 200
    assert await status(f"{TOKEN}={good}", None) == 200
    assert await status(f"{TOKEN}={good}", bad) == 200
    assert await status(f"{TOKEN}={bad}", good) == 401
    assert await status(f"{TOKEN}={bad}", None) == 401
    assert await status("other=1", good) == 200
    assert await status(f"{TOKEN}={good}; {TOKEN}={good}", None) == 200
    assert await status(f"{TOKEN}={bad}; {TOKEN}={good}", None) == 200
    assert await status(f'a=b;{TOKEN}="{good}";c', None) == 200
    assert await status(";;=;" + f"{TOKEN}={good}", None) == 200


async def test_client_that_keeps_cookies_stays_logged_on(client: httpx.AsyncClient) -> None:
    await client.post("/api/sessionMngr/", auth=ADMIN)

    assert (await client.get("/api/jobs")).status_code == 200


async def test_logging_off_ends_the_session_at_once(client: httpx.AsyncClient) -> None:
    answer = await log_on(client)
    address = f"/api/logonSessions/{session_id(answer)}"

    assert (await client.get(address)).status_code == 200
    deleted = await client.delete(address)
    assert (deleted.status_code, deleted.content) == (204, b"")
    error_message(await client.get("/api/jobs"), 401)
    error_message(await client.delete(address), 401)


def _everything_in(directory: Path) -> bytes:
    """Return the content of every file in a directory, one after the other."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_only_a_hash_of_the_session_id_is_kept(tmp_path: Path) -> None:
    async with running_manager(tmp_path) as manager, client_of(manager) as client:
        await add_administrator(manager)
        answer = await log_on(client)
        identity = session_id(answer)
        await client.get("/api/jobs")
    kept = _everything_in(tmp_path)

    assert b"logon_session" in kept
    for secret in (identity, answer.headers[TOKEN], identity.replace("-", ""), "secret"):
        assert secret.encode() not in kept
    assert UUID(identity).bytes not in kept


async def test_passwords_are_kept_as_costly_hashes_alone(tmp_path: Path) -> None:
    manager = EnterpriseManager(tmp_path)  # with the hasher of the product
    await manager.start()
    await add_administrator(manager)
    select = "SELECT password_hash FROM account"
    (hashed,) = await manager.store.read(lambda c: c.execute(select).fetchone())
    await manager.stop()
    found = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=\d+\$", hashed)
    assert found
    assert int(found[1]) >= 19 * 1024
    assert int(found[1]) * int(found[2]) >= 2 * 19 * 1024


# Time --------------------------------------------------------------------------------------------


async def test_unused_session_ends_after_fifteen_minutes(
    client: httpx.AsyncClient, clock: FakeClock
) -> None:
    await log_on(client)
    for _ in range(5):
        clock.pass_seconds(15 * MINUTE - 1)
        assert (await client.get("/api/jobs")).status_code == 200
    clock.pass_seconds(15 * MINUTE + 15)  # a use may have been written down late by so much
    error_message(await client.get("/api/jobs"), 401)
    error_message(await client.get("/api/jobs"), 401)


async def test_every_use_counts_even_right_after_another(
    client: httpx.AsyncClient, clock: FakeClock
) -> None:
    await log_on(client)
    clock.pass_seconds(10)
    assert (await client.get("/api/jobs")).status_code == 200
    clock.pass_seconds(15 * MINUTE - 1)
    assert (await client.get("/api/jobs")).status_code == 200


async def test_session_in_use_ends_after_a_day(client: httpx.AsyncClient, clock: FakeClock) -> None:
    await log_on(client)
    for _ in range(24 * 6 - 1):
        clock.pass_seconds(10 * MINUTE)
        assert (await client.get("/api/jobs")).status_code == 200
    clock.pass_seconds(10 * MINUTE)
    error_message(await client.get("/api/jobs"), 401)


async def test_session_lives_through_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_manager(tmp_path, clock=clock) as manager, client_of(manager) as client:
        await add_administrator(manager)
        token = (await log_on(client)).headers[TOKEN]
    async with running_manager(tmp_path, clock=clock) as manager, client_of(manager) as client:
        answer = await client.get("/api/jobs", headers={TOKEN: token})
        assert answer.status_code == 200
        clock.pass_seconds(16 * MINUTE)
    async with running_manager(tmp_path, clock=clock) as manager, client_of(manager) as client:
        assert (await client.get("/api/jobs", headers={TOKEN: token})).status_code == 401


async def test_failed_logons_are_delayed_and_stay_so_after_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    wrong = ("admin", "wrong")

    async def logon(client: httpx.AsyncClient, account: tuple[str, str]) -> int:
        return (await client.post("/api/sessionMngr/", auth=account)).status_code

    async with running_manager(tmp_path, clock=clock) as manager, client_of(manager) as client:
        await add_administrator(manager)
        for _ in range(4):
            assert await logon(client, wrong) == 401
        assert await logon(client, ADMIN) == 201  # four are free, and success forgets them
        for _ in range(5):
            assert await logon(client, wrong) == 401
        answer = await client.post("/api/sessionMngr/", auth=ADMIN)
        assert "try again in" in error_message(answer, 401)
        clock.pass_seconds(1)
        assert await logon(client, wrong) == 401  # now it is two seconds
        clock.pass_seconds(1)
        assert await logon(client, ADMIN) == 401
    async with running_manager(tmp_path, clock=clock) as manager, client_of(manager) as client:
        assert await logon(client, ADMIN) == 401
        clock.pass_seconds(1)
        assert await logon(client, ADMIN) == 201
        assert await logon(client, wrong) == 401
        assert await logon(client, ADMIN) == 201


async def test_failures_from_one_address_delay_it_for_every_name(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_manager(tmp_path, clock=clock) as manager, client_of(manager) as client:
        await add_administrator(manager)
        for number in range(5):
            await client.post("/api/sessionMngr/", auth=(f"guess{number}", "x"))
        answer = await client.post("/api/sessionMngr/", auth=ADMIN)
        assert "try again in" in error_message(answer, 401)


async def test_new_password_ends_the_sessions_of_its_account_alone(tmp_path: Path) -> None:
    async with running_manager(tmp_path) as manager:
        await add_administrator(manager)
        await manager.accounts.create("other", "secret", Role.PORTAL_USER)
        async with client_of(manager) as client, client_of(manager) as other:
            await log_on(client)
            await log_on(other, "other")
            await manager.accounts.set_password("ADMIN", "new secret")
            assert (await client.get("/api/backups")).status_code == 401
            assert (await other.get("/api/backups")).status_code == 200
            old = await client.post("/api/sessionMngr/", auth=ADMIN)
            assert old.status_code == 401
            await log_on(client, "admin", "new secret")


# Who sees whom, who may what ---------------------------------------------------------------------


async def _identities(client: httpx.AsyncClient) -> list[str]:
    value = json_of(await client.get("/api/logonSessions", headers=JSON))
    return [session["UserName"] for session in value["LogonSessions"]]


async def test_administrator_sees_all_sessions_and_others_their_own(tmp_path: Path) -> None:
    async with running_manager(tmp_path) as manager:
        await add_administrator(manager)
        await manager.accounts.create("user", "secret", Role.PORTAL_USER)
        await manager.accounts.create("third", "secret", Role.PORTAL_USER)
        async with (
            client_of(manager) as user,
            client_of(manager) as again,
            client_of(manager) as third,
            client_of(manager) as admin,
        ):
            answers = [await log_on(c, "user") for c in (user, again)]
            await log_on(third, "third")
            await log_on(admin)

            assert await _identities(user) == ["user", "user"]
            assert await _identities(third) == ["third"]
            assert await _identities(admin) == ["admin", "user", "user", "third"]
            listed = json_of(await admin.get("/api/logonSessions", headers=JSON))
            text = (await admin.get("/api/logonSessions")).text
            # The secret of another's session is nobody's business.
            for answer in answers:
                assert session_id(answer) not in text
                assert answer.headers[TOKEN] not in text
            own = session_id(answers[0])
            assert (await again.get(f"/api/logonSessions/{own}")).status_code in (200, 404)
            hrefs = [session["Href"] for session in listed["LogonSessions"]]
            assert (await third.get(hrefs[1])).status_code == 404
            assert (await third.delete(hrefs[1])).status_code == 404
            assert (await user.get("/api/backups")).status_code == 200
            for href in hrefs[1:3]:
                assert (await admin.get(href)).status_code == 200
                assert (await admin.delete(href)).status_code == 204
            assert (await user.get("/api/backups")).status_code == 401
            assert (await again.get("/api/backups")).status_code == 401
            assert (await third.get("/api/backups")).status_code == 200


RESTORE_DATA = {"backups", "restorePoints", "vmRestorePoints"}
OF_USERS = RESTORE_DATA | {
    "backupServers",
    "managedServers",
    "repositories",
    "backupSessions",
    "backupTaskSessions",
    "replicaSessions",
    "replicaTaskSessions",
    "backupFiles",
}
MAY_READ = {
    Role.PORTAL_ADMINISTRATOR: OF_USERS | {"jobs"},
    Role.PORTAL_USER: OF_USERS,
    Role.VM_RESTORE_OPERATOR: RESTORE_DATA,
    Role.FILE_RESTORE_OPERATOR: RESTORE_DATA,
    Role.EXCHANGE_RESTORE_OPERATOR: set(),
    Role.ORACLE_RESTORE_OPERATOR: set(),
    Role.SQL_RESTORE_OPERATOR: set(),
}


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
async def test_role_reads_what_it_may_and_nothing_else(
    manager: EnterpriseManager, client: httpx.AsyncClient, role: Role
) -> None:
    server, repository, job, session = (uuid4() for _ in range(4))

    def fill(connection) -> None:
        schema = manager.schema
        put(connection, schema["BackupServer"], RowState(server, "srv"))
        here = {"server": server}
        put(connection, schema["Repository"], RowState(repository, "repository", {}, here))
        put(connection, schema["Job"], RowState(job, "job", {"JobType": "Backup"}, here))
        related = {"server": server, "job": job}
        put(connection, schema["BackupJobSession"], RowState(session, "s", {}, related))

    await manager.store.write(fill)
    name = role.name.lower()
    await manager.accounts.create(name, "secret", role)
    await log_on(client, name)
    types = {
        "jobs": "Job",
        "backups": "Backup",
        "repositories": "Repository",
        "backupSessions": "BackupJobSession",
        "replicaSessions": "ReplicaJobSession",
    }
    may = MAY_READ[role]
    for form in FORMATS.values():
        for collection in OF_USERS | {"jobs"}:
            kind = types.get(collection, collection[0].upper() + collection[1:-1])
            paths = [
                f"/api/{collection}",
                f"/api/{collection}?format=Entity",
                f"/api/query?type={kind}",
                f"/api/query?type={kind}&format=Entities&filter=Name!=x",
            ]
            for path in paths:
                answer = await client.get(path, headers=form)
                if collection in may:
                    assert answer.status_code == 200, path
                else:
                    assert role.value in error_message(answer, 403)
            unknown = await client.get(f"/api/{collection}/{uuid4()}", headers=form)
            assert unknown.status_code == (404 if collection in may else 403)
        # What is below something readable needs its own permission.
        below = {
            f"/api/backupServers/{server}/jobs": "jobs",
            f"/api/backupServers/{server}/repositories": "repositories",
            f"/api/repositories/{repository}/backups": "backups",
            f"/api/jobs/{job}/backupSessions": "backupSessions",
            f"/api/jobs/{job}/includes": "jobs",
            f"/api/jobs/{job}": "jobs",
        }
        for path, needed in below.items():
            answer = await client.get(path, headers=form)
            assert answer.status_code == (200 if needed in may else 403), path
        for path in ("/api/logonSessions", "/api/querySvc", "/api/tasks", "/api/query?type=Task"):
            assert (await client.get(path, headers=form)).status_code == 200
        if role is not Role.PORTAL_ADMINISTRATOR:
            for path in (
                f"/api/jobs/{job}?action=start",
                f"/api/backupSessions/{session}?action=stop",
            ):
                error_message(await client.post(path, headers=form), 403)
            error_message(await client.delete(f"/api/jobs/{job}", headers=form), 403)
    await manager.accounts.set_password(name, "other")
