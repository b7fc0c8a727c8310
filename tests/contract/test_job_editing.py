"""Jobs changed over the API, as far as the backup server: read, changed, sent back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select

from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.server import tables
from holdfast.server.backup_server import BackupServer
from server.lab import HandClock, write_image
from support.documents import error_message, json_of
from support.managers import JSON, XML, add_administrator, client_of, log_on, running_manager

DAILY = {"type": "Daily", "time": "22:00:00", "zone": "Europe/Berlin"}
SEND_XML = XML | {"Content-Type": "application/xml"}


@dataclass
class House:
    """A manager, its backup server and a client of the one that is logged on."""

    manager: EnterpriseManager
    server: BackupServer
    client: httpx.AsyncClient
    clock: HandClock
    folder: Path
    repository: UUID
    host: UUID

    async def task(self, answer: httpx.Response) -> dict[str, Any]:
        """Given the answer to an action, return its task when that is finished."""
        assert answer.status_code == 202, answer.text
        href = answer.headers["Location"]
        async with asyncio.timeout(60):
            while True:
                task: dict[str, Any] = json_of(await self.client.get(href, headers=JSON))
                if task["State"] == "Finished":
                    return task
                await asyncio.sleep(0.01)

    async def done(self, answer: httpx.Response) -> dict[str, Any]:
        """As `task`; fails when the task did."""
        task = await self.task(answer)
        assert task["Result"]["Success"], task
        return task

    async def create(self, *images: str, name: str = "Nightly", **more: Any) -> str:
        """Make a job over images; return its UID."""
        sources = [{"path": str(self.folder / image)} for image in images]
        body = {"name": name, "sources": sources, "repository": str(self.repository), **more}
        await self.done(await self.client.post("/api/holdfast/v1/jobs", json=body, headers=JSON))
        found = json_of(await self.client.get("/api/holdfast/v1/jobs"))["jobs"]
        return next(str(job["uid"]) for job in found if job["name"] == name)

    async def read(self, job: str) -> dict[str, Any]:
        """Return a job's document."""
        answer = await self.client.get(f"/api/jobs/{job}?format=Entity", headers=JSON)
        document: dict[str, Any] = json_of(answer)
        return document

    async def put(self, job: str, document: Any, action: str = "") -> httpx.Response:
        return await self.client.put(f"/api/jobs/{job}{action}", json=document, headers=JSON)

    async def session(self, task: dict[str, Any]) -> dict[str, Any]:
        """Given a task that started a session, return that when all is idle."""
        await self.server.wait_until_idle()
        await self.manager.collected()
        [link] = [link for link in task["Links"] if link["Rel"] == "Related"]
        assert link["Type"] == "BackupJobSession", link
        href = link["Href"].split("?")[0] + "?format=Entity"
        document: dict[str, Any] = json_of(await self.client.get(href, headers=JSON))
        return document

    async def points(self, image: str) -> list[dict[str, Any]]:
        """Return the points of a machine, oldest first."""
        await self.manager.collected()
        query = f'type=VmRestorePoint&format=Entities&filter=VmDisplayName=="{image}"'
        answer = json_of(
            await self.client.get(f"/api/query?{query}&sortAsc=CreationTime", headers=JSON)
        )
        points: list[dict[str, Any]] = answer["Entities"]["VmRestorePoints"]["VmRestorePoints"]
        return points


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = HandClock()
    server = BackupServer(tmp_path / "server", "backup01", clock=clock)
    await server.start()
    try:
        async with running_manager(tmp_path / "manager", from_schema=True) as manager:
            await add_administrator(manager)
            await manager.connect("http://server", server.token, httpx.ASGITransport(server.app))
            repository = await server.add_repository("Main", tmp_path / "repository")
            await manager.collected()
            host = await server._store.read(
                lambda c: c.scalars(select(tables.managed_server.c.uid)).one()
            )
            async with client_of(manager) as client:
                await log_on(client)
                yield House(manager, server, client, clock, tmp_path, repository, host)
    finally:
        await server.stop()


