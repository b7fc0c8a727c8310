"""A clock that jumps deletes nothing, is told of, and can be set right again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select

from holdfast.server import tables
from holdfast.server.clock import SystemClock, milliseconds, moment_of, pause
from holdfast.server.clock_watch import LONGEST_PAUSE, jumps, note_time
from holdfast.server.hours import DAYS
from holdfast.server.keeping import age
from holdfast.server.settlement import Settlement

from .lab import HandClock, Lab, write_image
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
    assert len(await lab.server._store.read(jumps)) == (0 if set_right else 1)
    # From then on, days are days again: those from before the jump go one after the other.
    contents |= await run_days(lab, job, range(5, 7))
    assert len(await assert_all_true(lab, contents)) == 3


async def test_what_a_clock_that_was_ahead_has_made_ages_and_is_followed_as_all_else(
    lab: Lab,
) -> None:
    options = {"active_full": {"week": list(DAYS)}}
    job = await lab.create_job("a.raw", retention_days=3, options=options)
    contents = await run_days(lab, job, range(2))
    lab.clock.advance(FAR)
    for number in (2, 3):
        content = write_image(lab.source("a.raw"), number)
        contents[(await lab.run(job)).values["CreationTimeUTC"]] = content
        lab.clock.advance(DAY - timedelta(minutes=10))
    await lab.write(lambda c: note_time(c, lab.clock.now()))
    lab.clock.advance(-FAR)
    # All made before are older than the first one made after, in truth and in what is told.
    contents |= await run_days(lab, job, range(4, 7))
    assert len(await assert_all_true(lab, contents)) == 5
    contents |= await run_days(lab, job, range(7, 9))
    assert len(await assert_all_true(lab, contents)) == 3
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    assert [row.made for row in rows] == sorted(row.made for row in rows)
    assert all(row.made < row.created for row in rows)
    assert all(row.parent_uid is None for row in await lab.rows(tables.backup_file))


async def test_when_a_point_was_made_is_known_as_soon_as_the_point(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.source("share").mkdir()
    (lab.source("share") / "letter").write_text("kept")
    write_image(lab.source("a.raw"), 1)
    jobs = [
        await lab.create_job("a.raw"),
        await lab.create_job("share", job="Share", kind="NasBackup"),
    ]
    lab.clock.advance(FAR)
    for job in jobs:
        await lab.run(job)
    lab.clock.advance(-FAR)

    async def dying(*_arguments: object) -> None:
        raise RuntimeError("As if it were killed when the point is recorded.")

    monkeypatch.setattr(Settlement, "try_settle", dying)
    made = []
    for job in jobs:
        made += [milliseconds(lab.clock.now())] * 2
        await lab.run(job)
    assert sorted(row.made for row in await lab.rows(tables.machine_point)) == made


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
        return [jump.length for jump in await lab.server._store.read(jumps)]

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


Look = tuple[float, str | int | None]
"""Days that truly pass, and then what the clock is set to: right, 1970, or so many days further."""
START, DEAD = datetime(2026, 3, 2, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)
WEEK = 7 * DAY


def _ages_and_ends(looks: Iterable[Look]) -> list[tuple[timedelta, timedelta, timedelta]]:
    """At each look a point is made, and a backup that is kept for a week. Return at each later one
    how old the point is told to be, how much of the week is over, and how much may be at most.
    """
    engine = create_engine("sqlite://")
    true = clock = START
    made: list[tuple[datetime, datetime, object]] = []
    bounds: list[timedelta] = []
    found = []
    with engine.begin() as connection:
        needed = [tables.server, tables.clock_jump, tables.backup, tables.job_session]
        tables.metadata.create_all(connection, tables=needed)
        values = {"uid": uuid4(), "epoch": uuid4(), "name": "backup01"}
        connection.execute(insert(tables.server).values(**values, seen=milliseconds(START)))
        for days, change in looks:
            true, clock = true + days * DAY, clock + days * DAY
            bounds.append(days * DAY)
            if change is not None:
                bounds[-1] = LONGEST_PAUSE + timedelta(minutes=10)
                far = clock + change * DAY if isinstance(change, int) else true
                clock = DEAD + days * DAY if change == "1970" else far
            note_time(connection, clock)
            known = jumps(connection)
            for number, (created, _, uid) in enumerate(made):
                query = select(tables.backup.c.expires).where(tables.backup.c.uid == uid)
                left = moment_of(connection.scalars(query).one()) - clock
                most = sum(bounds[number + 1 :], timedelta())
                found.append((age(created, clock, known), WEEK - left, most))
            made.append((clock, clock, uuid4()))
            row = {"uid": made[-1][2], "name": "a", "job_uid": uuid4(), "repository_uid": uuid4()}
            ends = milliseconds(clock + WEEK)
            connection.execute(insert(tables.backup).values(**row, folder="a", expires=ends))
    engine.dispose()
    return found


_CHANGES = st.sampled_from([None, None, "right", "1970", -1, 1, -7, 7, -9, -30, 9, 30, 4000, -4000])
_PASSED = st.sampled_from([0.0, 0.007, 0.5, 1.0, 5.0, 20.0])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_PASSED, _CHANGES), min_size=2, max_size=9))
@example([(0.0, None), (20.0, "1970"), (0.0, "right")])
@example([(0.0, None), (20.0, None), (1.0, "1970"), (0.0, "right")])
@example([(0.0, None), (0.0, -1), (0.0, 30), (1.0, None)])
def test_nothing_ages_by_more_than_the_time_that_passed(looks: list[Look]) -> None:
    for told, gone, most in _ages_and_ends(looks):
        assert told <= most
        assert gone <= most


@pytest.mark.parametrize(
    ("looks", "oldest"),
    [
        # Off for long, and a boot in 1970 before the clock is right: as if it had been off alone.
        ([(0.0, None), (20.0, None)], 0.0),
        ([(0.0, None), (20.0, "1970"), (0.0, "right")], 0.0),
        # The jump is not forgotten for a later boot in 1970, nor does that cost anything else.
        ([(0.0, None), (20.0, None), (1.0, "1970"), (0.0, "right"), (1.0, None)], 2.0),
        ([(0.0, None), *[(1.0, "1970"), (0.5, "right")] * 5], 7.5),
        # Running in 1970 for days.
        ([(0.0, None), (1.0, "1970"), (5.0, None), (2.0, None), (0.0, "right")], 8.0),
        # Ahead for a while.
        ([(0.0, None), (0.0, 4000), (2.0, None), (1.0, "right"), (1.0, None)], 4.0),
    ],
)
def test_time_that_passed_counts_whatever_the_clock_showed(
    looks: list[Look], oldest: float
) -> None:
    number = len(looks) - 2
    told, gone, _ = _ages_and_ends(looks)[-1 - number]
    assert told == gone == oldest * DAY


async def test_pause_ends_though_the_clock_is_set_back() -> None:
    clock = HandClock()
    waiting = asyncio.create_task(pause(clock, timedelta(milliseconds=50)))
    await asyncio.sleep(0)
    clock.advance(-DAY)
    async with asyncio.timeout(60):
        await waiting
        await pause(SystemClock(), timedelta(milliseconds=1))
