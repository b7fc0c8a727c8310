"""What the backup server asks of a hypervisor's host: who it is, and which machines it has.

The engine answers it over libvirt; nothing else here knows how a host is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from holdfast.engine.data_key import DataKey
from holdfast.engine.known_file import KnownFile
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_replica import Standby
from holdfast.engine.libvirt_restore import RestorePlan
from holdfast.engine.libvirt_work import MachinePlan
from holdfast.engine.progress import ProgressCallback
from holdfast.engine.restored_files import Ledger, WholeFile


@dataclass(frozen=True)
class HostAccess:
    """How to reach a host: a connection URI and, where it asks for them, name and password."""

    uri: str
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"HostAccess({self.uri!r})"


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found: the host's own name, and versions such as ``7.2.19``.

    `acceleration` is ``kvm`` where a guest truly ran with it, or the host says so and none could
    be booted to see; `note` says which, or why not, in a sentence.
    """

    hostname: str
    hypervisor: str
    library: str
    acceleration: Literal["kvm", "tcg"]
    note: str = ""


@dataclass(frozen=True)
class HostMachine:
    """A machine as its host lists it. `uuid` in lower case, with dashes.

    `active` when it is on, and this is the host that it is on, not one that it is only moving to.
    `disks` are the paths of its disks.
    """

    uuid: str
    name: str
    tags: tuple[str, ...] = ()
    active: bool = True
    disks: tuple[str, ...] = ()


class Platform(Protocol):
    """Hosts, as they are now. Each method raises EngineError, saying in words what failed."""

    async def probe(self, access: HostAccess) -> HostFacts:
        """Return what a host is. May take seconds: a small guest is booted."""

    async def machines(self, access: HostAccess) -> Sequence[HostMachine]:
        """Return all machines of a host, running or not; those that are replicas are left out."""

    async def back_up(
        self, access: HostAccess, plan: MachinePlan, on_progress: ProgressCallback
    ) -> MachineResult:
        """Make a restore point of a machine; see `libvirt_backup.back_up_machine`."""

    async def end_left_backup(
        self, access: HostAccess, uuid: str, folders: Collection[Path], chain: str
    ) -> None:
        """End what a backup left at a machine; see `libvirt_tidy.end_left_backup`."""

    async def ensure_free(self, access: HostAccess, name: str, uuid: str) -> None:
        """Raise MachineBusy when a replica cannot have this name and UUID on a host."""

    async def define_standby(self, access: HostAccess, standby: Standby) -> None:
        """Define the machine of a replica, or bring it up to date. It is not started."""

    async def remove_standby(self, access: HostAccess, uuid: str) -> None:
        """Take the machine of a replica off its host; its files stay. A missing one is fine."""

    async def release(self, access: HostAccess, uuid: str, chain: str) -> None:
        """Delete all checkpoints of a chain on a machine, since the chain has ended."""

    async def restore(
        self,
        access: HostAccess,
        plan: RestorePlan,
        on_progress: ProgressCallback,
        ledger: Ledger,
    ) -> None:
        """Make a new machine of a point; see `libvirt_restore.restore_machine`."""

    async def restore_in_place(
        self,
        access: HostAccess,
        plan: RestorePlan,
        on_progress: ProgressCallback,
        ledger: Ledger,
    ) -> str:
        """Bring a machine back over itself; see `libvirt_in_place.restore_in_place`.

        Return what could not be done of what was asked for; empty for nothing.
        """

    async def finish_in_place(
        self, access: HostAccess, plan: RestorePlan, files: Sequence[WholeFile]
    ) -> None:
        """Finish what a crash interrupted; see `libvirt_in_place.finish_in_place`."""

    async def machine_disks(self, access: HostAccess, uuid: str) -> Mapping[str, str] | None:
        """Return the file of each disk of a machine by target, or None when there is no machine."""

    async def move_to_own_storage(
        self,
        access: HostAccess,
        uuid: str,
        files: Sequence[KnownFile],
        token: str,
        on_progress: ProgressCallback,
        going_on: Callable[[], bool],
        key: DataKey | None,
    ) -> Sequence[str]:
        """Let a machine need its point no more; see `libvirt_instant.move_to_own_storage`.

        Return what is to be said of files that stay.
        """

    async def stop_moving(
        self, access: HostAccess, uuid: str, files: Sequence[KnownFile], token: str
    ) -> None:
        """Stop what a crash left going on; see `libvirt_instant.stop_moving`."""

    async def discard(
        self, access: HostAccess, uuid: str, files: Sequence[KnownFile], token: str
    ) -> Sequence[str]:
        """Take a machine away that runs from its point; see `libvirt_instant.discard_machine`.

        Return what is to be said of files that stay.
        """

    async def lend_key(self, access: HostAccess, uuid: str, key: DataKey) -> None:
        """Let a machine that runs from a point be powered on; see `libvirt_instant.lend_key`."""

    async def take_key_back(self, access: HostAccess, uuid: str) -> None:
        """Make a host forget the key of a machine that was to run from its point."""

    async def take_keys_back(
        self, access: HostAccess, backed_up: Collection[str], recovered: Collection[str]
    ) -> None:
        """Take back keys that a crash has left; see `libvirt_backup.take_keys_back`."""

    def connected(self, access: HostAccess) -> AbstractAsyncContextManager[LibvirtConnection]:
        """Open a connection to a host for the time of a block; see `libvirt_connection`."""
