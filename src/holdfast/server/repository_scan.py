"""What a repository holds, by the manifests in it and by its files: read, proved, never changed.

Whatever cannot be restored is a problem, in words; the rest goes on. All files of a point are there
with the size and the SHA-256 of their manifests, each on the file that it is built on. What is
encrypted, a password that is known here opens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import stat
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid5

import msgspec

from holdfast.engine.data_key import DataKey
from holdfast.engine.durability import sha256_of
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    KeyRefused,
    RepositoryUnavailable,
    ToolFailed,
)
from holdfast.engine.files import ResticRepository
from holdfast.engine.image_chain import read_backup_header
from holdfast.engine.image_check import ensure_sound
from holdfast.engine.image_rebuild import is_built_on
from holdfast.engine.libvirt_restore import stored_content
from holdfast.engine.restic import Snapshot
from holdfast.server.clock import milliseconds
from holdfast.server.data_keys import DataKeys
from holdfast.server.keys import Keys
from holdfast.server.manifest import (
    FORMAT_VERSION,
    Manifest,
    SnapshotManifest,
    described_snapshots,
    read_manifest,
    read_snapshot_manifest,
)
from holdfast.server.names import directory_reference, session_name
from holdfast.server.repositories import FILES_FOLDER

_LOGGER = logging.getLogger(__name__)
_IMAGE_MANIFEST = ".qcow2.json"
_HOW_TO_OPEN = (
    "Add its password to those of this backup server and import again, or open it with "
    '"holdfast unlock".'
)


@dataclass(frozen=True)
class FoundPoint:
    """A point that can be restored: its files with their manifests, or that of its snapshot."""

    names: tuple[str, ...] = ()
    files: tuple[Manifest, ...] = ()
    snapshot: SnapshotManifest | None = None

    @property
    def about(self) -> Manifest | SnapshotManifest:
        """What all of its manifests say of it."""
        return self.snapshot or self.files[0]


@dataclass
class FoundBackup:
    """A backup in a folder of a repository.

    `files` are all that can be read, by name: each comes after the one it is built on. Some may
    belong to no point.
    """

    uid: UUID
    job: UUID
    job_name: str
    folder: str
    files: dict[str, Manifest] = field(default_factory=dict)
    points: list[FoundPoint] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scanned:
    """Where and for whom a repository is looked at. `known` are the points to be left out.

    `host` is the managed server that directories are taken to lie on where nothing says so.
    """

    path: Path
    repository: UUID
    host: UUID
    known: frozenset[UUID] = frozenset()


async def scan(of: Scanned, keys: Keys, data_keys: DataKeys) -> AsyncIterator[FoundBackup]:
    """Look at all folders of a repository, one after the other. Raise RepositoryUnavailable.

    The keys of what is encrypted are in `data_keys` afterwards.
    """
    for folder in await asyncio.to_thread(_folders_in, of.path):
        backups, problems = await asyncio.to_thread(_described, folder)
        for found in backups.values():
            await _prove_images(of, folder, found, data_keys)
        if await asyncio.to_thread((folder / FILES_FOLDER / "config").is_file):
            found = await _with_snapshots(of, folder, backups, keys)
            backups[found.uid] = found
        if problems and not backups:
            uid = _made_up(of, folder)
            backups[uid] = FoundBackup(uid, uid, folder.name, folder.name)
        for number, found in enumerate(backups.values()):
            found.problems += problems if number == 0 else []
            yield found


async def opened(of: Scanned, keys: Keys, password: Path) -> AsyncIterator[UUID]:
    """Return the backups of directories that no known password opens, but this one does."""
    for folder in await asyncio.to_thread(_folders_in, of.path):
        if not await asyncio.to_thread((folder / FILES_FOLDER / "config").is_file):
            continue
        backups, _ = await asyncio.to_thread(_described, folder)
        uid = (await asyncio.to_thread(_whose, of, folder, backups)).uid
        tried = (keys.repository_password(of.repository, uid), password)
        for place, each in enumerate(tried):
            with contextlib.suppress(RepositoryUnavailable):
                await ResticRepository(folder / FILES_FOLDER, each).snapshots(locked=False)
                if place == 1:
                    yield uid
                break


def _folders_in(path: Path) -> list[Path]:
    try:
        entries = sorted(path.iterdir())
        return [each for each in entries if stat.S_ISDIR(each.lstat().st_mode)]
    except OSError as error:
        raise RepositoryUnavailable(f"{path} cannot be read: {error.strerror or error}.") from error


def _made_up(of: Scanned, folder: Path) -> UUID:
    """Return the UID for a backup of which nothing says it: always the same one."""
    return uuid5(of.repository, folder.name)


def _described(folder: Path) -> tuple[dict[UUID, FoundBackup], list[str]]:
    """Read the manifests of files in a folder; return the backups, with all their files yet to be
    proved, and what cannot be read. Blocking."""
    backups: dict[UUID, FoundBackup] = {}
    problems = []
    for path in sorted(folder.glob(f"*{_IMAGE_MANIFEST}")):
        image = path.with_name(path.name.removesuffix(".json"))
        try:
            manifest = read_manifest(image)
        except (OSError, msgspec.DecodeError) as error:
            problems.append(f"{path} cannot be read: {error}.")
            continue
        if manifest.format > FORMAT_VERSION:
            problems.append(f"{path} was written by a newer version of Holdfast.")
            continue
        found = backups.setdefault(
            manifest.backup,
            FoundBackup(manifest.backup, manifest.job, manifest.job_name, folder.name),
        )
        found.files[image.name] = manifest
    for image in sorted(folder.glob("*.qcow2")):
        if not any(image.name in found.files for found in backups.values()) and not (
            image.with_name(f"{image.name}.json").exists()
        ):
            problems.append(f"{image} has no manifest: it is not known what it holds.")
    return backups, problems


async def _prove_images(of: Scanned, folder: Path, found: FoundBackup, data_keys: DataKeys) -> None:
    """Keep those files of a backup that can be read, and make points of them."""
    described, good = found.files, dict[str, Manifest]()
    bad: dict[str, str] = {}
    # Where all points are known already, the checksums are left to the health check.
    reading = any(manifest.point not in of.known for manifest in described.values())
    opened = await _opened_keys(folder, described.values(), data_keys)

    async def prove(name: str) -> None:
        manifest = described[name]
        parent, key = manifest.parent, opened.get(manifest.key)
        if parent is not None and parent not in good:
            reason = bad.get(parent) or f"{folder / parent}, which it is built on, has no manifest."
            bad[name] = reason
        elif parent is not None and good[parent].key != manifest.key:
            bad[name] = f"{folder / name} has not the key of {parent}, which it is built on."
        elif isinstance(key, str):
            bad[name] = f"{folder / name} is encrypted. {key}"
        elif (problem := await _problem_of(folder, name, manifest, reading, key)) is not None:
            bad[name] = problem
        else:
            good[name] = manifest

    for name in _parents_first(described):
        await prove(name)
    for name in described.keys() - good.keys() - bad.keys():
        bad[name] = f"{folder / name} is built on itself."
    found.files = good
    for manifests in _by_point(described).values():
        await _add_point(folder, found, manifests, bad, opened)
    found.problems += await asyncio.to_thread(_cut_off_merges, folder, described, bad)


async def _opened_keys(
    folder: Path, manifests: Iterable[Manifest], data_keys: DataKeys
) -> dict[UUID | None, DataKey | str]:
    """Return each key that files are encrypted with, or why it is not to be had."""
    opened: dict[UUID | None, DataKey | str] = {}
    for each in sorted(manifests, key=lambda manifest: manifest.created):
        if each.key is None or each.key in opened:
            continue
        try:
            opened[each.key] = await data_keys.adopt(folder, each.key, each.backup, each.created)
        except EngineError as error:
            opened[each.key] = f"{error} {_HOW_TO_OPEN}"
    return opened


async def _problem_of(
    folder: Path, name: str, manifest: Manifest, reading: bool, key: DataKey | None
) -> str | None:
    """Return what is wrong with a file whose parent is good, all of it being read or not; None for
    nothing."""
    path = folder / name
    try:
        status = await asyncio.to_thread(path.lstat)
        if not stat.S_ISREG(status.st_mode):
            return f"{path} is no regular file."
        if status.st_size != manifest.file_size:
            return f"{path} has {status.st_size} bytes, not {manifest.file_size}."
        if reading and await sha256_of(path) != manifest.sha256:
            return f"{path} is damaged: its checksum is not the one it was written with."
        onto = None if manifest.parent is None else folder / manifest.parent
        if not await is_built_on(path, onto):
            return f"{path} is not built on what its manifest says: {manifest.parent or 'nothing'}."
        if (await asyncio.to_thread(read_backup_header, path)).encrypted != (key is not None):
            return (
                f"{path} is not encrypted with what its manifest says: {manifest.key or 'nothing'}."
            )
        if reading and key is not None:
            await ensure_sound([path], key)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}."
    except (ChainBroken, KeyRefused, ToolFailed) as error:
        return str(error)
    return None


def _cut_off_merges(folder: Path, described: dict[str, Manifest], bad: dict[str, str]) -> list[str]:
    """Say of files that cannot be proved, for a merge into them may have been cut off, what is left
    to do: nothing says what the file is to be then. Blocking."""
    said = []
    for name, manifest in described.items():
        full = manifest.parent
        if name not in bad or full is None or manifest.key is not None:
            continue
        try:
            backing = read_backup_header(folder / name).backing_name
        except ChainBroken:
            continue
        there = (folder / full).is_file()
        merged = backing is None and not there
        merging = there and full in bad and full in described and described[full].parent is None
        if merged or (merging and backing == full):
            said.append(
                f"If a server was cut off while it merged {folder / full} into {name}, the disk "
                f'may still be read: "qemu-img convert -f qcow2 -O raw" of {name}, or of a file '
                "that is built on it, into a new file."
            )
    return said


def _parents_first(described: dict[str, Manifest]) -> list[str]:
    """Return the names so that each comes after what it is built on; circles are left out."""
    children = defaultdict(list)
    first = []
    for name, manifest in described.items():
        if manifest.parent is None or manifest.parent not in described:
            first.append(name)
        else:
            children[manifest.parent].append(name)
    ordered = []
    while first:
        name = first.pop(0)
        ordered.append(name)
        first += children[name]
    return ordered


def _by_point(described: dict[str, Manifest]) -> dict[UUID, dict[str, Manifest]]:
    points: dict[UUID, dict[str, Manifest]] = defaultdict(dict)
    for name, manifest in described.items():
        points[manifest.point][name] = manifest
    return points


async def _add_point(
    folder: Path,
    found: FoundBackup,
    manifests: dict[str, Manifest],
    bad: dict[str, str],
    opened: Mapping[UUID | None, DataKey | str],
) -> None:
    """Add a point with all its files, or say why it cannot be restored."""
    about = next(iter(manifests.values()))
    key = opened.get(about.key)
    problem = next((bad[name] for name in manifests if name in bad), None)
    ordered = list(manifests)
    if about.detail is not None:
        ordered = [disk.file.name for disk in about.detail.disks]
        missing = [name for name in ordered if name not in manifests]
        if missing and problem is None:
            problem = f"{folder / missing[0]} has no manifest."
        if problem is None and len({manifest.key for manifest in manifests.values()}) > 1:
            problem = "its disks are not encrypted with one key."
        for small in (about.detail.definition, about.detail.nvram):
            if small is not None and problem is None:
                if not is_plain_name(small.name):
                    problem = f'its manifest names "{small.name}", which is no file of its folder.'
                    continue
                try:
                    await stored_content(folder, small, key if isinstance(key, DataKey) else None)
                except (ChainBroken, KeyRefused) as error:
                    problem = str(error)
    if problem is None:
        files = tuple(manifests[name] for name in ordered)
        found.points.append(FoundPoint(tuple(ordered), files))
    else:
        found.problems.append(f"{session_name(about.machine, about.created)}: {problem}")


def is_plain_name(name: str) -> bool:
    """Say whether a name is that of a file in its folder, and leads to nowhere else."""
    return "\0" not in name and name not in ("", ".", "..") and Path(name).name == name


def _whose(of: Scanned, folder: Path, backups: dict[UUID, FoundBackup]) -> FoundBackup:
    """Return the backup that the snapshots in a folder belong to. Blocking."""
    for snapshot in described_snapshots(folder):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            said = read_snapshot_manifest(folder, snapshot)
            made = FoundBackup(said.backup, said.job, said.job_name, folder.name)
            return backups.get(said.backup, made)
    if backups:
        return next(iter(backups.values()))
    uid = _made_up(of, folder)
    return FoundBackup(uid, uid, folder.name, folder.name)


async def _with_snapshots(
    of: Scanned, folder: Path, backups: dict[UUID, FoundBackup], keys: Keys
) -> FoundBackup:
    """Return the backup that has a folder's snapshots, with these."""
    found = await asyncio.to_thread(_whose, of, folder, backups)
    files = ResticRepository(
        folder / FILES_FOLDER, keys.repository_password(of.repository, found.uid)
    )
    described = await asyncio.to_thread(described_snapshots, folder)
    try:
        snapshots = await files.snapshots(locked=False)
    except EngineError as error:
        _LOGGER.warning("Not imported: %s", error)
        found.problems.append(
            f"The backups of directories in {files.folder} ({len(described) or 'some'}) cannot be "
            "opened with a password that is known here. Give the one they were written with: it "
            f"is in server/keys/{of.repository}.password of the old data directory."
        )
        return found
    for snapshot in snapshots:
        await _add_snapshot(of, folder, found, files, snapshot)
    present = {snapshot.id for snapshot in snapshots}
    found.problems += [
        f"The snapshot {each} is gone from {files.folder}."
        for each in described
        if each not in present
    ]
    return found


