"""Replicas are failed back to another place than their source, on two real hosts."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt
import pytest

from engine.lab import MIB
from holdfast.engine.errors import HypervisorUnavailable
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.server import failover, failover_source, tables
from holdfast.server.failover_record import Operation, Place
from holdfast.server.libvirt_references import tag_reference

from .replica_lab import ReplicaLab, killed, patched, read_disk, under_way

pytestmark = pytest.mark.vm


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "new place"
    folder.mkdir()
    return folder


async def uid_of_host(replica: ReplicaLab, name: str) -> str:
    [host] = [row for row in await replica.lab.rows(tables.host) if row.name == name]
    return str(host.uid)


def content_of(domain: Any, to: Path) -> bytes:
    """What the disk of a machine holds that runs, or is off."""
    if domain.isActive():
        domain.suspend()
    return read_disk(Path(domain.XMLDesc(0).partition("<source file='")[2].partition("'")[0]), to)


async def test_new_machine_takes_the_source_s_place_and_is_replicated_on(
    replica: ReplicaLab, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = replica.guest.contents()["vda"]
    replica.guest.domain.setAutostart(1)
    await replica.do("failover")
    replica.write(3 * MIB, 65536, 77)
    expected = patched(content, 3 * MIB, 65536, 77)
    elsewhere = {"folder": str(place), "name": "moved", "seconds": 1, "force": True}
    machines = replica.lab.server._failovers._failovers._ground._locks.machines
    monkeypatch.setattr(failover, "PATIENCE", 0.1)
    async with machines.hold(replica.guest.uuid):
        # A backup may have it powered on, to be powered off again.
        session = await replica.do("failback", **elsewhere)
    assert "was not free within" in session.values["FailureMessage"]
    session = await replica.do("failback", **elsewhere)
    assert "runs; shut it down before" in session.values["FailureMessage"]
    replica.guest.power_off()
    for wrong, why in (
        ({"name": "a/b"}, "plain file name"),
        ({"folder": str(replica.lab.folder / "datastore")}, "is for backups alone"),
        ({"host": str(replica.uid)}, "Cannot find host"),
    ):
        refused = await replica.lab.command("failback", replica.uid, **wrong)
        assert why in refused.message
    refused = await replica.lab.command("undo-failover", replica.uid, **elsewhere)
    assert "for a failback to another place alone" in refused.message
    session = await replica.do("failback", **elsewhere | {"networks": {"office": "lab"}})
    assert session.values["FailureMessage"] == (
        "networks: the machine has no network office; it has none."
    )
    session = await replica.do("failback", folder=str(place))
    assert "say another name" in session.values["FailureMessage"]
    (place / "moved-vda.qcow2").write_bytes(b"somebody else's")
    session = await replica.do("failback", **elsewhere)
    assert "is not overwritten" in session.values["FailureMessage"]
    (place / "moved-vda.qcow2").unlink()
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    # To the other host, where nobody has the UUID of the source; and back.
    there = await uid_of_host(replica, "target")
    session = await replica.do("failback", **elsewhere | {"host": there})
    assert "was powered off" in session.values["FailureMessage"]
    assert await replica.state() == "Failback"
    moved = replica.direct.lookupByName("moved")
    assert moved.isActive()
    assert moved.UUIDString() == replica.guest.uuid
    assert not replica.domain.isActive()
    assert content_of(moved, tmp_path / "raw") == expected
    assert (place / "moved-vda.qcow2").stat().st_mode & 0o777 == 0o600
    refused = await replica.lab.command("remove-host", UUID(there))
    assert not refused.success
    session = await replica.do("undo-failback")
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    assert not list(place.iterdir())
    assert "moved" not in [each.name() for each in replica.direct.listAllDomains()]
    # On the host of the source, which is still there; this time it stays.
    session = await replica.do("failback", **elsewhere)
    assert await replica.state() == "Failback"
    moved = replica.guest.connection.lookupByName("moved")
    try:
        assert moved.UUIDString() != replica.guest.uuid
        shown = await replica.lab.resource("Replica", replica.uid)
        assert shown.values["Failback"].startswith(f'To "moved" in {place}: ')
        await back_up_by_tag(replica)
        session = await replica.do("commit-failback")
        # The point that it was made of is older than the tag.
        assert session.values["Result"] == "Warning", session.values
        assert session.values["FailureMessage"] == (
            f'These jobs had "{replica.guest.name}" and do not have "moved" in its place: "Tagged".'
            " To have it protected by them, add it to them."
        )
        assert await replica.state() == "Ready"
        assert (replica.guest.domain.autostart(), moved.autostart()) == (0, 1)
        assert not replica.layers
        assert replica.source_disk() == content
        moved.suspend()
        # The job goes on with the new machine; what is sent is what differs.
        reason = await replica.replicate("Warning")
        assert "lies in another place" in reason
        assert (await replica.row()).source_uuid == moved.UUIDString()
        await replica.do("failover")
        replica.domain.suspend()
        assert replica.disk() == expected
    finally:
        moved.destroy()
        moved.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)


async def test_new_machine_is_taken_away_where_it_is_and_no_other_loses_its_disks(
    replica: ReplicaLab, place: Path
) -> None:
    source, target = replica.guest.connection, replica.direct
    await replica.do("failover")
    replica.guest.power_off()
    there = await uid_of_host(replica, "target")
    how = {"host": there, "folder": str(place), "name": "moved", "seconds": 1, "force": True}
    disk = place / "moved-vda.qcow2"
    await replica.do("failback", **how)
    moved = target.lookupByName("moved")
    other = target.defineXML(
        "<domain type='qemu'><name>other</name><memory unit='MiB'>32</memory><os>"
        "<type arch='x86_64'>hvm</type></os><devices><disk type='file'>"
        f"<driver type='qcow2'/><source file='{disk}'/><target dev='vda'/></disk></devices>"
        "</domain>"
    )
    session = await replica.do("undo-failback")
    assert "The machine other of" in session.values["FailureMessage"]
    assert not moved.isActive()
    assert disk.exists()
    session = await replica.do("undo-failback", force=True)
    assert session.values["Result"] == "Warning", session.values
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    assert disk.exists()
    other.undefine()
    moved.undefine()
    disk.unlink()
    # To a host that is known: it is taken away there.
    await replica.do("failback", **how)
    definition = moved_away(target.lookupByName("moved"))
    guest = replica.guest.domain
    guest.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
    source.defineXML(definition).create()
    session = await replica.do("undo-failback")
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "Failover"
    assert "moved" not in [each.name() for each in source.listAllDomains()]
    assert not list(place.iterdir())
    # To one that is not: its disk is not removed before it is off.
    await replica.do("failback", **how)
    moved_away(target.lookupByName("moved"))
    process = await asyncio.create_subprocess_exec(
        "qemu-io", "-f", "qcow2", disk, stdin=asyncio.subprocess.PIPE
    )
    session = await replica.do("undo-failback")
    assert f"The disk image {disk} is in use" in session.values["FailureMessage"]
    assert disk.exists()
    process.kill()
    await process.wait()

    async def settled() -> bool:
        return str((await replica.row()).state) == "Failover"

    await replica.lab.until(settled)
    assert not list(place.iterdir())
    assert replica.domain.isActive()


def moved_away(domain: Any) -> str:
    """Take a machine off its host; return its definition."""
    definition = str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    domain.destroy()
    domain.undefine()
    return definition


async def back_up_by_tag(replica: ReplicaLab) -> None:
    """Give the source a tag, and make a job that has it by that."""
    kind, where = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    replica.guest.domain.setMetadata(kind, "<tag>gold</tag>", "t", "urn:test:tags", where)
    source = UUID(await uid_of_host(replica, "source"))
    assert (await replica.lab.command("rescan-host", source)).success
    outcome = await replica.lab.command(
        "create-job",
        name="Tagged",
        objects=[{"reference": tag_reference(source, "gold")}],
        repository=str(replica.lab.repository),
    )
    assert outcome.made is not None, outcome.message


async def test_failback_elsewhere_killed_at_any_moment_is_taken_back_or_carried_on(
    replica: ReplicaLab, place: Path, tmp_path: Path
) -> None:
    content = replica.guest.contents()["vda"]
    await replica.do("failover")
    replica.write(3 * MIB, 65536, 77)
    expected = patched(content, 3 * MIB, 65536, 77)
    replica.guest.power_off()
    there = await uid_of_host(replica, "target")
    how = {"host": UUID(there), "folder": str(place), "name": "moved"}
    waits, taken_back = 1, 0
    while not await killed(replica, Operation.FAILBACK, waits, **how):
        if await replica.state() == "Failback":
            assert replica.direct.lookupByName("moved").isActive()
            await killed(replica, Operation.UNDO_FAILBACK, 5)
        else:
            taken_back += 1
        assert await replica.state() == "Failover"
        assert replica.domain.isActive()
        assert not list(place.iterdir())
        assert "moved" not in [each.name() for each in replica.direct.listAllDomains()]
        replica.domain.suspend()
        waits += 12 + waits
    assert taken_back > 2
    assert await replica.state() == "Failback"
    moved = replica.direct.lookupByName("moved")
    assert content_of(moved, tmp_path / "raw") == expected
    waits = 3
    while not await killed(replica, Operation.COMMIT, waits):
        if await replica.state() == "Ready":
            break
        waits += 3
    assert await replica.state() == "Ready"
    assert not replica.layers
    assert moved.isActive()
    assert (await replica.row()).source_uuid == moved.UUIDString()


async def test_folder_that_is_gone_for_good_does_not_keep_the_replica(
    replica: ReplicaLab, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = replica.lab.server._failovers._failovers._elsewhere
    copy = elsewhere.copy

    async def gone(*arguments: Any, **how: Any) -> int:
        sent = await copy(*arguments, **how)
        place.rename(place.with_name("elsewhere"))
        return sent

    async def dead(_connection: LibvirtConnection, _uuid: str) -> bool:
        raise HypervisorUnavailable("The host is dead.")

    monkeypatch.setattr(failover_source, "starts_with_host", dead)
    target = await uid_of_host(replica, "target")
    await replica.do("failover")
    replica.guest.power_off()
    how = {"folder": str(place), "name": "moved", "seconds": 1, "force": True, "host": target}
    with monkeypatch.context() as patch:
        patch.setattr(elsewhere, "copy", gone)
        session = await replica.do("failback", **how)
    assert session.values["Result"] == "Failed"
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    shown = await replica.lab.resource("Replica", replica.uid)
    assert f"and its files in {place}." in shown.values["Failback"]
    # There again. Whether the new machine is to start with its host, the source's did not tell.
    place.with_name("elsewhere").rename(place)
    for left in place.iterdir():
        left.unlink()
    await replica.do("failback", **how)
    session = await replica.do("commit-failback")
    assert session.values["FailureMessage"] == (
        f'"moved" does not start with its host: whether "{replica.guest.name}" did is not known. '
        f'See to it that the source machine "{replica.guest.name}" stays off.'
    )
    assert await replica.state() == "Ready"
    failovers = replica.lab.server._failovers._failovers
    gone_too = Place(host=UUID(target), folder=str(place), name="moved", uuid=str(replica.uid))
    async with under_way(replica, Operation.FAILOVER):
        known = {"autostart": True, "quiet": True}
        await failovers._ground.declare(replica.uid, Operation.FAILOVER, **known)
        note = await failovers._source.hand_over(replica.uid, gone_too)
        assert note.startswith('"moved" does not start with its host: ')
        await failovers._ground.note(replica.uid, back=True)
        await failovers.recover(replica.uid)
