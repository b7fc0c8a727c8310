"""Replicas take over and give back, through commands, on two real hosts."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import libvirt
import pytest
from sqlalchemy import Connection

from engine.lab import MIB
from engine.vm.lab import Guest, Host, libvirt_daemon
from holdfast.engine.progress import ignore_progress
from holdfast.server import failover_sessions, tables
from holdfast.server.failover_record import Operation
from holdfast.server.failover_specification import FailoverOptions
from holdfast.server.publish import row_of
from support.cut_off import cut_off

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
def make_guest(source_host: Host, tmp_path: Path) -> Iterator[Callable[[], Guest]]:
    """Make a machine, powered on but paused, and take all machines away in the end."""
    direct = libvirt.open(source_host.uri)
    made: list[Guest] = []

    def make() -> Guest:
        guest = Guest(source_host, f"db{next(_numbers)}", tmp_path, direct)
        made.append(guest)
        guest.add_disk("vda")
        guest.define()
        guest.start()
        return guest

    yield make
    for guest in made:
        with suppress(libvirt.libvirtError):
            guest.discard()
    direct.close()


@pytest.fixture
async def replica(
    source_host: Host,
    target_host: Host,
    make_guest: Callable[[], Guest],
    tmp_path: Path,
    clock: HandClock,
) -> AsyncIterator[ReplicaLab]:
    async with replica_lab(tmp_path, clock, source_host, target_host, make_guest()) as made:
        yield made[0]


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
    shown = await replica.lab.resource("Replica", replica.uid)
    assert shown.values["State"] == "Failback"
    # Three blocks at most have changed, and each of the failbacks looked at them twice.
    assert "bytes compared (where the two may differ)" in shown.values["Failback"]
    assert int(shown.values["Failback"].split()[1]) < 2 * MIB
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
    assert not replica.layers
    assert (await replica.replicate()).startswith("Changed blocks")
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
    assert not replica.layers


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


async def killed(replica: ReplicaLab, operation: Operation, waits: int) -> bool:
    """Carry an operation out up to its nth wait, as if the server had died then, and recover.

    Say whether it came to its end before.
    """
    failovers = replica.lab.server._failovers._failovers
    options = FailoverOptions(seconds=1, force=True)

    def begin(connection: Connection) -> object:
        uid = failover_sessions.begin(connection, replica.uid, operation, options, 0)
        return row_of(connection, tables.failover_session, uid)

    row = await replica.lab.write(begin)
    finished = await cut_off(lambda: failovers.carry_out(row, ignore_progress), waits)
    await replica.lab.write(lambda c: failover_sessions.end(c, row.uid, 0, failure="killed"))
    await failovers.recover(replica.uid)
    return finished


async def test_every_operation_killed_at_any_moment_ends_in_a_state(replica: ReplicaLab) -> None:
    content = replica.guest.contents()["vda"]
    waits, carried_on = 1, 0
    while not await killed(replica, Operation.FAILOVER, waits):
        if await replica.state() == "Failover":
            carried_on += 1
            assert replica.domain.isActive()
            assert replica.disk() == content
            assert (await replica.do("undo-failover")).values["Result"] == "Success"
        assert await replica.state() == "Ready"
        assert not replica.domain.isActive()
        assert not replica.layers
        waits += 4
    assert carried_on
    replica.write(3 * MIB, 65536, 77)
    expected = patched(content, 3 * MIB, 65536, 77)
    replica.guest.power_off()
    waits = 1
    while not await killed(replica, Operation.FAILBACK, waits):
        if await replica.state() == "Failback":
            assert replica.guest.domain.isActive()
            await replica.do("undo-failback")
        assert await replica.state() == "Failover"
        assert replica.domain.isActive()
        assert not replica.guest.domain.isActive()
        replica.domain.suspend()
        waits += 5 + waits // 2
    assert replica.source_disk() == expected
    await killed(replica, Operation.UNDO_FAILBACK, 6)
    assert await replica.state() == "Failover"
    await replica.do("failback", seconds=1, force=True)
    waits = 1
    while not await killed(replica, Operation.COMMIT, waits):
        if await replica.state() == "Ready":
            break
        waits += 1
    assert await replica.state() == "Ready"
    assert not replica.layers
    assert replica.source_disk() == expected


async def test_server_killed_in_a_failover_and_a_failback_puts_right_what_it_did(
    replica: ReplicaLab,
) -> None:
    content = replica.guest.contents()["vda"]
    assert await replica.killed_while("failover", 9) == -signal.SIGKILL
    sessions = [s.values for s in await replica.lab.resources("RestoreSession")]
    assert [session["Result"] for session in sessions] == ["Failed"]
    assert "stopped unexpectedly" in sessions[0]["FailureMessage"]
    assert await replica.state() in ("Ready", "Failover")
    if await replica.state() == "Ready":
        assert not replica.layers
        await replica.do("failover")
    replica.write(2 * MIB, 65536, 70)
    expected = patched(content, 2 * MIB, 65536, 70)
    replica.guest.power_off()
    assert await replica.killed_while("failback", 30) == -signal.SIGKILL
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    assert replica.disk() == expected
    await replica.do("failback", seconds=1, force=True)
    assert await replica.state() == "Failback"
    replica.guest.domain.suspend()
    assert replica.source_disk() == expected


async def test_plan_starts_its_machines_in_order_and_undoes_them_in_reverse(
    source_host: Host,
    target_host: Host,
    make_guest: Callable[[], Guest],
    tmp_path: Path,
    clock: HandClock,
) -> None:
    guests = (make_guest(), make_guest())
    async with replica_lab(tmp_path, clock, source_host, target_host, *guests) as (first, second):
        lab = first.lab
        machines = [{"replica": str(first.uid), "delay": 60}, {"replica": str(second.uid)}]
        outcome = await lab.command("create-failover-plan", name="All", machines=machines)
        assert outcome.made is not None, outcome.message
        plan = outcome.made.uid
        again = await lab.command("create-failover-plan", name="all", machines=machines)
        assert again.message == 'name: there is a failover plan named "All" already.'
        refused = await lab.command("undo-failover-plan", plan)
        assert "there is nothing to undo" in refused.message
        assert (await lab.command("start-failover-plan", plan)).success

        async def first_runs() -> bool:
            return (await first.row()).state == "Failover" and first.domain.isActive()

        await lab.until(first_runs)
        # The second one waits for the delay of the first.
        assert await second.state() == "Ready"
        assert (await lab.resource("FailoverPlan", plan)).values["Doing"] == "start"
        refused = await lab.command("start-failover-plan", plan)
        assert "start is under way already" in refused.message

        async def waits() -> bool:
            sessions = await lab.resources("RestoreSession")
            return all(session.values["State"] == "Stopped" for session in sessions)

        await lab.until(waits)
        clock.advance(timedelta(seconds=60))
        await lab.server.wait_until_idle()
        assert [await each.state() for each in (first, second)] == ["Failover"] * 2
        shown = (await lab.resource("FailoverPlan", plan)).values
        assert shown["Outcome"] == "2 of 2 machines have taken over."
        assert [machine["Started"] for machine in shown["Machines"]["Machine"]] == [True, True]
        assert "Doing" not in shown
        refused = await lab.command("delete-failover-plan", plan)
        assert "Undo it first." in refused.message
        # One that cannot be undone does not keep the other from it.
        assert (await first.do("permanent-failover")).values["Result"] == "Success"
        assert (await lab.command("undo-failover-plan", plan)).success
        await lab.server.wait_until_idle()
        assert [await each.state() for each in (first, second)] == ["PermanentFailover", "Ready"]
        shown = (await lab.resource("FailoverPlan", plan)).values
        assert shown["Outcome"].startswith("1 of 2 machines stand ready again. Replica")
        created = {
            session.values["VmDisplayName"]: session.values["CreationTimeUTC"]
            for session in await lab.resources("RestoreSession")
        }
        assert len(created) == 2