async def test_a_document_that_was_read_can_be_sent_back_and_changes_nothing(
    house: House,
) -> None:
    window = {"days": {"Monday": [22, 23]}, "zone": "Europe/Berlin"}
    job = await house.create("a.raw", "b.raw", schedule=DAILY, window=window, description="x & y")
    before = await house.read(job)
    assert before["NextRun"] == "2026-03-02T21:00:00Z"
    rows = await house.server._store.read(lambda c: c.execute(select(tables.job)).one())

    await house.done(await house.put(job, before))
    xml = await house.client.get(f"/api/jobs/{job}?format=Entity", headers=XML)
    for action in ("", "?action=edit"):
        address = f"/api/jobs/{job}{action}"
        await house.done(await house.client.put(address, content=xml.content, headers=SEND_XML))

    assert await house.read(job) == before
    assert await house.server._store.read(lambda c: c.execute(select(tables.job)).one()) == rows


async def test_name_description_retention_and_schedule_are_changed(house: House) -> None:
    job = await house.create("a.raw", schedule=DAILY)
    document = await house.read(job)
    document["Name"], document["Description"] = "Evening", "changed"
    options = document["JobScheduleOptions"]["Standart"]
    options["OptionsDaily"] |= {"Time": "20:30:00.0000000+01:00", "Kind": "WeekDays"}
    options["RetryOptions"] = {"RetryTimes": 3, "RetryTimeout": 15, "RetrySpecified1": True}
    document["JobInfo"]["BackupJobInfo"]["SimpleRetentionPolicy"]["RetainCycles"] = 3

    task = await house.done(await house.put(job, document))

    assert task["Operation"] == "EditJob"
    changed = await house.read(job)
    assert (changed["Name"], changed["Description"]) == ("Evening", "changed")
    assert changed["NextRun"] == "2026-03-02T19:30:00Z"
    daily = changed["JobScheduleOptions"]["Standart"]["OptionsDaily"]
    assert daily["Days"] == ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    assert changed["JobScheduleOptions"]["Standart"]["RetryOptions"]["RetryTimes"] == 3
    own = json_of(await house.client.get(f"/api/holdfast/v1/jobs/{job}"))
    assert own["retention"] == 3
    row = await house.server._store.read(lambda c: c.execute(select(tables.job)).one())
    assert "Europe/Berlin" in row.schedule


def only_day(name: str, hours: str) -> str:
    week = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
    none = ",".join("0" * 24)
    return "".join(f'<Day Name="{day}">{hours if day == name else none}</Day>' for day in week)


