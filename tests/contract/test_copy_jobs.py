"""Copy jobs over the API, as far as the backup server: made, linked, changed, synchronised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.server.backup_server import BackupServer
from server.lab import HandClock, write_image
from support.documents import error_message, json_of, links_of, local, parsed
from support.managers import JSON, XML, add_administrator, client_of, log_on, running_manager

OWN = "/api/holdfast/v1/jobs"
SEND_XML = XML | {"Content-Type": "application/xml"}


@dataclass
class House:
    """A manager, its backup server with two repositories, and a client that is logged on."""

    manager: EnterpriseManager
    server: BackupServer
    client: httpx.AsyncClient
    folder: Path
    main: UUID
    offsite: UUID

    async def task(self, answer: httpx.Response) -> dict[str, Any]:
        """Given the answer to an action, return its task when that is finished."""
        assert answer.status_code == 202, answer.text
        async with asyncio.timeout(60):
            while True:
                shown = await self.client.get(answer.headers["Location"], headers=JSON)
                task: dict[str, Any] = json_of(shown)
                if task["State"] == "Finished":
                    return task
                await asyncio.sleep(0.01)

    async def done(self, answer: httpx.Response, operation: str) -> dict[str, Any]:
        """As `task`; fails when the task did, or is of another operation."""
        task = await self.task(answer)
        assert task["Operation"] == operation
        assert task["Result"]["Success"], task
        return task

    async def refused(self, answer: httpx.Response) -> str:
        """As `task`; fails unless the task did. Returns the reason."""
        result = (await self.task(answer))["Result"]
        assert result["Success"] is False, result
        return str(result["Message"])

    async def create(self, name: str, **more: Any) -> str:
        """Make a job; return its UID."""
        body = {"name": name, "repository": f"urn:veeam:Repository:{self.main}"} | more
        await self.done(await self.client.post(OWN, json=body, headers=JSON), "CreateJob")
        return next(uid for uid, job in (await self.own()).items() if job["name"] == name)

    async def backup_job(self, name: str) -> str:
        """Make a job of one image; return its UID."""
        write_image(self.folder / f"{name}.raw", 1)
        return await self.create(name, sources=[{"path": f"{self.folder}/{name}.raw"}])

    async def copy_job(self, *jobs: str, name: str = "Copy", **more: Any) -> str:
        """Make a periodic copy job; return its UID."""
        linked = [f"urn:veeam:Job:{job}" for job in jobs]
        target = {"repository": str(self.offsite), "linked_jobs": linked}
        return await self.create(name, **({"kind": "BackupCopy"} | target | more))

    async def own(self) -> dict[str, dict[str, Any]]:
        """Return the jobs as Holdfast's own part shows them, by UID."""
        answer = json_of(await self.client.get(OWN, headers=JSON))
        return {job["uid"]: job for job in answer["jobs"]}

    async def read(self, path: str) -> dict[str, Any]:
        """Return a document in JSON."""
        answer = await self.client.get(f"/api{path}", headers=JSON)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = json_of(answer)
        return document

    async def job(self, job: str) -> dict[str, Any]:
        """Return a job's document."""
        return await self.read(f"/jobs/{job}?format=Entity")

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.client.post(f"/api{path}", json=body, headers=JSON)

    async def put(self, job: str, document: Any) -> httpx.Response:
        return await self.client.put(f"/api/jobs/{job}", json=document, headers=JSON)

    async def idle(self) -> None:
        """Return when nothing runs and all of it is collected."""
        await self.server.wait_until_idle()
        await self.manager.collected()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    server = BackupServer(tmp_path / "server", "backup01", clock=HandClock())
    await server.start()
    try:
        async with running_manager(tmp_path / "manager", from_schema=True) as manager:
            await add_administrator(manager)
            await manager.connect("http://server", server.token, httpx.ASGITransport(server.app))
            main = await server.add_repository("Main", tmp_path / "main")
            offsite = await server.add_repository("Offsite", tmp_path / "offsite")
            await manager.collected()
            async with client_of(manager) as client:
                await log_on(client)
                yield House(manager, server, client, tmp_path, main, offsite)
    finally:
        await server.stop()


def rels(document: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(link["Rel"], link["Type"]) for link in document["Links"]]


