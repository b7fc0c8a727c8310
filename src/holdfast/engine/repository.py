"""A directory repository: one folder of a file system, known by the marker file in it.

The marker says which repository this is. Without it, an empty mount point would look like an
empty repository, and backups would fill the wrong disk.
"""

import asyncio
import hashlib
import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from holdfast.engine.durability import PARTIAL_SUFFIX, synchronise, write_json
from holdfast.engine.errors import RepositoryUnavailable
from holdfast.engine.failures import writing_failure

MARKER_NAME = "holdfast-repository.json"
FORMAT_VERSION = 1
_LONGEST_FOLDER_NAME = 100
# Beside letters and digits. No colon: QEMU would read "a:b" as a protocol.
_NOT_ALLOWED = re.compile(r"[^\w .+@()-]")


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of a file system: all of them, and those that may still be written."""

    capacity: int
    free: int


class _Marker(msgspec.Struct, frozen=True):
    uid: str
    format: int


class DirectoryRepository:
    """A repository in a directory. Its methods block shortly, but for ``sweep_partial``.

    With ``uid`` given, the directory must hold that very repository. Every method raises
    RepositoryUnavailable when the repository is not there.
    """

    def __init__(self, path: Path, uid: str | None = None) -> None:
        self.path = path
        self.uid = uid

    @classmethod
    def create(cls, path: Path, uid: str) -> Self:
        """Make a directory a repository and return it; one with the same uid is simply opened.

        Raise RepositoryUnavailable when it is another repository already or cannot be written.
        """
        repository = cls(path, uid)
        marker = path / MARKER_NAME
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(marker):
                write_json(marker, _Marker(uid=uid, format=FORMAT_VERSION))
                synchronise(path.parent)
        except OSError as error:
            raise writing_failure(error, marker) from error
        repository.ensure_available()
        return repository

    @classmethod
    def open(cls, path: Path, uid: str | None = None) -> Self:
        """Return the repository in a directory, checked to be there."""
        repository = cls(path, uid)
        repository.ensure_available()
        return repository

    def ensure_available(self) -> str:
        """Return the repository's uid, read from its marker."""
        marker = self.path / MARKER_NAME
        try:
            found = msgspec.json.decode(marker.read_bytes(), type=_Marker)
        except FileNotFoundError as error:
            raise RepositoryUnavailable(
                f"There is no repository in {self.path}: {MARKER_NAME} is missing. "
                "Is its disk or share mounted?"
            ) from error
        except OSError as error:
            raise RepositoryUnavailable(
                f"The repository {self.path} cannot be read: {error.strerror or error}."
            ) from error
        except msgspec.DecodeError as error:
            raise RepositoryUnavailable(f"The marker {marker} is damaged: {error}.") from error
        if found.format != FORMAT_VERSION:
            raise RepositoryUnavailable(
                f"The repository {self.path} has format {found.format}; this version of Holdfast "
                f"knows format {FORMAT_VERSION} only."
            )
        if self.uid is not None and found.uid != self.uid:
            raise RepositoryUnavailable(
                f"The directory {self.path} holds another repository: {found.uid}, "
                f"not {self.uid}. Is the right disk or share mounted?"
            )
        return found.uid

    def space(self) -> Space:
        """Return the capacity and the free space of the repository's file system."""
        self.ensure_available()
        try:
            status = os.statvfs(self.path)
        except OSError as error:
            raise RepositoryUnavailable(
                f"The repository {self.path} does not answer: {error.strerror or error}."
            ) from error
        return Space(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)

    def folder_for(self, name: str) -> Path:
        """Given the name of a folder, return that folder, made when it does not exist.

        The name is taken as it is: what `folder_name` gives, or what a folder was found under.
        Raise RepositoryUnavailable when it is not the name of one folder in the repository, or
        something other than a real folder has it.
        """
        self.ensure_available()
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise RepositoryUnavailable(
                f"{name!r} is not the name of a folder in the repository {self.path}."
            )
        folder = self.path / name
        try:
            folder.mkdir(mode=0o700, exist_ok=True)  # copies of people's data
            synchronise(self.path)
        except OSError as error:
            raise writing_failure(error, folder) from error
        self._ensure_inside(folder)
        return folder

    async def sweep_partial(self, folder: Path) -> list[str]:
        """Remove what interrupted work left directly in a folder; return the names removed.

        Only to be called while nothing is being written to that folder.
        """
        return await asyncio.to_thread(self._sweep_partial, folder)

    def _sweep_partial(self, folder: Path) -> list[str]:
        self.ensure_available()
        self._ensure_inside(folder)
        removed = []
        try:
            for entry in sorted(folder.iterdir()):
                if entry.name.endswith(PARTIAL_SUFFIX) and stat.S_ISREG(entry.lstat().st_mode):
                    entry.unlink()
                    removed.append(entry.name)
            synchronise(folder)
        except OSError as error:
            raise writing_failure(error, folder) from error
        return removed

    def _ensure_inside(self, folder: Path) -> None:
        # A symbolic link put into the repository must not lead a write or a sweep out of it.
        root = self.path.resolve()
        if folder.is_symlink() or not folder.is_dir() or not _within(folder.resolve(), root):
            raise RepositoryUnavailable(
                f"{folder} is not a folder inside the repository {self.path}."
            )


def _within(path: Path, root: Path) -> bool:
    return path == root or root in path.parents


def folder_name(text: str) -> str:
    """Given any text, return a file name for it. For example "Web: 1/2" → "Web_ 1_2-3f2a9c04".

    A text that is a good name already stays as it is; any other gets a piece of its hash, so
    that two texts never come to the same name. So the result may change when it is given again:
    a name that was made once is kept, and never made anew of itself.
    """
    cleaned = _NOT_ALLOWED.sub("_", unicodedata.normalize("NFC", text)).strip(". ")
    shortened = cleaned.encode()[:_LONGEST_FOLDER_NAME].decode(errors="ignore").strip(". ")
    if shortened == text != "" and not text.startswith("holdfast-repository"):
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{shortened or 'job'}-{digest}"
