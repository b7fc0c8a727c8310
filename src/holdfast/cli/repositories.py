"""The repositories of a backup server: the default one, and those of the settings."""

from __future__ import annotations

from uuid import UUID

from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.installation import REPOSITORY_NAME
from holdfast.cli.settings import Settings
from holdfast.server.backup_server import BackupServer


async def ensure(server: BackupServer, settings: Settings, directory: DataDirectory) -> UUID:
    """Make the repositories that are not there yet; return the UID of the default one.

    Raise RefusedError or EngineError for a directory that cannot be one.
    """
    default = await server.add_repository(REPOSITORY_NAME, directory.repository)
    for name, path in settings.repository_directories.items():
        await server.add_repository(name, path)
    return default
