"""Restore points that are open for browsing. They live in memory: a restart releases all.

A mount keeps the files of its point as they are, and lets go of them when it was not used for a
while, or when retention needs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row

from holdfast.engine.browser import Browser
from holdfast.engine.guest_disk import GuestDisk
from holdfast.engine.guest_snapshot import GuestSnapshot
from holdfast.server.chain_locks import ChainLocks, share_soon
from holdfast.server.hosted_points import disk_paths
from holdfast.server.journal import ChainKey
from holdfast.server.publish import is_replicated
from holdfast.server.refusal import RefusedError
from holdfast.server.repositories import Repositories
from holdfast.server.restore_plan import point_row, refuse_damaged
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class MountLimits:
    """How many mounts there may be, and after how many seconds without use one is released.

    Who reads and takes nothing for `idle_seconds` does not use it any more either, and for
    `stalled_seconds` when retention waits.
    """

    idle_seconds: float = 600.0
    stalled_seconds: float = 60.0
    greatest: int = 16
    greatest_per_point: int = 4


@dataclass(eq=False)
class Mount:
    """A restore point that is open. `number` tells the mounts of one point apart.

    `kind` is the type that it is shown as; `warnings` are what people are to know who look into it.
    """

    uid: UUID
    point: UUID
    number: int
    browser: Browser
    released: AsyncExitStack
    kind: str = "VmRestorePointMount"
    warnings: Sequence[str] = ()
    users: int = 0
    used: float = field(default_factory=time.monotonic)
    leaving: bool = False
    unused: asyncio.Event = field(default_factory=asyncio.Event)


class Mounts:
    """The mounts of a server. `directory` is theirs alone: it is emptied at the start."""

    def __init__(
        self,
        store: Store,
        repositories: Repositories,
        locks: ChainLocks,
        directory: Path,
        limits: MountLimits,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._locks = locks
        self._directory = directory
        self._limits = limits
        self._mounts: dict[UUID, Mount] = {}
        self._numbers: dict[UUID, int] = {}
        self._opening = 0
        #: Asked to leave before they were quite open.
        self._unwelcome: set[UUID] = set()
        self._releasing: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """Remove what an earlier process has left."""
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        await asyncio.to_thread(self._directory.mkdir, mode=0o700, exist_ok=True)

    async def open(self, point: UUID | None) -> Mount:
        """Open a restore point. Refuse too many; raise EngineError when it cannot be read."""
        limits = self._limits
        if len(self._mounts) + self._opening >= limits.greatest:
            raise RefusedError(
                f"{limits.greatest} restore points are mounted already. Release one first."
            )
        row = await self._store.read(lambda c: point_row(c, point))
        refuse_damaged(row)
        if len(self.of(row.uid)) >= limits.greatest_per_point:
            raise RefusedError(
                f"This restore point is mounted {limits.greatest_per_point} times already. "
                "Use one of these mounts, or release one first."
            )
        self._opening += 1
        try:
            return await self._open(row)
        finally:
            self._opening -= 1

    def of(self, point: UUID) -> list[Mount]:
        """Return the mounts of a point, by number."""
        found = [each for each in self._mounts.values() if each.point == point and not each.leaving]
        return sorted(found, key=lambda mount: mount.number)

    @contextlib.contextmanager
    def using(self, uid: UUID) -> Iterator[Mount]:
        """Use a mount; it stays meanwhile, unless somebody releases it. Refuse an unknown one."""
        mount = self._mounts.get(uid)
        if mount is None or mount.leaving:
            raise RefusedError(f"Cannot find mount [{uid}].")
        mount.users += 1
        mount.used = time.monotonic()
        mount.unused.clear()
        try:
            yield mount
        finally:
            mount.users -= 1
            mount.used = time.monotonic()
            if not mount.users:
                mount.unused.set()

    async def content(self, mount: Mount, parts: tuple[str, ...]) -> AsyncIterator[bytes]:
        """Return a file's content, piece by piece. The mount is in use meanwhile."""
        with self.using(mount.uid):
            async for piece in mount.browser.content(parts):
                mount.used = time.monotonic()
                yield piece

    async def release(self, uid: UUID) -> None:
        """Let go of a mount, whatever is read from it just now. Refuse an unknown one."""
        mount = self._mounts.pop(uid, None)
        if mount is None:
            raise RefusedError(f"Cannot find mount [{uid}].")
        mount.leaving = True
        mount.unused.set()
        await mount.released.aclose()

    async def release_all(self) -> None:
        """Let go of every mount."""
        if self._releasing:
            await asyncio.wait(list(self._releasing))
        for uid in list(self._mounts):
            await self._release_quietly(uid)

    async def watch(self) -> None:
        """Release mounts that are not used any more, until cancelled."""
        while True:
            await asyncio.sleep(min(_LOOK_SECONDS, self._limits.idle_seconds / 4))
            await self.release_idle()

    async def release_idle(self) -> None:
        """Release the mounts that were not used for a while.

        Also one with a reader who takes nothing: it would have its place for ever.
        """
        since = time.monotonic() - self._limits.idle_seconds
        for mount in list(self._mounts.values()):
            if mount.used < since:
                _LOGGER.info("Mount %s of %s was not used any more", mount.number, mount.point)
                await self._release_quietly(mount.uid)

    async def _open(self, row: Row[Any]) -> Mount:
        uid = uuid4()
        async with AsyncExitStack() as held:
            place = await self._repositories.place_of(row.backup_uid)
            await asyncio.to_thread(place.repository.ensure_available)
            key = ChainKey.of(row.backup_uid, row.kind, row.reference)
            sharing = share_soon(self._locks.files, key, lambda: self._leave(uid))
            await held.enter_async_context(sharing)
            # Retention may have taken it, or merged its file, while we waited.
            row = await self._store.read(lambda c: point_row(c, row.uid))
            browser: Browser
            if row.snapshot_id is None:
                folder = self._directory / uid.hex
                await asyncio.to_thread(folder.mkdir, mode=0o700)
                held.push_async_callback(
                    asyncio.to_thread, shutil.rmtree, folder, ignore_errors=True
                )
                paths = await self._store.read(lambda c: disk_paths(c, row))
                data_key = await self._repositories.data_keys.of_file(row.backup_file_uid)
                disks = [place.path(path) for path in paths]
                browser = await GuestDisk.open(disks, folder, data_key)
            else:
                root = PurePath(row.source_path).name or row.display_name
                browser = GuestSnapshot(place.files(), row.snapshot_id, root)
            held.push_async_callback(browser.close)
            warnings = await browser.warnings()
            number = self._numbers.get(row.uid, 0) + 1
            self._numbers[row.uid] = number
            replicated = await self._store.read(lambda c: is_replicated(c, row.backup_uid))
            kind = "VmReplicaPointMount" if replicated else "VmRestorePointMount"
            mount = Mount(uid, row.uid, number, browser, held.pop_all(), kind, warnings)
        self._mounts[uid] = mount
        if uid in self._unwelcome:
            self._unwelcome.discard(uid)
            self._leave(uid)
        return mount

    def _leave(self, uid: UUID) -> None:
        """Release a mount as soon as nobody reads on: retention waits for its files."""
        if uid not in self._mounts:
            self._unwelcome.add(uid)
            return
        task = asyncio.create_task(self._leave_when_unused(uid))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _leave_when_unused(self, uid: UUID) -> None:
        mount = self._mounts.get(uid)
        if mount is None:
            return
        mount.leaving = True
        while mount.users:
            left = mount.used + self._limits.stalled_seconds - time.monotonic()
            if left <= 0:
                # A download that nobody goes on with must not stand in the way of a backup.
                _LOGGER.warning(
                    "Mount %s of %s is released: its reader has stalled", uid, mount.point
                )
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await mount.unused.wait()
        await self._release_quietly(uid)

    async def _release_quietly(self, uid: UUID) -> None:
        try:
            await self.release(uid)
        except RefusedError:
            return  # it is released already
