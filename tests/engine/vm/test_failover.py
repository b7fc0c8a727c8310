"""A replica takes over and gives back, step by step, and from wherever a crash left it."""

import asyncio
import hashlib
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import libvirt
import libvirt_qemu
import pytest

from engine.lab import MIB
from holdfast.engine import libvirt_failback, libvirt_same_folder
from holdfast.engine.errors import (
    EngineError,
    HypervisorUnavailable,
    MachineBusy,
    RepositoryUnavailable,
)
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import REPLICA_MARK, Identity, rewritten
from holdfast.engine.libvirt_failback import FailbackPlan, bring_back, ensure_possible
from holdfast.engine.libvirt_failover import (
    fail_over,
    is_failed_over,
    keep_on,
    make_permanent,
    shut_down,
    start,
    take_back,
)
from holdfast.engine.libvirt_ladder import DiskState, Rung
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_overlay import FailoverPlan
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint, StoredFile
from holdfast.engine.libvirt_same_folder import ensure_same_folder
from holdfast.engine.libvirt_xml import parse, unparse
from support.cut_off import Killed, cut_off

from .lab import DISK_SIZE, Guest, Host, RemoteConnection, back_up, restored_disks

pytestmark = pytest.mark.vm

REPLICA = "7d1c0c1e-58a5-4d0e-9d3a-3a3b1f1d2e4f"
NETWORK = (
    "<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>"
)
MAPPED = (
    "<interface type='user'><mac address='52:54:00:99:88:77'/><model type='e1000'/></interface>"
)


@dataclass
class Replica:
    """A replica of a guest on the other host, with its points in a folder."""

    host: Host
    direct: Any
    connection: LibvirtConnection
    source: LibvirtConnection
    guest: Guest
    folder: Path
    points: list[MachineResult] = field(default_factory=list)
    contents: list[dict[str, bytes]] = field(default_factory=list)
    ready: str = ""

    @property
    def domain(self) -> Any:
        return self.direct.lookupByUUIDString(REPLICA)

    async def replicate(self) -> MachineResult:
        parent = self.points[-1] if self.points else None
        made = await back_up(self.source, self.guest, self.folder, f"p{len(self.points)}", parent)
        self.points.append(made)
        self.contents.append(self.guest.contents())
        xml = (self.folder / made.point.definition.name).read_bytes()
        disks = {d.state.target: (self.folder / d.file.name, "qcow2") for d in made.point.disks}
        ready = rewritten(
            xml, identity=Identity("web_replica", REPLICA, True), disks=disks, nvram=None
        )
        root = parse(ready, "it")
        for interface in root.findall("devices/interface"):
            interface.addnext(parse(MAPPED, "it"))
            interface.getparent().remove(interface)
        self.direct.defineXML(unparse(root))
        self.ready = self.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        return made

    def plan(self, number: int = -1) -> FailoverPlan:
        identity = Identity("web_replica", REPLICA, False)
        return FailoverPlan(identity, self.folder, self.points[number].point, "f1", self.ready)

    def failback(self, number: int = -1) -> FailbackPlan:
        later = () if number == -1 else tuple(p.point for p in self.points[number + 1 :])
        return FailbackPlan(self.plan(number), self.guest.uuid, self.folder, later)

    def write(self, target: str, offset: int, length: int, pattern: int) -> None:
        number = [d.state.target for d in self.points[-1].point.disks].index(target)
        backend = f"/machine/peripheral/virtio-disk{number}/virtio-backend"
        for command in (f"write -P {pattern} {offset} {length}", "flush"):
            said = libvirt_qemu.qemuMonitorCommand(
                self.domain,
                f'qemu-io -d {backend} "{command}"',
                libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
            )
            assert not said.strip(), said

    def checksums(self) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.folder.iterdir()
            if path.name.startswith("p")
        }

    def disks_of(self, plan: FailoverPlan, to: Path) -> dict[str, bytes]:
        return {target: raw(layer, to) for target, layer in plan.layers.items()}

    def is_ready(self) -> bool:
        return (
            not self.domain.isActive()
            and self.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == self.ready
            and not list(self.folder.glob("failover-*"))
        )


