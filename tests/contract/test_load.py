"""Many clients at once are answered as one client is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random
from uuid import UUID

import httpx

from holdfast.api.app import create_app
from holdfast.catalog.writer import RowState, put
from holdfast.manager.enterprise_manager import EnterpriseManager
from support.managers import FORMATS, TOKEN, add_administrator, running_manager
from support.servers import served

CLIENTS = 50
REQUESTS = 40
ROWS = 300
LONGEST = 120.0

RESULTS = ("Success", "Warning", "Failed", "None")


async def _fill(manager: EnterpriseManager) -> None:
    now = time.time_ns() // 1_000_000
    schema = manager.schema

    def write(connection) -> None:
        server = UUID(int=1)
        put(connection, schema["BackupServer"], RowState(server, "srv01"))
        for number in range(20):
            job = RowState(UUID(int=100 + number), f"Job {number}", {"JobType": "Backup"})
            put(connection, schema["Job"], job)
        for number in range(ROWS):
            values = {
                "VmDisplayName": f"vm{number % 17}",
                "CreationTimeUTC": now - number * 1000,
                "State": "Completed",
                "Result": RESULTS[number % 4],
                "Reason": "a & b",
                "TotalSize": number,
            }
            relations = {"server": server, "job": UUID(int=100 + number % 20)}
            state = RowState(UUID(int=1000 + number), f"vm@{number}", values, relations)
            put(connection, schema["BackupTaskSession"], state)

    await manager.store.write(write)


def _addresses() -> list[str]:
    query = "/api/query?type=BackupTaskSession&format=Entities"
    return [
        "/api/",
        "/api/jobs",
        "/api/jobs?format=Entity",
        "/api/backupServers",
        "/api/backupTaskSessions?pageSize=20&page=3",
        "/api/query?type=Job&filter=Name==nothing",
        "/api/query?type=Job&filter=Nope==1",
        "/api/jobs/1",
        *(f"/api/jobs/{UUID(int=100 + n)}?format=Entity" for n in range(20)),
        *(f"/api/backupTaskSessions/{UUID(int=1000 + n)}" for n in range(0, ROWS, 10)),
        *(f"{query}&filter=Result=={result}&sortDesc=TotalSize" for result in RESULTS),
        *(f"{query}&filter=VmDisplayName==VM{n};TotalSize>50" for n in range(17)),
        *(f"{query}&pageSize=25&page={page}&sortAsc=JobUid" for page in range(1, 13)),
    ]


async def test_fifty_sessions_at_once_get_the_answers_that_one_gets(tmp_path: Path) -> None:
    addresses = [(path, form) for path in _addresses() for form in FORMATS]
    async with running_manager(tmp_path) as manager, served(create_app(manager)) as port:
        await add_administrator(manager)
        await _fill(manager)
        base = f"http://127.0.0.1:{port}"
        started = time.monotonic()
        waits: list[float] = []

        async def logged_on() -> httpx.AsyncClient:
            client = httpx.AsyncClient(base_url=base, timeout=30)
            answer = await client.post("/api/sessionMngr/?v=latest", auth=("admin", "secret"))
            assert answer.status_code == 201
            client.cookies.clear()
            client.headers[TOKEN] = answer.headers[TOKEN]
            return client

        async def ask(client: httpx.AsyncClient, path: str, form: str) -> tuple[int, str, bytes]:
            asked = time.monotonic()
            answer = await client.get(path, headers=FORMATS[form])
            waits.append(time.monotonic() - asked)
            return answer.status_code, answer.headers["Content-Type"], answer.content

        alone = await logged_on()
        expected = {address: await ask(alone, *address) for address in addresses}
        await alone.aclose()
        assert {status for status, _, _ in expected.values()} == {200, 400, 404}
        waits.clear()

        async def work(number: int) -> int:
            client = await logged_on()
            random = Random(number)
            for address in random.choices(addresses, k=REQUESTS):
                assert await ask(client, *address) == expected[address], address
            await client.aclose()
            return REQUESTS

        done = await asyncio.gather(*(work(number) for number in range(CLIENTS)))

    assert sum(done) == CLIENTS * REQUESTS == len(waits)
    assert time.monotonic() - started < LONGEST
    assert max(waits) < LONGEST / 4
    sessions = await _count_sessions(tmp_path)
    assert sessions == CLIENTS + 1


async def _count_sessions(directory: Path) -> int:
    async with running_manager(directory) as manager:
        count = "SELECT count(*) FROM logon_session"
        return (await manager.store.read(lambda c: c.execute(count).fetchone()))[0]


async def test_rows_written_meanwhile_are_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    async with running_manager(tmp_path) as manager, served(create_app(manager)) as port:
        await add_administrator(manager)
        base = f"http://127.0.0.1:{port}"
        stop = asyncio.Event()

        async def writer() -> int:
            version = 0
            while not stop.is_set():
                version += 1

                def change(connection, version: int = version) -> None:
                    for number in range(30):
                        relations = {"server": UUID(int=1)}
                        state = RowState(UUID(int=number + 1), f"version {version}", {}, relations)
                        put(connection, manager.schema["Repository"], state)

                await manager.store.write(change)
            return version

        async def reader() -> int:
            async with httpx.AsyncClient(base_url=base, auth=("admin", "secret")) as client:
                answer = await client.post("/api/sessionMngr/")
                token = {TOKEN: answer.headers[TOKEN]}
                names: list[str] = []
                for _ in range(30):
                    path = "/api/query?type=Repository&pageSize=100"
                    answer = await client.get(path, headers=token | FORMATS["json"])
                    assert answer.status_code == 200
                    seen = [row["Name"] for row in answer.json()["Refs"]["Refs"]]
                    assert len(seen) in (0, 30)
                    assert len(set(seen)) <= 1
                    names += seen[:1]
            versions = [int(name.split()[1]) for name in names]
            assert versions == sorted(versions)
            return len(set(versions))

        writing = asyncio.create_task(writer())
        changes = await asyncio.gather(*(reader() for _ in range(5)))
        stop.set()
        written = await writing

    assert written > 1
    assert max(changes) > 1, "the readers never saw a change"
