"""Replication between two real libvirt daemons: what arrives, how much is sent, what is left."""

# ruff: noqa: ASYNC221, ASYNC240 - a test has the event loop for itself

from __future__ import annotations

import asyncio
import hashlib
import resource
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import libvirt
import libvirt_qemu
import pytest

from engine.lab import MIB
from holdfast.engine import nbd_transfer
from holdfast.engine.errors import MachineBusy, NoSpace, ToolFailed
from holdfast.engine.image import merge_into_parent
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_host import list_machines
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.libvirt_point import StoredFile
from holdfast.engine.libvirt_replica import (
    Standby,
    define_standby,
    ensure_free,
    nvram_of,
    remove_standby,
)
from holdfast.engine.nbd_transfer import receiving, send, send_to
from holdfast.engine.transfer_keys import transfer_keys

from .lab import Guest, Host, back_up, pid_of, restored_disks

pytestmark = pytest.mark.vm

# TLS, NBD and the tables of qcow2 beside the data itself.
OVERHEAD = 64 * 1024


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """The folder of the replica, the one QEMU writes to, and that of the keys."""
    made = {name: tmp_path / name for name in ("replica", "staging", "keys")}
    for folder in made.values():
        folder.mkdir()
    return made


@pytest.fixture
def replicate(connection: LibvirtConnection, folders: dict[str, Path]) -> Callable[..., Any]:
    async def make(
        guest: Guest, point: str, parent: MachineResult | None = None, **more: Any
    ) -> MachineResult:
        places = {"staging": folders["staging"], "keys": folders["keys"]}
        return await back_up(
            connection, guest, folders["replica"], point, parent, **{**places, **more}
        )

    return make


def left(folders: dict[str, Path]) -> list[str]:
    """What lies about that is no point's file."""
    found = [*folders["staging"].iterdir(), *folders["keys"].iterdir()]
    return [path.name for path in (*found, *folders["replica"].glob("*.partial"))]


