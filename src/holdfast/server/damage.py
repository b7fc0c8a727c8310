"""Which points are damaged: noted, taken back. Each function runs in a transaction."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from holdfast.engine.file_check import MISSING
from holdfast.engine.files import ResticRepository
from holdfast.server import points, tables
from holdfast.server.journal import ChainKey

_LOGGER = logging.getLogger(__name__)


def points_needing(
    connection: Connection, backup: UUID, bad_files: Mapping[UUID, str]
) -> dict[UUID, str]:
    """Given files and what is wrong with each, return the points of a backup that need them.

    Each comes with what is wrong with what it needs.
    """
    file, point, disk = tables.backup_file, tables.machine_point, tables.machine_disk
    rows = connection.execute(
        select(file.c.uid, file.c.parent_uid)
        .where(file.c.backup_uid == backup)
        .order_by(file.c.created)
    )
    needed = dict(bad_files)
    for row in rows:  # what a file is built on stands before it
        if row.parent_uid in needed and row.uid not in needed:
            needed[row.uid] = needed[row.parent_uid]
    found = {}
    for uid, first, another in connection.execute(
        select(point.c.uid, point.c.backup_file_uid, disk.c.backup_file_uid)
        .outerjoin(disk, disk.c.point_uid == point.c.uid)
        .where(point.c.backup_uid == backup)
        .order_by(disk.c.position)
    ):
        each = first if another is None else another
        if each in needed:
            found[uid] = needed[each]
    return found


def note_damage(
    connection: Connection, rows: Sequence[Row[Any]], damaged: Mapping[UUID, str]
) -> None:
    """Note which of these points are damaged, and why; the others are not."""
    table = tables.machine_point
    for row in rows:
        reason = damaged.get(row.uid)
        if reason == row.damaged:
            continue
        connection.execute(update(table).where(table.c.uid == row.uid).values(damaged=reason))
        points.show_point(connection, row.uid)
        if reason is not None:
            _LOGGER.error(
                'The restore point of "%s" made at %s is damaged: %s',
                row.display_name,
                row.created,
                reason,
            )


def note_bad_files(connection: Connection, key: ChainKey, bad_files: Mapping[UUID, str]) -> None:
    """Note that some files of a chain are damaged, in the points that need them."""
    damaged = points_needing(connection, key.backup, bad_files)
    rows = points.points_of(connection, key.backup, key.chain)
    note_damage(connection, [row for row in rows if row.uid in damaged], damaged)


def has_damage(connection: Connection, backup: UUID, files: ResticRepository) -> bool:
    """Say whether a point of a directory is damaged: others may share what is.

    Not when a snapshot is gone: what it needed is whole, or gone with it.
    """
    table = tables.machine_point
    found = connection.execute(
        select(table.c.snapshot_id, table.c.damaged).where(
            table.c.backup_uid == backup,
            table.c.snapshot_id.is_not(None),
            table.c.damaged.is_not(None),
        )
    )
    return any(row.damaged != missing_snapshot(files, row.snapshot_id) for row in found)


def missing_snapshot(files: ResticRepository, snapshot: str) -> str:
    """Return what is said of a snapshot that is not there."""
    return f"The snapshot {snapshot} of {files.folder} {MISSING}"


def is_missing(damaged: str | None) -> bool:
    """Say whether what is noted of a point is that something is not there, and so may come back."""
    return damaged is not None and damaged.endswith(f" {MISSING}")


def damage_of(connection: Connection, file: UUID) -> str | None:
    """Return what is noted as damaged about the point that a backup file is of, if anything."""
    table = tables.machine_point
    reason: str | None = connection.scalar(
        select(table.c.damaged).where(points.holds(file), table.c.damaged.is_not(None)).limit(1)
    )
    return reason
