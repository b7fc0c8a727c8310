"""Files of an NTFS image made into what only Windows makes: written into the file table itself."""

from __future__ import annotations

import struct
from pathlib import Path

_FILE_NAME, _DATA, _REPARSE, _END = 0x30, 0x80, 0xC0, 0xFFFFFFFF
_ENCRYPTED = 0x4000
_FOLDER = 2
_NAME = 24 + 66  # where the name begins in the attribute
_USED, _FLAGS = 24, 22


class FileTable:
    """The file table of an image; what is changed is written by `save`."""

    def __init__(self, image: Path) -> None:
        self._image = image
        self._raw = bytearray(image.read_bytes())
        sector, cluster = struct.unpack_from("<HB", self._raw, 11)
        (start,) = struct.unpack_from("<Q", self._raw, 48)
        (size,) = struct.unpack_from("<b", self._raw, 64)
        self._start = start * sector * cluster
        self._size = 1 << -size if size < 0 else size * sector * cluster

    def make_reparse_point(
        self, name: str, tag: int, data: bytes = b"", *, folder: bool = False
    ) -> None:
        """Give a file a reparse point; with `folder`, let it be a folder."""
        record = self._record(name)
        end = next(at for at, kind in self._attributes(record) if kind == _END)
        content = struct.pack("<IHH", tag, len(data), 0) + data
        length = 24 + -(-len(content) // 8) * 8
        head = struct.pack("<IIBBHHHIHH", _REPARSE, length, 0, 0, 24, 0, 9, len(content), 24, 0)
        attribute = (head + content).ljust(length, b"\0")
        self._raw[end : end + length + 8] = attribute + struct.pack("<II", _END, 0)
        struct.pack_into("<I", self._raw, record + _USED, end + length + 8 - record)
        if folder:
            (flags,) = struct.unpack_from("<H", self._raw, record + _FLAGS)
            struct.pack_into("<H", self._raw, record + _FLAGS, flags | _FOLDER)

    def encrypt(self, name: str) -> None:
        """Let a file's content be told as encrypted."""
        record = self._record(name)
        data = next(at for at, kind in self._attributes(record) if kind == _DATA)
        (flags,) = struct.unpack_from("<H", self._raw, data + 12)
        struct.pack_into("<H", self._raw, data + 12, flags | _ENCRYPTED)

    def make_sparse(self, name: str, size: int) -> None:
        """Let a file of one run have that size, all of it behind the run a hole."""
        record = self._record(name)
        data = next(at for at, kind in self._attributes(record) if kind == _DATA)
        cluster = self._raw[13] * 512
        (runs,) = struct.unpack_from("<H", self._raw, data + 32)
        (length,) = struct.unpack_from("<I", self._raw, data + 4)
        first = self._raw[data + runs : data + length]
        first = first[: 1 + (first[0] & 15) + (first[0] >> 4)]
        (last,) = struct.unpack_from("<Q", self._raw, data + 24)
        hole = b"\x02" + (size // cluster - last - 1).to_bytes(2, "little")
        assert len(first + hole) < length - runs, "there is no room for another run"
        self._raw[data + runs : data + length] = (first + hole).ljust(length - runs, b"\0")
        struct.pack_into("<H", self._raw, data + 12, 0x8000)
        struct.pack_into("<Q", self._raw, data + 24, size // cluster - 1)
        struct.pack_into("<QQQ", self._raw, data + 40, size, size, size)

    def save(self) -> None:
        self._image.write_bytes(self._raw)

    def _record(self, name: str) -> int:
        wanted, number = name.encode("utf-16-le"), 0
        while True:
            record = self._start + number * self._size
            number += 1
            if self._raw[record : record + 4] != b"FILE":
                assert number < 200, f"there is no file {name}"
                continue
            for at, kind in self._attributes(record):
                if kind == _FILE_NAME and wanted == self._raw[at + _NAME :][: len(wanted)]:
                    return record

    def _attributes(self, record: int) -> list[tuple[int, int]]:
        """Return where each attribute begins, and its type; the mark of the end, too."""
        (first,) = struct.unpack_from("<H", self._raw, record + 20)
        found, at = [], record + first
        while at < record + self._size:
            kind, length = struct.unpack_from("<II", self._raw, at)
            found.append((at, kind))
            if kind == _END or not length:
                break
            at += length
        return found
