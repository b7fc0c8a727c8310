"""An exFAT image with files in it, written without a mount: also what only other systems leave."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

_FREE = 0x00
_BITMAP = 0x81


class ExfatImage:
    """An image whose files lie one after the other; to be written by `save`."""

    def __init__(self, path: Path, size: int) -> None:
        with path.open("wb") as file:
            file.truncate(size)
        search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        command = ["mkfs.exfat", "-c", "4096", str(path)]
        environment = {**os.environ, "PATH": search}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        self._path, self._raw = path, bytearray(path.read_bytes())
        heap, _, self._root = struct.unpack_from("<III", self._raw, 88)
        self._heap = heap << self._raw[108]
        self._cluster = 1 << (self._raw[108] + self._raw[109])
        self._next = 0
        start = self._place(self._root)
        for at in range(start, start + self._cluster, 32):
            if self._raw[at] == _BITMAP:
                self._bitmap = self._place(struct.unpack_from("<I", self._raw, at + 20)[0])
            if self._raw[at] == _FREE and not self._next:
                self._next = at
        self._free = self._root + 8

    def pad(self, entries: int) -> None:
        """Let the next file begin with the entry of this number in the topmost folder."""
        while (self._next - self._place(self._root)) // 32 < entries:
            self._raw[self._next] = 0x05  # one that was deleted
            self._next += 32

    def grow(self) -> None:
        """Let the topmost folder go on in a cluster far away."""
        (table,) = struct.unpack_from("<I", self._raw, 80)
        place = (table << self._raw[108]) + 4 * self._root
        struct.pack_into("<I", self._raw, place, self._free)
        struct.pack_into("<I", self._raw, place + 4 * (self._free - self._root), 0xFFFFFFFF)
        self._take(1)

    def add(self, name: str, content: bytes, valid: int) -> None:
        """Add a file, of which so many bytes were written; what follows lies there all the same."""
        clusters = -(-len(content) // self._cluster)
        first = self._take(clusters)
        place = self._place(first)
        self._raw[place : place + len(content)] = content
        times = struct.pack("<III", *[0x5C210000] * 3)
        units = name.encode("utf-16-le")
        entries = [
            struct.pack("<BBHH2x", 0x85, 2, 0, 0x20) + times,
            struct.pack("<BBxBHxxQ4xIQ", 0xC0, 3, len(name), 0, valid, first, len(content)),
            b"\xc1\0" + units,
        ]
        whole = b"".join(entry.ljust(32, b"\0") for entry in entries)
        checksum = 0
        for number, byte in enumerate(whole):
            if number not in (2, 3):
                checksum = (((checksum & 1) << 15) + (checksum >> 1) + byte) & 0xFFFF
        whole = whole[:2] + struct.pack("<H", checksum) + whole[4:]
        for number in range(3):
            self._raw[self._next : self._next + 32] = whole[32 * number :][:32]
            self._next += 32
            if self._next == self._place(self._root) + self._cluster:
                self._next = self._place(self._root + 8)

    def save(self) -> None:
        self._path.write_bytes(self._raw)

    def _take(self, clusters: int) -> int:
        first, self._free = self._free, self._free + clusters
        for cluster in range(first, self._free):
            number = cluster - 2
            self._raw[self._bitmap + number // 8] |= 1 << number % 8
        return first

    def _place(self, cluster: int) -> int:
        return self._heap + (cluster - 2) * self._cluster