def raw(path: Path, to: Path, format: str = "qcow2") -> bytes:
    subprocess.run(["qemu-img", "convert", "-U", "-f", format, "-O", "raw", path, to], check=True)
    return to.read_bytes()


def patched(content: bytes, offset: int, length: int, pattern: int) -> bytes:
    return content[:offset] + bytes([pattern]) * length + content[offset + length :]


@pytest.fixture
async def make_replica(
    target_host: Host,
    target_connection: LibvirtConnection,
    target_machines: libvirt.virConnect,
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
) -> Callable[..., Awaitable[Replica]]:
    """Make a machine that has a replica with two points."""

    async def make(*targets: str) -> Replica:
        guest = make_guest(targets=targets or ("vda",), extra=NETWORK)
        made = Replica(target_host, target_machines, target_connection, connection, guest, folder)
        for number in range(2):
            guest.write_something(number)
            await made.replicate()
        return made

    return make


@pytest.fixture
async def replica(make_replica: Callable[..., Awaitable[Replica]]) -> Replica:
    return await make_replica()


async def test_failover_write_failback_with_contents_proven_each_time(
    make_replica: Callable[..., Awaitable[Replica]], tmp_path: Path
) -> None:
    replica = await make_replica("vda", "vdb")
    before, plan, guest = replica.checksums(), replica.plan(), replica.guest
    await fail_over(replica.connection, plan)
    replica.domain.suspend()
    assert not any(layer.stat().st_mode & 0o077 for layer in plan.layers.values())
    assert replica.disks_of(plan, tmp_path / "raw") == replica.contents[-1]
    xml = replica.domain.XMLDesc(0)
    assert "52:54:00:99:88:77" in xml
    assert "e1000" in xml
    replica.write("vda", 3 * MIB, 100_000, 77)
    replica.write("vdb", 5 * MIB + 5, 9, 78)
    expected = {
        "vda": patched(replica.contents[-1]["vda"], 3 * MIB, 100_000, 77),
        "vdb": patched(replica.contents[-1]["vdb"], 5 * MIB + 5, 9, 78),
    }
    # The source went on for a while: what it wrote is to be given up.
    guest.write("vda", 6 * MIB, 70_000, 99)
    guest.power_off()
    await ensure_possible(replica.connection, replica.source, replica.failback())
    first = await bring_back(replica.source, replica.failback(), running=True)
    assert [disk.reason for disk in first] == [None, None]
    assert sum(disk.moved.written for disk in first) <= 8 * 65536
    replica.write("vdb", 1 * MIB, 65536, 79)
    expected["vdb"] = patched(expected["vdb"], 1 * MIB, 65536, 79)
    said = await shut_down(replica.connection, REPLICA, 0.3, force=True)
    assert said is not None
    last = await bring_back(replica.source, replica.failback(), running=False)
    assert [disk.reason for disk in last] == [None, None]
    assert sum(disk.moved.written for disk in last) <= 2 * 65536
    assert sum(disk.moved.read for disk in last) < DISK_SIZE // 4
    await start(replica.source, guest.uuid)
    guest.domain.suspend()
    for target, disk in guest.disks.items():
        assert raw(disk.path, tmp_path / "raw") == expected[target]
    # Nothing of the failback is left, and the chain goes on from changed blocks.
    await take_back(replica.connection, plan)
    assert replica.is_ready()
    assert replica.checksums() == before
    guest.disks["vda"].content[:] = expected["vda"]
    guest.disks["vdb"].content[:] = expected["vdb"]
    guest.write_something(3)
    newest = await replica.replicate()
    assert newest.rung is Rung.CHANGED_BLOCKS
    assert await restored_disks(newest, replica.folder, tmp_path / "raw") == guest.contents()


