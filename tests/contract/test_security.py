"""Accounts, roles and scopes through the API, and what a scope keeps out of sight."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from holdfast.catalog.writer import RowState, put
from holdfast.manager.account import NewAccount
from holdfast.manager.accounts import LogonRefused
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.manager.identity import OutsideProgram
from holdfast.schema.resources.security import ROLE_UIDS
from holdfast.schema.roles import Role
from support.documents import error_message, json_of, links_of, parsed, part
from support.managers import JSON, TOKEN, administrator_client, client_of, log_on, running_manager

pytestmark = pytest.mark.asyncio

ROOT, ELSEWHERE = uuid4(), uuid4()
REFERENCES = {
    "db": f"urn:VMware:Vm:{ROOT}.vm-1",
    "web": f"urn:VMware:Vm:{ROOT}.vm-12",
    "far": f"urn:VMware:Vm:{ELSEWHERE}.vm-1",
}


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[EnterpriseManager, httpx.AsyncClient]]:
    """A manager, and a client that is logged on as its administrator."""
    async with administrator_client(tmp_path) as (manager, client):
        yield manager, client


@pytest.fixture
def manager(running: tuple[EnterpriseManager, httpx.AsyncClient]) -> EnterpriseManager:
    """The manager."""
    return running[0]


@pytest.fixture
def client(running: tuple[EnterpriseManager, httpx.AsyncClient]) -> httpx.AsyncClient:
    """The administrator's client."""
    return running[1]


def specification(name: str, *roles: Role, **more: Any) -> dict[str, Any]:
    """Given an account's name and roles, return the body that makes it."""
    return {
        "AccountType": "User",
        "AccountName": name,
        "Roles": {
            "EnterpriseRoles": [
                {"EnterpriseRoleUid": f"urn:veeam:EnterpriseRole:{ROLE_UIDS[role]}"}
                for role in roles
            ]
        },
        "AllowRestoreAllVms": True,
        **more,
    }


async def create(client: httpx.AsyncClient, body: dict[str, Any]) -> str:
    """Given a specification, create the account; return its address."""
    answer = await client.post("/api/security/accounts", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.content == b""
    return answer.headers["Location"]


# Accounts ----------------------------------------------------------------------------------------


async def test_roles_are_the_well_known_ones(client: httpx.AsyncClient) -> None:
    found = json_of(await client.get("/api/security/roles?format=Entity", headers=JSON))

    uids = {role["Name"]: role["UID"].rpartition(":")[2] for role in found["EnterpriseRoles"]}
    assert uids == {role.value: str(uid) for role, uid in ROLE_UIDS.items()}


async def test_account_is_made_shown_changed_and_ended(client: httpx.AsyncClient) -> None:
    address = await create(client, specification("Ann", Role.PORTAL_USER))

    shown = parsed(await client.get(f"{address}?format=Entity"))
    assert shown.attrib["Name"] == "Ann"
    assert part(shown, "AccountType").text == "User"
    assert part(shown, "AllowRestoreAllVms").text == "true"
    assert [link["Rel"] for link in links_of(shown)] == [
        "Alternate", "Down", "Create", "Down", "Create", "Delete", "ToggleRestoreScopesEnabled",
    ]  # fmt: skip
    assert (await client.post(address)).status_code == 204
    shown = parsed(await client.get(f"{address}?format=Entity"))
    assert part(shown, "AllowRestoreAllVms").text == "false"
    listed = json_of(await client.get(f"{address}/roles", headers=JSON))
    [held] = listed["EnterpriseAccountInRoleList"]
    assert held["RoleName"] == "Portal User"
    assert (await client.delete(address)).status_code == 204
    error_message(await client.get(address), 404)
    error_message(await client.delete(address), 404)


async def test_roles_are_given_and_taken(client: httpx.AsyncClient) -> None:
    address = await create(client, specification("Ann", Role.PORTAL_USER))
    body = {"EnterpriseRoleUid": str(ROLE_UIDS[Role.VM_RESTORE_OPERATOR])}
    added = await client.post(f"{address}/roles", json=body)
    again = await client.post(f"{address}/roles", json=body)

    assert added.status_code == again.status_code == 201
    role = parsed(await client.get(added.headers["Location"]))
    assert part(role, "RoleName").text == "VM Restore Operator"
    assert set(role.attrib) == {"Href"}
    names = json_of(await client.get(f"{address}/roles", headers=JSON))
    assert len(names["EnterpriseAccountInRoleList"]) == 2
    assert (await client.delete(added.headers["Location"])).status_code == 204
    names = json_of(await client.get(f"{address}/roles", headers=JSON))
    assert [held["RoleName"] for held in names["EnterpriseAccountInRoleList"]] == ["Portal User"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "AccountType"),
        (specification("admin"), "already"),
        (specification("a:b", Role.PORTAL_USER), "colon"),
        (specification("x") | {"AccountType": "Robot"}, "AccountType"),
        (specification("x") | {"Roles": [{"EnterpriseRoleUid": str(uuid4())}]}, "no role"),
        (
            specification("x", Role.PORTAL_USER, HierarchyScopeObjects=[{"ObjectName": "y"}]),
            "HierarchyObjRef",
        ),
        (
            specification(
                "x", Role.PORTAL_USER, HierarchyScopeObjects=[{"HierarchyObjRef": "urn:x"}]
            ),
            "expected a reference",
        ),
    ],
)
async def test_wrong_account_is_refused_and_not_made(
    client: httpx.AsyncClient, body: dict[str, Any], named: str
) -> None:
    assert named in error_message(await client.post("/api/security/accounts", json=body), 400)
    accounts = json_of(await client.get("/api/security/accounts", headers=JSON))
    assert [account["Name"] for account in accounts["Refs"]] == ["admin"]


