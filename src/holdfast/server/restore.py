"""Restores what a point holds: an image to a file, a directory to a directory."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.engine.data_key import SEALED_SUFFIX, DataKey
from holdfast.engine.durability import write_private
from holdfast.engine.errors import ChainBroken
from holdfast.engine.failures import writing_failure
from holdfast.engine.image import restore_image
from holdfast.engine.libvirt_restore import stored_content
from holdfast.engine.progress import Abreast, Phases, Progress, ProgressCallback, ignore_progress
from holdfast.engine.repository import folder_name
from holdfast.engine.together import proven_meanwhile
from holdfast.server import hosted_points, journal, tables
from holdfast.server.chain_locks import PATIENCE, ChainLocks
from holdfast.server.database import sqlite_url
from holdfast.server.finished_chains import FinishedChains
from holdfast.server.journal import ChainKey
from holdfast.server.keys import Keys
from holdfast.server.point_files import verify
from holdfast.server.refusal import RefusedError
from holdfast.server.repositories import BackupPlace, Repositories
from holdfast.server.restore_plan import refuse_damaged
from holdfast.server.store import Store

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Restored:
    """A machine that was restored, and where it is now. ``note`` says what is missing of it."""

    machine: str
    path: Path
    note: str = ""


class Restore:
    """Restores points of one server. Merges wait for it, when they share its locks.

    Without `chains`, what was interrupted there is not finished before.
    """

    def __init__(
        self,
        store: Store,
        repositories: Repositories,
        locks: ChainLocks,
        chains: FinishedChains | None = None,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._locks = locks
        self._chains = chains

    async def point(
        self,
        uid: UUID,
        target: Path,
        *,
        image_format: str = "raw",
        force: bool = False,
        disks: Collection[str] = (),
        on_progress: ProgressCallback = ignore_progress,
    ) -> list[Restored]:
        """Restore a point to `target`; return what was restored.

        With the point of one machine, `target` is the file, or the directory, to be made. With a
        restore point, it is a folder that gets one of them for each machine. Nothing that exists
        is overwritten. Of a machine of a host, `disks` are those wanted; without any, all are, and
        its definition. Raise RefusedError for an unknown point, or one that is known to be damaged
        without `force`; EngineError when a file of it is
        missing or damaged, or the target cannot be written.
        """
        rows = await self._store.read(lambda connection: _machine_points(connection, uid))
        for row in rows:
            refuse_damaged(row, force=force)
        if len(rows) == 1 and rows[0].uid == uid:
            return [await self._one(rows[0], target, image_format, on_progress, disks, force=force)]
        if disks:
            raise RefusedError("Disks can be chosen of the point of one machine alone.")
        await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)
        restored = []
        for row, name in zip(rows, _names(rows, image_format), strict=True):
            path = target / name
            restored.append(await self._one(row, path, image_format, on_progress, force=force))
        return restored

    async def _one(
        self,
        row: Row[Any],
        target: Path,
        image_format: str,
        on_progress: ProgressCallback,
        disks: Collection[str] = (),
        *,
        force: bool,
    ) -> Restored:
        if disks and row.detail is None:
            raise RefusedError(
                f'"{row.display_name}" is no machine of a host with disks to choose.'
            )
        place = await self._repositories.place_of(row.backup_uid)
        await asyncio.to_thread(place.repository.ensure_available)
        chain = ChainKey.of(row.backup_uid, row.kind, row.reference)
        if self._chains is None:
            await self._while_a_server_finishes(chain)
        async with (self._chains or self._locks.files).share(chain):
            # Retention may have taken it while we waited.
            await self._store.read(lambda connection: _machine_points(connection, row.uid))
            if row.snapshot_id is not None:
                await place.files().restore(row.snapshot_id, target)
                return Restored(row.display_name, target)
            key = await self._repositories.data_keys.of_file(row.backup_file_uid)
            note = ""
            abreast = Abreast(on_progress, 2)
            checked, copied = abreast.part(0), abreast.part(1)

            def tell(done: Progress) -> None:
                copied(done.fraction)

            async with proven_meanwhile(
                self._verify(row, place, disks, checked, force=force)
            ) as good:
                if row.detail is not None:
                    small, note = await self._small_files(row, place, disks, key, force=force)
                    await self._machine(
                        row, place, target, image_format, tell, disks, key, good, small
                    )
                else:
                    image = place.path(row.path)
                    await restore_image(
                        image, target, tell, format=image_format, key=key, proof=good
                    )
        return Restored(row.display_name, target, note)

    async def _while_a_server_finishes(self, key: ChainKey) -> None:
        """Wait a moment for what was interrupted: a server may just be at it."""
        for _ in range(int(PATIENCE / _LOOK_SECONDS)):
            if not await self._store.read(lambda c: journal.changes_files(c, key)):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _verify(
        self,
        row: Row[Any],
        place: BackupPlace,
        wanted: Collection[str],
        advance: Callable[[float], None],
        *,
        force: bool,
    ) -> None:
        """Raise ChainBroken when a file that is read is not what was written."""
        held = await self._store.read(lambda c: hosted_points.disks_of(c, row.uid))
        paths = [disk.path for disk in held if not wanted or disk.target in wanted]
        images = [place.path(path) for path in paths or [row.path]]
        await verify(self._store, place, images, advance, force=force)

    async def _small_files(
        self,
        row: Row[Any],
        place: BackupPlace,
        wanted: Collection[str],
        key: DataKey | None,
        *,
        force: bool,
    ) -> tuple[dict[str, bytes], str]:
        """Return definition and NVRAM by their suffixes, none where disks were chosen; and what is
        to be noted.

        Raise ChainBroken when one is not what was stored; with `force`, it is left out.
        """
        if wanted:
            return {}, ""
        known = await self._store.read(lambda c: hosted_points.known_point(c, row.uid))
        folder = place.path(row.path).parent
        found: dict[str, bytes] = {}
        problems = []
        for file in (known.definition, known.nvram):
            if file is None:
                continue
            try:
                content = await stored_content(folder, file, key)
            except ChainBroken as error:
                if not force:
                    raise
                problems.append(f"{error} It was left out.")
                continue
            found[Path(file.name.removesuffix(SEALED_SUFFIX)).suffix] = content
        return found, " ".join(problems)

    async def _machine(
        self,
        row: Row[Any],
        place: BackupPlace,
        target: Path,
        image_format: str,
        on_progress: ProgressCallback,
        wanted: Collection[str],
        key: DataKey | None,
        proof: Awaitable[None],
        small: Mapping[str, bytes],
    ) -> None:
        """Restore a machine of a host to a new directory: its disks, its definition, its NVRAM."""
        disks = await self._store.read(lambda c: hosted_points.disks_of(c, row.uid))
        if wanted:
            held = [disk.target for disk in disks]
            if missing := sorted(set(wanted) - set(held)):
                raise RefusedError(
                    f'"{row.display_name}" has the disks {", ".join(held)}, not {missing[0]}.'
                )
            disks = [disk for disk in disks if disk.target in wanted]
        try:
            await asyncio.to_thread(target.mkdir, parents=True)
        except OSError as error:
            raise writing_failure(error, target) from error
        try:
            await self._disks(place, disks, target, image_format, on_progress, key, proof)
            for suffix, content in small.items():
                copy = target / f"{folder_name(row.display_name)}{suffix}"
                # The definition may hold secrets.
                await asyncio.to_thread(write_private, copy, content)
        except BaseException as error:  # cancellation too: half a restore must not stay
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
            if isinstance(error, OSError):
                raise writing_failure(error, target) from error
            raise

    async def _disks(
        self,
        place: BackupPlace,
        disks: Sequence[Row[Any]],
        target: Path,
        image_format: str,
        on_progress: ProgressCallback,
        key: DataKey | None,
        proof: Awaitable[None],
    ) -> None:
        phases = Phases(on_progress, [max(disk.virtual_size, 1) for disk in disks])
        for number, disk in enumerate(disks):
            advance = phases.phase(number)

            def tell(done: Progress, advance: Callable[[float], None] = advance) -> None:
                advance(done.fraction)

            image = target / f"{disk.target}.{image_format}"
            source = place.path(disk.path)
            await restore_image(source, image, tell, format=image_format, key=key, proof=proof)


async def restore_point(
    directory: Path,
    uid: UUID,
    target: Path,
    *,
    image_format: str = "raw",
    force: bool = False,
    disks: Collection[str] = (),
    on_progress: ProgressCallback = ignore_progress,
) -> list[Restored]:
    """As `Restore.point`, given a server's directory. The server itself may run or not."""
    keys = await asyncio.to_thread(Keys, directory / "keys")
    store = await Store.open(sqlite_url(directory / "server.sqlite"))
    try:
        seal = await asyncio.to_thread(keys.seal)
        restore = Restore(store, Repositories(store, keys, seal), ChainLocks())
        return await restore.point(
            uid,
            target,
            image_format=image_format,
            force=force,
            disks=disks,
            on_progress=on_progress,
        )
    finally:
        await store.close()


def _machine_points(connection: Connection, uid: UUID) -> list[Row[Any]]:
    point, file = tables.machine_point, tables.backup_file
    rows = connection.execute(
        select(point, file.c.path)
        .outerjoin(file, file.c.uid == point.c.backup_file_uid)
        .where((point.c.uid == uid) | (point.c.restore_point_uid == uid))
        .order_by(point.c.display_name, point.c.uid)
    ).all()
    if not rows:
        raise RefusedError(f"Cannot find restore point [{uid}].")
    return list(rows)


def _names(rows: list[Row[Any]], image_format: str) -> list[str]:
    """Given machines, return a file or folder name for each, no two alike."""
    names = [folder_name(row.display_name) for row in rows]
    return [
        (name if names.count(name) == 1 else f"{name}-{row.uid.hex[:8]}")
        + (f".{image_format}" if row.kind == "image" else "")
        for row, name in zip(rows, names, strict=True)
    ]
