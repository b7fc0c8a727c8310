"""The folder of a restic repository, and the target of a restore, as plain files.

restic's layout is public (doc/design.rst): ``config`` is written last when a repository is made,
and every file is written under ``<name>-tmp-<number>`` before it gets its name. All functions
block.
"""

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from holdfast.engine.durability import synchronise
from holdfast.engine.errors import EngineError, RepositoryUnavailable
from holdfast.engine.failures import folder_gone, writing_failure

_PARTS = ("data", "index", "keys", "locks", "snapshots")
_PRECIOUS = ("data", "index", "snapshots")
_TEMPORARY = re.compile(r"^(?:[0-9a-f]{64}|config)-tmp-\d+$")
_SNAPSHOT_NAME = re.compile(r"^[0-9a-f]{64}$")
_STAGING = ".holdfast-restore-"


def prepare(folder: Path) -> bool:
    """Return True when a repository is there; else make the folder fit for ``restic init``.

    What an interrupted init left is removed: a second init would add a second key, and the
    repository would open with neither. Raise RepositoryUnavailable when there is no ``config``
    and yet something that a half-made repository cannot hold.
    """
    if (folder / "config").is_file():
        return True
    if not folder.parent.is_dir():
        raise folder_gone(folder.parent)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _ensure_nothing_precious(folder)
        for part in _PARTS:
            if (folder / part).is_dir():
                shutil.rmtree(folder / part)
        sweep_temporary(folder)
        synchronise(folder.parent)
    except OSError as error:
        raise writing_failure(error, folder) from error
    return False


def _ensure_nothing_precious(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name not in _PARTS and not _TEMPORARY.match(entry.name):
            raise RepositoryUnavailable(
                f"{folder} is not a restic repository, and it is not empty: it holds {entry.name}."
            )
    for part in _PRECIOUS:
        for _folder, _folders, names in os.walk(folder / part):
            if names:
                raise RepositoryUnavailable(
                    f"The restic repository {folder} has lost its config file, but holds backup "
                    "data. Put the file back from a copy; nothing was changed."
                )


def identity(folder: Path) -> tuple[int, int]:
    """Return device and inode of the repository's config: another pair is another repository."""
    try:
        status = (folder / "config").stat()
    except OSError as error:
        raise RepositoryUnavailable(
            f"There is no restic repository in {folder} (any more). Is its disk or share mounted?"
        ) from error
    return status.st_dev, status.st_ino


def pack_path(folder: Path, pack: str) -> Path:
    """Return where a pack lies; its name is the SHA-256 of its content."""
    return folder / "data" / pack[:2] / pack


def snapshot_names(folder: Path, prefix: str) -> list[str]:
    """Given the beginning of a snapshot id, return the whole ids that begin so."""
    names = [entry.name for entry in (folder / "snapshots").iterdir()]
    return [name for name in names if name.startswith(prefix) and _SNAPSHOT_NAME.match(name)]


def sweep_temporary(folder: Path) -> list[str]:
    """Remove the temporary files of a killed restic; return their names."""
    removed = []
    try:
        for place, _folders, names in os.walk(folder):
            for name in filter(_TEMPORARY.match, names):
                (Path(place) / name).unlink()
                removed.append(name)
    except OSError as error:
        raise writing_failure(error, folder) from error
    return sorted(removed)


def prepare_target(target: Path) -> Path:
    """Make the folder to restore to and return its absolute path; refuse one that is in use."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise EngineError(f"The folder {target} to restore to is not empty.")
    except OSError as error:
        raise EngineError(
            f"The folder {target} to restore to cannot be used: {error.strerror or error}."
        ) from error
    return target.resolve()


def pattern_of(path: str) -> str:
    """Given a path in a snapshot, return the pattern by which restic takes it alone."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def staging_folder(directory: Path, token: str) -> Path:
    """Given a directory and a token of 32 digits, return the folder in it a restore works in."""
    return directory / f"{_STAGING}{token}"


def staging_pattern() -> str:
    """Return the pattern by which restic leaves such folders out of a backup, wherever they are."""
    return f"{_STAGING}{'?' * 32}"


def empty(folder: Path) -> None:
    """Remove all that is in a folder, following no link; what cannot be removed stays."""
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):  # the error to be told is the one that led here
            if stat.S_ISDIR(entry.lstat().st_mode):
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


def set_aside(folder: Path, packs: Sequence[str]) -> None:
    """Move packs of a restic repository into a folder beside it. Blocking; missing ones are fine.

    Raise EngineError.
    """
    aside = folder.with_name(f"{folder.name}-damaged")
    try:
        for pack in packs:
            path = pack_path(folder, pack)
            if path.exists():
                aside.mkdir(mode=0o700, exist_ok=True)
                path.rename(aside / pack)
                synchronise(aside)
                synchronise(path.parent)
    except OSError as error:
        raise writing_failure(error, aside) from error