EVENING = ",".join("1" if hour >= 20 else "0" for hour in range(24))
KINDS = {
    "OptionsMonthly": (
        "<Time>10:15:00.0000000+00:00</Time><TimeOffsetUtc>0</TimeOffsetUtc>"
        "<DayNumberInMonth>Second</DayNumberInMonth><DayOfWeek>Friday</DayOfWeek>"
        "<Months>March</Months><Months>May</Months><DayOfMonth>1</DayOfMonth>",
        "2026-03-13T10:15:00Z",
    ),
    "OptionsPeriodically": (
        "<Kind>Hours</Kind><FullPeriod>7</FullPeriod>"
        f"<Schedule>{only_day('Wednesday', EVENING)}</Schedule>",
        "2026-03-04T20:00:00Z",
    ),
    "OptionsContinuous": (
        f"<Schedule>{only_day('Tuesday', EVENING)}</Schedule>",
        "2026-03-03T20:00:00Z",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_without_schedule_is_given_one_and_it_is_on(house: House, kind: str) -> None:
    job = await house.create("a.raw")
    parts, next_run = KINDS[kind]
    read = await house.client.get(f"/api/jobs/{job}?format=Entity", headers=XML)
    option = f'<{kind} Enabled="true">{parts}</{kind}>'
    body = read.text.replace("</Standart>", f"{option}</Standart>")

    address = f"/api/jobs/{job}"
    await house.done(await house.client.put(address, content=body, headers=SEND_XML))

    document = await house.read(job)
    assert document["ScheduleEnabled"] is document["ScheduleConfigured"] is True
    assert document["NextRun"] == next_run
    again = await house.client.get(f"{address}?format=Entity", headers=XML)
    assert option in again.text
    off = re.sub(f'<{kind} Enabled="true"', f'<{kind} Enabled="false"', again.text)
    await house.done(await house.client.put(address, content=off, headers=SEND_XML))
    assert (await house.read(job))["ScheduleConfigured"] is False


async def test_a_job_follows_another_but_never_in_a_circle(house: House) -> None:
    first = await house.create("a.raw", name="First")
    second = await house.create("b.raw", name="Second", schedule={"type": "AfterJob", "job": first})
    document = await house.read(first)
    chain = {"Enabled": True, "PreviousJobUid": f"urn:veeam:Job:{second}"}
    document["JobScheduleOptions"]["Standart"]["OptionsDaisyChaining"] = chain

    task = await house.task(await house.put(first, document))

    assert task["Result"] == {
        "Success": False,
        "Message": "A job cannot start after itself, nor after one that follows it.",
    }
    deleting = await house.task(await house.client.delete(f"/api/jobs/{first}"))
    assert 'Job "Second" starts after job "First"' in deleting["Result"]["Message"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"JobType": "BackupCopy"}, "Job.JobType: cannot be changed; it is Backup"),
        ({"Platform": "VMware"}, "Job.Platform: cannot be changed"),
        ({"UID": str(uuid4())}, "Job.UID: cannot be changed"),
        ({"Name": " "}, "needs a name"),
        ({"Nonsense": 1}, "Nonsense is not expected"),
        ({"JobScheduleOptions": {"Standart": {"OptionsDaily": {"Time": "25:00:00"}}}}, "Time"),
        (
            {"JobScheduleOptions": {"Standart": {"OptionsPeriodically": {"FullPeriod": 0}}}},
            "OptionsPeriodically: the period of a schedule is between",
        ),
        (
            {"JobScheduleOptions": {"Standart": {"WaitForBackupCompletion": True}}},
            "WaitForBackupCompletion: cannot be changed; it is not supported",
        ),
        ({"JobInfo": {"BackupJobInfo": {"Includes": {}}}}, "at least one object"),
        (
            {"JobInfo": {"BackupJobInfo": {"SimpleRetentionPolicy": {"RetainLimitType": "Days"}}}},
            "RetainDaysToKeep: expected 1 or more with Days",
        ),
        (
            {"JobInfo": {"BackupJobInfo": {"SimpleRetentionPolicy": {"RetainDaysToKeep": 3}}}},
            "RetainDaysToKeep: expected 0 with Cycles, or Days",
        ),
        (
            {"JobInfo": {"BackupJobInfo": {"SimpleRetentionPolicy": {"RetainCycles": 0}}}},
            "between 1 and 9999",
        ),
        (
            {"JobInfo": {"BackupJobInfo": {"AdvancedStorageOptions": {"PasswordKeyId": "7"}}}},
            "PasswordKeyId: cannot be changed",
        ),
    ],
)
async def test_what_cannot_be_is_refused_at_once_naming_the_element(
    house: House, change: dict[str, Any], reason: str
) -> None:
    job = await house.create("a.raw")
    before = await house.read(job)
    assert reason in error_message(await house.put(job, change), 400)
    assert await house.read(job) == before


async def test_elements_out_of_order_and_empty_bodies_are_refused(house: House) -> None:
    job = await house.create("a.raw")
    body = "<Job><Description>x</Description><JobType>Backup</JobType></Job>"
    answer = await house.client.put(f"/api/jobs/{job}", content=body, headers=SEND_XML)
    assert "must come before" in error_message(answer, 400)
    answer = await house.client.put(f"/api/jobs/{job}", content="", headers=SEND_XML)
    assert "expected a document Job" in error_message(answer, 400)
    answer = await house.client.put(f"/api/jobs/{uuid4()}", content=body, headers=SEND_XML)
    assert answer.status_code == 404


async def test_a_change_that_is_refused_in_one_part_leaves_the_others_undone(house: House) -> None:
    job = await house.create("a.raw")
    document = await house.read(job)
    document["Description"] = "changed"
    wanted = document["JobInfo"]["BackupJobInfo"]["Includes"]["ObjectInJobs"]
    wanted.append({"HierarchyObjRef": f"urn:Qemu:Vm:{uuid4()}.{uuid4()}", "Name": "ghost"})

    task = await house.task(await house.put(job, document))

    assert "The backup server knows no object" in task["Result"]["Message"]
    assert (await house.read(job))["Description"] == ""


