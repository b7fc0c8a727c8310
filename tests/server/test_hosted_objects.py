"""Jobs over machines of hosts: by machine, host or tag, less what they exclude."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from holdfast.server import tables
from holdfast.server.libvirt_references import host_reference, machine_reference, tag_reference
from holdfast.server.session_machines import NOTHING

from .lab import HandClock, Lab, running_lab, write_image
from .toy_platform import HERE, THERE, ToyHost, ToyPlatform


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock, platform: ToyPlatform) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        yield lab


@pytest.fixture
def here(platform: ToyPlatform) -> ToyHost:
    return platform.hosts[HERE]


@pytest.fixture
def there(platform: ToyPlatform) -> ToyHost:
    return platform.hosts[THERE]


async def add_host(lab: Lab, uri: str = HERE) -> UUID:
    made = (await lab.command("add-host", uri=uri)).made
    assert made is not None
    return made.uid


async def make_job(
    lab: Lab, *objects: str, name: str = "Nightly", excludes: tuple[str, ...] = (), **more: Any
) -> UUID:
    outcome = await lab.command(
        "create-job",
        name=name,
        objects=[{"reference": each} for each in objects],
        excludes=[{"reference": each} for each in excludes],
        repository=str(lab.repository),
        **more,
    )
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def machines_of(lab: Lab, job: UUID, operation: str = "start-job") -> list[str]:
    """Run a job; return what its task sessions are about, in the order they were made."""
    session = (await lab.run(job, operation)).uid
    rows = await lab.rows(_tasks(session))
    return [row.display_name for row in rows]


def _tasks(session: UUID) -> Any:
    task, each = tables.task_session, tables.job_object
    joined = select(task, each.c.position).join(each, each.c.uid == task.c.job_object_uid)
    return (
        joined.where(task.c.job_session_uid == session)
        .order_by(each.c.position, each.c.name)
        .subquery()
    )


async def includes(lab: Lab) -> list[tuple[str, str]]:
    found = await lab.resources("ObjectInJob")
    return [(each.values["Name"], each.values["HierarchyObjRef"]) for each in found]


async def test_a_host_means_all_its_machines_new_ones_too(lab: Lab, here: ToyHost) -> None:
    here.add("web")
    uid = await add_host(lab)
    job = await make_job(lab, host_reference(uid))
    assert await machines_of(lab, job) == ["web"]
    gone = here.add("db")
    assert await machines_of(lab, job) == ["db", "web"]
    del here.machines[gone]
    assert await machines_of(lab, job) == ["web"]
    assert await includes(lab) == [("kvm1", host_reference(uid))]


async def test_a_tag_means_the_machines_that_have_it(lab: Lab, here: ToyHost) -> None:
    here.add("web", "gold"), here.add("db", "Gold"), here.add("toy", "tin")
    uid = await add_host(lab)
    job = await make_job(lab, tag_reference(uid, "GOLD"))
    assert await machines_of(lab, job) == ["db", "web"]


async def test_what_is_excluded_is_left_out_whatever_includes_it(lab: Lab, here: ToyHost) -> None:
    web = here.add("web", "gold")
    here.add("db", "gold"), here.add("scratch", "tin")
    uid = await add_host(lab)
    job = await make_job(
        lab,
        host_reference(uid),
        excludes=(machine_reference(uid, web), tag_reference(uid, "tin")),
    )
    assert await machines_of(lab, job) == ["db"]
    shown = (await lab.resource("Job", job)).values["Excludes"]["ObjectInJob"]
    assert [each["Name"] for each in shown] == ["web", "tin"]
    kept = [{"uid": str(each["ObjectInJobId"])} for each in shown[:1]]
    assert (await lab.command("edit-job", job, excludes=kept)).success
    assert await machines_of(lab, job) == ["db", "scratch"]
    included = [{"reference": machine_reference(uid, web)}]
    refused = await lab.command("edit-job", job, objects=included)
    assert 'is excluded from job "Nightly"' in refused.message
    assert (await lab.command("edit-job", job, excludes=[])).success
    assert await machines_of(lab, job) == ["db", "scratch", "web"]
    assert "Excludes" not in (await lab.resource("Job", job)).values
    outcome = await lab.command("clone-job", job)
    assert outcome.made is not None


async def test_machines_stand_in_the_order_of_what_includes_them(lab: Lab, here: ToyHost) -> None:
    here.add("a"), here.add("z")
    first = here.add("m")
    uid = await add_host(lab)
    write_image(lab.source("image.raw"), 1)
    sources = [{"path": str(lab.source("image.raw"))}]
    job = await make_job(lab, machine_reference(uid, first), host_reference(uid), sources=sources)
    assert await machines_of(lab, job) == ["image", "m", "a", "z"]
    tasks = await lab.rows(_tasks((await lab.resources("BackupJobSession"))[-1].uid))
    assert tasks[0].result == "Success"


async def test_a_machine_in_a_job_can_be_put_in_and_taken_out(lab: Lab, here: ToyHost) -> None:
    web, db = here.add("web"), here.add("db")
    uid = await add_host(lab)
    job = await make_job(lab, machine_reference(uid, web))
    added = await lab.command("add-object", job, reference=machine_reference(uid, db).upper())
    assert added.success, added.message
    again = await lab.command("add-object", job, reference=machine_reference(uid, db))
    assert not again.success
    assert [name for name, _ in await includes(lab)] == ["web", "db"]
    objects = [
        {"uid": str(each.uid)} for each in await lab.resources("ObjectInJob") if each.name == "db"
    ]
    whole = {"reference": f"urn:veeam:HierarchyRoot:{uid}"}
    assert (await lab.command("edit-job", job, objects=[whole, *objects])).success
    # The one that is in by itself has the place that it was given.
    assert await machines_of(lab, job) == ["web", "db"]


@pytest.mark.parametrize(
    "reference",
    [
        "urn:Libvirt:Vm:{root}.00000000-0000-0000-0000-000000000001",
        "urn:Libvirt:Host:00000000-0000-0000-0000-000000000001",
        "urn:Libvirt:Tag:00000000-0000-0000-0000-000000000001.gold",
    ],
)
async def test_what_no_host_has_is_refused(lab: Lab, here: ToyHost, reference: str) -> None:
    web = here.add("web")
    uid = await add_host(lab)
    job = await make_job(lab, machine_reference(uid, web))
    outcome = await lab.command("add-object", job, reference=reference.format(root=uid))
    assert not outcome.success


async def test_a_renamed_machine_has_its_new_name_in_jobs(lab: Lab, here: ToyHost) -> None:
    web = here.add("web")
    uid = await add_host(lab)
    await make_job(lab, machine_reference(uid, web), host_reference(uid))
    here.add("www", uuid=web)
    assert (await lab.command("rescan-host", uid)).success
    assert (await lab.command("edit-host", uid, name="Berlin")).success
    assert [name for name, _ in await includes(lab)] == ["www", "Berlin"]


async def test_a_moved_machine_stays_the_same_to_its_job(
    lab: Lab, here: ToyHost, there: ToyHost
) -> None:
    machine = here.add("web")
    first, second = await add_host(lab, HERE), await add_host(lab, THERE)
    job = await make_job(lab, host_reference(first), host_reference(second))
    await lab.run(job)
    there.machines[machine] = here.machines.pop(machine)
    await lab.run(job)
    tasks = await lab.resources("BackupTaskSession")
    assert {each.values["VmUid"] for each in tasks} == {machine_reference(first, machine)}
    assert len(tasks) == 2
    # Two at once with the same UUID are two.
    here.add("copy", uuid=machine)
    assert await machines_of(lab, job) == ["copy", "web"]


async def test_a_machine_that_migrates_is_one_wherever_it_is_defined(
    lab: Lab, platform: ToyPlatform, here: ToyHost, there: ToyHost
) -> None:
    disks = ("/shared/web.qcow2",)
    web = here.add("web", "gold", disks=disks)
    first, second = await add_host(lab, HERE), await add_host(lab, THERE)
    job = await make_job(lab, host_reference(first), tag_reference(second, "gold"))
    named = await make_job(lab, machine_reference(first, web), name="Named")

    async def is_one(uri: str) -> None:
        for each in (job, named):
            tasks = await lab.tasks((await lab.run(each)).uid)
            assert [each.values["VmUid"] for each in tasks.values()] == [
                machine_reference(first, web)
            ]
            assert platform.backed_up.pop() == uri

    await is_one(HERE)
    # It is on its way: there it only waits to be taken over.
    there.add("web", "gold", uuid=web, active=False, disks=disks)
    await is_one(HERE)
    # It has arrived, and what it has left stays defined: while it runs, and when it is off.
    there.add("web", "gold", uuid=web, disks=disks)
    here.add("web", "gold", uuid=web, active=False, disks=disks)
    await is_one(THERE)
    there.add("web", "gold", uuid=web, active=False, disks=disks)
    await is_one(THERE)
    # Back home, by which the other host does not forget it either.
    here.add("web", "gold", uuid=web, disks=disks)
    await is_one(HERE)
    # Its host is lost, and it is started on the other one.
    here.away = True
    there.add("web", "gold", uuid=web, disks=disks)
    await is_one(THERE)
    here.away = False
    there.add("web", "gold", uuid=web, active=False, disks=disks)
    await is_one(HERE)
    # One with disks of its own is another, and so is one that runs beside it.
    there.add("www", "gold", uuid=web, active=False, disks=("/other.qcow2",))
    assert await machines_of(lab, job) == ["web", "www"]
    there.add("www", "gold", uuid=web, disks=disks)
    assert await machines_of(lab, job) == ["web", "www"]


async def test_a_machine_that_moves_while_its_hosts_are_looked_at_is_neither_lost_nor_two(
    lab: Lab, platform: ToyPlatform, here: ToyHost, there: ToyHost
) -> None:
    web = here.add("web")
    first, second = await add_host(lab, HERE), await add_host(lab, THERE)
    job = await make_job(lab, host_reference(first), host_reference(second))
    named = await make_job(lab, machine_reference(first, web), name="Named")

    for seen_last, target, source in ((HERE, there, here), (THERE, here, there)):
        # It has come to the one host, or left the other, by the time that this is asked.
        async def move(target: ToyHost = target, source: ToyHost = source) -> None:
            if web in source.machines:
                target.machines[web] = source.machines.pop(web)

        platform.before_asking[seen_last] = move
        assert await machines_of(lab, job) == ["web"]
        del platform.before_asking[seen_last]
    # It has moved to a host that the job does not name, and off here is not off there.
    there.add("web", uuid=web, disks=("/shared/web.qcow2",))
    here.add("web", uuid=web, active=False, disks=("/shared/web.qcow2",))
    [task] = (await lab.tasks((await lab.run(named)).uid)).values()
    assert task.values["Reason"] == f"The machine {web} is a toy."
    assert platform.backed_up.pop() == THERE


async def test_only_a_machine_that_is_on_nowhere_is_sought_on_all_hosts(
    lab: Lab, platform: ToyPlatform, here: ToyHost, there: ToyHost
) -> None:
    third = "qemu+ssh://root@third/system?no_tty=1"
    platform.add(third, "kvm3")
    web = here.add("web")
    first, second = await add_host(lab, HERE), await add_host(lab, THERE)
    await add_host(lab, third)
    job = await make_job(lab, host_reference(first), host_reference(second))

    async def is_sought() -> bool:
        platform.asked.clear()
        await lab.begin(job)  # the clock stands still: nobody looks at all hosts now and then
        await lab.server.wait_until_idle()
        return third in [access.uri for access in platform.asked]

    assert not await is_sought()
    there.machines[web] = here.machines.pop(web)
    assert not await is_sought()
    del there.machines[web]
    assert await is_sought()
    assert not await is_sought()


async def test_a_job_on_a_missing_host_fails_with_a_plain_reason(lab: Lab, here: ToyHost) -> None:
    uid = await add_host(lab)
    job = await make_job(lab, host_reference(uid))
    session = await lab.run(job)
    assert session.values["Result"] == "Warning"
    assert session.values["FailureMessage"] == NOTHING
    here.away = True
    session = await lab.run(job)
    assert session.values["Result"] == "Failed"
    assert 'Host "kvm1" cannot be asked' in session.values["FailureMessage"]
    assert "no route to the host" in session.values["FailureMessage"]
    here.away = False
    here.add("web")
    assert await machines_of(lab, job, "retry-job") == ["web"]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_retry_waits_for_the_host_and_is_not_used_up_meanwhile(
    lab: Lab, here: ToyHost, whole: bool
) -> None:
    uid = await add_host(lab)
    if not whole:
        here.add("web")
    schedule, retry = {"type": "Periodically", "every": 1}, {"times": 1, "minutes": 5}
    await make_job(lab, host_reference(uid), schedule=schedule, retry=retry)
    here.away = True

    async def ended(count: int) -> list[Any]:
        async def found() -> bool:
            shown = await lab.resources("BackupJobSession")
            return len([each for each in shown if each.values["State"] == "Stopped"]) >= count

        await lab.until(found)
        shown = await lab.resources("BackupJobSession")
        return [each.values["IsRetry"] for each in shown]

    lab.clock.advance(timedelta(hours=1))
    await ended(1)
    for _ in range(4):
        lab.clock.advance(timedelta(minutes=5))
        await lab.command("nothing")
        await lab.server.wait_until_idle()
        assert len(await ended(1)) == 1
    here.away = False
    assert (await lab.command("rescan-host", uid)).success
    lab.clock.advance(timedelta(minutes=5))
    assert await ended(2) == [False, True]


async def test_a_machine_that_is_gone_fails_by_its_name(lab: Lab, here: ToyHost) -> None:
    web = here.add("web")
    uid = await add_host(lab)
    job = await make_job(lab, machine_reference(uid, web))
    del here.machines[web]
    session = await lab.run(job)
    task = (await lab.tasks(session.uid))["web"]
    assert task.values["Result"] == "Failed"
    assert task.values["Reason"] == 'The machine "web" is on none of the hosts any more.'


async def test_one_machine_of_a_host_is_backed_up_at_once(
    lab: Lab, here: ToyHost, clock: HandClock
) -> None:
    web = here.add("web")
    here.add("db")
    uid = await add_host(lab)
    await make_job(lab, host_reference(uid))
    outcome = await lab.command("quick-backup", machine=machine_reference(uid, web))
    assert outcome.made is not None, outcome.message
    await lab.server.wait_until_idle()
    assert list(await lab.tasks(outcome.made.uid)) == ["web"]
    clock.advance(timedelta(minutes=1))
    whole = await lab.command(
        "one-off-backup", machines=[host_reference(uid)], repository=str(lab.repository)
    )
    assert "Name the machines" in whole.message


async def test_a_backup_that_is_stopped_or_cut_off_leaves_nothing(
    tmp_path: Path, clock: HandClock, platform: ToyPlatform, here: ToyHost
) -> None:
    here.add("web")
    platform.slow = True
    files = tmp_path / "repository"
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        uid = await add_host(lab)
        job = await make_job(lab, host_reference(uid))

        async def writing() -> bool:
            return any(files.glob("*/*.qcow2"))

        session = await lab.begin(job)
        await lab.until(writing)
        assert (await lab.command("stop-session", session)).success
        await lab.server.wait_until_idle()
        assert not await writing()
        assert await lab.rows(tables.intent) == []
        await lab.begin(job)
        await lab.until(writing)
        kept = next(files.glob("*/*.qcow2"))
        [intent] = await lab.rows(tables.intent)
        key = {"backup_uid": intent.backup_uid, "chain": intent.chain, "created": 1}
    # Shut down, it settled; what a crash leaves is settled by the next start.
    assert not kept.exists()
    kept.touch()
    kept.with_suffix(".qcow2.pushed.partial").touch()
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        values = key | {"uid": intent.uid, "work": intent.work}
        await lab.write(lambda c: c.execute(tables.intent.insert().values(values)))
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        assert await lab.rows(tables.intent) == []
        assert not any(files.glob("*/*.qcow2*"))
        sessions = await lab.resources("BackupJobSession")
        assert {each.values["State"] for each in sessions} == {"Stopped"}
