"""Hosts of virtual machines, asked over libvirt by the engine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from holdfast.engine.data_key import DataKey
from holdfast.engine.known_file import KnownFile
from holdfast.engine.libvirt_backup import MachineResult, back_up_machine, take_keys_back
from holdfast.engine.libvirt_connection import Account, LibvirtConnection, connected
from holdfast.engine.libvirt_host import list_machines, probe_host
from holdfast.engine.libvirt_in_place import finish_in_place, restore_in_place
from holdfast.engine.libvirt_instant import (
    discard_machine,
    lend_key,
    move_to_own_storage,
    stop_moving,
)
from holdfast.engine.libvirt_machine import State
from holdfast.engine.libvirt_replica import (
    Standby,
    define_standby,
    ensure_free,
    remove_standby,
)
from holdfast.engine.libvirt_restore import (
    RestorePlan,
    machine_disks,
    restore_machine,
)
from holdfast.engine.libvirt_secret import layer_secret, take_secret_back
from holdfast.engine.libvirt_tidy import end_left_backup, release_checkpoints
from holdfast.engine.libvirt_uri import is_local
from holdfast.engine.libvirt_work import MachinePlan
from holdfast.engine.progress import ProgressCallback
from holdfast.engine.restored_files import Ledger, WholeFile, uncancelled_when_done
from holdfast.server.platform import HostAccess, HostFacts, HostMachine


class LibvirtPlatform:
    """A `Platform` over libvirt, which is not loaded before it is used."""

    async def probe(self, access: HostAccess) -> HostFacts:
        """Return what a host is. Only on this machine a guest can be booted to see about KVM."""
        async with connected(access.uri, account=_account(access)) as connection:
            if not is_local(access.uri):
                return await _facts(connection, None)
            with tempfile.TemporaryDirectory(prefix="holdfast-probe-") as scratch:
                # QEMU on the host may run as a user of its own.
                await asyncio.to_thread(Path(scratch).chmod, 0o755)
                return await _facts(connection, Path(scratch))

    async def machines(self, access: HostAccess) -> Sequence[HostMachine]:
        """Return all machines of a host, running or not, but for replicas."""
        async with connected(access.uri, account=_account(access)) as connection:
            found = await list_machines(connection)
        return [
            HostMachine(
                each.uuid.lower(),
                each.name,
                each.tags,
                active=each.state is not State.OFF and not each.moving,
                disks=tuple(disk.path for disk in each.disks if disk.path is not None),
            )
            for each in found
            if not each.replica
        ]

    async def back_up(
        self, access: HostAccess, plan: MachinePlan, on_progress: ProgressCallback
    ) -> MachineResult:
        """Make a restore point of a machine."""
        async with connected(access.uri, account=_account(access)) as connection:
            return await back_up_machine(connection, plan, on_progress)

    async def end_left_backup(
        self, access: HostAccess, uuid: str, folders: Collection[Path], chain: str
    ) -> None:
        """End what a backup left at a machine."""
        async with connected(access.uri, account=_account(access)) as connection:
            await end_left_backup(connection, uuid, folders, chain)

    async def ensure_free(self, access: HostAccess, name: str, uuid: str) -> None:
        """Raise MachineBusy when another machine has the name or the UUID."""
        async with connected(access.uri, account=_account(access)) as connection:
            await ensure_free(connection, name, uuid)

    async def define_standby(self, access: HostAccess, standby: Standby) -> None:
        """Define the machine of a replica."""
        async with connected(access.uri, account=_account(access)) as connection:
            await define_standby(connection, standby)

    async def remove_standby(self, access: HostAccess, uuid: str) -> None:
        """Take the machine of a replica off its host."""
        async with connected(access.uri, account=_account(access)) as connection:
            await remove_standby(connection, uuid)

    async def release(self, access: HostAccess, uuid: str, chain: str) -> None:
        """Delete all checkpoints of a chain on a machine."""
        async with connected(access.uri, account=_account(access)) as connection:
            await release_checkpoints(connection, uuid, chain)

    async def restore(
        self,
        access: HostAccess,
        plan: RestorePlan,
        on_progress: ProgressCallback,
        ledger: Ledger,
    ) -> None:
        """Make a new machine of a point."""
        with uncancelled_when_done() as outcome:
            async with connected(access.uri, account=_account(access)) as connection:
                await restore_machine(connection, plan, on_progress, ledger)
                outcome.done = True

    async def restore_in_place(
        self,
        access: HostAccess,
        plan: RestorePlan,
        on_progress: ProgressCallback,
        ledger: Ledger,
    ) -> str:
        """Bring a machine back over itself; return what could not be done of it."""
        warning = ""
        with uncancelled_when_done() as outcome:
            async with connected(access.uri, account=_account(access)) as connection:
                warning = (await restore_in_place(connection, plan, on_progress, ledger)).warning
                outcome.done = True
        return warning

    async def finish_in_place(
        self, access: HostAccess, plan: RestorePlan, files: Sequence[WholeFile]
    ) -> None:
        """Finish a restore in place that a crash interrupted."""
        async with connected(access.uri, account=_account(access)) as connection:
            await finish_in_place(connection, plan, files)

    async def machine_disks(self, access: HostAccess, uuid: str) -> Mapping[str, str] | None:
        """Return the file of each disk of a machine by target, or None when there is no machine."""
        async with connected(access.uri, account=_account(access)) as connection:
            return await machine_disks(connection, uuid)

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
        """Let a machine that runs from its point need that no more; say which files stay."""
        async with connected(access.uri, account=_account(access)) as connection:
            return await move_to_own_storage(
                connection, uuid, files, token, on_progress, going_on, key
            )

    async def stop_moving(
        self, access: HostAccess, uuid: str, files: Sequence[KnownFile], token: str
    ) -> None:
        """Stop the moving of a machine that a crash has left going on."""
        async with connected(access.uri, account=_account(access)) as connection:
            await stop_moving(connection, uuid, files, token)

    async def discard(
        self, access: HostAccess, uuid: str, files: Sequence[KnownFile], token: str
    ) -> Sequence[str]:
        """Take a machine away that runs from its point; say which files stay."""
        async with connected(access.uri, account=_account(access)) as connection:
            return await discard_machine(connection, uuid, files, token)

    async def lend_key(self, access: HostAccess, uuid: str, key: DataKey) -> None:
        """Let a machine that runs from an encrypted point be powered on."""
        async with connected(access.uri, account=_account(access)) as connection:
            await lend_key(connection, uuid, key)

    async def take_key_back(self, access: HostAccess, uuid: str) -> None:
        """Make a host forget the key of a machine that was to run from its point."""
        async with connected(access.uri, account=_account(access)) as connection:
            await take_secret_back(connection, layer_secret(uuid))

    async def take_keys_back(
        self, access: HostAccess, backed_up: Collection[str], recovered: Collection[str]
    ) -> None:
        """Take back keys that a crash has left."""
        async with connected(access.uri, account=_account(access)) as connection:
            await take_keys_back(connection, backed_up, recovered)

    def connected(self, access: HostAccess) -> AbstractAsyncContextManager[LibvirtConnection]:
        """Open a connection to a host for the time of a block."""
        return connected(access.uri, account=_account(access))


def _account(access: HostAccess) -> Account | None:
    if access.username is None:
        return None
    return Account(access.username, access.password or "")


async def _facts(connection: LibvirtConnection, scratch: Path | None) -> HostFacts:
    found = await probe_host(connection, scratch)
    return HostFacts(
        hostname=found.name,
        hypervisor=found.qemu_version,
        library=found.libvirt_version,
        acceleration="kvm" if found.acceleration.kind == "kvm" else "tcg",
        note=found.acceleration.reason,
    )
