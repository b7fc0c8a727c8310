"""What `holdfast manager` does between its start and its stop."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

from holdfast.cli import administrator, certificate
from holdfast.cli.announcement import Announcement
from holdfast.cli.api_ports import bound, certificate_of, frontend
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.errors import Failure
from holdfast.cli.passwords import supplied
from holdfast.cli.ready_file import Readiness, ReadyFile
from holdfast.cli.settings import Settings
from holdfast.manager.enterprise_manager import EnterpriseManager


async def serve(settings: Settings, directory: DataDirectory) -> None:
    """Given settings and a locked data directory, run until cancelled.

    Raise CommandError when it cannot start, or cannot go on.
    """
    announcement = Announcement()
    ready_file = ReadyFile(settings.ready_file)
    ready_file.expect_directory()
    ready_file.remove()
    password = supplied(settings)
    async with AsyncExitStack() as stack:
        listeners = bound(settings, stack)
        https, http = (listener.base for listener in listeners)
        tls = certificate_of(settings, directory)
        announcement.starting(directory.path)
        manager = EnterpriseManager(directory.manager, logon_program=settings.logon_program)
        await manager.start()
        stack.push_async_callback(manager.stop)
        account = await administrator.ensure(manager, password)
        await manager.servers.open()
        await manager.resume()
        served = await frontend(manager, settings, listeners, tls, stack)
        announcement.address(https, http, certificate.fingerprint(tls.certificate))
        announcement.account(account, directory.path)
        stack.callback(ready_file.remove)
        ready_file.write(Readiness(https, http, account.user, account.password, os.getpid()))
        announcement.ready(https, account.user, tls.certificate)
        await served.wait()
        raise Failure("a port is no longer served; the log says why")
