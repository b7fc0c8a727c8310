"""When a machine is to have a full, and why. Each function runs in a transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from holdfast.server import points, tables
from holdfast.server.clock import moment_of
from holdfast.server.hosted_points import disks_of
from holdfast.server.job_options import Days
from holdfast.server.publish import row_of


def files_of(connection: Connection, point: Row[Any]) -> list[Row[Any]]:
    """Given the row of a machine's point, return the rows of its backup files, none for others."""
    if point.backup_file_uid is None:
        return []
    disks = disks_of(connection, point.uid)
    return disks or [row_of(connection, tables.backup_file, point.backup_file_uid)]


def is_full(connection: Connection, point: Row[Any]) -> bool:
    """Say whether a point needs no other."""
    return all(file.parent_uid is None for file in files_of(connection, point))


def full_is_due(
    connection: Connection, backup: UUID, reference: str, days: Days | None, now: datetime
) -> bool:
    """Say whether one of the days has begun since a machine's newest full. Not without any."""
    if days is None:
        return False
    for row in reversed(points.points_of(connection, backup, reference)):
        if row.damaged is None and is_full(connection, row):
            return days.due(moment_of(row.created), now)
    return False


def why_full(
    connection: Connection,
    backup: UUID,
    reference: str,
    days: Days | None,
    now: datetime,
    key: UUID | None = None,
) -> tuple[str, bool] | None:
    """Return why the next point must not be built on the newest one, or None when it may.

    `key` is what it is to be encrypted with. With the reason comes whether that is bad news.
    """
    newest = points.newest_point(connection, backup, reference)
    if newest is None:
        return None
    found = []
    if newest.damaged is not None:
        found.append((f"the newest restore point is damaged: {newest.damaged.rstrip('.')}", True))
    if (other_key := _why_another_key(connection, newest, key)) is not None:
        found.append(other_key)
    if found:
        return ", and ".join(reason for reason, _ in found), any(is_bad for _, is_bad in found)
    if full_is_due(connection, backup, reference, days, now):
        return "the job has one made on this day", False
    return None


def _why_another_key(
    connection: Connection, newest: Row[Any], key: UUID | None
) -> tuple[str, bool] | None:
    """Return why a point that is encrypted with a key is not built on another, as `why_full`."""
    before = {file.key_uid for file in files_of(connection, newest)}
    if before <= {key}:
        return None
    if key is None:
        return "the job does not encrypt its backup any more: it is not encrypted from now on", True
    if before == {None}:
        return "the job encrypts its backup from now on", False
    return "the job encrypts its backup with another password from now on", False
