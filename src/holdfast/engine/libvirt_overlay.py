"""What a replica runs on while it is failed over: layers of its own on the files of a point.

Whatever the machine writes goes to the layers. The files of the point are below them, never written
to, and never given to another owner by libvirt either.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from holdfast.engine.disk_difference import held_by
from holdfast.engine.durability import (
    discarded_on_exit,
    partial_name,
    publish,
    remove_durably,
    write_private,
)
from holdfast.engine.errors import ChainBroken, EngineError
from holdfast.engine.failures import folder_gone, writing_failure
from holdfast.engine.image_chain import backup_files
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import (
    REPLICA_MARK,
    Identity,
    leave_host_devices,
    read_definition,
    rewritten,
)
from holdfast.engine.libvirt_labels import labels_for
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.engine.libvirt_restore import stored_content
from holdfast.engine.libvirt_xml import parse, unparse
from holdfast.engine.qemu_image import create_overlay_arguments, run_qemu_image


@dataclass(frozen=True, slots=True)
class FailoverPlan:
    """A replica, and the point of it that takes over.

    ``identity`` is the replica's own; ``folder`` holds the point's files and takes the layers.
    ``key`` (letters, digits, dashes) tells the files of this failover from those of others.
    ``ready`` is the replica's definition while it is not failed over.
    """

    identity: Identity
    folder: Path
    point: MachinePoint
    key: str
    ready: str

    def layer(self, target: str) -> Path:
        """Return the layer for a disk, such as vda."""
        return self.folder / f"failover-{self.key}.{target}.qcow2"

    @property
    def layers(self) -> dict[str, Path]:
        """The layer of each disk of the point."""
        return {disk.state.target: self.layer(disk.state.target) for disk in self.point.disks}

    @property
    def nvram(self) -> Path | None:
        """The machine's own NVRAM; None where it has none."""
        return None if self.point.nvram is None else self.folder / f"failover-{self.key}.nvram"

    def stands_in(self, definition: str) -> bool:
        """Say whether a definition is that of the machine as this failover defines it."""
        paths = {disk.path for disk in read_definition(definition).disks}
        return {str(path) for path in self.layers.values()} <= paths


async def make_layers(plan: FailoverPlan) -> None:
    """Make all layers anew, empty, and the NVRAM as it was at the point.

    Never to be called once the machine may have run on them. Raise ChainBroken naming the file of
    the point that is missing or damaged, RepositoryUnavailable, NoSpace or ToolFailed.
    """
    if not await asyncio.to_thread(plan.folder.is_dir):
        raise folder_gone(plan.folder)
    for disk in plan.point.disks:
        await asyncio.to_thread(backup_files, plan.folder / disk.file.name)
    for disk in plan.point.disks:
        layer = plan.layer(disk.state.target)
        partial = partial_name(layer)
        async with discarded_on_exit(partial):
            # By its plain name: the folder may be mounted elsewhere on the host, or moved.
            await run_qemu_image(
                create_overlay_arguments(partial, Path(disk.file.name), "qcow2"),
                doing=f"Making {layer}",
                writing=layer,
                unreadable=ChainBroken,
            )
            try:
                await asyncio.to_thread(partial.chmod, 0o600)  # it takes people's data
            except OSError as error:
                raise writing_failure(error, layer) from error
            await _publish(partial, layer)
    if plan.nvram is not None and plan.point.nvram is not None:
        content = await stored_content(plan.folder, plan.point.nvram)
        partial = partial_name(plan.nvram)
        async with discarded_on_exit(partial):
            try:
                await asyncio.to_thread(write_private, partial, content)
            except OSError as error:
                raise writing_failure(error, plan.nvram) from error
            await _publish(partial, plan.nvram)


async def _publish(partial: Path, path: Path) -> None:
    try:
        await publish(partial, path, overwrite=True)
    except OSError as error:
        raise writing_failure(error, path) from error


async def hold_anything(plan: FailoverPlan) -> bool:
    """Say whether anything was written to the layers; those that are not there hold nothing.

    The machine must be off. Raise RepositoryUnavailable, ToolFailed or ImageInUse.
    """
    if not await asyncio.to_thread(plan.folder.is_dir):
        raise folder_gone(plan.folder)
    for layer in plan.layers.values():
        if await asyncio.to_thread(layer.exists) and await held_by(layer):
            return True
    return False


async def remove_layers(plan: FailoverPlan) -> None:
    """Remove what `make_layers` made, and what an interrupted one left; missing is fine.

    Raise RepositoryUnavailable when their folder is away: they may be on it, and are to be removed
    when it is back.
    """
    if not await asyncio.to_thread(plan.folder.is_dir):
        raise folder_gone(plan.folder)
    paths = [*plan.layers.values(), *([] if plan.nvram is None else [plan.nvram])]
    for path in paths:
        try:
            await remove_durably(partial_name(path))
            await remove_durably(path)
        except OSError as error:
            raise writing_failure(error, path) from error


async def layered_definition(connection: LibvirtConnection, plan: FailoverPlan) -> str:
    """Return the definition of the replica with its disks on the layers.

    The machine is that of the point, its identity and its networks are those of the replica.
    """
    xml = await stored_content(plan.folder, plan.point.definition)
    below = {
        disk.state.target: await asyncio.to_thread(backup_files, plan.folder / disk.file.name)
        for disk in plan.point.disks
    }
    text = rewritten(
        xml,
        identity=plan.identity,
        disks={target: (path, "qcow2") for target, path in plan.layers.items()},
        nvram=plan.nvram,
        layers=below,
        labels=await labels_for(connection, [file for files in below.values() for file in files]),
    )
    root = parse(text, "The definition of the machine")
    ready = parse(plan.ready, "The definition of the replica")
    leave_host_devices(root)
    _adopt_networks(root, ready)
    _adopt_mark(root, ready)
    return unparse(root)


def _adopt_networks(root: etree._Element, ready: etree._Element) -> None:
    devices = root.find("devices")
    if devices is None:
        raise EngineError("The definition of the machine has no devices.")
    for interface in devices.findall("interface"):
        devices.remove(interface)
    for interface in ready.findall("devices/interface"):
        # Where on its bus the card sits depends on the rest of the machine.
        for address in interface.findall("address"):
            interface.remove(address)
        devices.append(interface)


def _adopt_mark(root: etree._Element, ready: etree._Element) -> None:
    marks = ready.findall(f"metadata/{{{REPLICA_MARK}}}*")
    metadata = root.find("metadata")
    if marks and metadata is None:
        metadata = etree.SubElement(root, "metadata")
    for mark in marks:
        if metadata is not None:
            metadata.append(mark)
