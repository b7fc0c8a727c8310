"""Writes encrypted backup files: a full, what differs from a parent, what somebody else encrypted.

The plain data is only ever in memory: it is read from its source, or from a parent that is served
decrypted on a private socket, and what is written is encrypted, temporaries too.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from holdfast.engine.byte_copy import FOR_OWNER, CopyPlan, copy_bytes
from holdfast.engine.data_key import DataKey
from holdfast.engine.disk_service import decrypted
from holdfast.engine.encrypted_image import create_encrypted
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_node import Node, chain_node, encrypted_node, name_of, plain_node
from holdfast.engine.image_source import ImageInfo
from holdfast.engine.process import finished
from holdfast.engine.progress import ProgressCallback
from holdfast.engine.qcow2_header import read_header
from holdfast.engine.qemu_image import (
    FractionCallback,
    Storing,
    convert_encrypted_arguments,
    limited,
    name_backing_arguments,
    rebase_encrypted_arguments,
    run_qemu_image,
)


async def make_encrypted(image: Path, size: int, key: DataKey) -> None:
    """Make an empty encrypted qcow2, for its owner alone. Raise EngineError."""
    making = asyncio.to_thread(create_encrypted, image, size, key.passphrase, None)
    try:
        # A thread goes on when it is cancelled, and would make the file after it was removed.
        await finished(making)
    except OSError as error:
        raise writing_failure(error, image) from error


async def write_encrypted_full(
    source: ImageInfo, partial: Path, on_fraction: FractionCallback, storing: Storing
) -> None:
    """Write all that a disk image holds into ``partial``, which is not there yet."""
    assert storing.key is not None  # noqa: S101 - it is what makes it encrypted
    image = source.files[0]
    reading = ["-f", source.format, os.fspath(image)]
    if await asyncio.to_thread(_is_encrypted, source):
        reading = [name_of(await asyncio.to_thread(chain_node, image))]
    await make_encrypted(partial, source.virtual_size, storing.key)
    await run_qemu_image(
        convert_encrypted_arguments(reading, partial, storing.rate_limit),
        doing=f"Copying {image}",
        writing=partial,
        on_fraction=on_fraction,
        key=storing.key,
    )


async def write_encrypted_increment(
    source: ImageInfo, parent: Path, partial: Path, on_fraction: FractionCallback, storing: Storing
) -> None:
    """Write what differs from the parent into ``partial``, which is not there yet.

    ``parent`` is a backup file with the same key. Raise ChainBroken when it cannot be read.
    """
    key = storing.key
    assert key is not None  # noqa: S101 - it is what makes it encrypted
    image = source.files[0]
    node = await asyncio.to_thread(_node_of, source)
    if storing.rate_limit is not None:
        node = limited(node)
    await make_encrypted(partial, source.virtual_size, key)
    async with decrypted(parent, key) as socket:
        await run_qemu_image(
            rebase_encrypted_arguments(
                name_of(encrypted_node(partial, node)),
                f"nbd+unix:///?socket={socket}",
                storing.rate_limit,
            ),
            doing=f"Comparing {image} with {parent}",
            writing=partial,
            on_fraction=on_fraction,
            key=key,
        )
    await name_parent(partial, parent, key)


async def name_parent(layer: Path, parent: Path, key: DataKey) -> None:
    """Make a layer, whose data fits, an increment on ``parent`` in its own folder."""
    await run_qemu_image(
        name_backing_arguments(layer, Path(parent.name), encrypted=True),
        doing=f"Putting what changed on {parent}",
        writing=layer,
        key=key,
    )


async def copy_encrypted(source: Path, partial: Path, on_progress: ProgressCallback) -> None:
    """Copy a file that is encrypted already, byte by byte, for its owner alone.

    Raise ChainBroken when it cannot be read, NoSpace or RepositoryUnavailable.
    """
    size = (await asyncio.to_thread(source.stat)).st_size
    await copy_bytes(CopyPlan(source, partial, size, ""), partial, on_progress, FOR_OWNER)


def _is_encrypted(source: ImageInfo) -> bool:
    return source.format == "qcow2" and read_header(source.files[0]).luks


def _node_of(source: ImageInfo) -> Node:
    if _is_encrypted(source):
        return chain_node(source.files[0])
    return plain_node(source.files[0], source.format)
