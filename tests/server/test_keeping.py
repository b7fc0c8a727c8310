"""Which points are kept, against brute force and by example."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast.server.job_options import Gfs, OfMonths, Weekly, Yearly
from holdfast.server.keeping import Jump, Policy, keeping

NOW = datetime(2026, 6, 17, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Point:
    created: datetime
    is_good: bool = True
    was_kept_for: tuple[str, ...] = ()


def daily(days: int, *, damaged: frozenset[int] = frozenset()) -> list[Point]:
    """Points of so many days, the newest of an hour ago."""
    newest = NOW - timedelta(hours=1)
    return [Point(newest - n * DAY, n not in damaged) for n in reversed(range(days))]


def dates(points: tuple[Point, ...]) -> list[str]:
    return [point.created.date().isoformat() for point in points]


def test_points_by_number_and_by_days() -> None:
    points = daily(10)
    assert keeping(points, Policy(3), NOW).surplus == tuple(points[:7])
    assert keeping(points, Policy(3, days=5), NOW).surplus == tuple(points[:5])
    # However old the newest point is, it stays.
    assert keeping(points, Policy(3, days=1), NOW + 30 * DAY).surplus == tuple(points[:9])


def test_points_do_not_age_by_a_jump_of_the_clock() -> None:
    points = daily(10)
    jumped = (Jump(NOW, 4000 * DAY),)
    later = NOW + 4000 * DAY
    assert keeping(points, Policy(3, days=5), later).surplus == tuple(points[:9])
    assert keeping(points, Policy(3, days=5, jumps=jumped), later).surplus == tuple(points[:5])
    new = [*points, Point(later)]
    later += 2 * DAY
    assert keeping(new, Policy(3, days=5, jumps=jumped), later).surplus == tuple(points[:7])


def test_a_clock_that_was_ahead_or_behind_for_a_while_keeps_nothing_for_ever() -> None:
    points = daily(40)
    true = keeping(points, Policy(1, days=5, gfs=Gfs(weekly=Weekly(keep=3))), NOW)
    for far in (4000 * DAY, -20000 * DAY):
        wrong = [replace(p, created=p.created + far * (17 <= n < 20)) for n, p in enumerate(points)]
        found = keeping(wrong, Policy(1, days=5, gfs=Gfs(weekly=Weekly(keep=3))), NOW)
        assert found.surplus == tuple(p for p in wrong if p not in points or p in true.surplus)
        assert found.kept_for == true.kept_for


def test_damaged_points_take_no_place_of_good_ones() -> None:
    points = daily(6, damaged=frozenset({0, 2}))
    assert keeping(points, Policy(2), NOW).surplus == tuple(points[:2])
    points = daily(6, damaged=frozenset({0, 1}))
    assert keeping(points, Policy(2, days=1), NOW + 9 * DAY).surplus == tuple(points[:3])


def test_weeks_months_and_years_keep_the_first_point_of_each() -> None:
    points = daily(500)
    gfs = Gfs(weekly=Weekly(keep=3), monthly=OfMonths(keep=3), yearly=Yearly(keep=2))
    assert keeping(points, Policy(1), NOW).kept_for == ()
    found = keeping(points, Policy(1, gfs=gfs), NOW)
    kept = {point.created.date().isoformat(): why for point, why in found.kept_for}
    assert kept == {
        "2025-02-03": ("Yearly",),  # the first there is of that year
        "2026-01-01": ("Yearly",),
        "2026-04-01": ("Monthly",),
        "2026-05-01": ("Monthly",),
        "2026-05-31": ("Weekly",),
        "2026-06-01": ("Monthly",),
        "2026-06-07": ("Weekly",),
        "2026-06-14": ("Weekly",),
    }
    assert len(found.surplus) == len(points) - len(kept) - 1


def test_the_last_week_of_a_month_and_another_day_and_month() -> None:
    points = daily(200)
    gfs = Gfs(
        weekly=Weekly(keep=1, day="Wednesday"),
        monthly=OfMonths(keep=2, week="Last"),
        yearly=Yearly(keep=1, month="March"),
    )
    kept = [point for point, _ in keeping(points, Policy(1, gfs=gfs), NOW).kept_for]
    assert dates(tuple(kept)) == ["2026-03-01", "2026-04-24", "2026-05-25", "2026-06-17"]


def test_beside_a_damaged_point_a_good_one_is_kept_for_long() -> None:
    points = daily(10, damaged=frozenset({3}))
    # 2026-06-14 is a Sunday, three days ago.
    gfs = Gfs(weekly=Weekly(keep=1))
    kept_for = keeping(points, Policy(1, gfs=gfs), NOW).kept_for
    # What is damaged is kept, too: there may be something in it that no other has.
    assert dates(tuple(point for point, _ in kept_for)) == ["2026-06-14", "2026-06-15"]
    assert [(point.is_good, why) for point, why in kept_for] == [
        (False, ("Weekly",)),
        (True, ("Weekly",)),
    ]


def test_what_is_left_of_a_month_stays_when_it_turns_out_to_be_damaged() -> None:
    gfs = Gfs(monthly=OfMonths(keep=3))
    points = daily(100)
    left = [point for point, _ in keeping(points, Policy(1, gfs=gfs), NOW).kept_for]
    left = [left[0], Point(left[1].created, is_good=False), left[2], points[-1]]
    found = keeping(left, Policy(1, gfs=gfs), NOW)
    assert found.surplus == ()
    assert [why for _, why in found.kept_for] == [("Monthly",)] * 3
    # So does one that took its place, when that is damaged after it.
    second = Point(left[1].created + DAY, is_good=False, was_kept_for=("Monthly",))
    assert keeping([*left[:2], second, *left[2:]], Policy(1, gfs=gfs), NOW).surplus == ()
    # Its time is over when that of a good one would be.
    later = [*left, Point(left[-1].created + 31 * DAY), Point(left[-1].created + 62 * DAY)]
    assert left[1] in keeping(later, Policy(1, gfs=gfs), NOW + 62 * DAY).surplus


@given(
    st.lists(st.tuples(st.integers(0, 40 * 24), st.booleans()), max_size=25),
    st.integers(1, 5),
    st.one_of(st.none(), st.integers(1, 20)),
    st.integers(1, 4),
)
def test_a_point_once_kept_for_a_week_stays_until_its_weeks_are_over(
    made: list[tuple[int, bool]], number: int, days: int | None, weeks: int
) -> None:
    """Run after run, as retention is: what is kept for a week stays for so many weeks."""
    policy = Policy(number, days, Gfs(weekly=Weekly(keep=weeks)))
    there: list[Point] = []
    chosen: dict[datetime, Point] = {}
    ever = 0
    for hour, good in sorted(dict(made).items()):
        now = NOW + timedelta(hours=hour)
        there.append(Point(now, good))
        found = keeping(there, policy, now)
        there = [point for point in there if point not in found.surplus]
        sunday = now.date() - timedelta(days=now.isoweekday() % 7)
        week = datetime.combine(sunday, datetime.min.time(), UTC)
        if good:
            chosen.setdefault(week, there[-1])
        assert [point for point, _ in found.kept_for if point.is_good] == [
            chosen[each] for each in sorted(chosen)[-weeks:]
        ]
        assert all(point in there for point, _ in found.kept_for)
        ever += good
        good_ones = sum(point.is_good for point in there)
        assert good_ones >= min(number if days is None else 1, ever)
