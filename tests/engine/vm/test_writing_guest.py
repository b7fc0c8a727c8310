"""A guest that writes all the time: each of its points is its disks as they were at one instant."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from engine.lab import MIB, wait_until
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.script import Script

from .booted import KERNEL, disk_at, kernel, newest_number, write_initrd
from .lab import Guest, back_up, restored_disks

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(not KERNEL.is_dir(), reason="make tools has not fetched a kernel"),
]

INCREMENTS = 10
FILES_SIZE, COUNTED_SIZE = 48 * MIB, 16 * MIB


@pytest.fixture
def writing_guest(make_guest: Callable[..., Guest], tmp_path: Path) -> Guest:
    """A guest that has begun to write to its two disks."""
    initrd, console = tmp_path / "initrd", tmp_path / "console"
    write_initrd(initrd)
    guest = make_guest(
        targets=(),
        started=False,
        memory=192,
        firmware=f"<kernel>{kernel()}</kernel><initrd>{initrd}</initrd>"
        "<cmdline>console=ttyS0 quiet panic=-1</cmdline>",
        extra=f"<serial type='file'><source path='{console}'/></serial>",
    )
    files = guest.add_disk("vda", size=FILES_SIZE)
    guest.add_disk("vdb", size=COUNTED_SIZE)
    raw = tmp_path / "files.raw"
    run("mke2fs", "-q", "-t", "ext4", raw, f"{FILES_SIZE // 1024}k")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, files.path)
    guest.define()
    guest.start()
    guest.domain.resume()
    wait_until(lambda: "is writing" in console.read_text(errors="replace"), seconds=200)
    return guest


def run(*command: object, allowed: tuple[int, ...] = (0,)) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    arguments = [str(part) for part in command]
    done = subprocess.run(
        arguments, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode in allowed, f"{arguments}: {done.stdout} {done.stderr}"


def script(path: Path, *commands: str) -> Script:
    path.write_text("\n".join(("#!/bin/sh -e", *commands)) + "\n")
    path.chmod(0o755)
    return Script(path)


async def test_each_point_of_a_guest_that_writes_all_the_time_is_of_one_instant(
    connection: LibvirtConnection, writing_guest: Guest, folder: Path, tmp_path: Path
) -> None:
    guest = writing_guest
    virsh = f"virsh --quiet --connect '{guest.host.uri}'"
    frozen = {target: tmp_path / f"{target}.frozen" for target in guest.disks}
    # At the instant the guest is held, its disks are copied, and it goes on while QEMU still does.
    stop = script(tmp_path / "stop", f"{virsh} suspend {guest.name}")
    go_on = script(
        tmp_path / "go on",
        *(
            f"qemu-img convert -U -f qcow2 -O raw {guest.disks[target].path} {copy}"
            for target, copy in frozen.items()
        ),
        f"{virsh} resume {guest.name}",
    )
    result, number = None, 0
    for point in range(1 + INCREMENTS):
        # Every second time the guest is not held at all: then its numbers tell what must be there.
        held = point % 2 == 0
        scripts = {"before": stop, "after": go_on} if held else {}
        if guest.domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
            guest.domain.resume()
        await asyncio.sleep(0.3)
        result = await back_up(connection, guest, folder, f"p{point}", result, **scripts)
        # While the point is looked at, the guest need not take the processor's time.
        guest.domain.suspend()
        assert result.rung is (Rung.CHANGED_BLOCKS if point else Rung.FULL)
        assert result.warnings == ()
        found = await restored_disks(result, folder, tmp_path / "restored")
        if held:
            assert found == {target: copy.read_bytes() for target, copy in frozen.items()}
        before, number = number, newest_number(found["vdb"])
        assert number > before, "the guest did not write"
        assert found["vdb"] == disk_at(number, COUNTED_SIZE)
        ensure_clean(found["vda"], tmp_path / "files")


def ensure_clean(disk: bytes, path: Path) -> None:
    """The journal is replayed, as when the guest starts again; then nothing is wrong."""
    path.write_bytes(disk)
    run("e2fsck", "-p", path, allowed=(0, 1))
    run("e2fsck", "-fn", path)
