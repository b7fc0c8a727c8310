"""When a job is due next."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest

from holdfast.server.schedule import Daily, Periodically, Schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        (Daily(time=time(22)), "2026-03-02T21:59:59", "2026-03-02T22:00"),
        (Daily(time=time(22)), "2026-03-02T22:00", "2026-03-03T22:00"),
        (Daily(time=time(22), kind="WeekDays"), "2026-03-06T22:00", "2026-03-09T22:00"),
        (
            Daily(time=time(22), kind="SelectedDays", days=("Sunday", "Tuesday")),
            "2026-03-04T00:00",
            "2026-03-08T22:00",
        ),
        (Daily(time=time(22), zone="Europe/Berlin"), "2026-03-02T12:00", "2026-03-02T21:00"),
        (Daily(time=time(22), zone="Europe/Berlin"), "2026-07-02T12:00", "2026-07-02T20:00"),
        (Periodically(every=4), "2026-03-02T09:30", "2026-03-02T12:00"),
        (Periodically(every=4), "2026-03-02T12:00", "2026-03-02T16:00"),
        (Periodically(every=15, kind="Minutes"), "2026-03-02T09:31", "2026-03-02T09:45"),
    ],
)
def test_the_next_run_is_the_first_time_later_than_now(
    schedule: Schedule, after: str, expected: str
) -> None:
    assert schedule.next_run(at(after)) == at(expected)


def test_a_time_that_the_clock_leaps_over_is_made_up_for_right_after() -> None:
    schedule = Daily(time=time(2, 30), zone="Europe/Berlin")
    assert schedule.next_run(at("2026-03-28T12:00")) == at("2026-03-29T01:00")
    assert schedule.next_run(at("2026-03-29T01:00")) == at("2026-03-30T00:30")


def test_a_time_that_comes_twice_is_used_once() -> None:
    schedule = Daily(time=time(2, 30), zone="Europe/Berlin")
    first = schedule.next_run(at("2026-10-24T12:00"))
    assert first == at("2026-10-25T00:30")
    assert schedule.next_run(first) == at("2026-10-26T01:30")
    assert schedule.next_run(first + timedelta(minutes=45)) == at("2026-10-26T01:30")


def test_periods_stay_even_when_they_do_not_divide_a_day() -> None:
    schedule = Periodically(every=7)
    moment, runs = at("2026-03-28T00:00"), []
    for _ in range(20):
        moment = schedule.next_run(moment)
        runs.append(moment)
    assert {b - a for a, b in pairwise(runs)} == {timedelta(hours=7)}
