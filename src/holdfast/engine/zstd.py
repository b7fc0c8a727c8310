"""Decompression of Zstandard, by the C library that QEMU's own tools need as well.

Loaded only when it is needed. Runs in the process that reads disks: what was compressed may have
been written by anybody.
"""

from __future__ import annotations

import ctypes
from functools import cache

from holdfast.engine.disk import DamagedError

_LIBRARY = "libzstd.so.1"


def decompress(raw: bytes, greatest: int) -> bytes:
    """Given a frame, and maybe more behind it, return what it holds: at most so many bytes.

    Raise DamagedError, or OSError when the library is not installed.
    """
    library = _library()
    length = library.ZSTD_findFrameCompressedSize(raw, len(raw))
    if library.ZSTD_isError(length):
        raise DamagedError("Content compressed with zstd is damaged.")
    content = ctypes.create_string_buffer(greatest)
    found: int = library.ZSTD_decompress(content, greatest, raw, length)
    if library.ZSTD_isError(found):
        raise DamagedError("Content compressed with zstd is damaged.")
    return content.raw[:found]


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise OSError(
            f"Content compressed with zstd cannot be read without the library {_LIBRARY}. "
            "On Debian, install it with: apt-get install libzstd1"
        ) from error
    size, pointer = ctypes.c_size_t, ctypes.c_char_p
    library.ZSTD_findFrameCompressedSize.argtypes = [pointer, size]
    library.ZSTD_findFrameCompressedSize.restype = size
    library.ZSTD_decompress.argtypes = [pointer, size, pointer, size]
    library.ZSTD_decompress.restype = size
    library.ZSTD_isError.argtypes = [size]
    library.ZSTD_isError.restype = ctypes.c_uint
    return library
