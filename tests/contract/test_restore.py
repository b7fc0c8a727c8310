"""Restores of machines over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.schema.roles import Role
from support.documents import error_message, links_of, parsed
from support.managers import XML, client_of, log_on

from .restore_house import RestoreHouse, restore_house
from .test_job_actions import related

NEW_NAME = """<?xml version="1.0" encoding="utf-8"?>
<RestoreSpec xmlns="http://www.veeam.com/ent/v1.0">
  <VmRestoreSpec>
    <PowerOnAfterRestore>false</PowerOnAfterRestore>
    <HierarchyRootUid>urn:veeam:HierarchyRoot:53d79a31-ad4d-4ae9-9ccd-4bf0a1b6d1b8</HierarchyRootUid>
    <QuickRollback>false</QuickRollback>
    <VmRestoreParameters>
      <VmRestorePointUid>urn:veeam:VmRestorePoint:53d79a31-ad4d-4ae9-9ccd-4bf0a1b6d1b8</VmRestorePointUid>
      <VmNewName>web-again</VmNewName>
    </VmRestoreParameters>
  </VmRestoreSpec>
</RestoreSpec>"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[RestoreHouse]:
    async with restore_house(tmp_path) as house:
        yield house


async def simple_point(house: RestoreHouse) -> tuple[str, Path, bytes]:
    image = house.image("web")
    await house.run(await house.job("Nightly", image))
    await house.manager.collected()
    return await house.point("web"), image, image.read_bytes()


async def test_a_machine_is_restored_by_a_task_and_a_session(house: RestoreHouse) -> None:
    point, image, content = await simple_point(house)
    answer = await house.client.post(
        f"{point}?action=restore",
        content=NEW_NAME,
        headers={"Content-Type": "application/xml"},
    )
    assert answer.status_code == 202, answer.text
    task = await house.finished(answer.json())
    assert (task["Operation"], task["Result"]["Success"]) == ("StartVMRestore", True)
    link = related(task)
    assert (link["Type"], link["Name"]) == ("RestoreSession", None)
    session = await house.stopped(link["Href"])
    assert (session["Result"], session["JobType"], session["Progress"]) == (
        "Success",
        "RestoreVm",
        100,
    )
    assert image.with_name("web-again.raw").read_bytes() == content
    [relation] = [link for link in session["Links"] if link["Rel"] == "Related"]
    assert relation["Href"].endswith(point)
    collection = await house.get("/api/restoreSessions")
    assert [ref["UID"] for ref in collection["Refs"]] == [session["UID"]]
    query = await house.get(
        "/api/query?type=RestoreSession&format=Entities&filter=Type==RestoreVm;Result==Success"
    )
    assert query["PagingInfo"]["PagesCount"] == 1
    [found] = query["Entities"]["RestoreSessions"]["RestoreSessions"]
    assert found["UID"] == session["UID"]


async def test_an_existing_machine_is_replaced_only_on_request(house: RestoreHouse) -> None:
    point, image, content = await simple_point(house)
    image.write_bytes(b"the present one")
    for body, result in (
        ({}, "Failed"),
        ({"VmRestoreSpec": {"PowerOnAfterRestore": False, "QuickRollback": False}}, "Failed"),
        ({"VmRestoreSpec": {"KeepOriginalVM": True, "QuickRollback": True}}, "Failed"),
        ({"VmRestoreSpec": {"KeepOriginalVM": False}}, "Success"),
    ):
        task = await house.done(f"{point}?action=restore", body)
        session = await house.stopped(related(task)["Href"])
        assert session["Result"] == result, session
        assert image.read_bytes() == (content if result == "Success" else b"the present one")


async def test_requests_that_make_no_sense_are_refused(house: RestoreHouse) -> None:
    point, _, _ = await simple_point(house)
    for body in (
        {"vCloudVmRestoreSpec": {}},
        {"VmRestoreSpec": {"VmRestoreParameters": {"DatastoreRef": "urn:VMware:Datastore:x.y"}}},
        {"Nonsense": 1},
    ):
        answer = await house.client.post(f"{point}?action=restore", json=body)
        assert error_message(answer, 400)
    unknown = "/api/vmRestorePoints/00000000-0000-4000-8000-000000000000?action=restore"
    assert error_message(await house.client.post(unknown, json={}), 404)


async def test_only_those_who_may_can_restore(house: RestoreHouse) -> None:
    point, _, _ = await simple_point(house)
    for role, may in (
        (Role.PORTAL_USER, False),
        (Role.FILE_RESTORE_OPERATOR, False),
        (Role.VM_RESTORE_OPERATOR, True),
    ):
        await house.manager.accounts.create(role.name, "secret", role)
        async with client_of(house.manager) as client:
            await log_on(client, role.name, "secret")
            answer = await client.post(
                f"{point}?action=restore",
                json={"VmRestoreSpec": {"VmRestoreParameters": {"VmNewName": "copy"}}},
            )
            assert answer.status_code == (202 if may else 403)


