"""What a tool's last words or a system error mean: text and numbers in, engine errors out.

Pure but for one look at the free space, which the message for a full disk should name.
"""

import errno
import os
import re
from pathlib import Path

from holdfast.engine.errors import (
    EngineError,
    ImageInUse,
    NoSpace,
    RepositoryUnavailable,
    SourceUnreadable,
    ToolFailed,
)
from holdfast.engine.process import Completed

_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded|file too large", re.IGNORECASE)
_IN_USE = re.compile(r"Failed to get (?:shared |consistent |\")|Is another process using the image")
_NO_SPACE_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LAST_WORDS = 400


def means_no_space(words: str) -> bool:
    """Say whether a program's words mean that a disk, a quota or a size limit is used up."""
    return _NO_SPACE.search(words) is not None


def no_space(path: Path) -> NoSpace:
    """Given the path that was written to, return the error that says how much room is left."""
    folder = path if path.is_dir() else path.parent
    try:
        status = os.statvfs(folder)
    except OSError:
        return NoSpace(f"No space left while writing {path}.")
    free = status.f_bavail * status.f_frsize
    return NoSpace(
        f"No space left while writing {path}: {free} bytes are free on its file system. "
        "Free some space, keep fewer restore points, or use a larger repository."
    )


def tool_failure(completed: Completed, *, doing: str, writing: Path) -> EngineError:
    """Given how a tool failed, return the error to raise.

    ``doing`` is a phrase such as "qemu-img reading /a.raw"; ``writing`` is the path written to.
    """
    words = completed.stderr + completed.stdout
    if means_no_space(words):
        return no_space(writing)
    if _IN_USE.search(completed.stderr):
        return ImageInUse(
            f"{doing} was refused, because another process, usually a running machine, "
            f"has the disk image open: {last_words(completed)}"
        )
    if not writing.parent.is_dir():
        return folder_gone(writing.parent)
    if completed.exit_code < 0:
        return ToolFailed(f"{doing} was ended by signal {-completed.exit_code}.")
    return ToolFailed(f"{doing} failed (exit code {completed.exit_code}): {last_words(completed)}")


def writing_failure(error: OSError, path: Path) -> EngineError:
    """Given a system error met while writing ``path`` in a repository, return what to raise."""
    if error.errno in _NO_SPACE_NUMBERS:
        return no_space(path)
    if not path.parent.is_dir():
        return folder_gone(path.parent)
    return RepositoryUnavailable(f"{path} cannot be written: {error.strerror or error}.")


def reading_failure(error: OSError, path: Path) -> SourceUnreadable:
    """Given a system error met while reading the source ``path``, return what to raise."""
    return SourceUnreadable(f"{path} cannot be read: {error.strerror or error}.")


def folder_gone(folder: Path) -> RepositoryUnavailable:
    """Return the error for a repository folder that is not there (any more)."""
    return RepositoryUnavailable(
        f"The folder {folder} does not exist. Is the repository's disk or share mounted?"
    )


def target_folder_gone(folder: Path) -> RepositoryUnavailable:
    """Return the error for a folder that disks of a machine are to come into, and is not there."""
    return RepositoryUnavailable(
        f"folder: {folder} does not exist; expected a folder for the disks that is there."
    )


def last_words(completed: Completed) -> str:
    """Return the end of what a tool said, on one line; its output when it left no error."""
    said = completed.stderr.strip() or completed.stdout.strip() or "it gave no reason"
    return " ".join(said.split())[-_LAST_WORDS:]
