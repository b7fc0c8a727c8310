"""Which files of an ext4 file system are encrypted there (fscrypt): only their inodes say so.

The facts are those of the kernel's documentation of ext4, "Super Block", "Block Group Descriptors"
and "Index Nodes". All functions block and raise OSError.
"""

from __future__ import annotations

import struct

from holdfast.engine.disk import DamagedError, Disk, read_whole

_SUPERBLOCK, _SUPERBLOCK_SIZE = 1024, 1024
_META_GROUPS, _LARGE, _ENCRYPTION = 0x10, 0x80, 0x10000
_ENCRYPTED_FILE = 0x800
_SMALL_DESCRIPTOR = 32
_ENCRYPTED = "the guest has encrypted it (fscrypt), and its key is not known here"


class ExtInodes:
    """The inodes of a file system of the family of ext2."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        block = read_whole(disk, _SUPERBLOCK, _SUPERBLOCK_SIZE)
        (self._first_block, size) = struct.unpack_from("<II", block, 20)
        (self._per_group,) = struct.unpack_from("<I", block, 40)
        (self._inode_size,) = struct.unpack_from("<H", block, 88)
        (self._features,) = struct.unpack_from("<I", block, 96)
        (descriptor,) = struct.unpack_from("<H", block, 254)
        self._block_size = 1024 << min(size, 16)
        self._descriptor = descriptor if self._features & _LARGE else _SMALL_DESCRIPTOR

    def why_unreadable(self, number: int) -> str | None:
        """Given the number of a file, return why what is read of it is not its content, or None."""
        if not self._features & _ENCRYPTION:
            return None
        return _ENCRYPTED if self._flags(number) & _ENCRYPTED_FILE else None

    def _flags(self, number: int) -> int:
        if self._features & _META_GROUPS or not self._per_group or self._descriptor < 32:
            raise DamagedError("The groups of this encrypted file system cannot be found.")
        group, index = divmod(number - 1, self._per_group)
        place = (self._first_block + 1) * self._block_size + group * self._descriptor
        descriptor = read_whole(self._disk, place, self._descriptor)
        (table,) = struct.unpack_from("<I", descriptor, 8)
        if self._descriptor > _SMALL_DESCRIPTOR:
            table |= int.from_bytes(descriptor[40:44], "little") << 32
        inode = read_whole(self._disk, table * self._block_size + index * self._inode_size, 128)
        flags: int = struct.unpack_from("<I", inode, 32)[0]
        return flags
