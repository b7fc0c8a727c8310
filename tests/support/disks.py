"""Disk images with file systems in them, made without root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

MIB = 1 << 20
_SECTOR = 512


def sample_tree(folder: Path) -> dict[str, bytes]:
    """Make a small tree with awkward names; return the files' contents by their paths."""
    contents = {
        "hello.txt": b"hello\n",
        "etc/app.conf": b"answer = 42\n",
        "etc/deep/er/what? 100% #1.txt": b"odd\n",
        "etc/ümlaut & co.txt": "ü".encode(),
        "big.bin": os.urandom(3 * MIB + 17),
        "empty": b"",
    }
    for path, content in contents.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (folder / "loop").symlink_to(".")
    (folder / "passwd").symlink_to("../../../../../etc/passwd")
    return contents


def ext_image(
    path: Path, tree: Path, size: int = 16 * MIB, kind: str = "ext4", options: Sequence[str] = ()
) -> None:
    """Make a raw image that holds a tree in an ext file system, without partitions."""
    _run("mke2fs", "-q", "-F", "-t", kind, *options, "-d", tree, path, f"{size // 1024}k")


def set_ext_flags(path: Path, name: str, flags: int) -> None:
    """Set the flags of a file's inode in an ext image."""
    _run("debugfs", "-w", "-R", f'set_inode_field "/{name}" flags {flags:#x}', path)


def xfs_image(path: Path, tree: Path, *options: str, size: int = 64 * MIB) -> None:
    """Make a raw image that holds a tree in XFS. Its names must be without blanks and colons."""
    prototype = path.with_suffix(".prototype")
    lines = ["/", "0 0", "d--755 0 0", *_prototype(tree), "$"]
    prototype.write_text("\n".join(lines) + "\n")
    _sparse(path, size)
    # Below 300 MiB mkfs.xfs wants to hear that this is meant.
    _run("mkfs.xfs", "--unsupported", "-q", "-f", "-p", prototype, *options, path)


def btrfs_image(path: Path, tree: Path, *options: str, size: int = 256 * MIB) -> None:
    """Make a raw image that holds a tree in btrfs, with nothing compressed and no subvolumes."""
    _sparse(path, size)
    _run("mkfs.btrfs", "--quiet", "--rootdir", tree, *options, path)


def _prototype(folder: Path) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            yield f"{path.name} l--777 0 0 {path.readlink()}"
        elif path.is_dir():
            yield f"{path.name} d--755 0 0"
            yield from _prototype(path)
            yield "$"
        else:
            yield f"{path.name} ---644 0 0 {path}"


def ntfs_image(path: Path, files: dict[str, bytes], size: int = 32 * MIB) -> None:
    """Make a raw image that holds files, all in its topmost folder, in NTFS."""
    _sparse(path, size)
    _run("mkntfs", "-F", "-Q", "-q", path)
    source = path.with_suffix(".source")
    for name, content in files.items():
        source.write_bytes(content)
        _run("ntfscp", "-q", "-f", path, source, name)


def fat_image(path: Path, tree: Path, bits: int, size: int) -> None:
    """Make a raw image that holds a tree in FAT, without partitions."""
    _sparse(path, size)
    _run("mkfs.fat", "-F", str(bits), path)
    _run("mcopy", "-s", "-i", path, *sorted(tree.iterdir()), "::")


def partitioned(path: Path, *parts: Path, label: str = "dos") -> None:
    """Make a raw image with a partition table ("dos" or "gpt") and these in its partitions."""
    starts, end = [], 1 * MIB
    for part in parts:
        starts.append(end)
        end += -(-part.stat().st_size // MIB) * MIB
    _sparse(path, end + MIB)
    sizes = [part.stat().st_size // _SECTOR for part in parts]
    table = f"label: {label}\n" + "".join(
        f"start={start // _SECTOR}, size={size}\n"
        for start, size in zip(starts, sizes, strict=True)
    )
    _run("sfdisk", "--quiet", path, text=table)
    with path.open("r+b") as disk:
        for start, part in zip(starts, parts, strict=True):
            copy_sparsely(part, disk, start)


def copy_sparsely(source: Path, target: BinaryIO, start: int) -> None:
    """Write a file's content at an offset, without the zeros: most of an image is empty."""
    with source.open("rb") as file:
        for number, block in enumerate(iter(lambda: file.read(MIB), b"")):
            if block.strip(b"\0"):
                target.seek(start + number * MIB)
                target.write(block)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _run(program: str, *arguments: str | Path, text: str | None = None) -> None:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    # Names of files are given to mtools and ntfscp in the encoding of the locale.
    environment["LC_ALL"] = "C.UTF-8"
    command = [program, *map(os.fspath, arguments)]
    subprocess.run(
        command, check=True, env=environment, input=text, text=True, stdout=subprocess.DEVNULL
    )
