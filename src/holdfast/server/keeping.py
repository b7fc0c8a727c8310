"""Which points a job keeps: by number, by days, and longer by weeks, months and years. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import tee
from typing import Generic, Protocol, TypeVar

from holdfast.server.hours import DAYS, zone_of
from holdfast.server.job_options import Gfs, midnight, month_number

_FAR_AHEAD = datetime(9000, 1, 1, tzinfo=UTC)
_WEEK = timedelta(days=7)


class Kept(Protocol):
    """A restore point of a machine; the damaged ones do not count."""

    @property
    def created(self) -> datetime:
        """What time it was when it was made, by a clock that may have been wrong."""

    @property
    def is_good(self) -> bool:
        """Whether it can be restored, as far as is known."""

    @property
    def was_kept_for(self) -> Collection[str]:
        """For which periods it was kept when it was last looked at."""


P = TypeVar("P", bound=Kept)


@dataclass(frozen=True)
class Jump:
    """That the clock showed `length` more than can have passed since it showed `before`."""

    before: datetime
    length: timedelta


@dataclass(frozen=True)
class Policy:
    """How many points are kept, or for how many days; and which longer.

    Points do not age by the `jumps` of the clock that have made them look older than they are.
    """

    points: int
    days: int | None = None
    gfs: Gfs | None = None
    jumps: tuple[Jump, ...] = ()


def age(created: datetime, now: datetime, jumps: Sequence[Jump]) -> timedelta:
    """Return how old a point is, told without the jumps of the clock since it was made."""
    return now - created - sum((j.length for j in jumps if created <= j.before), timedelta())


@dataclass(frozen=True)
class Keeping(Generic[P]):
    """What becomes of points: those that go, oldest first, and for which periods others stay."""

    surplus: tuple[P, ...]
    kept_for: tuple[tuple[P, tuple[str, ...]], ...]


def keeping(points: Sequence[P], policy: Policy, now: datetime) -> Keeping[P]:
    """Given the points of a machine, oldest first, return what becomes of them.

    That order is true, whatever the times say: no point is younger than one after it. The newest
    good point always stays. Damaged points stay as long as a good one in their place would: whoever
    has nothing better may want them. So what was kept for a period, or is the first of it, stays
    when it is damaged; and beside it the first good one, if there is any.
    """
    kept_for = _kept_for(points, policy.gfs)
    stays = {id(point) for point, _ in kept_for}
    longest = timedelta(days=policy.days or 0)
    wanted = 1 if policy.days is not None else policy.points
    good, oldest = 0, timedelta.min
    for point in reversed(points):
        oldest = max(oldest, age(point.created, now, policy.jumps))
        within = policy.days is not None and oldest < longest
        if good < wanted or within:
            stays.add(id(point))
        good += point.is_good
    surplus = tuple(point for point in points if id(point) not in stays)
    return Keeping(surplus, kept_for)


def _kept_for(points: Sequence[P], gfs: Gfs | None) -> tuple[tuple[P, tuple[str, ...]], ...]:
    if gfs is None:
        return ()
    names: dict[int, list[str]] = {}
    good = [point for point in points if point.is_good]
    for name, keep, starts in _periods(points, gfs):
        beginnings, again = tee(starts)
        firsts = _firsts(points, again)[-keep:]
        damaged = [
            point
            for point in points
            if not point.is_good
            and point.created >= firsts[0].created
            and (point in firsts or name in point.was_kept_for)
        ]
        for point in _firsts(good, beginnings)[-keep:] + damaged:
            names.setdefault(id(point), []).append(name)
    return tuple((point, tuple(names[id(point)])) for point in points if id(point) in names)


def _firsts(points: Sequence[P], starts: Iterator[datetime]) -> list[P]:
    """Return the first point of each period that has any; `starts` are their beginnings.

    A clock that was ahead for a while has made points of periods that were still to come.
    """
    found: dict[int, P] = {}
    known: list[datetime] = []
    for point in points:
        while not known or known[-1] <= point.created:
            known.append(next(starts))
        found.setdefault(bisect_right(known, point.created), point)
    return list(found.values())


def _periods(points: Sequence[P], gfs: Gfs) -> Iterator[tuple[str, int, Iterator[datetime]]]:
    """Yield each kind of period that is wanted, how many of them, and when they begin."""
    if not points:
        return
    first = min(point.created for point in points).astimezone(zone_of(gfs.zone)).date()
    if gfs.weekly is not None:
        yield "Weekly", gfs.weekly.keep, _weeks(first, DAYS.index(gfs.weekly.day), gfs.zone)
    if gfs.monthly is not None:
        days_before_end = 7 if gfs.monthly.week == "Last" else None
        yield "Monthly", gfs.monthly.keep, _months(first, days_before_end, gfs.zone)
    if gfs.yearly is not None:
        month = month_number(gfs.yearly.month)
        yield "Yearly", gfs.yearly.keep, _years(first, month, gfs.zone)


def _weeks(first: date, weekday: int, zone: str) -> Iterator[datetime]:
    day = first - timedelta(days=(first.isoweekday() % 7 - weekday) % 7)
    while day.year < _FAR_AHEAD.year:
        yield midnight(day, zone)
        day += _WEEK


def _months(first: date, days_before_end: int | None, zone: str) -> Iterator[datetime]:
    # From a month before, since the last 7 days of that may have begun.
    month = (first.replace(day=1) - timedelta(days=1)).replace(day=1)
    while month.year < _FAR_AHEAD.year:
        following = (month + timedelta(days=31)).replace(day=1)
        day = month if days_before_end is None else following - timedelta(days=days_before_end)
        yield midnight(day, zone)
        month = following


def _years(first: date, month: int, zone: str) -> Iterator[datetime]:
    for year in range(first.year - 1, _FAR_AHEAD.year):
        yield midnight(date(year, month, 1), zone)
