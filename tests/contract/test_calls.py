"""Every documented call has its place: it is carried out, or it says that it is not built yet."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from contract.all_calls import DOCUMENTED, QUERIES, Addresses, Documented, product_call
from holdfast.api import unbuilt
from holdfast.api.app import create_app
from holdfast.manager.account import NewAccount
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.calls import Calls, all_calls, read_area
from holdfast.schema.core import CORE
from holdfast.schema.resources.security import ROLE_UIDS
from holdfast.schema.roles import Role
from schema.generated_rows import fill, row_of
from support.crawler import read_document
from support.documents import error_message
from support.fake_backup_server import FakeBackupServer, served_over_tls
from support.managers import ADMINISTRATOR, FORMATS, administrator_client, log_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

README = Path(__file__).parents[2] / "README.md"
_ROLE = f"urn:veeam:EnterpriseRole:{ROLE_UIDS[Role.PORTAL_USER]}"
_SCOPE_ITEM = (
    "<HierarchyScopeItem><HierarchyObjRef>urn:VMware:Vm:7a1b2c3d-1111-4111-8111-111111111111.vm-1"
    "</HierarchyObjRef></HierarchyScopeItem>"
)
_VM_REF = "<VmRef>urn:VMware:Vm:7a1b2c3d-1111-4111-8111-111111111111.vm-1</VmRef>"
_PASSWORD = (
    "<PasswordKeyInfoSpec><Hint>a hint</Hint><Password>secret</Password></PasswordKeyInfoSpec>"
)
BODIES = {
    "PUT /backupServers/{id}": (
        "<BackupServerSpec><Description>Described anew</Description></BackupServerSpec>"
    ),
    "POST /backupServers/{id}/credentials?action=create": (
        "<CredentialsInfoSpec><Username>root</Username><Password>secret</Password>"
        "</CredentialsInfoSpec>"
    ),
    "PUT /backupServers/{id}/credentials/{item}": (
        "<CredentialsInfo><Username>admin</Username></CredentialsInfo>"
    ),
    "POST /backupServers/{id}/passwords?action=create": _PASSWORD,
    "PUT /backupServers/{id}/passwords/{item}": _PASSWORD,
    "POST /backupServers/{id}?action=quickbackup": (
        f"<QuickBackupStartupSpec>{_VM_REF}</QuickBackupStartupSpec>"
    ),
    "POST /backupServers/{id}?action=veeamzip": (
        f"<VeeamZipStartupSpec>{_VM_REF}<RepositoryUid>"
        f"urn:veeam:Repository:{row_of(CORE['Repository']).uid}"
        "</RepositoryUid><CompressionLevel>5</CompressionLevel>"
        "<BackupRetention>Never</BackupRetention></VeeamZipStartupSpec>"
    ),
    "PUT /jobs/{id}?action=edit": "<Job Name='Another name'/>",
    "POST /failoverPlans/{id}?action=start": (
        "<FailoverPlanManagementSpec><StartNow>true</StartNow></FailoverPlanManagementSpec>"
    ),
    "PUT /failoverPlans/{id}": "<FailoverPlan><Description>New</Description></FailoverPlan>",
    "POST /jobs/{id}/includes": (
        "<CreateObjectInJobSpec><HierarchyObjRef>"
        "urn:VMware:Vm:7a1b2c3d-1111-4111-8111-111111111111.vm-1"
        "</HierarchyObjRef></CreateObjectInJobSpec>"
    ),
    "POST /jobs/{id}/linkedJobs": (
        "<LinkedJobObject><LinkedJobUid>"
        f"urn:veeam:Job:{row_of(CORE['Job']).uid}</LinkedJobUid></LinkedJobObject>"
    ),
    "POST /jobs/{id}/linkedBackupRepositories": (
        "<LinkedBackupRepository><LinkedBackupRepositoryUid>"
        f"urn:veeam:Repository:{row_of(CORE['Repository']).uid}"
        "</LinkedBackupRepositoryUid></LinkedBackupRepository>"
    ),
    "POST /vmRestorePoints/{id}/mounts/{item}/{path}?action=restore": (
        "<FileRestoreSpec><ForDirectDownload/></FileRestoreSpec>"
    ),
    "POST /vmReplicaPoints/{id}/mounts/{item}/{path}?action=restore": (
        "<FileRestoreSpec><ForDirectDownload/></FileRestoreSpec>"
    ),
    "POST /security/accounts": (
        "<EnterpriseAccountCreateSpec><AccountType>User</AccountType>"
        "<AccountName>someone</AccountName><Roles><EnterpriseRole><EnterpriseRoleUid>"
        f"{_ROLE}</EnterpriseRoleUid></EnterpriseRole></Roles>"
        "<AllowRestoreAllVms>true</AllowRestoreAllVms></EnterpriseAccountCreateSpec>"
    ),
    "POST /security/accounts/{id}/roles": (
        "<EnterpriseAccountInRoleCreateSpec><EnterpriseRoleUid>"
        f"{_ROLE}</EnterpriseRoleUid></EnterpriseAccountInRoleCreateSpec>"
    ),
    "POST /security/accounts/{id}/scopes": (
        f"<HierarchyScopeCreateSpec>{_SCOPE_ITEM}</HierarchyScopeCreateSpec>"
    ),
}


@dataclass
class Running:
    """A manager, a client that is logged on to it, and bodies for its calls by their names."""

    manager: EnterpriseManager
    client: httpx.AsyncClient
    bodies: dict[str, str]


@asynccontextmanager
async def everything(directory: Path) -> AsyncIterator[Running]:
    """A manager with a row of every type, and a client that is logged on to it.

    Its backup server carries out everything, and so does a second one, yet to be connected.
    """
    server = FakeBackupServer(row_of(CORE["BackupServer"]).uid, "BackupServer 1")
    second = FakeBackupServer(UUID(int=2), "the second")
    async with (
        served_over_tls(server, directory / "tls") as details,
        served_over_tls(second, directory / "tls") as further,
        administrator_client(directory / "data") as (manager, client),
    ):
        await manager.store.write(fill)
        await manager.servers.add(details)
        connect = (
            "<BackupServerSpec><DnsNameOrIpAddress>127.0.0.1</DnsNameOrIpAddress>"
            f"<Port>{further.port}</Port><Password>a-token</Password>"
            f"<VbrCertificateThumbprint>{further.fingerprint}</VbrCertificateThumbprint>"
            "</BackupServerSpec>"
        )
        # Of accounts only real ones can be changed; the first by name is the one that is taken.
        await manager.store.write(_without_generated_accounts)
        new = NewAccount(
            "a user",
            (Role.PORTAL_USER, Role.VM_RESTORE_OPERATOR),
            scopes=("urn:VMware:Vc:7a1b2c3d-1111-4111-8111-111111111111.vc",),
        )
        await manager.accounts.add(new)
        bodies = {**BODIES, "POST /backupServers?action=create": connect}
        yield Running(manager, client, bodies)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A manager with everything, for tests that change nothing of it."""
    async with everything(tmp_path_factory.mktemp("manager")) as running:
        yield running


