"""A hypervisor's host: what it is, and which machines it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import read_definition
from holdfast.engine.libvirt_machine import State, state_told
from holdfast.engine.libvirt_probe import Acceleration, probe_acceleration
from holdfast.engine.libvirt_xml import parse


@dataclass(frozen=True, slots=True)
class HostInfo:
    """A host. Versions such as "9.0.0" and "7.2.22"; ``architecture`` such as "x86_64"."""

    name: str
    architecture: str
    libvirt_version: str
    qemu_version: str
    acceleration: Acceleration


@dataclass(frozen=True, slots=True)
class ListedDisk:
    """A disk of a machine. ``virtual_size`` in bytes, None where libvirt could not tell.

    ``left_out`` says why backups leave it out, or is None.
    """

    target: str
    path: str | None
    format: str
    virtual_size: int | None
    left_out: str | None


@dataclass(frozen=True, slots=True)
class ListedMachine:
    """A machine of a host. ``tags`` and ``replica``: see `libvirt_domain.Definition`.

    ``moving`` while another host is handing it over, or it is being handed over to another.
    """

    uuid: str
    name: str
    state: State
    disks: tuple[ListedDisk, ...]
    tags: tuple[str, ...]
    replica: bool = False
    moving: bool = False


async def probe_host(connection: LibvirtConnection, scratch: Path | None = None) -> HostInfo:
    """Return what a host is. Raise HypervisorUnavailable or HypervisorFailed.

    ``scratch`` is a folder that QEMU on the host can read under the same path: a machine is booted
    from it to see whether KVM truly runs. Without it, KVM is reported as the host claims it.
    """
    name, capabilities, library, qemu = await connection.call(_facts, doing="asking about the host")
    architecture = parse(capabilities, "The host's capabilities").findtext("host/cpu/arch")
    return HostInfo(
        name=name,
        architecture=architecture or "unknown",
        libvirt_version=_version(library),
        qemu_version=_version(qemu),
        acceleration=await probe_acceleration(connection, architecture, scratch),
    )


def _facts(_library: Any, connect: Any) -> tuple[str, str, int, int]:
    return (
        str(connect.getHostname()),
        str(connect.getCapabilities()),
        int(connect.getLibVersion()),
        int(connect.getVersion()),
    )


def _version(number: int) -> str:
    """Given libvirt's number of a version, return it in the usual form: 9000000 → "9.0.0"."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


async def list_machines(connection: LibvirtConnection) -> list[ListedMachine]:
    """Return the machines of a host, by name. Raise HypervisorUnavailable or HypervisorFailed."""
    machines = await connection.call(_machines, doing="listing the machines")
    return sorted(machines, key=lambda machine: (machine.name, machine.uuid))


def _machines(library: Any, connect: Any) -> list[ListedMachine]:
    found = []
    for domain in connect.listAllDomains():
        try:
            found.append(_listed(library, domain))
        except library.libvirtError as error:
            if error.get_error_code() != library.VIR_ERR_NO_DOMAIN:
                raise
            # It was removed while the others were looked at.
    return found


def _listed(library: Any, domain: Any) -> ListedMachine:
    definition, found = read_definition(domain.XMLDesc(0)), domain.state()
    return ListedMachine(
        uuid=definition.uuid,
        name=definition.name,
        state=state_told(library, found[0]),
        disks=tuple(
            ListedDisk(
                disk.target,
                disk.path,
                disk.format,
                _size(library, domain, disk.target) if disk.left_out is None else None,
                disk.left_out,
            )
            for disk in definition.disks
        ),
        tags=definition.tags,
        replica=definition.replica,
        moving=_is_moving(library, *found),
    )


def _is_moving(library: Any, state: int, reason: int) -> bool:
    return state == library.VIR_DOMAIN_PAUSED and reason in (
        library.VIR_DOMAIN_PAUSED_MIGRATION,
        library.VIR_DOMAIN_PAUSED_STARTING_UP,
    )


def _size(library: Any, domain: Any, target: str) -> int | None:
    try:
        return int(domain.blockInfo(target)[0])
    except library.libvirtError:
        return None  # the file is missing, or on storage that is not there now
