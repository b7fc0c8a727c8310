"""The ways to back a machine up that are compared. Each does a full, an increment and a restore."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

import libvirt

from benchmarks.data_plane.machine import Machine
from engine.vm.lab import as_user
from holdfast.engine.image import restore_image
from holdfast.engine.libvirt_backup import MachineResult, back_up_machine
from holdfast.engine.libvirt_connection import connected
from holdfast.engine.libvirt_work import MachinePlan
from holdfast.engine.libvirt_xml import backup_xml, checkpoint_xml
from holdfast.engine.qemu_image import Storing

_COMPRESSED = ["-c", "-o", "compression_type=zstd", "-W"]


class Contender(Protocol):
    """A way to back a machine up, into a folder that is empty at first."""

    name: str

    def full(self) -> None: ...

    def increment(self) -> None: ...

    def restore(self, target: Path) -> Path:
        """Restore the newest point to a raw or qcow2 file in an empty folder; return the file."""


class Copy:
    """`cp` of the disk's file, made durable: what the disk and the file system can do at all."""

    name = "cp"

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine, self._copy = machine, folder / "copy.qcow2"

    def full(self) -> None:
        copy_durably(self._machine.disk, self._copy)

    def increment(self) -> None:
        """There is none: all is copied again."""
        self.full()

    def restore(self, target: Path) -> Path:
        copy_durably(self._copy, target / "disk.qcow2")
        return target / "disk.qcow2"


class Bare:
    """The bare engine by hand: libvirt pushes, qemu-img compresses. No more is done than that."""

    name = "bare engine"

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine, self._folder = machine, folder
        self._points: list[Path] = []

    def full(self) -> None:
        self._point(None)

    def increment(self) -> None:
        self._point(self._points[-1])

    def restore(self, target: Path) -> Path:
        raw = target / "disk.raw"
        qemu_image("convert", "-f", "qcow2", "-O", "raw", self._points[-1], raw)
        synchronise(raw)
        return raw

    def _point(self, parent: Path | None) -> None:
        number = len(self._points)
        pushed, point = self._folder / "pushed", self._folder / f"{number}.qcow2"
        push(self._machine, pushed, f"bare{number}", f"bare{number - 1}" if parent else None)
        backing: list[object] = []
        if parent is not None:
            name = ["-b", parent, "-F", "qcow2"]
            qemu_image("rebase", "-u", "-f", "qcow2", *name, pushed)
            backing = ["-B", parent.name, "-F", "qcow2"]
        arguments = ["-f", "qcow2", "-O", "qcow2", *_COMPRESSED, *backing]
        qemu_image("convert", *arguments, pushed, point)
        synchronise(point)
        pushed.unlink()
        self._points.append(point)


class Holdfast:
    """Holdfast's engine, as the backup server calls it."""

    name = "Holdfast"
    storing = Storing()

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine, self._folder = machine, folder
        self._results: list[MachineResult] = []

    def full(self) -> None:
        asyncio.run(self._point(None))

    def increment(self) -> None:
        asyncio.run(self._point(self._results[-1]))
        rung = self._results[-1].rung
        assert rung == "changed blocks", rung

    def restore(self, target: Path) -> Path:
        raw = target / "disk.raw"
        disk = self._results[-1].point.disks[0]
        asyncio.run(restore_image(self._folder / disk.file.name, raw))
        return raw

    async def _point(self, parent: MachineResult | None) -> None:
        async with connected(self._machine.guest.host.uri) as connection:
            plan = MachinePlan(
                uuid=self._machine.guest.uuid,
                folder=self._folder,
                point=f"p{len(self._results)}",
                chain="benchmark",
                parent=None if parent is None else parent.point,
                storing=self.storing,
            )
            self._results.append(await back_up_machine(connection, plan))


class BarePush(Bare):
    """The bare engine, without compression: what libvirt pushes is the point."""

    name = "bare engine, not compressed"

    def _point(self, parent: Path | None) -> None:
        number = len(self._points)
        point = self._folder / f"{number}.qcow2"
        push(self._machine, point, f"bare{number}", f"bare{number - 1}" if parent else None)
        if parent is not None:
            qemu_image("rebase", "-u", "-f", "qcow2", "-b", parent, "-F", "qcow2", point)
        synchronise(point)
        self._points.append(point)


class HoldfastUncompressed(Holdfast):
    """Holdfast's engine for a job without compression."""

    name = "Holdfast, not compressed"
    storing = Storing(level=None)


class VirtNbdBackup:
    """virtnbdbackup, when it is installed, compressing with lz4."""

    name = "virtnbdbackup, lz4"
    compression: tuple[str, ...] = ("-z",)

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine, self._folder = machine, folder / "backup"

    @staticmethod
    def installed() -> bool:
        return shutil.which("virtnbdbackup") is not None

    def full(self) -> None:
        self._back_up("full")

    def increment(self) -> None:
        self._back_up("inc")

    def restore(self, target: Path) -> Path:
        self._run("virtnbdrestore", "-i", self._folder, "-o", target, "-a", "restore")
        [restored] = [path for path in target.iterdir() if path.suffix in (".qcow2", ".img", "")]
        synchronise(restored)
        return restored

    def _back_up(self, level: str) -> None:
        arguments = ["-d", self._machine.guest.name, "-l", level, "-n", "-o", self._folder]
        self._run("virtnbdbackup", *arguments, *self.compression)
        for path in self._folder.rglob("*"):
            synchronise(path)

    def _run(self, program: str, *arguments: object) -> None:
        # It takes no URI that names a socket, but looks where a user's daemon has its own.
        environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(self._machine.guest.host.folder / "run"),
        }
        command = [*as_user(), program, "-U", "qemu:///session", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")


class VirtNbdBackupUncompressed(VirtNbdBackup):
    """virtnbdbackup, as it is when nothing is said of compression."""

    name = "virtnbdbackup, not compressed"
    compression = ()


def push(machine: Machine, target: Path, checkpoint: str, parent: str | None) -> None:
    """Have libvirt push the disk, or what changed since a checkpoint, into a qcow2."""
    bases = {} if parent is None else {"vda": parent}
    domain: Any = machine.guest.domain
    new = checkpoint_xml(checkpoint, ["vda"], [])
    domain.backupBegin(backup_xml({"vda": target}, bases, []), new, 0)
    while domain.jobStats()["type"] != libvirt.VIR_DOMAIN_JOB_NONE:
        time.sleep(0.01)


def qemu_image(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True)


def copy_durably(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=auto", "--reflink=never", source, target], check=True)
    synchronise(target)


def synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
