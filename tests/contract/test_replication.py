"""Replication over the API: a job between two real libvirt daemons, and what is answered of it.

The query is the documented example of the query for ReplicaTaskSession, its machine and all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import httpx
import libvirt
import pytest

from contract.test_hosts import HOSTS, JOBS, House
from engine.vm.lab import Guest, Host, libvirt_daemon
from holdfast.server.backup_server import BackupServer
from server.test_replication import QuickPlatform
from support.managers import JSON, XML, add_administrator, client_of, log_on, running_manager

pytestmark = pytest.mark.vm

_NAMESPACE = "{http://www.veeam.com/ent/v1.0}"
QUERY = (
    "/api/query?type=ReplicaTaskSession&format=Entities&sortDesc=CreationTime"
    "&filter=Result==Success;VmDisplayName==apache02"
)


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    with libvirt_daemon() as source, libvirt_daemon() as target:
        yield source, target


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    platform = QuickPlatform()
    server = BackupServer(tmp_path / "server", "backup01", platform=platform)
    await server.start()
    try:
        async with running_manager(tmp_path / "manager", from_schema=True) as manager:
            await add_administrator(manager)
            await manager.connect("http://server", server.token, httpx.ASGITransport(server.app))
            await manager.collected()
            async with client_of(manager) as client:
                await log_on(client)
                yield House(manager, server, platform, client, "")
    finally:
        await server.stop()


async def add_hosts(house: House, hosts: tuple[Host, Host]) -> list[dict[str, str]]:
    for name, host in zip(("main", "elsewhere"), hosts, strict=True):
        body = {"uri": host.uri, "name": name}
        await house.done(await house.client.post(HOSTS, json=body, headers=JSON))
    found = {host["name"]: host for host in (await house.get(HOSTS))["hosts"]}
    return [found["main"], found["elsewhere"]]


async def run(house: House, job: str) -> None:
    await house.done(await house.client.post(f"/api/jobs/{job}?action=start", headers=JSON))
    await house.server.wait_until_idle()
    await house.manager.collected()


async def element(house: House, path: str) -> ElementTree.Element:
    answer = await house.client.get(path, headers=XML)
    assert answer.status_code == 200, answer.text
    return ElementTree.fromstring(answer.text)  # noqa: S314 - our own


def names(found: ElementTree.Element) -> list[str]:
    return [child.tag.removeprefix(_NAMESPACE) for child in found]


def links(found: ElementTree.Element) -> list[tuple[str, str | None]]:
    return [
        (link.attrib["Rel"], link.get("Type")) for link in found.find(f"{_NAMESPACE}Links") or ()
    ]


async def test_the_documented_query_is_answered_from_replication_that_ran(
    house: House, hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    source, target = await add_hosts(house, hosts)
    with libvirt.open(hosts[0].uri) as connection:
        guest = Guest(hosts[0], "apache02", tmp_path, connection)
        guest.add_disk("vda")
        guest.define()
        guest.start()
        other = Guest(hosts[0], "mail01", tmp_path, connection)
        other.add_disk("vda")
        other.define()
        await house.done(await house.client.post(f"{HOSTS}/{source['uid']}/rescan", headers=JSON))
        body = {
            "name": "Replication Job 2",
            "kind": "Replica",
            "objects": [{"reference": source["reference"]}],
            "target": {"host": target["uid"], "folder": str(tmp_path / "datastore")},
        }
        await house.done(await house.client.post(JOBS, json=body, headers=JSON))
        [job] = (await house.get(JOBS))["jobs"]
        assert (job["kind"], job["objects"][0]["name"]) == ("Replica", "main")
        assert job["target"] == body["target"] | {"suffix": "_replica", "networks": {}}  # type: ignore[operator]
        for number in range(2):
            guest.write_something(number)
            await run(house, job["uid"])
        for each in (guest, other):
            each.discard()

    root = await element(house, QUERY)
    assert names(root) == ["Entities", "PagingInfo"]
    [container] = root.find(f"{_NAMESPACE}Entities") or ()
    assert container.tag == f"{_NAMESPACE}ReplicaTaskSessions"
    newest, oldest = container
    for session in container:
        assert session.attrib["Type"] == "ReplicaTaskSession"
        assert session.attrib["VmDisplayName"] == "apache02"
        uid = session.attrib["UID"].removeprefix("urn:veeam:ReplicaTaskSession:")
        assert session.attrib["Href"].endswith(f"/api/replicaTaskSessions/{uid}?format=Entity")
        assert session.attrib["Name"].startswith("apache02@20")
        assert names(session) == [
            "Links", "JobSessionUid", "CreationTimeUTC", "EndTimeUTC", "State", "Result",
            "Reason", "TotalSize",
        ]  # fmt: skip
        assert links(session) == [
            ("Up", "BackupServerReference"),
            ("Up", "ReplicaJobSessionReference"),
            ("Alternate", "ReplicaTaskSessionReference"),
            ("Related", "VmReplicaPoint"),
        ]
        said = {child.tag.removeprefix(_NAMESPACE): child.text for child in session}
        assert (said["State"], said["Result"]) == ("Completed", "Success")
        assert said["TotalSize"] == str(8 * 1024 * 1024)
        parent = str(said["JobSessionUid"]).removeprefix("urn:veeam:ReplicaJobSession:")
        up = (session.find(f"{_NAMESPACE}Links") or [])[1].attrib
        assert up["Href"].endswith(f"/api/replicaSessions/{parent}")
        assert up["Name"].startswith("Replication Job 2@20")
    created = [each.findtext(f"{_NAMESPACE}CreationTimeUTC") or "" for each in container]
    assert created == sorted(created, reverse=True)
    reasons = [each.findtext(f"{_NAMESPACE}Reason") or "" for each in (oldest, newest)]
    assert reasons[0].startswith("Full, crash-consistent.")
    assert reasons[1].startswith("Changed blocks, crash-consistent.")
    paging = root.find(f"{_NAMESPACE}PagingInfo")
    assert paging is not None
    assert paging.attrib == {"PagesCount": "1", "PageSize": "15", "PageNum": "1"}
    asked = dict(parse_qsl(urlsplit(QUERY).query))
    for link, rel in zip(paging.iter(f"{_NAMESPACE}Link"), ("First", "Last"), strict=True):
        assert link.attrib["Rel"] == rel
        following = dict(parse_qsl(urlsplit(link.attrib["Href"]).query))
        assert following == asked | {"pageSize": "15", "page": "1"}

    # What the links lead to, and the collections.
    for session in container:
        for link in session.find(f"{_NAMESPACE}Links") or ():
            await element(house, urlsplit(link.attrib["Href"]).path)
    of_job = f"/api/jobs/{job['uid']}"
    assert ("Down", "ReplicaJobSessionReferenceList") in links(
        await element(house, f"{of_job}?format=Entity")
    )
    document = await house.get(f"{of_job}?format=Entity")
    includes = document["JobInfo"]["ReplicaJobInfo"]["Includes"]["ObjectInJobs"]
    assert [each["HierarchyObjRef"] for each in includes] == [source["reference"]]
    await house.done(await house.client.put(of_job, json=document, headers=JSON))
    clone = {"ReplicaJobCloneInfo": {"JobName": "Copy", "VmSuffix": "_copy"}}
    await house.done(await house.client.post(f"{of_job}?action=clone", json=clone, headers=JSON))
    kinds = {each["name"]: each["kind"] for each in (await house.get(JOBS))["jobs"]}
    assert kinds == {"Replication Job 2": "Replica", "Copy": "Replica"}
    sessions = await element(house, f"{of_job}/replicaSessions")
    assert len(sessions) == 2
    [one, *_] = await element(house, "/api/replicaSessions?format=Entity")
    uid = one.attrib["UID"].rpartition(":")[2]
    assert one.findtext(f"{_NAMESPACE}JobType") == "Replica"
    for spelling in ("replicaTaskSessions", "repicaTaskSessions"):
        assert len(await element(house, f"/api/replicaSessions/{uid}/{spelling}")) == 2
    assert len(await element(house, "/api/replicaTaskSessions")) == 4
    replicas = await element(house, "/api/replicas?format=Entity")
    assert {each.attrib["Name"] for each in replicas} == {"apache02_replica", "mail01_replica"}
    for each in replicas:
        assert links(each) == [
            ("Up", "RepositoryReference"),
            ("Up", "BackupServerReference"),
            ("Alternate", "ReplicaReference"),
            ("Down", "VmReplicaPointReferenceList"),
        ]
        path = urlsplit(each.attrib["Href"]).path
        assert len(await element(house, f"{path}/vmReplicaPoints")) == 2
    points = await element(house, "/api/vmReplicaPoints?format=Entity")
    kinds = [point.findtext(f"{_NAMESPACE}PointType") for point in points]
    assert sorted(kinds, key=str) == ["Full", "Full", "Increment", "Increment"]
    assert len(await element(house, "/api/vmRestorePoints")) == 0


async def test_a_target_that_is_not_there_is_refused_by_its_field(house: House) -> None:
    body = {
        "name": "R",
        "kind": "Replica",
        "objects": [{"reference": "urn:Libvirt:Vm:x.y"}],
        "target": {"host": "8f6f5c1e-0000-4000-8000-000000000000", "folder": "/srv"},
    }
    for change, told in (
        ({}, "target.host: there is no host"),
        ({"target": {"host": "x", "folder": "/srv"}}, "target.host: "),
        (
            {"target": body["target"] | {"folder": "srv"}},
            "target.folder: expected an absolute path",
        ),  # type: ignore[operator]
        ({"target": None}, "needs a target"),
        ({"kind": "Backup"}, "repository: "),
    ):
        answer = await house.client.post(JOBS, json=body | change, headers=JSON)
        assert answer.status_code == 400, answer.text
        assert told in answer.json()["Message"]
