"""Credentials and passwords on a backup server, and what is found in its hierarchy."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from lxml import etree

from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.roles import Role
from holdfast.server.backup_server import BackupServer
from holdfast.server.messages import Command
from support.documents import error_message
from support.managers import (
    FORMATS,
    JSON,
    XML,
    add_administrator,
    client_of,
    log_on,
    running_manager,
)

SECRET = "open sesame"
NAMESPACE = "http://www.veeam.com/ent/v1.0"


class House:
    """A manager, a backup server and an administrator's client."""

    def __init__(
        self,
        folder: Path,
        manager: EnterpriseManager,
        server: BackupServer,
        client: httpx.AsyncClient,
        uid: UUID,
    ) -> None:
        self.folder = folder
        self.manager = manager
        self.server = server
        self.client = client
        self.uid = uid

    async def get(self, path: str) -> Any:
        answer = await self.client.get(f"/api{path}", headers=JSON)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def below(self, path: str) -> Any:
        return await self.get(f"/backupServers/{self.uid}/{path}")

    async def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.client.request(method, f"/api/backupServers/{self.uid}/{path}", **more)

    async def add_job(self, name: str, *files: str) -> UUID:
        """Make a job over disk images."""
        repository = await self.server.add_repository("Main", self.folder / "repository")
        sources = [{"path": str(self.folder / file)} for file in files]
        arguments = {"name": name, "sources": sources, "repository": str(repository)}
        command = Command(
            request_id=UUID(int=len(name)), operation="create-job", arguments=arguments
        )
        outcome = await self.server.execute(command)
        assert outcome.made is not None, outcome.message
        await self.manager.collected()
        return outcome.made.uid


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    server = BackupServer(tmp_path / "server", "srv01")
    await server.start()
    try:
        async with running_manager(tmp_path / "manager") as manager:
            await add_administrator(manager)
            line = httpx.ASGITransport(app=server.app)
            uid = await manager.connect("http://backup-server.local", server.token, line)
            await manager.collected()
            async with client_of(manager) as client:
                await log_on(client)
                yield House(tmp_path, manager, server, client, uid)
    finally:
        await server.stop()


def xml_of(root: str, **values: str) -> bytes:
    children = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    return f'<{root} xmlns="{NAMESPACE}">{children}</{root}>'.encode()


