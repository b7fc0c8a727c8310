"""How much of a file of exFAT was ever written: after that it reads as zeros, whatever is there.

The facts are those of Microsoft's "exFAT file system specification". All functions block and raise
OSError.
"""

from __future__ import annotations

import struct

from holdfast.engine.disk import DamagedError, Disk, read_whole

_BOOT_SIZE = 512
_ENTRY_SIZE = 32
_FILE, _STREAM = 0x85, 0xC0
_OWN = (0x81, 0x82, 0x83)  # the file system's own: bitmap, table of letters, label
_FIRST_NUMBER = 3  # what the Sleuth Kit calls the first entry of the first cluster
_FIRST_CLUSTER = 2


class ExfatEntries:
    """The entries of the folders of an exFAT file system, by the Sleuth Kit's numbers."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        boot = read_whole(disk, 0, _BOOT_SIZE)
        table, _, heap = struct.unpack_from("<III", boot, 80)
        sector = 1 << min(boot[108], 12)
        self._table, self._heap = table * sector, heap * sector
        self._cluster = sector << min(boot[109], 25)

    def valid_length(self, number: int, size: int) -> int:
        """Given the number and the size of a file, return how many bytes of it were written."""
        place = self._heap + (number - _FIRST_NUMBER) * _ENTRY_SIZE
        kind = read_whole(self._disk, place, _ENTRY_SIZE)[0]
        if kind in _OWN:
            return size
        if kind == _FILE:
            for following in self._following(place):
                entry = self._disk.read(following, _ENTRY_SIZE)
                if len(entry) == _ENTRY_SIZE and entry[0] == _STREAM:
                    valid, length = struct.unpack_from("<Q8xQ", entry, 8)
                    if length == size:
                        return min(int(valid), size)
        raise DamagedError(f"Entry {number} of a folder is not that of a file.")

    def _following(self, place: int) -> list[int]:
        """Return where the next entry may be: a folder is in one piece, or as the table says."""
        after = place + _ENTRY_SIZE
        if (after - self._heap) % self._cluster:
            return [after]
        cluster = (place - self._heap) // self._cluster + _FIRST_CLUSTER
        (found,) = struct.unpack("<I", read_whole(self._disk, self._table + 4 * cluster, 4))
        return [after, self._heap + (max(found, _FIRST_CLUSTER) - _FIRST_CLUSTER) * self._cluster]
