"""Disk images opened as mounts of restore points open them, and all that is in them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.engine.guest_disk import GuestDisk
from holdfast.engine.guest_entry import Entry


@asynccontextmanager
async def opened(folder: Path, *raws: Path) -> AsyncIterator[GuestDisk]:
    points = [raw.with_suffix(".qcow2") for raw in raws]
    for raw, point in zip(raws, points, strict=True):
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(point)]
        await asyncio.to_thread(subprocess.run, command, check=True)
    socket = folder / ("socket" * 20)  # far longer than the path of a socket may be
    socket.mkdir()
    disk = await GuestDisk.open(points, socket)
    try:
        yield disk
    finally:
        await disk.close()


async def read(disk: GuestDisk, *parts: str) -> bytes:
    return b"".join([piece async for piece in disk.content(parts)])


async def everything(disk: GuestDisk, *folder: str) -> dict[str, Entry]:
    """Return all that is below a folder, by its path from there."""
    listing = await disk.listing(folder, "all", 0, 100_000)
    assert len(listing.entries) == listing.total
    found = {}
    for entry in listing.entries:
        found[entry.name] = entry
        if entry.kind == "directory":
            below = await everything(disk, *folder, entry.name)
            found |= {f"{entry.name}/{path}": inner for path, inner in below.items()}
    return found


async def all_files(disk: GuestDisk, *folder: str) -> dict[str, bytes]:
    """Return the contents of all files below a folder, by their paths from there."""
    return {
        path: await read(disk, *folder, *path.split("/"))
        for path, entry in (await everything(disk, *folder)).items()
        if entry.kind == "file"
    }