async def test_last_administrator_stays(client: httpx.AsyncClient) -> None:
    accounts = json_of(await client.get("/api/security/accounts", headers=JSON))["Refs"]
    own = accounts[0]["Href"]
    [role] = json_of(await client.get(f"{own}/roles", headers=JSON))["EnterpriseAccountInRoleList"]
    # Nobody can log on as these, so they are no administrators that could take over.
    await create(client, specification("no password", Role.PORTAL_ADMINISTRATOR))
    group = specification("group", Role.PORTAL_ADMINISTRATOR) | {"AccountType": "Group"}
    await create(client, group)

    for address in (own, role["Href"]):
        assert "last account" in error_message(await client.delete(address), 403)
    body = {"name": "second", "password": "secret", "roles": ["Portal Administrator"]}
    assert (await client.post("/api/holdfast/v1/accounts", json=body)).status_code == 201
    assert (await client.delete(role["Href"])).status_code == 204
    error_message(await client.get("/api/security"), 401)


async def test_ended_account_is_logged_off(
    manager: EnterpriseManager, client: httpx.AsyncClient
) -> None:
    uid = await manager.accounts.create("Ann", "secret", Role.PORTAL_USER)
    async with client_of(manager) as other:
        await log_on(other, "Ann")
        assert (await other.get("/api/backups")).status_code == 200
        assert (await client.delete(f"/api/security/accounts/{uid}")).status_code == 204
        error_message(await other.get("/api/backups"), 401)
        del other.headers[TOKEN]
        refused = await other.post("/api/sessionMngr/?v=latest", auth=("Ann", "secret"))
        error_message(refused, 401)


async def test_account_and_password_by_our_own_calls(
    manager: EnterpriseManager, client: httpx.AsyncClient
) -> None:
    body = {"name": "Ann", "password": "one", "roles": ["Portal User"]}
    made = await client.post("/api/holdfast/v1/accounts", json=body)
    assert made.status_code == 201
    uid = made.json()["UID"]
    async with client_of(manager) as other:
        await log_on(other, "ann", "one")
        changed = await client.post(
            f"/api/holdfast/v1/accounts/{uid}/password", json={"password": "two"}
        )
        assert changed.status_code == 204
        error_message(await other.get("/api/backups"), 401)
        del other.headers[TOKEN]
        await log_on(other, "ann", "two")
    for wrong in ({}, {"name": ""}, body | {"roles": ["King"]}, body | {"x": 1}, body):
        error_message(await client.post("/api/holdfast/v1/accounts", json=wrong), 400)
    path = f"/api/holdfast/v1/accounts/{uuid4()}/password"
    error_message(await client.post(path, json={"password": "x"}), 404)


