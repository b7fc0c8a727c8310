"""How qemu-img is called: the arguments of each command, and its progress read.

Paths that are given to qemu-img are absolute, or plain names without a colon: "a:b" would be
taken for a protocol.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.engine.errors import ChainBroken, EngineError, SourceUnreadable, ToolFailed
from holdfast.engine.failures import last_words, tool_failure
from holdfast.engine.process import Completed, run

FractionCallback = Callable[[float], None]

_PROGRESS = re.compile(r"\((\d+\.\d+)/100%\)")
_PARENT_AT_FAULT = re.compile(r"new backing file")
_INPUT_AT_FAULT = re.compile(r"error while reading|Could not open|Could not read", re.IGNORECASE)
_MOST_COROUTINES = 8
# zlib takes five times the processor time of zstd for the same size (data-plane.md).
_COMPRESSED = ("-c", "-o", "compression_type=zstd")
_CHECK_LEAKS_ONLY = 3
_LIMIT = "holdfast-limit"


@dataclass(frozen=True, slots=True)
class Storing:
    """How data is brought into a repository.

    ``rate_limit``: at most so many bytes a second of a source are read; None for no limit.
    """

    compressed: bool = True
    rate_limit: int | None = None


AS_USUAL = Storing()


class _Extent(msgspec.Struct):
    start: int
    length: int
    depth: int
    data: bool


class _Bitmap(msgspec.Struct):
    name: str


class _Data(msgspec.Struct):
    bitmaps: list[_Bitmap] = []


class _FormatSpecific(msgspec.Struct):
    data: _Data


class _Info(msgspec.Struct, rename="kebab"):
    format_specific: _FormatSpecific


def absolute(path: Path) -> Path:
    """Return the path from the root, which qemu-img can only take for a file."""
    return path.absolute()


def layer_name(layer: Path, backing: Path | None) -> str:
    """Return the name that opens a qcow2 layer on ``backing``, another, whatever its header says.

    None opens the layer alone: what it does not hold reads as zeros.
    """
    node = {**_node(layer), "backing": None if backing is None else _node(backing)}
    return f"json:{msgspec.json.encode(node).decode()}"


def _node(path: Path) -> dict[str, object]:
    return {"driver": "qcow2", "file": {"driver": "file", "filename": os.fspath(absolute(path))}}


def convert_arguments(
    source: Path | str,
    target: Path,
    *,
    source_format: str,
    target_format: str,
    storing: Storing = Storing(compressed=False),
    backing_name: str | None = None,
) -> list[str]:
    """Return the command that copies an image: ``source`` is a path, or a `layer_name`.

    With ``backing_name``, a file in the target's folder, only the top layer of the source is
    copied: what the source takes from its own backing file is left to the target's.
    """
    # -W, writing out of order, lets several clusters be compressed at once.
    workers = str(min(max(os.cpu_count() or 1, 1), _MOST_COROUTINES))
    arguments = ["qemu-img", "convert", "-p", "-W", "-m", workers]
    arguments += ["-f", source_format, "-O", target_format]
    if storing.compressed:
        arguments += _COMPRESSED
    if storing.rate_limit is not None:
        arguments += ["-r", str(storing.rate_limit)]
    if backing_name is not None:
        arguments += ["-B", backing_name, "-F", "qcow2"]
    return [*arguments, os.fspath(source), os.fspath(target)]


def create_overlay_arguments(overlay: Path, backing: Path, backing_format: str) -> list[str]:
    """Return the command that makes an empty qcow2 layer on an image."""
    arguments = ["qemu-img", "create", "-q", "-f", "qcow2"]
    return [*arguments, "-b", os.fspath(backing), "-F", backing_format, os.fspath(overlay)]


def create_arguments(image: Path, size: int) -> list[str]:
    """Return the command that makes an empty qcow2 of ``size`` bytes."""
    return ["qemu-img", "create", "-q", "-f", "qcow2", os.fspath(image), str(size)]


def create_limited_overlay_arguments(
    overlay: Path, backing: Path, backing_format: str, size: int
) -> list[str]:
    """As `create_overlay_arguments`, for an image of ``size`` bytes that is to be read slowly.

    Only a command that is given a limit can open the layer then; see `rebase_arguments`.
    """
    file = {"driver": "file", "filename": os.fspath(backing)}
    node = {
        "driver": "throttle",
        "throttle-group": _LIMIT,
        "file": {"driver": backing_format, "file": file},
    }
    # Not opened here (-u): there is no such group.
    arguments = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "throttle"]
    name = f"json:{msgspec.json.encode(node).decode()}"
    return [*arguments, "-b", name, os.fspath(overlay), str(size)]


def rebase_arguments(overlay: Path, backing_name: str, rate_limit: int | None = None) -> list[str]:
    """Return the command that moves a layer onto another backing file without changing its data.

    It reads the old and the new backing file and writes what differs into the layer. With a
    ``rate_limit``, a layer of `create_limited_overlay_arguments` reads so many bytes a second.
    """
    # "unsafe" (no flushes): the layer is a temporary, made again after any failure.
    arguments = ["qemu-img", "rebase", "-p", "-t", "unsafe", "-f", "qcow2"]
    if rate_limit is not None:
        arguments += ["--object", f"throttle-group,id={_LIMIT},x-bps-read={rate_limit}"]
    return [*arguments, "-b", backing_name, "-F", "qcow2", os.fspath(overlay)]


def name_backing_arguments(layer: Path, backing: Path) -> list[str]:
    """Return the command that names another qcow2 as the backing file in a layer's header.

    Neither the old one nor the new one is opened, and no data is touched.
    """
    arguments = ["qemu-img", "rebase", "-q", "-u", "-f", "qcow2"]
    return [*arguments, "-b", os.fspath(backing), "-F", "qcow2", os.fspath(layer)]


def commit_arguments(increment: Path) -> list[str]:
    """Return the command that writes an increment's data into its backing file.

    -d leaves the increment as it is, so that this can be run again after any interruption.
    """
    return ["qemu-img", "commit", "-p", "-d", "-f", "qcow2", os.fspath(increment)]


async def run_qemu_image(
    arguments: Sequence[str],
    *,
    doing: str,
    writing: Path,
    on_fraction: FractionCallback | None = None,
    unreadable: type[EngineError] = SourceUnreadable,
) -> None:
    """Run a qemu-img command; raise the engine error its failure means.

    ``doing`` is the phrase that the error begins with, ``writing`` the path written to, and
    ``unreadable`` the error to raise when the image that is read is at fault.
    """
    on_line = None if on_fraction is None else progress_reader(on_fraction)
    completed = await run(arguments, on_line=on_line)
    if completed.exit_code != 0:
        raise _failure(completed, doing, writing, unreadable)


def _failure(
    completed: Completed, doing: str, writing: Path, unreadable: type[EngineError]
) -> EngineError:
    # "New backing file" is the parent point in a rebase.
    if _PARENT_AT_FAULT.search(completed.stderr):
        return ChainBroken(f"{doing} failed, a parent cannot be read: {last_words(completed)}")
    failure = tool_failure(completed, doing=doing, writing=writing)
    if type(failure) is ToolFailed and _INPUT_AT_FAULT.search(completed.stderr):
        return unreadable(str(failure))
    return failure


def progress_reader(on_fraction: FractionCallback) -> Callable[[str], None]:
    """Return what reads the lines of a qemu-img that tells its progress."""

    def read(line: str) -> None:
        if found := _PROGRESS.search(line):
            on_fraction(float(found[1]) / 100)

    return read


async def check_image(path: Path) -> str | None:
    """Given a qcow2 file, return what is wrong with its structure, or None.

    Only the file's own tables are read, not its data, and not the files below it. Clusters that
    an interrupted command left unused are no fault. Raise ToolFailed when it could not be checked.
    """
    completed = await run(["qemu-img", "check", "-q", "-f", "qcow2", layer_name(path, None)])
    if completed.exit_code in (0, _CHECK_LEAKS_ONLY):
        return None
    _ensure_checked(completed, path)
    return last_words(completed)


def _ensure_checked(completed: Completed, path: Path) -> None:
    # Killed, for want of memory perhaps: that says nothing of the file.
    if completed.exit_code < 0:
        raise tool_failure(completed, doing=f"Checking {path}", writing=path)


async def free_leaked_clusters(path: Path) -> None:
    """Give back the clusters that an interrupted command left unused in a qcow2 file.

    Raise ChainBroken when the file is damaged, ToolFailed when it could not be checked.
    """
    arguments = ["qemu-img", "check", "-q", "-f", "qcow2", "-r", "leaks", os.fspath(path)]
    completed = await run(arguments)
    if completed.exit_code != 0:
        _ensure_checked(completed, path)
        raise ChainBroken(f"The backup file {path} is damaged: {last_words(completed)}")


async def shrink_image(path: Path, size: int) -> None:
    """Cut a qcow2 file's virtual size down to ``size`` bytes."""
    arguments = ["qemu-img", "resize", "-q", "-f", "qcow2", "--shrink", os.fspath(path), str(size)]
    await run_qemu_image(arguments, doing=f"Shrinking {path}", writing=path)