async def test_points_of_a_replica_hold_what_the_machine_held(
    guest: Guest, replicate: Callable[..., Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    points, contents, parent = [], [], None
    for number in range(3):
        guest.write_something(number)
        contents.append(guest.contents())
        parent = await replicate(guest, f"p{number}", parent)
        points.append(parent)
        assert parent.rung is (Rung.FULL if number == 0 else Rung.CHANGED_BLOCKS)
        assert left(folders) == []
    for point, content in zip(points, contents, strict=True):
        assert await restored_disks(point, folders["replica"], tmp_path / "out") == content
    # Uncompressed, and each on the one before, by plain names.
    for target in ("vda", "vdb"):
        said = subprocess.run(
            ["qemu-img", "info", "--backing-chain", folders["replica"] / f"p2.{target}.qcow2"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert said.count(f"backing file: p1.{target}.qcow2") == 1
    # Retention: the oldest increment becomes the full, and all after it read as before.
    for target in ("vda", "vdb"):
        await merge_into_parent(
            folders["replica"] / f"p0.{target}.qcow2", folders["replica"] / f"p1.{target}.qcow2"
        )
    for point, content in list(zip(points, contents, strict=True))[1:]:
        assert await restored_disks(point, folders["replica"], tmp_path / "out") == content
    guest.ensure_untouched()


async def test_only_what_changed_is_sent(
    make_guest: Callable[..., Guest], replicate: Callable[..., Any]
) -> None:
    guest = make_guest(targets=("vda",))
    guest.write("vda", 0, 4 * MIB, 7)
    first = await replicate(guest, "p0")
    # The other half of the disk holds nothing.
    assert 4 * MIB < first.sent < 4 * MIB + OVERHEAD
    guest.write("vda", 2 * MIB, 256 * 1024, 8)
    second = await replicate(guest, "p1", first)
    assert 256 * 1024 < second.sent < 256 * 1024 + OVERHEAD
    assert second.point.disks[0].data_size == 256 * 1024
    third = await replicate(guest, "p2", second)
    assert third.sent < OVERHEAD
    assert third.point.disks[0].data_size == 0


async def test_a_lost_bitmap_costs_reading_but_not_sending(
    guest: Guest, replicate: Callable[..., Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    guest.write("vda", 0, 3 * MIB, 5)
    first = await replicate(guest, "p0")
    for checkpoint in guest.domain.listAllCheckpoints(0):
        checkpoint.delete(0)
    guest.write("vda", MIB, 65536, 6)
    second = await replicate(guest, "p1", first)
    assert second.rung is Rung.DIFFERENCE
    assert "was read whole" in second.warnings[0]
    assert 65536 < second.sent < 65536 + 2 * OVERHEAD
    assert await restored_disks(second, folders["replica"], tmp_path / "out") == guest.contents()
    # Then by changed blocks again.
    guest.write("vdb", MIB, 65536, 7)
    third = await replicate(guest, "p2", second)
    assert third.rung is Rung.CHANGED_BLOCKS
    # A file of the replica is gone: the disk is sent whole, the other one is not.
    (folders["replica"] / "p1.vda.qcow2").unlink()
    guest.write_something(1)
    fourth = await replicate(guest, "p3", third)
    assert [disk.rung for disk in fourth.point.disks] == [Rung.FULL, Rung.CHANGED_BLOCKS]
    assert await restored_disks(fourth, folders["replica"], tmp_path / "out") == guest.contents()
    assert left(folders) == []


async def test_the_machine_that_stands_by_is_defined_and_forgets_what_it_writes(
    make_guest: Callable[..., Guest],
    replicate: Callable[..., Any],
    folders: dict[str, Path],
    target_host: Host,
    target_connection: LibvirtConnection,
    target_machines: libvirt.virConnect,
) -> None:
    card = (
        "<interface type='bridge'><source bridge='office'/><mac address='52:54:00:01:02:03'/>"
        "</interface>"
    )
    # A machine with a card on a bridge that is not there cannot be started: it is only defined.
    sketch = make_guest(targets=("vda",), started=False, extra=card)
    plain = make_guest(targets=("vda",))
    plain.write("vda", 0, 65536, 9)
    result = await replicate(plain, "p0")
    standby = Standby(
        f"{plain.name}_replica",
        "5f3c7a4e-0000-4000-8000-000000000001",
        folders["replica"],
        result.point,
        {"office": "disaster"},
    )
    definition = folders["replica"] / result.point.definition.name
    for _ in range(2):
        await define_standby(target_connection, standby)
    domain = target_machines.lookupByName(standby.name)
    assert not domain.isActive()
    assert domain.UUIDString() == standby.uuid
    xml = domain.XMLDesc(0)
    assert f"{folders['replica']}/p0.vda.qcow2" in xml
    assert plain.uuid in xml  # which machine it stands for
    [listed] = await list_machines(target_connection)
    assert (listed.uuid, listed.replica) == (standby.uuid, True)

    # Somebody starts it by hand and writes: the point stays as it is.
    file = folders["replica"] / "p0.vda.qcow2"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    said = libvirt_qemu.qemuMonitorCommand(
        domain,
        'qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P 3 0 1M"',
        libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
    )
    assert not said.strip()
    assert pid_of(target_host, standby.name)
    with pytest.raises(MachineBusy, match="is running"):
        await remove_standby(target_connection, standby.uuid)
    domain.destroy()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before

    # With firmware, it has the variables of the point, and not those of a template.
    code, variables = folders["replica"] / "CODE.fd", folders["replica"] / "p0.nvram"
    code.write_bytes(bytes(256 * 1024))
    variables.write_bytes(b"boot order".ljust(64 * 1024, b"\0"))
    firmware = f"<loader readonly='yes' type='pflash'>{code}</loader><nvram>/no/VARS.fd</nvram>"
    plain_definition = definition.read_text()
    definition.write_text(plain_definition.replace("</type>", f"</type>{firmware}", 1))
    stored = StoredFile("p0.nvram", hashlib.sha256(variables.read_bytes()).hexdigest())
    with_firmware = replace(standby, point=replace(result.point, nvram=stored))
    await define_standby(target_connection, with_firmware)
    own = nvram_of(folders["replica"], standby.uuid)
    assert own.read_bytes() == variables.read_bytes()
    assert own.stat().st_mode & 0o777 == 0o600
    assert str(own) in domain.XMLDesc(0)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    domain.destroy()

    # Cards keep an address of their own, which is not that of the original.
    definition.write_text(sketch.domain.XMLDesc(0))
    await define_standby(target_connection, standby)
    xml = target_machines.lookupByUUIDString(standby.uuid).XMLDesc(0)
    assert "bridge='disaster'" in xml
    assert "52:54:00:01:02:03" not in xml
    await define_standby(target_connection, standby)
    assert target_machines.lookupByUUIDString(standby.uuid).XMLDesc(0) == xml
    await remove_standby(target_connection, standby.uuid)
    await remove_standby(target_connection, standby.uuid)
    assert [each.name() for each in target_machines.listAllDomains()] == []
    assert file.exists()


async def test_a_machine_of_somebody_else_is_not_taken_over(
    guest: Guest,
    replicate: Callable[..., Any],
    folders: dict[str, Path],
    target_connection: LibvirtConnection,
    target_machines: libvirt.virConnect,
) -> None:
    result = await replicate(guest, "p0")
    other = target_machines.defineXML(
        "<domain type='qemu'><name>taken</name><memory unit='MiB'>32</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    new = "5f3c7a4e-0000-4000-8000-000000000002"
    standby = Standby("taken", new, folders["replica"], result.point)
    with pytest.raises(MachineBusy, match="another machine named taken"):
        await define_standby(target_connection, standby)
    standby = Standby("mine", other.UUIDString(), folders["replica"], result.point)
    with pytest.raises(MachineBusy, match="no replica any more"):
        await define_standby(target_connection, standby)
    with pytest.raises(MachineBusy, match="no replica any more"):
        await remove_standby(target_connection, other.UUIDString())


def images(folder: Path) -> tuple[Path, Path]:
    """A source with some data, and an empty target."""
    source, target = folder / "source.qcow2", folder / "target, with a comma.qcow2"
    for image in (source, target):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "8M"], check=True)
    write = ["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 2M", source]
    subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
    return source, target


async def test_a_sender_without_the_right_keys_is_refused(tmp_path: Path) -> None:
    source, target = images(tmp_path)
    empty = target.read_bytes()
    address = "127.0.0.1"
    async with transfer_keys(tmp_path, address) as ours, transfer_keys(tmp_path, address) as others:
        async with receiving(target, ours, address) as place:
            with pytest.raises(ToolFailed):
                await send_to(place, source, target, None, others)
        async with receiving(target, ours, address) as place:
            remote = f"driver=nbd,server.type=inet,server.host={place[0]},server.port={place[1]}"
            plain = await asyncio.create_subprocess_exec(
                *("qemu-io", "--image-opts", f"{remote},export=disk", "-c", "write 0 64k"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            _, said = await plain.communicate()
            assert plain.returncode != 0
            assert b"TLS" in said
        # A receiver that is somebody else gets nothing.
        async with receiving(target, others, address) as place:
            with pytest.raises(ToolFailed, match="certificate"):
                await send_to(place, source, target, None, ours)
        assert target.read_bytes() == empty
        async with receiving(target, ours, address) as place:
            assert await send_to(place, source, target, None, ours) > 2 * MIB
        modes = {path.stat().st_mode & 0o077 for path in tmp_path.glob("transfer-*/**/*")}
        assert modes == {0}
    compared = ["qemu-img", "compare", "-q", source, target]
    assert subprocess.run(compared, check=False).returncode == 0
    assert not list(tmp_path.glob("transfer-*"))


async def test_a_receiver_that_hangs_ends_the_transfer_but_a_slow_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = images(tmp_path)
    async with transfer_keys(tmp_path, "127.0.0.1") as keys:
        monkeypatch.setattr(nbd_transfer, "_STALLED_SECONDS", 0.5)
        hangs = pytest.raises(ToolFailed, match=r"has taken nothing for 0\.5 s")
        with socket.create_server(("127.0.0.1", 0)) as silent, hangs:
            await send_to(silent.getsockname(), source, target, None, keys)
        monkeypatch.setattr(nbd_transfer, "_STALLED_SECONDS", 2.0)
        async with receiving(target, keys, "127.0.0.1") as place, slowed(place) as slow:
            began = time.monotonic()
            assert await send_to(slow, source, target, None, keys) > 2 * MIB
            assert time.monotonic() - began > 2.0
    compared = ["qemu-img", "compare", "-q", source, target]
    assert subprocess.run(compared, check=False).returncode == 0


@asynccontextmanager
async def slowed(place: tuple[str, int]) -> AsyncIterator[tuple[str, int]]:
    """Lead to a server by a line that takes 2.5 s for 2 MiB."""

    async def carry(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait: float
    ) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(32 * 1024):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(wait * len(part) / (32 * 1024))
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*place, limit=32 * 1024)
        await asyncio.gather(carry(reader, back, 0.04), carry(there, writer, 0.0))

    listening = socket.create_server(("127.0.0.1", 0))
    # Else the kernel takes all of it at once. Much less makes it wait for its own timers.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    leading = await asyncio.start_server(lead, sock=listening, limit=32 * 1024)
    async with leading:
        yield leading.sockets[0].getsockname()


async def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    source, target = images(tmp_path)
    with pytest.raises(NoSpace):
        await with_file_limit(600_000, send(source, target, backing=None, keys=tmp_path))


async def with_file_limit(limit: int, work: Any) -> Any:
    """Do some work while no file of this process's children can become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        return await work
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_cancelled_replication_leaves_nothing(
    guest: Guest, replicate: Callable[..., Any], folders: dict[str, Path]
) -> None:
    guest.write("vda", 0, 6 * MIB, 3)
    first = await replicate(guest, "p0")
    files = sorted(folders["replica"].iterdir())
    guest.write("vda", 0, 6 * MIB, 4)
    for sign in (folders["staging"], folders["keys"]):
        work = asyncio.create_task(replicate(guest, "p1", first))
        while not any(sign.iterdir()):
            assert not work.done()
            await asyncio.sleep(0.001)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert left(folders) == []
        assert sorted(folders["replica"].iterdir()) == files
        assert len(guest.checkpoints()) == 1
        guest.ensure_untouched()
    again = await replicate(guest, "p2", first)
    assert again.rung is Rung.CHANGED_BLOCKS


async def test_a_machine_that_goes_while_all_are_looked_at_is_in_nobodys_way(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest(started=False)
    with pytest.raises(MachineBusy, match="has another machine named"):
        await ensure_free(connection, guest.name, str(uuid4()))
    list_all = libvirt.virConnect.listAllDomains

    def list_then_remove(connect: libvirt.virConnect, flags: int = 0) -> list[libvirt.virDomain]:
        found: list[libvirt.virDomain] = list_all(connect, flags)
        guest.domain.undefine()
        return found

    monkeypatch.setattr(libvirt.virConnect, "listAllDomains", list_then_remove)
    await ensure_free(connection, guest.name, str(uuid4()))
