"""Zstandard. Other threads run while it works."""

from __future__ import annotations

import threading

import zstandard

from holdfast.engine.disk import DamagedError

LEVELS = range(1, 20)
"""How much is spent on compressing: a higher level makes less of it, and takes longer."""
USUAL_LEVEL = 3


class _OfThread(threading.local):
    """What compresses, by level: each thread has its own, and keeps it."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}


_of_thread = _OfThread()


def compress(content: bytes, level: int) -> bytes:
    """Return a frame that holds the content. ``level`` is one of `LEVELS`."""
    compressors = _of_thread.compressors
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level].compress(content)


def decompress(raw: bytes, greatest: int) -> bytes:
    """Given a frame, and maybe more behind it, return what it holds: at most so many bytes.

    What is given may have been written by anybody. Raise DamagedError.
    """
    try:
        # The size that a frame claims would be taken for its content at once.
        if zstandard.frame_content_size(raw) > greatest:
            raise DamagedError("Content compressed with zstd is larger than it may be.")
        return zstandard.ZstdDecompressor().decompress(raw, max_output_size=greatest)
    except zstandard.ZstdError as error:
        raise DamagedError("Content compressed with zstd is damaged.") from error
