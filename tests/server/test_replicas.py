"""Replicas as they are written down: from their first point on, and when their job goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from holdfast.server import failover_plans, replica_removal, replicas, stand_ins, tables
from holdfast.server.failover_record import Failover, Operation, Place, encoded
from holdfast.server.libvirt_references import machine_reference
from holdfast.server.messages import Command, Outcome
from holdfast.server.platform import HostAccess
from holdfast.server.replicas import Counterpart, ReplicaState

from .lab import HandClock, Lab, running_lab
from .test_hosted_objects import add_host
from .toy_platform import HERE, THERE, ToyPlatform


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock, platform: ToyPlatform) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        yield lab


async def replica_job(lab: Lab, target: UUID, *references: str) -> UUID:
    arguments = {
        "name": "Replication",
        "kind": "Replica",
        "objects": [{"reference": each} for each in references],
        "target": {"host": str(target), "folder": str(lab.folder / "datastore")},
    }
    # Its own target is none of the command's.
    wanted = Command(request_id=uuid4(), operation="create-job", arguments=arguments)
    outcome = await lab.server.execute(wanted)
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def give_replica(lab: Lab, job: UUID, reference: str) -> UUID:
    """Write down a replica of a machine, as its first point does, but without one."""

    def give(connection: Connection) -> UUID:
        uids = select(tables.backup.c.uid).where(tables.backup.c.job_uid == job)
        backup = connection.scalars(uids).one()
        machine = tables.host_machine
        same = machine.c.reference == reference
        source = connection.execute(select(machine).where(same)).one()
        target = replicas.target_of(connection, job).host_uid
        replicas.ensure_replica(
            connection,
            backup=backup,
            reference=reference,
            source=source,
            counterpart=Counterpart(target, f"{source.name}_replica", str(uuid4())),
            now=0,
        )
        replicas.end_processing(connection)
        row = replicas.replica_of(connection, backup, reference)
        assert row is not None
        uid: UUID = row.uid
        return uid

    return await lab.write(give)


async def test_replicas_are_kept_outside_of_repositories(lab: Lab, platform: ToyPlatform) -> None:
    here, there = await add_host(lab), await add_host(lab, THERE)
    folder = lab.repository_path / "datastore"
    arguments = {
        "name": "Replication",
        "kind": "Replica",
        "objects": [{"reference": machine_reference(here, platform.hosts[HERE].add("web"))}],
        "target": {"host": str(there), "folder": str(folder)},
    }
    wanted = Command(request_id=uuid4(), operation="create-job", arguments=arguments)
    outcome = await lab.server.execute(wanted)
    assert outcome.message == (
        f"target.folder: {folder} lies inside the repository in {lab.repository_path}."
    )
    assert not folder.exists()
    assert len(await lab.rows(tables.repository)) == 1


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        ([], "machines: expected 1 to 1000, not 0."),
        ([{"replica": str(UUID(int=1))}] * 2, "machines: expected each replica once."),
        (
            [{"replica": str(UUID(int=1))}],
            f"machines[0].replica: Cannot find replica [{UUID(int=1)}].",
        ),
        (
            [{"replica": str(UUID(int=1)), "delay": -1}],
            "machines[0].delay: expected 0 to 86400 seconds, not -1.",
        ),
    ],
)
async def test_a_wrong_plan_is_refused_by_the_name_of_its_field(
    lab: Lab, machines: list[dict[str, object]], message: str
) -> None:
    plan = {"name": "All", "machines": machines}
    wanted = Command(request_id=uuid4(), operation="create-failover-plan", arguments=plan)
    outcome = await lab.server.execute(wanted)
    assert (outcome.success, outcome.message) == (False, message)


async def shown(lab: Lab) -> list[str]:
    return sorted(change.name for change in await lab.resources("Replica"))


async def test_machine_that_was_never_replicated_has_no_replica(
    lab: Lab, platform: ToyPlatform
) -> None:
    web = platform.hosts[HERE].add("web")
    here, there = await add_host(lab), await add_host(lab, THERE)
    job = await replica_job(lab, there, machine_reference(here, web))
    session = await lab.begin(job)
    await lab.server.wait_until_idle()
    [task] = await lab.resources("ReplicaTaskSession")
    assert task.relations["job_session"] == session
    assert "is a toy" in str(task.values["Reason"])
    assert await shown(lab) == []
    assert await lab.rows(tables.replica) == []


async def test_replicas_that_never_had_a_point_go_with_their_job(
    lab: Lab, platform: ToyPlatform
) -> None:
    names = ("lost", "never", "planned")
    machines = [platform.hosts[HERE].add(name) for name in names]
    here, there = await add_host(lab), await add_host(lab, THERE)
    references = [machine_reference(here, each) for each in machines]
    job = await replica_job(lab, there, *references)
    await lab.begin(job)
    await lab.server.wait_until_idle()
    lost, _never, planned = [await give_replica(lab, job, each) for each in references]

    def had_a_point(connection: Connection) -> None:
        task = tables.task_session
        of_it = update(task).where(task.c.reference == references[0])
        connection.execute(of_it.values(machine_point_uid=uuid4()))

    await lab.write(had_a_point)
    plan = {"name": "All", "machines": [{"replica": str(planned)}]}
    wanted = Command(request_id=uuid4(), operation="create-failover-plan", arguments=plan)
    assert (await lab.server.execute(wanted)).success
    assert await shown(lab) == ["lost_replica", "never_replica", "planned_replica"]
    assert (await lab.command("delete-job", job)).success
    # The machine of the first may stand on its host; it can be removed by whoever looks after it.
    assert await shown(lab) == ["lost_replica", "planned_replica"]
    assert {row.uid for row in await lab.rows(tables.replica)} == {lost, planned}


async def test_start_of_a_plan_is_answered_when_it_has_ended(
    lab: Lab, platform: ToyPlatform
) -> None:
    machines = [platform.hosts[HERE].add(name) for name in ("web", "db")]
    here, there = await add_host(lab), await add_host(lab, THERE)
    references = [machine_reference(here, each) for each in machines]
    job = await replica_job(lab, there, *references)
    await lab.begin(job)
    await lab.server.wait_until_idle()
    uids = [await give_replica(lab, job, each) for each in references]
    plan = {"name": "All", "machines": [{"replica": str(uid)} for uid in uids]}
    wanted = Command(request_id=uuid4(), operation="create-failover-plan", arguments=plan)
    made = (await lab.server.execute(wanted)).made
    assert made is not None

    async def outcome_of_start() -> Outcome:
        start = Command(request_id=uuid4(), operation="start-failover-plan", target=made.uid)
        begun = await lab.server.execute(start)
        assert (begun.success, begun.awaits) == (True, made.uid)
        await lab.server.wait_until_idle()
        ended = await lab.server._commands.outcome(start.request_id)
        assert ended is not None
        # Whoever asks again with the same request is told that, too.
        assert await lab.server.execute(start) == ended
        assert ended.awaits is None
        assert ended.cursor > begun.cursor
        return ended

    ended = await outcome_of_start()
    assert not ended.success
    assert ended.message == (
        '0 of 2 machines have taken over. Replica "web_replica" has no good restore point. '
        'Replica "db_replica" has no good restore point.'
    )

    def taken_over(connection: Connection) -> None:
        of_plan = tables.failover_plan_machine.c.replica_uid == uids[0]
        connection.execute(update(tables.failover_plan_machine).where(of_plan).values(started=True))
        ready = {ReplicaState.READY}
        replicas.change_state(connection, uids[0], ReplicaState.FAILOVER, before=ready)

    # By an earlier start.
    await lab.write(taken_over)
    ended = await outcome_of_start()
    assert ended.success
    assert ended.message == (
        '1 of 2 machines have taken over. Replica "db_replica" has no good restore point.'
    )


async def test_plan_that_a_crash_interrupts_is_answered_by_the_next_start(
    lab: Lab, platform: ToyPlatform
) -> None:
    web = platform.hosts[HERE].add("web")
    here, there = await add_host(lab), await add_host(lab, THERE)
    reference = machine_reference(here, web)
    job = await replica_job(lab, there, reference)
    await lab.begin(job)
    await lab.server.wait_until_idle()
    plan = {"name": "All", "machines": [{"replica": str(await give_replica(lab, job, reference))}]}
    wanted = Command(request_id=uuid4(), operation="create-failover-plan", arguments=plan)
    made = (await lab.server.execute(wanted)).made
    assert made is not None
    lab.server._plans.launch = lambda *_: None  # type: ignore[method-assign]
    start = Command(request_id=uuid4(), operation="start-failover-plan", target=made.uid)
    assert (await lab.server.execute(start)).awaits == made.uid
    await lab.write(failover_plans.end_interrupted)
    ended = await lab.server._commands.outcome(start.request_id)
    assert ended is not None
    assert (ended.success, ended.awaits) == (False, None)
    assert "stopped unexpectedly" in ended.message


async def test_replica_whose_host_is_gone_for_good_is_forgotten_by_force(
    lab: Lab, platform: ToyPlatform
) -> None:
    machines = [platform.hosts[HERE].add(name) for name in ("web", "db")]
    here, there = await add_host(lab), await add_host(lab, THERE)
    references = [machine_reference(here, each) for each in machines]
    job = await replica_job(lab, there, *references)
    await lab.begin(job)
    await lab.server.wait_until_idle()
    web, db = [await give_replica(lab, job, each) for each in references]
    plan = {"name": "All", "machines": [{"replica": str(uid)} for uid in (web, db)]}
    wanted = Command(request_id=uuid4(), operation="create-failover-plan", arguments=plan)
    assert (await lab.server.execute(wanted)).success
    record = Failover(doing=Operation.UNDO, point=uuid4())

    def taken_over(connection: Connection) -> None:
        connection.execute(update(tables.failover_plan_machine).values(started=True))
        table = tables.replica
        values = {"state": ReplicaState.FAILOVER, "failover": encoded(record)}
        connection.execute(update(table).where(table.c.uid == web).values(values))

    await lab.write(taken_over)
    refused = await lab.command("remove-replica", web, force=True)
    assert 'The failover plan "All" has the replica' in refused.message  # its host does answer
    platform.hosts[THERE].away = True
    refused = await lab.command("failover", web, force=True)
    assert "If its own host is gone for good: remove the replica with force." in refused.message
    assert not (await lab.command("remove-replica", web)).success
    assert await shown(lab) == ["db_replica", "web_replica"]
    removed = await lab.command("remove-replica", web, force=True)
    assert removed.success, removed.message
    assert (
        '"web_replica" is forgotten, since its host does not answer. Its files' in removed.message
    )
    assert await shown(lab) == ["db_replica"]
    [left] = await lab.rows(tables.failover_plan_machine)
    assert left.replica_uid == db
    assert (await lab.command("remove-replica", db, force=True)).success
    assert await lab.rows(tables.failover_plan) == []
    assert (await lab.command("delete-job", job)).success
    removed = await lab.command("remove-host", there)
    assert removed.success, removed.message


@pytest.mark.parametrize("doing", [None, Operation.UNDO_FAILBACK])
async def test_replica_that_is_forgotten_leaves_its_jobs_the_machine_that_stays(
    lab: Lab, platform: ToyPlatform, doing: Operation | None
) -> None:
    web = platform.hosts[HERE].add("web")
    here, there = await add_host(lab), await add_host(lab, THERE)
    reference = machine_reference(here, web)
    moved = Place(host=here, folder="/place", name="moved", uuid=str(uuid4()))
    job = await replica_job(lab, there, reference)
    await lab.begin(job)
    await lab.server.wait_until_idle()
    uid = await give_replica(lab, job, reference)
    record = encoded(Failover(doing=doing, point=uuid4(), place=moved))
    failed_back = update(tables.replica).values(state=ReplicaState.FAILBACK, failover=record)
    await lab.write(lambda c: c.execute(failed_back))
    platform.hosts[THERE].away = True
    removed = await lab.command("remove-replica", uid, force=True)
    assert removed.success, removed.message
    now = await lab.server._store.read(lambda c: stand_ins.current(c, reference))
    # What the undo of a failback takes away takes nobody's place.
    assert now == (machine_reference(here, moved.uuid) if doing is None else reference)


async def test_replica_that_something_runs_from_keeps_its_machine(
    lab: Lab, platform: ToyPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = platform.hosts[HERE].add("web")
    here, there = await add_host(lab), await add_host(lab, THERE)
    reference = machine_reference(here, web)
    job = await replica_job(lab, there, reference)
    await lab.begin(job)
    await lab.server.wait_until_idle()
    uid = await give_replica(lab, job, reference)
    [row] = await lab.rows(tables.replica)
    taken_off: list[str] = []

    async def take_off(_access: HostAccess, machine: str) -> None:
        taken_off.append(machine)

    monkeypatch.setattr(platform, "remove_standby", take_off)
    instant = tables.instant_recovery
    values = {"backup_uid": row.backup_uid, "chain": reference, "host_uid": there, "name": "test"}
    values |= {"uid": uuid4(), "machine_point_uid": uuid4(), "uuid": str(uuid4()), "files": "[]"}
    values |= {"state": "Running", "created": 0}
    await lab.write(lambda c: c.execute(insert(instant).values(values)))
    refused = await lab.command("remove-replica", uid)
    assert 'The machine "test" runs from this backup' in refused.message
    assert taken_off == []
    assert [row.state for row in await lab.rows(tables.replica)] == ["Ready"]
    await lab.write(lambda c: c.execute(delete(instant)))
    # Half done, it is asked for again.
    removal = replica_removal.ReplicaRemoval
    with monkeypatch.context() as patch:
        patch.setattr(removal, "_withdraw", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await lab.command("remove-replica", uid)
    assert [row.state for row in await lab.rows(tables.replica)] == ["Ready"]
    # The point of a failover that is being taken back is none to take over from again.
    taken_back = encoded(Failover(doing=Operation.FAILOVER, back=True, point=uuid4()))
    await lab.write(lambda c: c.execute(update(tables.replica).values(failover=taken_back)))
    refused = await lab.command("failover", uid, force=True)
    assert "has no good restore point" in refused.message
    # What the source's host is to be given back does not keep it, nor does that host with force.
    pending = encoded(Failover(doing=None, autostart=True))
    await lab.write(lambda c: c.execute(update(tables.replica).values(failover=pending)))
    platform.hosts[HERE].away = True
    refused = await lab.command("remove-replica", uid)
    assert "The host of the original does not let go" in refused.message
    removed = await lab.command("remove-replica", uid, force=True)
    assert removed.message == 'The source machine "web" does not start with its host any more.'
    assert taken_off == [row.machine_uuid] * 2
    assert await lab.rows(tables.replica) == []
