"""A guest that boots a real kernel, of which one program is all the rest.

``make tools`` puts the kernel's package, unpacked, into ``.venv/kernel``.
"""

from __future__ import annotations

import lzma
import os
import struct
import subprocess
import sys
from pathlib import Path

KERNEL = Path(os.environ.get("HOLDFAST_KERNEL", Path(sys.prefix) / "kernel"))
BLOCK = 4096
_STEP = 2053
_SOURCE = Path(__file__).with_name("writing_guest.c")


def kernel() -> Path:
    """Return the kernel's image."""
    [found] = (KERNEL / "boot").glob("vmlinuz-*")
    return found


def write_initrd(path: Path) -> None:
    """Write what the kernel boots into: the guest's program and the drivers of its disks."""
    program = path.with_suffix(".program")
    subprocess.run(["gcc", "-static", "-O2", "-o", program, _SOURCE], check=True)
    files = {"init": program.read_bytes()}
    for module in sorted(KERNEL.rglob("virtio*.ko*")):
        content = module.read_bytes()
        packed = module.suffix == ".xz"
        files[f"{module.name.split('.')[0]}.ko"] = lzma.decompress(content) if packed else content
    with path.open("wb") as archive:
        for number, (name, content) in enumerate(files.items(), start=1):
            archive.write(_entry(name, content, number, 0o100755))
        archive.write(_entry("TRAILER!!!", b"", 0, 0))


def _entry(name: str, content: bytes, number: int, mode: int) -> bytes:
    """Return an entry of a cpio archive of the form that Linux calls "newc"."""
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)


def newest_number(disk: bytes) -> int:
    """Given the disk that the guest counts on, return the number it had come to."""
    return max(number for (number,) in struct.iter_unpack(f"<Q{BLOCK - 8}x", disk))


def disk_at(number: int, size: int) -> bytes:
    """Return what is on the disk that the guest counts on, of so many bytes, at a number."""
    blocks = size // BLOCK
    content = bytearray(size)
    for n in range(max(number - blocks, 0) + 1, number + 1):
        start = n * _STEP % blocks * BLOCK
        content[start : start + BLOCK] = struct.pack("<Q", n) * (BLOCK // 8)
    return bytes(content)
