"""Logs of XFS as Linux leaves them: of a file system that is in use, frozen, and unmounted; before
and after the log has gone round.

Run this module as root to make them anew (``written_logs.tar.xz``). Only what tells whether a log
is in use is kept: the first bytes of each block, and the last records whole.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

ARCHIVE = Path(__file__).with_suffix(".tar.xz")
#: By name, whether the log must be replayed.
IN_USE = {
    f"{state} {rounds}": state in ("changed", "synced")
    for rounds in ("once", "round")
    for state in ("changed", "synced", "frozen", "unmounted")
}

_BLOCK = 512
_MAGIC = struct.pack(">I", 0xFEEDBABE)
_LAST_RECORDS = 12
_LONGEST = 70  # blocks of a record


def logs() -> dict[str, bytes]:
    """Return the logs by their names."""
    found = {}
    with tarfile.open(ARCHIVE) as archive:
        for name in IN_USE:
            source = archive.extractfile(name)
            assert source is not None
            found[name] = source.read()
    return found


def _log(image: Path) -> bytes:
    content = image.read_bytes()
    (size,), (start,) = struct.unpack_from(">I", content, 4), struct.unpack_from(">Q", content, 48)
    (of_group,), (count,) = (struct.unpack_from(">I", content, at) for at in (84, 96))
    group, inside = start >> content[124], start & ((1 << content[124]) - 1)
    place = (group * of_group + inside) * size
    return _told(content[place : place + count * size])


def _told(log: bytes) -> bytes:
    blocks = [log[at : at + _BLOCK] for at in range(0, len(log), _BLOCK)]
    # By the number that a record bears: its round, and its place in that.
    heads = {
        block[16:24]: number for number, block in enumerate(blocks) if block.startswith(_MAGIC)
    }
    kept = {
        number + after
        for mark in sorted(heads)[-_LAST_RECORDS:]
        for number in [heads[mark]]
        for after in range(_LONGEST)
    }
    return b"".join(
        block if number in kept else block[:8].ljust(_BLOCK, b"\0")
        for number, block in enumerate(blocks)
    )


def _states(image: Path, folder: Path, keep: Callable[[str], None], rounds: int) -> None:
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    try:
        for turn in range(rounds):
            for number in range(400):
                (folder / f"{turn}-{number}-{'x' * 200}").touch()
            os.sync()
            for path in folder.iterdir():
                path.unlink()
        for number in range(50):
            (folder / f"file{number}").write_text(str(number))
        os.sync()
        keep("synced")
        subprocess.run(["fsfreeze", "--freeze", str(folder)], check=True)
        keep("frozen")
        subprocess.run(["fsfreeze", "--unfreeze", str(folder)], check=True)
        with (folder / "file1").open("w") as file:
            file.write("changed")
            file.flush()
            os.fsync(file.fileno())
        keep("changed")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    keep("unmounted")


def main() -> None:
    """Make the logs with mkfs.xfs and a mount."""
    with tempfile.TemporaryDirectory() as place, tarfile.open(ARCHIVE, "w:xz") as archive:
        image, folder = Path(place, "image"), Path(place, "folder")
        folder.mkdir()
        for name, rounds in (("once", 0), ("round", 40)):
            image.unlink(missing_ok=True)
            with image.open("wb") as file:
                file.truncate(64 << 20)
            options = ["--unsupported", "-q", "-l", "size=6m"]
            subprocess.run(["mkfs.xfs", *options, str(image)], check=True)

            def keep(state: str, name: str = name) -> None:
                content = _log(image)
                entry = tarfile.TarInfo(f"{state} {name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))

            _states(image, folder, keep, rounds)


if __name__ == "__main__":
    main()
