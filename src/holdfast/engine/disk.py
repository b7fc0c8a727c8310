"""Where the bytes of a disk come from, for what reads file systems out of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

_PIECE = 64 * 1024
_KEPT_PIECES = 256
_FEWEST_PIECES = 32


class Disk(Protocol):
    """A disk, a partition or a logical volume; ``size`` in bytes."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset; fewer at the end. Raise OSError."""


class DamagedError(OSError):
    """What is on the disk contradicts itself or its format; the message says where."""


@dataclass(frozen=True)
class Window:
    """A part of a disk, such as a partition. ``start`` and ``size`` in bytes."""

    disk: Disk
    start: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset of the part; none from outside it."""
        end = min(offset + length, self.size)
        if not 0 <= offset < end:
            return b""
        return self.disk.read(self.start + offset, end - offset)


class CachedDisk:
    """A disk that remembers what was read in small pieces: inodes, folders, trees.

    ``share`` of how many disks it is: all together they remember no more than one alone would,
    unless there are very many.
    """

    def __init__(self, disk: Disk, share: int = 1) -> None:
        self._disk = disk
        self._kept = max(_FEWEST_PIECES, _KEPT_PIECES // share)
        self._pieces: OrderedDict[int, bytes] = OrderedDict()
        self.size = disk.size

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset; fewer at the end. Raise OSError."""
        if length > _PIECE:
            # The content of files would drive out what is read again and again.
            return self._disk.read(offset, length)
        end = min(offset + length, self.size)
        if not 0 <= offset < end:
            return b""
        number = offset // _PIECE
        found = self._piece(number)
        if end > (number + 1) * _PIECE:
            found += self._piece(number + 1)
        return found[offset - number * _PIECE : end - number * _PIECE]

    def _piece(self, number: int) -> bytes:
        if (known := self._pieces.get(number)) is not None:
            self._pieces.move_to_end(number)
            return known
        read = self._disk.read(number * _PIECE, _PIECE)
        self._pieces[number] = read
        if len(self._pieces) > self._kept:
            self._pieces.popitem(last=False)
        return read


def read_whole(disk: Disk, offset: int, length: int) -> bytes:
    """Return exactly that many bytes; raise DamagedError when the disk ends before."""
    found = disk.read(offset, length)
    if len(found) != length:
        raise DamagedError(f"The disk has no {length} bytes at {offset}.")
    return found
