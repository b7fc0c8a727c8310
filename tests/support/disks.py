"""Disk images with file systems in them, made without root."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

MIB = 1 << 20
_SECTOR = 512
_LINUX = 0x83


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


def ext_image(path: Path, tree: Path, size: int = 16 * MIB, kind: str = "ext4") -> None:
    """Make a raw image that holds a tree in an ext file system, without partitions."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    command = ["mke2fs", "-q", "-F", "-t", kind, "-d", str(tree), str(path), f"{size // 1024}k"]
    subprocess.run(command, check=True, env=environment)


def partitioned(path: Path, *parts: Path) -> None:
    """Make a raw image with a partition table and these file systems in its partitions."""
    table, data, start = bytearray(_SECTOR), b"", 2048
    for number, part in enumerate(parts):
        content = part.read_bytes()
        sectors = len(content) // _SECTOR
        entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", _LINUX, b"\xff\xff\xff", start, sectors)
        table[446 + 16 * number : 462 + 16 * number] = entry
        start += sectors
        data += content
    table[510:] = b"\x55\xaa"
    path.write_bytes(bytes(table) + bytes(2047 * _SECTOR) + data)
