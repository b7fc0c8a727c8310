"""The content of files on btrfs: in the tree itself, in extents, compressed or not, or nowhere.

The checksums of contents are not compared; those of what says where they are, are.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from holdfast.engine import lzo, zstd
from holdfast.engine.btrfs_chunks import Chunks
from holdfast.engine.btrfs_format import EXTENT, Superblock
from holdfast.engine.btrfs_tree import Tree
from holdfast.engine.disk import DamagedError

_HEAD = struct.Struct("<QQBBHB")
_PLACE = struct.Struct("<QQQQ")
_INLINE, _REGULAR, _SET_ASIDE = range(3)
_PLAIN, _ZLIB, _LZO, _ZSTD = range(4)
#: Compressed content is kept in pieces of at most so many bytes.
_LARGEST_PIECE = 128 * 1024
_KEPT_PIECES = 4
_LENGTH = struct.Struct("<I")


class _Extent(NamedTuple):
    """A part of a file. ``packed`` has the content itself, or ``address`` says where it is.

    ``whole`` is how much the content is before any of it is left out; all numbers are bytes.
    """

    start: int
    length: int
    compression: int
    whole: int
    packed: bytes | None = None
    address: int = 0
    stored: int = 0
    skipped: int = 0

    @property
    def end(self) -> int:
        return self.start + self.length


class Contents:
    """Reads the contents of files."""

    def __init__(self, superblock: Superblock, chunks: Chunks) -> None:
        self._sector = superblock.sector
        self._chunks = chunks
        self._pieces: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()

    def read(self, tree: Tree, inode: int, offset: int, length: int) -> bytes:
        """Return a part of a file, which reaches that far; zeros in its holes. Raise OSError."""
        content = bytearray(length)
        for extent in self._extents(tree, inode, offset, offset + length):
            begin, end = max(offset, extent.start), min(offset + length, extent.end)
            if begin < end:
                found = self._content(extent, begin - extent.start, end - begin)
                content[begin - offset : end - offset] = found
        return bytes(content)

    def _extents(self, tree: Tree, inode: int, begin: int, end: int) -> Iterator[_Extent]:
        """Return the extents that may have something of a part of a file."""
        first, last = (inode, EXTENT, begin), (inode, EXTENT, end - 1)
        before = tree.before(first)
        if before is not None and before[0][:2] == first[:2]:
            first = before[0]
        reached = 0
        for (_, _, start), raw in tree.items(first, last):
            extent = self._unpacked(start, raw)
            if extent is None:
                continue
            if start < reached:
                raise DamagedError(f"The extents of inode {inode} overlap.")
            reached = extent.end
            yield extent

    def _unpacked(self, start: int, raw: bytes) -> _Extent | None:
        """Return the extent that an item describes; None for one that reads as zeros."""
        if len(raw) < _HEAD.size:
            raise DamagedError("An extent is shorter than it must be.")
        _, whole, compression, encryption, encoding, kind = _HEAD.unpack_from(raw)
        if encryption or encoding or compression > _ZSTD or kind > _SET_ASIDE:
            raise DamagedError("An extent is of a kind that is not known.")
        if compression and whole > _LARGEST_PIECE:
            raise DamagedError("A compressed extent is longer than it may be.")
        if kind == _INLINE:
            packed = raw[_HEAD.size :]
            fits = whole <= _LARGEST_PIECE if compression else whole == len(packed)
            if start or not fits:
                raise DamagedError("An extent in the tree itself is not where it may be.")
            return _Extent(0, whole, compression, whole, packed=packed)
        if len(raw) < _HEAD.size + _PLACE.size:
            raise DamagedError("An extent is shorter than it must be.")
        address, stored, skipped, length = _PLACE.unpack_from(raw, _HEAD.size)
        if start % self._sector or length % self._sector or not length:
            raise DamagedError("An extent does not begin and end with a block.")
        if not address or kind == _SET_ASIDE:
            return None
        fits = stored <= _LARGEST_PIECE if compression else skipped + length <= stored
        if not fits or (compression and skipped + length > whole):
            raise DamagedError("An extent is longer than what it lies in.")
        return _Extent(
            start, length, compression, whole, address=address, stored=stored, skipped=skipped
        )

    def _content(self, extent: _Extent, offset: int, length: int) -> bytes:
        offset += extent.skipped
        if extent.packed is None and extent.compression == _PLAIN:
            return self._chunks.read(extent.address + offset, length)
        found = self._piece(extent)[offset : offset + length]
        return found.ljust(length, b"\0")

    def _piece(self, extent: _Extent) -> bytes:
        """Return all of what is kept in one piece."""
        if extent.packed is not None:
            return self._decompressed(extent.packed, extent)
        key = (extent.address, extent.compression, extent.whole)
        if (known := self._pieces.get(key)) is not None:
            self._pieces.move_to_end(key)
            return known
        piece = self._decompressed(self._chunks.read(extent.address, extent.stored), extent)
        self._pieces[key] = piece
        if len(self._pieces) > _KEPT_PIECES:
            self._pieces.popitem(last=False)
        return piece

    def _decompressed(self, raw: bytes, extent: _Extent) -> bytes:
        if extent.compression == _ZLIB:
            return _inflated(raw)
        if extent.compression == _LZO:
            return _all_segments(raw, self._sector)
        if extent.compression == _ZSTD:
            return zstd.decompress(raw, _LARGEST_PIECE)
        return raw


def _inflated(raw: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(raw, _LARGEST_PIECE)
    except zlib.error as error:
        raise DamagedError("Content compressed with zlib is damaged.") from error
    if not stream.eof and len(found) < _LARGEST_PIECE:
        raise DamagedError("Content compressed with zlib ends too early.")
    return found


def _all_segments(raw: bytes, sector: int) -> bytes:
    """Given content compressed with LZO, return it: each segment holds one block of it.

    Before all is the length of all, before each segment its own; that never lies across the end
    of a block.
    """
    if len(raw) < _LENGTH.size:
        raise DamagedError("Content compressed with LZO ends too early.")
    end = _LENGTH.unpack_from(raw)[0]
    at = _LENGTH.size
    found = bytearray()
    while at < end and len(found) < _LARGEST_PIECE:
        if sector - at % sector < _LENGTH.size:
            at += sector - at % sector
        if at + _LENGTH.size > len(raw):
            raise DamagedError("Content compressed with LZO ends too early.")
        length = _LENGTH.unpack_from(raw, at)[0]
        at += _LENGTH.size
        found += lzo.decompress(raw[at : at + length], sector)
        at += length
    return bytes(found)