async def test_objects_are_put_in_and_taken_out_and_their_points_stay(house: House) -> None:
    write_image(house.folder / "a.raw", 1)
    write_image(house.folder / "b.raw", 2)
    job = await house.create("a.raw")
    includes = f"/api/jobs/{job}/includes"
    body = (
        "<CreateObjectInJobSpec><HierarchyObjRef>urn:Qemu:Host:"
        f"{house.host}</HierarchyObjRef><HierarchyObjName>{house.folder / 'b.raw'}"
        "</HierarchyObjName></CreateObjectInJobSpec>"
    )
    task = await house.done(await house.client.post(includes, content=body, headers=SEND_XML))
    assert task["Operation"] == "UpdateJob"
    [a, b] = json_of(await house.client.get(includes, headers=JSON))["ObjectsInJob"]
    assert b["Name"] == "b"
    await house.done(await house.client.post(f"/api/jobs/{job}?action=start", headers=JSON))
    await house.server.wait_until_idle()

    await house.done(await house.client.delete(f"{includes}/{b['ObjectInJobId']}", headers=JSON))

    [left] = json_of(await house.client.get(includes, headers=JSON))["ObjectsInJob"]
    assert left["ObjectInJobId"] == a["ObjectInJobId"]
    assert len(await house.points("b")) == 1
    last = await house.client.delete(f"{includes}/{a['ObjectInJobId']}", headers=JSON)
    assert "It is the last object" in (await house.task(last))["Result"]["Message"]
    spec = {"HierarchyObjRef": b["HierarchyObjRef"], "HierarchyObjName": "b"}
    await house.done(await house.client.post(includes, json=spec, headers=JSON))
    twice = await house.task(await house.client.post(includes, json=spec, headers=JSON))
    assert "already" in twice["Result"]["Message"]
    house.clock.advance(timedelta(minutes=1))
    await house.done(await house.client.post(f"/api/jobs/{job}?action=start", headers=JSON))
    await house.server.wait_until_idle()
    assert [p["PointType"] for p in await house.points("b")] == ["Full", "Increment"]


async def test_objects_that_nobody_knows_are_refused_with_the_reason(house: House) -> None:
    job = await house.create("a.raw")
    address = f"/api/jobs/{job}/includes"
    spec = {"HierarchyObjRef": "urn:VMware:Vm:x.vm-1", "HierarchyObjName": "x"}
    task = await house.task(await house.client.post(address, json=spec, headers=JSON))
    assert f"urn:Qemu:Host:{house.host}" in task["Result"]["Message"]
    answer = await house.client.post(address, json={}, headers=JSON)
    assert "HierarchyObjRef is missing" in error_message(answer, 400)
    guest = spec | {"GuestProcessingOptions": {"AppAwareProcessingMode": "RequireSuccess"}}
    answer = await house.client.post(address, json=guest, headers=JSON)
    assert "AppAwareProcessingMode" in error_message(answer, 400)


async def test_a_quick_backup_adds_to_the_chain_of_the_newest_job(house: House) -> None:
    write_image(house.folder / "a.raw", 1)
    job = await house.create("a.raw", "b.raw")
    await house.done(await house.client.post(f"/api/jobs/{job}?action=start", headers=JSON))
    await house.server.wait_until_idle()
    [point] = await house.points("a")
    house.clock.advance(timedelta(minutes=1))
    write_image(house.folder / "a.raw", 2)
    [server] = json_of(await house.client.get("/api/backupServers", headers=JSON))["Refs"]
    address = f"/api/backupServers/{server['UID']}?action=quickbackup"

    body = (
        f"<QuickBackupStartupSpec><VmRef>{point['HierarchyObjRef']}</VmRef>"
        "</QuickBackupStartupSpec>"
    )
    task = await house.done(await house.client.post(address, content=body, headers=SEND_XML))

    session = await house.session(task)
    assert (task["Operation"], session["JobType"], session["Result"]) == (
        "QuickBackup",
        "Backup",
        "Success",
    )
    assert session["JobName"] == "Nightly"
    assert [p["PointType"] for p in await house.points("a")] == ["Full", "Increment"]
    unknown = await house.client.post(address, json={"VmRef": "urn:x"}, headers=JSON)
    assert not (await house.task(unknown))["Result"]["Success"]
    assert "VmRef" in error_message(await house.client.post(address, json={}, headers=JSON), 400)


