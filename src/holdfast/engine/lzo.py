"""Decompression of LZO1X. The facts are those of Linux's Documentation/staging/lzo.rst, version 0.

What was compressed may have been written by anybody: every length and distance is checked.
"""

from __future__ import annotations

from holdfast.engine.disk import DamagedError

_FIRST_LITERALS = 17
_MANY = 4  # literals, to which no more are added
_FAR = 16384


def decompress(raw: bytes, greatest: int) -> bytes:
    """Given a stream, return what it holds: no more than so many bytes. Raise DamagedError."""
    stream = _Stream(raw, greatest)
    try:
        return stream.decompress()
    except IndexError as error:
        raise DamagedError("Content compressed with LZO ends too early.") from error


class _Stream:
    def __init__(self, raw: bytes, greatest: int) -> None:
        self._raw = raw
        self._at = 0
        self._greatest = greatest
        self._out = bytearray()

    def decompress(self) -> bytes:
        # The number of literals before an instruction says what a small one means.
        literals = 0
        if self._raw[0] > _FIRST_LITERALS:
            literals = min(self._literals(self._byte() - _FIRST_LITERALS), _MANY)
        while True:
            code = self._byte()
            if code < 16:
                if not literals:
                    self._literals(self._length(code, 15) + 3)
                    literals = _MANY
                    continue
                distance = (self._byte() << 2) + (code >> 2) + 1
                length, after = 2, code & 3
                if literals == _MANY:
                    distance, length = distance + 2048, 3
            elif code < 64:
                is_near = code >= 32
                length = self._length(code & 31, 31) if is_near else self._length(code & 7, 7)
                length += 2
                word = self._byte() | self._byte() << 8
                after = word & 3
                distance = (word >> 2) + (1 if is_near else _FAR + ((code & 8) << 11))
                if distance == _FAR and not is_near:
                    return bytes(self._out)
            else:
                length = 3 + (code >> 5 & 1) if code < 128 else 5 + (code >> 5 & 3)
                distance = (self._byte() << 3) + (code >> 2 & 7) + 1
                after = code & 3
            self._repeat(distance, length)
            literals = self._literals(after)

    def _byte(self) -> int:
        found = self._raw[self._at]
        self._at += 1
        return found

    def _length(self, short: int, most: int) -> int:
        """Return a length of which the instruction has some bits: all are 0 for a longer one."""
        if short:
            return short
        length = most
        while not (found := self._byte()):
            length += 255
        return length + found

    def _literals(self, count: int) -> int:
        found = self._raw[self._at : self._at + count]
        if len(found) != count:
            raise IndexError
        self._at += count
        self._out += found
        self._expect_room()
        return count

    def _repeat(self, distance: int, length: int) -> None:
        start = len(self._out) - distance
        if start < 0 or length > self._greatest:
            raise DamagedError("Content compressed with LZO leads astray.")
        pattern = self._out[start : start + length]
        self._out += (pattern * -(-length // len(pattern)))[:length]
        self._expect_room()

    def _expect_room(self) -> None:
        if len(self._out) > self._greatest:
            raise DamagedError("Content compressed with LZO is longer than it should be.")
