"""Collection from backup servers that misbehave, as no real one can be made to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from holdfast.catalog.reader import CatalogReader
from holdfast.catalog.sweeping import LOST
from holdfast.manager.connection import BackupServerUnavailable
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.query.request import PageLimits, parse_query
from holdfast.server.messages import Change, Changes, Information
from support.managers import running_manager

SERVER = uuid4()
LIMIT = 20.0


class FakeBackupServer:
    """Answers for a backup server whose feed is written by the test."""

    def __init__(self) -> None:
        self.epoch = uuid4()
        self.changes: list[Change] = []
        self.stuck = False
        self.asked = 0

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def publish(self, kind: str, uid: UUID | None = None, **values: Any) -> UUID:
        """Add to the feed; return the UID."""
        uid = uid or uuid4()
        change = Change(sequence=len(self.changes) + 1, type=kind, uid=uid, name="x", values=values)
        self.changes.append(change)
        return uid

    def start_anew(self) -> None:
        """Lose the database: another epoch, an empty feed."""
        self.epoch, self.changes = uuid4(), []

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/information":
            information = Information(
                uid=SERVER,
                epoch=self.epoch,
                name="srv",
                description="",
                version="1",
                cursor=len(self.changes),
            )
            return _json(information)
        self.asked += 1
        after = int(request.url.params["after"])
        if self.stuck:
            again = self.changes[:after][-1:]
            return _json(Changes(epoch=self.epoch, cursor=after, more=True, changes=again))
        if int(request.url.params["wait"]) and after >= len(self.changes):
            await asyncio.sleep(0.05)
        batch = self.changes[after : after + 2]
        cursor = batch[-1].sequence if batch else min(after, len(self.changes))
        more = cursor < len(self.changes)
        return _json(Changes(epoch=self.epoch, cursor=cursor, more=more, changes=batch))


def _json(message: object) -> httpx.Response:
    return httpx.Response(200, content=msgspec.json.encode(message))


async def names(manager: EnterpriseManager, kind: str) -> dict[UUID, dict[str, Any]]:
    query = parse_query(
        manager.schema, [("type", kind), ("format", "Entities"), ("pageSize", "100")], PageLimits()
    )
    found = await CatalogReader(manager.store).rows(query)
    return {UUID(row["UID"]): row for row in found.rows}


async def until_known(manager: EnterpriseManager, kind: str, uid: UUID) -> None:
    async with asyncio.timeout(LIMIT):
        while uid not in await names(manager, kind):
            await asyncio.sleep(0.02)


REPOSITORY: dict[str, Any] = {"Capacity": 1, "FreeSpace": 1, "Kind": "LinuxLocal"}
RUNNING: dict[str, Any] = {
    "JobName": "j",
    "JobType": "Backup",
    "CreationTimeUTC": 1,
    "State": "Working",
    "Result": "None",
    "Progress": 5,
    "IsRetry": False,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"State": 5},
        {"State": "bogus"},
        {"JobUid": 7},
        {"JobUid": "seven"},
        {"Progress": 1 << 64},
        {"Progress": "much"},
        {"CreationTimeUTC": 10**17},
        {"JobName": ["x"]},
        {"IsRetry": "yes"},
        {"Unheard": 1},
    ],
    ids=str,
)
async def test_a_record_that_does_not_fit_keeps_no_other_one_out(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    server = FakeBackupServer()
    bad = server.publish("BackupJobSession", **(RUNNING | wrong))
    good = server.publish("Repository", **REPOSITORY)
    async with running_manager(tmp_path) as manager:
        await manager.connect("http://fake", "token", server.transport)
        await until_known(manager, "Repository", good)

        assert bad not in await names(manager, "BackupJobSession")


async def test_a_structure_with_a_wrong_part_is_kept_out(tmp_path: Path) -> None:
    server = FakeBackupServer()
    bad = server.publish("Job", JobType="Backup", JobInfo="text")
    worse = server.publish("Job", JobType="Backup", JobInfo={"BackupJobInfo": {"Includes": 5}})
    good = server.publish("Job", JobType="Backup")
    async with running_manager(tmp_path) as manager:
        await manager.connect("http://fake", "token", server.transport)
        await until_known(manager, "Job", good)

        assert set(await names(manager, "Job")) == {good}
        assert {bad, worse}.isdisjoint(await names(manager, "Job"))


async def test_a_feed_that_gets_no_further_is_given_rest(tmp_path: Path) -> None:
    server = FakeBackupServer()
    known = server.publish("Repository", **REPOSITORY)
    async with running_manager(tmp_path) as manager:
        await manager.connect("http://fake", "token", server.transport)
        await until_known(manager, "Repository", known)
        server.stuck = True
        late = server.publish("Repository", **REPOSITORY)
        collector = manager.servers.get(SERVER)
        assert collector is not None
        with pytest.raises(BackupServerUnavailable, match="without getting further"):
            await collector.collect()
        before = server.asked
        await asyncio.sleep(1)
        assert server.asked - before <= 5

        server.stuck = False
        await until_known(manager, "Repository", late)


async def test_when_a_feed_starts_anew_what_is_gone_goes_and_history_stays(tmp_path: Path) -> None:
    server = FakeBackupServer()
    gone = server.publish("Repository", **REPOSITORY)
    kept = server.publish("Repository", **REPOSITORY)
    running = server.publish("BackupJobSession", **RUNNING)
    over = server.publish(
        "BackupJobSession", **(RUNNING | {"State": "Stopped", "Result": "Success"})
    )
    async with running_manager(tmp_path) as manager:
        await manager.connect("http://fake", "token", server.transport)
        await until_known(manager, "BackupJobSession", over)

        server.start_anew()
        server.publish("Repository", kept, **REPOSITORY)
        new = server.publish("Repository", **REPOSITORY)
        server.publish("Repository", **REPOSITORY)
        async with asyncio.timeout(LIMIT):
            while gone in await names(manager, "Repository"):
                await asyncio.sleep(0.02)

        assert {kept, new} <= set(await names(manager, "Repository"))
        sessions = await names(manager, "BackupJobSession")
        lost = sessions[running]
        assert (lost["State"], lost["Result"], lost["FailureMessage"]) == (
            "Stopped",
            "Failed",
            LOST,
        )
        assert sessions[over]["Result"] == "Success"


async def test_two_readers_of_one_feed_write_each_batch_once(tmp_path: Path) -> None:
    server = FakeBackupServer()
    for _ in range(20):
        server.publish("Repository", **REPOSITORY)
    async with running_manager(tmp_path) as manager:
        await manager.connect("http://fake", "token", server.transport)
        writes = 0
        write = manager.store.write

        async def counted(change: Any) -> Any:
            nonlocal writes
            writes += 1
            return await write(change)

        manager.store.write = counted  # type: ignore[method-assign]
        await asyncio.gather(*(manager.collected() for _ in range(5)))
        assert len(await names(manager, "Repository")) == 20

        assert writes <= 10, "two records a batch: no batch may be written twice"