def _without_generated_accounts(connection) -> None:
    for name in (
        "EnterpriseAccount",
        "EnterpriseAccountInRole",
        "EnterpriseAccountHierarchyScope",
        "EnterpriseRole",
    ):
        resource = CORE[name]
        uid = row_of(resource).uid.bytes
        connection.execute(f"DELETE FROM {resource.table} WHERE uid = ?", (uid,))  # noqa: S608


async def test_table_is_that_of_the_documentation() -> None:
    assert len(DOCUMENTED) == len(all_calls()) == 370
    lines = [product_call(documented) for documented in DOCUMENTED]
    assert lines == list(all_calls())
    assert len({line.name for line in lines}) == 370
    for documented, line in zip(DOCUMENTED, lines, strict=True):
        assert line.path == documented.address.partition("?")[0]
        assert line.roles == documented.roles, documented.name


@pytest.mark.parametrize("form", FORMATS)
async def test_every_call_is_carried_out_or_says_that_it_is_not_built(
    tmp_path: Path, form: str
) -> None:
    async with everything(tmp_path) as running:
        await _make_every_call(running, form)


async def _make_every_call(running: Running, form: str) -> None:
    client = running.client
    addresses = Addresses(client)
    live, refused, absent, wrong = [], [], [], []
    for documented in sorted(DOCUMENTED, key=_turn):
        path, exists = await addresses.of(documented.address)
        path += QUERIES.get(documented.name, "")
        body = running.bodies.get(documented.name)
        answer = await _ask(client, documented, path, body, form)
        if product_call(documented).built:
            live.append(documented.name)
            root = _root(answer, documented.root)
            given = (exists, answer.status_code, root)
            if answer.status_code >= 400:
                print(documented.name, path, answer.text)
            if given != (True, documented.status, documented.root):
                wrong.append((documented.name, given))
            if documented.name == "DELETE /logonSessions/{id}":
                await log_on(client, *ADMINISTRATOR)
        elif exists:
            refused.append(documented.name)
            assert documented.address.split("?")[0].split("/{")[0] in error_message(answer, 501)
        else:
            # What such a call is about is not built either, so there is none.
            absent.append(documented.name)
            assert "Cannot find [1] in " in error_message(answer, 404)
        assert "There is nothing at" not in answer.text, documented.name

    assert not wrong, "\n".join(map(str, wrong))
    unbuilt_calls = len(refused) + len(absent)
    print(f"{len(live)} calls are carried out, {unbuilt_calls} are not built yet.")
    assert len(live) == sum(call.built for call in all_calls())
    assert len(live) + unbuilt_calls == 370