async def test_accounts_of_before_are_shown_after_a_start(tmp_path: Path) -> None:
    async with running_manager(tmp_path) as manager:
        await manager.accounts.create("admin", "secret", Role.PORTAL_ADMINISTRATOR)
        await manager.store.write(lambda c: c.execute("DELETE FROM enterprise_account"))
    async with running_manager(tmp_path) as manager, client_of(manager) as client:
        await log_on(client)
        accounts = json_of(await client.get("/api/security/accounts", headers=JSON))
    assert [account["Name"] for account in accounts["Refs"]] == ["admin"]


# Scopes ------------------------------------------------------------------------------------------


def _fill(manager: EnterpriseManager, connection: Any) -> dict[str, UUID]:
    """A backup with a point, a file and a machine's point for each of the machines."""
    uids = {}
    for name, reference in REFERENCES.items():
        related: dict[str, UUID] = {}
        for kind, relation in (
            ("Backup", "backup"),
            ("RestorePoint", "restore_point"),
            ("BackupFile", "backup_file"),
            ("VmRestorePoint", "point"),
            ("BackupTaskSession", ""),
        ):
            resource = manager.schema[kind]
            uid = uuid4()
            own = {r.name: related[r.name] for r in resource.relations if r.name in related}
            values = {"VmRestorePoint": "HierarchyObjRef", "BackupTaskSession": "VmUid"}
            state = RowState(
                uid, name, {values[kind]: reference} if kind in values else {}, relations=own
            )
            put(connection, resource, state)
            related[relation] = uid
            uids[f"{kind} {name}"] = uid
    return uids


LIMITED = ("backups", "restorePoints", "vmRestorePoints", "backupFiles", "backupTaskSessions")


async def _seen(client: httpx.AsyncClient, collection: str) -> set[str]:
    found = json_of(await client.get(f"/api/{collection}", headers=JSON))
    return {item["Name"] for item in found["Refs"]}


@pytest.mark.parametrize(
    ("scopes", "seen"),
    [
        ((), set()),
        ((REFERENCES["db"],), {"db"}),
        ((REFERENCES["db"].upper().replace("URN", "urn"),), {"db"}),
        ((REFERENCES["db"], REFERENCES["far"]), {"db", "far"}),
        ((f"urn:VMware:Vc:{ROOT}.vc",), {"db", "web"}),
        ((f"urn:VMware:Vm:{ROOT}.vm-_",), set()),
        ((f"urn:VMware:Vm:{ROOT}.%",), set()),
        ((f"urn:VMware:Folder:{ROOT}.group-v1",), set()),
        ((f"urn:Hyperv:Scvmm:{ROOT}.x",), set()),
    ],
)
async def test_scope_limits_lists_queries_and_items(
    manager: EnterpriseManager, scopes: tuple[str, ...], seen: set[str]
) -> None:
    uids = await manager.store.write(lambda c: _fill(manager, c))
    roles = (Role.PORTAL_USER, Role.VM_RESTORE_OPERATOR)
    await manager.accounts.add(
        NewAccount("Ann", roles, "secret", allow_restore_all_vms=False, scopes=scopes)
    )
    async with client_of(manager) as client:
        await log_on(client, "Ann")
        for collection in LIMITED:
            kind = collection[0].upper() + collection[1:-1]
            if kind != "BackupTaskSession":  # whose list is of the last days alone
                assert await _seen(client, collection) == seen, collection
            query = f"/api/query?type={kind}&pageSize=1&sortAsc=Name"
            page = parsed(await client.get(query))
            assert len(part(page, "Refs")) == min(len(seen), 1), kind
            assert part(page, "PagingInfo").attrib["PagesCount"] == str(max(len(seen), 1))
            for name in REFERENCES:
                answer = await client.get(f"/api/{collection}/{uids[f'{kind} {name}']}")
                assert answer.status_code == (200 if name in seen else 404), (collection, name)
        for name in REFERENCES:
            path = f"/api/restorePoints/{uids[f'RestorePoint {name}']}/vmRestorePoints"
            assert (await client.get(path)).status_code == (200 if name in seen else 404)


