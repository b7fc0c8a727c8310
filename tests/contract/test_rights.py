"""Every route and every role: who may is answered, who may not is refused, and sees no link."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from contract.all_calls import DOCUMENTED, QUERIES, product_call
from holdfast.api.app import create_app
from holdfast.api.own_failover_descriptions import ACTIONS, may_do
from holdfast.manager.account import NewAccount
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.calls import all_calls, place_of
from holdfast.schema.core import CORE
from holdfast.schema.roles import Role
from schema.generated_rows import fill, row_of, uid_of
from support.documents import error_message, links_of, parsed
from support.fake_backup_server import FakeBackupServer
from support.managers import (
    FORMATS,
    HOST,
    TOKEN,
    add_administrator,
    client_of,
    log_on,
    running_manager,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODYS = UUID("5cc81d1c-79e9-4b12-a4e9-1a7a10abe55b")
PUBLIC = {"/", "/sessionMngr"}
#: Paths of Holdfast's own, and who may use them.
_RESTORERS = {
    Role.PORTAL_ADMINISTRATOR,
    Role.PORTAL_USER,
    Role.VM_RESTORE_OPERATOR,
    Role.FILE_RESTORE_OPERATOR,
}
OWN = {
    ("POST", "/holdfast/v1/jobs"): {Role.PORTAL_ADMINISTRATOR},
    ("GET", "/holdfast/v1/jobs"): {Role.PORTAL_ADMINISTRATOR},
    ("GET", f"/holdfast/v1/jobs/{NOBODYS}"): {Role.PORTAL_ADMINISTRATOR},
    ("PUT", f"/holdfast/v1/jobs/{NOBODYS}"): {Role.PORTAL_ADMINISTRATOR},
    ("POST", f"/holdfast/v1/jobs/{NOBODYS}/check"): {Role.PORTAL_ADMINISTRATOR},
    ("GET", "/holdfast/v1/vmRestorePoints"): {Role.PORTAL_ADMINISTRATOR},
    ("GET", f"/holdfast/v1/vmRestorePoints/{NOBODYS}"): {
        Role.PORTAL_ADMINISTRATOR,
        Role.VM_RESTORE_OPERATOR,
    },
    ("POST", f"/holdfast/v1/restoreSessions/{NOBODYS}/stop"): {
        Role.PORTAL_ADMINISTRATOR,
        Role.VM_RESTORE_OPERATOR,
    },
    ("POST", f"/holdfast/v1/vmRestorePoints/{NOBODYS}/restore"): {
        Role.PORTAL_ADMINISTRATOR,
        Role.VM_RESTORE_OPERATOR,
    },
    ("GET", "/holdfast/v1/hosts"): {Role.PORTAL_ADMINISTRATOR},
    ("POST", "/holdfast/v1/hosts"): {Role.PORTAL_ADMINISTRATOR},
    ("GET", f"/holdfast/v1/hosts/{NOBODYS}"): {Role.PORTAL_ADMINISTRATOR},
    ("PUT", f"/holdfast/v1/hosts/{NOBODYS}"): {Role.PORTAL_ADMINISTRATOR},
    ("DELETE", f"/holdfast/v1/hosts/{NOBODYS}"): {Role.PORTAL_ADMINISTRATOR},
    ("POST", f"/holdfast/v1/hosts/{NOBODYS}/rescan"): {Role.PORTAL_ADMINISTRATOR},
    ("POST", "/holdfast/v1/repositories/import"): {Role.PORTAL_ADMINISTRATOR},
    ("GET", "/holdfast/v1/replicas"): _RESTORERS,
    ("GET", f"/holdfast/v1/replicas/{NOBODYS}"): _RESTORERS,
    ("POST", f"/holdfast/v1/replicas/{NOBODYS}"): _RESTORERS,
    ("DELETE", f"/holdfast/v1/replicas/{NOBODYS}"): {Role.PORTAL_ADMINISTRATOR},
    ("GET", "/holdfast/v1/failoverPlans"): set(Role) - {Role.PORTAL_USER},
    ("POST", "/holdfast/v1/failoverPlans"): {Role.PORTAL_ADMINISTRATOR},
    ("GET", f"/holdfast/v1/failoverPlans/{NOBODYS}"): set(Role) - {Role.PORTAL_USER},
    ("PUT", f"/holdfast/v1/failoverPlans/{NOBODYS}"): {Role.PORTAL_ADMINISTRATOR},
    ("DELETE", f"/holdfast/v1/failoverPlans/{NOBODYS}"): {Role.PORTAL_ADMINISTRATOR},
    ("POST", "/holdfast/v1/accounts"): {Role.PORTAL_ADMINISTRATOR},
    ("POST", f"/holdfast/v1/accounts/{NOBODYS}/password"): {Role.PORTAL_ADMINISTRATOR},
}
OWN |= {
    (method, f"/holdfast/v1/{path}"): {Role.PORTAL_ADMINISTRATOR, Role.VM_RESTORE_OPERATOR}
    for method, path in (
        ("POST", f"vmRestorePoints/{NOBODYS}/instantRecovery"),
        ("GET", "instantRecoveries"),
        ("GET", f"instantRecoveries/{NOBODYS}"),
        ("POST", f"instantRecoveries/{NOBODYS}"),
    )
}
#: What anybody may read.
DESCRIPTIONS = {"/openapi.json", "/schema.xsd", "/reference"}
VERBS = {"Edit": "PUT", "Delete": "DELETE"} | dict.fromkeys(
    ("Up", "Down", "Related", "Alternate", "First", "Previous", "Next", "Last"), "GET"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnterpriseManager]:
    """A manager with a row of every type and an account of every role."""
    async with running_manager(tmp_path_factory.mktemp("manager")) as manager:
        await add_administrator(manager)
        await manager.store.write(fill)
        server = FakeBackupServer(row_of(CORE["BackupServer"]).uid, "BackupServer 1")
        transport = httpx.ASGITransport(app=server.app)
        await manager.connect("http://backup-server.local", "a-token", transport)
        for role in Role:
            await manager.accounts.create(role.value, "secret", role)
        yield manager


@pytest_asyncio.fixture(loop_scope="module")
async def client(manager: EnterpriseManager, role: Role) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged on with the role."""
    async with client_of(manager) as client:
        await log_on(client, role.value)
        yield client


