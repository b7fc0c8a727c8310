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
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from holdfast.engine.errors import ToolFailed
from holdfast.engine.failures import tool_failure
from holdfast.engine.nbd_export import EXPORT, as_json, credentials_in, exporting
from holdfast.engine.process import Completed, run, work_done
from holdfast.engine.qemu_image import FractionCallback, progress_reader
from holdfast.engine.transfer_keys import TransferKeys, transfer_keys

_CONNECTING_SECONDS = 30.0
#: For so long a transfer may stand still: no byte goes either way, and the sender does nothing.
#: One that is slow moves.
_STALLED_SECONDS = 300.0
_LOOKS = 20
# struct tcp_info of linux/tcp.h: tcpi_bytes_acked and tcpi_bytes_received.
_BYTES = struct.Struct("120xQQ")
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
    """Serve a qcow2 for writing, for the time of a block; the block gets address and port.

    At the end of the block all that was written is flushed. Raise ToolFailed when it may not be.
    """
    # In JSON, since a comma in a path would end it otherwise.
    file = {"driver": "file", "filename": os.fspath(target), "discard": "unmap"}
    node = {"driver": "qcow2", "discard": "unmap", "file": file}
    async with exporting(node, target, keys, address, writable=True) as place:
        yield place


async def send_to(
    place: tuple[str, int],
    source: Path,
    target: Path,
    backing: Path | None,
    keys: TransferKeys,
    on_fraction: FractionCallback | None = None,
) -> int:
    """Send to a receiver; return how many bytes went over the wire, as the kernel counted them.

    ``target`` is only named in errors. Raise as `send` does; ToolFailed, too, when the receiver
    hangs.
    """
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    # Kept open here beside qemu-img, which counts nothing.
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECTING_SECONDS):
                await asyncio.get_running_loop().sock_connect(connection, place)
        except TimeoutError as error:
            raise ToolFailed(
                f"The receiver of {target} does not answer within {_CONNECTING_SECONDS:g} s."
            ) from error
        connection.setblocking(True)
        arguments = _sender_arguments(source, backing, keys, connection.fileno(), place[0])
        on_line = None if on_fraction is None else progress_reader(on_fraction)
        doing = f"Sending {source.name} to {target}"
        completed = await _run_while_it_moves(arguments, connection, on_line, doing)
        if completed.exit_code != 0:
            raise tool_failure(completed, doing=doing, writing=target)
        return _bytes_moved(connection)[0]


async def _run_while_it_moves(
    arguments: Sequence[str],
    connection: socket.socket,
    on_line: Callable[[str], None] | None,
    doing: str,
) -> Completed:
    """Run the sender to its end, unless it hangs: then end it, and raise ToolFailed."""
    pids: list[int] = []
    running = asyncio.create_task(
        run(arguments, on_line=on_line, on_start=pids.append, descriptors=[connection.fileno()])
    )
    limit = _STALLED_SECONDS
    before: object = None
    still = 0
    try:
        while still <= _LOOKS:
            await asyncio.wait({running}, timeout=limit / _LOOKS)
            if running.done():
                return running.result()
            # One that reads a disk without data sends nothing, but works.
            now = (_bytes_moved(connection), [work_done(pid) for pid in pids])
            still = still + 1 if now == before else 0
            before = now
        raise ToolFailed(f"{doing} was ended: the receiver has taken nothing for {limit:g} s.")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _sender_arguments(
    source: Path, backing: Path | None, keys: TransferKeys, connection: int, address: str
) -> list[str]:
    """Return the command that sends an image over a socket that is connected already."""
    arguments = ["qemu-img", "convert", "-p", "-n", "-W"]
    if backing is None:
        arguments.append("--target-is-zero")
    else:
        arguments += ["-B", os.fspath(backing), "-F", "qcow2"]
    remote = f"driver=nbd,server.type=fd,server.str={connection},export={EXPORT}"
    return [
        *arguments,
        *("--object", as_json(credentials_in(keys.sender, "client"))),
        *("-f", "qcow2", "--target-image-opts", os.fspath(source)),
        f"{remote},tls-creds=keys,tls-hostname={address}",
    ]


def _bytes_moved(connection: socket.socket) -> tuple[int, int]:
    """Return how many bytes of this end the other has got, and how many of its this one."""
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LARGEST_INFORMATION)
    if len(information) < _BYTES.size:
        return 0, 0
    sent, received = _BYTES.unpack_from(information)
    return sent, received
