"""Hosts of virtual machines over the API, as far as the backup server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.server.backup_server import BackupServer
from server.toy_platform import ToyPlatform
from support.documents import error_message, json_of
from support.managers import JSON, add_administrator, client_of, log_on, running_manager

HOSTS = "/api/holdfast/v1/hosts"
JOBS = "/api/holdfast/v1/jobs"
HERE = "qemu:///system"


@dataclass
class House:
    """A manager, its backup server and a client that is logged on."""

    manager: EnterpriseManager
    server: BackupServer
    platform: ToyPlatform
    client: httpx.AsyncClient
    repository: str

    async def get(self, path: str) -> Any:
        return json_of(await self.client.get(path, headers=JSON))

    async def task(self, answer: httpx.Response) -> dict[str, Any]:
        """Given the answer to a call, return its task when that is finished."""
        assert answer.status_code == 202, answer.text
        async with asyncio.timeout(60):
            while True:
                task: dict[str, Any] = await self.get(answer.headers["Location"])
                if task["State"] == "Finished":
                    return task
                await asyncio.sleep(0.01)

    async def done(self, answer: httpx.Response) -> None:
        task = await self.task(answer)
        assert task["Result"]["Success"], task

    async def add(self, **body: Any) -> dict[str, Any]:
        await self.done(await self.client.post(HOSTS, json=body, headers=JSON))
        found = (await self.get(HOSTS))["hosts"]
        assert len(found) == 1
        host: dict[str, Any] = found[0]
        return host

    async def lookup(self, query: str) -> list[str]:
        found = await self.get(f"/api/lookup?{query}")
        return [item["ObjectName"] for item in found["HierarchyItems"]]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    platform = ToyPlatform()
    server = BackupServer(tmp_path / "server", "backup01", platform=platform)
    await server.start()
    try:
        async with running_manager(tmp_path / "manager", from_schema=True) as manager:
            await add_administrator(manager)
            await manager.connect("http://server", server.token, httpx.ASGITransport(server.app))
            repository = await server.add_repository("Main", tmp_path / "repository")
            await manager.collected()
            async with client_of(manager) as client:
                await log_on(client)
                yield House(manager, server, platform, client, str(repository))
    finally:
        await server.stop()


async def test_a_host_is_added_read_changed_and_removed(house: House) -> None:
    toy = house.platform.add(HERE, "kvm1")
    machine = toy.add("web", "gold")
    host = await house.add(uri=HERE, description="First")
    assert host["name"] == "kvm1"
    assert (host["state"], host["reason"], host["acceleration"]) == ("Available", "", "tcg")
    one = f"{HOSTS}/{host['uid']}"
    document = await house.get(one)
    names = {item["name"]: item["reference"] for item in document.pop("objects")}
    assert document == host
    assert names["web"].endswith(f".{machine}")
    assert await house.lookup(f"host={host['uid']}&name=*&type=Vm") == ["web"]
    assert await house.lookup(f"hierarchyRef={names['web']}") == ["web"]
    managed = await house.get(f"/api/managedServers/{host['uid']}?format=Entity")
    assert managed["ManagedServerType"] == "Linux"
    assert "Uri" not in managed
    toy.add("new")
    await house.done(await house.client.post(f"{one}/rescan", headers=JSON))
    assert await house.lookup(f"host={host['uid']}&name=*&type=Vm") == ["new", "web"]
    await house.done(await house.client.put(one, json={"name": "Berlin"}, headers=JSON))
    assert (await house.get(one))["name"] == "Berlin"
    await house.done(await house.client.delete(one, headers=JSON))
    assert (await house.get(HOSTS))["hosts"] == []
    assert (await house.client.get(one, headers=JSON)).status_code == 404


async def test_a_job_is_made_over_a_host_less_a_machine(house: House) -> None:
    toy = house.platform.add(HERE, "kvm1")
    machine = toy.add("scratch")
    host = await house.add(uri=HERE)
    excluded = f"urn:Libvirt:Vm:{host['uid']}.{machine}"
    body = {
        "name": "Nightly",
        "repository": house.repository,
        "objects": [{"reference": host["reference"]}],
        "excludes": [{"reference": excluded}],
    }
    await house.done(await house.client.post(JOBS, json=body, headers=JSON))
    [job] = (await house.get(JOBS))["jobs"]
    assert [each["reference"] for each in job["objects"]] == [host["reference"]]
    assert [each["name"] for each in job["excludes"]] == ["scratch"]
    other = f"urn:Libvirt:Tag:{host['uid']}.gold"
    include = {"HierarchyObjRef": other, "HierarchyObjName": "gold"}
    path = f"/api/jobs/{job['uid']}/includes"
    await house.done(await house.client.post(path, json=include, headers=JSON))
    document = await house.get(f"/api/jobs/{job['uid']}?format=Entity")
    includes = document["JobInfo"]["BackupJobInfo"]["Includes"]["ObjectInJobs"]
    assert [each["HierarchyObjRef"] for each in includes] == [host["reference"], other]
    document["JobInfo"]["BackupJobInfo"]["Includes"]["ObjectInJobs"] = includes[1:]
    await house.done(await house.client.put(f"/api/jobs/{job['uid']}", json=document, headers=JSON))
    [job] = (await house.get(JOBS))["jobs"]
    assert [each["reference"] for each in job["objects"]] == [other]
    assert [each["name"] for each in job["excludes"]] == ["scratch"]
    task = await house.task(await house.client.delete(f"{HOSTS}/{host['uid']}", headers=JSON))
    assert "Nightly" in task["Result"]["Message"]


async def test_a_host_that_does_not_answer_is_the_reason_in_the_task(house: House) -> None:
    answer = await house.client.post(HOSTS, json={"uri": HERE}, headers=JSON)
    task = await house.task(answer)
    assert not task["Result"]["Success"]
    assert "no route to the host" in task["Result"]["Message"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "uri: expected text; it is missing"),
        ({"uri": "esx://host"}, "uri: "),
        ({"uri": "qemu+ssh://host/system?command=sh"}, "uri: "),
        ({"uri": HERE, "credentials": "x"}, "credentials: "),
        ({"uri": HERE, "server": str(uuid4())}, "server: "),
        ({"uri": HERE, "colour": "red"}, "colour: there is no such field; expected one of uri, "),
        ({"uri": 1}, "uri: "),
        ([], "The body: "),
    ],
)
async def test_what_cannot_be_a_host_is_refused_by_its_field(
    house: House, body: Any, reason: str
) -> None:
    answer = await house.client.post(HOSTS, json=body, headers=JSON)
    assert reason in error_message(answer, 400)
