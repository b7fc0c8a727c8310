"""A clock that jumps deletes nothing, is told of, and can be set right again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.server import tables
from holdfast.server.clock_watch import note_time

from .lab import Lab, write_image
from .test_long_retention import DAY, assert_all_true, run_days
from .test_part_backup import backups, one_off

FAR = 4000 * DAY


@pytest.mark.parametrize("set_right", [False, True])
async def test_no_point_is_deleted_because_the_clock_has_jumped(lab: Lab, set_right: bool) -> None:
    job = await lab.create_job("a.raw", retention_days=3)
    contents = await run_days(lab, job, range(4))
    assert len(await assert_all_true(lab, contents)) == 3

    await lab.write(lambda c: note_time(c, lab.clock.now()))
    lab.clock.advance(FAR)
    if set_right:
        await lab.write(lambda c: note_time(c, lab.clock.now()))
        lab.clock.advance(-FAR)
        contents |= await run_days(lab, job, range(4, 5))
    else:
        content = write_image(lab.source("a.raw"), 4)
        session = await lab.run(job)
        contents[session.values["CreationTimeUTC"]] = content
        # It is said once.
        assert session.values["Result"] == "Warning"
        assert (
            "The clock of the backup server has gone on by 4000 days since 2026-03-0"
            in (session.values["FailureMessage"])
        )
        lab.clock.advance(DAY - timedelta(minutes=10))
    assert len(await assert_all_true(lab, contents)) == 3
    assert len(await lab.rows(tables.clock_jump)) == (0 if set_right else 1)
    # From then on, days are days again: those from before the jump go one after the other.
    contents |= await run_days(lab, job, range(5, 7))
    assert len(await assert_all_true(lab, contents)) == 3


async def test_backups_that_are_kept_for_a_time_stay_when_the_clock_jumps(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    await lab.run(await lab.create_job("a.raw"))
    await one_off(lab, "a", remove="In1Week")
    expires = [row.expires for row in await lab.rows(tables.backup) if row.expires]

    lab.clock.advance(FAR)
    await lab.write(lambda c: note_time(c, lab.clock.now()))
    [pushed] = [row.expires for row in await lab.rows(tables.backup) if row.expires]
    assert pushed - expires[0] == FAR // timedelta(milliseconds=1)
    assert len(await backups(lab)) == 2
    lab.clock.advance(7 * DAY)

    async def gone() -> bool:
        return len(await backups(lab)) == 1

    await lab.until(gone)


async def test_what_was_long_off_is_a_pause_and_a_part_of_it_can_be_taken_back(lab: Lab) -> None:
    async def look() -> list[timedelta]:
        await lab.write(lambda c: note_time(c, lab.clock.now()))
        return [timedelta(milliseconds=row.length) for row in await lab.rows(tables.clock_jump)]

    lab.clock.advance(7 * DAY)
    assert await look() == []
    lab.clock.advance(20 * DAY)
    assert await look() == [20 * DAY]
    lab.clock.advance(30 * DAY)
    assert await look() == [20 * DAY, 30 * DAY]
    lab.clock.advance(-35 * DAY)
    assert await look() == [15 * DAY]
    lab.clock.advance(-35 * DAY)
    assert await look() == []
