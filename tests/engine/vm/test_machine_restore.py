"""Machines come back: on a host under old or new names, in place, and as plain files."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

import asyncio
import hashlib
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from engine.lab import MIB, wait_until
from holdfast.engine import libvirt_restore
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    HypervisorFailed,
    HypervisorUnavailable,
    LeftUnfinished,
    MachineBusy,
)
from holdfast.engine.image import restore_image
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_connection import LibvirtConnection, connected
from holdfast.engine.libvirt_domain import read_definition
from holdfast.engine.libvirt_in_place import restore_in_place
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_restore import RestorePlan, restore_machine
from holdfast.engine.restored_files import NoLedger, WholeFile

from .lab import Guest, Host, back_up, restored_disks

pytestmark = pytest.mark.vm

NETWORK = (
    "<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>"
)


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    made = tmp_path / "targets"
    made.mkdir()
    return made


async def two_points(
    connection: LibvirtConnection, guest: Guest, folder: Path
) -> tuple[MachineResult, dict[str, bytes], MachineResult, dict[str, bytes]]:
    guest.write_something(0)
    older, before = await back_up(connection, guest, folder, "p0"), guest.contents()
    guest.write_something(1)
    newer = await back_up(connection, guest, folder, "p1", older)
    return older, before, newer, guest.contents()


def bytes_of(path: Path, format: str, to: Path) -> bytes:
    subprocess.run(["qemu-img", "convert", "-U", "-f", format, "-O", "raw", path, to], check=True)
    return to.read_bytes()


async def test_machine_under_a_new_name_with_new_identifiers_beside_the_old_one(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
    targets: Path,
    tmp_path: Path,
) -> None:
    guest = make_guest(extra=NETWORK)
    _older, _before, newer, content = await two_points(connection, guest, folder)
    plan = RestorePlan(newer.point, folder, targets, "web copy", True, power_on=True)
    restored = await restore_machine(connection, plan)
    domain = guest.connection.lookupByUUIDString(restored.uuid)
    try:
        assert domain.isActive()
        assert domain.name() == restored.name == "web copy"
        xml = domain.XMLDesc(0)
        assert restored.uuid != guest.uuid
        assert "52:54:00:11:22:33" not in xml
        assert "<mac address=" in xml
        paths = {disk.target: disk.path for disk in read_definition(xml).disks}
        assert paths == {target: str(path) for target, path in restored.disks.items()}
        assert {path.parent for path in restored.disks.values()} == {targets}
    finally:
        domain.destroy()
        domain.undefine()
    for target, path in restored.disks.items():
        assert bytes_of(path, "qcow2", tmp_path / "out") == content[target]
    # The restored machine is a machine of its own, with a chain of its own.
    assert guest.domain.isActive()


async def test_machine_under_its_own_name_and_identifiers_after_it_was_lost(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
    targets: Path,
    tmp_path: Path,
) -> None:
    guest = make_guest(extra=NETWORK)
    uuid = guest.uuid
    older, before, newer, _content = await two_points(connection, guest, folder)
    with pytest.raises(MachineBusy, match="has a machine"):
        await restore_machine(connection, RestorePlan(newer.point, folder, targets))
    assert list(targets.iterdir()) == []
    guest.kill()
    guest.discard()
    restored = await restore_machine(connection, RestorePlan(older.point, folder, targets))
    assert (restored.uuid, restored.name) == (uuid, guest.name)
    assert not guest.domain.isActive()
    assert "52:54:00:11:22:33" in guest.domain.XMLDesc(0)
    for target, path in restored.disks.items():
        assert bytes_of(path, "qcow2", tmp_path / "out") == before[target]


async def test_a_machine_that_came_in_between_is_left_alone(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
    targets: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest()
    uuid = guest.uuid
    point = (await back_up(connection, guest, folder, "p0")).point
    guest.kill()
    guest.discard()
    other = f"<domain type='qemu'><name>other</name><uuid>{uuid}</uuid><memory>1024</memory>"
    other += "<os><type>hvm</type></os></domain>"

    class Meanwhile(NoLedger):
        async def naming(self, files: Sequence[WholeFile]) -> None:  # noqa: ARG002
            guest.connection.defineXML(other)

    plan = RestorePlan(point, folder, targets)
    try:
        with pytest.raises(MachineBusy, match="has a machine"):
            await restore_machine(connection, plan, ledger=Meanwhile())
        assert guest.connection.lookupByUUIDString(uuid).name() == "other"
        guest.connection.lookupByName("other").undefine()

        async def look(*_arguments: object) -> None:
            """Find nothing, as when it comes after the last look."""

        monkeypatch.setattr(libvirt_restore, "_ensure_new", look)
        with pytest.raises(HypervisorFailed, match="already defined"):
            await restore_machine(connection, plan, ledger=Meanwhile())
        assert guest.connection.lookupByUUIDString(uuid).name() == "other"
    finally:
        guest.connection.lookupByUUIDString(uuid).undefine()
    assert list(targets.iterdir()) == []


async def test_restore_in_place_and_the_chain_goes_on(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    older, before, newer, _content = await two_points(connection, guest, folder)
    plan = RestorePlan(older.point, folder, folder)
    with pytest.raises(MachineBusy, match="runs; power it off"):
        await restore_in_place(connection, plan)
    guest.power_off()
    await restore_in_place(connection, plan)
    assert guest.checkpoints() == []
    for target, disk in guest.disks.items():
        assert bytes_of(disk.path, "qcow2", tmp_path / "out") == before[target]
        disk.content[:] = before[target]
    guest.start()
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", newer)
    assert result.rung is Rung.DIFFERENCE
    assert len(result.warnings) == 2
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()


async def test_one_disk_in_place_and_the_chain_goes_on(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    older, before, newer, _content = await two_points(connection, guest, folder)
    guest.power_off()
    plan = RestorePlan(older.point, folder, folder, disks=frozenset({"vdb"}))
    await restore_in_place(connection, plan)
    guest.disks["vdb"].content[:] = before["vdb"]
    guest.start()
    guest.write_something(2)
    result = await back_up(connection, guest, folder, "p2", newer)
    rungs = {disk.state.target: disk.rung for disk in result.point.disks}
    assert rungs == {"vda": Rung.CHANGED_BLOCKS, "vdb": Rung.DIFFERENCE}
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()


async def test_in_place_is_where_the_disks_are_now_and_nothing_else_is_overwritten(
    connection: LibvirtConnection,
    guest: Guest,
    make_guest: Callable[..., Guest],
    folder: Path,
    tmp_path: Path,
) -> None:
    older, before, _newer, content = await two_points(connection, guest, folder)
    whole = RestorePlan(older.point, folder, folder)
    one = replace(whole, disks=frozenset({"vda"}))
    other = make_guest(targets=("vda",), started=False)
    guest.power_off()
    # The disk was moved, and where it was is another machine's.
    vda = guest.disks["vda"]
    before_it = vda.path
    vda.path = vda.path.with_name("moved.qcow2")
    before_it.rename(vda.path)
    guest.define()
    other.disks["vda"].path.rename(before_it)
    other.disks["vda"].path = before_it
    other.define()
    theirs = before_it.read_bytes()

    def held() -> dict[str, bytes]:
        return {
            t: bytes_of(disk.path, "qcow2", tmp_path / "out") for t, disk in guest.disks.items()
        }

    await restore_in_place(connection, one)
    assert held() == {"vda": before["vda"], "vdb": content["vdb"]}
    restored = await restore_in_place(connection, whole)
    assert held() == before
    assert restored.disks == {target: disk.path for target, disk in guest.disks.items()}
    assert before_it.read_bytes() == theirs
    disks = read_definition(guest.domain.XMLDesc(0)).disks
    assert {disk.path for disk in disks} == {str(disk.path) for disk in guest.disks.values()}
    # A machine keeps the name that it has now.
    name = guest.name
    guest.domain.rename("renamed")
    guest.name = "renamed"
    await restore_in_place(connection, whole)
    assert guest.domain.name() == "renamed"
    guest.domain.rename(name)
    guest.name = name
    # What is no disk of it any more is left alone, but made anew where nothing is.
    vdb = guest.disks.pop("vdb")
    guest.define()
    kept = vdb.path.read_bytes()
    with pytest.raises(EngineError, match=r"is no disk of the machine \S+ any more"):
        await restore_in_place(connection, whole)
    with pytest.raises(EngineError, match="has no disk vdb any more"):
        await restore_in_place(connection, replace(whole, disks=frozenset({"vdb"})))
    assert vdb.path.read_bytes() == kept
    vdb.path.unlink()
    guest.disks["vdb"] = vdb
    await restore_in_place(connection, whole)
    assert held() == before
    # Two machines have one disk.
    other.disks["vda"].path = vda.path
    other.define()
    with pytest.raises(EngineError, match=f"is a disk of the machine {other.name}, too"):
        await restore_in_place(connection, whole)
    assert held() == before


async def test_in_place_of_a_disk_that_a_snapshot_has_built_on_another(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    guest.write("vda", 0, 65536, 7)
    older, before = await back_up(connection, guest, folder, "p0"), guest.contents()

    def layers() -> dict[str, list[str]]:
        found = {}
        for disk, device in zip(guest.disks, guest.ask_qemu("query-block"), strict=True):
            image, found[disk] = device["inserted"]["image"], []
            while image:
                found[disk].append(image["filename"])
                image = image.get("backing-image")
        return found

    disks = "".join(
        f"<disk name='{target}' snapshot='external'><source file='{disk.path}.snap'/></disk>"
        for target, disk in guest.disks.items()
    )
    guest.domain.snapshotCreateXML(
        f"<domainsnapshot><disks>{disks}</disks></domainsnapshot>",
        libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
        | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA,
    )
    for disk in guest.disks.values():
        disk.path = Path(f"{disk.path}.snap")
    # What is zero in the point would be read from below.
    guest.write("vda", MIB, 65536, 9)
    newer, after = await back_up(connection, guest, folder, "p1"), guest.contents()
    assert newer.rung == "full"
    assert all(len(found) == 2 for found in layers().values())
    guest.power_off()
    whole = RestorePlan(older.point, folder, folder)
    await restore_in_place(connection, replace(whole, disks=frozenset({"vda"})))
    guest.start()
    assert layers()["vda"] == [str(guest.disks["vda"].path)]
    assert len(layers()["vdb"]) == 2
    guest.power_off()
    for point, content in ((newer, after), (older, before)):
        await restore_in_place(connection, replace(whole, point=point.point))
        guest.start()
        assert layers() == {target: [str(disk.path)] for target, disk in guest.disks.items()}
        guest.power_off()
        for target, disk in guest.disks.items():
            assert bytes_of(disk.path, "qcow2", tmp_path / "out") == content[target]


async def test_disks_of_no_point_stay_what_they_are_in_place(
    connection: LibvirtConnection, make_guest: Callable[..., Guest], folder: Path
) -> None:
    guest = make_guest(targets=("vda", "vdb", "vdc"))
    left_out = frozenset({"vdb", "vdc"})
    older = await back_up(connection, guest, folder, "p0", left_out=left_out)
    assert [disk.state.target for disk in older.point.disks] == ["vda"]
    guest.power_off()
    vdb = guest.disks["vdb"]
    was = vdb.path
    vdb.path = was.with_name("moved.qcow2")
    was.rename(vdb.path)
    del guest.disks["vdc"]
    guest.define()
    await restore_in_place(connection, RestorePlan(older.point, folder, folder))
    disks = read_definition(guest.domain.XMLDesc(0)).disks
    assert {disk.target: disk.path for disk in disks} == {
        target: str(disk.path) for target, disk in guest.disks.items()
    }


async def test_what_changes_while_disks_are_copied_keeps_them_from_being_replaced(
    connection: LibvirtConnection,
    guest: Guest,
    make_guest: Callable[..., Guest],
    folder: Path,
    tmp_path: Path,
) -> None:
    older, _before, _newer, content = await two_points(connection, guest, folder)
    other = make_guest(targets=("vda",), started=False)
    guest.power_off()
    vdb = guest.disks["vdb"]

    class Meanwhile(NoLedger):
        """Another machine is given one of the disks while they are copied."""

        async def writing(self, _paths: Sequence[str]) -> None:
            other.disks["vda"].path = vdb.path
            other.define()

    whole = RestorePlan(older.point, folder, folder)
    with pytest.raises(EngineError, match=f"is a disk of the machine {other.name}, too"):
        await restore_in_place(connection, whole, ledger=Meanwhile())
    for target, disk in guest.disks.items():
        assert bytes_of(disk.path, "qcow2", tmp_path / "out") == content[target]
    assert not list(vdb.path.parent.glob("*.partial"))
    # Two disks of the point would be one file.
    other.discard()
    del guest.disks["vda"]
    guest.disks["vda"] = replace(vdb, target="vda")
    del guest.disks["vdb"]
    guest.define()
    vda = older.point.disks[0].state
    assert vda.target == "vda"
    with pytest.raises(EngineError, match="vda and vdb would both be restored to"):
        await restore_in_place(connection, whole)


@pytest.mark.parametrize("format", ["raw", "qcow2", "vmdk"])
async def test_disk_to_a_plain_file(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path, format: str
) -> None:
    _older, _before, newer, content = await two_points(connection, guest, folder)
    disk = newer.point.disks[1]
    path = tmp_path / f"restored.{format}"
    await restore_image(folder / disk.file.name, path, format=format)
    assert bytes_of(path, format, tmp_path / "out") == content["vdb"]


async def test_failed_or_stopped_restore_leaves_nothing(
    connection: LibvirtConnection, guest: Guest, folder: Path, targets: Path
) -> None:
    _older, _before, newer, _content = await two_points(connection, guest, folder)
    plan = RestorePlan(newer.point, folder, targets, "copy", True)
    names = [domain.name() for domain in guest.connection.listAllDomains()]

    def ensure_nothing_is_left() -> None:
        assert list(targets.iterdir()) == []
        assert [domain.name() for domain in guest.connection.listAllDomains()] == names

    task = asyncio.create_task(restore_machine(connection, plan, lambda _progress: task.cancel()))
    with pytest.raises(asyncio.CancelledError):
        await task
    ensure_nothing_is_left()

    definition = folder / newer.point.definition.name
    stored = definition.read_bytes()
    definition.write_bytes(stored.replace(b">32768<", b">99999<"))
    with pytest.raises(ChainBroken, match="is not what was stored"):
        await restore_machine(connection, plan)
    definition.write_bytes(stored)

    nowhere = targets / "nowhere"
    for restoring in (
        restore_machine(connection, replace(plan, target_folder=nowhere)),
        libvirt_restore.restore_disks(replace(plan, target_folder=nowhere), "raw"),
    ):
        with pytest.raises(EngineError, match=f"^folder: {nowhere} does not exist; expected"):
            await restoring
    with pytest.raises(EngineError, match="does not hold the disk vdz"):
        await restore_machine(
            connection,
            RestorePlan(newer.point, folder, targets, "copy", True, frozenset({"vdz"})),
        )
    (folder / newer.point.disks[1].file.name).unlink()
    with pytest.raises(ChainBroken, match=r"p1\.vdb\.qcow2 is missing"):
        await restore_machine(connection, plan)
    ensure_nothing_is_left()


async def test_machine_that_does_not_start_is_taken_away_again(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
    targets: Path,
) -> None:
    guest = make_guest(targets=("vda",))
    guest.write("vda", 0, MIB, 3)
    result = await back_up(connection, guest, folder, "p0")
    missing = "<serial type='file'><source path='/nowhere/at/all'/></serial>"
    guest.power_off()
    guest.extra = missing
    guest.define()
    other = folder / "p0.xml"
    text = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    other.write_text(text)
    definition = replace(result.point.definition, sha256=hashlib.sha256(text.encode()).hexdigest())
    point = replace(result.point, definition=definition)
    with pytest.raises(HypervisorFailed, match="starting"):
        await restore_machine(
            connection, RestorePlan(point, folder, targets, "copy", True, power_on=True)
        )
    assert list(targets.iterdir()) == []
    assert [domain.name() for domain in guest.connection.listAllDomains()] == [guest.name]


async def starts_and_does_not_say_so(machine: LibvirtMachine) -> None:
    """Power a machine on, but have no answer."""

    def start(_library: Any, domain: Any) -> None:
        domain.create()
        time.sleep(2)

    await machine._ask(start, "starting", 0.5)


async def test_a_host_that_hangs_while_a_machine_is_powered_on_keeps_nothing_without_disks(
    connection: LibvirtConnection,
    host: Host,
    make_guest: Callable[..., Guest],
    folder: Path,
    targets: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest(targets=("vda",))
    point = (await back_up(connection, guest, folder, "p0")).point
    plan = RestorePlan(point, folder, targets, "copy", True, power_on=True)
    monkeypatch.setattr(LibvirtMachine, "start", starts_and_does_not_say_so)
    async with connected(host.uri) as hanging:
        with pytest.raises(HypervisorUnavailable, match=r"gave no answer within .* starting"):
            await restore_machine(hanging, plan)
    assert list(targets.iterdir()) == []
    assert [domain.name() for domain in guest.connection.listAllDomains()] == [guest.name]

    def gone(*_arguments: object) -> None:
        raise HypervisorUnavailable("The host is away.")

    monkeypatch.setattr(LibvirtConnection, "another", gone)
    async with connected(host.uri) as hanging:
        with pytest.raises(LeftUnfinished, match=r"files stay for now: The host is away\."):
            await restore_machine(hanging, plan)
    # It may run, so it has its disk.
    wait_until(lambda: is_active(guest, "copy"))
    domain = guest.connection.lookupByName("copy")
    assert list(targets.iterdir()) == [targets / "copy-vda.qcow2"]
    domain.destroy()
    domain.undefine()


def is_active(guest: Guest, name: str) -> bool:
    try:
        return bool(guest.connection.lookupByName(name).isActive())
    except libvirt.libvirtError:
        return False


async def test_a_machine_that_is_restored_in_place_and_does_not_start_is_restored(
    connection: LibvirtConnection,
    host: Host,
    make_guest: Callable[..., Guest],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest()
    older, before, _newer, _content = await two_points(connection, guest, folder)
    guest.power_off()
    plan = RestorePlan(older.point, folder, folder, power_on=True)
    monkeypatch.setattr(LibvirtMachine, "start", starts_and_does_not_say_so)
    async with connected(host.uri) as hanging:
        restored = await restore_in_place(hanging, plan)
    assert "Whether it was powered on is not known" in restored.warning
    wait_until(lambda: is_active(guest, guest.name))
    guest.domain.suspend()
    for target, disk in guest.disks.items():
        assert bytes_of(disk.path, "qcow2", tmp_path / "out") == before[target]
    assert not list(guest.folder.glob("*.partial"))