async def test_a_copy_job_is_synchronised_and_leaves_sessions_and_points(house: House) -> None:
    backup = await house.backup_job("web")
    await house.done(await house.post(f"/jobs/{backup}?action=start"), "StartJob")
    await house.idle()
    copy = await house.copy_job(backup)

    task = await house.done(await house.post(f"/jobs/{copy}?action=sync"), "StartJobSync")
    await house.idle()

    [related] = [link for link in task["Links"] if link["Rel"] == "Related"]
    session = await house.read("/backupSessions/" + related["Href"].rpartition("/")[2])
    assert (session["JobType"], session["Result"]) == ("BackupCopy", "Success")
    assert "Related" not in {link["Rel"] for link in session["Links"]}
    query = "/query?type=BackupJobSession&format=Entities&filter=JobType==BackupCopy"
    found = (await house.read(query))["Entities"]["BackupJobSessions"]["BackupJobSessions"]
    assert [each["UID"] for each in found] == [session["UID"]]
    query = f"/query?type=BackupTaskSession&format=Entities&filter=JobSessionUid=={session['UID']}"
    [done] = (await house.read(query))["Entities"]["BackupTaskSessions"]["BackupTaskSessions"]
    assert (done["VmDisplayName"], done["Result"], done["State"]) == ("web", "Success", "Completed")
    [backups] = [(await house.read(f"/repositories/{house.offsite}/backups"))["Refs"]]
    assert [each["Name"] for each in backups] == ["Copy"]
    points = (await house.read("/vmRestorePoints?format=Entity"))["VmRestorePoints"]
    assert len(points) == 2
    assert len({point["CreationTimeUTC"] for point in points}) == 1
    for frame in ("overview", "vms_overview", "job_statistics", "processed_vms", "repository"):
        await house.read(f"/reports/summary/{frame}")


async def test_links_are_read_added_and_removed_in_both_formats(house: House) -> None:
    jobs = [await house.backup_job(name) for name in "ab"]
    copy = await house.copy_job(jobs[0], kind="ImmediateBackupCopy")
    at = f"/jobs/{copy}/linkedJobs"

    [link] = (await house.read(at))["LinkedJobResourceObjects"]
    assert link["LinkedJobUid"] == f"urn:veeam:Job:{jobs[0]}"
    assert link["Href"].endswith(f"{at}/{link['ObjectInJobId']}")
    assert link["Type"] == "LinkedJobObject"
    assert [each["Rel"] for each in link["Links"]] == ["Up", "Delete"]
    body = {"LinkedJobUid": f"urn:veeam:Job:{jobs[1]}"}
    await house.done(await house.post(at, body), "UpdateJob")
    # No source says what the root is called, so that any is taken.
    xml = (
        f"<Spec><LinkedBackupRepositoryUid>urn:veeam:Repository:{house.main}"
        "</LinkedBackupRepositoryUid></Spec>"
    )
    repositories = f"/jobs/{copy}/linkedBackupRepositories"
    added = await house.client.post(f"/api{repositories}", content=xml, headers=SEND_XML)
    await house.done(added, "UpdateJob")

    shown = parsed(await house.client.get(f"/api{at}", headers=XML))
    assert local(shown) == "LinkedJobResourceObjects"
    assert [local(each) for each in shown] == ["LinkedJobObject"] * 2
    assert [local(each) for each in shown[0]] == ["Links", "ObjectInJobId", "LinkedJobUid"]
    shown = parsed(await house.client.get(f"/api{repositories}", headers=XML))
    assert local(shown) == "LinkedBackupRepositoryResourceObjects"
    assert [local(each) for each in shown] == ["LinkedBackupRepository"]
    assert shown[0].get("Type") == "LinkedBackupRepositoryObject"
    info = (await house.job(copy))["JobInfo"]["ImmediateBackupCopyJobInfo"]
    assert len(info["LinkedJobIncludes"]["LinkedJobObjects"]) == 2
    assert info["LinkedBackupIncludes"]["LinkedBackups"] == []
    [repository] = info["LinkedBackupRepositoryIncludes"]["LinkedBackupRepositories"]
    assert repository["LinkedBackupRepositoryUid"] == f"urn:veeam:Repository:{house.main}"

    delete = next(each for each in links_of(shown[0]) if each["Rel"] == "Delete")
    await house.done(await house.client.delete(delete["Href"]), "UpdateJob")
    assert (await house.read(repositories))["LinkedBackupRepositoryResourceObjects"] == []
    await house.done(await house.client.delete(f"/api{at}/{link['ObjectInJobId']}"), "UpdateJob")
    [left] = (await house.read(at))["LinkedJobResourceObjects"]
    again = await house.client.delete(f"/api{at}/{left['ObjectInJobId']}")
    assert "nothing left to copy from" in await house.refused(again)
    gone = await house.client.delete(f"/api{at}/{link['ObjectInJobId']}")
    assert link["ObjectInJobId"] in error_message(gone, 404)


