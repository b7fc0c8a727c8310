"""A backup of a machine: the plan for it, and what has become known while it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from holdfast.engine.durability import partial_name
from holdfast.engine.libvirt_domain import Definition, MachineDisk
from holdfast.engine.libvirt_ladder import Decision, DiskState
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.engine.progress import Phases
from holdfast.engine.qemu_image import AS_USUAL, Storing
from holdfast.engine.script import Script


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """Which machine to back up, and where to.

    The point's files lie in ``folder``: ``<point>.<disk>.qcow2``, ``<point>.xml`` and, with UEFI,
    ``<point>.nvram``. ``chain`` is the id of the chain (letters, digits, dashes) that ``parent``,
    a point in the same folder, belongs to. ``staging`` is a folder that QEMU on the host may write
    to, under the same path there and here; None takes ``folder``. ``left_out`` names disks, such
    as vdb, that are no part of the backup. ``why_full`` says why there is no parent, although the
    chain has points. With ``keys``, a folder for the keys of transfers, the files are those of a
    replica: uncompressed, and sent over NBD with TLS.
    """

    uuid: str
    folder: Path
    point: str
    chain: str
    parent: MachinePoint | None = None
    staging: Path | None = None
    left_out: frozenset[str] = frozenset()
    quiesce: bool = True
    before: Script | None = None
    after: Script | None = None
    storing: Storing = AS_USUAL
    why_full: str | None = None
    keys: Path | None = None

    @property
    def folders(self) -> frozenset[Path]:
        """The folders that QEMU is asked to write to."""
        return frozenset({self.folder, self.staging or self.folder})


@dataclass
class Work:
    """A backup that is going on, and what has become known of it so far.

    ``parent_problems`` says, by disk, why the parent point's file cannot be built on, if so.
    ``started`` when the machine was off, and started for this. ``saved`` is the definition that its
    saved memory goes on with; None where none is saved. ``stale`` are the checkpoints of the
    chain that are still to be deleted. ``frozen`` while the guest's file systems may be frozen
    although they were to be thawed; ``thaw_at`` is when that is tried again, by the event loop.
    """

    plan: MachinePlan
    machine: LibvirtMachine
    definition: Definition
    stored_definition: str
    checkpoint: str
    phases: Phases
    states: dict[str, DiskState] = field(default_factory=dict)
    parent_problems: dict[str, str] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    started: bool = False
    saved: str | None = None
    stale: list[str] = field(default_factory=list)
    frozen: bool = False
    thaw_at: float = 0.0
    nvram: bytes | None = None
    consistency: str = "powered off"
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sent: int = 0

    def target(self, disk: str) -> Path:
        return self.plan.folder / f"{self.plan.point}.{disk}.qcow2"

    def pushed(self, disk: str) -> Path:
        folder = self.plan.staging or self.plan.folder
        return partial_name(folder / self.target(disk).name, "pushed")

    @property
    def disks(self) -> list[MachineDisk]:
        left_out = self.plan.left_out
        return [disk for disk in self.definition.backed_up if disk.target not in left_out]

    @property
    def tracked(self) -> list[str]:
        return [disk.target for disk in self.disks if disk.tracked]
