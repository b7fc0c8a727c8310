"""Backs up one machine of a host in a session: all its disks, its definition, its NVRAM."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
from holdfast.server import hosted_points, points
from holdfast.server.clock import Clock
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
from holdfast.server.refusal import RefusedError
from holdfast.server.session_state import Result
from holdfast.server.sessions import Machine
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store


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
        where = await self._located()
        folder = await asyncio.to_thread(self._place.folder)
        known = None
        if (before := parent.point) is not None and self._why_full is None:
            known = await self._store.read(lambda c: hosted_points.known_point(c, before))
        name = point_name(folder_name(self._machine.name), created, self._point)
        inside = PurePosixPath(folder.relative_to(self._place.repository.path))
        seen = LargestTotal(on_progress)
        staging = await self._staging(where)
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
        intent = await self._declare(making)
        try:
            try:
                access = await self._hosts.access(where.host_uid)
            except RefusedError as error:
                raise MachineMissing(str(error)) from error
            place = (where.host_uid, where.uuid, self._place.backup)
            # Before the guest's file systems are frozen: whatever happens, they are thawed.
            await self._store.write(lambda c: note_backup(c, *place, plan.folders))
            result = await self._hosts.platform.back_up(access, plan, seen)
            await self._write_manifests(folder, created, result.point, known)

            def record(connection: Connection) -> None:
                self._record(connection, intent, created, inside, result, parent.point)
                if not result.frozen:
                    forget_backup(connection, *place)

            await self._store.write(record)
        finally:
            if seen.total:
                await self._note_size(seen.total)
            # Once the point is recorded the entry no longer stands, and this does nothing.
            await self._settlement.try_settle(intent)

    def _left_out(self, where: Row[Any]) -> frozenset[str]:
        references = (self._machine.reference, where.reference)
        return self._plan.options.disks_left_out(references)

    async def _located(self) -> Row[Any]:
        """Return the row of the machine where it is now; raise MachineMissing."""
        where = await self._store.read(lambda c: locate(c, self._machine.reference))
        if where is None:
            raise MachineMissing(
                f'The machine "{self._machine.name}" is on none of the hosts any more.'
            )
        return where

    def _adapted(self, plan: MachinePlan) -> MachinePlan:
        """Return the plan as the kind of job wants it."""
        return plan

    async def _staging(self, machine: Row[Any]) -> Path | None:
        folder = await self._hosts.staging(machine.host_uid)
        if folder is not None and not await asyncio.to_thread(folder.is_dir):
            raise RepositoryUnavailable(
                f'The folder {folder}, where QEMU on host "{machine.host_name}" is to write, '
                "is not there."
            )
        return folder

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