async def test_links_of_a_job_are_those_of_its_type(house: House) -> None:
    backup = await house.backup_job("web")
    immediate = await house.copy_job(backup, kind="ImmediateBackupCopy", name="At once")
    for job in (await house.copy_job(backup), immediate):
        found = rels(await house.job(job))
        assert found[-5:] == [
            ("Sync", None),
            ("Down", "LinkedJobObjectList"),
            ("Down", "LinkedBackupRepositoryObjectList"),
            ("Create", "LinkedJobObject"),
            ("Create", "LinkedBackupRepositoryObject"),
        ]
        assert ("Down", "ObjectInJobList") not in found
    found = rels(await house.job(backup))
    assert ("Down", "ObjectInJobList") in found
    assert ("Sync", None) not in found
    assert "no copy job" in await house.refused(await house.post(f"/jobs/{backup}?action=sync"))


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("linkedJobs", {}, "Element LinkedJobObject: LinkedJobUid is missing."),
        ("linkedJobs", {"LinkedJobUid": "x"}, "LinkedJobObject.LinkedJobUid:"),
        ("linkedJobs", {"JobUid": "x"}, "JobUid is not expected"),
        ("linkedJobs", None, "expected a document LinkedJobObject"),
        (
            "linkedBackupRepositories",
            {},
            "Element LinkedBackupRepository: LinkedBackupRepositoryUid is missing.",
        ),
    ],
)
async def test_a_wrong_body_is_refused_by_the_name_of_its_element(
    house: House, path: str, body: Any, told: str
) -> None:
    copy = await house.copy_job(await house.backup_job("web"))
    for headers in (JSON, XML):
        answer = await house.client.post(
            f"/api/jobs/{copy}/{path}",
            content=None if body is None else httpx.Request("POST", "/", json=body).content,
            headers=headers | {"Content-Type": "application/json"},
        )
        assert told in error_message(answer, 400)


async def test_what_only_the_backup_server_knows_is_the_reason_in_the_task(house: House) -> None:
    backup = await house.backup_job("web")
    copy = await house.copy_job(backup)
    unknown = str(uuid4())
    wanted = await house.post(f"/jobs/{copy}/linkedJobs", {"LinkedJobUid": unknown})
    assert f"Cannot find job [{unknown}]" in await house.refused(wanted)
    same = {"LinkedBackupRepositoryUid": str(house.offsite)}
    wanted = await house.post(f"/jobs/{copy}/linkedBackupRepositories", same)
    assert "belongs into another one" in await house.refused(wanted)
    wanted = await house.post(f"/jobs/{backup}/linkedJobs", {"LinkedJobUid": backup})
    assert "no copy job" in await house.refused(wanted)
    nobody = await house.post(f"/jobs/{unknown}/linkedJobs", {"LinkedJobUid": backup})
    assert unknown in error_message(nobody, 404)


async def test_a_document_that_was_read_changes_nothing_and_one_that_was_changed_does(
    house: House,
) -> None:
    jobs = [await house.backup_job(name) for name in "ab"]
    more = {"linked_repositories": [str(house.main)], "kind": "ImmediateBackupCopy"}
    copy = await house.copy_job(*jobs, **more)
    before = await house.job(copy)
    assert before["JobScheduleOptions"]["Standart"] is None
    assert before["ScheduleEnabled"] is True

    await house.done(await house.put(copy, before), "EditJob")
    xml = await house.client.get(f"/api/jobs/{copy}?format=Entity", headers=XML)
    sent = await house.client.put(f"/api/jobs/{copy}", content=xml.content, headers=SEND_XML)
    await house.done(sent, "EditJob")
    after = await house.job(copy)
    assert after | {"NextRun": None} == before | {"NextRun": None}

    info = after["JobInfo"]["ImmediateBackupCopyJobInfo"]
    kept = info["LinkedJobIncludes"]["LinkedJobObjects"][1]
    info["LinkedJobIncludes"]["LinkedJobObjects"] = [kept]
    info["LinkedBackupRepositoryIncludes"]["LinkedBackupRepositories"] = []
    hours = after["JobScheduleOptions"]["ImmediateCopyMode"]["OptionsContinuous"]["Schedule"]
    hours["Days"][0]["Value"] = ",".join(["0"] * 24)
    after["Name"] = "Elsewhere"
    await house.done(await house.put(copy, after), "EditJob")
    changed = await house.job(copy)
    assert changed["Name"] == "Elsewhere"
    assert changed["JobInfo"]["ImmediateBackupCopyJobInfo"] == info
    options = changed["JobScheduleOptions"]["ImmediateCopyMode"]["OptionsContinuous"]
    assert options["Schedule"] == hours
    own = (await house.own())[copy]
    assert own["linked_jobs"] == [{"uid": kept["ObjectInJobId"], "target": jobs[1]}]
    assert (own["linked_repositories"], own["repository"]) == ([], str(house.offsite))
    assert own["retention"] == 7

    info["LinkedJobIncludes"]["LinkedJobObjects"] = [{"LinkedJobUid": jobs[0]}]
    await house.done(
        await house.put(copy, {"JobInfo": changed["JobInfo"] | after["JobInfo"]}), "EditJob"
    )
    [link] = (await house.read(f"/jobs/{copy}/linkedJobs"))["LinkedJobResourceObjects"]
    assert link["LinkedJobUid"].endswith(jobs[0])
    assert link["ObjectInJobId"] != kept["ObjectInJobId"]


