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

_CASTAGNOLI = 0x11EDC6F41
_REFLECTED = 0x82F63B78  # the same, its lowest power first, and without the highest
_PRIMES = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
)
_MASK = (1 << 64) - 1


def crc32c(raw: bytes) -> bytes:
    """Return the CRC-32 with Castagnoli's polynomial, as RFC 3720 has it; little-endian.

    Of 4 bytes or more. One byte after the other would be too slow in Python, so all are taken for
    one polynomial, of which one half after the other is folded into the rest.
    """
    number = int.from_bytes(raw, "little") ^ 0xFFFFFFFF
    length = len(raw)
    for size, shifts in _folds(length):
        first = number & ((1 << 8 * size) - 1)
        number >>= 8 * size
        for shift in shifts:
            number ^= first << shift
        length -= size
    crc = 0
    for bit in range(8 * length):
        # Bits come with the highest power first.
        crc ^= number >> bit & 1
        crc = (crc >> 1) ^ (_REFLECTED if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


@cache
def _folds(length: int) -> list[tuple[int, list[int]]]:
    """Return how so many bytes are folded: how many of them, and by how many bits each time.

    The first bytes stand before a power of x that has, modulo the polynomial, no more than 32
    terms; times each of these, they are added to what is left.
    """
    found = []
    while length > 16:
        size = (length - 4) // 2
        power = _power(8 * (length - size))
        gap = 8 * (length - 2 * size)
        found.append((size, [gap - term for term in range(32) if power >> term & 1]))
        length -= size
    return found


def _power(exponent: int) -> int:
    """Return x to the power of a number, modulo the polynomial."""
    found = 1
    for digit in f"{exponent:b}":
        squared = 0
        for term in range(31, -1, -1):
            squared <<= 1
            if squared >> 32:
                squared ^= _CASTAGNOLI
            if found >> term & 1:
                squared ^= found
        found = squared << (digit == "1")
        if found >> 32:
            found ^= _CASTAGNOLI
    return found


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
