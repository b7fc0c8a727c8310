"""The tables of a qcow2 file: where it holds what of its disk.

The format is QEMU's docs/interop/qcow2.txt; all numbers are big-endian.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from holdfast.engine.errors import ChainBroken
from holdfast.engine.qcow2_header import HEADER_BYTES, NotQcow2Error, Qcow2Header, parse_header

ENTRY_BYTES = 8
COMPRESSED = 1 << 62
ZEROS = 1
_L1_TABLE = struct.Struct(">IQ")  # its entries and its place, at byte 36
_PLACE = 0x00FF_FFFF_FFFF_FE00


class Qcow2Tables:
    """A qcow2 file that is open to be read: a context manager. Sizes in bytes.

    Opening it and walking through it block, and raise ChainBroken when its tables do not lie within
    the file or are of another kind than backup files have, and OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO = path.open("rb", buffering=0)
        try:
            start = self.file.read(HEADER_BYTES)
            self.header: Qcow2Header = parse_header(start)
            if self.header.external_data_file or self.header.extended_tables:
                raise ChainBroken(f"The backup file {path} has tables that no backup file has.")
            self._count, self._place = _L1_TABLE.unpack_from(start, 36)
        except NotQcow2Error as error:
            self.file.close()
            raise ChainBroken(f"The backup file {path} is damaged: {error}.") from error
        except BaseException:
            self.file.close()
            raise
        self.cluster = self.header.cluster_size
        self.clusters = -(-self.header.virtual_size // self.cluster)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.file.close()

    def walk(self) -> Iterator[tuple[int, array[int]]]:
        """Yield the entries of each table that there is, and which cluster the first one is of."""
        each = self.cluster // ENTRY_BYTES
        # There may be more, of a disk that was larger.
        count = min(self._count, -(-self.clusters // each))
        for number, entry in enumerate(self._numbers(self._place, count)):
            if table := place_of(entry):
                entries = self._numbers(table, each)
                del entries[self.clusters - number * each :]
                yield number * each, entries

    def _numbers(self, place: int, count: int) -> array[int]:
        # Looked at first: what is damaged may name any place, and any number of them.
        if place + count * ENTRY_BYTES > os.fstat(self.file.fileno()).st_size:
            raise ChainBroken(
                f"The backup file {self.path} is damaged: a table lies beyond its end."
            )
        return numbers(os.pread(self.file.fileno(), count * ENTRY_BYTES, place))


def numbers(content: bytes) -> array[int]:
    """Given what a table has in the file, return its entries."""
    entries = array("Q", content)
    if sys.byteorder == "little":
        entries.byteswap()
    return entries


def place_of(entry: int) -> int:
    """Return where in the file a table or a cluster lies that is not compressed; 0 for nowhere."""
    return entry & _PLACE


def is_data(entry: int) -> bool:
    """Say whether a cluster is held by the file itself, and not as zeros."""
    return bool(entry & COMPRESSED or (entry & _PLACE and not entry & ZEROS))