async def test_who_is_limited_starts_no_plan_of_machines_that_nobody_can_tell(
    manager: EnterpriseManager,
) -> None:
    plan = RowState(uuid4(), "Everything", {})
    resource = manager.schema["FailoverPlan"]
    await manager.store.write(lambda c: put(c, resource, plan))
    for name, free in (("Ann", False), ("free", True)):
        account = NewAccount(
            name, (Role.VM_RESTORE_OPERATOR,), "secret", allow_restore_all_vms=free
        )
        await manager.accounts.add(account)
        async with client_of(manager) as client:
            await log_on(client, name)
            assert (
                len(part(parsed(await client.get("/api/query?type=FailoverPlan")), "Refs")) == free
            )
            path = f"/api/failoverPlans/{plan.uid}"
            assert (await client.get(path)).status_code == (200 if free else 404)
            if not free:
                assert (await client.post(f"{path}?action=start")).status_code == 404
            own = (await client.get("/api/holdfast/v1/failoverPlans")).json()
            assert len(own["failover_plans"]) == free


async def test_administrator_and_whoever_may_restore_all_are_not_limited(
    manager: EnterpriseManager,
) -> None:
    await manager.store.write(lambda c: _fill(manager, c))
    await manager.accounts.add(NewAccount("free", (Role.PORTAL_USER,), "secret"))
    roles = (Role.PORTAL_ADMINISTRATOR,)
    await manager.accounts.add(NewAccount("chief", roles, "secret", allow_restore_all_vms=False))
    for name in ("free", "chief"):
        async with client_of(manager) as other:
            await log_on(other, name)
            assert await _seen(other, "vmRestorePoints") == set(REFERENCES)


async def test_scopes_are_added_shown_and_removed(
    manager: EnterpriseManager, client: httpx.AsyncClient
) -> None:
    await manager.store.write(lambda c: _fill(manager, c))
    uid = await manager.accounts.add(
        NewAccount("Ann", (Role.VM_RESTORE_OPERATOR,), "secret", allow_restore_all_vms=False)
    )
    scopes = f"/api/security/accounts/{uid}/scopes"
    item = {"HierarchyObjRef": REFERENCES["web"], "ObjectName": "web server"}
    folder = {"HierarchyObjRef": f"urn:VMware:Folder:{ROOT}.group-v1"}
    async with client_of(manager) as other:
        await log_on(other, "Ann")
        assert await _seen(other, "vmRestorePoints") == set()
        added = await client.post(scopes, json={"HierarchyScopeItems": [item, folder]})
        assert added.status_code == 202
        assert await _seen(other, "vmRestorePoints") == {"web"}
        found = json_of(await client.get(scopes, headers=JSON))
        states = {
            scope["Name"]: (scope["HierarchyObjectType"], scope["Platform"], scope["State"])
            for scope in found["EnterpriseAccountHierarchyScopes"]
        }
        assert states == {
            "web server": ("Vm", "VMware", "Processed"),
            "group-v1": ("Folder", "VMware", "Unprocessed"),
        }
        assert (await client.delete(added.headers["Location"])).status_code == 204
        assert await _seen(other, "vmRestorePoints") == set()
    wrong = {"HierarchyScopeItems": [item, {"HierarchyObjRef": "nonsense"}]}
    error_message(await client.post(scopes, json=wrong), 400)
    left = json_of(await client.get(scopes, headers=JSON))["EnterpriseAccountHierarchyScopes"]
    assert len(left) == 1


