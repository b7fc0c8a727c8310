"""The secrets of the server: files in a folder of their own, readable for its account only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from uuid import UUID

from holdfast.engine.durability import synchronise
from holdfast.sealing import Seal

_SECRET_BYTES = 32
_OFFERED = "offered-"


class Keys:
    """The folder of secrets, made when it is not there. Whoever loses it loses what restic keeps.

    All methods block; they raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)

    def token(self) -> str:
        """Return the token that opens the server's service, drawn when there is none."""
        path = self._folder / "server.token"
        if not path.exists():
            _write_secret(path)
        return path.read_text("ascii").strip()

    def seal(self) -> Seal:
        """Return what seals the secrets in the database; raise SealBroken if its key is damaged."""
        return Seal(self._folder / "secrets.key")

    def repository_password(self, repository: UUID, backup: UUID | None = None) -> Path:
        """Return the file that holds the password of a repository's file backups.

        A `backup` that another server has made may have a password of its own.
        """
        own = self._folder / f"{backup}.password"
        if backup is not None and own.exists():
            return own
        return self._folder / f"{repository}.password"

    def keep_password(self, backup: UUID, password: str) -> None:
        """Keep the password of a backup that another server has made, in place of any other."""
        path = self._folder / f"{backup}.password"
        path.unlink(missing_ok=True)
        _write_secret(path, password)

    def sweep_offered(self) -> None:
        """Remove passwords that were to be tried when the server was killed."""
        for path in self._folder.glob(f"{_OFFERED}*"):
            path.unlink()

    def offered_password(self, password: str) -> Path:
        """Write a password that is to be tried, for restic to read; who calls removes the file."""
        path = self._folder / f"{_OFFERED}{secrets.token_hex(8)}.password"
        _write_secret(path, password)
        return path

    def ensure_repository_password(self, repository: UUID) -> None:
        """Draw the password of a repository, unless there is one."""
        path = self.repository_password(repository)
        if not path.exists():
            _write_secret(path)


def _write_secret(path: Path, secret: str | None = None) -> None:
    """Write a secret, drawn unless it is given, on stable storage; no existing one is replaced."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write((secret or secrets.token_urlsafe(_SECRET_BYTES)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    finally:
        temporary.unlink()
    synchronise(path.parent)
