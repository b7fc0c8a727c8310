"""A disk image served by qemu-nbd on a socket, for the time it is needed.

This is the one place from which disks are reached to be compared or written: what is behind the
socket may as well be a disk on another machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.engine.data_key import DataKey, lent
from holdfast.engine.errors import EngineError, ImageInUse, ToolFailed
from holdfast.engine.failures import tool_failure
from holdfast.engine.image_node import chain_node, name_of
from holdfast.engine.process import Completed, end, spawn
from holdfast.engine.qemu_image import absolute

_OPENING_SECONDS = 30.0
#: QEMU stores the bitmaps of a large disk when it closes it.
_CLOSING_SECONDS = 120.0
_ENDING_SECONDS = 2.0
_PAUSE = 0.02
#: Nobody listens to a server of disks for longer than this.
_LAST_WORDS = 4096


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image and its format; ``path`` may be a block device."""

    path: Path
    format: str


def layer_name(image: Image, *, alone: bool = False, running: bool = False) -> str:
    """Return what QEMU's tools are to open.

    With ``alone`` it is the layer itself without what it is built on; with ``running`` although a
    machine writes to it.
    """
    node: dict[str, object] = {
        "driver": image.format,
        "file": {"driver": "file", "filename": os.fspath(absolute(image.path))},
    }
    if image.format == "raw" and image.path.is_block_device():
        node["file"] = {"driver": "host_device", "filename": os.fspath(absolute(image.path))}
    if alone:
        node["backing"] = None
    if running:
        node["force-share"] = True
    return f"json:{msgspec.json.encode(node).decode()}"


@contextlib.asynccontextmanager
async def served(
    image: Image,
    *,
    writable: bool = False,
    bitmap: str | None = None,
    running: bool = False,
    key: DataKey | None = None,
) -> AsyncIterator[Path]:
    """Serve a disk to one client for the time of a block; yield the socket.

    With ``bitmap``, what is written there can be asked for as ``qemu:dirty-bitmap:<bitmap>`` of
    the export ``disk``. With ``key`` it is a backup file that is encrypted. Raise ImageInUse,
    ChainBroken, ToolMissing or ToolFailed. A writable image is closed, with its bitmaps stored,
    when the block has ended well.
    """
    # Not beside the image: the names of Unix sockets may have 107 characters at most.
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="holdfast-"))
    try:
        socket = folder / "disk"
        arguments = ["qemu-nbd", "--shared=1", f"--socket={socket}"]
        arguments += [] if writable else ["--read-only"]
        if bitmap is not None:
            arguments += [f"--bitmap={bitmap}", "--export-name=disk"]
        if key is None:
            name = await asyncio.to_thread(layer_name, image, running=running)
        else:
            name = name_of(await asyncio.to_thread(chain_node, absolute(image.path)))
        with lent(key) as lending:
            server = await spawn(
                [*arguments, *lending.arguments, name],
                unprivileged=True,
                descriptors=lending.descriptors,
            )
        try:
            await _open(server, image, socket)
            try:
                yield socket
            except EngineError as error:
                # Who reads from a server that is killed finds no fault with itself.
                if await _was_killed(server):
                    raise ToolFailed(f"qemu-nbd, which served {image.path}, was killed.") from error
                raise
            # It ends by itself when its client has taken leave; a signal might be too hasty.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await server.wait()
            if writable and server.returncode != 0:
                raise ToolFailed(f"qemu-nbd did not close {image.path} in good order.")
        finally:
            await end(server)
            await _drain(server)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _was_killed(server: asyncio.subprocess.Process) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDING_SECONDS):
            await server.wait()
    return server.returncode is not None and server.returncode < 0


async def _open(server: asyncio.subprocess.Process, image: Image, socket: Path) -> None:
    """Return when the disk is served; raise why it is not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_OPENING_SECONDS):
            while server.returncode is None:
                if await asyncio.to_thread(socket.exists):
                    return
                await asyncio.sleep(_PAUSE)
    if server.returncode is None or server.stderr is None:
        raise ToolFailed(f"qemu-nbd did not open {image.path} in time.")
    said = (await server.stderr.read(_LAST_WORDS)).decode(errors="replace")
    failure = tool_failure(
        Completed(server.returncode, "", said), doing=f"Opening {image.path}", writing=image.path
    )
    if "lock" in said:
        raise ImageInUse(
            f"{image.path} is in use by another process, usually a running machine: {failure}"
        )
    raise failure


async def _drain(server: asyncio.subprocess.Process) -> None:
    """Read what an ended program left in its pipes: only then does asyncio close them."""
    for stream in (server.stdout, server.stderr):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while stream is not None and await stream.read(_LAST_WORDS):
                    pass
