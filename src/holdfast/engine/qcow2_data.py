"""How much data a qcow2 file holds itself, counted in its tables.

`qemu-img map` tells it, too, but as text, an extent a line: a fragmented disk has millions of
them. Of an encrypted file it needs the key, and the tables alone need none.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from holdfast.engine.qcow2_tables import Qcow2Tables, is_data


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
    with Qcow2Tables(path) as tables:
        counted, last = 0, False
        for first, entries in tables.walk():
            if stopped.is_set():
                break
            counted += sum(map(is_data, entries))
            if first + len(entries) == tables.clusters:
                last = is_data(entries[-1])
        beyond = tables.clusters * tables.cluster - tables.header.virtual_size
        return counted * tables.cluster - (beyond if last else 0)
