"""The chunks of btrfs: where on which devices the bytes at a logical address lie.

Single, DUP, RAID0, RAID1 (of two, three and four) and RAID10 are read; RAID5 and RAID6 are not.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.engine.btrfs_format import CHUNK, KEY, Superblock
from holdfast.engine.disk import DamagedError, Disk, read_whole

_CHUNK = struct.Struct("<QQQQIIIHH")
_STRIPE = struct.Struct("<QQ16s")
_ROW = 1 << 16  # bytes on one device before the next has its turn
_MOST_CHUNKS = 1 << 18
_MOST_STRIPES = 1 << 10
_ALL_PROFILES = 0x7F8
_RAID0, _RAID10, _PARITY = 0x8, 0x40, 0x180
_MIRRORS = (0x10, 0x20, 0x200, 0x400)  # RAID1, DUP, RAID1 of three, and of four


@dataclass(frozen=True)
class Device:
    """A disk, or a part of one, that belongs to a file system."""

    disk: Disk
    superblock: Superblock


@dataclass(frozen=True)
class _Stripe:
    device: int
    start: int
    device_uuid: bytes


@dataclass(frozen=True)
class _Chunk:
    """Addresses in a row that are kept in the same manner. All numbers are bytes."""

    start: int
    size: int
    profile: int
    stripes: Sequence[_Stripe]
    copies: int

    def piece(self, inside: int, length: int, copy: int) -> tuple[_Stripe, int, int]:
        """Return where a copy of bytes lies, and how many do so in a row."""
        length = min(length, self.size - inside)
        if self.profile not in (_RAID0, _RAID10):
            stripe = self.stripes[copy]
            return stripe, stripe.start + inside, length
        row, within = divmod(inside, _ROW)
        row, column = divmod(row, len(self.stripes) // self.copies)
        stripe = self.stripes[column * self.copies + copy]
        return stripe, stripe.start + row * _ROW + within, min(length, _ROW - within)


def unpack_chunk(start: int, raw: bytes) -> tuple[_Chunk, int]:
    """Given an address and the item of the chunk there, return it and the length of the item."""
    if len(raw) < _CHUNK.size:
        raise DamagedError("A chunk of the btrfs file system is damaged.")
    size, _, row, flags, _, _, _, count, copies = _CHUNK.unpack_from(raw)
    end = _CHUNK.size + count * _STRIPE.size
    if not size or row != _ROW or not 0 < count <= _MOST_STRIPES or len(raw) < end:
        raise DamagedError("A chunk of the btrfs file system is damaged.")
    profile = flags & _ALL_PROFILES
    if profile in _MIRRORS:
        copies = count
    elif profile != _RAID10:
        copies = 1
    is_known = profile in (0, _RAID0, _RAID10, *_MIRRORS) or profile & _PARITY
    if not is_known or not copies or count % copies or (not profile and count != 1):
        raise DamagedError("A chunk of the btrfs file system is of a kind that is not known.")
    stripes = [_Stripe(*fields) for fields in _STRIPE.iter_unpack(raw[_CHUNK.size : end])]
    return _Chunk(start, size, profile, stripes, copies), end


def first_chunks(raw: bytes) -> Iterator[_Chunk]:
    """Given the chunks that the superblock itself names, return them."""
    while raw:
        if len(raw) < KEY.size:
            raise DamagedError("The superblock of the btrfs file system is damaged.")
        _, item_type, start = KEY.unpack_from(raw)
        if item_type != CHUNK:
            raise DamagedError("The superblock of the btrfs file system is damaged.")
        chunk, length = unpack_chunk(start, raw[KEY.size :])
        yield chunk
        raw = raw[KEY.size + length :]


class Chunks:
    """Reads what lies at logical addresses. Raise OSError for what is not there."""

    def __init__(self, devices: Iterable[Device], chunks: Iterable[_Chunk]) -> None:
        self._devices = {device.superblock.device: device for device in devices}
        self._newest = max(device.superblock.generation for device in self._devices.values())
        self._chunks: list[_Chunk] = []
        for chunk in chunks:
            self._chunks.append(chunk)
            if len(self._chunks) > _MOST_CHUNKS:
                raise DamagedError("The btrfs file system has too many chunks.")
        self._chunks.sort(key=lambda chunk: chunk.start)
        self._starts = [chunk.start for chunk in self._chunks]

    def copies(self, address: int) -> int:
        """Return how many copies there are of what lies at an address."""
        return self._chunk(address).copies

    def read_copy(self, address: int, length: int, copy: int) -> bytes:
        """Return one copy of the bytes at an address; ``copy`` counts from 0."""
        found = bytearray()
        while len(found) < length:
            chunk = self._chunk(address + len(found))
            inside = address + len(found) - chunk.start
            piece = chunk.piece(inside, length - len(found), copy % chunk.copies)
            found += self._read(*piece)
        return bytes(found)

    def read(self, address: int, length: int) -> bytes:
        """Return the bytes at an address, from whichever copies can be read."""
        found = bytearray()
        while len(found) < length:
            found += self._any_copy(address + len(found), length - len(found))
        return bytes(found)

    def _any_copy(self, address: int, length: int) -> bytes:
        chunk = self._chunk(address)
        pieces = [chunk.piece(address - chunk.start, length, copy) for copy in range(chunk.copies)]
        # A device that was away for a while may hold what has changed since.
        pieces.sort(key=lambda piece: self._is_behind(piece[0].device))
        for piece in pieces[:-1]:
            try:
                return self._read(*piece)
            except OSError:
                continue
        return self._read(*pieces[-1])

    def _chunk(self, address: int) -> _Chunk:
        number = bisect_right(self._starts, address) - 1
        if number < 0 or address >= self._chunks[number].start + self._chunks[number].size:
            raise DamagedError(f"There is nothing at the address {address} in the file system.")
        chunk = self._chunks[number]
        if chunk.profile & _PARITY:
            raise DamagedError("RAID5 and RAID6 of btrfs are not read.")
        return chunk

    def _read(self, stripe: _Stripe, start: int, length: int) -> bytes:
        device = self._devices.get(stripe.device)
        if device is None or device.superblock.device_uuid != stripe.device_uuid:
            raise DamagedError(f"Device {stripe.device} of the btrfs file system is missing.")
        return read_whole(device.disk, start, length)

    def _is_behind(self, number: int) -> bool:
        device = self._devices.get(number)
        return device is None or device.superblock.generation != self._newest
