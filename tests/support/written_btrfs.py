"""btrfs file systems that Linux itself has written to: files in many pieces, compressed in every
way, with holes, with space set aside, shared; subvolumes and snapshots; on one disk and on several.

`mkfs.btrfs` can do nothing of this, so the images are kept (``written_btrfs.tar.xz``). Run this
module as root to make them anew; tests only need the expected contents.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from support.written import (
    FAR_END,
    FAR_TIME,
    Pieces,
    fill_folder,
    make_links,
    names,
    set_aside,
    told,
    write_far_end,
    write_set_aside,
)

ARCHIVE = Path(__file__).with_suffix(".tar.xz")
NAMES = names(900)
COMPRESSIONS = ("zlib", "lzo", "zstd")

_MIB = 1 << 20
_SPARSE = Pieces(step=12288, count=700, length=1000)
_BLOCK = 4096
_SHARE = 0x40049409  # FICLONE
_SHARE_PART = 0x4020940D  # FICLONERANGE


@dataclass(frozen=True)
class Images:
    """Disks with one file system: how it is made, and how large each of them is."""

    disks: tuple[str, ...]
    options: str
    size: int


ONE = Images(("one",), "--nodesize 4096 --metadata dup", 128 * _MIB)
TWO = Images(("two-a", "two-b"), "--csum xxhash --metadata raid1 --data raid0", 136 * _MIB)
FOUR = Images(
    ("four-a", "four-b", "four-c", "four-d"),
    "--csum blake2 --metadata raid1c3 --data raid10",
    136 * _MIB,
)


def unpack(images: Images, folder: Path) -> list[Path]:
    """Write the disks of a file system, sparse, to a folder; return their paths."""
    with tarfile.open(ARCHIVE) as archive:
        for disk in images.disks:
            source = archive.extractfile(disk)
            assert source is not None
            with (folder / disk).open("wb") as target:
                for number, block in enumerate(iter(partial(source.read, _MIB), b"")):
                    if block.strip(b"\0"):
                        target.seek(number * _MIB)
                        target.write(block)
                target.truncate(images.size)
    return [folder / disk for disk in images.disks]


def contents() -> dict[str, bytes]:
    """Return the files' contents on one disk by their paths."""
    found = {
        "sparse": _SPARSE.content(),
        "set aside": set_aside(),
        "far end": FAR_END,
        "a": lines("a", 300_000),
        "shared": lines("a", 300_000),
        "odd\\\n name": b"odd",
        "empty": b"",
        "small": b"small",
        "sub/first": b"changed since",
        "sub/second": b"new",
        "sub/inner/deep": b"deep",
        "sub/inner/deeper/deepest": b"deepest",
        "snapshots/1/first": b"as it was",
        "default/etc/hostname": b"guest",
    }
    for name in COMPRESSIONS:
        text = lines(name, 700_000)
        overwritten = bytearray(text)
        overwritten[200_000:205_000] = told("over", 0, 5000)
        found[f"{name}/text"] = text
        found[f"{name}/overwritten"] = bytes(overwritten)
        found[f"{name}/small"] = told(name, 0, 1900)
        found[f"{name}/part"] = bytes(_BLOCK) + text[40 * _BLOCK : 50 * _BLOCK]
        found[f"{name}/zeros"] = bytes(3 * _MIB)
        found[f"{name}/sudden"] = _sudden(name)
    return found


def on_several() -> dict[str, bytes]:
    """Return the files' contents on two and on four disks."""
    return {"large": lines("large", 3 * _MIB + 17), "small": b"small"}


