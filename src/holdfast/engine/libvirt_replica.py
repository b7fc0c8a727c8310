"""The machine that stands for another on the host its replica is for. It is never started here.

Its disks are the files of the newest point, and they are transient: whoever starts it by hand, to
have a look, gets a machine that forgets what it writes, and the files stay as they are.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

from lxml import etree

from holdfast.engine.durability import discarded_on_exit, partial_name, publish, write_private
from holdfast.engine.errors import ChainBroken, HypervisorFailed, MachineBusy, MachineMissing
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_chain import backup_files
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import (
    REPLICA_MARK,
    Identity,
    Labels,
    is_replica,
    leave_host_devices,
    rewritten,
)
from holdfast.engine.libvirt_labels import labels_for
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.engine.libvirt_restore import stored_content
from holdfast.engine.libvirt_xml import parse, unparse

AnyPath = TypeVar("AnyPath", bound=PurePath)


@dataclass(frozen=True, slots=True)
class Standby:
    """A machine that stands for another: its identity, and the point it stands for.

    The point's files lie in ``folder``, which the host sees under the same path. ``networks`` gives
    the host's network, or bridge, for those of the original that it is to take the place of.
    """

    name: str
    uuid: str
    folder: Path
    point: MachinePoint
    networks: Mapping[str, str] = field(default_factory=dict)


async def ensure_free(connection: LibvirtConnection, name: str, uuid: str) -> None:
    """Raise MachineBusy when another machine of the host has the name or the UUID."""

    def look(library: Any, connect: Any) -> list[tuple[str, str, bool]]:
        found = []
        for domain in connect.listAllDomains():
            other, other_uuid = domain.name(), domain.UUIDString()
            if other != name and other_uuid != uuid:
                continue
            try:
                found.append((other, other_uuid, is_replica(domain.XMLDesc(0))))
            except library.libvirtError as error:
                if error.get_error_code() != library.VIR_ERR_NO_DOMAIN:
                    raise
                # It was removed meanwhile, so it is in nobody's way.
        return found

    found = await connection.call(look, doing=f"looking for a machine named {name}")
    for other, other_uuid, replica in found:
        if other == name and other_uuid != uuid:
            raise MachineBusy(f"{connection.uri} has another machine named {name} already.")
        if other_uuid == uuid and not replica:
            raise MachineBusy(f"The machine {other} of {connection.uri} is no replica any more.")


async def define_standby(connection: LibvirtConnection, standby: Standby) -> None:
    """Define the machine that stands for another, or bring it up to date.

    Raise MachineBusy, HypervisorUnavailable, HypervisorFailed, or ChainBroken when the point's
    definition is not there.
    """
    await ensure_free(connection, standby.name, standby.uuid)
    path = standby.folder / standby.point.definition.name
    try:
        original = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise ChainBroken(f"{path} cannot be read: {error.strerror}.") from error
    files = {
        disk.state.target: await asyncio.to_thread(backup_files, standby.folder / disk.file.name)
        for disk in standby.point.disks
    }
    labels = await labels_for(connection, [file for each in files.values() for file in each])
    xml = standby_definition(original, standby, files, labels)
    await _put_nvram(standby)

    def define(_library: Any, connect: Any) -> None:
        domain = connect.defineXML(xml)
        if domain.autostart():
            domain.setAutostart(0)  # else it runs beside its source after the next boot

    await connection.call(define, doing=f"defining the replica {standby.name}")


async def remove_standby(connection: LibvirtConnection, uuid: str) -> None:
    """Take the definition of a replica away; the files of its points stay. A missing one is fine.

    Raise MachineBusy when it runs or is no replica any more, and what `LibvirtConnection` raises.
    """
    machine = LibvirtMachine(connection, uuid)
    try:
        if not is_replica(await machine.definition(live=False)):
            raise MachineBusy(f"The machine {uuid} of {connection.uri} is no replica any more.")
        if await machine.state() is not State.OFF:
            raise MachineBusy(f"The replica {uuid} on {connection.uri} is running.")
        await machine.undefine()
    except MachineMissing:
        return
    except HypervisorFailed as error:
        raise HypervisorFailed(f"The replica {uuid} cannot be removed: {error}") from error


def nvram_of(folder: AnyPath, uuid: str) -> AnyPath:
    """Return the file with the NVRAM of a machine that stands by; not every one has one."""
    return folder / f"standby-{uuid}.nvram"


async def _put_nvram(standby: Standby) -> None:
    """Give the machine that stands by the NVRAM of the point, as a file of its own."""
    if standby.point.nvram is None:
        return
    content = await stored_content(standby.folder, standby.point.nvram)
    path = nvram_of(standby.folder, standby.uuid)
    partial = partial_name(path)
    async with discarded_on_exit(partial):
        try:
            await asyncio.to_thread(write_private, partial, content)
            await publish(partial, path, overwrite=True)
        except OSError as error:
            raise writing_failure(error, path) from error


def standby_definition(
    original: str | bytes,
    standby: Standby,
    files: Mapping[str, Sequence[Path]],
    labels: Labels,
) -> str:
    """Given the domain XML of a point, return that of the machine that stands for it. Pure.

    ``files`` are those that each disk is made of, the newest first; all of them keep their owner.
    """
    tops = {target: (each[0], "qcow2") for target, each in files.items()}
    nvram = None if standby.point.nvram is None else nvram_of(standby.folder, standby.uuid)
    text = rewritten(
        original,
        identity=Identity(standby.name, standby.uuid, new_addresses=False),
        disks=tops,
        nvram=nvram,
        layers={target: each[1:] for target, each in files.items()},
        labels=labels,
    )
    root = parse(text, "The definition")
    for disk in root.findall("devices/disk"):
        target = disk.find("target")
        if target is None or target.get("dev") not in tops:
            continue
        etree.SubElement(disk, "transient")
        for source in disk.findall("source"):
            for model in labels.models:
                etree.SubElement(source, "seclabel", model=model, relabel="no")
    leave_host_devices(root)
    connect_cards(root, standby.networks)
    for interface in root.findall("devices/interface"):
        _change_address(interface, standby)
    metadata = root.find("metadata")
    if metadata is None:
        metadata = etree.SubElement(root, "metadata")
    for element in metadata.findall(f"{{{REPLICA_MARK}}}replica"):
        metadata.remove(element)
    mark = etree.SubElement(metadata, f"{{{REPLICA_MARK}}}replica", nsmap={"replica": REPLICA_MARK})
    etree.SubElement(
        mark, f"{{{REPLICA_MARK}}}source", uuid=standby.point.uuid
    ).text = standby.point.name
    return unparse(root)


def networks_of(definition: str | bytes) -> list[str]:
    """Given a domain XML, return the networks and bridges its cards are connected to, by name."""
    sources = parse(definition, "The definition").findall("devices/interface/source")
    names = (source.get(kind) for source in sources for kind in ("network", "bridge"))
    return sorted({name for name in names if name})


def connect_cards(root: etree._Element, networks: Mapping[str, str]) -> None:
    """Connect the network cards in a domain XML to those networks that stand for theirs."""
    for interface in root.findall("devices/interface"):
        source = interface.find("source")
        for attribute in ("network", "bridge"):
            if source is not None and (name := source.get(attribute)) in networks:
                source.set(attribute, networks[name or ""])
        # The names of ports and devices of the original's host.
        for stale in interface.findall("target"):
            interface.remove(stale)


def _change_address(interface: etree._Element, standby: Standby) -> None:
    """Give a network card an address of its own that stays the same."""
    mac = interface.find("mac")
    if mac is not None:
        digest = hashlib.sha256(f"{standby.uuid} {mac.get('address')}".encode()).hexdigest()
        # The prefix is that of QEMU and KVM.
        mac.set("address", f"52:54:00:{digest[:2]}:{digest[2:4]}:{digest[4:6]}")
