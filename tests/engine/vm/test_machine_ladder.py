"""What breaks a record of changed blocks: the chain goes on a rung lower, and is never wrong."""

# ruff: noqa: ASYNC221, ASYNC240 - a test has the event loop for itself

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from engine.lab import MIB
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.script import Script

from .lab import Guest, back_up, restored_disks

pytestmark = pytest.mark.vm

CHANGED, DIFFERENCE, FULL = Rung.CHANGED_BLOCKS, Rung.DIFFERENCE, Rung.FULL


def rungs(result: MachineResult) -> dict[str, Rung]:
    return {disk.state.target: disk.rung for disk in result.point.disks}


async def first_points(connection: LibvirtConnection, guest: Guest, folder: Path) -> MachineResult:
    """A full and an increment by changed blocks; return the increment."""
    guest.write_something(0)
    full = await back_up(connection, guest, folder, "p0")
    guest.write_something(1)
    return await back_up(connection, guest, folder, "p1", full)


async def ensure_chain_goes_on(
    connection: LibvirtConnection, guest: Guest, folder: Path, parent: MachineResult, out: Path
) -> None:
    """After the fall, the next point is made of changed blocks again, and is right."""
    guest.write_something(5)
    result = await back_up(connection, guest, folder, "next", parent)
    tracked = [disk.target for disk in guest.disks.values() if disk.format == "qcow2"]
    assert {target: rungs(result)[target] for target in tracked} == dict.fromkeys(tracked, CHANGED)
    assert result.warnings == ()
    assert await restored_disks(result, folder, out) == guest.contents()
    assert guest.checkpoints() == sorted([parent.point.checkpoint, result.point.checkpoint])
    guest.ensure_untouched()
    guest.power_off()
    for target in tracked:
        assert sorted(guest.bitmaps(target)) == guest.checkpoints()


