"""Finds out whether a host's KVM truly runs machines.

/dev/kvm can be there and open, and yet be of no use: under some hypervisors its instructions are
emulated so slowly that a guest never gets through its boot. So a machine is booted with KVM from a
sector that does what every kernel does first, switching to 64-bit mode, and then powers itself off
through ACPI. With KVM that takes a fraction of a second.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from holdfast.engine.durability import discarded_on_exit
from holdfast.engine.errors import HypervisorFailed
from holdfast.engine.failures import writing_failure
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_xml import unparse
from holdfast.engine.qemu_image import absolute

BOOT_SECONDS = 3.0
"""Emulation (TCG) boots the sector in a fifth of a second; KVM that takes longer is worthless."""

_POLL_SECONDS = 0.05
_SECTOR = 512
# x86, loaded at 0x7c00. 16-bit: clear the segments, make page tables at 0x1000 that map the first
# 2 MiB, set CR4.PAE, CR3, EFER.LME, CR0.PG and CR0.PE, load the table of segments, jump. 64-bit:
# count to a million, write 0x2000 (sleep state 5) to port 0x604 (PM1a_CNT), halt.
_BOOT_CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cbf0010b900186631c0fcf3ab66c70600100320000066c70600200330000066c706003083"
    "0000000f20e06683c8200f22e066b8001000000f22d866b9800000c00f32660d000100000f300f20c0660d0100008"
    "00f22c00f0116b07cea6c7c080031c08ed88ed048c7c4007c000048c7c140420f0048ffc975fb66ba040666b80020"
    "66eff4ebfd660f1f440000000000000000000000000000009a200000000000009200001700987c"
)
_BOOT_SIGNATURE = b"\x55\xaa"


@dataclass(frozen=True, slots=True)
class Acceleration:
    """Which kind of machine a host runs: "kvm" or "qemu" (emulated); ``reason`` is a sentence."""

    kind: str
    reason: str


async def probe_acceleration(
    connection: LibvirtConnection, architecture: str | None, scratch: Path | None
) -> Acceleration:
    """Return which kind of machine a host can run; see `libvirt_host.probe_host`."""
    try:
        await connection.call(_kvm_capabilities, doing="asking about KVM")
    except HypervisorFailed as error:
        return Acceleration("qemu", f"The host has no KVM: {error}")
    if scratch is None or architecture != "x86_64":
        return Acceleration("kvm", "The host says that it has KVM; no machine was booted to see.")
    image = absolute(scratch) / f"holdfast-probe-{uuid.uuid4()}.img"
    async with discarded_on_exit(image):
        try:
            await asyncio.to_thread(image.write_bytes, boot_sector())
        except OSError as error:
            raise writing_failure(error, image) from error
        problem = await boot_problem(connection, image, "kvm")
    if problem is None:
        return Acceleration("kvm", "A machine was booted with KVM.")
    return Acceleration("qemu", f"KVM is there but of no use: {problem}")


def boot_sector() -> bytes:
    """Return a disk of one sector that powers the machine off as soon as it is booted."""
    return _BOOT_CODE.ljust(_SECTOR - len(_BOOT_SIGNATURE), b"\0") + _BOOT_SIGNATURE


async def boot_problem(
    connection: LibvirtConnection, image: Path, kind: str, *, seconds: float = BOOT_SECONDS
) -> str | None:
    """Boot the image of `boot_sector`; return why it did not get to its end in time, or None."""
    xml = _machine(image, kind)

    def boot(library: Any, connect: Any) -> str | None:
        # It ends with the connection, should this process be killed.
        domain = connect.createXML(xml, library.VIR_DOMAIN_START_AUTODESTROY)
        limit = time.monotonic() + seconds
        try:
            while domain.isActive():
                if time.monotonic() > limit:
                    domain.destroy()
                    return f"a machine did not boot within {seconds:g} s."
                time.sleep(_POLL_SECONDS)
        except library.libvirtError as error:
            if error.get_error_code() != library.VIR_ERR_NO_DOMAIN:
                raise
        return None

    try:
        return await connection.call(boot, doing="booting a machine")
    except HypervisorFailed as error:
        return str(error)


def _kvm_capabilities(_library: Any, connect: Any) -> None:
    connect.getDomainCapabilities(None, None, None, "kvm")


def _machine(image: Path, kind: str) -> str:
    domain = etree.Element("domain", type=kind)
    etree.SubElement(domain, "name").text = image.stem
    etree.SubElement(domain, "memory", unit="MiB").text = "32"
    system = etree.SubElement(domain, "os")
    etree.SubElement(system, "type", arch="x86_64", machine="pc").text = "hvm"
    # Without it the firmware has no ACPI, and so no port to power off by.
    etree.SubElement(etree.SubElement(domain, "features"), "acpi")
    devices = etree.SubElement(domain, "devices")
    disk = etree.SubElement(devices, "disk", type="file", device="disk")
    etree.SubElement(disk, "driver", name="qemu", type="raw")
    etree.SubElement(disk, "source", file=str(image))
    etree.SubElement(disk, "target", dev="hda", bus="ide")
    etree.SubElement(devices, "controller", type="usb", model="none")
    etree.SubElement(devices, "memballoon", model="none")
    return unparse(domain)
