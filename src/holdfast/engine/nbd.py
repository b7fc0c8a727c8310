"""A client for a disk that is served by NBD on a socket: just enough to read and write it.

On a connection to an address it speaks TLS, if it is told how, or nothing is said at all.

The protocol is NBD's doc/proto.md, fixed newstyle, all numbers big-endian.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

_GREETING = struct.Struct(">8s8sH")
_OPTION = struct.Struct(">8sII")
_EXPORT = struct.Struct(">QH")
_REQUEST = struct.Struct(">IHHQQI")
_REPLY = struct.Struct(">IIQ")

_MAGIC = b"NBDMAGIC"
_HAVE_OPTION = b"IHAVEOPT"
_FIXED_NEWSTYLE = 1
_NO_ZEROES = 2
_EXPORT_NAME, _STARTTLS = 1, 5
_OPTION_REPLY = struct.Struct(">QIII")
_OPTION_MAGIC = 0x3E889045565A9
_ACCEPTED = 1
_LARGEST_REFUSAL = 4096
_REQUEST_MAGIC = 0x25609513
_REPLY_MAGIC = 0x67446698
_READ, _WRITE, _DISCONNECT, _FLUSH, _WRITE_ZEROES = 0, 1, 2, 3, 6
_CAN_FLUSH, _CAN_WRITE_ZEROES = 1 << 2, 1 << 6
_LARGEST_READ = 8 * 1024 * 1024
_SOCKETS = Path("/proc/net/unix")
_ACCEPTS = 1 << 16


class NbdError(OSError):
    """The disk cannot be read or written."""


def is_listening(path: Path) -> bool:
    """Say whether somebody listens on a Unix socket, without connecting to it.

    That it is there is not enough: until its server listens, too, clients are refused.
    """
    name = os.fspath(path)
    try:
        sockets = _SOCKETS.read_text(errors="surrogateescape")
    except OSError:
        return path.exists()
    for line in sockets.splitlines():
        # Num: RefCount Protocol Flags Type St Inode Path
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[7] == name and int(fields[3], 16) & _ACCEPTS:
            return True
    return False


class NbdDisk:
    """A disk served on a Unix socket. Every method blocks and raises OSError.

    ``place`` is the path of the socket, or address and port. With ``secure``, which makes a socket
    with TLS of one without, nothing but the beginning of that is said in the clear. A server that
    is silent for ``time_limit`` seconds, when it is its turn, raises TimeoutError.
    """

    def __init__(
        self,
        place: str | tuple[str, int],
        *,
        export: str = "",
        secure: Callable[[socket.socket], socket.socket] | None = None,
        time_limit: float | None = None,
    ) -> None:
        family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
        if isinstance(place, tuple) and ":" in place[0]:
            family = socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(time_limit)
            self._socket.connect(place)
            self._negotiate(export, secure)
        except BaseException:
            self._socket.close()
            raise

    def _negotiate(
        self, export: str, secure: Callable[[socket.socket], socket.socket] | None
    ) -> None:
        magic, option, flags = _GREETING.unpack(self._receive(_GREETING.size))
        if (magic, option) != (_MAGIC, _HAVE_OPTION) or not flags & _FIXED_NEWSTYLE:
            raise NbdError("The server of the disk speaks another protocol.")
        self._socket.sendall(struct.pack(">I", _FIXED_NEWSTYLE | (flags & _NO_ZEROES)))
        if secure is not None:
            self._start_tls(secure)
        name = export.encode()
        self._socket.sendall(_OPTION.pack(_HAVE_OPTION, _EXPORT_NAME, len(name)) + name)
        self.size, self._flags = _EXPORT.unpack(self._receive(_EXPORT.size))
        if not flags & _NO_ZEROES:
            self._receive(124)

    def _start_tls(self, secure: Callable[[socket.socket], socket.socket]) -> None:
        self._socket.sendall(_OPTION.pack(_HAVE_OPTION, _STARTTLS, 0))
        magic, option, kind, length = _OPTION_REPLY.unpack(self._receive(_OPTION_REPLY.size))
        self._receive(min(length, _LARGEST_REFUSAL))
        if (magic, option, kind) != (_OPTION_MAGIC, _STARTTLS, _ACCEPTED):
            raise NbdError("The server of the disk does not speak TLS.")
        self._socket = secure(self._socket)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset; fewer at the end of the disk."""
        end = min(offset + max(length, 0), self.size)
        if not 0 <= offset < end:
            return b""
        parts = []
        while offset < end:
            wanted = min(end - offset, _LARGEST_READ)
            self._ask(_READ, offset, wanted)
            parts.append(self._receive(wanted))
            offset += wanted
        return b"".join(parts)

    def write(self, offset: int, content: bytes) -> None:
        """Write bytes, of which none lies behind the end of the disk."""
        for start in range(0, len(content), _LARGEST_READ):
            piece = content[start : start + _LARGEST_READ]
            self._ask(_WRITE, offset + start, len(piece), piece)

    def write_zeroes(self, offset: int, length: int) -> None:
        """Write zeros: without sending them, where the server can do that."""
        if self._flags & _CAN_WRITE_ZEROES:
            self._ask(_WRITE_ZEROES, offset, length)
        else:
            self.write(offset, bytes(length))

    def flush(self) -> None:
        """Bring all that was written to stable storage."""
        if self._flags & _CAN_FLUSH:
            self._ask(_FLUSH, 0, 0)

    def close(self) -> None:
        """Take leave of the server."""
        try:
            self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))
        finally:
            self._socket.close()

    def _ask(self, command: int, offset: int, length: int, content: bytes = b"") -> None:
        request = _REQUEST.pack(_REQUEST_MAGIC, 0, command, offset, offset, length)
        self._socket.sendall(request + content)
        magic, error, handle = _REPLY.unpack(self._receive(_REPLY.size))
        if magic != _REPLY_MAGIC or handle != offset:
            raise NbdError("The server of the disk lost its way.")
        if error:
            doing = "read" if command == _READ else "written"
            raise NbdError(error, f"The disk cannot be {doing} at {offset}.")

    def _receive(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            chunk = self._socket.recv(length - len(received))
            if not chunk:
                raise NbdError("The server of the disk went away.")
            received += chunk
        return bytes(received)
