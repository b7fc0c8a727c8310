"""How much data a qcow2 file holds itself, counted in its tables.

`qemu-img map` tells it, too, but as text, an extent a line: a fragmented disk has millions of
them. Of an encrypted file it needs the key, and the tables alone need none. The format is QEMU's
docs/interop/qcow2.txt.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from holdfast.engine.errors import ChainBroken
from holdfast.engine.qcow2_header import NotQcow2Error, parse_header

_START = 64 * 1024
_CLUSTER_BITS = struct.Struct(">I")  # at byte 20
_L1_TABLE = struct.Struct(">IQ")  # its entries and its place, at byte 36
_ENTRY = 8
_PLACE = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZEROS = 1


async def stored_data_size(path: Path) -> int:
    """Given a qcow2 file, return the bytes of disk data in the file itself, before compression.

    Counted in its clusters. Zeroed areas and what the files below hold do not count. Raise
    ChainBroken when its tables do not lie within it or are of another kind than backup files have,
    and OSError.
    """
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(_stored_data_size, path, stopped)
    finally:
        stopped.set()  # a cancelled await does not end its thread by itself


def _stored_data_size(path: Path, stopped: threading.Event) -> int:
    with path.open("rb") as file:
        start = file.read(_START)
        try:
            header = parse_header(start)
        except NotQcow2Error as error:
            raise ChainBroken(f"The backup file {path} is damaged: {error}.") from error
        if header.external_data_file or header.extended_tables:
            raise ChainBroken(f"The backup file {path} has tables that no backup file has.")
        virtual_size = header.virtual_size
        bits: int = _CLUSTER_BITS.unpack_from(start, 20)[0]
        cluster = 1 << bits
        clusters = -(-virtual_size // cluster)
        counted, last = 0, False
        try:
            for first, entries in _tables(file, start, cluster, clusters):
                if stopped.is_set():
                    break
                del entries[clusters - first :]
                counted += sum(map(_is_data, entries))
                if first + len(entries) == clusters:
                    last = _is_data(entries[-1])
        except EOFError as error:
            raise ChainBroken(
                f"The backup file {path} is damaged: a table lies beyond its end."
            ) from error
    return counted * cluster - (clusters * cluster - virtual_size if last else 0)


def _tables(
    file: BinaryIO, start: bytes, cluster: int, clusters: int
) -> Iterator[tuple[int, array[int]]]:
    """Yield the entries of each table that there is, and which cluster the first one is of."""
    each = cluster // _ENTRY
    count, place = _L1_TABLE.unpack_from(start, 36)
    # There may be more, of a disk that was larger.
    for number, entry in enumerate(_numbers(file, place, min(count, -(-clusters // each)))):
        if table := entry & _PLACE:
            yield number * each, _numbers(file, table, each)


def _numbers(file: BinaryIO, place: int, count: int) -> array[int]:
    # Looked at first: what is damaged may name any place, and any number of them.
    if place + count * _ENTRY > os.fstat(file.fileno()).st_size:
        raise EOFError
    file.seek(place)
    numbers = array("Q", file.read(count * _ENTRY))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _is_data(entry: int) -> bool:
    return bool(entry & _COMPRESSED or (entry & _PLACE and not entry & _ZEROS))
