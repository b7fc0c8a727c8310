"""What `holdfast up` does between its start and its stop."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from urllib.parse import urlsplit
from uuid import UUID

from holdfast.api.app import create_app
from holdfast.api.call import ApiSettings
from holdfast.cli import administrator, certificate, installation, sample_jobs, samples
from holdfast.cli.announcement import Announcement
from holdfast.cli.certificate import Certificate
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.errors import Failure
from holdfast.cli.installation import REPOSITORY_NAME, Installation
from holdfast.cli.listeners import Frontend, Listener, bind
from holdfast.cli.passwords import supplied
from holdfast.cli.ready_file import Readiness, ReadyFile
from holdfast.cli.samples import Samples
from holdfast.cli.settings import Settings
from holdfast.server.mounts import MountLimits


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
        listeners = _bound(settings, stack)
        https, http = (listener.base for listener in listeners)
        tls = _certificate(settings, directory)
        announcement.starting(directory.path)
        input_of_jobs = await _input_of_jobs(settings, directory)
        started = installation.started(directory, _mount_limits(settings))
        here = await stack.enter_async_context(started)
        repository = await here.server.add_repository(REPOSITORY_NAME, directory.repository)
        account = await administrator.ensure(here.manager, password)
        frontend = await _frontend(here, settings, listeners, tls, stack)
        announcement.address(https, http, certificate.fingerprint(tls.certificate))
        announcement.account(account, directory.path)
        if input_of_jobs is not None:
            await _run_sample_jobs(here, repository, input_of_jobs, announcement)
        await here.manager.collected()
        stack.callback(ready_file.remove)
        ready_file.write(Readiness(https, http, account.user, account.password, os.getpid()))
        announcement.ready(https, account.user, tls.certificate)
        await frontend.wait()
        raise Failure("a port is no longer served; the log says why")


def _mount_limits(settings: Settings) -> MountLimits:
    return MountLimits(idle_seconds=60.0 * settings.mount_idle_minutes)


def _bound(settings: Settings, stack: AsyncExitStack) -> list[Listener]:
    """Bind the ports first: one that is taken is told before anything is changed."""
    wanted = (
        ("https", settings.https_host, settings.https_port),
        ("http", settings.http_host, settings.http_port),
    )
    listeners = []
    for address in wanted:
        listeners.append(bind(*address))
        stack.callback(listeners[-1].socket.close)
    return listeners


def _certificate(settings: Settings, directory: DataDirectory) -> Certificate:
    own = certificate.brought(settings.certificate_file, settings.key_file)
    return own or certificate.ensure(directory.tls, _certified_names(settings))


async def _frontend(
    here: Installation,
    settings: Settings,
    listeners: list[Listener],
    tls: Certificate,
    stack: AsyncExitStack,
) -> Frontend:
    api = ApiSettings(settings.public_url, frozenset(settings.allowed_hosts))
    frontend = Frontend(create_app(here.manager, api), listeners, tls)
    stack.push_async_callback(frontend.stop)
    await frontend.start()
    return frontend


def _certified_names(settings: Settings) -> list[str]:
    """Return the names beyond this machine's own that clients may reach it by."""
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    return [settings.https_host, *settings.allowed_hosts, *([public] if public else [])]


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
