"""What the kept images of file systems, each written to by its driver, have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: Past the year 2038, in milliseconds since 1970.
FAR_TIME = 5_000_000_000_123
FAR_END = bytes(1 << 24) + b"end"

_SET_ASIDE = 300_000
_MIDDLE = 100_000


def told(name: str, number: int, length: int) -> bytes:
    """Return text that tells where it belongs."""
    return (f"{name} {number}\n".encode() * length)[:length]


@dataclass(frozen=True)
class Pieces:
    """A file with a piece of that length in each step, and a hole behind it. Sizes in bytes."""

    step: int
    count: int
    length: int

    def content(self) -> bytes:
        """Return what is read of the file."""
        return b"".join(
            told("sparse", number, self.length).ljust(self.step, b"\0")
            for number in range(self.count)
        )

    def write(self, path: Path) -> None:
        """Write the pieces alone."""
        with path.open("wb") as file:
            for number in range(self.count):
                file.seek(number * self.step)
                file.write(told("sparse", number, self.length))
            file.truncate(self.step * self.count)


def set_aside() -> bytes:
    """Return what is read of a file with space set aside, and little written."""
    begin = bytes(_MIDDLE) + told("middle", 0, 10_000)
    return begin.ljust(_SET_ASIDE, b"\0")


def write_set_aside(path: Path) -> None:
    """Set the space aside, and write the little."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, _SET_ASIDE)
        file.seek(_MIDDLE)
        file.write(told("middle", 0, 10_000))


def write_far_end(path: Path) -> None:
    """Write a file with `FAR_END`, of which all but the end is a hole."""
    with path.open("wb") as file:
        file.seek(1 << 24)
        file.write(b"end")


def names(count: int) -> list[str]:
    """Return the names that are left when every third of so many was deleted."""
    return [_name(number) for number in range(count) if number % 3]


def fill_folder(folder: Path, count: int) -> None:
    """Make a folder with so many files, and delete every third."""
    folder.mkdir()
    for number in range(count):
        (folder / _name(number)).touch()
    left = set(names(count))
    for path in folder.iterdir():
        if path.name not in left:
            path.unlink()


def make_links(folder: Path) -> None:
    """Make links, a short and a long one, and a pipe."""
    (folder / "short link").symlink_to("a")
    (folder / "long link").symlink_to("a/" * 400)
    os.mkfifo(folder / "pipe")


def _name(number: int) -> str:
    return f"name-{number:04}-{'x' * (number % 60)}"
