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

from holdfast.engine.data_key import DataKey, lent
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    KeyRefused,
    SourceUnreadable,
    ToolFailed,
)
from holdfast.engine.failures import last_words, tool_failure
from holdfast.engine.image_node import Node, encrypted_node, name_of
from holdfast.engine.process import Completed, run
from holdfast.engine.qcow2_header import NotQcow2Error, read_header
from holdfast.engine.zstd import USUAL_LEVEL

FractionCallback = Callable[[float], None]

_PROGRESS = re.compile(r"\((\d+\.\d+)/100%\)")
_PARENT_AT_FAULT = re.compile(r"new backing file")
_INPUT_AT_FAULT = re.compile(r"error while reading|Could not open|Could not read", re.IGNORECASE)
_KEY_AT_FAULT = re.compile(
    r"Invalid password|'encrypt\.key-secret' is required|No secret with id|not be a valid secret"
)
# The most there can be. They read, decompress and write at the same time: of four threads that
# decompress, the most that QEMU has for a qcow2 file, none waits for what is read or written.
_COROUTINES = "16"
_CHECK_LEAKS_ONLY = 3
_LIMIT = "holdfast-limit"


@dataclass(frozen=True, slots=True)
class Storing:
    """How data is brought into a repository.

    It is compressed at one of `zstd.LEVELS`, or not at all. ``rate_limit``: at most so many bytes a
    second of a source are read; None for no limit. With a ``key`` the data is encrypted, and not
    compressed, whatever is said: QEMU cannot do both.
    """

    level: int | None = USUAL_LEVEL
    rate_limit: int | None = None
    key: DataKey | None = None

    @property
    def packed(self) -> bool:
        """Whether what QEMU writes is compressed after."""
        return self.level is not None and self.key is None


AS_USUAL = Storing()


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
    rate_limit: int | None = None,
    backing_name: str | None = None,
) -> list[str]:
    """Return the command that copies an image: ``source`` is a path, or a `layer_name`.

    At most ``rate_limit`` bytes a second are read. With ``backing_name``, a file in the target's
    folder, only the top layer of the source is copied: what the source takes from its own backing
    file is left to the target's.
    """
    # -W, writing out of order: what takes long to be read does not hold up the rest.
    arguments = ["qemu-img", "convert", "-p", "-W", "-m", _COROUTINES]
    arguments += ["-f", source_format, "-O", target_format]
    if rate_limit is not None:
        arguments += ["-r", str(rate_limit)]
    if backing_name is not None:
        arguments += ["-B", backing_name, "-F", "qcow2"]
    return [*arguments, os.fspath(source), os.fspath(target)]


def create_overlay_arguments(
    overlay: Path, backing: Path, backing_format: str, size: int | None = None
) -> list[str]:
    """Return the command that makes an empty qcow2 layer on an image.

    Given its ``size``, the image is not opened.
    """
    arguments = ["qemu-img", "create", "-q", "-f", "qcow2"]
    known = [] if size is None else ["-u"]
    arguments += [*known, "-b", os.fspath(backing), "-F", backing_format, os.fspath(overlay)]
    return arguments if size is None else [*arguments, str(size)]


def convert_encrypted_arguments(
    source: Sequence[str], target: Path, rate_limit: int | None = None
) -> list[str]:
    """Return the command that copies an image into an empty encrypted qcow2 of the same size.

    ``source`` is a format option and a path, or a name alone.
    """
    arguments = ["qemu-img", "convert", "-p", "-W", "-m", _COROUTINES, "-n", "--target-is-zero"]
    if rate_limit is not None:
        arguments += ["-r", str(rate_limit)]
    # The format of the target is told by its name.
    return [*arguments, "-O", "qcow2", *source, name_of(encrypted_node(target))]


def convert_from_encrypted_arguments(name: str, target: Path, target_format: str) -> list[str]:
    """Return the command that copies an image of this name of `image_node` to a plain one."""
    arguments = ["qemu-img", "convert", "-p", "-W", "-m", _COROUTINES, "-O", target_format]
    return [*arguments, name, os.fspath(target)]


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


def rebase_encrypted_arguments(
    overlay: str, backing_name: str, rate_limit: int | None = None
) -> list[str]:
    """As `rebase_arguments`, of a layer by its name, onto a disk that is served: raw."""
    arguments = ["qemu-img", "rebase", "-p", "-t", "unsafe"]
    if rate_limit is not None:
        arguments += ["--object", f"throttle-group,id={_LIMIT},x-bps-read={rate_limit}"]
    return [*arguments, "-b", backing_name, "-F", "raw", overlay]


def name_backing_arguments(layer: Path, backing: Path, *, encrypted: bool = False) -> list[str]:
    """Return the command that names another qcow2 as the backing file in a layer's header.

    Neither the old one nor the new one is opened, and no data is touched.
    """
    image = [name_of(encrypted_node(layer))] if encrypted else ["-f", "qcow2", os.fspath(layer)]
    arguments = ["qemu-img", "rebase", "-q", "-u"]
    return [*arguments, "-b", os.fspath(backing), "-F", "qcow2", *image]


