"""What `holdfast server` does between its start and its stop."""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack

from holdfast.cli import certificate, repositories
from holdfast.cli.announcement import Announcement
from holdfast.cli.certificate import VALID_WHEN_PINNED
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.errors import Failure
from holdfast.cli.installation import concurrency_of, mount_limits_of
from holdfast.cli.listeners import Frontend, bind
from holdfast.cli.ready_file import ReadyFile, ServerReadiness
from holdfast.cli.settings import Settings
from holdfast.server.backup_server import BackupServer


async def serve(settings: Settings, directory: DataDirectory) -> None:
    """Given settings and a locked data directory, run until cancelled.

    Raise CommandError or EngineError when it cannot start, or cannot go on.
    """
    announcement = Announcement()
    ready_file = ReadyFile(settings.ready_file)
    ready_file.expect_directory()
    ready_file.remove()
    async with AsyncExitStack() as stack:
        listener = bind("https", settings.server_host, settings.server_port, "server")
        stack.callback(listener.socket.close)
        tls = certificate.brought(settings.certificate_file, settings.key_file)
        tls = tls or certificate.ensure(
            directory.server_tls, [settings.server_host], valid_for=VALID_WHEN_PINNED
        )
        announcement.starting(directory.path)
        first_start = not directory.server.exists()
        server = BackupServer(
            directory.server,
            settings.server_name or socket.gethostname(),
            mount_limits=mount_limits_of(settings),
            concurrency=concurrency_of(settings),
        )
        await server.start()
        stack.push_async_callback(server.stop)
        await repositories.ensure(server, settings, directory)
        served = Frontend(server.app, [listener], tls)
        stack.push_async_callback(served.stop)
        # What waits for news is answered first, or the port could not be closed for a while.
        stack.push_async_callback(server.release)
        await served.start()
        fingerprint = certificate.fingerprint(tls.certificate)
        stack.callback(ready_file.remove)
        ready_file.write(ServerReadiness(listener.origin, fingerprint, os.getpid()))
        announcement.server(listener.origin, fingerprint)
        announcement.token(server.token if first_start else None, directory.path)
        await served.wait()
        raise Failure("the port is no longer served; the log says why")