async def _add_snapshot(
    of: Scanned, folder: Path, found: FoundBackup, files: ResticRepository, snapshot: Snapshot
) -> None:
    about: SnapshotManifest | None = None
    try:
        about = await asyncio.to_thread(read_snapshot_manifest, folder, snapshot.id)
    except FileNotFoundError:
        about = _read_from(of, found, snapshot)  # older than these manifests
    except (OSError, msgspec.DecodeError) as error:
        found.problems.append(f"The manifest of snapshot {snapshot.id} cannot be read: {error}.")
        about = _read_from(of, found, snapshot)
    if about is None:
        found.problems.append(f"The snapshot {snapshot.id} in {files.folder} is not Holdfast's.")
        return
    if about.point not in of.known:
        try:
            size = await files.whole_size(snapshot.id)
        except EngineError as error:
            found.problems.append(f"{session_name(about.machine, about.created)}: {error}")
            return
        about = msgspec.structs.replace(about, total_size=about.total_size or size)
    found.points.append(FoundPoint(snapshot=about))


def _read_from(of: Scanned, found: FoundBackup, snapshot: Snapshot) -> SnapshotManifest | None:
    """Return what a snapshot says itself of the point that it is, or None when it is no point."""
    try:
        [tag], [source] = snapshot.tags, snapshot.paths
        origin, moment = UUID(tag), datetime.fromisoformat(_shortened(snapshot.time))
    except ValueError:
        return None
    # A copy has the tag of the point that it is a copy of.
    point = uuid5(found.uid, snapshot.id) if snapshot.original else origin
    return SnapshotManifest(
        server=of.host,
        backup=found.uid,
        job=found.job,
        job_name=found.job_name,
        restore_point=uuid5(point, "RestorePoint"),
        point=point,
        machine=source,
        source=source,
        reference=directory_reference(of.host, source),
        created=milliseconds(moment),
        snapshot=snapshot.id,
        total_size=0,
        copied_from=origin if snapshot.original else None,
    )


def _shortened(moment: str) -> str:
    """Given a moment of Go's, with up to nine decimals, return it with those that Python reads."""
    head, dot, tail = moment.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}{dot}{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}" if dot else moment


def oldest_first(points: Iterable[FoundPoint]) -> Sequence[FoundPoint]:
    """Return points in the order of their making."""
    return sorted(points, key=lambda point: (point.about.created, point.about.point))