async def bitmaps_of(path: Path) -> list[str]:
    """Given a qcow2 file that nobody has open, return the names of the bitmaps stored in it.

    Raise ToolFailed or ImageInUse.
    """
    completed = await run(["qemu-img", "info", "--output=json", "-f", "qcow2", os.fspath(path)])
    if completed.exit_code != 0:
        raise tool_failure(completed, doing=f"Reading {path}", writing=path)
    info = msgspec.json.decode(completed.stdout, type=_Info)
    return [bitmap.name for bitmap in info.format_specific.data.bitmaps]


async def remove_bitmap(path: Path, name: str) -> None:
    """Remove a bitmap from a qcow2 file that nobody has open; raise ToolFailed or ImageInUse."""
    arguments = ["qemu-img", "bitmap", "--remove", "-f", "qcow2", os.fspath(path), name]
    await run_qemu_image(arguments, doing=f"Removing a bitmap of {path}", writing=path)


async def stored_data_size(path: Path) -> int:
    """Given a qcow2 file, return the bytes of disk data in the file itself, before compression.

    Counted in clusters of 64 KiB. Zeroed areas and what the files below hold do not count.
    """
    total = 0

    def add(line: str) -> None:
        # One extent a line, inside a JSON list: read line by line, since a fragmented disk has
        # millions of them.
        nonlocal total
        extent = line.strip().strip("[],")
        if extent.startswith("{"):
            decoded = msgspec.json.decode(extent, type=_Extent)
            total += decoded.length if decoded.data and decoded.depth == 0 else 0

    arguments = ["qemu-img", "map", "--output=json", "-f", "qcow2", layer_name(path, None)]
    completed = await run(arguments, on_line=add)
    if completed.exit_code != 0:
        raise _failure(completed, f"Reading {path}", path, ChainBroken)
    return total
