"""A manager and a backup server whose points are restored, mounted and browsed over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from holdfast.manager.in_process import InProcessTransport
from holdfast.server.backup_server import BackupServer
from holdfast.server.messages import Command
from holdfast.server.mounts import MountLimits
from support.disks import ext_image, sample_tree
from support.managers import JSON, add_administrator, client_of, log_on, running_manager

from .test_job_actions import SERVER_URL, GatedTransport, House, related


class RestoreHouse(House):
    """A house with restore points in it."""

    async def directory_job(self, name: str, directory: Path) -> str:
        """Make a job of a directory; return its address below the API."""
        outcome = await self.server.execute(
            Command(
                request_id=uuid4(),
                operation="create-job",
                arguments={
                    "name": name,
                    "kind": "NasBackup",
                    "repository": str(self.repository),
                    "sources": [{"path": str(directory)}],
                },
            )
        )
        assert outcome.success, outcome.message
        assert outcome.made is not None
        await self.manager.collected()
        return f"/api/jobs/{outcome.made.uid}"

    async def machine(self, name: str = "web") -> tuple[str, dict[str, bytes]]:
        """Back up a machine with a file system; return its point's address and its files."""
        tree = self.folder / f"{name}-tree"
        tree.mkdir()
        contents = sample_tree(tree)
        image = self.folder / f"{name}.raw"
        ext_image(image, tree)
        await self.run(await self.job(f"Backup of {name}", image))
        await self.manager.collected()
        return await self.point(name), contents

    async def point(self, name: str) -> str:
        """Return the address of a machine's newest point."""
        found = (await self.get("/api/vmRestorePoints?format=Entity"))["VmRestorePoints"]
        uid = next(p["UID"] for p in found if p["VmDisplayName"] == name)
        return f"/api/vmRestorePoints/{uid.rpartition(':')[2]}"

    async def mounted(self, point: str) -> str:
        """Mount a point; return the mount's address."""
        task = await self.finished(await self.post(f"{point}/mounts", {"OsKind": "Linux"}))
        assert task["Result"]["Success"], task
        address: str = related(task)["Href"]
        return address

    async def done(self, path: str, body: Any = None) -> dict[str, Any]:
        """Ask for something that is a task; return it when it is Finished."""
        return await self.finished(await self.post(path, body))


@asynccontextmanager
async def restore_house(
    folder: Path, limits: MountLimits | None = None
) -> AsyncIterator[RestoreHouse]:
    """Run a house in a folder."""
    server = BackupServer(folder / "server", "srv01", mount_limits=limits)
    await server.start()
    line = GatedTransport(server)
    try:
        async with running_manager(folder / "manager") as manager:
            await add_administrator(manager)
            await manager.connect(SERVER_URL, server.token, InProcessTransport(server.app))
            async with client_of(manager) as client:
                await log_on(client)
                client.headers.update(JSON)
                house = RestoreHouse(folder, manager, server, line, client)
                house.repository = await server.add_repository("Main", folder / "repository")
                yield house
    finally:
        await server.stop()