def _turn(documented: Documented) -> tuple[bool, int, bool]:
    """What is deleted comes last, the innermost first, then the server and the logon session."""
    deletes = documented.method == "DELETE"
    depth = documented.address.count("/") if deletes else 0
    return deletes, -depth, documented.address in ("/backupServers/{id}", "/logonSessions/{id}")


def _root(answer: httpx.Response, documented: str) -> str:
    """Given an answer, return the root of its document; ``-`` when it has none.

    JSON does not always tell its root: then it is what is documented.
    """
    if not answer.content or "octet-stream" in answer.headers.get("Content-Type", ""):
        return "-"
    return read_document(answer).root or documented


async def _ask(
    client: httpx.AsyncClient, documented: Documented, path: str, body: str | None, form: str
) -> httpx.Response:
    headers = {**FORMATS[form], "Content-Type": "application/xml"}
    if documented.name == "POST /sessionMngr":
        async with httpx.AsyncClient(
            transport=client._transport, base_url=client.base_url
        ) as stranger:
            return await stranger.post(f"/api{path}", auth=ADMINISTRATOR, headers=headers)
    return await client.request(documented.method, f"/api{path}", headers=headers, content=body)


async def test_readme_tells_how_many_calls_are_carried_out() -> None:
    live = sum(call.built for call in all_calls())
    told = re.search(r"(\d+) of the (\d+) documented\s+calls", README.read_text("utf-8"))

    assert told is not None
    assert told.groups() == (str(live), str(len(all_calls())))


async def test_unknown_item_of_an_unbuilt_call_is_not_found(
    running: Running,
) -> None:
    nobody = "5cc81d1c-79e9-4b12-a4e9-1a7a10abe55b"
    for documented in DOCUMENTED:
        if "{id}" in documented.address and not product_call(documented).built:
            path = documented.address.replace("{id}", nobody).replace("{item}", nobody)
            answer = await running.client.request(documented.method, f"/api{path}")
            assert nobody in error_message(answer, 404), documented.name


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("GET /noSuchThing administrator", "GET /noSuchThing: built by the table, but"),
        ("GET /jobs administrator unbuilt", "GET /jobs: unbuilt by the table, but there is a"),
        (
            "POST /jobs/{id}?action=clone administrator unbuilt\n"
            "POST /jobs/{id}?action=start administrator",
            "POST /jobs/{id}?action=clone: unbuilt by the table, but Job declares it",
        ),
    ],
)
async def test_api_does_not_start_when_the_table_is_wrong(
    running: Running, lines: str, fault: str
) -> None:
    wrong = Calls(read_area("test", lines))
    with (
        mock.patch.object(unbuilt, "all_calls", return_value=wrong),
        pytest.raises(unbuilt.WrongCalls, match=re.escape(fault)),
    ):
        create_app(running.manager)


@pytest.mark.parametrize(
    "line", ["FETCH /jobs users", "GET jobs users", "GET /jobs nobody", "GET /jobs users later"]
)
async def test_line_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        read_area("test", line)