async def test_older_point_is_failed_over_to_and_failed_back_by_differences_alone(
    replica: Replica, tmp_path: Path
) -> None:
    plan, guest = replica.plan(0), replica.guest
    await fail_over(replica.connection, plan)
    replica.domain.suspend()
    assert replica.disks_of(plan, tmp_path / "raw") == replica.contents[0]
    replica.write("vda", 2 * MIB, 65536, 50)
    guest.power_off()
    await shut_down(replica.connection, REPLICA, 0.1, force=True)
    done = await bring_back(replica.source, replica.failback(0), running=False)
    assert [disk.reason for disk in done] == [None]
    assert sum(disk.moved.read for disk in done) < DISK_SIZE // 2
    expected = patched(replica.contents[0]["vda"], 2 * MIB, 65536, 50)
    assert raw(guest.disks["vda"].path, tmp_path / "raw") == expected
    # Layers in a folder that is away are not taken for removed.
    away = replica.folder.rename(tmp_path / "away")
    with pytest.raises(RepositoryUnavailable, match="mounted"):
        await take_back(replica.connection, plan)
    away.rename(replica.folder)
    await take_back(replica.connection, plan)
    assert replica.is_ready()


async def test_failback_without_a_record_of_changes_compares_whole_disks_and_says_so(
    replica: Replica, tmp_path: Path
) -> None:
    plan, guest = replica.plan(), replica.guest
    await fail_over(replica.connection, plan)
    replica.domain.suspend()
    replica.write("vda", 2 * MIB, 65536, 50)
    guest.write("vda", 7 * MIB, 4096, 51)
    guest.kill()  # QEMU loses its newest bitmaps
    await shut_down(replica.connection, REPLICA, 0.1, force=True)
    done = await bring_back(replica.source, replica.failback(), running=False)
    assert all(disk.reason is not None and "broken" in disk.reason for disk in done)
    assert sum(disk.moved.read for disk in done) == DISK_SIZE
    assert sum(disk.moved.written for disk in done) == 2 * 65536
    expected = patched(replica.contents[-1]["vda"], 2 * MIB, 65536, 50)
    assert raw(guest.disks["vda"].path, tmp_path / "raw") == expected


async def test_machines_that_somebody_started_are_left_alone(replica: Replica) -> None:
    replica.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    with pytest.raises(MachineBusy, match="runs already"):
        await fail_over(replica.connection, replica.plan())
    with pytest.raises(MachineBusy, match="other disks"):
        await take_back(replica.connection, replica.plan())
    assert replica.domain.isActive()
    assert not list(replica.folder.glob("failover-*"))
    replica.domain.destroy()
    await fail_over(replica.connection, replica.plan())
    with pytest.raises(MachineBusy, match="runs"):
        await bring_back(replica.source, replica.failback(), running=False)
    with pytest.raises(MachineBusy, match=r"within 0\.1 s"):
        await shut_down(replica.source, replica.guest.uuid, 0.1, force=False)
    assert replica.guest.domain.isActive()
    # A guest that ends although it was given up on is on again.
    keeping = asyncio.create_task(keep_on(replica.source, replica.guest.uuid, 60))
    replica.guest.power_off()
    await keeping
    assert replica.guest.domain.isActive()
    replica.guest.power_off()
    other = ["qemu-img", "create", "-q", "-f", "qcow2", replica.guest.disks["vda"].path, "16M"]
    subprocess.run(other, check=True)  # noqa: ASYNC221
    await shut_down(replica.connection, REPLICA, 0.1, force=True)
    with pytest.raises(EngineError, match="differ in size"):
        await bring_back(replica.source, replica.failback(), running=False)


@pytest.mark.parametrize(("error", "stride"), [(Killed, 2), (asyncio.CancelledError, 5)])
async def test_failover_ended_at_any_moment_is_carried_on_or_taken_back(
    replica: Replica, tmp_path: Path, error: type[BaseException], stride: int
) -> None:
    before, plan, waits = replica.checksums(), replica.plan(), 1
    carried_on = 0
    while not await cut_off(lambda: fail_over(replica.connection, plan), waits, error):
        if await is_failed_over(replica.connection, plan):
            await fail_over(replica.connection, plan)
            assert replica.domain.isActive()
            carried_on += 1
        await take_back(replica.connection, plan)
        assert replica.is_ready()
        waits += stride
    assert waits > 10
    # With long strides, none may fall between the start and the end.
    assert carried_on or stride > 2
    assert replica.disks_of(plan, tmp_path / "raw") == replica.contents[-1]
    ends = 1
    while not await cut_off(lambda: take_back(replica.connection, plan), ends, error):
        ends += stride
    assert ends > 5
    assert replica.is_ready()
    assert replica.checksums() == before


