"""Replicas take over and give back, through commands, on two real hosts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import libvirt
import pytest

from engine.lab import MIB
from engine.vm.lab import Guest, Host
from holdfast.engine.errors import HypervisorFailed, HypervisorUnavailable, MachineBusy
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.server import failover_settlement, tables
from holdfast.server.failover_record import Operation
from support.documents import json_of
from support.managers import JSON, add_administrator, client_of, log_on, running_manager

from .lab import HandClock
from .replica_lab import ReplicaLab, killed, patched, replica_lab, under_way

pytestmark = pytest.mark.vm


async def test_replica_takes_over_gives_back_and_is_replicated_again(replica: ReplicaLab) -> None:
    content = replica.guest.contents()["vda"]
    refused = await replica.lab.command("undo-failover", replica.uid)
    assert "stands ready (state Ready), so undo-failover is refused" in refused.message
    assert "possible: failover, planned-failover" in refused.message
    session = await replica.do("failover")
    assert session.values["Result"] == "Warning", session.values
    assert session.values["FailureMessage"] == (
        f'The source machine "{replica.guest.name}" runs, too, on host "source": shut it down, or '
        "undo the failover."
    )
    assert session.name.startswith(f"{replica.guest.name}_replica (failover)@")
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
    assert session.name.startswith(f"{replica.guest.name}_replica (undo failback)@")
    assert await replica.state() == "Failover"
    # What the failback moved is told of it alone.
    assert (await replica.lab.resource("Replica", replica.uid)).values["Failback"] == ""
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


@dataclass
class Caller:
    """Somebody who uses the API of a manager that the server is connected to."""

    client: httpx.AsyncClient

    async def get(self, path: str) -> Any:
        return json_of(await self.client.get(f"/api{path}", headers=JSON))

    async def task(self, path: str, body: Any = None, method: str = "POST") -> dict[str, Any]:
        """Ask for something; return its task when that is finished."""
        answer = await self.client.request(method, f"/api{path}", json=body, headers=JSON)
        assert answer.status_code == 202, answer.text
        async with asyncio.timeout(60):
            while True:
                location = answer.headers["Location"]
                task: dict[str, Any] = json_of(await self.client.get(location, headers=JSON))
                if task["State"] == "Finished":
                    return task
                await asyncio.sleep(0.02)

    async def session(self, path: str, body: Any = None) -> dict[str, Any]:
        """Ask for an operation; return its session when that has ended."""
        task = await self.task(path, body)
        assert task["Result"]["Success"], task
        [link] = [link for link in task["Links"] if link["Rel"] == "Related"]
        assert link["Type"] == "RestoreSession"
        async with asyncio.timeout(60):
            while True:
                address = f"{link['Href'].partition('?')[0]}?format=Entity"
                session: dict[str, Any] = json_of(await self.client.get(address, headers=JSON))
                if session["State"] == "Stopped":
                    return session
                await asyncio.sleep(0.05)


@pytest.fixture
async def caller(replica: ReplicaLab, tmp_path: Path) -> AsyncIterator[Caller]:
    server = replica.lab.server
    async with running_manager(tmp_path / "manager", from_schema=True) as manager:
        await add_administrator(manager)
        await manager.connect("http://server", server.token, httpx.ASGITransport(server.app))
        await manager.collected()
        async with client_of(manager) as client:
            await log_on(client)
            yield Caller(client)


async def test_failover_without_loss_and_a_plan_over_the_api(
    replica: ReplicaLab, caller: Caller
) -> None:
    replica.guest.write("vda", 6 * MIB, 65536, 60)
    own = f"/holdfast/v1/replicas/{replica.uid}"
    answer = await caller.client.post(f"/api{own}?action=explode", headers=JSON)
    assert "Parameter action: expected one of failover, planned-failover" in answer.text
    answer = await caller.client.post(
        f"/api{own}?action=failover", json={"seconds": 0}, headers=JSON
    )
    assert answer.status_code == 400
    for action, body, why in (
        ("failover", {"name": "new"}, "for a failback to another place alone"),
        ("failback", {"folder": "here"}, "folder: expected the absolute path"),
        ("failback", {"host": "here"}, "host: "),
        ("failback", {"networks": {"a": "b"}}, "networks: expected a host"),
    ):
        answer = await caller.client.post(f"/api{own}?action={action}", json=body, headers=JSON)
        assert answer.status_code == 400
        assert why in answer.text
    task = await caller.task(
        f"{own}?action=failback", {"host": f"urn:veeam:ManagedServer:{UUID(int=1)}"}
    )
    assert "stands ready" in task["Result"]["Message"]
    task = await caller.task(f"{own}?action=failback")
    assert "stands ready (state Ready), so failback is refused" in task["Result"]["Message"]
    session = await caller.session(f"{own}?action=planned-failover", {"seconds": 1})
    assert "did not shut down within 1 s" in session["FailureMessage"]
    assert (await caller.get(own))["state"] == "Ready"
    assert replica.guest.domain.isActive()
    replica.guest.write("vda", 7 * MIB, 65536, 61)
    how = {"seconds": 1, "force": True}
    session = await caller.session(f"{own}?action=planned-failover", how)
    assert session["Result"] == "Warning", session
    assert not replica.guest.domain.isActive()
    replica.domain.suspend()
    assert replica.disk() == replica.guest.contents()["vda"] == replica.source_disk()
    shown = await caller.get(own)
    assert (shown["state"], shown["name"]) == ("Failover", f"{replica.guest.name}_replica")
    assert (shown["source"], shown["source_runs_on"]) == (replica.guest.name, "")
    session = await caller.session(f"{own}?action=undo-failover")
    assert session["Result"] == "Warning", session
    assert session["FailureMessage"].endswith("is off: power it on to use it again.")
    points = (await caller.get("/vmReplicaPoints?format=Entity"))["VmReplicaPoints"]
    assert len(points) == len(await replica.points())
    point = points[-1]["UID"].rpartition(":")[2]
    session = await caller.session(f"/vmReplicaPoints/{point}?action=failover")
    assert session["Result"] == "Success", session
    assert (await caller.get(own))["point"].endswith(point)
    session = await caller.session(f"{own}?action=undo-failover")
    assert session["Result"] == "Success", session
    machines = [{"replica": f"urn:veeam:Replica:{replica.uid}", "delay": 5}]
    body = {"name": "All", "machines": machines}
    assert (await caller.task("/holdfast/v1/failoverPlans", body))["Result"]["Success"]
    [plan] = (await caller.get("/holdfast/v1/failoverPlans"))["failover_plans"]
    assert [machine["delay"] for machine in plan["machines"]] == [5]
    path = f"/failoverPlans/{plan['uid'].rpartition(':')[2]}"
    document = await caller.get(f"{path}?format=Entity")
    [shown] = document["FailoverPlanInfo"]["Includes"]["FailoveredVms"]
    assert shown["DisplayName"] == replica.guest.name
    edited = await caller.task(path, {"Description": "In this order"}, "PUT")
    assert edited["Result"]["Success"], edited
    assert (await caller.get(f"/holdfast/v1{path}"))["description"] == "In this order"
    for body in (None, {}, {"StartNow": False}):
        answer = await caller.client.post(f"/api{path}?action=start", json=body, headers=JSON)
        assert answer.status_code == 400, answer.text
        assert "expected StartNow true, or a StartDate" in answer.text
    early = {"StartDate": "2000-01-01T00:00:00Z"}
    task = await caller.task(f"{path}?action=start", early)
    assert not task["Result"]["Success"], task
    assert task["Result"]["Message"].startswith(
        f'0 of 1 machines have taken over. Replica "{replica.guest.name}_replica" has no good'
    )
    assert await replica.state() == "Ready"
    [plan] = (await caller.get("/holdfast/v1/failoverPlans"))["failover_plans"]
    assert plan["outcome"] == task["Result"]["Message"]
    task = await caller.task(f"{path}?action=start", {"StartNow": True})
    assert (task["Operation"], task["Result"]["Success"]) == ("StartFailoverPlan", True)
    assert task["Result"]["Message"] == "1 of 1 machines have taken over."
    assert await replica.state() == "Failover"
    assert (await caller.task(f"{path}?action=undo"))["Result"]["Success"]
    assert await replica.state() == "Ready"
    removed = await caller.task(f"/holdfast/v1{path}", method="DELETE")
    assert removed["Result"]["Success"], removed


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
        waits += 6
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
        waits += 8 + waits // 2
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


async def test_server_killed_in_the_middle_of_anything_puts_right_what_it_did(
    replica: ReplicaLab,
) -> None:
    content = replica.guest.contents()["vda"]
    # Long enough for the source to be off: then it is on again, or the replica is.
    assert await replica.killed_while("planned-failover", 45) == -signal.SIGKILL
    if await replica.state() == "Failover":
        assert replica.domain.isActive()
        assert not replica.guest.domain.isActive()
        await replica.do("undo-failover")
    else:
        assert replica.guest.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    assert await replica.killed_while("failover", 9) == -signal.SIGKILL
    sessions = [s.values for s in await replica.lab.resources("RestoreSession")]
    assert "stopped unexpectedly" in sessions[-1]["FailureMessage"]
    assert {session["State"] for session in sessions} == {"Stopped"}
    assert await replica.state() in ("Ready", "Failover")
    if await replica.state() == "Ready":
        assert not replica.layers
        await replica.do("failover")
    replica.write(2 * MIB, 65536, 70)
    expected = patched(content, 2 * MIB, 65536, 70)
    if replica.guest.domain.isActive():
        replica.guest.power_off()
    assert await replica.killed_while("failback", 30) == -signal.SIGKILL
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    assert replica.disk() == expected
    await replica.do("failback", seconds=1, force=True)
    assert await replica.state() == "Failback"
    replica.guest.domain.suspend()
    assert replica.source_disk() == expected


async def test_source_and_replica_never_run_both(
    replica: ReplicaLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    failovers = replica.lab.server._failovers._failovers
    replicate, calls = failovers._replicate, count(1)

    async def powered_on_again(uid: UUID) -> None:
        await replicate(uid)
        if next(calls) == 2:
            replica.guest.domain.create()

    monkeypatch.setattr(failovers, "_replicate", powered_on_again)
    session = await replica.do("planned-failover", seconds=1, force=True)
    assert "was powered on again meanwhile" in session.values["FailureMessage"]
    assert await replica.state() == "Ready"
    assert replica.guest.domain.isActive()
    assert not replica.domain.isActive()
    # A source whose start seems to have failed may run all the same.
    await replica.do("failover")
    replica.guest.power_off()
    begin, starts = failover_settlement.start, count(1)
    machines = failovers._ground._locks.machines

    async def answer_lost(connection: LibvirtConnection, uuid: str) -> None:
        # No backup or restore of the source comes between what was brought back and its start.
        assert machines.is_held(replica.guest.uuid) == (uuid == replica.guest.uuid)
        await begin(connection, uuid)
        if next(starts) == 1:
            raise HypervisorUnavailable("There was no answer.")

    monkeypatch.setattr(failover_settlement, "start", answer_lost)
    session = await replica.do("failback", seconds=1, force=True)
    assert session.values["Result"] == "Failed"
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    assert not replica.guest.domain.isActive()
    # By force, the replica is used although the source's host is away; not when a daemon was only
    # started anew.
    monkeypatch.setattr(failover_settlement, "_SECOND_TRY_SECONDS", 0.0)
    power_off = failover_settlement.power_off
    for away, result in ((1, "Success"), (2, "Warning")):
        tries = count(1)

        async def lost(
            connection: LibvirtConnection, uuid: str, tries: Any = tries, away: int = away
        ) -> None:
            if next(tries) <= away:
                raise HypervisorUnavailable("The connection was lost.")
            await power_off(connection, uuid)

        await replica.do("failback", seconds=1, force=True)
        assert replica.guest.domain.isActive()
        with monkeypatch.context() as patch:
            patch.setattr(failover_settlement, "power_off", lost)
            session = await replica.do("undo-failback", force=True)
        assert session.values["Result"] == result, session.values
        assert await replica.state() == "Failover"
        assert replica.domain.isActive()
        assert replica.guest.domain.isActive() == (result == "Warning")
    assert "See to it that it stays off" in session.values["FailureMessage"]
    # Nor after a crash, when somebody is at the source first.
    replica.guest.power_off()
    replica.domain.destroy()
    monkeypatch.setattr(failover_settlement, "PATIENCE", 0.1)
    async with under_way(replica, Operation.FAILBACK):
        await failovers._ground.declare(replica.uid, Operation.FAILBACK, arrived=True)
        async with machines.hold(replica.guest.uuid):
            with pytest.raises(MachineBusy, match="was not free"):
                await failovers.recover(replica.uid)
            assert not replica.guest.domain.isActive()
        await failovers.recover(replica.uid)
    assert await replica.state() == "Failback"
    assert replica.guest.domain.isActive()


async def test_failback_is_undone_by_force_when_the_source_s_host_dies_in_its_start(
    replica: ReplicaLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = replica.guest.contents()["vda"]
    await replica.do("failover")
    replica.write(3 * MIB, 65536, 77)
    replica.guest.power_off()
    begin = failover_settlement.start

    async def dead(_connection: LibvirtConnection, _uuid: str) -> None:
        raise HypervisorUnavailable("The host is dead.")

    async def dead_for_the_source(connection: LibvirtConnection, uuid: str) -> None:
        await (dead if uuid == replica.guest.uuid else begin)(connection, uuid)

    monkeypatch.setattr(failover_settlement, "_SECOND_TRY_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(failover_settlement, "start", dead_for_the_source)
        patch.setattr(failover_settlement, "power_off", dead)
        session = await replica.do("failback", seconds=1, force=True)
        assert session.values["Result"] == "Failed"
        assert not replica.domain.isActive()
        # The source may run for all that is known: only a person can tell that it does not.
        for operation, force in (("undo-failback", False), ("undo-failover", True)):
            refused = await replica.lab.command(operation, replica.uid, force=force)
            assert "undo-failback with force" in refused.message
            assert not replica.domain.isActive()
        session = await replica.do("undo-failback", force=True)
    assert session.values["Result"] == "Warning", session.values
    assert "See to it that it stays off" in session.values["FailureMessage"]
    assert await replica.state() == "Failover"
    assert replica.domain.isActive()
    replica.domain.suspend()
    assert replica.disk() == patched(content, 3 * MIB, 65536, 77)
    assert not replica.guest.domain.isActive()
    assert (await replica.do("undo-failover")).values["Result"] == "Success"


async def test_what_a_replica_wrote_is_kept_when_it_does_not_start_after_a_crash(
    replica: ReplicaLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = replica.guest.contents()["vda"]
    failovers = replica.lab.server._failovers._failovers

    async def refused(_connection: LibvirtConnection, _plan: object) -> None:
        raise HypervisorFailed("There is no memory for it.")

    async def crashed_before_the_end() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(failover_settlement, "fail_over", refused)
            async with under_way(replica, Operation.UNDO):
                await failovers._ground.note(replica.uid, doing=Operation.FAILOVER)
                replica.domain.destroy()
                await failovers.recover(replica.uid)

    await replica.do("failover")
    replica.write(3 * MIB, 65536, 77)
    await crashed_before_the_end()
    assert await replica.state() == "Failover"
    assert replica.disk() == patched(content, 3 * MIB, 65536, 77)
    # Nor is it given up when it could not be taken back at once, and has gone on since.
    async with under_way(replica, Operation.UNDO):
        await failovers._ground.note(replica.uid, doing=Operation.FAILOVER, back=True)
        await failovers.recover(replica.uid)
    assert await replica.state() == "Failover"
    assert replica.disk() == patched(content, 3 * MIB, 65536, 77)
    await replica.do("undo-failover")
    # One that wrote nothing is taken back.
    await replica.do("failover")
    await crashed_before_the_end()
    assert await replica.state() == "Ready"
    assert not replica.layers


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


async def forgotten_with_its_host(gone: ReplicaLab, other: ReplicaLab) -> None:
    """One that has taken over for good can be forgotten, but for the files that it runs on."""
    lab = gone.lab
    files = files_in(lab.folder / "datastore")
    removed = await lab.command("remove-replica", gone.uid)
    assert "the machine runs on them" in removed.message
    assert gone.uid not in {each.uid for each in await lab.resources("Replica")}
    assert files == files_in(lab.folder / "datastore")
    assert gone.domain.isActive()
    assert gone.disk() == gone.guest.contents()["vda"]
    assert (await lab.command("remove-replica", other.uid)).success
    assert (await lab.command("delete-job", gone.job)).success
    [target] = [row.uid for row in await lab.rows(tables.host) if row.name == "target"]
    removed = await lab.command("remove-host", target)
    assert removed.success, removed.message


async def test_plan_starts_its_machines_in_order_and_undoes_them_in_reverse(
    source_host: Host,
    target_host: Host,
    make_source: Callable[[], Guest],
    tmp_path: Path,
    clock: HandClock,
) -> None:
    guests = (make_source(), make_source())
    async with replica_lab(tmp_path, clock, source_host, target_host, *guests) as (first, second):
        lab = first.lab
        older = (await first.points())[0].uid
        first.guest.power_off()
        assert (await first.do("failover-point", older)).values["Result"] == "Success"
        assert await first.state() == "Failover"
        # The job leaves it alone meanwhile, and so does retention.
        await lab.begin(first.job)
        await lab.server.wait_until_idle()
        reasons = [task.values["Reason"] for task in await lab.resources("ReplicaTaskSession")]
        assert any("is in the state Failover" in reason for reason in reasons)
        await first.do("undo-failover")
        assert await first.state() == "Ready"
        assert not first.domain.isActive()
        assert not first.layers
        machines = [{"replica": str(first.uid), "delay": 600}, {"replica": str(second.uid)}]
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

        async def plan_is_done() -> bool:
            # Again and again: it may begin to wait only after the clock was put forward.
            clock.advance(timedelta(seconds=600))
            return "Doing" not in (await lab.resource("FailoverPlan", plan)).values

        await lab.until(plan_is_done)
        await lab.server.wait_until_idle()
        assert [await each.state() for each in (first, second)] == ["Failover"] * 2
        shown = (await lab.resource("FailoverPlan", plan)).values
        assert shown["Outcome"] == "2 of 2 machines have taken over."
        assert [machine["Started"] for machine in shown["Machines"]["Machine"]] == [True, True]
        assert "Doing" not in shown
        refused = await lab.command("delete-failover-plan", plan)
        assert "Undo it first." in refused.message
        # One that cannot be undone does not keep the other from it.
        points = {point.uid for point in await first.points()}
        assert (await first.do("permanent-failover")).values["Result"] == "Success"
        assert first.domain.isActive()
        assert "urn:holdfast:replica" not in first.domain.XMLDesc(0)
        # Its points are shown no more; what it runs on stays.
        assert not points & {point.uid for point in await lab.resources("VmReplicaPoint")}
        shown = (await lab.resource("Replica", first.uid)).values
        assert shown["State"] == "PermanentFailover"
        assert first.disk() == first.guest.contents()["vda"]
        refused = await lab.command("undo-failover", first.uid)
        assert "nothing is possible now" in refused.message
        assert (await lab.command("undo-failover-plan", plan)).success
        await lab.server.wait_until_idle()
        assert [await each.state() for each in (first, second)] == ["PermanentFailover", "Ready"]
        shown = (await lab.resource("FailoverPlan", plan)).values
        assert shown["Outcome"].startswith("1 of 2 machines stand ready again. Replica")
        # What cannot be undone any more does not keep the plan for ever.
        refused = await lab.command("remove-replica", first.uid)
        assert "has the replica" in refused.message
        assert (await lab.command("delete-failover-plan", plan)).success
        await forgotten_with_its_host(first, second)
        created = {
            session.values["VmDisplayName"]: session.values["CreationTimeUTC"]
            for session in await lab.resources("RestoreSession")
        }
        assert len(created) == 2
