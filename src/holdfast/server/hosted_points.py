"""Points of machines of hosts: their disks and their small files. Each runs in a transaction.

Such a point has a backup file for each disk, each in a chain of its own, beside files with the
machine's definition and its NVRAM. Its first disk is the one that stands in its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, Row, insert, select

from holdfast.engine.libvirt_point import DiskPoint, MachinePoint
from holdfast.server import tables
from holdfast.server.points import made_of
from holdfast.server.publish import publish_backup_file, publish_machine_point, row_of
from holdfast.server.sessions import Machine


def encoded(point: MachinePoint) -> str:
    """Return what is known of a machine's point as text, for its row."""
    return msgspec.json.encode(point).decode()


def decoded(text: str) -> MachinePoint:
    """Given the text of `encoded`, return what it says."""
    return msgspec.json.decode(text, type=MachinePoint)


def disks_of(connection: Connection, point: UUID) -> list[Row[Any]]:
    """Return the rows of a point's backup files, each with its ``target``, in order."""
    disk, file = tables.machine_disk, tables.backup_file
    return list(
        connection.execute(
            select(file, disk.c.target)
            .join(disk, disk.c.backup_file_uid == file.c.uid)
            .where(disk.c.point_uid == point)
            .order_by(disk.c.position)
        )
    )


def disk_paths(connection: Connection, point: Row[Any]) -> list[str]:
    """Given the row of a point that is no directory's, with its ``path``, return the paths of its
    backup files, relative to the repository: one for each disk, in order."""
    return [row.path for row in disks_of(connection, point.uid)] or [point.path]


def known_point(connection: Connection, uid: UUID) -> MachinePoint:
    """Return a machine's point for the engine, with its files as they are now.

    Retention may have made a full of an increment since the point was made.
    """
    point = decoded(row_of(connection, tables.machine_point, uid).detail)
    rows = {PurePosixPath(row.path).name: row for row in disks_of(connection, uid)}
    return replace(point, disks=tuple(_as_now(disk, rows[disk.file.name]) for disk in point.disks))


def _as_now(disk: DiskPoint, row: Row[Any]) -> DiskPoint:
    return replace(
        disk,
        file=replace(disk.file, sha256=row.sha256),
        file_size=row.file_size,
        data_size=row.data_size,
        incremental=row.parent_uid is not None,
    )


def small_files(connection: Connection, uid: UUID) -> list[str]:
    """Return the paths, relative to the repository, of a point's definition and NVRAM."""
    row = row_of(connection, tables.machine_point, uid)
    disk = row_of(connection, tables.backup_file, row.backup_file_uid)
    return small_files_of(row.detail, disk.path)


def small_files_of(detail: str, disk: str) -> list[str]:
    """As `small_files`, given what is known of a point and the path of one of its disks."""
    known, folder = decoded(detail), PurePosixPath(disk).parent
    return [str(folder / each.name) for each in (known.definition, known.nvram) if each is not None]


def parent_files(
    connection: Connection, point: MachinePoint, parent: UUID | None
) -> dict[str, UUID]:
    """Given a new point and the one before it, return `built_on` as `record_machine` wants it."""
    before = {} if parent is None else {row.target: row.uid for row in disks_of(connection, parent)}
    targets = (disk.state.target for disk in point.disks if disk.incremental)
    return {target: before[target] for target in targets}


def record_machine(
    connection: Connection,
    *,
    backup: UUID,
    restore_point: UUID,
    uid: UUID,
    machine: Machine,
    created: int,
    folder: PurePosixPath,
    point: MachinePoint,
    built_on: Mapping[str, UUID],
    copied_from: UUID | None = None,
    key: UUID | None = None,
) -> None:
    """Record a machine's point, whose files lie in `folder`.

    `built_on` has, by its target, the file that that of a disk is built on; none for a full. `key`
    is what they are encrypted with.
    """
    files = []
    for disk in point.disks:
        file_uid = uuid4()
        connection.execute(
            insert(tables.backup_file).values(
                uid=file_uid,
                backup_uid=backup,
                restore_point_uid=restore_point,
                parent_uid=built_on.get(disk.state.target),
                path=str(folder / disk.file.name),
                created=created,
                file_size=disk.file_size,
                data_size=disk.data_size,
                virtual_size=disk.state.virtual_size,
                sha256=disk.file.sha256,
                key_uid=key,
            )
        )
        publish_backup_file(connection, file_uid)
        files.append(file_uid)
    record_disks(
        connection,
        backup=backup,
        restore_point=restore_point,
        uid=uid,
        machine=machine,
        created=created,
        point=point,
        files=files,
        copied_from=copied_from,
    )


def record_disks(
    connection: Connection,
    *,
    backup: UUID,
    restore_point: UUID,
    uid: UUID,
    machine: Machine,
    created: int,
    point: MachinePoint,
    files: Sequence[UUID],
    copied_from: UUID | None = None,
) -> None:
    """Record a machine's point whose `files`, one for each disk in order, are recorded."""
    connection.execute(
        insert(tables.machine_point).values(
            uid=uid,
            backup_uid=backup,
            restore_point_uid=restore_point,
            kind=machine.kind,
            reference=machine.reference,
            display_name=machine.name,
            source_path=machine.path,
            created=created,
            total_size=total_size(point.disks),
            backup_file_uid=files[0],
            detail=encoded(point),
            copied_from=copied_from,
            made=made_of(connection, copied_from),
        )
    )
    for position, (disk, file_uid) in enumerate(zip(point.disks, files, strict=True)):
        connection.execute(
            insert(tables.machine_disk).values(
                backup_file_uid=file_uid,
                point_uid=uid,
                target=disk.state.target,
                position=position,
            )
        )
    publish_machine_point(connection, uid)


def total_size(disks: Iterable[DiskPoint]) -> int:
    """Given the disks of a point, return their virtual size, in bytes."""
    return sum(disk.state.virtual_size for disk in disks)
