"""A backup server under test: its clock, its machines, and shorthands to ask it things."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, select

from holdfast.server import outbox
from holdfast.server.backup_server import BackupServer
from holdfast.server.messages import Change, Command, Outcome
from holdfast.server.mounts import MountLimits
from holdfast.server.platform import Platform

MIB = 1024 * 1024


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def advance(self, distance: timedelta) -> None:
        self._now += distance
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, moment: datetime) -> None:
        while self._now < moment:
            await self._moved.wait()


def write_image(path: Path, seed: int, size: int = 8 * MIB) -> bytes:
    """Write a raw image with some data of its own; return its content."""
    content = bytearray(size)
    draw = random.Random(seed)
    for _ in range(8):
        start = draw.randrange(0, size // 65536) * 65536
        content[start : start + 65536] = draw.randbytes(65536)
    path.write_bytes(content)
    return bytes(content)


def write_slow_image(path: Path, size: int = 256 * MIB) -> None:
    """Write a raw image full of data, which takes a second or more to be backed up."""
    chunk = random.Random(7).randbytes(MIB)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(chunk)


def flip(path: Path) -> None:
    """Change one bit in the middle of a file, without changing anything else about it."""
    status = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)[0]
        file.seek(status.st_size // 2)
        file.write(bytes([byte ^ 1]))


class Lab:
    """A server under test, and shorthands to ask it things."""

    def __init__(self, server: BackupServer, clock: HandClock, folder: Path) -> None:
        self.server = server
        self.clock = clock
        self.folder = folder
        self.repository = UUID(int=0)

    @property
    def repository_path(self) -> Path:
        return self.folder / "repository"

    def source(self, name: str) -> Path:
        return self.folder / "sources" / name

    async def command(
        self, operation: str, target: UUID | None = None, **arguments: Any
    ) -> Outcome:
        """Send a new command, as "operator"."""
        return await self.server.execute(
            Command(
                request_id=uuid4(),
                operation=operation,
                target=target,
                arguments=arguments,
                asked_by="operator",
            )
        )

    async def create_job(self, *names: str, job: str = "Nightly", **more: Any) -> UUID:
        """Make a job over the sources of these names; return its UID."""
        arguments: dict[str, Any] = {
            "name": job,
            "sources": [{"path": str(self.source(name))} for name in names],
            "repository": str(self.repository),
            **more,
        }
        outcome = await self.command("create-job", **arguments)
        assert outcome.success, outcome.message
        assert outcome.made is not None
        return outcome.made.uid

    async def begin(self, job: UUID, operation: str = "start-job") -> UUID:
        """Start a job; return the UID of its session."""
        outcome = await self.command(operation, job)
        assert outcome.success, outcome.message
        assert outcome.made is not None
        return outcome.made.uid

    async def run(self, job: UUID, operation: str = "start-job") -> Change:
        """Start a job and wait for its end; return its session as published."""
        session = await self.begin(job, operation)
        await self.server.wait_until_idle()
        self.clock.advance(timedelta(minutes=10))
        return await self.resource("BackupJobSession", session)

    async def feed(self) -> list[Change]:
        """Return the whole feed."""
        return await self.server._store.read(lambda c: outbox.changes_after(c, 0, 10_000)[0])

    async def resources(self, resource_type: str) -> list[Change]:
        """Return the resources of a type that are shown now, in the order they were changed."""
        return [c for c in await self.feed() if c.type == resource_type and not c.removed]

    async def resource(self, resource_type: str, uid: UUID) -> Change:
        return next(c for c in await self.resources(resource_type) if c.uid == uid)

    async def tasks(self, session: UUID) -> dict[str, Change]:
        """Return the task sessions of a session by machine."""
        return {
            change.values["VmDisplayName"]: change
            for change in await self.resources("BackupTaskSession")
            if change.relations["job_session"] == session
        }

    async def points(self, machine: str) -> list[Change]:
        """Return the points of a machine, oldest first."""
        found = [
            change
            for change in await self.resources("VmRestorePoint")
            if change.values["VmDisplayName"] == machine
        ]
        return sorted(found, key=lambda change: change.values["CreationTimeUTC"])

    async def restored(self, point: UUID) -> bytes:
        """Restore the point of an image; return its content."""
        target = self.folder / f"restored-{uuid4()}"
        await self.server.restore.point(point, target)
        return target.read_bytes()

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> None:
        """Return when the condition gives something; fail after a minute."""
        async with asyncio.timeout(60):
            while True:
                if await condition():
                    return
                await asyncio.sleep(0.01)

    async def until_copying(self) -> None:
        """Return when a backup file is being written."""

        async def partial() -> bool:
            return any(self.repository_path.glob("*/*.partial"))

        await self.until(partial)

    async def rows(self, table: Any) -> list[Any]:
        return await self.server._store.read(lambda c: list(c.execute(select(table))))

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        return await self.server._store.write(work)


@asynccontextmanager
async def running_lab(
    folder: Path,
    clock: HandClock,
    mount_limits: MountLimits | None = None,
    *,
    platform: Platform | None = None,
) -> AsyncIterator[Lab]:
    """Run a server on a folder."""
    (folder / "sources").mkdir(exist_ok=True)
    server = BackupServer(
        folder / "server",
        "backup01",
        clock=clock,
        platform=platform,
        mount_limits=mount_limits,
    )
    await server.start()
    await server.wait_until_idle()
    try:
        lab = Lab(server, clock, folder)
        lab.repository = await server.add_repository("Main", lab.repository_path)
        yield lab
    finally:
        await server.stop()