def _filled(address: str) -> str:
    for placeholder in ("{id}", "{item}", "{path}"):
        address = address.replace(placeholder, str(NOBODYS))
    return address


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
async def test_role_may_make_its_calls_and_no_other(
    client: httpx.AsyncClient, role: Role, form: str
) -> None:
    calls = [
        (documented.method, _filled(documented.address), documented.roles)
        for documented in DOCUMENTED
        if documented.address not in PUBLIC
    ]
    calls += [(method, path, frozenset(roles)) for (method, path), roles in OWN.items()]
    for method, path, roles in calls:
        answer = await client.request(method, f"/api{path}", headers=FORMATS[form])
        if role in roles:
            assert answer.status_code not in (401, 403), f"{method} {path}: {answer.text}"
        else:
            assert role.value in error_message(answer, 403), f"{method} {path}"
        if method == "GET":
            head = await client.head(f"/api{path}")
            assert head.status_code == answer.status_code, path


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
async def test_role_does_with_replicas_what_is_described(
    client: httpx.AsyncClient, role: Role
) -> None:
    for action in ACTIONS:
        path = f"/api/holdfast/v1/replicas/{uid_of('Replica')}?action={action}"
        answer = await client.post(path)
        allowed = role in may_do(action)
        assert (answer.status_code == 403) is not allowed, (action, answer.text)


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
async def test_only_an_administrator_says_where_to_write(
    client: httpx.AsyncClient, role: Role
) -> None:
    point = uid_of("VmRestorePoint")
    for call in ("restore", "instantRecovery"):
        path = f"/api/holdfast/v1/vmRestorePoints/{point}/{call}"
        answer = await client.post(path, json={"folder": "/etc"})
        allowed = role is Role.PORTAL_ADMINISTRATOR
        assert (answer.status_code == 403) is not allowed, (call, answer.text)


async def test_every_route_is_in_a_table(manager: EnterpriseManager) -> None:
    application: Any = create_app(manager)
    own = {place_of(path.replace(str(NOBODYS), "{id}")) for _, path in OWN}
    known = {place_of(call.path) for call in all_calls()} | own | DESCRIPTIONS
    for route in application._app.routes:
        path = route.path.removeprefix("/api").replace(":path}", "}") or "/"
        assert place_of(path) in known, path


