"""A disk image served over NBD with TLS, to one client that proves who it is.

The server is a storage daemon of QEMU that has the image open and serves it on a socket of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from holdfast.engine.errors import EngineError, ToolFailed
from holdfast.engine.failures import tool_failure
from holdfast.engine.process import Completed, end, finished, spawn
from holdfast.engine.transfer_keys import TransferKeys

EXPORT = "disk"
"""The name of the one disk that is served."""
_READ_SIZE = 64 * 1024
_TAIL_SIZE = 4096
# It still writes what it has in memory: that takes as long as the storage takes.
_CLOSING_SECONDS = 300.0
_LAST_WORDS_SECONDS = 1.0


@contextlib.asynccontextmanager
async def exporting(
    node: Mapping[str, object], path: Path, keys: TransferKeys, address: str, *, writable: bool
) -> AsyncIterator[tuple[str, int]]:
    """Serve an image for the time of a block; the block gets address and port.

    ``node`` is how QEMU is to open it (its block options), ``path`` names it in errors. At the end
    of the block all that was written is flushed. Raise ToolMissing, ImageInUse or NoSpace, and
    ToolFailed when it may not be; an EngineError of the block is told with what the server said.
    """
    with socket.create_server((address, 0), backlog=1) as listening:
        place: tuple[str, int] = listening.getsockname()
        daemon = await spawn(
            _arguments(node, keys, listening.fileno(), writable=writable),
            descriptors=[listening.fileno()],
            unprivileged=True,
        )
    said = bytearray()
    # A full pipe must not stop it.
    readers = [
        asyncio.create_task(_keep_tail(stream, said)) for stream in (daemon.stdout, daemon.stderr)
    ]
    try:
        try:
            yield place
            await finished(_close(daemon, path))
        except EngineError as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await asyncio.gather(daemon.wait(), *readers)
            if daemon.returncode is None or not said:
                raise
            # The client only knows that there was nobody; why, the server has said.
            words = said.decode(errors="replace").strip()
            ended = Completed(daemon.returncode, "", words)
            known = tool_failure(ended, doing=f"Serving {path}", writing=path)
            if type(known) is not ToolFailed:
                raise known from error
            raise ToolFailed(f"{error} The server of {path} said: {words}") from error
    finally:
        await end(daemon)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


def _arguments(
    node: Mapping[str, object], keys: TransferKeys, listening: int, *, writable: bool
) -> list[str]:
    """Return the command that serves an image on a socket that listens already."""
    credentials = credentials_in(keys.receiver, "server")
    allowed = "on" if writable else "off"
    return [
        "qemu-storage-daemon",
        *("--object", as_json({**credentials, "verify-peer": True})),
        *("--blockdev", as_json({**node, "node-name": EXPORT, "read-only": not writable})),
        *("--nbd-server", f"addr.type=fd,addr.str={listening},tls-creds=keys,max-connections=1"),
        *("--export", f"type=nbd,id={EXPORT},node-name={EXPORT},name={EXPORT},writable={allowed}"),
    ]


def credentials_in(folder: Path, endpoint: str) -> dict[str, str]:
    """Return the object of QEMU for one end of a connection with TLS, named ``keys``."""
    return {
        "qom-type": "tls-creds-x509",
        "id": "keys",
        "dir": os.fspath(folder),
        "endpoint": endpoint,
    }


def as_json(value: Mapping[str, object]) -> str:
    """Return options as QEMU's programs take them, whatever signs are in a path."""
    return msgspec.json.encode(value).decode()


async def _close(daemon: asyncio.subprocess.Process, path: Path) -> None:
    """Let the server write what it has in memory, and end."""
    if daemon.returncode is None:
        daemon.terminate()
    try:
        async with asyncio.timeout(_CLOSING_SECONDS):
            await daemon.wait()
    except TimeoutError:
        raise ToolFailed(f"{path} is not closed within {_CLOSING_SECONDS:g} s.") from None
    if daemon.returncode != 0:
        raise ToolFailed(f"The server of {path} ended with {daemon.returncode}.")


async def _keep_tail(stream: asyncio.StreamReader | None, said: bytearray) -> None:
    while stream is not None and (chunk := await stream.read(_READ_SIZE)):
        said += chunk
        del said[:-_TAIL_SIZE]
