"""A client for a disk that qemu-nbd serves on a socket: just enough to read from it.

The protocol is NBD's doc/proto.md, fixed newstyle, all numbers big-endian.
"""

from __future__ import annotations

import socket
import struct

_GREETING = struct.Struct(">8s8sH")
_OPTION = struct.Struct(">8sII")
_EXPORT = struct.Struct(">QH")
_REQUEST = struct.Struct(">IHHQQI")
_REPLY = struct.Struct(">IIQ")

_MAGIC = b"NBDMAGIC"
_HAVE_OPTION = b"IHAVEOPT"
_FIXED_NEWSTYLE = 1
_NO_ZEROES = 2
_EXPORT_NAME = 1
_REQUEST_MAGIC = 0x25609513
_REPLY_MAGIC = 0x67446698
_LARGEST_READ = 8 * 1024 * 1024


class NbdError(OSError):
    """The disk cannot be read."""


class NbdDisk:
    """A disk served on a Unix socket. Every method blocks and raises OSError."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        magic, option, flags = _GREETING.unpack(self._receive(_GREETING.size))
        if (magic, option) != (_MAGIC, _HAVE_OPTION) or not flags & _FIXED_NEWSTYLE:
            raise NbdError("The server of the disk speaks another protocol.")
        answer = _FIXED_NEWSTYLE | (flags & _NO_ZEROES)
        self._socket.sendall(
            struct.pack(">I", answer) + _OPTION.pack(_HAVE_OPTION, _EXPORT_NAME, 0)
        )
        self.size, _flags = _EXPORT.unpack(self._receive(_EXPORT.size))
        if not flags & _NO_ZEROES:
            self._receive(124)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset; fewer at the end of the disk."""
        end = min(offset + max(length, 0), self.size)
        if not 0 <= offset < end:
            return b""
        parts = []
        while offset < end:
            wanted = min(end - offset, _LARGEST_READ)
            parts.append(self._read(offset, wanted))
            offset += wanted
        return b"".join(parts)

    def _read(self, offset: int, length: int) -> bytes:
        self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, 0, offset, offset, length))
        magic, error, handle = _REPLY.unpack(self._receive(_REPLY.size))
        if magic != _REPLY_MAGIC or handle != offset:
            raise NbdError("The server of the disk lost its way.")
        if error:
            raise NbdError(error, f"The disk cannot be read at {offset}.")
        return self._receive(length)

    def _receive(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            chunk = self._socket.recv(length - len(received))
            if not chunk:
                raise NbdError("The server of the disk went away.")
            received += chunk
        return bytes(received)
