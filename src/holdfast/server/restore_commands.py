"""The commands that restore, mount, and put files back. See `messages.Command`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select

from holdfast.engine.guest_entry import WrongPathError, path_parts
from holdfast.engine.guest_snapshot import GuestSnapshot
from holdfast.server import instant_records, restore_sessions, tables
from holdfast.server.clock import milliseconds
from holdfast.server.guest_catalog import GuestCatalog
from holdfast.server.hosted_objects import MACHINE
from holdfast.server.hosted_restore_plan import plan_hosted, plan_instant
from holdfast.server.instant_records import InstantState
from holdfast.server.messages import Command, Made
from holdfast.server.mounts import Mount, Mounts
from holdfast.server.names import session_name
from holdfast.server.operations import Done, Operation, Preparation, read_arguments
from holdfast.server.point_restore import PointRestore
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import (
    DiscardInstant,
    MachineRestoreOptions,
    MigrateInstant,
    Plan,
    plan_files,
    plan_machine,
    point_row,
)
from holdfast.server.restore_runner import RestoreRunner
from holdfast.server.session_state import JobSessionState


class _FileRestoreOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    download: bool = False
    overwrite: bool = False


class RestoreCommands:
    """What restores and mounts can be told to do."""

    def __init__(
        self,
        runner: RestoreRunner,
        mounts: Mounts,
        catalog: GuestCatalog,
        restore: PointRestore,
    ) -> None:
        self._runner = runner
        self._mounts = mounts
        self._catalog = catalog
        self._restore = restore

    @property
    def preparations(self) -> Mapping[str, Preparation]:
        """Return the operations by their names."""
        return {
            "restore-machine": self._prepare_machine,
            "start-instant-recovery": self._prepare_instant,
            "mount-point": self._prepare_mount,
            "restore-file": self._prepare_file,
            "browse-catalog": self._prepare_browse,
            "restore-catalog-file": self._prepare_catalog_file,
            "stop-restore": self._prepare_stop,
        }

    @property
    def operations(self) -> Mapping[str, Operation]:
        """Return those that need no look outside the database, by their names."""
        return {
            "migrate-instant-recovery": self._migrate_instant,
            "discard-instant-recovery": self._discard_instant,
        }

    async def _prepare_instant(self, command: Command) -> Operation:
        await self._restore.ensure_finished(command.target)
        return self._start_instant

    def _start_instant(self, connection: Connection, command: Command, now: datetime) -> Done:
        options = read_arguments(command, MachineRestoreOptions)
        point = point_row(connection, command.target)
        plan = plan_instant(connection, point, options)
        instant_records.begin(connection, plan, point, milliseconds(now))
        return self._begin(connection, plan, point, now)

    def _migrate_instant(self, connection: Connection, command: Command, now: datetime) -> Done:
        row = instant_records.take(connection, command.target, InstantState.MIGRATING)
        plan = MigrateInstant(row.machine_point_uid, row.uid)
        return self._begin(connection, plan, instant_records.origin(connection, row), now)

    def _discard_instant(self, connection: Connection, command: Command, now: datetime) -> Done:
        row = instant_records.take(connection, command.target, InstantState.DISCARDING)
        plan = DiscardInstant(row.machine_point_uid, row.uid)
        return self._begin(connection, plan, instant_records.origin(connection, row), now)

    async def _prepare_machine(self, _command: Command) -> Operation:
        return self._restore_machine

    def _restore_machine(self, connection: Connection, command: Command, now: datetime) -> Done:
        options = read_arguments(command, MachineRestoreOptions)
        point = point_row(connection, command.target)
        planned = plan_hosted if point.kind == MACHINE else plan_machine
        return self._begin(connection, planned(connection, point, options), point, now)

    async def _prepare_mount(self, command: Command) -> Operation:
        mount = await self._mounts.open(command.target)
        name = f"{mount.point}@{mount.number}"
        made = Made(type=mount.kind, uid=mount.uid, name=name)
        message = " ".join(["Ok.", *mount.warnings]) if mount.warnings else "Ok"
        return lambda _connection, _command, _now: Done(message, made=made)

    async def _prepare_file(self, command: Command) -> Operation:
        options = read_arguments(command, _FileRestoreOptions)
        parts = _parts(options.path)
        with self._mounts.using(command.target or UUID(int=0)) as mount:
            if options.download:
                return await _check_download(mount, parts)
            names: tuple[str, ...] = ()
            if isinstance(mount.browser, GuestSnapshot):
                names, _ = await mount.browser.true_path(parts)
            return partial(self._restore_file, mount.point, names, options.overwrite)

    def _restore_file(
        self,
        point_uid: UUID,
        names: tuple[str, ...],
        overwrite: bool,
        connection: Connection,
        _command: Command,
        now: datetime,
    ) -> Done:
        point = point_row(connection, point_uid)
        return self._begin(connection, plan_files(point, names, overwrite=overwrite), point, now)

    async def _prepare_browse(self, command: Command) -> Operation:
        point = command.target or UUID(int=0)
        await asyncio.to_thread(self._catalog.index_of, point)
        return partial(self._browse, point)

    def _browse(
        self, point: UUID, connection: Connection, _command: Command, _now: datetime
    ) -> Done:
        name = point_row(connection, point).display_name
        return Done(made=Made(type="CatalogVmRestorePoint", uid=point, name=name))

    async def _prepare_catalog_file(self, command: Command) -> Operation:
        options = read_arguments(command, _FileRestoreOptions)
        point = command.target or UUID(int=0)
        names = await self._restore.true_names(point, _parts(options.path))
        return partial(self._restore_file, point, names, options.overwrite)

    async def _prepare_stop(self, _command: Command) -> Operation:
        return self._stop

    def _stop(self, connection: Connection, command: Command, _now: datetime) -> Done:
        table = tables.restore_session
        row = connection.execute(select(table).where(table.c.uid == command.target)).first()
        if row is None:
            raise RefusedError(f"Cannot find restore session [{command.target}].")
        if row.state == JobSessionState.STOPPED:
            name = session_name(row.display_name, row.created)
            raise RefusedError(f'Restore session "{name}" has ended already.')
        by = f" by {command.asked_by}" if command.asked_by else ""
        restore_sessions.request_stop(connection, row.uid, f"The restore was stopped{by}.")
        return Done(then=partial(self._runner.interrupt, row.uid))

    def _begin(self, connection: Connection, plan: Plan, point: Row[Any], now: datetime) -> Done:
        uid = restore_sessions.begin(connection, plan, point, milliseconds(now))
        row = row_of(connection, tables.restore_session, uid)
        name = session_name(row.display_name, row.created)
        made = Made(type="RestoreSession", uid=uid, name=name)
        return Done(made=made, then=partial(self._runner.launch, uid))


async def _check_download(mount: Mount, parts: tuple[str, ...]) -> Operation:
    """Return what is left to do for a download when the file is there: nothing."""
    entry = await mount.browser.entry(parts)
    if entry.kind != "file":
        what = "a folder" if entry.kind == "directory" else "no regular file, or damaged"
        raise RefusedError(f"{entry.name or 'The root'} is {what}; only files can be downloaded.")
    name = f"{mount.point}@{mount.number}"
    made = Made(type=mount.kind, uid=mount.uid, name=name)
    return lambda _connection, _command, _now: Done(made=made)


def _parts(path: str) -> tuple[str, ...]:
    try:
        return path_parts(path)
    except WrongPathError as error:
        raise RefusedError(str(error)) from error