async def test_failback_killed_at_any_moment_is_carried_on(
    replica: Replica, tmp_path: Path
) -> None:
    guest, plan = replica.guest, replica.plan()
    await fail_over(replica.connection, plan)
    replica.domain.suspend()
    replica.write("vda", 2 * MIB, 65536, 50)
    guest.write("vda", 5 * MIB, 65536, 52)
    guest.power_off()
    await shut_down(replica.connection, REPLICA, 0.1, force=True)
    waits = 1
    while not await cut_off(
        lambda: bring_back(replica.source, replica.failback(), running=False), waits
    ):
        waits += 2 + waits // 3
    expected = patched(replica.contents[-1]["vda"], 2 * MIB, 65536, 50)
    assert raw(guest.disks["vda"].path, tmp_path / "raw") == expected


async def test_file_that_only_has_the_path_of_the_source_s_disk_is_not_written_to(
    make_guest: Callable[..., Guest],
    connection: LibvirtConnection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    guest = make_guest(targets=("vda",))
    guest.power_off()
    disk = guest.disks["vda"].path
    assert await LibvirtMachine(connection, guest.uuid).file_size("vda") == disk.stat().st_size

    async def on_another_machine(_machine: LibvirtMachine, _target: str) -> int:
        return disk.stat().st_size + 65536

    monkeypatch.setattr(LibvirtMachine, "file_size", on_another_machine)
    state = DiskState("vda", str(disk), "qcow2", DISK_SIZE, None)
    small = StoredFile("p", "")
    kept = DiskPoint(state, small, 0, 0, False, Rung.FULL, None)
    point = MachinePoint(guest.uuid, "n", None, None, small, None, (kept,))
    plan = FailoverPlan(Identity("n", REPLICA, False), tmp_path, point, "one", "")
    with pytest.raises(EngineError, match="on the source's host, so it is another one"):
        await ensure_possible(connection, connection, FailbackPlan(plan, guest.uuid, tmp_path))
    # Nothing shows of what a device of that path is there.
    monkeypatch.setattr(libvirt_failback, "_is_device", lambda _path: True)
    remote = cast(LibvirtConnection, RemoteConnection(connection))
    with pytest.raises(EngineError, match="is a block device, of which"):
        await ensure_possible(connection, remote, FailbackPlan(plan, guest.uuid, tmp_path))


async def test_device_of_a_host_on_another_machine_is_not_opened_here(
    replica: Replica, connection: LibvirtConnection
) -> None:
    await fail_over(replica.connection, replica.plan())
    replica.domain.destroy()
    replica.guest.power_off()
    definition = replica.guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    disk = replica.guest.disks["vda"].path
    before = disk.read_bytes()
    # Of that name there is something here, too, which is not to be written to.
    definition = definition.replace("<disk type='file'", "<disk type='block'")
    definition = definition.replace(f"<source file='{disk}'", f"<source dev='{disk}'")
    replica.guest.connection.defineXML(definition)
    remote = cast(LibvirtConnection, RemoteConnection(connection))
    with pytest.raises(EngineError, match="is a block device, of which"):
        await ensure_possible(replica.connection, remote, replica.failback())
    with pytest.raises(EngineError, match="Fail back to another place"):
        await bring_back(remote, replica.failback(), running=False)
    assert disk.read_bytes() == before
    # The same device of this machine is another matter.
    await bring_back(connection, replica.failback(), running=False)


async def test_machine_is_not_taken_for_an_ordinary_one_when_the_connection_is_lost(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = f"<metadata><r:replica xmlns:r='{REPLICA_MARK}'/></metadata>"
    guest = make_guest(targets=("vda",), metadata=mark)

    def lost(*_given: object) -> None:
        raise libvirt.libvirtError("client socket is closed")

    with monkeypatch.context() as patch:
        patch.setattr(libvirt.virDomain, "setMetadata", lost)
        with pytest.raises(HypervisorUnavailable):
            await make_permanent(connection, guest.uuid)
    assert REPLICA_MARK in guest.domain.XMLDesc(0)
    for _ in range(2):  # and one that has no mark any more is fine
        await make_permanent(connection, guest.uuid)
        assert REPLICA_MARK not in guest.domain.XMLDesc(0)


async def test_folder_of_a_host_on_another_machine_is_the_same_or_not(
    connection: LibvirtConnection, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, other = tmp_path / "a & b", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    remote = cast(LibvirtConnection, RemoteConnection(connection))
    await ensure_same_folder(remote, folder)
    direct = libvirt.open(host.uri)
    try:
        assert not direct.listAllStoragePools()
        # Somebody's pool is asked, and left as it is.
        xml = "<pool type='dir'><name>own</name><target><path>%s</path></target></pool>"
        pool = direct.storagePoolCreateXML(xml % str(folder).replace("&", "&amp;"), 0)
        await ensure_same_folder(remote, folder)
        assert pool.isActive()
        pool.destroy()
    finally:
        direct.close()
    # What is left here comes to lie in another place than the host looks at.
    leave = libvirt_same_folder._leave
    monkeypatch.setattr(
        libvirt_same_folder, "_leave", lambda path, held: leave(other / path.name, held)
    )
    monkeypatch.setattr(libvirt_same_folder, "_SHOWN_SECONDS", 0.0)
    with pytest.raises(EngineError, match="is another one than the backup server has"):
        await ensure_same_folder(remote, folder)
    with pytest.raises(EngineError, match="is another one than the backup server has"):
        await ensure_same_folder(connection, folder)  # as of a daemon in a container
    monkeypatch.undo()
    with pytest.raises(EngineError, match="is not there on the backup server"):
        await ensure_same_folder(remote, tmp_path / "none")

    def no_driver(*_arguments: object) -> None:
        libvirt.virResetLastError()
        raise libvirt.libvirtError("this function is not supported by the connection driver")

    # On this machine there is no doubt where nothing speaks for one.
    monkeypatch.setattr(libvirt.virConnect, "storagePoolCreateXML", no_driver)
    await ensure_same_folder(connection, folder)
    with pytest.raises(EngineError, match=r"cannot be told: .* needs its storage driver"):
        await ensure_same_folder(remote, folder)
    assert not list(folder.iterdir())


async def test_nvram_that_is_brought_back_is_as_private_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "vars.fd"
    theirs.write_bytes(b"old")
    theirs.chmod(0o640)
    xml = f"<domain><name>n</name><uuid>{REPLICA}</uuid><os><nvram>{theirs}</nvram></os></domain>"

    async def definition(_machine: LibvirtMachine, *, live: bool) -> str:
        assert not live
        return xml

    monkeypatch.setattr(LibvirtMachine, "definition", definition)
    small = StoredFile("n", "")
    point = MachinePoint("u", "n", None, None, StoredFile("p.xml", ""), small, ())
    plan = FailoverPlan(Identity("n", "u", False), tmp_path, point, "one", "")
    assert plan.nvram is not None
    plan.nvram.write_bytes(b"new")
    await libvirt_failback._bring_nvram(
        LibvirtConnection.__new__(LibvirtConnection), FailbackPlan(plan, "u", tmp_path)
    )
    assert theirs.read_bytes() == b"new"
    assert theirs.stat().st_mode & 0o777 == 0o640


def test_plans_of_two_failovers_have_no_file_in_common(tmp_path: Path) -> None:
    point = MachinePoint("u", "n", None, None, StoredFile("p.xml", ""), StoredFile("n", ""), ())
    plan = FailoverPlan(Identity("n", "u", False), tmp_path, point, "one", "")
    assert plan.layer("vda") != replace(plan, key="two").layer("vda")
    assert plan.nvram != replace(plan, key="two").nvram
