"""The checksums that btrfs keeps of its superblocks and of the nodes of its trees.

All that are summed have a length that is a multiple of 32 bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from functools import cache

#: How many bytes are set aside for a checksum, whichever kind it is of.
ROOM = 32

_CASTAGNOLI = 0x82F63B78  # reflected
_PRIMES = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
)
_MASK = (1 << 64) - 1


def crc32c(raw: bytes) -> bytes:
    """Return the CRC-32 with Castagnoli's polynomial, as RFC 3720 has it; little-endian."""
    table = _two_byte_table()
    crc = 0xFFFFFFFF
    for (pair,) in struct.iter_unpack("<H", raw):
        crc = table[(crc ^ pair) & 0xFFFF] ^ (crc >> 16)
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


@cache
def _two_byte_table() -> list[int]:
    """Return what two bytes do to a checksum: Python is too slow for one at a time."""
    one = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CASTAGNOLI if crc & 1 else 0)
        one.append(crc)
    firsts = ((pair >> 8) ^ one[pair & 0xFF] for pair in range(1 << 16))
    return [one[first & 0xFF] ^ (first >> 8) for first in firsts]


def xxh64(raw: bytes) -> bytes:
    """Return the XXH64 with the seed 0, as the xxHash specification has it; little-endian."""
    first, second, third, fourth = _PRIMES
    lanes = [(first + second) & _MASK, second, 0, -first & _MASK]
    for values in struct.iter_unpack("<4Q", raw):
        lanes = [_round(lane, value) for lane, value in zip(lanes, values, strict=True)]
    turns = (1, 7, 12, 18)
    found = sum(_turned(lane, turn) for lane, turn in zip(lanes, turns, strict=True)) & _MASK
    for lane in lanes:
        found = ((found ^ _round(0, lane)) * first + fourth) & _MASK
    found = (found + len(raw)) & _MASK
    found = (found ^ (found >> 33)) * second & _MASK
    found = (found ^ (found >> 29)) * third & _MASK
    return struct.pack("<Q", found ^ (found >> 32))


def _round(lane: int, value: int) -> int:
    return _turned((lane + value * _PRIMES[1]) & _MASK, 31) * _PRIMES[0] & _MASK


def _turned(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _blake2b(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=32).digest()


#: By the number that the superblock has for the kind.
KINDS: tuple[Callable[[bytes], bytes], ...] = (crc32c, xxh64, _sha256, _blake2b)


def is_intact(raw: bytes, kind: int) -> bool:
    """Whether a superblock or node begins with the checksum of what follows."""
    expected = KINDS[kind](raw[ROOM:])
    return raw.startswith(expected)
