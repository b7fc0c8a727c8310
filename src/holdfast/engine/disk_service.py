"""A disk image served by NBD, for the time it is needed.

This is the one place from which disks are reached to be compared or written. What is in them goes
over connections with TLS on which each end proves who it is, as in a replication (`nbd_transfer`):
what is behind one may as well be a disk on another machine. A bitmap is only a list of places.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.engine.data_key import DataKey, lent
from holdfast.engine.errors import EngineError, ImageInUse, ToolFailed
from holdfast.engine.failures import tool_failure
from holdfast.engine.image_lock import unchanged_while_read
from holdfast.engine.image_node import chain_node, name_of
from holdfast.engine.nbd import NbdDisk, is_listening
from holdfast.engine.nbd_export import EXPORT, exporting
from holdfast.engine.process import Completed, end, spawn
from holdfast.engine.qemu_image import absolute
from holdfast.engine.transfer_keys import transfer_keys

_OPENING_SECONDS = 30.0
_CLOSING_SECONDS = 120.0
#: A server of a disk that answers nothing for so long hangs.
_SILENT_SECONDS = 300.0
_LETTING_GO_SECONDS = 10.0
_ENDING_SECONDS = 2.0
_PAUSE = 0.02
_LOCAL = "127.0.0.1"
#: Nobody listens to a server of disks for longer than this.
_LAST_WORDS = 4096


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image and its format; ``path`` may be a block device."""

    path: Path
    format: str


@dataclass(frozen=True, slots=True)
class Served:
    """Where an image is served, and the folder with the keys of whoever may reach it."""

    path: Path
    place: tuple[str, int]
    keys: Path

    def opened(self) -> NbdDisk:
        """Connect to the disk. Blocking; raise OSError."""
        return NbdDisk(self.place, export=EXPORT, secure=self._secured, time_limit=_SILENT_SECONDS)

    def _secured(self, plain: socket.socket) -> socket.socket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self.keys / "ca-cert.pem")
        context.load_cert_chain(self.keys / "client-cert.pem", self.keys / "client-key.pem")
        return context.wrap_socket(plain, server_hostname=self.place[0])


def _node(image: Image, *, running: bool) -> dict[str, object]:
    """Return the block options with which QEMU opens an image. Blocking."""
    node: dict[str, object] = {
        "driver": image.format,
        "file": {"driver": "file", "filename": os.fspath(absolute(image.path))},
    }
    if image.format == "raw" and image.path.is_block_device():
        node["file"] = {"driver": "host_device", "filename": os.fspath(absolute(image.path))}
    if running:
        node["force-share"] = True
    return node


def layer_name(image: Image, *, alone: bool = False, running: bool = False) -> str:
    """Return what QEMU's tools are to open.

    With ``alone`` it is the layer itself without what it is built on; with ``running`` although a
    machine writes to it.
    """
    node = _node(image, running=running)
    if alone:
        node["backing"] = None
    return f"json:{msgspec.json.encode(node).decode()}"


@contextlib.asynccontextmanager
async def served(
    image: Image, keys: Path, *, writable: bool = False, running: bool = False
) -> AsyncIterator[Served]:
    """Serve a disk to one client for the time of a block, over TLS; ``keys`` is a folder for keys.

    Raise ImageInUse, NoSpace, ToolMissing or ToolFailed. A writable image is flushed and closed,
    with its bitmaps stored, when the block has ended well.
    """
    node = await asyncio.to_thread(_node, image, running=running)
    try:
        async with (
            transfer_keys(keys, _LOCAL) as made,
            exporting(node, image.path, made, _LOCAL, writable=writable) as place,
        ):
            yield Served(image.path, place, made.sender)
    except OSError as error:
        raise ToolFailed(f"{image.path} cannot be served: {error.strerror or error}.") from error


@contextlib.asynccontextmanager
async def bitmap_served(image: Image, bitmap: str) -> AsyncIterator[Path]:
    """Serve an image that nobody has open, and a bitmap in it; yield the socket.

    What is written there can be asked for as ``qemu:dirty-bitmap:<bitmap>`` of the export ``disk``,
    by one client, for the time of a block. Raise ImageInUse, ToolMissing or ToolFailed.
    """
    # Not beside the image: the names of Unix sockets may have 107 characters at most.
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="holdfast-"))
    try:
        listening = folder / "disk"
        arguments = ["qemu-nbd", "--shared=1", f"--socket={listening}", "--read-only"]
        arguments += [f"--bitmap={bitmap}", "--export-name=disk"]
        name = await asyncio.to_thread(layer_name, image)
        server = await spawn([*arguments, name], unprivileged=True)
        try:
            await _open(server, image, listening)
            yield listening
            # It ends by itself when its client has taken leave; a signal might be too hasty.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await server.wait()
        finally:
            await end(server)
            await _drain(server)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def decrypted(point: Path, key: DataKey) -> AsyncIterator[Path]:
    """Serve an encrypted backup file as it is without encryption; yield the socket.

    To one client, for the time of a block. Raise ChainBroken, KeyRefused, ToolMissing or
    ToolFailed.
    """
    name = name_of(await asyncio.to_thread(chain_node, point))
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="holdfast-"))
    try:
        listening = folder / "disk"
        arguments = ["qemu-nbd", "--shared=1", f"--socket={listening}", "--read-only"]
        with lent(key) as lending:
            server = await spawn(
                [*arguments, *lending.arguments, name],
                unprivileged=True,
                descriptors=lending.descriptors,
            )
        try:
            await _open(server, Image(point, "qcow2"), listening)
            yield listening
        except EngineError as error:
            # Who reads from a server that is killed finds no fault with itself.
            if await _was_killed(server):
                raise ToolFailed(f"qemu-nbd, which served {point}, was killed.") from error
            raise
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


async def released(path: Path) -> None:
    """Return when no QEMU writes to an image any more, or after some seconds.

    libvirt may know of the end of a machine a moment before its QEMU has let go of its disks.
    """
    limit = asyncio.get_running_loop().time() + _LETTING_GO_SECONDS
    while asyncio.get_running_loop().time() < limit:
        try:
            with unchanged_while_read([path]):
                return
        except ImageInUse:
            await asyncio.sleep(_PAUSE)


async def _open(server: asyncio.subprocess.Process, image: Image, listening: Path) -> None:
    """Return when the disk is served; raise why it is not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_OPENING_SECONDS):
            while server.returncode is None:
                if await asyncio.to_thread(is_listening, listening):
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
