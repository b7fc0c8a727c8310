"""Replicas whose source starts by itself, has moved, or is gone with its host: on real hosts."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from uuid import UUID

import libvirt
import pytest
from sqlalchemy import Connection, update

from engine.lab import MIB
from holdfast.engine.errors import HypervisorUnavailable
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.server import failover, failover_settlement, failover_source, journal, tables
from holdfast.server.journal import ChainKey, MergeImages
from holdfast.server.points import withdraw_point
from holdfast.server.refusal import RefusedError

from .replica_lab import ReplicaLab, patched

pytestmark = pytest.mark.vm


async def test_source_does_not_start_by_itself_while_its_replica_runs(
    replica: ReplicaLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, source = replica.lab, replica.guest.domain
    [host] = [row.uid for row in await lab.rows(tables.host) if row.name == "source"]
    source.setAutostart(1)
    replica.domain.setAutostart(1)
    await replica.do("failover")
    assert (source.autostart(), replica.domain.autostart()) == (0, 0)
    await replica.do("undo-failover")
    assert (source.autostart(), replica.domain.autostart()) == (1, 0)
    # With its host away it is done as soon as that is back.
    away = update(tables.host).where(tables.host.c.uid == host).values(state="Unavailable")
    await lab.write(lambda c: c.execute(away))
    await replica.do("failover")
    assert source.autostart() == 1

    async def hangs(_connection: LibvirtConnection, _uuid: str) -> bool:
        await asyncio.Event().wait()
        return False

    with monkeypatch.context() as patch:
        patch.setattr(failover_source, "_SEE_TO_SECONDS", 0.1)
        patch.setattr(failover_source, "starts_with_host", hangs)
        async with asyncio.timeout(60):
            assert (await lab.command("rescan-host", host)).success
    assert (await replica.shown())["SourceRunsOn"] == ""
    assert (await lab.command("rescan-host", host)).success
    assert source.autostart() == 0
    assert (await replica.shown())["SourceRunsOn"] == "source"

    async def dead(_connection: LibvirtConnection, _uuid: str, *, on: bool) -> None:
        raise HypervisorUnavailable(f"The host is dead: {on}.")

    with monkeypatch.context() as patch:
        patch.setattr(failover_source, "start_with_host", dead)
        session = await replica.do("undo-failover")
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "Ready"
    assert source.autostart() == 0
    assert (await lab.command("rescan-host", host)).success
    assert source.autostart() == 1
    assert (await replica.row()).failover is None
    # To and fro; and a replica that stays takes over that, too.
    replica.guest.power_off()
    await replica.do("failover")
    for switch, host_name in ((replica.guest.start, "source"), (replica.guest.power_off, "")):
        switch()
        assert (await lab.command("rescan-host", host)).success
        assert (await replica.shown())["SourceRunsOn"] == host_name
    await replica.do("failback", seconds=1, force=True)
    assert (source.autostart(), replica.domain.autostart()) == (1, 0)
    await replica.do("undo-failback")
    assert (source.autostart(), replica.domain.autostart()) == (0, 0)
    assert (await replica.do("permanent-failover")).values["Result"] == "Success"
    assert (source.autostart(), replica.domain.autostart()) == (0, 1)
    # A source that is gone then is not looked for any more.
    failovers = lab.server._failovers._failovers
    await failovers._ground.note(replica.uid, quiet=False)
    source.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
    assert (await lab.command("rescan-host", host)).success
    assert await failovers._source.waiting([host]) == []


async def test_source_that_has_moved_to_another_host_is_found_there(
    replica: ReplicaLab,
) -> None:
    hosts = {row.name: row.uid for row in await replica.lab.rows(tables.host)}
    definition = replica.guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    content = replica.guest.contents()["vda"]
    replica.guest.power_off()
    replica.guest.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
    moved = replica.direct.defineXML(definition)
    moved.setAutostart(1)
    moved.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    session = await replica.do("planned-failover", seconds=1, force=True)
    assert await replica.state() == "Failover", session.values
    assert not moved.isActive()
    assert (await replica.row()).source_host_uid == hosts["target"]
    session = await replica.do("undo-failover")
    assert "is off: power it on" in session.values["FailureMessage"]
    # What is noted is the host where it was at the last look.
    back = update(tables.replica).values(source_host_uid=hosts["source"])
    await replica.lab.write(lambda c: c.execute(back))
    moved.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    session = await replica.do("failover")
    assert 'has moved to host "target" and runs there' in session.values["FailureMessage"]
    assert await replica.state() == "Ready"
    assert not replica.domain.isActive()
    moved.destroy()
    session = await replica.do("failover")
    assert session.values["Result"] == "Success", session.values
    assert (await replica.row()).source_host_uid == hosts["target"]
    assert moved.autostart() == 0
    replica.write(3 * MIB, 65536, 77)
    await replica.lab.write(lambda c: c.execute(back))
    session = await replica.do("failback", seconds=1, force=True)
    assert await replica.state() == "Failback", session.values
    assert moved.isActive()
    moved.suspend()
    assert replica.source_disk() == patched(content, 3 * MIB, 65536, 77)
    await replica.lab.write(lambda c: c.execute(back))
    assert (await replica.do("undo-failback")).values["Result"] == "Success"
    assert not moved.isActive()
    assert replica.domain.isActive()


async def test_replica_goes_on_when_the_source_s_host_is_gone_for_good(
    replica: ReplicaLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab, failovers = replica.lab, replica.lab.server._failovers._failovers
    hosts = {row.name: row.uid for row in await lab.rows(tables.host)}
    replicate, calls = failovers._replicate, count(1)

    async def dead(_connection: LibvirtConnection, *_: object) -> None:
        raise HypervisorUnavailable("The host is dead.")

    async def dies_after_the_shutdown(uid: UUID) -> None:
        if next(calls) == 2:
            row = await replica.row()
            key = ChainKey(row.backup_uid, row.reference)
            await at_work.enter_async_context(failovers._ground._locks.work.hold(key))
            raise RefusedError("The host has died.")
        await replicate(uid)

    with monkeypatch.context() as patch:
        patch.setattr(failovers, "_replicate", dies_after_the_shutdown)
        patch.setattr(failover_settlement, "keep_on", dead)
        patch.setattr(failover_settlement, "PATIENCE", 0.1)
        # Nor is somebody who works on the replica waited for without an end.
        async with asyncio.timeout(60), AsyncExitStack() as at_work:
            session = await replica.do("planned-failover", seconds=1, force=True)
        assert session.values["FailureMessage"] == "The host has died."
        assert not replica.guest.domain.isActive()
        refused = await lab.command("failover", replica.uid)
        assert "gone for good: failover with force" in refused.message
        session = await replica.do("failover", force=True)
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    # An undo of a failback that waits for that host, too.
    await replica.do("failback", seconds=1, force=True)
    with monkeypatch.context() as patch:
        patch.setattr(failover, "is_on", dead)
        session = await replica.do("commit-failback")
    assert session.values["FailureMessage"].startswith("The host is dead. After the commit")
    assert await replica.state() == "Failback"
    monkeypatch.setattr(failover_settlement, "_SECOND_TRY_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(failover_settlement, "power_off", dead)
        session = await replica.do("undo-failback")
        assert session.values["FailureMessage"] == "The host is dead."
        refused = await lab.command("undo-failback", replica.uid)
        assert "gone for good: undo-failback with force" in refused.message
        session = await replica.do("undo-failback", force=True)
    assert "See to it that it stays off" in session.values["FailureMessage"]
    assert await replica.state() == "Failover"
    replica.guest.power_off()
    # It is no host of ours any more.
    assert (await lab.command("delete-job", replica.job)).success
    assert (await lab.command("remove-host", hosts["source"])).success
    for elsewhere in ({}, {"folder": str(tmp_path)}):
        refused = await lab.command("failback", replica.uid, **elsewhere)
        assert "say on which host" in refused.message
    place = tmp_path / "place"
    place.mkdir()
    how = {"host": str(hosts["target"]), "folder": str(place), "name": "moved"}
    session = await replica.do("failback", **how, seconds=1, force=True)
    assert await replica.state() == "Failback", session.values
    assert "See to it that the source machine" in session.values["FailureMessage"]
    session = await replica.do("commit-failback")
    assert await replica.state() == "Ready", session.values
    assert replica.direct.lookupByName("moved").isActive()


async def test_replica_is_forgotten_by_force_with_its_folder_and_what_stands_there(
    replica: ReplicaLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = replica.lab
    for _ in range(2):
        await replica.replicate()
    row, [oldest, *_] = await replica.row(), await replica.points()
    files = sorted(await lab.rows(tables.backup_file), key=lambda file: file.created)
    assert len(files) > 1
    key = ChainKey(row.backup_uid, row.reference)

    def begin_merge(connection: Connection) -> None:
        withdraw_point(connection, oldest.uid)
        journal.declare(connection, key, MergeImages(files[0].uid, files[1].uid), 0)

    await lab.write(begin_merge)
    shutil.rmtree(lab.folder / "datastore")

    async def nobody(_hosts: object, _seconds: float) -> set[UUID]:
        return set()

    monkeypatch.setattr(lab.server.hosts, "answering", nobody)
    removed = await lab.command("remove-replica", replica.uid, force=True)
    assert removed.success, removed.message
    for table in (tables.replica, tables.intent, tables.machine_point, tables.backup_file):
        assert await lab.rows(table) == []
