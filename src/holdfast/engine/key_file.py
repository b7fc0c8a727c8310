"""The file beside encrypted backups that makes their data key of a password.

``<uid>.key.json``: the data key, encrypted with a key that scrypt makes of the password. Whoever
has a repository and the password needs nothing else, and a new password changes this file alone,
not the backups. docs/encryption.md says how it is opened by hand.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.engine.data_key import DataKey
from holdfast.engine.durability import write_json
from holdfast.engine.errors import EngineError, KeyRefused

SUFFIX = ".key.json"
FORMAT_VERSION = 1
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
# 128 MiB of memory and some tenths of a second for each guess.
_N, _R, _P = 2**17, 8, 1
_GREATEST_N = 2**20


class KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """A data key that a password opens. What is random, and the encrypted key, are in base64.

    ``hint`` is that of the password, for people.
    """

    format: int = FORMAT_VERSION
    key: UUID
    hint: str
    kdf: str = "scrypt"
    n: int
    r: int
    p: int
    salt: str
    cipher: str = "aes-256-gcm"
    nonce: str
    wrapped: str


class Wrapping:
    """Encrypts data keys with a password, from which one key is made for all of them."""

    def __init__(self, password: str, hint: str) -> None:
        """Make the key of the password. Blocking, for half a second."""
        self._hint = hint
        self._salt = secrets.token_bytes(_SALT_BYTES)
        self._cipher = AESGCM(_stretched(password, self._salt, _N, _R, _P))

    def wrap(self, key: DataKey, uid: UUID) -> KeyFile:
        """Return the data key ``uid`` encrypted."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapped = self._cipher.encrypt(nonce, key.passphrase, str(uid).encode())
        return KeyFile(
            key=uid,
            hint=self._hint,
            n=_N,
            r=_R,
            p=_P,
            salt=_text(self._salt),
            nonce=_text(nonce),
            wrapped=_text(wrapped),
        )


def unwrap(file: KeyFile, password: str) -> DataKey:
    """Return the data key that a password opens. Blocking; raise KeyRefused, or EngineError."""
    if (file.format, file.kdf, file.cipher) != (FORMAT_VERSION, "scrypt", "aes-256-gcm"):
        raise EngineError("The file of the key was written by another version of Holdfast.")
    if not (1 < file.n <= _GREATEST_N and 0 < file.r <= 16 and 0 < file.p <= 16):
        raise EngineError("The file of the key asks for more work than is sensible.")
    try:
        salt, nonce = base64.b64decode(file.salt), base64.b64decode(file.nonce)
        cipher = AESGCM(_stretched(password, salt, file.n, file.r, file.p))
        opened = cipher.decrypt(nonce, base64.b64decode(file.wrapped), str(file.key).encode())
    except ValueError as error:
        raise EngineError(f"The file of the key is damaged: {error}.") from error
    except InvalidTag as error:
        hint = f' Its hint is: "{file.hint}".' if file.hint else ""
        raise KeyRefused(f"The password is not the one of this backup.{hint}") from error
    return DataKey(opened.decode("ascii"))


def key_path(folder: Path, uid: UUID) -> Path:
    """Return the path of a data key's file in the folder of a backup."""
    return folder / f"{uid}{SUFFIX}"


def read_key_file(path: Path) -> KeyFile:
    """Given its path, return a data key's file. Blocking; raise EngineError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeyFile)
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror or error}.") from error
    except msgspec.DecodeError as error:
        raise EngineError(f"{path} is not the file of a key: {error}.") from error


def write_key_file(path: Path, file: KeyFile) -> None:
    """Write a data key's file durably, replacing the one that is there. Blocking; raise OSError."""
    write_json(path, file)


def _stretched(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # OpenSSL counts the memory a little higher than 128 * n * r bytes.
    room = 128 * n * r + 1024 * 1024 * (1 + p)
    return hashlib.scrypt(
        password.encode(), salt=salt, n=n, r=r, p=p, maxmem=room, dklen=_KEY_BYTES
    )


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