def lines(name: str, length: int) -> bytes:
    """Return text of which every line is another, so that nothing can be in the wrong place."""
    text = "".join(f"{name} {number}\n" for number in range(length // (len(name) + 2)))
    return text.encode()[:length]


def _sudden(name: str) -> bytes:
    """Return what is easy to compress in some places and hard in others, in turn."""
    hard = struct.pack("<40000I", *(number * 2654435761 % (1 << 32) for number in range(40000)))
    return b"".join(hard[at : at + 9000] + told(name, at, 9000) for at in range(0, 60000, 9000))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _fill_one(folder: Path) -> None:
    expected = contents()
    _SPARSE.write(folder / "sparse")
    write_set_aside(folder / "set aside")
    write_far_end(folder / "far end")
    for name in ("a", "empty", "small", "odd\\\n name"):
        _write(folder / name, expected[name])
    with (folder / "a").open("rb") as source, (folder / "shared").open("wb") as target:
        fcntl.ioctl(target, _SHARE, source.fileno())
    os.utime(folder / "odd\\\n name", ns=(0, FAR_TIME * 1_000_000))
    make_links(folder)
    fill_folder(folder / "names", 900)
    _fill_subvolumes(folder)
    for name in COMPRESSIONS:
        _btrfs("filesystem", "sync", folder)
        subprocess.run(["mount", "-o", f"remount,compress-force={name}", folder], check=True)
        _fill_compressed(folder / name, name)


def _fill_compressed(folder: Path, name: str) -> None:
    expected = contents()
    for file in ("text", "small", "zeros", "sudden"):
        _write(folder / file, expected[f"{name}/{file}"])
    _write(folder / "overwritten", expected[f"{name}/text"])
    with (folder / "overwritten").open("r+b") as file:
        file.seek(200_000)
        file.write(told("over", 0, 5000))
    with (folder / "text").open("rb") as source, (folder / "part").open("wb") as target:
        part = (source.fileno(), 40 * _BLOCK, 10 * _BLOCK, _BLOCK)
        fcntl.ioctl(target, _SHARE_PART, struct.pack("<qQQQ", *part))


def _fill_subvolumes(folder: Path) -> None:
    for name in ("sub", "sub/inner", "gone", "default"):
        _btrfs("subvolume", "create", folder / name)
    (folder / "sub/first").write_bytes(b"as it was")
    _write(folder / "sub/inner/deep", b"deep")
    _write(folder / "sub/inner/deeper/deepest", b"deepest")
    (folder / "snapshots").mkdir()
    _btrfs("subvolume", "snapshot", "-r", folder / "sub", folder / "snapshots/1")
    (folder / "sub/first").write_bytes(b"changed since")
    (folder / "sub/second").write_bytes(b"new")
    (folder / "gone/lost").write_bytes(b"lost")
    _btrfs("subvolume", "delete", "--commit-each", folder / "gone")
    _write(folder / "default/etc/hostname", b"guest")
    _btrfs("subvolume", "set-default", folder / "default")


def _fill_several(folder: Path) -> None:
    for name, content in on_several().items():
        _write(folder / name, content)


def _btrfs(*arguments: str | Path) -> None:
    subprocess.run(["btrfs", "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _mounted(disks: Sequence[Path]) -> Iterator[Path]:
    """Mount a file system of several disks, and take it away again."""
    loops = []
    try:
        for disk in disks:
            command = ["losetup", "--find", "--show", disk]
            loops.append(subprocess.check_output(command, text=True).strip())
        subprocess.run(["btrfs", "device", "scan", *loops], check=True, stdout=subprocess.DEVNULL)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["mount", "-t", "btrfs", loops[0], folder], check=True)
            try:
                yield Path(folder)
            finally:
                subprocess.run(["umount", folder], check=True)
        subprocess.run(["btrfs", "check", loops[0]], check=True, stdout=subprocess.DEVNULL)
    finally:
        subprocess.run(["btrfs", "device", "scan", "--forget"], check=True)
        for loop in loops:
            subprocess.run(["losetup", "--detach", loop], check=True)


def main() -> None:
    """Make the images with mkfs.btrfs and mounts."""
    with tempfile.TemporaryDirectory() as place:
        names: list[str] = []
        for images in (ONE, TWO, FOUR):
            disks = [Path(place, name) for name in images.disks]
            names += images.disks
            for disk in disks:
                with disk.open("wb") as file:
                    file.truncate(images.size)
            subprocess.run(["mkfs.btrfs", "-q", *images.options.split(), *disks], check=True)
            with _mounted(disks) as folder:
                (_fill_one if images is ONE else _fill_several)(folder)
            for disk in disks:
                subprocess.run(["fallocate", "--dig-holes", disk], check=True)
        command = ["tar", "--sparse", "--owner=0", "--group=0", "-C", place]
        subprocess.run([*command, "-cJf", ARCHIVE, *names], check=True)


if __name__ == "__main__":
    main()
