"""Writes a qcow2 whose clusters are compressed with zstd, from beginning to end.

    header | clusters, and each table of the second level after those it maps | L1 | counts

Compressed clusters lie one behind the other, whatever clusters of the file they begin and end in.
Some are left as they are, each in a cluster of the file: behind them a compressed one begins in the
next, unless it fits into the rest of the one that the last of its kind ended in.
The format is QEMU's docs/interop/qcow2.txt; all numbers are big-endian.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Sequence

from holdfast.engine.qcow2_header import CLUSTER_BITS, Layout, made_header
from holdfast.engine.qcow2_tables import COMPRESSED, ENTRY_BYTES, ZEROS

CLUSTER = 1 << CLUSTER_BITS
EACH_TABLE = CLUSTER // ENTRY_BYTES
"""How many clusters a table of the second level maps."""
_OWNED = 1 << 63  # used once: it may be written to where it is
_SECTOR = 512
_SECTORS_AT = 62 - (CLUSTER_BITS - 8)  # the bit that the number of sectors begins at
_COUNT_BYTES = 2
_EACH_BLOCK = CLUSTER // _COUNT_BYTES  # clusters that a block of counts is about


class PackedFile:
    """A qcow2 that is being written to a file that is empty. Every method blocks; raise OSError.

    Clusters are numbered by their place on the disk. Each is written once or never, those of one
    table (`EACH_TABLE`) before those of the next. Until `finish`, the file is no qcow2.
    """

    def __init__(self, descriptor: int, virtual_size: int, backing_name: str | None) -> None:
        self._descriptor = descriptor
        self._virtual_size, self._backing_name = virtual_size, backing_name
        clusters = -(-virtual_size // CLUSTER)
        self._tables = array("Q", bytes(-(-clusters // EACH_TABLE) * ENTRY_BYTES))
        self._number, self._table = 0, _empty_table()
        self._counts = array("H", [1])  # of the header
        # Where the next compressed one goes, and the end of the file's cluster that that is in.
        self._bytes_at = self._bytes_end = 0

    def write_zeros(self, number: int) -> None:
        """Let a cluster be zeros, whatever the backing file has there."""
        if self._backing_name is not None:
            self._map(number, ZEROS)

    def write_plain(self, numbers: Sequence[int], contents: Sequence[bytes]) -> None:
        """Write clusters as they are."""
        first = self._allocate(len(numbers))
        for place, number in enumerate(numbers, start=first):
            self._counts[place] = 1
            self._map(number, _OWNED | place << CLUSTER_BITS)
        self._write(b"".join(contents), first << CLUSTER_BITS)

    def write_compressed(self, numbers: Sequence[int], frames: Sequence[bytes]) -> None:
        """Write clusters of which each is compressed to a frame shorter than a cluster."""
        together: list[bytes] = []
        begun = self._bytes_at
        for number, frame in zip(numbers, frames, strict=True):
            if self._bytes_at + len(frame) > self._bytes_end:
                end = len(self._counts) << CLUSTER_BITS
                if self._bytes_end != end:
                    # Something else lies behind the cluster that it does not fit into.
                    self._write(b"".join(together), begun)
                    together.clear()
                    begun = self._bytes_at = end
                self._bytes_end = self._allocate(1) + 1 << CLUSTER_BITS
            self._map(number, self._compressed(self._bytes_at, len(frame)))
            self._bytes_at += len(frame)
            together.append(frame)
        self._write(b"".join(together), begun)

    def finish(self) -> None:
        """Write all that describes the clusters. The file is whole then, but not synchronised."""
        self._end_table()
        l1_at = self._append(_big_endian(self._tables))
        blocks_at, blocks = self._allocate_counts()
        refcounts_at, refcount_clusters = blocks_at + blocks, _clusters(blocks * ENTRY_BYTES)
        table = array("Q", (place << CLUSTER_BITS for place in range(blocks_at, refcounts_at)))
        self._write(_big_endian(table), refcounts_at << CLUSTER_BITS)
        self._write(_big_endian(self._counts), blocks_at << CLUSTER_BITS)
        layout = Layout(
            virtual_size=self._virtual_size,
            l1_at=l1_at << CLUSTER_BITS,
            l1_entries=len(self._tables),
            refcounts_at=refcounts_at << CLUSTER_BITS,
            refcount_clusters=refcount_clusters,
        )
        os.truncate(self._descriptor, len(self._counts) << CLUSTER_BITS)
        self._write(made_header(layout, self._backing_name, zstd=True), 0)

    def _map(self, number: int, entry: int) -> None:
        if number // EACH_TABLE != self._number:
            self._end_table()
            self._number = number // EACH_TABLE
        self._table[number % EACH_TABLE] = entry

    def _end_table(self) -> None:
        if any(self._table):
            place = self._append(_big_endian(self._table))
            self._tables[self._number] = _OWNED | place << CLUSTER_BITS
            self._table = _empty_table()

    def _compressed(self, at: int, length: int) -> int:
        """Return the entry of a compressed cluster, and count the clusters that it lies in."""
        for place in range(at >> CLUSTER_BITS, (at + length - 1 >> CLUSTER_BITS) + 1):
            self._counts[place] += 1
        more_sectors = (at + length - 1) // _SECTOR - at // _SECTOR
        return COMPRESSED | more_sectors << _SECTORS_AT | at

    def _append(self, content: bytes) -> int:
        """Write a table behind all there is; return the number of its first cluster."""
        first = self._allocate(_clusters(len(content)))
        for place in range(first, len(self._counts)):
            self._counts[place] = 1
        self._write(content, first << CLUSTER_BITS)
        return first

    def _allocate(self, clusters: int) -> int:
        first = len(self._counts)
        self._counts.frombytes(bytes(clusters * _COUNT_BYTES))
        return first

    def _allocate_counts(self) -> tuple[int, int]:
        """Make room for the counts, which count themselves: where, and how many blocks."""
        first, blocks = len(self._counts), 0
        while True:
            own = blocks + _clusters(blocks * ENTRY_BYTES)
            if blocks * _EACH_BLOCK >= first + own:
                break
            blocks += 1
        self._counts.extend([1] * own)
        return first, blocks

    def _write(self, content: bytes, at: int) -> None:
        rest = memoryview(content)
        while rest:
            written = os.pwrite(self._descriptor, rest, at)
            rest, at = rest[written:], at + written


def _empty_table() -> array[int]:
    return array("Q", bytes(CLUSTER))


def _clusters(size: int) -> int:
    return -(-size // CLUSTER)


def _big_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        return numbers.tobytes()
    swapped = array(numbers.typecode, numbers)
    swapped.byteswap()
    return swapped.tobytes()
