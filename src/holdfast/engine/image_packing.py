"""Compresses what QEMU has written: a qcow2 of its clusters, in another file.

`qemu-img convert -c` does it, too, but makes all that zstd needs anew for each cluster, knows one
level, and has to be started: this takes half of its time (docs/benchmarks.md). A thread reads the
tables and writes the file in their order; those of one pool, whatever is backed up at the same
time, read clusters and compress them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path

from holdfast.engine.durability import discarded_on_exit, partial_name, synchronised_meanwhile
from holdfast.engine.errors import ChainBroken, SourceUnreadable
from holdfast.engine.failures import reading_failure, writing_failure
from holdfast.engine.qcow2_header import Qcow2Header
from holdfast.engine.qcow2_packed import CLUSTER, PackedFile
from holdfast.engine.qcow2_tables import COMPRESSED, ZEROS, Qcow2Tables, place_of
from holdfast.engine.zstd import compress

_BATCH = 16  # clusters
_THREADS = min(4, len(os.sched_getaffinity(0)))
_AHEAD = 2  # batches for each thread: none of them waits for what is written
# What compressing spares less of is kept as it is: reading that costs nothing.
_WORTH = CLUSTER - CLUSTER // 16
_NOTHING = bytes(CLUSTER)
_FOR_ALL = 0o666  # of which the process takes away what it always does
_OPENING = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Packing:
    """What is to be compressed, and where to: the clusters that the qcow2 ``layer`` holds itself.

    It `can_be_packed`. No other program may have it open, and what it is built on is not looked
    at. The target is built on ``backing_name``, a qcow2 in its folder, or is a full. ``level`` is
    one of `zstd.LEVELS`.
    """

    layer: Path
    target: Path
    backing_name: str | None
    level: int


@dataclass(slots=True)
class _Batch:
    """Clusters by their numbers, and what is to be written of them."""

    zeros: list[int] = field(default_factory=list)
    plain: list[int] = field(default_factory=list)
    plain_content: list[bytes] = field(default_factory=list)
    compressed: list[int] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)


@contextlib.asynccontextmanager
async def packed_into(
    target: Path, backing_name: str | None, level: int | None, on_fraction: Callable[[float], None]
) -> AsyncIterator[Path]:
    """Give a block the name of the qcow2 that it is to write, and compress that into ``target``.

    Without a ``level`` that is the target itself. Otherwise it is a temporary, which goes.
    """
    if level is None:
        yield target
        return
    plain = unpacked_name(target)
    async with discarded_on_exit(plain):
        yield plain
        await pack(Packing(plain, target, backing_name, level), on_fraction)


def unpacked_name(partial: Path) -> Path:
    """Given a temporary, return that of what is to be compressed into it."""
    return partial_name(partial.with_suffix(""), "unpacked")


async def pack(packing: Packing, on_fraction: Callable[[float], None]) -> None:
    """Write ``packing.target``, which must not be there; it is not synchronised to the last.

    Raise SourceUnreadable when the layer is none that QEMU writes for us, NoSpace,
    RepositoryUnavailable or another EngineError; then part of the target may be there.
    """
    loop = asyncio.get_running_loop()
    stopped = threading.Event()

    def tell(fraction: float) -> None:
        if not stopped.is_set():
            loop.call_soon_threadsafe(on_fraction, fraction)

    try:
        async with synchronised_meanwhile(packing.target):
            working = asyncio.create_task(asyncio.to_thread(_pack, packing, tell, stopped))
            try:
                await asyncio.shield(working)
            finally:
                # A thread is not cancelled with what waits for it: it would go on, and even make
                # the target after whoever cancelled this has removed it.
                stopped.set()
                await asyncio.wait([working])
                working.exception()  # told, or of no interest any more
    except OSError as error:
        raise writing_failure(error, packing.target) from error


def _pack(packing: Packing, tell: Callable[[float], None], stopped: threading.Event) -> None:
    descriptor = os.open(packing.target, _OPENING, _FOR_ALL)
    try:
        with _opened(packing.layer) as layer:
            packed = PackedFile(descriptor, layer.header.virtual_size, packing.backing_name)
            plain_first = True
            for done, batch in _batches(layer, packing.level):
                if stopped.is_set():
                    return
                for number in batch.zeros:
                    packed.write_zeros(number)
                writing = [
                    partial(packed.write_plain, batch.plain, batch.plain_content),
                    partial(packed.write_compressed, batch.compressed, batch.frames),
                ]
                # What comes last goes on with what came last: so less is left empty between them.
                for write in writing if plain_first else reversed(writing):
                    write()
                plain_first = not plain_first
                tell(done / layer.clusters)
            packed.finish()
    finally:
        os.close(descriptor)


def can_be_packed(header: Qcow2Header) -> bool:
    """Say whether a layer with this header may be given to `pack`.

    libvirt makes what it writes like the disk that it copies: with clusters of other sizes, too.
    """
    usual = header.cluster_size == CLUSTER and not header.extended_tables
    return usual and not header.encrypted and not header.external_data_file


def _opened(path: Path) -> Qcow2Tables:
    try:
        layer = Qcow2Tables(path)
    except ChainBroken as error:
        raise SourceUnreadable(str(error)) from error
    except OSError as error:
        raise reading_failure(error, path) from error
    if not can_be_packed(layer.header):
        layer.file.close()
        raise SourceUnreadable(f"{path} is encrypted, or its clusters are not of 64 KiB.")
    return layer


def _batches(layer: Qcow2Tables, level: int) -> Iterator[tuple[int, _Batch]]:
    """Yield batches in the order of the disk, each with how many clusters are done by then."""
    ahead: deque[tuple[int, Future[_Batch]]] = deque()
    try:
        for batch in _pieces(layer):
            compressing = _threads().submit(_compress, layer, batch, level)
            ahead.append((batch[-1][0] + 1, compressing))
            if len(ahead) > _THREADS * _AHEAD:
                done, oldest = ahead.popleft()
                yield done, oldest.result()
        while ahead:
            done, oldest = ahead.popleft()
            yield done, oldest.result()
    finally:
        # The file is closed next: nobody may read it then.
        for _done, each in ahead:
            if not each.cancel():
                each.exception()


def _pieces(layer: Qcow2Tables) -> Iterator[list[tuple[int, int]]]:
    """Yield number and place of the clusters that the layer holds, some of one table at a time.

    The place of zeros is 0.
    """
    for first, entries in layer.walk():
        clusters = _held(layer, first, entries)
        while piece := list(islice(clusters, _BATCH)):
            yield piece


def _held(layer: Qcow2Tables, first: int, entries: Sequence[int]) -> Iterator[tuple[int, int]]:
    for number, entry in enumerate(entries, start=first):
        if entry & COMPRESSED:
            raise SourceUnreadable(f"{layer.path} is compressed already.")
        if entry & ZEROS:
            yield number, 0
        elif place := place_of(entry):
            yield number, place


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="compress")


def _compress(layer: Qcow2Tables, clusters: list[tuple[int, int]], level: int) -> _Batch:
    batch = _Batch()
    for number, content in _contents(layer, clusters):
        if content == _NOTHING:
            batch.zeros.append(number)
        elif len(frame := compress(content, level)) < _WORTH:
            batch.compressed.append(number)
            batch.frames.append(frame)
        else:
            batch.plain.append(number)
            batch.plain_content.append(content)
    return batch


def _contents(layer: Qcow2Tables, clusters: list[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each cluster; what lies together is read at once."""
    begun = 0
    while begun < len(clusters):
        place, end = clusters[begun][1], begun + 1
        if not place:
            yield clusters[begun][0], _NOTHING
        else:
            while end < len(clusters) and clusters[end][1] == place + (end - begun) * CLUSTER:
                end += 1
            content = _read(layer, (end - begun) * CLUSTER, place)
            for at, (number, _place) in enumerate(clusters[begun:end]):
                yield number, content[at * CLUSTER : (at + 1) * CLUSTER]
        begun = end


def _read(layer: Qcow2Tables, length: int, place: int) -> bytes:
    parts, missing = [], length
    try:
        while missing and (
            part := os.pread(layer.file.fileno(), missing, place + length - missing)
        ):
            parts.append(part)
            missing -= len(part)
    except OSError as error:
        raise reading_failure(error, layer.path) from error
    if missing >= CLUSTER:
        raise SourceUnreadable(f"{layer.path} is cut off.")
    # QEMU does not write what lies behind the end of the disk.
    return b"".join(parts) + bytes(missing)
