"""Secrets at rest: encrypted with a key that lies in a file of its own, outside any database.

Whoever has a copy of the database alone can read none of them. A sealed secret is bound to its
purpose, so that one row's secret cannot be put in another's place.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12
_FORMAT = b"\x01"


class SealBroken(Exception):
    """A sealed secret cannot be opened: the key is not the one it was sealed with."""


class Seal:
    """Seals and opens secrets with the key in a file, which is drawn when it is not there.

    Making one blocks; it raises OSError, and SealBroken when the file holds no key.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        if not key_file.exists():
            _draw(key_file)
        key_file.chmod(0o600)
        key = key_file.read_bytes()
        if len(key) != _KEY_BYTES:
            raise SealBroken(
                f"{key_file} must hold a key of {_KEY_BYTES} bytes, and does not. Put a copy of it "
                "back. Without one, remove it: then another is made, and the secrets that this one "
                "has sealed have to be entered again."
            )
        self._cipher = AESGCM(key)

    def close(self, secret: str, purpose: str) -> bytes:
        """Given a secret and what it is for, return it sealed."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, secret.encode(), purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> str:
        """Given a sealed secret and what it is for, return it. Raises SealBroken."""
        body = sealed[len(_FORMAT) :]
        try:
            if not sealed.startswith(_FORMAT):
                raise ValueError("an unknown format")
            nonce, text = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, text, purpose.encode()).decode()
        except (InvalidTag, ValueError):
            raise SealBroken(
                f"The key in {self._key_file} is not the one that this was encrypted with."
            ) from None


def _draw(path: Path) -> None:
    """Draw a key and write it, on stable storage; an existing one is never replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return  # drawn by another process at the same moment
    finally:
        temporary.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
