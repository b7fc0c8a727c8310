"""What can be done to jobs and sessions, over HTTP, with a backup server that really does it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.server.backup_server import BackupServer
from holdfast.server.messages import Command
from support.documents import error_message
from support.managers import JSON, add_administrator, client_of, log_on, running_manager

MIB = 1 << 20
SERVER_URL = "http://backup-server.local"
LIMIT = 60.0


class GatedTransport(httpx.AsyncBaseTransport):
    """The line to a backup server, with a gate before each kind of request.

    The real service answers behind it; the gates only hold requests back for as long as a test
    wants to look at what is true meanwhile.
    """

    def __init__(self, server: BackupServer) -> None:
        self._line = httpx.ASGITransport(app=server.app)
        self.gates = {"/commands": asyncio.Event(), "/changes": asyncio.Event()}
        self.broken = False
        for gate in self.gates.values():
            gate.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if (gate := self.gates.get(request.url.path)) is not None:
            await gate.wait()
        if self.broken:
            raise httpx.ConnectError("connection refused")
        response = await self._line.handle_async_request(request)
        if gate is not None:
            # What was asked before the gate closed is held back, too.
            await gate.wait()
        return response


class House:
    """A manager, a backup server with one repository, and an administrator's client."""

    def __init__(
        self,
        folder: Path,
        manager: EnterpriseManager,
        server: BackupServer,
        line: GatedTransport,
        client: httpx.AsyncClient,
    ) -> None:
        self.folder = folder
        self.manager = manager
        self.server = server
        self.line = line
        self.client = client
        self.repository = UUID(int=0)

    async def job(self, name: str, *images: Path, retention: int = 7) -> str:
        """Make a job of disk images; return its address below the API."""
        outcome = await self.server.execute(
            Command(
                request_id=uuid4(),
                operation="create-job",
                arguments={
                    "name": name,
                    "repository": str(self.repository),
                    "retention": retention,
                    "sources": [{"path": str(image), "format": "raw"} for image in images],
                },
            )
        )
        assert outcome.success, outcome.message
        assert outcome.made is not None
        await self.manager.collected()
        return f"/api/jobs/{outcome.made.uid}"

    def image(self, name: str, size: int = 2 * MIB) -> Path:
        """Make a raw disk image with random data."""
        image = self.folder / f"{name}.raw"
        chance = random.Random(name)
        with image.open("wb") as disk:
            for _ in range(size // MIB):
                disk.write(chance.randbytes(MIB))
        return image

    async def post(self, path: str, body: Any = None) -> dict[str, Any]:
        """Ask for something; return the task in the answer, which must be a 202."""
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 202, answer.text
        assert answer.headers["Location"] == answer.json()["Href"]
        task: dict[str, Any] = answer.json()
        return task

    async def get(self, path: str) -> dict[str, Any]:
        """Return the document at a path."""
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def finished(self, task: dict[str, Any]) -> dict[str, Any]:
        """Poll a task until it is Finished."""
        async with asyncio.timeout(LIMIT):
            while task["State"] != "Finished":
                await asyncio.sleep(0.01)
                task = await self.get(task["Href"])
        return task

    async def stopped(self, session: str) -> dict[str, Any]:
        """Poll a session until it has stopped."""
        async with asyncio.timeout(LIMIT):
            while (shown := await self.get(session))["State"] != "Stopped":
                await asyncio.sleep(0.02)
        return shown

    async def run(self, job: str, action: str = "start") -> dict[str, Any]:
        """Start (or retry) a job; return its session when it has stopped."""
        task = await self.finished(await self.post(f"{job}?action={action}"))
        assert task["Result"]["Success"], task
        return await self.stopped(related(task)["Href"])

    async def tasks_of(self, session: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the task sessions of a session by the machine's name."""
        path = session["Href"].split("?")[0] + "/taskSessions?format=Entity"
        found = (await self.get(path))["BackupTaskSessions"]
        return {task["VmDisplayName"]: task for task in found}


def related(task: dict[str, Any]) -> dict[str, Any]:
    (link,) = [link for link in task["Links"] if link["Rel"] == "Related"]
    found: dict[str, Any] = link
    return found


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    server = BackupServer(tmp_path / "server", "srv01")
    await server.start()
    line = GatedTransport(server)
    try:
        async with running_manager(tmp_path / "manager") as manager:
            await add_administrator(manager)
            await manager.connect(SERVER_URL, server.token, line)
            async with client_of(manager) as client:
                await log_on(client)
                client.headers.update(JSON)
                house = House(tmp_path, manager, server, line, client)
                house.repository = await server.add_repository("Main", tmp_path / "repository")
                yield house
            for gate in line.gates.values():
                gate.set()
    finally:
        await server.stop()


async def test_a_task_is_running_then_done_then_collected_each_for_its_true_reason(
    house: House,
) -> None:
    job = await house.job("Nightly", house.image("web"))

    house.line.gates["/commands"].clear()
    task = await house.post(f"{job}?action=start")
    await asyncio.sleep(0.1)
    running = await house.get(task["Href"])
    assert (running["State"], running["Result"]) == ("Running", None)
    assert [link["Rel"] for link in running["Links"]] == ["Delete"]

    house.line.gates["/changes"].clear()
    house.line.gates["/commands"].set()
    await house.server.wait_until_idle()
    async with asyncio.timeout(LIMIT):
        while (done := await house.get(task["Href"]))["State"] == "Running":
            await asyncio.sleep(0.01)
    assert done["State"] == "OperationFinished"
    assert done["Result"] == {"Message": "OperationFinished", "Success": True}
    await asyncio.sleep(0.2)
    assert (await house.get(task["Href"]))["State"] == "OperationFinished"
    assert (await house.get("/api/backupSessions"))["Refs"] == []

    house.line.gates["/changes"].set()
    finished = await house.finished(done)
    assert finished["Operation"] == "StartJob"
    assert finished["Result"] == {"Message": "Ok", "Success": True}
    assert related(finished)["Type"] == "BackupJobSession"
    assert related(finished)["Name"] is None
    session = await house.stopped(related(finished)["Href"])
    assert session["Result"] == "Success"


async def test_a_started_job_leaves_a_session_its_task_sessions_and_points(house: House) -> None:
    job = await house.job("Nightly", house.image("web"), house.image("mail", 3 * MIB))

    session = await house.run(job)

    assert session["Result"] == "Success"
    assert session["Progress"] == 100
    assert session["IsRetry"] is False
    tasks = await house.tasks_of(session)
    assert {name: task["TotalSize"] for name, task in tasks.items()} == {
        "web": 2 * MIB,
        "mail": 3 * MIB,
    }
    for name, task in tasks.items():
        assert (task["State"], task["Result"], task["Reason"]) == ("Completed", "Success", "")
        assert session["CreationTimeUTC"] <= task["CreationTimeUTC"] < task["EndTimeUTC"]
        point = await house.get(related(task)["Href"])
        assert (point["VmDisplayName"], point["PointType"]) == (name, "Full")

    second = await house.tasks_of(await house.run(job))
    point = await house.get(related(second["web"])["Href"])
    assert (point["PointType"], point["Algorithm"]) == ("Increment", "Incremental")


async def test_a_job_that_runs_already_is_not_started_again_and_the_task_says_so(
    house: House,
) -> None:
    job = await house.job("Long", house.image("big", 192 * MIB))
    first = await house.finished(await house.post(f"{job}?action=start"))

    second = await house.finished(await house.post(f"{job}?action=start"))

    assert second["Result"]["Success"] is False
    assert "Long" in second["Result"]["Message"]
    assert "running" in second["Result"]["Message"]
    await house.finished(await house.post(f"{job}?action=stop"))
    await house.stopped(related(first)["Href"])


@pytest.mark.parametrize("way", ["job", "session"])
async def test_a_running_job_is_stopped_while_it_copies_and_nothing_of_it_stays(
    house: House, way: str
) -> None:
    job = await house.job("Long", house.image("big", 256 * MIB))
    started = await house.finished(await house.post(f"{job}?action=start"))
    session = related(started)["Href"]
    async with asyncio.timeout(LIMIT):
        while not list((house.folder / "repository").rglob("*.partial")):
            await asyncio.sleep(0.005)

    target = job if way == "job" else session.split("?")[0]
    stop = await house.finished(await house.post(f"{target}?action=stop"))

    assert stop["Result"]["Success"], stop
    assert stop["Operation"] == ("StopJob" if way == "job" else "StopJobSession")
    ended = await house.stopped(session)
    assert ended["Result"] == "Failed"
    (task,) = (await house.tasks_of(ended)).values()
    assert "admin" in task["Reason"]
    assert [link["Rel"] for link in task["Links"]] == ["Up", "Up", "Alternate"]
    assert (await house.get("/api/restorePoints"))["Refs"] == []
    left = [path.suffix for path in (house.folder / "repository").rglob("*.*") if path.is_file()]
    assert left == [".json"], "only the repository's marker"


async def test_one_missing_machine_fails_the_session_and_only_it_is_retried(house: House) -> None:
    web, mail = house.image("web"), house.image("mail")
    job = await house.job("Nightly", web, mail)
    hidden = mail.rename(mail.with_suffix(".hidden"))

    failed = await house.run(job)
    assert failed["Result"] == "Failed"
    tasks = await house.tasks_of(failed)
    assert {name: task["Result"] for name, task in tasks.items()} == {
        "web": "Success",
        "mail": "Failed",
    }
    assert str(mail) in tasks["mail"]["Reason"]
    assert (await house.get(related(tasks["web"])["Href"]))["VmDisplayName"] == "web"

    hidden.rename(mail)
    retried = await house.run(job, "retry")
    assert (retried["Result"], retried["IsRetry"]) == ("Success", True)
    assert list(await house.tasks_of(retried)) == ["mail"]

    again = await house.finished(await house.post(f"{job}?action=retry"))
    assert again["Result"]["Success"] is False


async def test_a_clone_is_a_job_of_its_own_named_as_asked(house: House) -> None:
    job = await house.job("Nightly", house.image("web"))
    body = {"BackupJobCloneInfo": {"JobName": "Copy & more", "Description": "a copy"}}

    task = await house.finished(await house.post(f"{job}?action=clone", body))

    assert task["Operation"] == "CloneJob"
    assert (related(task)["Type"], related(task)["Name"]) == ("Job", "Copy & more")
    clone = await house.get(related(task)["Href"])
    assert (clone["Description"], clone["ScheduleEnabled"]) == ("a copy", False)
    (included,) = (await house.get(clone["Href"].split("?")[0] + "/includes"))["ObjectsInJob"]
    assert included["DisplayName"] == "web"
    unnamed = await house.finished(await house.post(f"{job}?action=clone"))
    assert related(unnamed)["Name"].startswith("Cloned job (")


async def test_a_clone_body_is_read_in_xml_too_and_its_faults_are_named(house: House) -> None:
    job = await house.job("Nightly", house.image("web"))
    namespace = 'xmlns="http://www.veeam.com/ent/v1.0"'

    def body(content: str) -> str:
        info = f"<BackupJobCloneInfo>{content}</BackupJobCloneInfo>"
        return f"<JobCloneSpec {namespace}>{info}</JobCloneSpec>"

    headers = {"Content-Type": "application/xml"}
    right = body("<JobName>From XML</JobName><FolderName>x</FolderName>")
    answer = await house.client.post(f"{job}?action=clone", content=right, headers=headers)
    assert related(await house.finished(answer.json()))["Name"] == "From XML"

    swapped = body("<Description>d</Description><JobName>n</JobName>")
    answer = await house.client.post(f"{job}?action=clone", content=swapped, headers=headers)
    assert "JobName must come before Description" in error_message(answer, 400)
    entity = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + body("&b;")
    answer = await house.client.post(f"{job}?action=clone", content=entity, headers=headers)
    assert "root:" not in error_message(answer, 400)


async def test_the_schedule_is_switched_and_a_deleted_job_leaves_its_history_and_points(
    house: House,
) -> None:
    job = await house.job("Nightly", house.image("web"))
    session = await house.run(job)

    toggled = await house.finished(await house.post(f"{job}?action=toggleScheduleEnabled"))
    assert toggled["Operation"] == "UpdateJob"

    answer = await house.client.delete(job)
    assert answer.status_code == 202
    assert (await house.finished(answer.json()))["Operation"] == "DeleteJob"
    error_message(await house.client.get(job), 404)
    kept = await house.get(session["Href"])
    assert (kept["JobName"], kept["Result"]) == ("Nightly", "Success")
    assert "JobReference" not in [link["Type"] for link in kept["Links"]]
    assert len((await house.get("/api/vmRestorePoints"))["Refs"]) == 1


async def test_an_action_on_a_backup_server_that_is_down_fails_with_that_reason(
    house: House,
) -> None:
    job = await house.job("Nightly", house.image("web"))
    house.line.broken = True

    task = await house.finished(await house.post(f"{job}?action=start"))

    assert task["Result"]["Success"] is False
    assert "connection refused" in task["Result"]["Message"]
    assert (await house.get(job + "?format=Entity"))["Name"] == "Nightly"
    house.line.broken = False


async def test_tasks_belong_to_their_logon_session_and_are_numbered_in_it(house: House) -> None:
    job = await house.job("Nightly", house.image("web"))
    for _ in range(2):
        await house.finished(await house.post(f"{job}?action=toggleScheduleEnabled"))
    own = (await house.get("/api/tasks"))["Tasks"]
    assert [task["TaskId"] for task in own] == ["task-1", "task-2"]

    async with client_of(house.manager) as other:
        await log_on(other)
        other.headers.update(JSON)
        assert (await other.get("/api/tasks")).json() == {"Tasks": []}
        assert "task-1" in error_message(await other.get("/api/tasks/task-1"), 404)

    assert (await house.client.delete("/api/tasks/task-1")).status_code == 204
    error_message(await house.client.get("/api/tasks/task-1"), 404)
    left = await house.get("/api/query?type=Task&filter=State==Finished")
    assert [task["TaskId"] for task in left["Resources"]["Tasks"]["Tasks"]] == ["task-2"]


async def test_jobs_are_created_through_our_own_part_of_the_api(house: House) -> None:
    await house.manager.collected()
    image = house.image("web")
    body = {
        "name": "Made here",
        "repository": f"urn:veeam:Repository:{house.repository}",
        "sources": [{"path": str(image)}],
    }

    task = await house.finished(await house.post("/api/holdfast/v1/jobs", body))
    assert related(task)["Name"] == "Made here"

    twice = await house.finished(await house.post("/api/holdfast/v1/jobs", body))
    assert "Made here" in twice["Result"]["Message"]
    unknown = body | {"repository": str(uuid4())}
    answer = await house.client.post("/api/holdfast/v1/jobs", json=unknown)
    assert "repository" in error_message(answer, 400)


async def test_unfinished_tasks_go_on_after_the_manager_was_restarted(
    house: House, tmp_path: Path
) -> None:
    job = await house.job("Nightly", house.image("web"))
    house.line.gates["/changes"].clear()
    task = await house.post(f"{job}?action=start")
    await house.server.wait_until_idle()
    async with asyncio.timeout(LIMIT):
        while (await house.get(task["Href"]))["State"] != "OperationFinished":
            await asyncio.sleep(0.01)
    await house.manager.stop()
    house.line.gates["/changes"].set()

    async with running_manager(tmp_path / "manager") as manager:
        await manager.connect(SERVER_URL, house.server.token, GatedTransport(house.server))
        await manager.resume()
        async with client_of(manager) as client:
            client.headers.update(house.client.headers)
            async with asyncio.timeout(LIMIT):
                while True:
                    shown = (await client.get(task["Href"])).json()
                    if shown["State"] == "Finished":
                        break
                    await asyncio.sleep(0.02)
            sessions = (await client.get("/api/backupSessions")).json()["Refs"]

    assert shown["Result"]["Success"] is True
    assert len(sessions) == 1, "the command was carried out once"
