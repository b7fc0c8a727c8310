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
NAMES = names(900)

_SPARSE = Pieces(step=3072, count=1400, length=1000)
_SHARE = 0x40049409  # FICLONE


def contents() -> dict[str, bytes]:
    """Return the files' contents by their names."""
    in_turn = {
        name: b"".join(told(name, number, 4096) for number in range(60)) for name in ("a", "b")
    }
    return {
        "sparse": _SPARSE.content(),
        "set aside": set_aside(),
        "far end": FAR_END,
        "shared": in_turn["a"],
        "odd\\\n name": b"odd",
        **in_turn,
    }


def _fill(folder: Path) -> None:
    _SPARSE.write(folder / "sparse")
    write_set_aside(folder / "set aside")
    write_far_end(folder / "far end")
    with (folder / "a").open("wb") as one, (folder / "b").open("wb") as other:
        for number in range(60):
            for file in (one, other):
                file.write(told(Path(file.name).name, number, 4096))
                file.flush()
                os.fsync(file.fileno())
    with (folder / "a").open("rb") as source, (folder / "shared").open("wb") as target:
        fcntl.ioctl(target, _SHARE, source.fileno())
    (folder / "odd\\\n name").write_bytes(b"odd")
    os.utime(folder / "odd\\\n name", ns=(0, FAR_TIME * 1_000_000))
    make_links(folder)
    fill_folder(folder / "names", 900)


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