async def test_a_one_off_full_stands_alone_and_goes_when_its_time_is_over(house: House) -> None:
    write_image(house.folder / "a.raw", 1)
    job = await house.create("a.raw")
    await house.done(await house.client.post(f"/api/jobs/{job}?action=start", headers=JSON))
    await house.server.wait_until_idle()
    [point] = await house.points("a")
    house.clock.advance(timedelta(minutes=1))
    [server] = json_of(await house.client.get("/api/backupServers", headers=JSON))["Refs"]
    address = f"/api/backupServers/{server['UID']}?action=veeamzip"
    spec: dict[str, Any] = {
        "VmRef": [point["HierarchyObjRef"]],
        "RepositoryUid": f"urn:veeam:Repository:{house.repository}",
        "CompressionLevel": 5,
        "BackupRetention": "In3days",
    }

    task = await house.done(await house.client.post(address, json=spec, headers=JSON))

    session = await house.session(task)
    assert (task["Operation"], session["JobType"], session["Result"]) == (
        "VeeamZip",
        "Backup",
        "Success",
    )
    assert [p["PointType"] for p in await house.points("a")] == ["Full", "Full"]
    backups = json_of(await house.client.get("/api/backups", headers=JSON))["Refs"]
    assert {backup["Name"] for backup in backups} == {"Nightly", "VeeamZip of a"}
    assert len(json_of(await house.client.get("/api/jobs", headers=JSON))["Refs"]) == 1
    secret = spec | {"PasswordKeyId": "7"}
    answer = await house.client.post(address, json=secret, headers=JSON)
    assert "PasswordKeyId: expected the Id of a password" in error_message(answer, 400)

    house.clock.advance(timedelta(days=3))
    for _ in range(400):
        backups = json_of(await house.client.get("/api/backups", headers=JSON))["Refs"]
        if len(backups) == 1:
            break
        await asyncio.sleep(0.05)

    [left] = await house.points("a")
    assert left["UID"] == point["UID"]
    assert len(list((house.folder / "repository").glob("*/*.qcow2"))) == 1
    assert not await house.server._store.read(lambda c: c.execute(select(tables.intent)).all())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name: "),
        ({"kind": "Foo"}, "kind: expected Backup, "),
        ({"sources": []}, "objects, sources: "),
        ({"retention": 0}, "retention: expected between 1 and 9999 restore points."),
        ({"retention": "many"}, "retention: "),
        ({"schedule": {"type": "Monthly", "time": "22:00:00", "day_of_month": 32}}, "schedule: "),
        ({"schedule": {"type": "Yearly"}}, "schedule.type: "),
        ({"window": {"days": {"Monday": [24]}}}, "window: "),
        ({"retry": {"times": -1}}, "retry.times: "),
        ({"repository": "nowhere"}, "repository: "),
        ({"repository": str(uuid4())}, "repository: "),
        ({"sources": [{"path": "relative"}]}, "sources[0].path: "),
    ],
)
async def test_our_own_way_to_make_a_job_names_the_field_that_is_wrong(
    house: House, change: dict[str, Any], field: str
) -> None:
    body = {"name": "x", "sources": [{"path": "/a"}], "repository": str(house.repository)} | change
    answer = await house.client.post("/api/holdfast/v1/jobs", json=body, headers=JSON)
    assert field in error_message(answer, 400)


async def test_our_own_way_to_change_a_job_knows_zones_and_null(house: House) -> None:
    job = await house.create("a.raw", schedule=DAILY)
    address = f"/api/holdfast/v1/jobs/{job}"
    window = {"days": {"Monday": [3]}, "zone": "America/New_York"}
    monthly = {"type": "Monthly", "time": "22:00:00", "day_number": "Last", "zone": "Asia/Tokyo"}
    change = {"schedule": monthly, "window": window, "retry": {"times": 1, "minutes": 3}}

    await house.done(await house.client.put(address, json=change, headers=JSON))

    # 3 in the morning of the Monday after the last Sunday of March, in New York.
    shown = await house.read(job)
    assert shown["NextRun"] == "2026-03-30T07:00:00Z"
    await house.done(await house.put(job, shown))
    assert (await house.read(job))["NextRun"] == "2026-03-30T07:00:00Z"
    off = {"schedule": None, "window": None}
    await house.done(await house.client.put(address, json=off, headers=JSON))
    own = json_of(await house.client.get(address))
    assert own["schedule_enabled"] is False
    assert list(own["schedule_options"]) == ["RetryOptions"]
    answer = await house.client.put(address, json={"retention": 0}, headers=JSON)
    assert "between 1 and 9999" in error_message(answer, 400)
    plain = JSON | {"Content-Type": "text/plain"}
    answer = await house.client.put(address, content=b"{}", headers=plain)
    assert "Content-Type" in error_message(answer, 400)
    answer = await house.client.put(f"{address[:-36]}{uuid4()}", json={}, headers=JSON)
    assert answer.status_code == 404


