"""When copy jobs run: for each new point, at their times, after another job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

from holdfast.server import tables
from holdfast.server.clock import milliseconds

from .lab import HandClock, Lab, write_image, write_slow_image
from .offsite import Offsite, back_up, restored, until_copying

OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]


async def test_an_immediate_copy_follows_each_new_point(lab: Lab, clock: HandClock) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    contents = await back_up(lab, job, 1)
    copy = await offsite.copy_job(job, kind="ImmediateBackupCopy")

    async def copied(count: int) -> None:
        async def there() -> bool:
            rows = await lab.rows(tables.machine_point)
            return len([row for row in rows if row.copied_from]) == count

        await lab.until(there)
        await lab.server.wait_until_idle()

    await copied(1)
    contents += await back_up(lab, job, 2)
    await copied(2)
    assert await restored(lab, await offsite.points()) == contents
    sessions = [s for s in await lab.resources("BackupJobSession") if s.relations["job"] == copy]
    assert [s.values["JobType"] for s in sessions] == ["ImmediateBackupCopy"] * 2

    # A quick backup makes a point too; switched off, nothing is copied until it is on again.
    assert (await lab.command("toggle-schedule", copy)).success
    contents += await back_up(lab, job, 3)
    clock.advance(timedelta(hours=1))
    await asyncio.sleep(0.2)
    assert len(await offsite.points()) == 2
    assert (await lab.command("toggle-schedule", copy)).success
    await copied(3)
    write_image(lab.source("a.raw"), 4)
    machine = (await lab.rows(tables.machine_point))[0].reference
    assert (await lab.command("quick-backup", machine=machine)).success
    await copied(4)


async def test_an_immediate_copy_keeps_to_its_hours(lab: Lab, clock: HandClock) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    schedule = {"type": "Continuously", "hours": {"days": {"Monday": [22]}}}  # it is Monday, 9:00
    copy = await offsite.copy_job(job, kind="ImmediateBackupCopy", schedule=schedule)
    await back_up(lab, job, 1)

    shown = await lab.resource("Job", copy)
    opening = clock.now().replace(hour=22, minute=0)
    assert shown.values["NextRun"] == milliseconds(opening)
    mode = shown.values["JobScheduleOptions"]["ImmediateCopyMode"]["OptionsContinuous"]
    assert mode["Schedule"]["Day"][1]["Value"].count("1") == 1
    clock.advance(opening - clock.now())

    async def copied() -> bool:
        return any(row.copied_from for row in await lab.rows(tables.machine_point))

    await lab.until(copied)
    await lab.server.wait_until_idle()


async def test_a_point_that_comes_during_an_immediate_copy_is_copied_after_it(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    other = await lab.create_job("b.raw", job="Other")
    write_slow_image(lab.source("a.raw"))
    await lab.run(job)
    copy = await offsite.copy_job(job, other, kind="ImmediateBackupCopy")
    await until_copying(lab, offsite)
    write_image(lab.source("b.raw"), 1)
    session = await lab.begin(other)

    async def ended() -> bool:
        rows = await lab.rows(tables.job_session)
        return next(row.state for row in rows if row.uid == session) == "Stopped"

    await lab.until(ended)
    assert {row.display_name for row in await lab.rows(tables.machine_point)} == {"a", "b"}

    async def copied() -> bool:
        rows = await lab.rows(tables.machine_point)
        return {row.display_name for row in rows if row.copied_from} == {"a", "b"}

    await lab.until(copied)
    await lab.server.wait_until_idle()
    sessions = [row for row in await lab.rows(tables.job_session) if row.job_uid == copy]
    assert [row.result for row in sessions] == ["Success", "Success"]


async def test_an_immediate_copy_catches_up_after_a_start(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
        copy = await offsite.copy_job(job, kind="ImmediateBackupCopy")
        assert (await lab.command("toggle-schedule", copy)).success
        await back_up(lab, job, 1)

        def switch_on(connection: Any) -> None:
            connection.execute(tables.job.update().values(schedule_enabled=True))

        await lab.write(switch_on)
    async with open_lab() as lab:

        async def there() -> bool:
            return len(await lab.rows(tables.machine_point)) == 2

        await lab.until(there)
        # A start that finds nothing to copy leaves no session.
        await lab.server.wait_until_idle()
        sessions = len(await lab.rows(tables.job_session))
    async with open_lab() as lab:
        await asyncio.sleep(0.2)
        await lab.server.wait_until_idle()
        assert len(await lab.rows(tables.job_session)) == sessions


async def test_a_periodic_copy_runs_at_its_times_and_after_another_job(
    lab: Lab, clock: HandClock
) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    await back_up(lab, job, 1)
    hourly = {"type": "Periodically", "every": 1, "kind": "Hours"}
    first = await offsite.copy_job(job, schedule=hourly)
    after = {"type": "AfterJob", "job": str(job)}
    second = await offsite.copy_job(job, name="After", schedule=after)

    async def ran(copy: UUID) -> bool:
        return any(row.job_uid == copy for row in await lab.rows(tables.job_session))

    clock.advance(timedelta(hours=1))
    await lab.until(lambda: ran(first))
    await lab.server.wait_until_idle()
    assert not await ran(second)
    await back_up(lab, job, 2)
    await lab.until(lambda: ran(second))
    await lab.server.wait_until_idle()
