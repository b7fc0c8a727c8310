"""A restore point of a machine, open for browsing: its disks are served by qemu-nbd to a reader.

All are processes of our own: no mount, no FUSE, no root. They end when the browser is closed,
and with Holdfast itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from holdfast.engine.browser import ContentUnreadable, NoSuchEntry
from holdfast.engine.data_key import DataKey, lent
from holdfast.engine.encrypted_image import is_opened_by
from holdfast.engine.errors import EngineError, ToolFailed
from holdfast.engine.guest_entry import Entry, Listing
from holdfast.engine.guest_protocol import FRAME, LARGEST_ANSWER, LARGEST_PIECE, Request
from holdfast.engine.image_chain import backup_files, read_backup_header
from holdfast.engine.image_node import chain_node, name_of
from holdfast.engine.process import end, finished, spawn
from holdfast.engine.qemu_image import absolute, key_refused

# Sockets are named from the folder the programs run in: paths of sockets are short.
_SOCKET = "disk{}"
_OPENING_SECONDS = 15.0
#: A disk made to keep its reader busy for ever is given up after this long.
_ANSWER_SECONDS = 30.0
_PAUSE = 0.02

T = TypeVar("T")


class GuestDisk:
    """A `holdfast.engine.browser.Browser` of the disk images of one machine."""

    def __init__(
        self,
        servers: Sequence[asyncio.subprocess.Process],
        reader: asyncio.subprocess.Process,
    ) -> None:
        self._servers = servers
        self._reader = reader
        self._turn = asyncio.Lock()
        self._dead = False
        # Nobody reads what they complain about; a full pipe must not stop them.
        self._drains = [
            asyncio.create_task(_drain(stream))
            for process in (*servers, reader)
            for stream in (process.stdout, process.stderr)
            if stream is not reader.stdout
        ]

    @classmethod
    async def open(
        cls, disks: Sequence[Path], folder: Path, key: DataKey | None = None
    ) -> GuestDisk:
        """Given a machine's backup files, one for each disk, and an empty folder for sockets, open
        the disks as they were then. ``key`` is that of an encrypted point.

        Raise ChainBroken when a file is missing, KeyRefused, ToolMissing, or ToolFailed when a disk
        cannot be read.
        """
        # When this fails or is cancelled, no process may be left with the files open.
        async with AsyncExitStack() as started:
            servers = []
            sockets = [_SOCKET.format(number) for number in range(len(disks))]
            for point, socket in zip(map(absolute, disks), sockets, strict=True):
                # Nothing outside its folder is opened.
                await asyncio.to_thread(_ensure_readable, point, key)
                arguments = ["qemu-nbd", "--read-only", "--shared=1"]
                arguments += [f"--socket=/proc/self/cwd/{socket}"]
                if key is None:
                    arguments += ["--format=qcow2", os.fspath(point)]
                else:
                    arguments.append(name_of(await asyncio.to_thread(chain_node, point)))
                servers.append(await _start(arguments, folder, key))
                started.push_async_callback(end, servers[-1])
            for server, socket in zip(servers, sockets, strict=True):
                await _served(server, folder / socket)
            reader = await spawn(
                [sys.executable, "-m", "holdfast.engine.guest_reader", *sockets],
                cwd=folder,
                environment={"PYTHONPATH": _packages(), "PYTHONSAFEPATH": "1"},
                input_wanted=True,
                unprivileged=True,
            )
            opened = cls(servers, reader)
            started.pop_all()
        try:
            await opened.entry(())
        except BaseException:  # cancellation too: no process may be left with the files open
            await opened.close()
            raise
        return opened

    async def entry(self, parts: tuple[str, ...]) -> Entry:
        """Return what is at a path."""
        return _decoded(await self._ask(Request(do="entry", parts=parts)), Entry)

    async def listing(self, parts: tuple[str, ...], kinds: str, offset: int, limit: int) -> Listing:
        """Return a part of a folder's entries."""
        request = Request(do="list", parts=parts, kinds=kinds, offset=offset, limit=limit)
        return _decoded(await self._ask(request), Listing)

    async def content(self, parts: tuple[str, ...]) -> AsyncIterator[bytes]:
        """Return a file's content, piece by piece."""
        size, offset = (await self.entry(parts)).size, 0
        # Also of one that seems to be empty: it may be one that cannot be read.
        while offset < size or not offset:
            request = Request(do="read", parts=parts, offset=offset, limit=LARGEST_PIECE)
            piece = await self._ask(request)
            if not size:
                return
            if not piece:
                raise ToolFailed("The file is shorter on the disk than its folder says.")
            offset += len(piece)
            yield piece

    async def close(self) -> None:
        """End all processes: when this returns, or is cancelled, nobody has the files open."""
        await finished(self._close())

    async def _close(self) -> None:
        self._dead = True
        await end(self._reader)
        await asyncio.gather(*map(end, self._servers))
        for drain in self._drains:
            drain.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)
        if self._reader.stdin is not None:
            self._reader.stdin.close()

    async def _ask(self, request: Request) -> bytes:
        # In a task of its own: an answer that nobody waits for any more must still be read, or
        # the next one would be taken for it.
        exchange = asyncio.create_task(self._exchange(request))
        # Nor is it bad news, then, that there was none.
        exchange.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(exchange)

    async def _exchange(self, request: Request) -> bytes:
        async with self._turn:
            if self._dead:
                raise ToolFailed("The restore point is not open any more.")
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    kind, content = await self._answer(request)
            except (TimeoutError, OSError, EOFError) as error:
                self._dead = True
                await end(self._reader)
                raise ToolFailed(
                    "The file systems of this disk cannot be read: "
                    "they are damaged, or not of a kind that is known."
                ) from error
        if kind == b"L":
            said = content.decode("utf-8", "replace")
            raise ToolFailed(f"The backup files of the restore point cannot be read: {said}")
        if kind == b"U":
            raise ContentUnreadable(content.decode("utf-8", "replace"))
        if kind == b"E":
            raise NoSuchEntry(content.decode("utf-8", "replace"))
        return content

    async def _answer(self, request: Request) -> tuple[bytes, bytes]:
        assert self._reader.stdin is not None  # noqa: S101 - both were asked for as pipes
        assert self._reader.stdout is not None  # noqa: S101
        self._reader.stdin.write(msgspec.json.encode(request) + b"\n")
        await self._reader.stdin.drain()
        head = await self._reader.stdout.readexactly(FRAME.size)
        kind, length = FRAME.unpack(head)
        if length > LARGEST_ANSWER:
            raise EOFError("the reader of the disk says too much")
        return kind, await self._reader.stdout.readexactly(length)


