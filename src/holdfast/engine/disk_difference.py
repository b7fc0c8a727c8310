"""Where two disks may differ, and the bringing of one to the other: only what differs is written.

What may differ is known from layers (the clusters that a qcow2 holds itself), and from bitmaps that
QEMU keeps of what was written. Where neither is known, it is the whole disk.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.engine.disk_service import Image, Served, bitmap_served, layer_name
from holdfast.engine.errors import EngineError, ToolFailed
from holdfast.engine.failures import no_space, tool_failure
from holdfast.engine.nbd import NbdDisk
from holdfast.engine.process import run

#: What is compared, and written when it differs, at once.
BLOCK = 64 * 1024
_PIECE = 4 * 1024 * 1024
_DIRTY = "qemu:dirty-bitmap:"


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a disk, in bytes."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes read on each side to be compared, and bytes written because they differed."""

    read: int
    written: int

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.read + other.read, self.written + other.written)


class _Mapped(msgspec.Struct):
    start: int
    length: int
    data: bool
    present: bool


def united(extents: Iterable[Extent], size: int) -> list[Extent]:
    """Given parts of a disk in any order, return them by whole blocks, in order, none twice."""
    found: list[Extent] = []
    for extent in sorted(extents, key=lambda extent: extent.start):
        start = extent.start // BLOCK * BLOCK
        end = min(-(-(extent.start + extent.length) // BLOCK) * BLOCK, size)
        if start >= end:
            continue
        if found and start <= found[-1].start + found[-1].length:
            last = found.pop()
            start, end = last.start, max(end, last.start + last.length)
        found.append(Extent(start, end - start))
    return found


async def held_by(layer: Path, *, running: bool = False) -> list[Extent]:
    """Given a qcow2, return the parts that the file itself holds, not what it is built on.

    Raise ToolFailed or ImageInUse.
    """
    name = await asyncio.to_thread(layer_name, Image(layer, "qcow2"), alone=True, running=running)
    mapped = await _mapped([name], layer)
    return [Extent(part.start, part.length) for part in mapped if part.present]


async def written_since(image: Image, bitmap: str) -> list[Extent]:
    """Given an image that nobody has open and a bitmap in it, return the parts it names.

    Raise ToolFailed when the bitmap is missing or broken, ImageInUse.
    """
    async with bitmap_served(image, bitmap) as socket:
        options = f"driver=nbd,server.type=unix,server.path={socket},export=disk"
        mapped = await _mapped(
            ["--image-opts", f"{options},x-dirty-bitmap={_DIRTY}{bitmap}"], image.path
        )
    # In this map, what was written is what has no data.
    return [Extent(part.start, part.length) for part in mapped if not part.data]


async def _mapped(arguments: Sequence[str], path: Path) -> list[_Mapped]:
    completed = await run(["qemu-img", "map", "--output=json", *arguments])
    if completed.exit_code != 0:
        raise tool_failure(completed, doing=f"Reading {path}", writing=path)
    return msgspec.json.decode(completed.stdout, type=list[_Mapped])


async def bring_over(
    source: Served,
    target: Served,
    extents: Sequence[Extent] | None,
    on_bytes: Callable[[int, int], None],
) -> Moved:
    """Make a disk equal to another within extents (None: all of it).

    ``on_bytes`` is told the bytes read and those to be read. What was written is on stable storage
    when this returns. Raise ToolFailed or NoSpace; EngineError when the sizes differ.
    """
    loop = asyncio.get_running_loop()
    stopped = threading.Event()

    def tell(done: int, total: int) -> None:
        if not stopped.is_set():
            on_bytes(done, total)

    def work() -> Moved:
        return _bring_over(
            source, target, extents, stopped, lambda *n: loop.call_soon_threadsafe(tell, *n)
        )

    copying = loop.run_in_executor(None, work)
    try:
        return await asyncio.shield(copying)
    finally:
        # A cancelled await does not end its thread, and the disk must not be written to any more.
        stopped.set()
        await asyncio.wait({copying})
        copying.exception()


def _bring_over(
    source: Served,
    target: Served,
    extents: Sequence[Extent] | None,
    stopped: threading.Event,
    tell: Callable[[int, int], object],
) -> Moved:
    try:
        reading = source.opened()
        try:
            writing = target.opened()
            try:
                moved = _compared(reading, writing, extents, stopped, tell)
                writing.flush()
            finally:
                writing.close()
        finally:
            reading.close()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_space(target.path) from error
        raise ToolFailed(f"Copying the disk failed: {error.strerror or error}.") from error
    return moved


def _compared(
    reading: NbdDisk,
    writing: NbdDisk,
    extents: Sequence[Extent] | None,
    stopped: threading.Event,
    tell: Callable[[int, int], object],
) -> Moved:
    if reading.size != writing.size:
        raise EngineError(
            f"The disks differ in size ({reading.size} and {writing.size} bytes), so one cannot "
            "be brought to the other."
        )
    chosen = [Extent(0, reading.size)] if extents is None else extents
    total = sum(extent.length for extent in chosen)
    read = written = 0
    for extent in chosen:
        end = extent.start + extent.length
        for start in range(extent.start, end, _PIECE):
            if stopped.is_set():
                return Moved(read, written)
            length = min(_PIECE, end - start)
            wanted, there = reading.read(start, length), writing.read(start, length)
            read += length
            if wanted != there:
                written += _write_blocks(writing, start, wanted, there)
            tell(read, total)
    return Moved(read, written)


def _write_blocks(writing: NbdDisk, start: int, wanted: bytes, there: bytes) -> int:
    written = 0
    for offset in range(0, len(wanted), BLOCK):
        block = wanted[offset : offset + BLOCK]
        if block == there[offset : offset + BLOCK]:
            continue
        if block.count(0) == len(block):
            writing.write_zeroes(start + offset, len(block))
        else:
            writing.write(start + offset, block)
        written += len(block)
    return written
