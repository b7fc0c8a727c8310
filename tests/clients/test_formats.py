"""What clients ask for, what they send, and how strictly they read."""

from __future__ import annotations

import json
import time
import urllib.error
from typing import Any
from xml.etree import ElementTree

import pytest

from clients.conftest import Site
from clients.simple import NAMESPACE, logged_on

XML = "application/xml"
JSON = "application/json"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, XML),
        ("*/*", XML),
        ("application/xml", XML),
        ("text/xml", XML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", XML),
        ("application/vnd.unknown", XML),
        ("application/json", JSON),
        ("application/json; charset=utf-8", JSON),
        ("application/json, text/plain, */*", JSON),
        ("application/xml;q=0.2, application/json;q=0.7", JSON),
    ],
)
def test_clients_get_the_format_they_can_read(site: Site, accept: str | None, kind: str) -> None:
    with logged_on(site) as script, script.send("GET", "/repositories", accept) as answer:
        content = answer.read()
        assert answer.headers["Content-Type"].split(";")[0] == kind
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Date"]
    assert content.startswith(b"<?xml" if kind == XML else b"{")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "text/xml; charset=utf-8",
            '<?xml version="1.0" encoding="utf-8"?><Job xmlns="http://www.veeam.com/ent/v1.0">'
            "<Description>{}</Description></Job>",
        ),
        ("application/xml", "<Job><Description>{}</Description></Job>"),
        ("application/json", '{{"Description": "{}"}}'),
        ("APPLICATION/JSON; charset=utf-8", '{{"dESCRIPTION": "{}", "links": null}}'),
    ],
)
def test_client_that_sends_its_wishes_in_either_format(site: Site, kind: str, body: str) -> None:
    with logged_on(site) as script:
        [job] = script.json('/query?type=Job&filter=Name=="Sample%20Disk%20Backup"')["Refs"]["Refs"]
        wanted = f"Sent as {kind}, é"
        with script.send("PUT", job["Href"], JSON, body.format(wanted).encode(), kind) as answer:
            task = json.loads(answer.read())
        end = time.monotonic() + 60
        while script.json(task["Href"])["State"] != "Finished":
            assert time.monotonic() < end
            time.sleep(0.1)
        assert script.json(f"{job['Href']}?format=Entity")["Description"] == wanted
        wrong = body.replace("Description", "Wrong").replace("dESCRIPTION", "Wrong")
        with pytest.raises(urllib.error.HTTPError) as refused:
            script.send("PUT", job["Href"], JSON, wrong.format("x").encode(), kind).close()
        assert b"Wrong is not expected" in refused.value.read()
        refused.value.close()
        assert refused.value.code == 400


def test_client_that_reads_json_by_its_doubled_containers(site: Site) -> None:
    with logged_on(site) as script:
        answer = script.json("/query?type=BackupTaskSession&format=Entities")
        assert list(answer) == ["Refs", "Entities", "Resources", "Links", "PagingInfo"]
        tasks = answer["Entities"]["BackupTaskSessions"]["BackupTaskSessions"]
        assert {task["State"] for task in tasks} == {"Completed"}
        assert all(isinstance(task["TotalSize"], int) for task in tasks)
        assert (answer["Refs"], answer["Resources"], answer["Links"]) == (None, None, None)

        assert len(script.json("/query?type=Job")["Refs"]["Refs"]) == 2
        assert len(script.json("/jobs")["Refs"]) == 2
        assert len(script.json("/jobs?format=Entity")["Jobs"]) == 2
        nothing = script.json("/query?type=Job&format=Entities&filter=Name==nothing")
        assert nothing["Entities"] == {"Jobs": {"Jobs": []}}
        assert script.json("/query?type=Task")["Resources"] == {"Tasks": {"Tasks": []}}
        for job in script.json("/jobs?format=Entity")["Jobs"]:
            assert isinstance(job["ScheduleEnabled"], bool)
            assert job["Links"][0]["Rel"] == "Up"


def test_client_that_reads_errors(site: Site) -> None:
    job = "00000000-0000-4000-8000-000000000000"
    with logged_on(site) as script:
        with pytest.raises(urllib.error.HTTPError) as refused:
            script.json(f"/jobs/{job}")
        error = json.loads(refused.value.read())
        refused.value.close()
        assert error == {
            "FirstChanceExceptionMessage": None,
            "Message": f"Cannot find Job [{job}].",
            "StackTrace": None,
            "Status": None,
            "StatusCode": 404,
        }
        with pytest.raises(urllib.error.HTTPError) as refused:
            script.xml("/query?type=Job&filter=Name=")
        root = ElementTree.fromstring(refused.value.read())
        refused.value.close()
        assert (root.tag, root.attrib["StatusCode"]) == (f"{NAMESPACE}Error", "400")


