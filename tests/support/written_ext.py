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

IMAGE = Path(__file__).with_suffix(".xz")
NAMES = names(2000)

_SPARSE = Pieces(step=3072, count=1400, length=1000)


def contents() -> dict[str, bytes]:
    """Return the files' contents by their names."""
    return {
        "sparse": _SPARSE.content(),
        "set aside": set_aside(),
        "far end": FAR_END,
        "hole at the end": b"begin" + bytes(1 << 20),
        "with attributes": b"short",
        **{f"inode{size}": told("inode", size, size) for size in (1, 60, 61, 100, 140)},
    }


def _fill(folder: Path) -> None:
    expected = contents()
    _SPARSE.write(folder / "sparse")
    write_set_aside(folder / "set aside")
    write_far_end(folder / "far end")
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
    make_links(folder)
    fill_folder(folder / "names", 2000)


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
