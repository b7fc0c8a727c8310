"""Hosts of machines that the tests make up: what a host answers, or that it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import HypervisorFailed, HypervisorUnavailable
from holdfast.engine.known_file import KnownFile
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_replica import Standby
from holdfast.engine.libvirt_restore import RestorePlan
from holdfast.engine.libvirt_work import MachinePlan
from holdfast.engine.progress import ProgressCallback, ignore_progress
from holdfast.engine.restored_files import Ledger, WholeFile
from holdfast.server.platform import HostAccess, HostFacts, HostMachine

HERE, THERE = "qemu:///system", "qemu+ssh://root@there/system?no_tty=1"


@dataclass
class ToyHost:
    """A host, with its machines by UUID."""

    name: str
    machines: dict[str, HostMachine] = field(default_factory=dict)
    away: bool = False
    hanging: bool = False
    probes: int = 0

    def add(self, name: str, *tags: str, uuid: str = "", **more: Any) -> str:
        """Give it a machine; return the machine's UUID."""
        machine = HostMachine(uuid or str(uuid4()), name, tags, **more)
        self.machines[machine.uuid] = machine
        return machine.uuid


@dataclass
class ToyPlatform:
    """A platform of toy hosts, by URI."""

    hosts: dict[str, ToyHost] = field(default_factory=dict)
    asked: list[HostAccess] = field(default_factory=list)
    #: The URIs of the hosts of which a machine was to be backed up.
    backed_up: list[str] = field(default_factory=list)
    #: The UUIDs of the machines at which it was seen to what a backup may have left.
    ended: list[str] = field(default_factory=list)
    slow: bool = False
    #: What happens, by URI, at the moment when a host is asked for its machines.
    before_asking: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)

    def add(self, uri: str, name: str) -> ToyHost:
        self.hosts[uri] = ToyHost(name)
        return self.hosts[uri]

    async def probe(self, access: HostAccess) -> HostFacts:
        host = await self._reached(access)
        host.probes += 1
        return HostFacts(
            hostname=host.name, hypervisor="7.2.19", library="9.0.0", acceleration="tcg"
        )

    async def machines(self, access: HostAccess) -> Sequence[HostMachine]:
        if access.uri in self.before_asking:
            await self.before_asking[access.uri]()
        return list((await self._reached(access)).machines.values())

    async def back_up(
        self, access: HostAccess, plan: MachinePlan, _on_progress: ProgressCallback
    ) -> MachineResult:
        await self._reached(access)
        self.backed_up.append(access.uri)
        if self.slow:
            (plan.folder / f"{plan.point}.vda.qcow2").touch()
            await asyncio.Event().wait()
        raise HypervisorFailed(f"The machine {plan.uuid} is a toy.")

    async def end_left_backup(
        self, access: HostAccess, uuid: str, _folders: Collection[Path], _chain: str
    ) -> None:
        await self._reached(access)
        self.ended.append(uuid)

    async def ensure_free(self, access: HostAccess, _name: str, _uuid: str) -> None:
        await self._reached(access)

    async def define_standby(self, access: HostAccess, _standby: Standby) -> None:
        await self._reached(access)

    async def remove_standby(self, access: HostAccess, _uuid: str) -> None:
        await self._reached(access)

    async def release(self, access: HostAccess, _uuid: str, _chain: str) -> None:
        await self._reached(access)

    async def restore(
        self,
        access: HostAccess,
        plan: RestorePlan,
        _on_progress: ProgressCallback,
        _ledger: Ledger,
    ) -> None:
        await self._reached(access)
        raise HypervisorFailed(f"The machine {plan.point.uuid} is a toy.")

    restore_in_place = restore

    async def finish_in_place(
        self, access: HostAccess, plan: RestorePlan, _files: Sequence[WholeFile]
    ) -> None:
        await self._reached(access)
        raise HypervisorFailed(f"The machine {plan.point.uuid} is a toy.")

    async def machine_disks(self, access: HostAccess, uuid: str) -> Mapping[str, str] | None:
        machines = (await self._reached(access)).machines
        return {} if uuid in machines else None

    async def move_to_own_storage(
        self,
        access: HostAccess,
        uuid: str,
        _files: Sequence[KnownFile],
        _token: str,
        _on_progress: ProgressCallback = ignore_progress,
        _going_on: Callable[[], bool] = lambda: False,
        _key: DataKey | None = None,
    ) -> Sequence[str]:
        await self._reached(access)
        raise HypervisorFailed(f"The machine {uuid} is a toy.")

    async def stop_moving(
        self, access: HostAccess, uuid: str, files: Sequence[KnownFile], token: str
    ) -> None:
        await self.move_to_own_storage(access, uuid, files, token)

    discard = move_to_own_storage

    async def lend_key(self, access: HostAccess, uuid: str, _key: DataKey) -> None:
        await self._reached(access)
        raise HypervisorFailed(f"The machine {uuid} is a toy.")

    async def take_key_back(self, access: HostAccess, _uuid: str) -> None:
        await self._reached(access)

    async def take_keys_back(
        self, access: HostAccess, _backed_up: Collection[str], _recovered: Collection[str]
    ) -> None:
        await self._reached(access)

    async def _reached(self, access: HostAccess) -> ToyHost:
        self.asked.append(access)
        host = self.hosts.get(access.uri)
        if host is None or host.away:
            raise HypervisorUnavailable(f"{access.uri}, connecting: no route to the host.")
        if host.hanging:
            await asyncio.Event().wait()
        return host
