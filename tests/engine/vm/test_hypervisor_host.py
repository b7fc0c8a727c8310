"""What a host is, whether its KVM truly runs, and which machines it has."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.lab import MIB
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_host import ListedDisk, list_machines, probe_host
from holdfast.engine.libvirt_machine import State
from holdfast.engine.libvirt_probe import boot_problem, boot_sector

from .lab import DISK_SIZE, Guest

pytestmark = pytest.mark.vm


async def test_host_is_told_with_its_versions_and_what_it_can_run(
    connection: LibvirtConnection, tmp_path: Path
) -> None:
    info = await probe_host(connection, tmp_path)
    assert info.architecture == "x86_64"
    assert info.libvirt_version.count(".") == info.qemu_version.count(".") == 2
    # Whether there is KVM depends on where the tests run; it must have been tried out.
    assert info.acceleration.kind in ("kvm", "qemu")
    assert "no machine was booted" not in info.acceleration.reason
    assert list(tmp_path.iterdir()) == []
    claimed = (await probe_host(connection)).acceleration
    assert claimed.kind == "qemu" or "no machine was booted" in claimed.reason


async def test_machine_that_boots_and_one_that_does_not_are_told_apart(
    connection: LibvirtConnection, tmp_path: Path
) -> None:
    image = tmp_path / "boots.img"
    image.write_bytes(boot_sector())
    assert await boot_problem(connection, image, "qemu", seconds=60) is None
    image = tmp_path / "empty.img"
    image.write_bytes(bytes(512))
    problem = await boot_problem(connection, image, "qemu", seconds=0.5)
    assert problem == "a machine did not boot within 0.5 s."
    assert [machine.name for machine in await list_machines(connection)] == []


async def test_machines_are_listed_with_disks_and_tags(
    connection: LibvirtConnection, make_guest: Callable[..., Guest]
) -> None:
    medium = "<disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk>"
    tags = (
        "<metadata><a:tags xmlns:a='urn:a'><a:tag>gold</a:tag><a:tag> web </a:tag></a:tags>"
        "</metadata>"
    )
    off = make_guest(started=False, extra=medium, metadata=tags)
    off.disks["vdb"].path.unlink()
    on = make_guest(targets=("vda",))
    first, second = await list_machines(connection)
    assert (first.uuid, first.name, first.state) == (off.uuid, off.name, State.OFF)
    assert first.tags == ("gold", "web")
    assert first.disks == (
        ListedDisk("vda", str(off.disks["vda"].path), "qcow2", DISK_SIZE, None),
        ListedDisk("vdb", str(off.disks["vdb"].path), "qcow2", None, None),
        ListedDisk("hda", None, "raw", None, "it is a cdrom"),
    )
    assert (second.name, second.state, second.tags) == (on.name, State.PAUSED, ())
    assert second.disks[0].virtual_size == 8 * MIB