async def test_a_change_that_a_copy_job_does_not_take_is_refused_by_its_element(
    house: House,
) -> None:
    backup = await house.backup_job("web")
    copy = await house.copy_job(backup, kind="ImmediateBackupCopy")
    periodic = await house.copy_job(backup, name="Periodic")
    off = {"OptionsContinuous": {"Enabled": False}}
    wrong = [
        (copy, {"JobInfo": {"BackupJobInfo": {"SimpleRetentionPolicy": {"RetainCycles": 3}}}}),
        (copy, {"JobScheduleOptions": {"Standart": {"RetryOptions": {"RetryTimes": 1}}}}),
        (copy, {"JobScheduleOptions": {"ImmediateCopyMode": off}}),
        (periodic, {"JobInfo": {"BackupCopyJobInfo": {"LinkedBackupIncludes": {
            "LinkedBackups": [{"LinkedBackupUid": str(uuid4())}]}}}}),
        (periodic, {"JobInfo": {"BackupCopyJobInfo": {"LinkedJobIncludes": {
            "LinkedJobObjects": [{}]}}}}),
        (periodic, {"JobInfo": {"BackupCopyJobInfo": {"Includes": {"ObjectInJobs": [
            {"Name": "x"}]}}}}),
    ]  # fmt: skip
    told = [
        "Job.JobInfo.BackupJobInfo: the job is of type ImmediateBackupCopy",
        "Job.JobScheduleOptions.Standart: the job is of type ImmediateBackupCopy",
        "ImmediateCopyMode.OptionsContinuous: cannot be taken away",
        "LinkedBackupIncludes.LinkedBackup: cannot be changed",
        "LinkedJobIncludes.LinkedJobObject: LinkedJobUid is missing",
        "BackupCopyJobInfo.Includes",
    ]
    for (job, document), expected in zip(wrong, told, strict=True):
        assert expected in error_message(await house.put(job, document), 400)
    schedule = {"schedule": {"type": "Daily", "time": "22:00:00"}}
    own = await house.client.put(f"{OWN}/{copy}", json=schedule, headers=JSON)
    assert "Continuously" in await house.refused(own)


async def test_a_copy_job_is_cloned_with_its_own_kind_of_clone_info(house: House) -> None:
    backup = await house.backup_job("web")
    copy = await house.copy_job(backup)
    wrong = {"ImmediateBackupCopyJobCloneInfo": {"JobName": "Second"}}
    answer = await house.post(f"/jobs/{copy}?action=clone", wrong)
    assert "expected BackupCopyJobCloneInfo" in error_message(answer, 400)

    info = {"JobName": "Second", "JobFileName": "Second", "RepositoryUid": str(house.offsite)}
    right = {"BackupCopyJobCloneInfo": info}
    await house.done(await house.post(f"/jobs/{copy}?action=clone", right), "CloneJob")

    [clone] = [job for job in (await house.own()).values() if job["name"] == "Second"]
    assert clone["kind"] == "BackupCopy"
    assert [link["target"] for link in clone["linked_jobs"]] == [backup]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"linked_jobs": []}, "linked_jobs, linked_repositories: expected at"),
        ({"linked_jobs": ["x"]}, "linked_jobs[0]:"),
        ({"linked_jobs": "x"}, "linked_jobs:"),
        ({"sources": [{"path": "/a"}]}, "sources: a copy job has linked_jobs"),
        ({"kind": "Copy"}, "kind:"),
    ],
)
async def test_a_wrong_specification_is_refused_by_its_field(
    house: House, wrong: dict[str, Any], told: str
) -> None:
    body = {
        "name": "Copy",
        "kind": "BackupCopy",
        "repository": str(house.offsite),
        "linked_jobs": [str(uuid4())],
    }
    answer = await house.client.post(OWN, json=body | wrong, headers=JSON)
    assert told in error_message(answer, 400)