async def test_days_and_long_retention_are_shown_and_days_can_be_changed(house: House) -> None:
    options = {"gfs": {"weekly": {"keep": 4, "day": "Friday"}}, "bandwidth": 10**6}
    job = await house.create("a.raw", retention_days=30, options=options)
    before = await house.read(job)
    info = before["JobInfo"]["BackupJobInfo"]
    assert info["SimpleRetentionPolicy"]["RetainLimitType"] == "Days"
    assert info["SimpleRetentionPolicy"]["RetainDaysToKeep"] == 30
    assert info["GfsRetentionPolicy"]["Weekly"] == {
        "Enabled": True,
        "RetentionPeriod": 4,
        "SelectedDay": "Friday",
    }
    assert info["GfsRetentionPolicy"]["Yearly"]["Enabled"] is False
    await house.done(await house.put(job, before))
    assert await house.read(job) == before
    own = f"/api/holdfast/v1/jobs/{job}"
    read = json_of(await house.client.get(own, headers=JSON))
    assert (read["retention_days"], read["options"]["bandwidth"]) == (30, 10**6)
    assert read["options"]["gfs"]["weekly"] == {"keep": 4, "day": "Friday"}

    info["SimpleRetentionPolicy"]["RetainDaysToKeep"] = 10
    await house.done(await house.put(job, before))
    assert json_of(await house.client.get(own, headers=JSON))["retention_days"] == 10
    info["SimpleRetentionPolicy"]["RetainLimitType"] = "Cycles"
    await house.done(await house.put(job, before))
    read = json_of(await house.client.get(own, headers=JSON))
    assert (read["retention"], read["retention_days"]) == (7, None)
    info["GfsRetentionPolicy"]["Weekly"]["RetentionPeriod"] = 5
    error = error_message(await house.put(job, before), 400)
    assert "GfsRetentionPolicy.Weekly.RetentionPeriod: cannot be changed; it is 4" in error

    await house.done(await house.client.put(own, json={"options": {}}, headers=JSON))
    assert json_of(await house.client.get(own, headers=JSON))["options"] == {}
    wrong = {"options": {"compression": "max"}}
    task = await house.task(await house.client.put(own, json=wrong, headers=JSON))
    assert "options.compression: expected none or zstd" in task["Result"]["Message"]
    wrong = {"options": {"active_full": {"week": []}}}
    error = error_message(await house.client.put(own, json=wrong, headers=JSON), 400)
    assert error == "options.active_full: expected at least one day in week or month."


async def test_a_backup_is_checked_and_damage_is_shown(house: House) -> None:
    write_image(house.folder / "a.raw", 1)
    job = await house.create("a.raw")
    await house.done(await house.client.post(f"/api/jobs/{job}?action=start", headers=JSON))
    await house.server.wait_until_idle()
    check = f"/api/holdfast/v1/jobs/{job}/check"
    session = await house.session(await house.done(await house.client.post(check, headers=JSON)))
    assert session["Result"] == "Success"
    [point] = await house.points("a")
    address = f"/api/holdfast/v1/vmRestorePoints/{point['UID']}"
    state = json_of(await house.client.get(address, headers=JSON))
    assert (state["machine"], state["type"], state["damaged"]) == ("a", "Full", None)

    [file] = (house.folder / "repository").glob("*/*.qcow2")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    session = await house.session(await house.done(await house.client.post(check, headers=JSON)))
    assert session["Result"] == "Warning"
    await house.manager.collected()
    state = json_of(await house.client.get(address, headers=JSON))
    assert str(file) in state["damaged"]
    all_damaged = json_of(await house.client.get(address.rpartition("/")[0], headers=JSON))
    assert all_damaged == {"points": [state]}
    assert len(await house.points("a")) == 2
    restore = f"/api/vmRestorePoints/{point['UID']}?action=restore"
    task = await house.task(await house.client.post(restore, headers=JSON, json={}))
    assert "is damaged" in task["Result"]["Message"]
