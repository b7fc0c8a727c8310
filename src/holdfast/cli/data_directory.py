"""The directory that holds everything Holdfast keeps: its layout, its mode, its lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.cli.errors import Failure


@dataclass(frozen=True)
class DataDirectory:
    """Where things are below one data directory, given as an absolute path."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> DataDirectory:
        """Given a path a person wrote, return its directory, which need not exist yet."""
        return cls(path.expanduser().absolute())

    @property
    def server(self) -> Path:
        """What the local backup server keeps."""
        return self.path / "server"

    @property
    def log(self) -> Path:
        """The log of this installation, with tracebacks."""
        return self.path / "holdfast.log"

    @property
    def manager(self) -> Path:
        """What the manager keeps."""
        return self.path / "manager"

    @property
    def repository(self) -> Path:
        """The default repository: restore points lie here."""
        return self.path / "repository"

    @property
    def samples(self) -> Path:
        """The input of the sample jobs."""
        return self.path / "samples"

    @property
    def tls(self) -> Path:
        """The certificate and its key."""
        return self.path / "tls"

    @property
    def server_tls(self) -> Path:
        """The certificate, and its key, of a backup server's private service."""
        return self.path / "server-tls"

    def create(self) -> None:
        """Make the directory, readable by its owner alone. Raise Failure when it cannot be."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise Failure(f"{self.path}: cannot be the data directory: {error.strerror}") from None

    def expect(self) -> None:
        """Raise Failure unless a Holdfast has been started here before."""
        self._expect(self.server.is_dir() or self.manager.is_dir())

    def expect_server(self) -> None:
        """Raise Failure unless a backup server has been started here before."""
        self._expect(self.server.is_dir())

    def expect_manager(self) -> None:
        """Raise Failure unless a manager has been started here before."""
        self._expect(self.manager.is_dir())

    def _expect(self, started: bool) -> None:
        if not started:
            raise Failure(f"{self.path}: no Holdfast has been started with this data directory")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process alone; the kernel lets go when the process ends.

        Raise Failure when another process holds it.
        """
        path = self.path / "holdfast.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Failure(f"{path}: cannot be opened: {error.strerror}") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise Failure(
                    f"{self.path}: in use by another Holdfast (process {holder}); stop that first"
                ) from None
            os.ftruncate(descriptor, 0)
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(f"{os.getpid()}\n".encode())
            yield
        finally:
            os.close(descriptor)
