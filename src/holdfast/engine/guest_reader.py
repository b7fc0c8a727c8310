"""A process of its own that reads the file systems of a machine's disks, for `guest_disk`.

What is on the disks was written by others, and much of the code that reads it is C: it runs apart,
with little memory, without the right to write files, and whoever asks it gives up after a while.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from holdfast.engine.disk import Disk
from holdfast.engine.file_system import ContentElsewhereError, NotFoundError
from holdfast.engine.guest_entry import Entry, Listing, in_order, match, more_than_shown, part_of
from holdfast.engine.guest_protocol import FRAME, LARGEST_PIECE, Request
from holdfast.engine.guest_volumes import Volume, volumes_of
from holdfast.engine.nbd import NbdDisk

_MEMORY = 1024 * 1024 * 1024
_OPEN_FILES = 64


class WatchedDisk:
    """A disk that remembers that it could not be read: what reads file systems may not say so."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.size = disk.size
        self.failure: OSError | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset; fewer at the end. Raise OSError."""
        try:
            return self._disk.read(offset, length)
        except OSError as error:
            self.failure = error
            raise


class Reader:
    """Answers requests about the volumes of a machine, which lie on some disks.

    Where a disk itself failed, nothing is told of what seemed to be there.
    """

    def __init__(self, disks: Sequence[Disk]) -> None:
        self._disks = [WatchedDisk(disk) for disk in disks]
        volumes: list[Volume] = []
        try:
            volumes = volumes_of(self._disks)
        except OSError:
            if self._failure() is None:
                raise
        self._volumes = {volume.name: volume for volume in volumes}
        self._warnings = [warning for volume in volumes for warning in volume.warnings]
        self._unopened = self._failure()

    def answer(self, request: Request) -> tuple[bytes, bytes]:
        """Given a request, return the kind and the content of its answer."""
        for disk in self._disks:
            disk.failure = None
        found = self._answer_or_error(request)
        if (failure := self._unopened or self._failure()) is not None:
            return b"L", str(failure).encode("utf-8", "replace")
        return found

    def _failure(self) -> OSError | None:
        return next((disk.failure for disk in self._disks if disk.failure is not None), None)

    def _answer_or_error(self, request: Request) -> tuple[bytes, bytes]:
        try:
            return self._answer(request)
        except NotFoundError as error:
            return b"E", str(error).encode("utf-8", "replace")
        except ContentElsewhereError as error:
            return b"U", str(error).encode("utf-8", "replace")
        except OSError as error:
            return b"U", f"The disk cannot be read there: {error}".encode("utf-8", "replace")

    def _answer(self, request: Request) -> tuple[bytes, bytes]:
        if request.do == "warnings":
            return b"J", msgspec.json.encode(self._warnings)
        if not request.parts:
            roots = [Entry(name=name, kind="directory") for name in self._volumes]
            if request.do == "list":
                found = part_of(in_order(roots), request.kinds, request.offset, request.limit)
                return b"J", msgspec.json.encode(found)
            return b"J", msgspec.json.encode(Entry(name="", kind="directory"))
        first, *rest = request.parts
        name = match(first, list(self._volumes))
        if name is None:
            raise NotFoundError(f"There is no volume {first} in this restore point.")
        volume = self._volumes[name]
        node = volume.find(tuple(rest))
        if request.do == "read":
            length = min(request.limit, LARGEST_PIECE)
            return b"D", volume.read(node, request.offset, length)
        if request.do == "list":
            entries = [child.entry for child in volume.children(node)]
            found = part_of(entries, request.kinds, request.offset, request.limit)
            if volume.has_more(node):
                # After the last of what is listed comes an error.
                if not found.entries:
                    raise ContentElsewhereError(more_than_shown(node.entry.name))
                found = Listing(entries=found.entries, total=found.total + 1)
            return b"J", msgspec.json.encode(found)
        return b"J", msgspec.json.encode(node.entry)


def serve(reader: Reader, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    for line in requests:
        kind, content = reader.answer(msgspec.json.decode(line, type=Request))
        answers.write(FRAME.pack(kind, len(content)) + content)
        answers.flush()


def main() -> None:
    """Read the disks served on the sockets that the arguments name."""
    sockets = sys.argv[1:]
    open_files = _OPEN_FILES + len(sockets)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reader = Reader([NbdDisk(socket) for socket in sockets])
    serve(reader, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