async def test_rebuilding_scopes_is_a_task(client: httpx.AsyncClient) -> None:
    body = "<RebuildScopeJobSpec><RebuildUnprocessed /></RebuildScopeJobSpec>"
    path = "/api/security/accounts?action=rebuildScope"
    started = await client.post(path, content=body, headers={"Content-Type": "text/xml"})

    assert started.status_code == 201
    task = parsed(started)
    assert part(task, "Operation").text == "StartRebuildScope"
    while part(task, "State").text != "Finished":
        task = parsed(await client.get(task.attrib["Href"]))
    assert part(task, "Result").attrib["Success"] == "true"
    error_message(await client.post("/api/security/accounts?action=other"), 400)


# An outside program ------------------------------------------------------------------------------

PROGRAM = """#!{python}
import os, sys
name, password = sys.stdin.read().splitlines()
assert len(sys.argv) == 1 and set(os.environ) <= {{"PATH", "LC_CTYPE"}}
sys.exit(0 if (name, password) == ("DOMAIN\\\\ann", "pä ß") else 1)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that knows one name and password."""
    path = tmp_path / "check"
    path.write_text(PROGRAM.format(python=sys.executable), "utf-8")
    path.chmod(0o700)
    return path


async def test_outside_program_decides_for_accounts_without_a_password(
    tmp_path: Path, program: Path
) -> None:
    manager = EnterpriseManager(tmp_path / "data", logon_program=program)
    await manager.start()
    try:
        accounts = manager.accounts
        await accounts.create("admin", "secret", Role.PORTAL_ADMINISTRATOR)
        ann = NewAccount("DOMAIN\\ann", (Role.PORTAL_USER,), kind="ExternalUser")
        await accounts.add(ann)
        await accounts.add(NewAccount("group", (Role.PORTAL_USER,), kind="ExternalGroup"))
        known = await accounts.authenticate("domain\\ANN", "pä ß", "here")
        assert known.name == "DOMAIN\\ann"
        assert (await accounts.authenticate("admin", "secret", "here")).name == "admin"
        for name, password in (
            ("DOMAIN\\ann", "other"),
            ("DOMAIN\\ann", ""),
            ("stranger", "pä ß"),
            ("group", ""),
        ):
            with pytest.raises(LogonRefused):
                await accounts.authenticate(name, password, f"from {name}{password}")
    finally:
        await manager.stop()


async def test_whose_name_differs_in_case_alone_is_somebody_else_to_the_program(
    tmp_path: Path, program: Path
) -> None:
    manager = EnterpriseManager(tmp_path / "data", logon_program=program)
    await manager.start()
    try:
        # The program's DOMAIN\\ann proves only DOMAIN\\ann.
        admin = NewAccount("domain\\ANN", (Role.PORTAL_ADMINISTRATOR,), kind="ExternalUser")
        await manager.accounts.add(admin)
        with pytest.raises(LogonRefused):
            await manager.accounts.authenticate("DOMAIN\\ann", "pä ß", "here")
    finally:
        await manager.stop()


async def test_without_a_program_an_account_without_a_password_cannot_log_on(
    manager: EnterpriseManager,
) -> None:
    await manager.accounts.add(NewAccount("Ann", (Role.PORTAL_USER,), kind="ExternalUser"))
    for password in ("", "secret"):
        with pytest.raises(LogonRefused):
            await manager.accounts.authenticate("Ann", password, "here")


@pytest.mark.parametrize("text", ["#!/bin/sh\nsleep 60", "#!/bin/sh\nkill -9 $$", "no program"])
async def test_program_that_gives_no_answer_means_no(tmp_path: Path, text: str) -> None:
    path = tmp_path / "check"
    path.write_text(text)
    path.chmod(0o700)

    assert not await OutsideProgram(path, limit=0.3).accepts("ann", "secret")
    assert not await OutsideProgram(tmp_path / "missing").accepts("ann", "secret")


async def test_line_breaks_never_reach_the_program(program: Path) -> None:
    check = OutsideProgram(program)

    assert await check.accepts("DOMAIN\\ann", "pä ß")
    assert not await check.accepts("DOMAIN\\ann\npä ß", "")
    assert not await check.accepts("DOMAIN\\ann", "pä ß\nmore")
