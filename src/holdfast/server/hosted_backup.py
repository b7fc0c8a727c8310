"""Backs up one machine of a host in a session: all its disks, its definition, its NVRAM."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from holdfast.engine.errors import MachineMissing, RepositoryUnavailable
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.engine.libvirt_work import MachinePlan
from holdfast.engine.progress import ProgressCallback
from holdfast.engine.repository import folder_name
from holdfast.server import hosted_points, journal, points
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.hosted_objects import locate
from holdfast.server.hosts import Hosts
from holdfast.server.journal import Intent, MakeMachine
from holdfast.server.left_backups import forget_backup, note_backup
from holdfast.server.machine_backup import (
    LargestTotal,
    MachineBackup,
    Parent,
    SessionPlan,
    script_of,
)
from holdfast.server.manifest import write_manifest
from holdfast.server.names import point_name
from holdfast.server.platform import HostAccess
from holdfast.server.refusal import RefusedError
from holdfast.server.session_state import Result
from holdfast.server.sessions import Machine
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store


@dataclass(frozen=True)
class _Ground:
    """Where a machine is, how its host is reached, which folder QEMU there writes to, None for the
    repository's own, and the point that the next one may be built on, if any.
    """

    where: Row[Any]
    access: HostAccess
    staging: Path | None
    known: MachinePoint | None


class HostedBackup(MachineBackup):
    """The backup of one machine of a host. Its chain must be held meanwhile."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settlement: Settlement,
        hosts: Hosts,
        plan: SessionPlan,
        machine: Machine,
        remarks: Sequence[str] = (),
    ) -> None:
        super().__init__(store, clock, settlement, plan, machine, remarks)
        self._hosts = hosts

    async def _make_point(
        self, parent: Parent, created: int, on_progress: ProgressCallback
    ) -> None:
        ground = await self._store.read(lambda c: self._ground(c, parent))
        where, known, staging = ground.where, ground.known, ground.staging
        if staging is not None and not await asyncio.to_thread(staging.is_dir):
            raise RepositoryUnavailable(
                f'The folder {staging}, where QEMU on host "{where.host_name}" is to write, '
                "is not there."
            )
        folder = await asyncio.to_thread(self._place.folder)
        name = point_name(folder_name(self._machine.name), created, self._point)
        inside = PurePosixPath(folder.relative_to(self._place.repository.path))
        seen = LargestTotal(on_progress)
        outside = None if staging is None else str(staging)
        making = MakeMachine(self._point, str(inside / name), outside)
        plan = self._adapted(
            MachinePlan(
                uuid=where.uuid,
                folder=folder.absolute(),
                point=name,
                chain=str(self._place.backup),
                parent=known,
                staging=None if staging is None else staging.absolute(),
                left_out=self._left_out(where),
                quiesce=self._plan.options.quiesce,
                before=script_of(self._plan.options.before),
                after=script_of(self._plan.options.after),
                storing=self._plan.storing,
                why_full=self._why_full,
            )
        )
        place = (where.host_uid, where.uuid, self._place.backup)
        now = milliseconds(self._clock.now())

        def declare(connection: Connection) -> Intent:
            # Before the guest's file systems are frozen: whatever happens, they are thawed.
            note_backup(connection, *place, plan.folders)
            return journal.declare(connection, self._key, making, now)

        intent = await self._store.write(declare)
        try:
            result = await self._hosts.platform.back_up(ground.access, plan, seen)
            await self._write_manifests(folder, created, result.point, known)

            def record(connection: Connection) -> None:
                self._record(connection, intent, created, inside, result, parent.point)
                if not result.frozen:
                    forget_backup(connection, *place)

            await self._store.write(record)
        except BaseException:
            await self._undo(intent, seen.total)
            raise

    def _left_out(self, where: Row[Any]) -> frozenset[str]:
        references = (self._machine.reference, where.reference)
        return self._plan.options.disks_left_out(references)

    def _located(self, connection: Connection) -> Row[Any]:
        """Return the row of the machine where it is now; raise MachineMissing."""
        where = locate(connection, self._machine.reference)
        if where is None:
            raise MachineMissing(
                f'The machine "{self._machine.name}" is on none of the hosts any more.'
            )
        return where

    def _ground(self, connection: Connection, parent: Parent) -> _Ground:
        """Find out what there is to make a point from; raise MachineMissing."""
        where, known = self._located(connection), None
        try:
            access = self._hosts.access_in(connection, where.host_uid)
            staging = self._hosts.staging_in(connection, where.host_uid)
        except RefusedError as error:
            raise MachineMissing(str(error)) from error
        if parent.point is not None and self._why_full is None:
            known = hosted_points.known_point(connection, parent.point)
        return _Ground(where, access, staging, known)

    def _adapted(self, plan: MachinePlan) -> MachinePlan:
        """Return the plan as the kind of job wants it."""
        return plan

    async def _write_manifests(
        self, folder: Path, created: int, point: MachinePoint, before: MachinePoint | None
    ) -> None:
        for disk in point.disks:
            parent = before.disk(disk.state.target) if before and disk.incremental else None
            built_on = None if parent is None else parent.file.name
            manifest = self._manifest(
                created=created,
                parent=built_on,
                file_size=disk.file_size,
                data_size=disk.data_size,
                virtual_size=disk.state.virtual_size,
                sha256=disk.file.sha256,
                disk=disk.state.target,
                detail=point,
                key=self._plan.key_uid,
            )
            await write_manifest(folder / disk.file.name, manifest)

    def _record(
        self,
        connection: Connection,
        intent: Intent,
        created: int,
        folder: PurePosixPath,
        result: MachineResult,
        parent: UUID | None,
    ) -> None:
        self._record_point(connection, created, folder, result, parent)
        size = hosted_points.total_size(result.point.disks)
        self._end_task(connection, intent, size, *self._outcome(result))

    def _outcome(self, result: MachineResult) -> tuple[Result, str]:
        """Return how the task ends, and what is said of it."""
        bad = self._remarks or result.warnings
        outcome = Result.WARNING if bad else Result.SUCCESS
        encrypted = ["Encrypted."] if self._plan.key is not None else []
        return outcome, " ".join((*self._remarks, _told(result), *encrypted))

    def _record_point(
        self,
        connection: Connection,
        created: int,
        folder: PurePosixPath,
        result: MachineResult,
        parent: UUID | None,
    ) -> None:
        backup = self._place.backup
        hosted_points.record_machine(
            connection,
            backup=backup,
            restore_point=points.ensure_restore_point(connection, self._plan.session, backup),
            uid=self._point,
            machine=self._machine,
            created=created,
            folder=folder,
            point=result.point,
            built_on=hosted_points.parent_files(connection, result.point, parent),
            key=self._plan.key_uid,
        )
        self._note_made(connection)


def _told(result: MachineResult) -> str:
    """Return how a machine was backed up: the rung it came to, how consistent, what to know."""
    how = f"{str(result.rung).capitalize()}, {result.consistency}."
    return " ".join((how, *result.warnings, *result.notes))
