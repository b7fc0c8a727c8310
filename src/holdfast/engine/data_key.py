"""The key that a backup is encrypted with, and how it is lent to QEMU's tools.

A data key is drawn at random and never shown. QEMU reads it from a file that has no name and is in
memory only, which the program inherits: nothing of it is in an argument, an environment or a
folder. What is no disk image (a machine's definition, its NVRAM) is sealed with it, too.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.engine.errors import KeyRefused

KEY_ID = "holdfast-key"
"""What the key is called in the options of QEMU's tools."""
SEALED_SUFFIX = ".sealed"
"""How the names of sealed files end."""

_SECRET_BYTES = 32
_MAGIC = b"HOLDFAST SEALED 1\n"
_NONCE_BYTES = 12
_PURPOSE = b"holdfast sealed files"


@dataclass(frozen=True, slots=True)
class DataKey:
    """``secret`` is what opens the LUKS headers: 64 hexadecimal digits, of 256 random bits."""

    secret: str = field(repr=False)

    @classmethod
    def draw(cls) -> DataKey:
        """Return a new key."""
        return cls(secrets.token_hex(_SECRET_BYTES))

    @property
    def passphrase(self) -> bytes:
        """The secret as LUKS wants it."""
        return self.secret.encode("ascii")


@dataclass(frozen=True, slots=True)
class Lent:
    """What makes a program of QEMU's know the key: arguments, and descriptors to inherit."""

    arguments: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def lent(key: DataKey | None) -> Iterator[Lent]:
    """Lend a key to programs that are started in a block; None lends nothing."""
    if key is None:
        yield Lent()
        return
    descriptor = os.memfd_create("holdfast-key", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(key.passphrase)
        secret = f"secret,id={KEY_ID},file=/proc/self/fd/{descriptor}"
        yield Lent(("--object", secret), (descriptor,))
    finally:
        os.close(descriptor)


def seal(content: bytes, key: DataKey, name: str) -> bytes:
    """Return small content encrypted, for the file ``name`` alone."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _MAGIC + nonce + _cipher(key).encrypt(nonce, content, name.encode())


def has_seal(start: bytes) -> bool:
    """Given the first bytes of a file, say whether it claims to be sealed."""
    return start.startswith(_MAGIC)


def unseal(sealed: bytes, key: DataKey, name: str) -> bytes:
    """Given what `seal` returned, return the content. Raise KeyRefused."""
    nonce_ends = len(_MAGIC) + _NONCE_BYTES
    try:
        if not has_seal(sealed):
            raise ValueError("an unknown format")
        nonce = sealed[len(_MAGIC) : nonce_ends]
        return _cipher(key).decrypt(nonce, sealed[nonce_ends:], name.encode())
    except (InvalidTag, ValueError) as error:
        raise KeyRefused(f"The backup file {name} cannot be decrypted with this key.") from error


def _cipher(key: DataKey) -> AESGCM:
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_PURPOSE)
    return AESGCM(derived.derive(bytes.fromhex(key.secret)))
