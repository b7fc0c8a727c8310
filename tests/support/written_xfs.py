"""An XFS file system that Linux itself has written to: files in many pieces, with holes, with
space set aside, shared between files; a folder from which names were deleted.

`mkfs.xfs` writes each file in one piece, so the image is kept (``written_xfs.xz``). Run this module
as root to make it anew; tests only need the expected contents.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import subprocess
import tempfile
from pathlib import Path

IMAGE = Path(__file__).with_suffix(".xz")
NAMES = [f"name-{number:04}-{'x' * (number % 60)}" for number in range(900) if number % 3]
#: Past the year 2038, in milliseconds since 1970.
FAR_TIME = 5_000_000_000_123

_STEP = 3072
_PIECES = 1400
_SET_ASIDE = 300_000
_SHARE = 0x40049409  # FICLONE


def contents() -> dict[str, bytes]:
    """Return the files' contents by their names."""
    sparse = bytearray(_STEP * _PIECES)
    for number in range(_PIECES):
        sparse[number * _STEP : number * _STEP + 1000] = _text("sparse", number, 1000)
    set_aside = bytearray(_SET_ASIDE)
    set_aside[100_000:110_000] = _text("middle", 0, 10_000)
    far = bytes(1 << 24) + b"end"
    in_turn = {
        name: b"".join(_text(name, number, 4096) for number in range(60)) for name in ("a", "b")
    }
    return {
        "sparse": bytes(sparse),
        "set aside": bytes(set_aside),
        "far end": far,
        "shared": in_turn["a"],
        "odd\\\n name": b"odd",
        **in_turn,
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
    with (folder / "a").open("wb") as one, (folder / "b").open("wb") as other:
        for number in range(60):
            for file in (one, other):
                file.write(_text(Path(file.name).name, number, 4096))
                file.flush()
                os.fsync(file.fileno())
    with (folder / "a").open("rb") as source, (folder / "shared").open("wb") as target:
        fcntl.ioctl(target, _SHARE, source.fileno())
    (folder / "odd\\\n name").write_bytes(b"odd")
    os.utime(folder / "odd\\\n name", ns=(0, FAR_TIME * 1_000_000))
    (folder / "short link").symlink_to("a")
    (folder / "long link").symlink_to("a/" * 400)
    os.mkfifo(folder / "pipe")
    (folder / "names").mkdir()
    for number in range(900):
        (folder / "names" / f"name-{number:04}-{'x' * (number % 60)}").touch()
    for path in (folder / "names").iterdir():
        if path.name not in NAMES:
            path.unlink()


def main() -> None:
    """Make the image with mkfs.xfs and a mount."""
    with tempfile.TemporaryDirectory() as place:
        image, folder = Path(place, "image"), Path(place, "folder")
        folder.mkdir()
        options = ["--unsupported", "-b", "size=1024", "-d", "agcount=2"]
        options += ["-i", "nrext64=1", "-m", "bigtime=1,reflink=1", "-q"]
        with image.open("wb") as file:
            file.truncate(32 << 20)
        subprocess.run(["mkfs.xfs", *options, str(image)], check=True)
        mount = ["mount", "-o", "loop,allocsize=4096", str(image), str(folder)]
        subprocess.run(mount, check=True)
        try:
            _fill(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        subprocess.run(["xfs_repair", "-n", str(image)], check=True)
        IMAGE.write_bytes(lzma.compress(image.read_bytes(), preset=9))


if __name__ == "__main__":
    main()
