"""Whether the log of an XFS file system holds what is not in its place yet.

The facts are those of "XFS Algorithms & Data Structures", chapter "Journaling Log", and of Linux's
fs/xfs/xfs_log_recover.c. Runs in the reader's process.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from holdfast.engine.disk import Disk, read_whole

_BLOCK = 512
_MAGIC = 0xFEEDBABE
_LONGEST_RECORD = 520  # blocks, with its head
_HEAD = struct.Struct(">IIIIQQIII")
_SIZE_AT = 320
_HEAD_SHARE = 32 * 1024  # bytes of a record that one block of its head describes
_OPERATION = struct.Struct(">IIBBH")
_IS_UNMOUNT = 0x20
_LONG_HEADS = 0x2  # in the version
_MOST_RECORDS = 8
#: Of a transaction of one item: its start, its head, the item in two parts, its end.
_OPERATIONS = 5
_TRANSACTION = b"NART"  # as Linux writes it on machines that are little-endian
_BUFFER_ITEM = 0x123C
_ITEM = struct.Struct("<HHHHq")


def is_in_use(disk: Disk, start: int, size: int) -> bool:
    """Given where the log is, in bytes, return whether it must be replayed. Raise OSError.

    Not after an unmount; nor while the file system was frozen: what is in the log then is of the
    superblock alone, whose counts nobody reads here.
    """
    blocks = size // _BLOCK

    def read(number: int) -> bytes:
        return read_whole(disk, start + number % blocks * _BLOCK, _BLOCK)

    def cycle(number: int) -> int:
        """Return in which round through the log a block was written last."""
        first, second = struct.unpack_from(">II", read(number))
        return int(second if first == _MAGIC else first)

    # What was written in this round comes first.
    low, high, newest = 0, blocks, cycle(0)
    if not newest:
        return False
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cycle(middle) == newest else (low, middle)
    end = high
    for back in range(1, min(_LONGEST_RECORD, blocks) + 1):
        head = read(end - back)
        if head.startswith(_MAGIC.to_bytes(4, "big")):
            break
    else:
        return True  # not as a log that was ended
    tail, _, _, operations = _HEAD.unpack_from(head)[5:]
    if operations == 1:
        return not _OPERATION.unpack_from(_body(head, read, end - back))[3] & _IS_UNMOUNT
    place = end - back
    for _ in range(_MOST_RECORDS):
        own, _, _, before, operations = _HEAD.unpack_from(head)[4:]
        if operations != _OPERATIONS or not _is_superblock_alone(_body(head, read, place)):
            return True
        if own == tail:
            return False
        place = before
        head = read(place)
        if not head.startswith(_MAGIC.to_bytes(4, "big")):
            return True
    return True


def _body(head: bytes, read: Callable[[int], bytes], place: int) -> bytes:
    """Return the first block of what a record holds."""
    version = _HEAD.unpack_from(head)[2]
    (room,) = struct.unpack_from(">I", head, _SIZE_AT)
    heads = max(1, -(-room // _HEAD_SHARE)) if version & _LONG_HEADS else 1
    return read(place + heads)


def _is_superblock_alone(body: bytes) -> bool:
    """Whether a record is a transaction that changes the superblock and nothing else."""
    at = 0
    parts: list[bytes] = []
    while len(parts) < 2 and at + _OPERATION.size <= len(body):
        length = _OPERATION.unpack_from(body, at)[1]
        at += _OPERATION.size
        if length:
            parts.append(body[at : at + length])
        at += length
    if len(parts) < 2 or not parts[0].startswith(_TRANSACTION) or len(parts[1]) < _ITEM.size:
        return False
    kind, _, _, _, block = _ITEM.unpack_from(parts[1])
    return (kind, block) == (_BUFFER_ITEM, 0)
