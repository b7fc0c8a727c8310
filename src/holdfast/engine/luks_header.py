"""The header of LUKS (version 1): the random key that data is encrypted with, locked by another.

QEMU could make one, but measures for two seconds how slow it is to be made to guess, whatever it is
told, and now and then fails at that. What locks it here is no password that can be guessed but a
key of 256 random bits, so one is made in milliseconds. The form is cryptsetup's "LUKS On-Disk
Format Specification 1.2"; all numbers are big-endian.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from uuid import uuid4

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_MAGIC = b"LUKS\xba\xbe"
_SECTOR = 512
_KEY_BYTES = 64  # AES-256 in XTS mode has two keys
_SALT_BYTES = 32
_DIGEST_BYTES = 20
_STRIPES = 4000
_SLOTS = 8
_FIRST_SLOT = 8  # sectors
_SLOT_SECTORS = 504  # the stripes of a key, rounded up to 4 KiB
_ITERATIONS = 1000  # the least that is allowed
_MOST_ITERATIONS = 100_000
_USED, _UNUSED = 0x00AC71F3, 0x0000DEAD
# magic, version, cipher, mode, hash, payload offset, key bytes, digest, salt, iterations, UUID
_HEADER = struct.Struct(">6sH32s32s32sII20s32sI40s")
_SLOT = struct.Struct(">II32sII")  # state, iterations, salt, offset, stripes

HEADER_BYTES = (_FIRST_SLOT + _SLOTS * _SLOT_SECTORS) * _SECTOR
"""How long a header is, with the room for all of its keys."""


def luks_header(passphrase: bytes) -> bytes:
    """Return the header of a new encryption with a key of its own, which the passphrase opens.

    The passphrase must be random: guessing it is not made slow. The room of the keys that are not
    in use is left out at the end, and is zeros. Blocking, for some milliseconds.
    """
    key = secrets.token_bytes(_KEY_BYTES)
    digest_salt, slot_salt = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_SALT_BYTES)
    header = _HEADER.pack(
        _MAGIC,
        1,
        b"aes",
        b"xts-plain64",
        b"sha256",
        HEADER_BYTES // _SECTOR,
        _KEY_BYTES,
        hashlib.pbkdf2_hmac("sha256", key, digest_salt, _ITERATIONS, _DIGEST_BYTES),
        digest_salt,
        _ITERATIONS,
        str(uuid4()).encode(),
    )
    for slot in range(_SLOTS):
        state, salt = (_USED, slot_salt) if slot == 0 else (_UNUSED, b"")
        offset = _FIRST_SLOT + slot * _SLOT_SECTORS
        header += _SLOT.pack(state, _ITERATIONS if slot == 0 else 0, salt, offset, _STRIPES)
    opening = hashlib.pbkdf2_hmac("sha256", passphrase, slot_salt, _ITERATIONS, _KEY_BYTES)
    return header.ljust(_FIRST_SLOT * _SECTOR, b"\0") + _crypted(_split(key), opening)


def opens(header: bytes, passphrase: bytes) -> bool:
    """Given a header as `luks_header` makes it, say whether the passphrase is its own. Blocking."""
    _, _, _, _, _, _, _, digest, digest_salt, iterations, _ = _HEADER.unpack_from(header)
    _, slot_iterations, slot_salt, offset, stripes = _SLOT.unpack_from(header, _HEADER.size)
    if stripes != _STRIPES or max(iterations, slot_iterations) > _MOST_ITERATIONS:
        return False
    opening = hashlib.pbkdf2_hmac("sha256", passphrase, slot_salt, slot_iterations, _KEY_BYTES)
    start = offset * _SECTOR
    material = _crypted(header[start : start + _KEY_BYTES * _STRIPES], opening, decrypt=True)
    last = bytes(_KEY_BYTES)
    for stripe in range(_STRIPES - 1):
        at = stripe * _KEY_BYTES
        last = _diffused(_xor(last, material[at : at + _KEY_BYTES]))
    key = _xor(last, material[-_KEY_BYTES:])
    found = hashlib.pbkdf2_hmac("sha256", key, digest_salt, iterations, _DIGEST_BYTES)
    return hmac.compare_digest(found, digest)


def _split(key: bytes) -> bytes:
    """Return stripes that have the key only all together: "AF-splitting"."""
    stripes, last = [], bytes(len(key))
    for _ in range(_STRIPES - 1):
        stripes.append(secrets.token_bytes(len(key)))
        last = _diffused(_xor(last, stripes[-1]))
    return b"".join([*stripes, _xor(last, key)])


def _diffused(block: bytes) -> bytes:
    parts = range(0, len(block), hashlib.sha256().digest_size)
    size = hashlib.sha256().digest_size
    return b"".join(
        hashlib.sha256(struct.pack(">I", number) + block[at : at + size]).digest()
        for number, at in enumerate(parts)
    )


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


def _crypted(material: bytes, key: bytes, *, decrypt: bool = False) -> bytes:
    """Encrypt sector by sector, each with its number, as the data is; or decrypt."""
    sectors = []
    for number, at in enumerate(range(0, len(material), _SECTOR)):
        cipher = Cipher(algorithms.AES(key), modes.XTS(number.to_bytes(16, "little")))
        work = cipher.decryptor() if decrypt else cipher.encryptor()
        sectors.append(work.update(material[at : at + _SECTOR]) + work.finalize())
    return b"".join(sectors)