async def test_killed_qemu(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    parent = await first_points(connection, guest, folder)
    guest.power_off()
    guest.start()
    guest.write_something(2)
    guest.kill()  # now the bitmaps in the images say that they were not stored
    guest.start()
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": DIFFERENCE, "vdb": DIFFERENCE}
    assert all("missing or broken, as after a crash" in text for text in result.warnings)
    assert len(result.warnings) == 2
    assert result.point.incremental
    assert sum(disk.data_size for disk in result.point.disks) < MIB
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


async def test_qemu_killed_before_it_ever_stored_its_bitmaps(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    parent = await first_points(connection, guest, folder)
    guest.kill()
    guest.start()
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": DIFFERENCE, "vdb": DIFFERENCE}
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


async def test_bitmap_missing_on_one_disk_only(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    parent = await first_points(connection, guest, folder)
    guest.power_off()
    image = guest.disks["vdb"].path
    for bitmap in guest.bitmaps("vdb"):
        subprocess.run(["qemu-img", "bitmap", "--remove", image, bitmap], check=True)
    guest.start()
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": CHANGED, "vdb": DIFFERENCE}
    assert result.rung is DIFFERENCE
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


async def test_disk_resized(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    parent = await first_points(connection, guest, folder)
    guest.domain.blockResize("vda", 10 * MIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
    guest.disks["vda"].content += bytes(2 * MIB)
    guest.write("vda", 9 * MIB, MIB, 77)
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": FULL, "vdb": CHANGED}
    (warning,) = result.warnings
    assert "vda was kept whole, because its size changed from 8388608 to 10485760" in warning
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


async def test_disk_added(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    parent = await first_points(connection, guest, folder)
    guest.power_off()
    guest.add_disk("vdc")
    guest.define()
    guest.start()
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": CHANGED, "vdb": CHANGED, "vdc": FULL}
    assert "the previous point does not hold this disk" in result.warnings[0]
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


async def test_disks_that_change_places_although_both_have_the_bitmap(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    parent = await first_points(connection, guest, folder)
    guest.power_off()
    first, second = guest.disks["vda"], guest.disks["vdb"]
    first.path, second.path = second.path, first.path
    first.content, second.content = second.content, first.content
    guest.define()
    guest.start()
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": DIFFERENCE, "vdb": DIFFERENCE}
    assert "it lies in another place" in result.warnings[0]
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


async def test_file_replaced_by_another_of_the_same_name(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    parent = await first_points(connection, guest, folder)
    guest.power_off()
    first, second = guest.disks["vda"], guest.disks["vdb"]
    # A copy of the other disk, with its bitmap of the same name.
    shutil.copy(second.path, tmp_path / "copy")
    (tmp_path / "copy").rename(first.path)
    first.content[:] = second.content
    guest.start()
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": DIFFERENCE, "vdb": CHANGED}
    assert "was replaced by another" in result.warnings[0]
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


@pytest.mark.parametrize(
    "flags", [0, libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY], ids=["whole", "record"]
)
async def test_checkpoint_deleted_by_another_program(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path, flags: int
) -> None:
    parent = await first_points(connection, guest, folder)
    for checkpoint in guest.domain.listAllCheckpoints(0):
        checkpoint.delete(flags)
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": DIFFERENCE, "vdb": DIFFERENCE}
    assert "or another program deleted it" in result.warnings[0]
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


async def test_raw_disk_falls_without_a_warning(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
    tmp_path: Path,
) -> None:
    guest = make_guest(started=False)
    guest.add_disk("vdc", format="raw")
    guest.define()
    guest.start()
    parent = await first_points(connection, guest, folder)
    assert rungs(parent) == {"vda": CHANGED, "vdb": CHANGED, "vdc": DIFFERENCE}
    assert parent.warnings == ()
    assert "vdc was read whole to keep what differs, because its format raw" in parent.notes[-1]
    assert await restored_disks(parent, folder, tmp_path / "out") == guest.contents()
    await ensure_chain_goes_on(connection, guest, folder, parent, tmp_path / "out")


async def test_parent_file_missing_or_damaged(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    parent = await first_points(connection, guest, folder)
    (folder / "p0.vda.qcow2").unlink()
    with (folder / "p1.vdb.qcow2").open("r+b") as file:
        file.write(b"nonsense")
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", parent)
    assert rungs(result) == {"vda": FULL, "vdb": FULL}
    assert "p0.vda.qcow2 is missing" in result.warnings[0]
    assert "p1.vdb.qcow2 is damaged" in result.warnings[1]
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()


@pytest.mark.parametrize("started", [True, False])
async def test_parent_whose_tables_are_damaged_is_noticed_while_disks_are_copied(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path, started: bool
) -> None:
    parent = await first_points(connection, guest, folder)
    guest.write_something(2)
    if not started:
        guest.power_off()
    with (folder / "p1.vda.qcow2").open("r+b") as file:
        file.seek(40)
        file.seek(int.from_bytes(file.read(8)))
        file.write(b"\x80" + b"\xff" * 7)  # where the first table of clusters should lie
    ran = tmp_path / "ran"
    before = tmp_path / "before"
    before.write_text(f"#!/bin/sh\necho once >> {ran}\n")
    before.chmod(0o755)
    script = Script(before, 10.0) if started else None
    result = await back_up(connection, guest, folder, "p2", parent, before=script)
    assert rungs(result) == {"vda": FULL, "vdb": CHANGED}
    assert len(result.warnings) == 1
    assert "p1.vda.qcow2 is damaged" in result.warnings[0]
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    assert guest.checkpoints() == ["holdfast.c1.p1", "holdfast.c1.p2"]
    assert list(folder.glob("*.partial")) == []
    assert guest.domain.isActive() == started
    if started:
        assert ran.read_text() == "once\n"
        await ensure_chain_goes_on(connection, guest, folder, result, tmp_path / "out")


async def test_two_chains_of_one_machine_do_not_disturb_each_other(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    latest: dict[str, MachineResult | None] = {"c1": None, "c2": None}
    for number in range(4):
        for chain, parent in latest.items():
            guest.write_something(number)
            name = f"{chain}-{number}"
            result = await back_up(connection, guest, folder, name, parent, chain=chain)
            assert result.rung is (FULL if number == 0 else CHANGED)
            assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
            latest[chain] = result