def _packages() -> str:
    """Where Python finds packages here: the reader must find the same."""
    return os.pathsep.join(path for path in sys.path if path)


def _ensure_readable(point: Path, key: DataKey | None) -> None:
    """Raise ChainBroken when a file is missing, KeyRefused when one needs another key."""
    for file in backup_files(point):
        if not read_backup_header(file).encrypted:
            continue
        # qemu-nbd would find it out only when it is being asked.
        if key is None or not is_opened_by(file, key.passphrase):
            raise key_refused(f"Opening {file}", missing=key is None)


async def _start(
    arguments: Sequence[str], folder: Path, key: DataKey | None
) -> asyncio.subprocess.Process:
    program, *rest = arguments
    with lent(key) as lending:
        return await spawn(
            [program, *lending.arguments, *rest],
            cwd=folder,
            unprivileged=True,
            descriptors=lending.descriptors,
        )


async def _served(server: asyncio.subprocess.Process, socket: Path) -> None:
    """Return when the disk is served. Raise ToolFailed with what qemu-nbd says."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_OPENING_SECONDS):
            while server.returncode is None:
                if await asyncio.to_thread(socket.exists):
                    return
                await asyncio.sleep(_PAUSE)
    said = b""
    if server.returncode is not None and server.stderr is not None:
        said = await server.stderr.read(4096)
    reason = said.decode(errors="replace").strip() or "it does not answer"
    raise ToolFailed(f"qemu-nbd could not open the restore point: {reason}")


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(4096):
        pass


def _decoded(content: bytes, wanted: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=wanted)
    except msgspec.DecodeError as error:
        raise EngineError(f"The reader of the disk gave a wrong answer: {error}.") from error