async def test_a_point_says_what_can_be_done_with_it(house: RestoreHouse) -> None:
    point, _, _ = await simple_point(house)
    entity = parsed(await house.client.get(f"{point}?format=Entity", headers=XML))
    base = f"http://localhost:9399{point}"
    links = [(link["Rel"], link.get("Type"), link["Href"]) for link in links_of(entity)]
    assert links[0] == ("Restore", None, f"{base}?action=restore")
    assert links[-2:] == [
        ("Down", "VmRestorePointMountList", f"{base}/mounts"),
        ("Create", "VmRestorePointMount", f"{base}/mounts"),
    ]


async def test_a_restore_that_has_ended_cannot_be_stopped(house: RestoreHouse) -> None:
    point, _, _ = await simple_point(house)
    body = {"VmRestoreSpec": {"VmRestoreParameters": {"VmNewName": "copy"}}}
    task = await house.done(f"{point}?action=restore", body)
    session = await house.stopped(related(task)["Href"])
    stop = f"/api/holdfast/v1/restoreSessions/{session['UID']}/stop"
    task = await house.done(stop)
    assert (task["Operation"], task["Result"]["Success"]) == ("StopRestoreSession", False)
    assert "has ended already" in task["Result"]["Message"]
    unknown = "/api/holdfast/v1/restoreSessions/00000000-0000-4000-8000-000000000000/stop"
    assert error_message(await house.client.post(unknown), 404)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"colour": "red"}, "colour: there is no such field; expected one of host, "),
        ({"host": "x"}, "host: "),
        ({"folder": "here"}, "folder: expected the absolute path"),
        ({"format": "vhdx"}, "format: expected qcow2, raw, vmdk or null, not 'vhdx'"),
        ({"format": "raw"}, "folder: expected the folder for the files"),
        ({"format": "raw", "folder": "/x", "power_on": True}, "format: "),
        ({"in_place": True, "name": "web"}, "in_place: "),
        ({"disks": "vda"}, "disks: "),
        ({"in_place": True, "disks": []}, "disks: expected at least one name"),
        ({"disks": ["vda", "vda"]}, "disks: expected each name once"),
        ([], "The body: "),
    ],
)
async def test_what_cannot_be_a_restore_to_a_host_is_refused_by_its_field(
    house: RestoreHouse, body: object, reason: str
) -> None:
    point, _, _ = await simple_point(house)
    own = point.replace("/api/", "/api/holdfast/v1/")
    answer = await house.client.post(f"{own}/restore", json=body)
    assert reason in error_message(answer, 400)


async def test_a_disk_image_is_restored_where_it_was_and_to_no_host(house: RestoreHouse) -> None:
    point, image, content = await simple_point(house)
    own = point.replace("/api/", "/api/holdfast/v1/")
    refused = await house.done(f"{own}/restore", {"disks": ["vda"]})
    assert "is a disk image, not a machine of a host" in refused["Result"]["Message"]
    task = await house.done(f"{own}/restore", {"name": "web-again"})
    assert (await house.stopped(related(task)["Href"]))["Result"] == "Success"
    assert image.with_name("web-again.raw").read_bytes() == content


async def test_nothing_runs_from_a_backup_that_is_no_machine_of_a_host(
    house: RestoreHouse,
) -> None:
    point, _, _ = await simple_point(house)
    own = "/api/holdfast/v1"
    start = f"{point.replace('/api', own)}/instantRecovery"
    task = await house.done(start, {})
    assert task["Operation"] == "StartInstantRecovery"
    assert "is no machine of a host" in task["Result"]["Message"]
    for body, reason in (({"in_place": True}, "in_place"), ({"folder": "x"}, "folder: ")):
        assert reason in error_message(await house.client.post(start, json=body), 400)
    found = await house.get(f"{own}/instantRecoveries")
    assert found == {"recoveries": []}
    for address in ("x", "00000000-0000-4000-8000-000000000000"):
        one = f"{own}/instantRecoveries/{address}"
        answer = await house.client.post(f"{one}?action=start")
        assert "expected one of migrate, discard" in error_message(answer, 400)
        assert address in error_message(await house.client.get(one), 404)
        assert address in error_message(await house.client.post(f"{one}?action=migrate"), 404)
        assert address in error_message(await house.client.post(f"{one}?action=discard"), 404)
