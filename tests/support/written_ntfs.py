"""An NTFS file system that was written to by a driver: files that are compressed, sparse, and in so
many pieces that their records do not hold the list; other streams; a folder from which names were
deleted; names that are no Unicode.

`ntfscp` writes each file in one piece, so the image is kept (``written_ntfs.xz``). Run this module
as root, with ntfs-3g, to make it anew; tests only need the expected contents.
"""

from __future__ import annotations

import lzma
import os
import random
import struct
import subprocess
import tempfile
from pathlib import Path

from support.written import Pieces, fill_folder, names

IMAGE = Path(__file__).with_suffix(".xz")
NAMES = names(900)
#: Names of the same length that differ in half of a character only.
HALVES = [b"half \xed\xa0\x80", b"half \xed\xa0\x81"]

_SPARSE = Pieces(step=8192, count=700, length=4096)
_COMPRESSED = 0x800


def contents() -> dict[str, bytes]:
    """Return the files' contents by their names, but for those of `HALVES`."""
    chance = random.Random(8)
    return {
        "sparse": _SPARSE.content(),
        "hole at the end": b"begin" + bytes(1 << 20),
        "with a stream": b"main",
        "🗄 ümlaut": b"name",
        "c/text": b"".join(b"line %d of many lines\n" % number for number in range(9000)),
        "c/random": chance.randbytes(50_001),
        "c/mixed": b"a" * 90_000 + chance.randbytes(30_000) + bytes(200_000) + b"end",
        "c/small": b"compressible " * 10,
    }


def _fill(folder: Path) -> None:
    expected = contents()
    (folder / "c").mkdir()
    os.setxattr(folder / "c", "system.ntfs_attrib_be", struct.pack(">I", _COMPRESSED | 0x10))
    _SPARSE.write(folder / "sparse")
    with (folder / "hole at the end").open("wb") as file:
        file.write(b"begin")
        file.truncate(5 + (1 << 20))
    with (folder / "hole of 5 GiB").open("wb") as file:
        file.seek(5 << 30)
        file.write(b"end")
    for name, content in expected.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(content)
    os.setxattr(folder / "with a stream", "user.other", b"another stream" * 100)
    for number, name in enumerate(HALVES):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_text(str(number))
    fill_folder(folder / "names", 900)


def main() -> None:
    """Make the image with mkntfs and a mount."""
    with tempfile.TemporaryDirectory() as place:
        image, folder = Path(place, "image"), Path(place, "folder")
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkntfs", "-F", "-Q", "-q", "-c", "4096", str(image)], check=True)
        options = "compression,streams_interface=xattr"
        subprocess.run(["ntfs-3g", "-o", options, str(image), str(folder)], check=True)
        try:
            _fill(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        IMAGE.write_bytes(lzma.compress(image.read_bytes(), preset=9))


if __name__ == "__main__":
    main()
