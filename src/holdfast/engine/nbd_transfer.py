"""Sends a disk image's data into another image over NBD with TLS, each end proving who it is.

The receiver is a storage daemon of QEMU that has the image open and serves it on a socket of its
own to one client. The sender is qemu-img. What is sent is what the source holds: areas without
data cost nothing, and neither do those that its backing file answers for, if it has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from holdfast.engine.errors import EngineError, ToolFailed
from holdfast.engine.failures import means_no_space, no_space, tool_failure
from holdfast.engine.process import end, finished, run, spawn
from holdfast.engine.qemu_image import FractionCallback, progress_reader
from holdfast.engine.transfer_keys import TransferKeys, transfer_keys

_EXPORT = "disk"
_READ_SIZE = 64 * 1024
_TAIL_SIZE = 4096
# It still writes what it has in memory: that takes as long as the storage takes.
_CLOSING_SECONDS = 300.0
_LAST_WORDS_SECONDS = 1.0
# struct tcp_info of linux/tcp.h: tcpi_bytes_acked.
_BYTES_ACKED = struct.Struct("120xQ")
_LARGEST_INFORMATION = 256


async def send(
    source: Path,
    target: Path,
    *,
    backing: Path | None,
    keys: Path,
    address: str = "127.0.0.1",
    on_fraction: FractionCallback | None = None,
) -> int:
    """Write a qcow2's data into an empty qcow2 of the same size; return the bytes that were sent.

    With ``backing``, the source's backing file, only what lies in the source's own file is sent:
    the target has a backing file of the same content. ``keys`` is a folder for the keys,
    ``address`` the IP address that the receiver listens on. When this returns, the target's data
    has been flushed. Raise ToolMissing, ToolFailed or NoSpace.
    """
    try:
        async with transfer_keys(keys, address) as made, receiving(target, made, address) as place:
            return await send_to(place, source, target, backing, made, on_fraction)
    except OSError as error:
        raise ToolFailed(
            f"The transfer to {target} cannot begin: {error.strerror or error}."
        ) from error


@contextlib.asynccontextmanager
async def receiving(
    target: Path, keys: TransferKeys, address: str
) -> AsyncIterator[tuple[str, int]]:
    """Serve an image for writing, for the time of a block; the block gets address and port.

    At the end of the block all that was written is flushed. Raise ToolFailed when it may not be.
    """
    with socket.create_server((address, 0), backlog=1) as listening:
        place: tuple[str, int] = listening.getsockname()
        daemon = await spawn(
            _receiver_arguments(target, keys, listening.fileno()),
            descriptors=[listening.fileno()],
        )
    said = bytearray()
    # A full pipe must not stop it.
    readers = [
        asyncio.create_task(_keep_tail(stream, said)) for stream in (daemon.stdout, daemon.stderr)
    ]
    try:
        try:
            yield place
            await finished(_close(daemon, target))
        except EngineError as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await asyncio.gather(daemon.wait(), *readers)
            if daemon.returncode is None or not said:
                raise
            # The sender only knows that there was nobody; why, the receiver has said.
            words = said.decode(errors="replace")
            if means_no_space(words):
                raise no_space(target) from error
            raise ToolFailed(f"{error} The receiver said: {words.strip()}") from error
    finally:
        await end(daemon)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


def _receiver_arguments(target: Path, keys: TransferKeys, listening: int) -> list[str]:
    """Return the command that serves an image on a socket that listens already."""
    # In JSON, since a comma in a path would end it otherwise.
    file = {"driver": "file", "filename": os.fspath(target), "discard": "unmap"}
    node = {"driver": "qcow2", "node-name": _EXPORT, "discard": "unmap", "file": file}
    credentials = _credentials(keys.receiver, "server")
    return [
        "qemu-storage-daemon",
        *("--object", _json({**credentials, "verify-peer": True})),
        *("--blockdev", _json(node)),
        *("--nbd-server", f"addr.type=fd,addr.str={listening},tls-creds=keys,max-connections=1"),
        *("--export", f"type=nbd,id={_EXPORT},node-name={_EXPORT},name={_EXPORT},writable=on"),
    ]


async def send_to(
    place: tuple[str, int],
    source: Path,
    target: Path,
    backing: Path | None,
    keys: TransferKeys,
    on_fraction: FractionCallback | None = None,
) -> int:
    """Send to a receiver; return how many bytes went over the wire, as the kernel counted them.

    ``target`` is only named in errors. Raise as `send` does.
    """
    connection = await asyncio.to_thread(socket.create_connection, place)
    # Kept open here beside qemu-img, which counts nothing.
    with connection:
        arguments = _sender_arguments(source, backing, keys, connection.fileno(), place[0])
        on_line = None if on_fraction is None else progress_reader(on_fraction)
        completed = await run(arguments, on_line=on_line, descriptors=[connection.fileno()])
        if completed.exit_code != 0:
            doing = f"Sending {source.name} to {target}"
            raise tool_failure(completed, doing=doing, writing=target)
        return _bytes_sent(connection)


def _sender_arguments(
    source: Path, backing: Path | None, keys: TransferKeys, connection: int, address: str
) -> list[str]:
    """Return the command that sends an image over a socket that is connected already."""
    arguments = ["qemu-img", "convert", "-p", "-n", "-W"]
    if backing is None:
        arguments.append("--target-is-zero")
    else:
        arguments += ["-B", os.fspath(backing), "-F", "qcow2"]
    remote = f"driver=nbd,server.type=fd,server.str={connection},export={_EXPORT}"
    return [
        *arguments,
        *("--object", _json(_credentials(keys.sender, "client"))),
        *("-f", "qcow2", "--target-image-opts", os.fspath(source)),
        f"{remote},tls-creds=keys,tls-hostname={address}",
    ]


def _credentials(folder: Path, endpoint: str) -> dict[str, str]:
    return {
        "qom-type": "tls-creds-x509",
        "id": "keys",
        "dir": os.fspath(folder),
        "endpoint": endpoint,
    }


def _json(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value).decode()


def _bytes_sent(connection: socket.socket) -> int:
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LARGEST_INFORMATION)
    if len(information) < _BYTES_ACKED.size:
        return 0
    number: int = _BYTES_ACKED.unpack_from(information)[0]
    return number


async def _close(daemon: asyncio.subprocess.Process, target: Path) -> None:
    """Let the receiver write what it has in memory, and end."""
    if daemon.returncode is None:
        daemon.terminate()
    try:
        async with asyncio.timeout(_CLOSING_SECONDS):
            await daemon.wait()
    except TimeoutError:
        raise ToolFailed(f"{target} is not closed within {_CLOSING_SECONDS:g} s.") from None
    if daemon.returncode != 0:
        raise ToolFailed(f"The receiver of {target} ended with {daemon.returncode}.")


async def _keep_tail(stream: asyncio.StreamReader | None, said: bytearray) -> None:
    while stream is not None and (chunk := await stream.read(_READ_SIZE)):
        said += chunk
        del said[:-_TAIL_SIZE]
