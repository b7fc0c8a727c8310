"""Replicas take over and give back, through commands, on two real hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import libvirt
import pytest

from engine.lab import MIB
from engine.vm.lab import Guest, Host, libvirt_daemon

from .lab import HandClock
from .replica_lab import ReplicaLab, patched, replica_lab

pytestmark = pytest.mark.vm

libvirt.registerErrorHandler(lambda _context, _error: None, None)
_numbers = count(1)


@pytest.fixture(scope="module")
def source_host() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


@pytest.fixture(scope="module")
def target_host() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


@pytest.fixture
def guest(source_host: Host, tmp_path: Path) -> Iterator[Guest]:
    direct = libvirt.open(source_host.uri)
    made = Guest(source_host, f"db{next(_numbers)}", tmp_path, direct)
    made.add_disk("vda")
    made.define()
    made.start()
    yield made
    with suppress(libvirt.libvirtError):
        made.discard()
    direct.close()


@pytest.fixture
async def replica(
    source_host: Host, target_host: Host, guest: Guest, tmp_path: Path, clock: HandClock
) -> AsyncIterator[ReplicaLab]:
    async with replica_lab(tmp_path, clock, source_host, target_host, guest) as made:
        yield made


async def test_replica_takes_over_gives_back_and_is_replicated_again(replica: ReplicaLab) -> None:
    content = replica.guest.contents()["vda"]
    refused = await replica.lab.command("undo-failover", replica.uid)
    assert "stands ready (state Ready), so undo-failover is refused" in refused.message
    assert "possible: failover, planned-failover" in refused.message
    session = await replica.do("failover")
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    replica.write(3 * MIB, 65536, 77)
    assert replica.disk() == patched(content, 3 * MIB, 65536, 77)
    # The source must be off, and a guest that does not end is only powered off when asked to.
    session = await replica.do("failback", seconds=1)
    assert session.values["Result"] == "Failed"
    assert "runs; shut it down" in session.values["FailureMessage"]
    assert await replica.state() == "Failover"
    replica.guest.power_off()
    session = await replica.do("failback", seconds=1)
    assert "did not shut down within 1 s" in session.values["FailureMessage"]
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    refused = await replica.lab.command("undo-failover", replica.uid)
    assert "there is nothing to go back to" in refused.message
    session = await replica.do("failback", seconds=1, force=True)
    assert session.values["Result"] == "Warning", session.values
    assert "was powered off" in session.values["FailureMessage"]
    assert await replica.state() == "Failback"
    assert replica.guest.domain.isActive()
    assert not replica.domain.isActive()
    replica.guest.domain.suspend()
    assert replica.source_disk() == patched(content, 3 * MIB, 65536, 77)
    session = await replica.do("undo-failback")
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "Failover"
    assert not replica.guest.domain.isActive()
    replica.write(5 * MIB, 65536, 78)
    expected = patched(patched(content, 3 * MIB, 65536, 77), 5 * MIB, 65536, 78)
    await replica.do("failback", seconds=1, force=True)
    replica.guest.domain.suspend()
    assert replica.source_disk() == expected
    session = await replica.do("commit-failback")
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "Ready"
    assert not list(replica.lab.repository_path.glob("*/failover-*"))
    await replica.replicate()
    task = (await replica.lab.resources("BackupTaskSession"))[-1]
    assert task.values["Reason"].startswith("Changed blocks"), task.values
    await replica.do("failover")
    replica.domain.suspend()
    assert replica.disk() == expected


async def test_older_point_takes_over_and_all_is_undone(replica: ReplicaLab) -> None:
    first, _second = await replica.points()
    session = await replica.do("failover-point", first.uid)
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "Failover"
    # The job and retention leave it alone meanwhile.
    await replica.do("undo-failover")
    assert await replica.state() == "Ready"
    assert not replica.domain.isActive()
    assert not list(replica.lab.repository_path.glob("*/failover-*"))


async def test_planned_failover_loses_nothing(replica: ReplicaLab) -> None:
    replica.guest.write("vda", 6 * MIB, 65536, 60)
    session = await replica.do("planned-failover", seconds=1)
    assert "did not shut down within 1 s" in session.values["FailureMessage"]
    assert await replica.state() == "Ready"
    assert replica.guest.domain.isActive()
    replica.guest.write("vda", 7 * MIB, 65536, 61)
    session = await replica.do("planned-failover", seconds=1, force=True)
    assert session.values["Result"] == "Warning", session.values
    assert not replica.guest.domain.isActive()
    replica.domain.suspend()
    assert replica.disk() == replica.guest.contents()["vda"]
    assert replica.disk() == replica.source_disk()


async def test_permanent_failover_leaves_an_ordinary_machine(replica: ReplicaLab) -> None:
    await replica.do("failover")
    session = await replica.do("permanent-failover")
    assert session.values["Result"] == "Success", session.values
    assert await replica.state() == "PermanentFailover"
    assert replica.domain.isActive()
    assert replica.disk() == replica.guest.contents()["vda"]
    refused = await replica.lab.command("undo-failover", replica.uid)
    assert "nothing is possible now" in refused.message