async def test_credentials_are_made_read_changed_and_deleted(house: House) -> None:
    made = await house.send(
        "POST",
        "credentials?action=create",
        content=xml_of("CredentialsInfoSpec", Username="root", Description="d", Password=SECRET),
        headers={"Content-Type": "text/xml"},
    )
    assert (made.status_code, made.content) == (201, b""), made.text
    item = made.headers["Location"].partition("/api")[2]
    shown = await house.get(item)
    uid = shown["Id"]
    assert {name: shown[name] for name in ("Username", "Description", "Password", "Type")} == {
        "Username": "root",
        "Description": "d",
        "Password": None,
        "Type": "Credentials",
    }
    assert [link["Rel"] for link in shown["Links"]] == ["Up", "Edit", "Delete"]
    document = (await house.client.get(f"/api{item}", headers=XML)).content
    assert [etree.QName(child).localname for child in etree.fromstring(document)] == [
        *("Links", "Id", "Username", "Description"),
    ]

    # The document as it was read, with one value changed.
    changed = await house.send(
        "PUT",
        f"credentials/{uid}",
        content=document.replace(b">root<", b">admin<"),
        headers={"Content-Type": "application/xml"},
    )
    assert (changed.status_code, changed.content) == (204, b""), changed.text
    listed = (await house.below("credentials"))["CredentialsInfoList"]
    assert [(one["Id"], one["Username"]) for one in listed] == [(uid, "admin")]
    query = await house.get("/query?type=Credentials&filter=Username==ADMIN")
    assert [one["Id"] for one in query["Resources"]["CredentialsList"]["CredentialsList"]] == [uid]
    account = await house.server._store.read(lambda c: house.server.secrets.account(c, UUID(uid)))
    assert (account.username, account.password) == ("admin", SECRET)

    deleted = await house.send("DELETE", f"credentials/{uid}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await house.client.get(f"/api{item}")).status_code == 404
    assert (await house.send("DELETE", f"credentials/{uid}")).status_code == 404


async def test_passwords_are_made_read_changed_and_deleted(house: House) -> None:
    made = await house.send("POST", "passwords", json={"Hint": "h", "Password": SECRET})
    assert (made.status_code, made.content) == (202, b""), made.text
    item = made.headers["Location"].partition("/api")[2]
    shown = await house.get(item)
    assert shown["Hint"] == "h"
    assert shown["Type"] == "PasswordKey"
    assert "Password" not in shown
    path = f"passwords/{shown['Id']}"
    assert (await house.send("PUT", path, json={"hint": "new"})).status_code == 204
    found = (await house.below("passwords"))["PasswordKeyInfoList"]
    assert [one["Hint"] for one in found] == ["new"]
    kept = await house.server._store.read(
        lambda c: house.server.secrets.password(c, UUID(shown["Id"]))
    )
    assert kept == SECRET
    assert (await house.send("DELETE", path)).status_code == 204
    assert (await house.below("passwords"))["PasswordKeyInfoList"] == []


async def test_secrets_lie_nowhere_in_the_clear(house: House) -> None:
    body = {"Username": "u", "Password": SECRET}
    assert (await house.send("POST", "credentials", json=body)).status_code == 201
    assert (await house.send("POST", "passwords", json={"Password": SECRET})).status_code == 202
    files = [path for path in house.folder.rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    key = house.folder / "server" / "keys" / "secrets.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("form", FORMATS)
async def test_what_is_wrong_with_a_secret_is_said(house: House, form: str) -> None:
    cases = (
        ("POST", "credentials", {"Description": "d"}, 400, "user name"),
        ("POST", "credentials?action=delete", {"Username": "u"}, 400, "expected create"),
        ("POST", "credentials", {"Username": "u" * 513}, 400, "512"),
        ("POST", "credentials", {"Name": "u"}, 400, "Name is not expected"),
        ("POST", "passwords", {"Hint": "h"}, 400, "Password: expected a password"),
        ("PUT", f"credentials/{UUID(int=1)}", {"Username": "u"}, 404, "Credentials"),
        ("DELETE", f"passwords/{UUID(int=1)}", None, 404, "Passwords"),
        ("DELETE", "passwords/1", None, 404, "Passwords"),
    )
    for method, path, body, status, words in cases:
        answer = await house.send(method, path, json=body, headers=FORMATS[form])
        assert answer.status_code == status, (path, answer.text)
        assert words in error_message(answer, status)
    other = await house.client.post(f"/api/backupServers/{UUID(int=1)}/credentials", json={})
    assert other.status_code == 404


async def test_only_administrators_change_secrets_and_servers(house: House) -> None:
    await house.manager.accounts.create("user", "secret", Role.PORTAL_USER)
    await house.manager.accounts.create("operator", "secret", Role.VM_RESTORE_OPERATOR)
    async with client_of(house.manager) as client:
        await log_on(client, "user", "secret")
        base = f"/api/backupServers/{house.uid}"
        for method, path in (
            ("POST", "/api/backupServers?action=create"),
            ("PUT", base),
            ("DELETE", base),
            ("POST", f"{base}/credentials"),
            ("PUT", f"{base}/credentials/{UUID(int=1)}"),
            ("DELETE", f"{base}/passwords/{UUID(int=1)}"),
        ):
            assert (await client.request(method, path, json={})).status_code == 403, path
        assert (await client.get("/api/lookupSvc")).status_code == 200
        await log_on(client, "operator", "secret")
        assert (await client.get("/api/lookupSvc")).status_code == 403
        assert (await client.get("/api/lookup?host=x")).status_code == 403


async def test_local_server_is_neither_changed_nor_removed(house: House) -> None:
    for method in ("PUT", "DELETE"):
        answer = await house.client.request(method, f"/api/backupServers/{house.uid}", json={})
        assert "part of this installation" in error_message(answer, 400)


async def looked_up(house: House, **parameters: str) -> list[str]:
    answer = await house.client.get("/api/lookup", params=parameters, headers=JSON)
    assert answer.status_code == 200, answer.text
    return [item["ObjectName"] for item in answer.json()["HierarchyItems"]]


async def test_machines_are_looked_up_by_name_and_by_reference(house: House) -> None:
    job = await house.add_job("first", "web1.raw", "web2.raw", "db.qcow2")
    service = await house.get("/lookupSvc")
    assert service["Type"] == "LookupService"
    up, *links = service["Links"]
    assert up["Rel"] == "Up"
    (link,) = links
    assert link["Type"] == "HierarchyItemList"
    assert "name=*&type=Vm" in link["Href"]
    found = (await house.client.get(link["Href"], headers=JSON)).json()["HierarchyItems"]
    assert [item["ObjectName"] for item in found] == ["db", "web1", "web2"]
    assert found[0]["ObjectType"] == "Vm"
    assert found[0]["Type"] == "HierarchyItem"
    (root,) = (await house.get("/hierarchyRoots?format=Entity"))["HierarchyRoots"]
    host, reference = root["UID"], found[0]["ObjectRef"]
    assert reference.startswith(f"urn:Qemu:Vm:{root['HierarchyRootId']}.")
    assert await looked_up(house, hierarchyRef=reference.upper()) == ["db"]
    assert await looked_up(house, host=host, name="WEB*", type="VM") == ["web1", "web2"]
    assert await looked_up(house, host=host, name="web1") == ["web1"]
    assert await looked_up(house, host=host, name="web", type="Vm") == []
    assert await looked_up(house, host=host, name="%", type="Vm") == []
    assert await looked_up(house, host=str(UUID(int=1)), name="*", type="Vm") == []
    assert await looked_up(house, hierarchyRef="urn:Qemu:Vm:none") == []
    assert len(await looked_up(house, host=host, type="Host")) == 1
    for query, words in (("", "hierarchyRef"), ("host=nonsense", "Parameter host")):
        answer = await house.client.get(f"/api/lookup?{query}")
        assert words in error_message(answer, 400)

    answer = await house.client.get("/api/lookup", params={"hierarchyRef": reference}, headers=XML)
    document = etree.fromstring(answer.content)
    assert etree.QName(document).localname == "HierarchyItems"
    (item,) = document
    assert dict(item.attrib) == {"Type": "HierarchyItem"}
    assert [(etree.QName(child).localname, child.text) for child in item] == [
        ("ObjectRef", reference),
        ("ObjectType", "Vm"),
        ("ObjectName", "db"),
    ]

    # Known as long as a job has them.
    await house.add_job("the second", "db.qcow2")
    command = Command(request_id=UUID(int=99), operation="delete-job", target=job)
    assert (await house.server.execute(command)).success
    await house.manager.collected()
    assert await looked_up(house, host=host, type="Vm") == ["db"]


async def test_host_and_root_lead_to_each_other(house: House) -> None:
    (root,) = (await house.get("/hierarchyRoots?format=Entity"))["HierarchyRoots"]
    related = [link for link in root["Links"] if link["Rel"] == "Related"]
    host = (await house.client.get(related[0]["Href"], headers=JSON)).json()
    back = [link for link in host["Links"] if link["Rel"] == "Related"]
    assert back[0]["Href"] == root["Href"]
    assert root["Name"] == host["Name"]