#: What a program generated from the documented elements knows: of each element what may be in it.
KNOWN: dict[str, str] = {
    "Jobs": "Job",
    "Job": "Links JobType Platform Description ScheduleConfigured ScheduleEnabled NextRun"
    " JobScheduleOptions JobInfo",
    "BackupJobSessions": "BackupJobSession",
    "BackupJobSession": "Links JobUid JobName JobType CreationTimeUTC EndTimeUTC State Result"
    " Progress FailureMessage IsRetry",
    "BackupTaskSessions": "BackupTaskSession",
    "BackupTaskSession": "Links JobSessionUid CreationTimeUTC EndTimeUTC State Result Reason"
    " TotalSize VmUid",
    "Repositories": "Repository",
    "Repository": "Links Capacity FreeSpace Kind",
    "Backups": "Backup",
    "Backup": "Links Platform BackupType",
    "BackupFiles": "BackupFile",
    "BackupFile": "Links FilePath BackupSize DataSize DeduplicationRatio CompressRatio"
    " CreationTimeUtc FileType",
    "RestorePoints": "RestorePoint",
    "RestorePoint": "Links BackupDateUTC",
    "VmRestorePoints": "VmRestorePoint",
    "VmRestorePoint": "Links CreationTimeUTC VmName Algorithm PointType HierarchyObjRef SqlInfo",
    "BackupServers": "BackupServer",
    "BackupServer": "Links Description Port Version WcfPort VbrCertificateThumbprint",
    "ManagedServers": "ManagedServer",
    "ManagedServer": "Links Description ManagedServerType",
    "EntityReferences": "Ref",
    "Ref": "Links",
    "Links": "Link",
    "QueryResult": "Refs Entities Resources PagingInfo",
    "Entities": "Jobs BackupJobSessions BackupTaskSessions Repositories Backups BackupFiles"
    " RestorePoints VmRestorePoints BackupServers ManagedServers",
    "Refs": "Ref",
    "PagingInfo": "Links",
}
ATTRIBUTES = {
    "Link": "Rel Href Type Name",
    "PagingInfo": "PagesCount PageSize PageNum",
    "BackupTaskSession": "Type Href Name UID VmDisplayName",
    "VmRestorePoint": "Type Href Name UID VmDisplayName",
}
#: Structures of their own, which this client leaves to another part of it.
OPAQUE = {"JobScheduleOptions", "JobInfo"}


def bound(element: ElementTree.Element) -> Any:
    """Given an element, return its value; fails, as a strict program does, on what it knows not."""
    namespace, _, name = element.tag.rpartition("}")
    assert namespace == NAMESPACE.rstrip("}"), element.tag
    if name in OPAQUE:
        return None
    known = KNOWN.get(name, "").split()
    attributes = ATTRIBUTES.get(name, "Type Href Name UID" if "Links" in known else "").split()
    assert set(element.attrib) <= set(attributes), (name, element.attrib)
    if not known:
        assert len(element) == 0, name
        return element.text
    at = 0
    for child in element:
        part = child.tag.rpartition("}")[2]
        assert part in known[at:], f"{name}: {part} is unknown, or out of its place"
        at = known.index(part)
        bound(child)
    assert not (element.text or "").strip(), name
    return None


def test_client_that_fails_on_what_it_does_not_know(site: Site) -> None:
    collections = {name: items for name, items in KNOWN.items() if items in KNOWN}
    read = 0
    with logged_on(site) as script:
        for plural, item in collections.items():
            if item in ("Ref", "Link") or item not in KNOWN["Entities"]:
                continue
            collection = plural[0].lower() + plural[1:]
            for address in (
                f"/{collection.replace('backupJobSessions', 'backupSessions')}",
                f"/{collection.replace('backupJobSessions', 'backupSessions')}?format=Entity",
                f"/query?type={item}",
                f"/query?type={item}&format=Entities",
            ):
                root = script.xml(address)
                bound(root)
                read += len(root)
    assert read > 40
    with pytest.raises(AssertionError, match="unknown, or out of its place"):
        bound(ElementTree.fromstring(f'<Links xmlns="{NAMESPACE[1:-1]}"><Other/></Links>'))
