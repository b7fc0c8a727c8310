"""Which disk image is to be read, and whether reading it is safe.

The danger: whoever can write a disk's first bytes (the guest, on a raw disk) can make it look
like a qcow2 whose backing file is /etc/shadow, and would find that file's content in the backup.
The rules:

- The format given in the plan is taken as it is; "raw" is never looked into.
- Without a format, the qcow2 magic means qcow2 and everything else means raw. A qcow2 found in
  this way may name no other file: the format must be given for that.
- With the format given as qcow2, backing files are allowed inside the folder tree of the image,
  each with its format (raw or qcow2) in the header. No protocol names, no ``json:``.
- External data files and encrypted images are refused.
"""

import asyncio
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.errors import SourceMissing, SourceUnreadable
from holdfast.engine.failures import reading_failure
from holdfast.engine.qcow2_header import MAGIC, NotQcow2Error, Qcow2Header, has_magic, read_header

FORMATS = ("raw", "qcow2")
_SECTOR = 512
_LONGEST_CHAIN = 200
_PROTOCOL = re.compile(r"^[^/]*:")


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A disk image that may be read.

    ``virtual_size`` is in bytes, rounded up to a whole sector of 512, as QEMU shows it to a
    guest. ``files`` are all files that are read for it, the image first, links resolved.
    """

    format: str
    virtual_size: int
    backing: Path | None
    files: tuple[Path, ...]


async def inspect(source: Path, format: str | None = None) -> ImageInfo:
    """Given a disk image and, where it is known, its format, return what it is.

    Raise SourceMissing, or SourceUnreadable with the reason, when it must not be read.
    """
    if format is not None and format not in FORMATS:
        raise SourceUnreadable(
            f"The disk image {source} has the format {format}; only raw and qcow2 are supported."
        )
    return await asyncio.to_thread(_inspect, source, format)


def _inspect(source: Path, given_format: str | None) -> ImageInfo:
    image = _existing(source)
    try:
        chosen = given_format or _probe(image)
        if chosen == "raw":
            return ImageInfo("raw", _raw_size(image), None, (image,))
        header = _usable_header(image)
        if given_format is None and header.backing_name is not None:
            raise SourceUnreadable(
                f"The disk image {source} looks like a qcow2 on the backing file "
                f"{header.backing_name}. A guest can write that into a raw disk to read files of "
                "this host, so it is followed only when the format of the disk is given: set it "
                "to qcow2, or to raw."
            )
        backing = _backing_files(image, header)
        return ImageInfo("qcow2", header.virtual_size, next(iter(backing), None), (image, *backing))
    except OSError as error:
        raise reading_failure(error, source) from error


def _existing(path: Path) -> Path:
    """Return the resolved path of a regular file or block device that exists."""
    try:
        mode = path.stat().st_mode
        resolved = path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceMissing(f"The disk image {path} does not exist.") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, in Python 3.11
        raise SourceUnreadable(f"The disk image {path} cannot be read: {error}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise SourceUnreadable(f"{path} is neither a regular file nor a block device.")
    return resolved


def _probe(image: Path) -> str:
    with image.open("rb") as file:
        return "qcow2" if has_magic(file.read(len(MAGIC))) else "raw"


def _raw_size(image: Path) -> int:
    # Seeking, unlike stat, tells the size of a block device too.
    with image.open("rb", buffering=0) as file:
        return -(-file.seek(0, os.SEEK_END) // _SECTOR) * _SECTOR


def _usable_header(image: Path) -> Qcow2Header:
    try:
        header = read_header(image)
    except NotQcow2Error as error:
        raise SourceUnreadable(f"{image} is not a usable qcow2 image: {error}.") from error
    if header.encrypted:
        raise SourceUnreadable(f"The disk image {image} is encrypted; it cannot be read.")
    if header.external_data_file:
        raise SourceUnreadable(
            f"The disk image {image} keeps its data in another file, which is not supported."
        )
    return header


def _backing_files(image: Path, header: Qcow2Header) -> list[Path]:
    """Return the files under a qcow2, nearest first, each of them allowed."""
    tree = image.parent
    files: list[Path] = []
    current = image
    while header.backing_name is not None:
        if len(files) == _LONGEST_CHAIN:
            raise SourceUnreadable(f"{image} has more than {_LONGEST_CHAIN} backing files.")
        current_format = header.backing_format
        current = _allowed_backing(current, header.backing_name, tree)
        files.append(current)
        if current_format == "raw":
            break
        if current_format != "qcow2":
            raise SourceUnreadable(
                f"The backing file {current} of {image} has no known format in the header "
                f"({current_format}). Set it with: qemu-img rebase -u -F raw|qcow2."
            )
        header = _usable_header(current)
    return files


def _allowed_backing(image: Path, name: str, tree: Path) -> Path:
    if _PROTOCOL.match(name):
        raise SourceUnreadable(
            f"The disk image {image} is built on {name}, which is not a plain file."
        )
    backing = _existing(image.parent / name)
    if tree not in backing.parents:
        raise SourceUnreadable(
            f"The disk image {image} is built on {backing}, outside its own folder {tree}. "
            "Such a name could make a backup read any file of this host, so it is refused."
        )
    return backing
