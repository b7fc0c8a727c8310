"""Jobs that start by themselves: after others, again and again, after failures, in windows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from holdfast.server import job_schedules, tables
from holdfast.server.clock import milliseconds
from holdfast.server.libvirt_references import machine_reference
from holdfast.server.messages import Change
from holdfast.server.scheduler import WINDOW_CLOSED
from holdfast.server.session_start import begin_session
from holdfast.server.session_state import Cause
from holdfast.server.sessions import request_stop

from .lab import HandClock, Lab, running_lab, write_image, write_slow_image
from .toy_platform import HERE, ToyPlatform

OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]
HOURLY = {"type": "Periodically", "every": 1}
RETRY = {"times": 2, "minutes": 5}


async def sessions(lab: Lab, count: int) -> list[Change]:
    """Wait for so many sessions to have ended; return all, oldest first."""

    async def ended() -> bool:
        shown = await lab.resources("BackupJobSession")
        return len([s for s in shown if s.values["State"] == "Stopped"]) >= count

    await lab.until(ended)
    await lab.server.wait_until_idle()
    shown = await lab.resources("BackupJobSession")
    assert len(shown) == count
    return sorted(shown, key=lambda s: s.values["CreationTimeUTC"])


async def quiet(lab: Lab) -> None:
    """Let whatever is due begin, by way of a command that makes the scheduler look."""
    await lab.command("nothing")

    async def nothing_is_due() -> bool:
        first = await lab.server._store.read(job_schedules.first_due)
        return first is None or first > milliseconds(lab.clock.now())

    await lab.until(nothing_is_due)
    for _ in range(3):
        await lab.resources("Job")
    await lab.server.wait_until_idle()


def results(found: list[Change]) -> list[tuple[Any, Any]]:
    return [(s.values["Result"], s.values["IsRetry"]) for s in found]


async def test_a_job_starts_when_the_job_before_it_has_ended_however_that_was(lab: Lab) -> None:
    write_image(lab.source("b.raw"), 1)
    first = await lab.create_job("missing.raw", job="First")
    await lab.create_job("b.raw", job="Second", schedule={"type": "AfterJob", "job": str(first)})

    await lab.begin(first)

    found = await sessions(lab, 2)
    assert [s.values["JobName"] for s in found] == ["First", "Second"]
    assert results(found) == [("Failed", False), ("Success", False)]
    assert all("NextRun" not in job.values for job in await lab.resources("Job"))


async def test_a_continuous_job_begins_again_until_it_is_switched_off(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw", schedule={"type": "Continuously"})
    await sessions(lab, 1)
    lab.clock.advance(timedelta(minutes=1))
    await sessions(lab, 2)
    assert (await lab.command("toggle-schedule", job)).success
    lab.clock.advance(timedelta(minutes=1))
    await quiet(lab)
    await sessions(lab, 2)


async def test_what_failed_is_tried_again_so_often_and_only_that(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    await lab.create_job("a.raw", "missing.raw", schedule=HOURLY, retry=RETRY)
    lab.clock.advance(timedelta(hours=1))
    await sessions(lab, 1)
    for count in (2, 3):
        lab.clock.advance(timedelta(minutes=5))
        found = await sessions(lab, count)
        assert list(await lab.tasks(found[-1].uid)) == ["missing"]
    lab.clock.advance(timedelta(minutes=5))
    await quiet(lab)
    found = await sessions(lab, 3)
    assert results(found) == [("Failed", False), ("Failed", True), ("Failed", True)]

    write_image(lab.source("missing.raw"), 2)
    lab.clock.advance(timedelta(minutes=45))
    found = await sessions(lab, 4)
    assert results(found)[-1] == ("Success", False)


async def test_retries_end_with_success_and_are_not_made_of_what_a_person_started(
    lab: Lab,
) -> None:
    job = await lab.create_job("a.raw", schedule=HOURLY, retry=RETRY)
    await lab.begin(job)
    await sessions(lab, 1)
    lab.clock.advance(timedelta(minutes=5))
    await quiet(lab)
    await sessions(lab, 1)
    lab.clock.advance(timedelta(minutes=55))
    await sessions(lab, 2)
    write_image(lab.source("a.raw"), 1)
    lab.clock.advance(timedelta(minutes=5))
    assert results(await sessions(lab, 3))[-1] == ("Success", True)
    lab.clock.advance(timedelta(minutes=5))
    await quiet(lab)
    await sessions(lab, 3)


async def test_a_retry_waits_for_a_quick_backup_and_is_not_made_at_once(lab: Lab) -> None:
    write_slow_image(lab.source("a.raw"))
    await lab.create_job(
        "a.raw", "missing.raw", schedule=HOURLY, retry={"times": 999, "minutes": 0}
    )
    lab.clock.advance(timedelta(hours=1))
    await sessions(lab, 1)
    await quiet(lab)
    await sessions(lab, 1)
    reference = (await lab.resources("ObjectInJob"))[0].values["HierarchyObjRef"]
    assert (await lab.command("quick-backup", machine=reference)).success
    lab.clock.advance(timedelta(minutes=1))
    await quiet(lab)
    assert results(await sessions(lab, 2))[-1] == ("Success", False)
    lab.clock.advance(timedelta(minutes=1))
    assert results(await sessions(lab, 3))[-1] == ("Failed", True)


async def test_what_a_person_stopped_is_not_tried_again_though_the_server_died_of_it(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab() as lab:
        job = await lab.create_job("a.raw", schedule=HOURLY, retry=RETRY)
        now = milliseconds(lab.clock.now())
        session = await lab.write(lambda c: begin_session(c, job, now, Cause.SCHEDULE))
        await lab.write(lambda c: request_stop(c, session, "Stopped by operator."))

        async def killed(*_arguments: object) -> None:
            return None

        monkeypatch.setattr("holdfast.server.job_runner.JobRunner.stop_all", killed)
    monkeypatch.undo()
    async with open_lab() as lab:
        lab.clock.advance(timedelta(minutes=5))
        await quiet(lab)
        await sessions(lab, 1)


async def test_a_retry_that_was_noted_survives_a_restart(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.create_job("a.raw", schedule=HOURLY, retry=RETRY)
        lab.clock.advance(timedelta(hours=1))
        await sessions(lab, 1)
    write_image(lab.source("a.raw"), 1)
    async with open_lab() as lab:
        lab.clock.advance(timedelta(minutes=5))
        found = await sessions(lab, 2)
        assert results(found)[-1] == ("Success", True)


@pytest.mark.parametrize("ahead", [0, 4000])
async def test_a_session_is_stopped_when_the_window_closes(lab: Lab, ahead: int) -> None:
    write_slow_image(lab.source("a.raw"))
    window = {"days": {"Monday": [9]}}
    job = await lab.create_job("a.raw", window=window, schedule=HOURLY, retry=RETRY)
    # Should the clock have been ahead before, the session bears a time to come.
    now = milliseconds(lab.clock.now() + timedelta(days=ahead))
    lab.server._runner.launch(await lab.write(lambda c: begin_session(c, job, now, Cause.SCHEDULE)))
    await lab.command("nothing")
    await lab.until_copying()

    lab.clock.advance(timedelta(hours=1))

    [session] = await sessions(lab, 1)
    assert session.values["Result"] == "Failed"
    assert session.values["FailureMessage"] == WINDOW_CLOSED
    await quiet(lab)
    await sessions(lab, 1)
    assert not list(lab.repository_path.glob("*/*.qcow2"))


async def test_jobs_run_again_as_they_should_when_a_clock_that_was_ahead_is_set_right(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.server.scheduler._LONGEST_WAIT_SECONDS", 0.05)
    write_image(lab.source("a.raw"), 1)
    await lab.create_job("a.raw", job="Hourly", schedule=HOURLY)
    await lab.create_job("a.raw", job="Always", schedule={"type": "Continuously"})
    await lab.create_job("missing.raw", job="Failing", schedule=HOURLY, retry=RETRY)
    await sessions(lab, 1)
    lab.clock.advance(timedelta(days=4000))
    await sessions(lab, 4)
    lab.clock.advance(timedelta(days=-4000))

    async def brought_back() -> bool:
        jobs = await lab.rows(tables.job)
        times = [row.next_run for row in jobs] + [row.retry_at for row in jobs if row.retry_at]
        soon = milliseconds(lab.clock.now() + timedelta(hours=1))
        return len(times) == 4 and all(each <= soon for each in times)

    await lab.until(brought_back)
    for count in (6, 8):
        lab.clock.advance(timedelta(minutes=5))
        await sessions(lab, count)


async def test_a_quick_backup_does_not_cost_the_job_its_run(lab: Lab) -> None:
    write_slow_image(lab.source("a.raw"))
    job = await lab.create_job("a.raw", "missing.raw", schedule=HOURLY)
    reference = (await lab.resources("ObjectInJob"))[0].values["HierarchyObjRef"]
    assert (await lab.command("quick-backup", machine=reference)).success
    lab.clock.advance(timedelta(hours=1))
    await quiet(lab)
    await lab.server.wait_until_idle()
    lab.clock.advance(timedelta(minutes=1))
    found = await sessions(lab, 2)
    assert len(await lab.tasks(found[0].uid)) == 1
    assert len(await lab.tasks(found[1].uid)) == 2
    assert (await lab.resource("Job", job)).values["ScheduleEnabled"] is True


async def test_a_run_after_another_job_that_was_noted_survives_a_restart(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        write_image(lab.source("b.raw"), 1)
        first = await lab.create_job("a.raw", job="First")
        second = await lab.create_job(
            "b.raw", job="Second", schedule={"type": "AfterJob", "job": str(first)}
        )
        now = milliseconds(lab.clock.now())
        job = tables.job
        await lab.write(
            lambda c: c.execute(update(job).where(job.c.uid == second).values(next_run=now))
        )
    async with open_lab() as lab:
        [session] = await sessions(lab, 1)
        assert session.values["JobName"] == "Second"


async def test_what_a_crash_cut_off_is_tried_again_and_no_job_follows_it(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab() as lab:
        write_image(lab.source("a.raw"), 1)
        job = await lab.create_job("a.raw", schedule=HOURLY, retry=RETRY)
        await lab.create_job("a.raw", job="Next", schedule={"type": "AfterJob", "job": str(job)})
        now = milliseconds(lab.clock.now())
        await lab.write(lambda c: begin_session(c, job, now, Cause.SCHEDULE))

        async def killed(*_arguments: object) -> None:
            return None

        monkeypatch.setattr("holdfast.server.job_runner.JobRunner.stop_all", killed)
    monkeypatch.undo()
    async with open_lab() as lab:
        await quiet(lab)
        assert len(await lab.resources("BackupJobSession")) == 1
        lab.clock.advance(timedelta(minutes=5))
        found = await sessions(lab, 2)
        assert results(found) == [("Failed", False), ("Success", True)]


async def test_a_job_can_be_changed_while_it_runs(lab: Lab) -> None:
    write_slow_image(lab.source("a.raw"))
    job = await lab.create_job("a.raw", "b.raw", schedule={"type": "Continuously"})
    await lab.until_copying()
    first, second = await lab.resources("ObjectInJob")
    changed = await lab.command(
        "edit-job", job, name="Other", schedule=None, objects=[{"uid": str(second.uid)}]
    )
    assert changed.success, changed.message
    assert not (await lab.command("remove-object", second.uid)).success
    [session] = await sessions(lab, 1)
    assert set(await lab.tasks(session.uid)) == {"a", "b"}
    assert len(await lab.points("a")) == 1
    assert first.uid not in {shown.uid for shown in await lab.resources("ObjectInJob")}
    lab.clock.advance(timedelta(hours=1))
    await quiet(lab)
    await sessions(lab, 1)


async def test_a_run_that_is_late_does_not_begin_after_the_window_has_closed(lab: Lab) -> None:
    window = {"days": {"Monday": [9, 10]}}
    job = await lab.create_job("a.raw", window=window, schedule=HOURLY)
    lab.clock.advance(timedelta(hours=2))
    await quiet(lab)
    assert await lab.resources("BackupJobSession") == []
    opening = milliseconds(lab.clock.now() + timedelta(days=7, hours=-2))
    assert (await lab.resource("Job", job)).values["NextRun"] == opening
    lab.clock.advance(timedelta(days=7, hours=-2))
    await sessions(lab, 1)


async def test_what_was_to_be_tried_again_and_has_not_failed_any_more_waits_for_no_host(
    tmp_path: Path, clock: HandClock, platform: ToyPlatform
) -> None:
    host = platform.hosts[HERE]
    machine = host.add("web")
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        added = (await lab.command("add-host", uri=HERE)).made
        assert added is not None
        made = await lab.command(
            "create-job",
            name="Nightly",
            objects=[{"reference": machine_reference(added.uid, machine)}],
            repository=str(lab.repository),
            schedule=HOURLY,
            retry=RETRY,
        )
        assert made.success, made.message
        lab.clock.advance(timedelta(hours=1))
        await sessions(lab, 1)
        assert [row.retry_at is not None for row in await lab.rows(tables.job)] == [True]
        # As if it had been backed up by itself since; then its host went away.
        table = tables.task_session
        await lab.write(lambda c: c.execute(update(table).values(result="Success")))
        host.away = True
        await lab.command("rescan-host", added.uid)
        lab.clock.advance(timedelta(minutes=5))
        await quiet(lab)
        assert [row.retry_at for row in await lab.rows(tables.job)] == [None]
