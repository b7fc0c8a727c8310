"""A manager and a backup server in one process, over the interface they have between machines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.settings import Settings
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.manager.in_process import InProcessTransport
from holdfast.server.backup_server import BackupServer
from holdfast.server.mounts import MountLimits
from holdfast.server.slots import Concurrency

#: The name of the backup server that comes with a manager, and of its repository.
SERVER_NAME = "Local Backup Server"
REPOSITORY_NAME = "Default Backup Repository"

# Never looked up: the transport below ends in the server itself.
_SERVER_URL = "http://backup-server.local"


@dataclass(frozen=True)
class Installation:
    """What runs in this process."""

    manager: EnterpriseManager
    server: BackupServer


def mount_limits_of(settings: Settings) -> MountLimits:
    """Given the settings, return how long restore points stay mounted."""
    return MountLimits(idle_seconds=60.0 * settings.mount_idle_minutes)


def concurrency_of(settings: Settings) -> Concurrency:
    """Given the settings, return how much the backup server does at once."""
    return Concurrency(
        settings.concurrent_machines,
        settings.concurrent_per_repository,
        settings.concurrent_per_host,
    )


@contextlib.asynccontextmanager
async def started(
    directory: DataDirectory,
    logon_program: Path | None = None,
    mount_limits: MountLimits | None = None,
    concurrency: Concurrency | None = None,
) -> AsyncIterator[Installation]:
    """Start the backup server and the manager of a data directory, connected; stop both after.

    `logon_program` checks the accounts that have no local password.
    """
    server = BackupServer(
        directory.server, SERVER_NAME, mount_limits=mount_limits, concurrency=concurrency
    )
    await server.start()
    try:
        manager = EnterpriseManager(directory.manager, logon_program=logon_program)
        await manager.start()
        try:
            transport = InProcessTransport(server.app)
            await manager.connect(_SERVER_URL, server.token, transport)
            await manager.servers.open()
            await manager.resume()
            yield Installation(manager, server)
        finally:
            await manager.stop()
    finally:
        await server.stop()
