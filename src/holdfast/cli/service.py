"""What `holdfast up` does between its start and its stop."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from uuid import UUID

from holdfast.cli import (
    administrator,
    certificate,
    installation,
    repositories,
    sample_jobs,
    samples,
)
from holdfast.cli.announcement import Announcement
from holdfast.cli.api_ports import bound, certificate_of, frontend
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.errors import Failure
from holdfast.cli.installation import Installation, concurrency_of, mount_limits_of
from holdfast.cli.passwords import supplied
from holdfast.cli.ready_file import Readiness, ReadyFile
from holdfast.cli.samples import Samples
from holdfast.cli.settings import Settings


async def serve(settings: Settings, directory: DataDirectory) -> None:
    """Given settings and a locked data directory, run until cancelled.

    Raise CommandError or EngineError when it cannot start, or cannot go on.
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
        input_of_jobs = await _input_of_jobs(settings, directory)
        started = installation.started(
            directory,
            settings.logon_program,
            mount_limits_of(settings),
            concurrency_of(settings),
        )
        here = await stack.enter_async_context(started)
        repository = await repositories.ensure(here.server, settings, directory)
        account = await administrator.ensure(here.manager, password)
        served = await frontend(here.manager, settings, listeners, tls, stack)
        announcement.address(https, http, certificate.fingerprint(tls.certificate))
        announcement.account(account, directory.path)
        if input_of_jobs is not None:
            await _run_sample_jobs(here, repository, input_of_jobs, announcement)
        await here.manager.collected()
        stack.callback(ready_file.remove)
        ready_file.write(Readiness(https, http, account.user, account.password, os.getpid()))
        announcement.ready(https, account.user, tls.certificate)
        await served.wait()
        raise Failure("a port is no longer served; the log says why")


async def _input_of_jobs(settings: Settings, directory: DataDirectory) -> Samples | None:
    """Return the input of sample jobs that are still to be run, or None.

    It is made at the very first start, before there is anything else. Later starts only finish
    what an interrupted one has begun.
    """
    first_start = not directory.manager.exists()
    begun = directory.samples.is_dir() and not samples.at(directory.samples).done.exists()
    if settings.samples and (first_start or begun):
        return await samples.ensure(directory.samples)
    return None


async def _run_sample_jobs(
    here: Installation, repository: UUID, made: Samples, announcement: Announcement
) -> None:
    announcement.running_samples()
    await sample_jobs.ensure(here.server, repository, made)
    await here.server.wait_until_idle()
    made.done.touch(mode=0o600)
