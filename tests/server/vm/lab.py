"""A server with a host, and shorthands for what is done to the host's machines."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt

from engine.vm.lab import Guest, Host
from holdfast.engine.libvirt_domain import read_definition
from holdfast.server.libvirt_platform import LibvirtPlatform
from holdfast.server.libvirt_references import host_reference, machine_reference
from holdfast.server.messages import Change
from holdfast.server.platform import HostAccess, HostFacts
from server.lab import HandClock, Lab, running_lab


class QuickPlatform(LibvirtPlatform):
    """Hosts over libvirt, without a look at whether a guest boots there with KVM: it takes long."""

    async def probe(self, _access: HostAccess) -> HostFacts:
        return HostFacts(hostname="kvm1", hypervisor="7.2.0", library="9.0.0", acceleration="tcg")


@asynccontextmanager
async def running_hosted_lab(
    folder: Path, clock: HandClock, daemon: Host
) -> AsyncIterator[HostedLab]:
    """Run a server on a folder, with the host."""
    async with running_lab(folder, clock, platform=QuickPlatform()) as plain:
        yield await hosted_lab(plain, daemon)


class HostedLab(Lab):
    """A server under test that has a host with libvirt."""

    daemon: Host
    host: UUID

    async def job_of(self, *guests: Guest, **more: Any) -> UUID:
        """Make a job of machines of the host, of all when none is named; return its UID."""
        assert (await self.command("rescan-host", self.host)).success
        references = [machine_reference(self.host, guest.uuid) for guest in guests]
        outcome = await self.command(
            "create-job",
            name="Nightly",
            objects=[{"reference": each} for each in references or [host_reference(self.host)]],
            repository=str(self.repository),
            **more,
        )
        assert outcome.made is not None, outcome.message
        return outcome.made.uid

    async def backed_up(self, guest: Guest, job: UUID, number: int) -> UUID:
        """Write to a machine and back it up; return the point."""
        guest.write_something(number)
        session = await self.run(job)
        assert session.values["Result"] == "Success", session.values
        return (await self.points(guest.name))[-1].uid

    async def begun(self, operation: str, target: UUID, **options: Any) -> UUID:
        """Begin something that is a restore session; return its UID."""
        outcome = await self.command(operation, target, **options)
        assert outcome.success, outcome.message
        assert outcome.made is not None
        return outcome.made.uid

    async def ended(self, session: UUID) -> Change:
        """Wait for a restore session and return it as published."""
        await self.server.wait_until_idle()
        return await self.resource("RestoreSession", session)

    async def done(self, operation: str, target: UUID, **options: Any) -> Change:
        session = await self.ended(await self.begun(operation, target, **options))
        assert session.values["Result"] == "Success", session.values
        return session

    def point_files(self) -> dict[str, tuple[str, int, int]]:
        """Return what is in the repository: each file's SHA-256, its owner and its permissions."""
        return {
            str(path.relative_to(self.repository_path)): (
                hashlib.sha256(path.read_bytes()).hexdigest(),
                path.stat().st_uid,
                path.stat().st_mode,
            )
            for path in sorted(self.repository_path.rglob("*"))
            if path.is_file()
        }


def killed_at(
    moment: str, folder: Path, operation: str, target: UUID, arguments: dict[str, Any]
) -> None:
    """Have a server, in a process of its own, do something, and be killed at a moment."""
    request = json.dumps({"operation": operation, "target": str(target), **arguments})
    script = Path(__file__).with_name("dying.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(folder), moment, request],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


async def hosted_lab(plain: Lab, daemon: Host) -> HostedLab:
    """Given a server, return it with the host, which is added unless the server knows it."""
    lab = HostedLab(plain.server, plain.clock, plain.folder)
    lab.repository, lab.daemon = plain.repository, daemon
    known = [each.uid for each in await lab.resources("ManagedServer") if "Uri" in each.values]
    if not known:
        outcome = await lab.command("add-host", **daemon.named("kvm1"))
        assert outcome.made is not None, outcome.message
        known = [outcome.made.uid]
    lab.host = known[0]
    return lab


def disks_of(domain: Any) -> dict[str, Path]:
    """Return the file of each disk of a machine."""
    disks = read_definition(domain.XMLDesc(0)).disks
    return {disk.target: Path(disk.path) for disk in disks if disk.path is not None}


def bytes_of(path: Path) -> bytes:
    """Return what a disk image holds, whoever has it open."""
    raw = path.with_name(f"{path.name}.as-raw")
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", path, raw], check=True)
    try:
        return raw.read_bytes()
    finally:
        raw.unlink()


def is_there(daemon: Host, name: str) -> bool:
    """Say whether the host has a machine."""
    direct = libvirt.open(daemon.uri)
    try:
        return name in [domain.name() for domain in direct.listAllDomains()]
    finally:
        direct.close()


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
