"""Schedules by month, in hours of the week, continuous ones, and the backup window."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from holdfast.server.hours import DAYS, Hours, zone_of
from holdfast.server.schedule import (
    AfterJob,
    Continuously,
    Daily,
    Monthly,
    Periodically,
    Schedule,
    decode_schedule,
    encode_schedule,
    next_run,
)

WORK = Hours(days={day: tuple(range(8, 18)) for day in DAYS[1:6]})
EARLY = Hours(days=dict.fromkeys(DAYS, (5,)))
NIGHT = Hours(days=dict.fromkeys(DAYS, (22, 23, 0, 1)), zone="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def monthly(number: str, **more: object) -> Monthly:
    return Monthly(time=time(22), day_number=number, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        (monthly("First"), "2026-03-02T00:00", "2026-04-05T22:00"),
        (monthly("Second", day_of_week="Friday"), "2026-03-02T00:00", "2026-03-13T22:00"),
        (monthly("Fourth", day_of_week="Monday"), "2026-03-02T00:00", "2026-03-23T22:00"),
        (monthly("Last", day_of_week="Tuesday"), "2026-03-02T00:00", "2026-03-31T22:00"),
        (monthly("First", months=("July",)), "2026-03-02T00:00", "2026-07-05T22:00"),
        (monthly("OnDay", day_of_month=15), "2026-03-15T22:00", "2026-04-15T22:00"),
        (monthly("OnDay", day_of_month=31), "2026-03-31T22:00", "2026-04-30T22:00"),
        (monthly("OnDay", day_of_month=30), "2026-02-02T00:00", "2026-02-28T22:00"),
        (monthly("OnDay", day_of_month=29), "2028-02-02T00:00", "2028-02-29T22:00"),
        (monthly("OnDay", zone="+05:30"), "2026-03-02T00:00", "2026-04-01T16:30"),
        (monthly("OnDay", zone="Europe/Berlin"), "2026-03-30T00:00", "2026-04-01T20:00"),
        (Periodically(every=4, hours=WORK), "2026-03-06T09:00", "2026-03-06T12:00"),
        (Periodically(every=4, hours=WORK), "2026-03-06T16:30", "2026-03-09T08:00"),
        (Periodically(every=24, hours=EARLY), "2026-03-02T00:00", "2026-03-02T05:00"),
        (Periodically(every=24, hours=EARLY), "2026-03-02T05:00", "2026-03-03T05:00"),
        (Periodically(every=100, hours=EARLY), "2026-03-02T05:30", "2026-03-03T05:00"),
        (Continuously(), "2026-03-02T09:00:30", "2026-03-02T09:00:30"),
        (Continuously(hours=EARLY), "2026-03-02T06:00", "2026-03-03T05:00"),
    ],
)
def test_the_next_run_of_every_kind(schedule: Schedule, after: str, expected: str) -> None:
    assert next_run(schedule, at(after)) == at(expected)


def test_a_run_outside_the_backup_window_waits_for_it_and_is_not_lost() -> None:
    noon = Daily(time=time(12))
    assert next_run(noon, at("2026-03-02T09:00"), EARLY) == at("2026-03-03T05:00")
    assert next_run(noon, at("2026-03-03T05:00"), EARLY) == at("2026-03-04T05:00")
    assert next_run(AfterJob(job=UUID(int=1)), at("2026-03-02T09:00"), EARLY) is None
    assert next_run(None, at("2026-03-02T09:00"), EARLY) is None


def test_a_window_over_midnight_closes_once_and_in_local_time() -> None:
    assert NIGHT.closes(at("2026-03-02T22:00")) == at("2026-03-03T01:00")
    assert NIGHT.closes(at("2026-03-02T12:00")) == at("2026-03-03T01:00")
    assert NIGHT.opens(at("2026-07-02T12:00")) == at("2026-07-02T20:00")
    assert Hours(days=dict.fromkeys(DAYS, tuple(range(24)))).closes(at("2026-03-02T12:00")) is None


def test_a_schedule_in_hours_never_stands_still_and_never_leaves_them() -> None:
    for schedule in (Periodically(every=7, hours=WORK), Periodically(every=50, hours=NIGHT)):
        moment, runs = at("2026-03-20T00:00"), []
        for _ in range(60):
            moment = schedule.next_run(moment)
            runs.append(moment)
        assert all(earlier < later for earlier, later in pairwise(runs))
        assert all(later - earlier <= timedelta(days=3) for earlier, later in pairwise(runs))
        assert all(schedule.hours is not None and schedule.hours.is_open(run) for run in runs)


def test_every_kind_is_kept_as_it_is() -> None:
    for schedule in (
        monthly("Last", months=("May",)),
        Periodically(every=3, hours=NIGHT),
        Continuously(hours=WORK),
        AfterJob(job=UUID(int=7)),
    ):
        assert decode_schedule(encode_schedule(schedule)) == schedule


@pytest.mark.parametrize("name", ["+15:00", "+01:07", "Mars/Base", "", "../etc/passwd", "01:00"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="there is no"):
        zone_of(name)


def test_a_week_without_any_hour_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one hour"):
        Hours(days={"Monday": ()})
