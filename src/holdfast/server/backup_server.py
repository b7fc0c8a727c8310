"""The backup server as a whole: started, asked, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp

from holdfast.engine.transfer_keys import sweep_transfer_keys
from holdfast.sealing import Seal
from holdfast.server import identity
from holdfast.server.catalog_service import catalog_routes
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.checkpoint_release import CheckpointRelease
from holdfast.server.clock import Clock, SystemClock
from holdfast.server.clock_watch import ClockWatch
from holdfast.server.commands import Commands
from holdfast.server.database import sqlite_url
from holdfast.server.expiry import Expiry
from holdfast.server.failover import Failovers
from holdfast.server.failover_commands import STOP, FailoverCommands
from holdfast.server.failover_plan_runner import FailoverPlanRunner
from holdfast.server.failover_plans import end_interrupted as end_interrupted_plans
from holdfast.server.failover_runner import FailoverRunner
from holdfast.server.failover_runner import end_interrupted as end_interrupted_failovers
from holdfast.server.finished_chains import FinishedChains
from holdfast.server.guest_catalog import GuestCatalog
from holdfast.server.health import HealthCheck
from holdfast.server.hosted_restore import HostedRestore
from holdfast.server.hosts import Hosts
from holdfast.server.instant_recoveries import InstantRecoveries
from holdfast.server.instant_service import instant_routes
from holdfast.server.job_runner import JobRunner
from holdfast.server.keys import Keys
from holdfast.server.left_backups import LeftBackups
from holdfast.server.lent_keys import LentKeys
from holdfast.server.libvirt_platform import LibvirtPlatform
from holdfast.server.messages import Command, Information, Outcome
from holdfast.server.mount_service import mount_routes
from holdfast.server.mounts import MountLimits, Mounts
from holdfast.server.operations import OPERATIONS
from holdfast.server.platform import Platform
from holdfast.server.point_restore import PointRestore
from holdfast.server.recovery import SHUT_DOWN, recover
from holdfast.server.replica_jobs import ReplicaJobs
from holdfast.server.replica_removal import ReplicaRemoval
from holdfast.server.replica_runs import ReplicaRuns
from holdfast.server.repositories import Repositories
from holdfast.server.repository_import import RepositoryImports
from holdfast.server.restore import Restore
from holdfast.server.restore_commands import RestoreCommands
from holdfast.server.restore_runner import RestoreRunner, end_interrupted
from holdfast.server.scheduler import Scheduler
from holdfast.server.secrets_at_rest import SecretsAtRest
from holdfast.server.service import make_service
from holdfast.server.settlement import Settlement
from holdfast.server.slots import Concurrency
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_REFRESH_SECONDS = 60.0
_RENEW_SECONDS = 600.0
#: How long a directory may stay in use: what a killed server was just about to start has it still.
_LOCK_SECONDS = 2.0
_LOCK_PAUSE = 0.05

#: When to settle the journal after a start, in seconds from one try to the next: the lock of a
#: restic that was killed is stale after a moment, a share may be mounted late. After the last try,
#: the next backup of the machine concerned settles it.
_SETTLE_DELAYS = (0.0, 5.0, 60.0, 600.0)


class DirectoryInUseError(Exception):
    """Another backup server runs on the same directory."""


class BackupServer:
    """A backup server that keeps its database and its keys in `directory`.

    `concurrency` is how much goes on at the same time, over all jobs.
    """

    #: Set by `start`.
    app: ASGIApp
    token: str
    repositories: Repositories
    restore: Restore
    secrets: SecretsAtRest
    mounts: Mounts
    catalog: GuestCatalog
    hosts: Hosts

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        clock: Clock | None = None,
        concurrency: Concurrency | None = None,
        database_url: str | None = None,
        mount_limits: MountLimits | None = None,
        platform: Platform | None = None,
    ) -> None:
        self._directory = directory
        self._name = name
        self._clock = clock or SystemClock()
        self._concurrency = concurrency or Concurrency()
        self._platform = platform or LibvirtPlatform()
        self._mount_limits = mount_limits or MountLimits()
        self._database_url = database_url or sqlite_url(directory / "server.sqlite")
        self._background: list[asyncio.Task[None]] = []
        self._resources = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Open the database, put right what was interrupted, and begin to serve.

        Raise DirectoryInUseError when another process has the directory.
        """
        async with contextlib.AsyncExitStack() as resources:
            lock = await asyncio.to_thread(_lock_directory, self._directory)
            resources.callback(os.close, lock)
            keys = await asyncio.to_thread(Keys, self._directory / "keys")
            self.token = await asyncio.to_thread(keys.token)
            self._store = await Store.open(self._database_url)
            resources.push_async_callback(self._store.close)
            await self._store.write(lambda c: identity.introduce(c, self._name))
            await self._assemble(keys, await asyncio.to_thread(keys.seal))
            self._resources = resources.pop_all()

    async def stop(self) -> None:
        """Stop what runs, saying so in its sessions, and close the database."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.hosts.stop()
        await self._commands.close()
        await self.mounts.release_all()
        await self._plans.stop_all(SHUT_DOWN)
        await self._failovers.stop_all(SHUT_DOWN)
        await self._restores.stop_all(SHUT_DOWN)
        await self._runner.stop_all(SHUT_DOWN)
        await self._resources.aclose()

    async def release(self) -> None:
        """Answer at once, from now on, whoever waits for news: the service is about to end."""
        await self._store.release()

    async def information(self) -> Information:
        """Return who this server is, and where its feed ends."""
        return await self._store.read(identity.information)

    async def add_repository(self, name: str, path: Path) -> UUID:
        """Make a directory a repository; return its UID. See `Repositories.add`."""
        return await self.repositories.add(name, path)

    async def execute(self, command: Command) -> Outcome:
        """Carry a command out. See `Commands.execute`."""
        return await self._commands.execute(command)

    async def wait_until_idle(self) -> None:
        """Return when no session runs, and what was interrupted before the start is settled.

        What cannot be settled yet, because its repository is away, is not waited for.
        """
        await self._settled_once.wait()
        await self._runner.wait_until_idle()
        await self._restores.wait_until_idle()
        await self._plans.wait_until_idle()
        await self._failovers.wait_until_idle()

    async def _assemble(self, keys: Keys, seal: Seal) -> None:
        """Put the parts together, what was interrupted being put right before any of them runs."""
        store, locks = self._store, ChainLocks()
        self.repositories = Repositories(store, keys, seal)
        settlement = Settlement(store, self.repositories, locks)
        await end_interrupted(store, self._clock)
        await end_interrupted_failovers(store, self._clock)
        await store.write(end_interrupted_plans)
        back = await recover(store, self._clock, self.repositories)
        self._renewal = asyncio.Event()
        self._renewal.set()
        self.secrets = SecretsAtRest(seal, self.repositories.data_keys, self._renewal.set)
        self.hosts = Hosts(store, self._clock, self._platform, self.secrets)
        CheckpointRelease(store, self.hosts)
        left = LeftBackups(store, self.hosts, locks)
        LentKeys(store, self.hosts)
        transfers = self._directory / "transfers"
        await asyncio.to_thread(sweep_transfer_keys, transfers)
        self._runner = JobRunner(
            store,
            self._clock,
            self.repositories,
            locks,
            settlement,
            self.hosts,
            left,
            self._concurrency,
            transfers,
        )
        scheduler = Scheduler(store, self._clock, self._runner)
        expiry = Expiry(store, self._clock, self.repositories, locks, settlement)
        self._runner.when_ended(expiry.wake)
        # A password may have been changed while the first file that needs it was made.
        self._runner.when_ended(self._renewal.set)
        chains = FinishedChains(store, locks, settlement)
        self.restore = Restore(store, self.repositories, locks, chains)
        hosted_restore = HostedRestore(store, self.repositories, self.hosts)
        instant = InstantRecoveries(store, self.hosts, self.repositories.data_keys, locks)
        self.hosts.when_looked_at(instant.lend_keys)
        point_restore = PointRestore(
            store, self.repositories, locks, chains, hosted_restore, instant
        )
        self._restores = RestoreRunner(store, self._clock, point_restore)
        await self._restores.resume()
        self.mounts = Mounts(
            store, self.repositories, locks, self._directory / "mounts", self._mount_limits
        )
        await self.mounts.prepare()
        self.catalog = GuestCatalog(store, self.repositories, locks, self._directory / "catalog")
        restoring = RestoreCommands(self._restores, self.mounts, self.catalog, point_restore)
        replicate = ReplicaRuns(store, self._clock, self._runner).replicate
        failovers = Failovers(store, self.hosts, locks, settlement, replicate, transfers)
        self.hosts.when_looked_at(failovers.looked_at)
        self._failovers = FailoverRunner(store, self._clock, failovers)
        self._plans = FailoverPlanRunner(store, self._clock, self._failovers)
        stop = restoring.preparations[STOP]
        failing_over = FailoverCommands(self._failovers, self._plans, stop)
        operations = {
            **OPERATIONS,
            **self.secrets.operations,
            **self.hosts.operations,
            **restoring.operations,
            **failing_over.operations,
        }
        replica_jobs = ReplicaJobs(store, self.repositories)
        removal = ReplicaRemoval(store, self._clock, self.hosts, locks, settlement)
        imports = RepositoryImports(store, self.repositories, keys)
        await asyncio.to_thread(keys.sweep_offered)
        prepared = {
            **imports.preparations,
            **restoring.preparations,
            **self.hosts.preparations,
            **replica_jobs.preparations,
            **removal.preparations,
            **failing_over.preparations,
        }
        wakers = (scheduler.wake, expiry.wake)
        self._commands = Commands(store, self._clock, self._runner, wakers, operations, prepared)
        looking = [
            *mount_routes(self.mounts),
            *catalog_routes(self.catalog),
            *instant_routes(store),
        ]
        self.app = make_service(store, self._commands, self.token, looking)
        self._settled_once = asyncio.Event()
        watch = ClockWatch(store, self._clock)
        await watch.look()  # before anything goes by the time
        self._in_background(watch.run(), "watch over the clock")
        self._in_background(left.run(), "end of backups that were cut off")
        health = HealthCheck(store, self.repositories, locks, settlement)
        self._in_background(self._settle(settlement), "settlement of the journal")
        self._in_background(health.look_again(back), "check of what is there again")
        self._in_background(self._failovers.keep_settling(), "settlement of failovers")
        self._in_background(self._restores.keep_settling(), "settlement of restores")
        self._in_background(scheduler.run(), "scheduler")
        self._in_background(expiry.run(), "expiry of backups")
        self._in_background(self._refresh(), "repository space")
        self._in_background(self._renew_key_files(), "renewal of the files of keys")
        self._in_background(self.hosts.run(), "look at the hosts")
        self._in_background(self.mounts.watch(), "release of mounts")
        self._in_background(self.catalog.run(), "catalog of files")

    def _in_background(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Run something beside everything else, until the server stops."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_tell_if_it_failed)
        self._background.append(task)
        return task

    async def _settle(self, settlement: Settlement) -> None:
        """Settle what was interrupted before the start; later again, what cannot be now.

        A merge of a large image may take hours. It does not keep the server from serving: whoever
        needs that chain waits for it.
        """
        for delay in _SETTLE_DELAYS:
            await asyncio.sleep(delay)
            try:
                if await settlement.settle_all():
                    return
            finally:
                self._settled_once.set()

    async def _renew_key_files(self) -> None:
        """Write the files of keys anew: after a start or a session, and with a new password."""
        complete = True
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if complete else _RENEW_SECONDS):
                    await self._renewal.wait()
            self._renewal.clear()
            try:
                complete = await self.repositories.renew_key_files()
            except SQLAlchemyError:
                _LOGGER.exception("The files of keys cannot be renewed at the moment")
                complete = False

    async def _refresh(self) -> None:
        while True:
            try:
                await self.repositories.refresh_space()
            except SQLAlchemyError:
                _LOGGER.exception("The space in the repositories cannot be noted at the moment")
            await asyncio.sleep(_REFRESH_SECONDS)


def _tell_if_it_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _LOGGER.critical("The %s ended unexpectedly", task.get_name(), exc_info=error)


def _lock_directory(directory: Path) -> int:
    """Make the server's directory, for this account only, and keep others out of it. Blocking."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    descriptor = os.open(directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up_at = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < give_up_at:
                time.sleep(_LOCK_PAUSE)
                continue
            os.close(descriptor)
            message = f"Another backup server is running in {directory}."
            raise DirectoryInUseError(message) from error
        return descriptor
