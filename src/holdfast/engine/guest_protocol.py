"""What `guest_disk` and the reader's process say to each other.

Requests are JSON, one a line; each is answered by one frame: a byte that says what it is, the
length of the content in four bytes, then the content. It is J JSON, D data, or for people: E that
there is no such thing, U why it cannot be read, L how a disk failed that was to be read.
"""

from __future__ import annotations

import struct

import msgspec

FRAME = struct.Struct(">cI")
LARGEST_PIECE = 1024 * 1024
#: A reader that a disk has taken over must not fill the memory of who asks it.
LARGEST_ANSWER = 64 * 1024 * 1024


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: `do` is entry, list, read or warnings; `kinds` as in `guest_entry.part_of`."""

    do: str
    parts: tuple[str, ...] = ()
    kinds: str = "all"
    offset: int = 0
    limit: int = 0
