"""Copies the points of a machine of a host: all its disks, its definition, its NVRAM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, select

from holdfast.engine.data_key import SEALED_SUFFIX
from holdfast.engine.image import CopyPlan, copy_small_file
from holdfast.engine.image_rebuild import Rebuilt
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.engine.progress import Phases, Progress, ProgressCallback
from holdfast.server import hosted_points, journal, tables
from holdfast.server.copy_plan import Point
from holdfast.server.journal import MakeMachine
from holdfast.server.machine_copy import MachineCopy
from holdfast.server.manifest import check_manifest, write_manifest
from holdfast.server.repositories import BackupPlace


@dataclass(frozen=True)
class _Disk:
    """A backup file to be copied, and what its copy is built on: name and UID, None for a full."""

    row: Row[Any]
    parent_name: str | None
    parent: UUID | None


class HostedCopy(MachineCopy):
    """As `MachineCopy`, of points that have several files: all are copied, or none is."""

    async def _copy_image(self, point: Point, on_progress: ProgressCallback) -> None:
        place, uid = self._place, uuid4()
        source = await self._repositories.place_of(point.backup_uid)
        folder = await asyncio.to_thread(place.folder)
        inside = PurePosixPath(folder.relative_to(place.repository.path))
        found = await self._store.read(lambda c: self._known(c, point, inside))
        if found is None:
            return
        known, disks = found
        for disk in disks:
            await check_manifest(source.path(disk.row.path), disk.row.sha256)
        await self._bring_key(point, folder, disks[0].row.key_uid)
        name = known.definition.name.removesuffix(SEALED_SUFFIX).removesuffix(".xml")
        intent = await self._declare(MakeMachine(uid, str(inside / name)))
        try:
            known, stored = await self._copy_disks(point, source, folder, known, disks, on_progress)
            await _copy_small_files(source.path(disks[0].row.path).parent, folder, known)
            for disk in disks:
                manifest = self._manifest(
                    point,
                    uid,
                    disk.row,
                    stored[disk.row.target],
                    disk.parent_name,
                    disk=disk.row.target,
                    detail=known,
                    key=disk.row.key_uid,
                )
                await write_manifest(folder / PurePosixPath(disk.row.path).name, manifest)

            def record(connection: Connection) -> None:
                hosted_points.record_machine(
                    connection,
                    backup=place.backup,
                    restore_point=self._restore_point(connection, point),
                    uid=uid,
                    machine=self._as_it_was(point),
                    created=point.created,
                    folder=inside,
                    point=known,
                    built_on={disk.row.target: disk.parent for disk in disks if disk.parent},
                    copied_from=point.uid,
                    key=disks[0].row.key_uid,
                )
                self._note_damaged(connection, [disk.parent for disk in disks])
                journal.strike(connection, intent)

            await self._store.write(record)
        finally:
            # Once the point is recorded the entry no longer stands, and this does nothing.
            await self._settlement.try_settle(intent)
        self._note_newest(point, uid)

    def _known(
        self, connection: Connection, point: Point, folder: PurePosixPath
    ) -> tuple[MachinePoint, Sequence[_Disk]] | None:
        """Return what is known of a point, as it is to be known of its copy, and its disks.

        None when retention has let go of it just now: its files stay for who shares them, but
        what tells which they are is gone.
        """
        table = tables.machine_point
        if connection.execute(select(table.c.uid).where(table.c.uid == point.uid)).first() is None:
            return None
        disks = []
        for row in hosted_points.disks_of(connection, point.uid):
            path = str(folder / PurePosixPath(row.path).name)
            disks.append(_Disk(row, *self._parent(connection, row, path)))
        # No backup is ever built on a copy: it has no part in the checkpoints of the machine.
        known = hosted_points.known_point(connection, point.uid)
        return replace(known, checkpoint=None, parent_checkpoint=None), disks

    async def _copy_disks(
        self,
        point: Point,
        source: BackupPlace,
        folder: Path,
        known: MachinePoint,
        disks: Sequence[_Disk],
        on_progress: ProgressCallback,
    ) -> tuple[MachinePoint, dict[str, Rebuilt]]:
        """Copy all disks; return the point as it is to be known, and what each copy is."""
        phases = Phases(on_progress, [max(disk.row.file_size, 1) for disk in disks])
        stored = {}
        for number, disk in enumerate(disks):
            image = source.path(disk.row.path)
            advance = partial(_advance, phases.phase(number))
            target = folder / image.name
            stored[disk.row.target] = await self._copy_file(
                point, disk.row, image, target, advance, disk.row.key_uid
            )
        return _as_stored(known, stored), stored


def _as_stored(known: MachinePoint, stored: Mapping[str, Rebuilt]) -> MachinePoint:
    """Return what is known of a point whose files were stored anew."""
    disks = []
    for disk in known.disks:
        now = stored[disk.state.target]
        file = replace(disk.file, sha256=now.sha256)
        disks.append(replace(disk, file=file, file_size=now.file_size, data_size=now.data_size))
    return replace(known, disks=tuple(disks))


def _advance(advance: Callable[[float], None], progress: Progress) -> None:
    advance(progress.fraction)


async def _copy_small_files(source: Path, target: Path, known: MachinePoint) -> None:
    for small in (known.definition, known.nvram):
        if small is not None:
            plan = CopyPlan(source / small.name, target / small.name, 0, small.sha256)
            await copy_small_file(plan)
