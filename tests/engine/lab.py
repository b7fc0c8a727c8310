"""What the engine's tests share: a disk that knows its bytes, programs seen from outside."""

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024
SOURCE = Path(__file__).resolve().parents[2] / "src"


@dataclass
class Disk:
    """A disk image of a machine, with the bytes it ought to hold kept beside it."""

    path: Path
    format: str
    content: bytearray
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    @property
    def size(self) -> int:
        return len(self.content)

    def command(self, *commands: str) -> None:
        arguments = [argument for command in commands for argument in ("-c", command)]
        subprocess.run(
            ["qemu-io", "-d", "unmap", "-f", self.format, *arguments, str(self.path)],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def write(self, offset: int, data: bytes) -> None:
        """Write data that does not compress, so that sizes can be compared."""
        self.content[offset : offset + len(data)] = data
        if self.format == "raw":
            with self.path.open("r+b") as file:
                file.seek(offset)
                file.write(data)
        else:
            payload = self.path.with_suffix(".payload")
            payload.write_bytes(data)
            self.command(f"write -q -s {payload} {offset} {len(data)}")
            payload.unlink()

    def write_randomly(self, length: int, *, sector: int = 4096) -> None:
        offset = self.chance.randrange(0, (self.size - length) // sector) * sector
        self.write(offset, self.chance.randbytes(length))

    def zero(self, offset: int, length: int) -> None:
        self.content[offset : offset + length] = bytes(length)
        self.command(f"write -q -z {offset} {length}")

    def discard(self, offset: int, length: int) -> None:
        self.content[offset : offset + length] = bytes(length)
        self.command(f"discard -q {offset} {length}")

    def resize(self, size: int) -> None:
        subprocess.run(
            ["qemu-img", "resize", "-q", "--shrink", "-f", self.format, self.path, str(size)],
            check=True,
        )
        kept = self.content[:size]
        self.content = kept + bytearray(size - len(kept))


@dataclass(frozen=True)
class Finished:
    exit_code: int
    output: str


def processes(name: str, mentioning: object) -> list[int]:
    """The processes of a program that have a text among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue  # it ended while we looked
        arguments = [os.fsdecode(argument) for argument in command]
        is_it = Path(arguments[0]).name == name and str(mentioning) in " ".join(arguments)
        if is_it and not zombie:
            found.append(int(entry.name))
    return found


def serves(path: Path) -> bool:
    """Given the path of a socket, say whether an NBD server answers there."""
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(path))
            return line.recv(8) == b"NBDMAGIC"
        except OSError:
            return False


def wait_until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.01)
