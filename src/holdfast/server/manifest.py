"""The manifest of each backup file and snapshot: what the catalog knows, for when that is lost.

A plain JSON file, ``<backup file>.json`` or, beside the restic repository of a backup,
``files.<snapshot>.json``; with them, a server's points can be found again from the repository
alone (`repository_import`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select

from holdfast.engine.durability import remove_durably, write_json
from holdfast.engine.errors import ChainBroken
from holdfast.engine.failures import writing_failure
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.server import tables
from holdfast.server.publish import row_of

FORMAT_VERSION = 1
_SNAPSHOT_PREFIX = "files."


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a backup file and of the point it holds. Sizes in bytes, times in ms.

    `parent` is the name of the file in the same folder that it is built on, None for a full;
    `copied_from` the point that a copy was made of. With a machine of a host, `disk` is the disk
    that the file holds, and `detail` what the engine knew of the whole point when it was made.
    `key` is what the file is encrypted with: ``<key>.key.json`` in the same folder.
    """

    format: int = FORMAT_VERSION
    server: UUID
    backup: UUID
    job: UUID
    job_name: str
    restore_point: UUID
    point: UUID
    machine: str
    source: str
    reference: str
    created: int
    parent: str | None
    file_size: int
    data_size: int
    virtual_size: int
    sha256: str
    copied_from: UUID | None = None
    disk: str | None = None
    detail: MachinePoint | None = None
    key: UUID | None = None


class SnapshotManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a snapshot, the point of a directory; as in a `Manifest`."""

    format: int = FORMAT_VERSION
    server: UUID
    backup: UUID
    job: UUID
    job_name: str
    restore_point: UUID
    point: UUID
    machine: str
    source: str
    reference: str
    created: int
    snapshot: str
    total_size: int
    copied_from: UUID | None = None


def manifest_path(image: Path) -> Path:
    """Given a backup file, return the path of its manifest."""
    return image.with_name(image.name + ".json")


async def write_manifest(image: Path, manifest: Manifest) -> None:
    """Write the manifest of a backup file, whole and on stable storage. Raise EngineError."""
    path = manifest_path(image)
    try:
        await asyncio.to_thread(write_json, path, manifest)
    except OSError as error:
        raise writing_failure(error, path) from error


async def remove_manifest(image: Path) -> None:
    """Remove the manifest of a backup file; a missing one is fine. Raise EngineError."""
    path = manifest_path(image)
    try:
        await remove_durably(path)
    except OSError as error:
        raise writing_failure(error, path) from error


def read_manifest(image: Path) -> Manifest:
    """Given a backup file, return its manifest. Blocking; OSError or msgspec.DecodeError."""
    return msgspec.json.decode(manifest_path(image).read_bytes(), type=Manifest)


def snapshot_manifest_path(folder: Path, snapshot: str) -> Path:
    """Given a backup's folder and a snapshot, return the path of the snapshot's manifest."""
    return folder / f"{_SNAPSHOT_PREFIX}{snapshot}.json"


async def write_snapshot_manifest(folder: Path, manifest: SnapshotManifest) -> None:
    """Write the manifest of a snapshot into its backup's folder. Raise EngineError."""
    path = snapshot_manifest_path(folder, manifest.snapshot)
    try:
        await asyncio.to_thread(write_json, path, manifest)
    except OSError as error:
        raise writing_failure(error, path) from error


async def remove_snapshot_manifests(folder: Path, snapshots: Iterable[str]) -> None:
    """Remove the manifests of snapshots; missing ones are fine. Raise EngineError."""
    for snapshot in snapshots:
        path = snapshot_manifest_path(folder, snapshot)
        try:
            await remove_durably(path)
        except OSError as error:
            raise writing_failure(error, path) from error


def described_snapshots(folder: Path) -> list[str]:
    """Given a backup's folder, return the snapshots that have a manifest there. Blocking."""
    names = sorted(path.name for path in folder.glob(f"{_SNAPSHOT_PREFIX}*.json"))
    return [name.removeprefix(_SNAPSHOT_PREFIX).removesuffix(".json") for name in names]


def read_snapshot_manifest(folder: Path, snapshot: str) -> SnapshotManifest:
    """Return the manifest of a snapshot. Blocking; raise OSError or msgspec.DecodeError."""
    content = snapshot_manifest_path(folder, snapshot).read_bytes()
    return msgspec.json.decode(content, type=SnapshotManifest)


async def check_manifest(image: Path, sha256: str) -> None:
    """Raise ChainBroken unless a backup file's manifest is there and says the same SHA-256."""
    try:
        manifest = await asyncio.to_thread(read_manifest, image)
    except (OSError, msgspec.DecodeError) as error:
        raise ChainBroken(
            f"The manifest of the backup file {image} cannot be read: {error}. What it says of "
            "the file cannot be compared, so the file was not copied."
        ) from error
    if manifest.sha256 != sha256:
        raise ChainBroken(
            f"The manifest of the backup file {image} says that its SHA-256 is {manifest.sha256}, "
            f"and the catalog says {sha256}. The file was not copied."
        )


def recorded_manifest(connection: Connection, file: UUID) -> Manifest | None:
    """Given a backup file of the catalog, return the manifest that belongs to it.

    None for a file that no point has any more, but others are built on.
    """
    row = row_of(connection, tables.backup_file, file)
    table, disk = tables.machine_point, tables.machine_disk
    of_disk = connection.execute(select(disk).where(disk.c.backup_file_uid == file)).first()
    holding = table.c.backup_file_uid == file
    if of_disk is not None:
        holding = table.c.uid == of_disk.point_uid
    point = connection.execute(select(table).where(holding)).first()
    if point is None:
        return None
    backup = row_of(connection, tables.backup, row.backup_uid)
    parent = tables.backup_file.c.path
    parent_path = connection.scalar(
        select(parent).where(tables.backup_file.c.uid == row.parent_uid)
    )
    return Manifest(
        server=connection.scalars(select(tables.server.c.uid)).one(),
        backup=row.backup_uid,
        job=backup.job_uid,
        job_name=backup.name,
        restore_point=point.restore_point_uid,
        point=point.uid,
        machine=point.display_name,
        source=point.source_path,
        reference=point.reference,
        created=point.created,
        parent=parent_path and PurePosixPath(parent_path).name,
        file_size=row.file_size,
        data_size=row.data_size,
        virtual_size=row.virtual_size,
        sha256=row.sha256,
        copied_from=point.copied_from,
        key=row.key_uid,
        disk=None if of_disk is None else of_disk.target,
        detail=None
        if point.detail is None
        else msgspec.json.decode(point.detail, type=MachinePoint),
    )
