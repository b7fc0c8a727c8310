"""What is known of a machine's restore point: plain values, to be kept and given back.

A point is a set of files in one folder. File names are given without the folder, so that a
repository can be moved.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.libvirt_ladder import DiskState, Rung


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a point; its SHA-256 in hexadecimal."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class DiskPoint:
    """One disk of a point.

    ``state`` is what identified the disk at that time. Sizes in bytes; ``data_size`` is what was
    moved, before compression. ``incremental`` says whether ``file`` is built on the parent point's
    file for this disk. ``reason`` says why ``rung`` is not the first, or is None.
    """

    state: DiskState
    file: StoredFile
    file_size: int
    data_size: int
    incremental: bool
    rung: Rung
    reason: str | None


@dataclass(frozen=True, slots=True)
class MachinePoint:
    """A restore point of a machine. ``definition`` is its domain XML.

    ``checkpoint`` is the libvirt checkpoint made at the same instant, or None where no disk can
    keep a bitmap: the next point of the chain begins there. ``parent_checkpoint`` is the one of the
    parent point, which is there until the next point is made.
    """

    uuid: str
    name: str
    checkpoint: str | None
    parent_checkpoint: str | None
    definition: StoredFile
    nvram: StoredFile | None
    disks: tuple[DiskPoint, ...]

    def disk(self, target: str) -> DiskPoint | None:
        """Return the disk that the guest had at ``target``, or None."""
        return next((disk for disk in self.disks if disk.state.target == target), None)

    @property
    def incremental(self) -> bool:
        """Whether any of its disks needs the parent point."""
        return any(disk.incremental for disk in self.disks)