async def test_declared_readers_are_those_of_the_calls() -> None:
    for resource in CORE:
        if resource.parent is None:
            [line] = all_calls().at("GET", resource.collection)
            assert line.roles == resource.readers, resource.name
            for action in resource.actions:
                path = f"{resource.collection}/{{id}}"
                line = all_calls().find(action.method, path, {"action": action.name})
                assert line is not None, (resource.name, action.name)
                assert line.roles == action.roles, (resource.name, action.name)


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
async def test_role_sees_only_links_that_lead_somewhere(
    client: httpx.AsyncClient, role: Role
) -> None:
    pages = [
        documented.address + QUERIES.get(documented.name, "")
        for documented in DOCUMENTED
        if documented.method == "GET"
        and role in documented.roles
        and product_call(documented).built
        and "{" not in documented.address
    ]
    pages += [f"{page}{'&' if '?' in page else '?'}format=Entity" for page in pages]
    led: set[str] = set()
    for page in pages:
        answer = await client.get(f"/api{page}")
        assert answer.status_code == 200, page
        for element in parsed(answer).iter():
            for link in links_of(element):
                await _expect_to_lead_somewhere(client, link, led)
    assert led


async def _expect_to_lead_somewhere(
    client: httpx.AsyncClient, link: dict[str, str], led: set[str]
) -> None:
    address = link["Href"].removeprefix(f"{HOST}/api")
    method = VERBS.get(link["Rel"], "POST")
    if f"{method} {address}" in led:
        return
    led.add(f"{method} {address}")
    if method == "GET":
        answer = await client.get(link["Href"])
        assert answer.status_code == 200, link
        return
    # Not followed, for it would change something: an item that is not there tells as much.
    path, question, query = address.partition("?")
    parts = [str(NOBODYS) if _is_id(part) else part for part in path.split("/")]
    if str(NOBODYS) in parts:
        answer = await client.request(method, f"/api{'/'.join(parts)}{question}{query}")
        assert answer.status_code == 404, (link, answer.text)


def _is_id(part: str) -> bool:
    return len(part) == 36 and part.count("-") == 4


async def test_logon_session_lists_everything_in_the_documented_order(
    manager: EnterpriseManager,
) -> None:
    async with client_of(manager) as client:
        answer = await log_on(client, Role.PORTAL_ADMINISTRATOR.value)
    links = [(link["Rel"], link.get("Type")) for link in links_of(parsed(answer))]

    assert links[0] == ("Up", "EnterpriseManager")
    assert links[-2:] == [("Delete", None), ("Down", "CloudConnectService")]
    lists = [
        "BackupServer", "ManagedServer", "Job", "FailoverPlan", "HierarchyRoot", "Repository",
        "Backup", "RestorePoint", "VmRestorePoint", "VAppRestorePoint", "Replica",
        "VmReplicaPoint", "CatalogVm", "BackupJobSession", "RestoreSession", "ReplicaJobSession",
        "BackupTaskSession", "ReplicaTaskSession", "WanAccelerator", "BackupFile",
        "ExternalRepository", "CdpPolicy", "CdpReplicaSession", "CdpReplicaTaskSession",
        "VAppReplicaPoint", "VmCdpReplica", "VAppCdpReplica", "BackupJobSession",
    ]  # fmt: skip
    references = [
        name.removesuffix("ReferenceList") for _, name in links if name and "Refer" in name
    ]
    entities = [
        name.removesuffix("List")
        for _, name in links
        if name and name.endswith("List") and "Refer" not in name and name != "TaskList"
    ]
    assert references == entities == lists
    types = [name for _, name in links]
    services = [
        "EnterpriseSecuritySettings", "TaskList", "QueryService", "VCloudService",
        "AgentsService", "VSphereSelfService", "NasService", "CloudConnectService",
    ]  # fmt: skip
    assert [name for name in types if name in services] == services
    assert (
        types.index("EnterpriseSecuritySettings") == types.index("WanAcceleratorReferenceList") - 1
    )


async def test_several_roles_may_what_any_of_them_may(manager: EnterpriseManager) -> None:
    roles = (Role.VM_RESTORE_OPERATOR, Role.PORTAL_USER)
    await manager.accounts.add(NewAccount("both", roles, "secret"))
    async with client_of(manager) as client:
        await log_on(client, "both")
        assert (await client.get("/api/failoverPlans")).status_code == 200
        assert (await client.get("/api/backupServers")).status_code == 200
        message = error_message(await client.get("/api/jobs"), 403)

    assert message.startswith("The roles Portal User and VM Restore Operator may not")


async def test_role_taken_away_counts_at_once(manager: EnterpriseManager) -> None:
    uid = await manager.accounts.add(NewAccount("fading", (Role.PORTAL_USER,), "secret"))
    async with client_of(manager) as client:
        await log_on(client, "fading")
        assert (await client.get("/api/backupServers")).status_code == 200
        added = await manager.accounts.grant(uid, Role.PORTAL_ADMINISTRATOR)
        assert (await client.get("/api/jobs")).status_code == 200
        await manager.accounts.revoke(uid, added)
        assert (await client.get("/api/jobs")).status_code == 403
        assert client.headers[TOKEN]
