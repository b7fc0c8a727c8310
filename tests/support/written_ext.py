"""An ext4 file system that Linux itself has written to: files in many pieces, with holes, with
space set aside, in inodes; a large folder with an index, from which names were deleted; in use.

`mke2fs` writes each file in one piece, so the image is kept (``written_ext.xz``). Run this module
as root to make it anew; tests only need the expected contents.
"""

from __future__ import annotations

import lzma
import os
import subprocess
import tempfile
from pathlib import Path

IMAGE = Path(__file__).with_suffix(".xz")
NAMES = [f"name-{number:04}-{'x' * (number % 60)}" for number in range(2000) if number % 3]
#: Past the year 2038, in milliseconds since 1970.
FAR_TIME = 5_000_000_000_123

_STEP = 3072
_PIECES = 1400
_SET_ASIDE = 300_000


def contents() -> dict[str, bytes]:
    """Return the files' contents by their names."""
    sparse = bytearray(_STEP * _PIECES)
    for number in range(_PIECES):
        sparse[number * _STEP : number * _STEP + 1000] = _text("sparse", number, 1000)
    set_aside = bytearray(_SET_ASIDE)
    set_aside[100_000:110_000] = _text("middle", 0, 10_000)
    return {
        "sparse": bytes(sparse),
        "set aside": bytes(set_aside),
        "far end": bytes(1 << 24) + b"end",
        "hole at the end": b"begin" + bytes(1 << 20),
        "with attributes": b"short",
        **{f"inode{size}": _text("inode", size, size) for size in (1, 60, 61, 100, 140)},
    }


def _text(name: str, number: int, length: int) -> bytes:
    return (f"{name} {number}\n".encode() * length)[:length]


def _fill(folder: Path) -> None:
    expected = contents()
    with (folder / "sparse").open("wb") as file:
        for number in range(_PIECES):
            file.seek(number * _STEP)
            file.write(_text("sparse", number, 1000))
        file.truncate(len(expected["sparse"]))
    with (folder / "set aside").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, _SET_ASIDE)
        file.seek(100_000)
        file.write(_text("middle", 0, 10_000))
    with (folder / "far end").open("wb") as file:
        file.seek(1 << 24)
        file.write(b"end")
    with (folder / "hole at the end").open("wb") as file:
        file.write(b"begin")
        file.truncate(5 + (1 << 20))
    for name in expected:
        if name.startswith("inode") or name == "with attributes":
            (folder / name).write_bytes(expected[name])
    os.setxattr(folder / "with attributes", "user.some", b"v" * 700)
    (folder / "folder in its inode").mkdir()
    for number in range(6):
        (folder / "folder in its inode" / f"file{number}").touch()
    os.utime(folder / "inode1", ns=(0, FAR_TIME * 1_000_000))
    Path(os.fsdecode(bytes(folder) + b"/inv\xff\xfelid")).touch()
    (folder / "short link").symlink_to("a")
    (folder / "long link").symlink_to("a/" * 400)
    os.mkfifo(folder / "pipe")
    (folder / "names").mkdir()
    for number in range(2000):
        (folder / "names" / f"name-{number:04}-{'x' * (number % 60)}").touch()
    for path in (folder / "names").iterdir():
        if path.name not in NAMES:
            path.unlink()


def main() -> None:
    """Make the image with mke2fs and a mount."""
    with tempfile.TemporaryDirectory() as place:
        image, folder = Path(place, "image"), Path(place, "folder")
        folder.mkdir()
        options = ["-q", "-b", "1024", "-I", "256", "-O", "inline_data,metadata_csum,64bit"]
        subprocess.run(["mke2fs", "-t", "ext4", *options, str(image), "16m"], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
        try:
            _fill(folder)
            os.sync()
            (folder / "names" / NAMES[0]).chmod(0o600)
            os.sync()
            content = image.read_bytes()  # while it is mounted
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        subprocess.run(["e2fsck", "-fn", str(image)], check=True)
        IMAGE.write_bytes(lzma.compress(content, preset=9))


if __name__ == "__main__":
    main()
