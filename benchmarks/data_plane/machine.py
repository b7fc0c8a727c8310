"""The machine that is backed up: one disk with data in it, on a libvirt daemon of its own."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import libvirt

from engine.vm.lab import Guest, Host, VirtualDisk

KIB, MIB = 1024, 1024 * 1024
TICK = 1 / os.sysconf("SC_CLK_TCK")
_PIECE = 64 * KIB
_TARGET = "vda"


@dataclass
class Machine:
    """A machine that stands still, paused; its disk is written through QEMU as a guest would."""

    guest: Guest
    data: int
    chance: random.Random

    @classmethod
    def make(cls, host: Host, name: str, base: Path, data: int) -> Machine:
        """Make a machine with a copy of the disk `base`, which holds `data` bytes."""
        path = base.with_name(f"{name}.qcow2")
        shutil.copyfile(base, path)
        guest = Guest(host, name, base.parent, libvirt.open(host.uri))
        guest.disks[_TARGET] = VirtualDisk(_TARGET, path, "qcow2", bytearray())
        guest.define()
        guest.start()
        # All machines draw the same, so that they always hold the same.
        return cls(guest, data, random.Random(4))

    def discard(self) -> None:
        """Take the machine and its disk away."""
        self.guest.discard()
        self.disk.unlink()

    @property
    def disk(self) -> Path:
        return self.guest.disks[_TARGET].path

    def change(self, share: float) -> int:
        """Write to a share of the data, in pieces of 64 KiB here and there; return the bytes."""
        pieces = self.chance.sample(range(self.data // _PIECE), int(self.data * share) // _PIECE)
        disk = self.guest.disks[_TARGET]
        disk.content = bytearray()
        for piece in pieces:
            self.guest.write(_TARGET, piece * _PIECE, _PIECE, self.chance.randrange(1, 256))
        return len(pieces) * _PIECE

    def read_by_qemu(self) -> int:
        """Return how many bytes the machine's QEMU has read from files so far."""
        return _read_by(self.guest.pid)


def read_by_us() -> int:
    """Return how many bytes this process, and the programs it has run, have read so far."""
    return _read_by(os.getpid())


def _read_by(pid: int) -> int:
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"])


def worked_by(pid: int) -> float:
    """Return the seconds that processors have worked for a process and the ended ones it ran."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:15])) * TICK


def write_disk(path: Path, size: int, data: int) -> None:
    """Write a qcow2 with `data` bytes in it: a half that compresses well, and one that does not."""
    chance = random.Random(5)
    words = [chance.randbytes(chance.randint(2, 9)).hex().encode() for _ in range(4000)]
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        while file.tell() < data:
            text = b" ".join(chance.choices(words, k=64 * KIB))[: MIB // 2]
            file.write(text.ljust(MIB // 2))
            file.write(chance.randbytes(MIB // 2))
        file.truncate(size)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    raw.unlink()