def limited(node: Node) -> Node:
    """Return an image that is to be read slowly, for a command that is given a limit."""
    return {"driver": "throttle", "throttle-group": _LIMIT, "file": node}


def commit_arguments(increment: Path, name: str | None = None) -> list[str]:
    """Return the command that writes an increment's data into its backing file.

    -d leaves the increment as it is, so that this can be run again after any interruption. Of an
    encrypted one the ``name`` of `image_node` is needed, with its backing file.
    """
    image = ["-f", "qcow2", os.fspath(increment)] if name is None else [name]
    return ["qemu-img", "commit", "-p", "-d", *image]


async def run_qemu_image(
    arguments: Sequence[str],
    *,
    doing: str,
    writing: Path,
    on_fraction: FractionCallback | None = None,
    unreadable: type[EngineError] = SourceUnreadable,
    key: DataKey | None = None,
) -> None:
    """Run a qemu-img command; raise the engine error its failure means.

    ``doing`` is the phrase that the error begins with, ``writing`` the path written to, and
    ``unreadable`` the error to raise when the image that is read is at fault. ``key`` is that of
    the images that are encrypted.
    """
    on_line = None if on_fraction is None else progress_reader(on_fraction)
    completed = await _run(arguments, key, on_line)
    if completed.exit_code != 0:
        raise _failure(completed, doing, writing, unreadable)


async def _run(
    arguments: Sequence[str],
    key: DataKey | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    program, command, *rest = arguments
    with lent(key) as lending:
        return await run(
            [program, command, *lending.arguments, *rest],
            on_line=on_line,
            descriptors=lending.descriptors,
        )


def _failure(
    completed: Completed, doing: str, writing: Path, unreadable: type[EngineError]
) -> EngineError:
    if _KEY_AT_FAULT.search(completed.stderr):
        return key_refused(doing, missing="Invalid password" not in completed.stderr)
    # "New backing file" is the parent point in a rebase.
    if _PARENT_AT_FAULT.search(completed.stderr):
        return ChainBroken(f"{doing} failed, a parent cannot be read: {last_words(completed)}")
    failure = tool_failure(completed, doing=doing, writing=writing)
    if type(failure) is ToolFailed and _INPUT_AT_FAULT.search(completed.stderr):
        return unreadable(str(failure))
    return failure


def key_refused(doing: str, *, missing: bool) -> KeyRefused:
    """Return the error for a key that an encrypted image cannot be opened with."""
    why = "is encrypted, and no key for it is at hand" if missing else "needs another key"
    return KeyRefused(f"{doing} failed: the backup {why}.")


def progress_reader(on_fraction: FractionCallback) -> Callable[[str], None]:
    """Return what reads the lines of a qemu-img that tells its progress."""

    def read(line: str) -> None:
        if found := _PROGRESS.search(line):
            on_fraction(float(found[1]) / 100)

    return read


async def check_image(path: Path, key: DataKey | None = None) -> str | None:
    """Given a qcow2 file, return what is wrong with its structure, or None.

    Only the file's own tables are read, not its data, and not the files below it. Clusters that
    an interrupted command left unused are no fault. Raise ToolFailed when it could not be checked,
    KeyRefused when it is encrypted and ``key`` is not its key.
    """
    completed = await _run(["qemu-img", "check", "-q", *_alone(path)], key)
    if completed.exit_code in (0, _CHECK_LEAKS_ONLY):
        return None
    _ensure_checked(completed, path)
    return last_words(completed)


def _alone(path: Path) -> list[str]:
    """Return how a qcow2 file is named without the files below it."""
    try:
        if read_header(path).luks:
            return [name_of(encrypted_node(path))]
    except (OSError, NotQcow2Error):
        pass  # the command says what is wrong with it
    return ["-f", "qcow2", os.fspath(path)]


def _ensure_checked(completed: Completed, path: Path) -> None:
    if _KEY_AT_FAULT.search(completed.stderr):
        raise _failure(completed, f"Opening {path}", path, ChainBroken)
    # Killed, for want of memory perhaps: that says nothing of the file.
    if completed.exit_code < 0:
        raise tool_failure(completed, doing=f"Checking {path}", writing=path)


async def free_leaked_clusters(path: Path, key: DataKey | None = None) -> None:
    """Give back the clusters that an interrupted command left unused in a qcow2 file.

    Raise ChainBroken when the file is damaged, ToolFailed when it could not be checked.
    """
    completed = await _run(["qemu-img", "check", "-q", "-r", "leaks", *_alone(path)], key)
    if completed.exit_code != 0:
        _ensure_checked(completed, path)
        raise ChainBroken(f"The backup file {path} is damaged: {last_words(completed)}")


async def shrink_image(path: Path, size: int, key: DataKey | None = None) -> None:
    """Cut a qcow2 file's virtual size down to ``size`` bytes."""
    arguments = ["qemu-img", "resize", "-q", "--shrink", *_alone(path), str(size)]
    await run_qemu_image(arguments, doing=f"Shrinking {path}", writing=path, key=key)


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
