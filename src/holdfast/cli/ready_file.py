"""The ready file: tells scripts and service managers that Holdfast answers, and where."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.cli.errors import BadInput, Failure
from holdfast.cli.whole_file import write_whole


@dataclass(frozen=True)
class Readiness:
    """What a ready file says; the JSON has the same names.

    `https` and `http` are bases of the API. `password` is None when this process does not know it.
    """

    https: str
    http: str
    user: str
    password: str | None
    pid: int


@dataclass(frozen=True)
class ServerReadiness:
    """What the ready file of a backup server says: its address and certificate; never its token."""

    server: str
    fingerprint: str
    pid: int


class ReadyFile:
    """A ready file at the path that the settings name, or none at all."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def expect_directory(self) -> None:
        """Raise BadInput when the file could never be written, before anything is started."""
        if self._path is not None and not os.access(self._path.parent, os.W_OK | os.X_OK):
            raise BadInput(
                f"--ready-file: {self._path}: expected a directory that can be written to"
            )

    def remove(self) -> None:
        """Take the file away, at a stop or as the leftover of an earlier run. Raise Failure."""
        if self._path is None:
            return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error) from None

    def write(self, readiness: Readiness | ServerReadiness) -> None:
        """Write the file whole, readable by its owner alone. Raise Failure."""
        if self._path is None:
            return
        content = json.dumps(asdict(readiness), indent=2) + "\n"
        try:
            write_whole(self._path, content.encode(), 0o600)
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> Failure:
        return Failure(f"--ready-file: {self._path}: {error.strerror}")
