"""When a job runs by itself. Pure: given a moment, the next one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from cronsim import CronSim

from holdfast.server.hours import DAYS, DayOfWeek, Hours, zone_of

Month = Literal[
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]  # fmt: skip
DayNumber = Literal["First", "Second", "Third", "Fourth", "Last", "OnDay"]

#: In the order cron numbers them, from 1.
MONTHS: tuple[Month, ...] = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEK_DAYS = DAYS[1:6]

#: From the start of a run of a continuous job to the start of the next, at least.
CONTINUOUS_DISTANCE = timedelta(minutes=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = {"First": "#1", "Second": "#2", "Third": "#3", "Fourth": "#4", "Last": "L"}


class Daily(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """Once a day, on some or all days of the week.

    `time` is the local time of day, to the minute, in the time zone `zone` (an IANA name, or an
    offset such as ``+01:00``). In a night when clocks change, a time that does not exist is made
    up for right after the gap, and one that comes twice is used once.
    """

    time: time
    kind: Literal["Everyday", "WeekDays", "SelectedDays"] = "Everyday"
    days: tuple[DayOfWeek, ...] = ()
    zone: str = "UTC"

    def __post_init__(self) -> None:
        _check_time(self.time)
        if self.kind == "SelectedDays" and not self.days:
            raise ValueError("a schedule on selected days needs at least one day")
        if self.kind != "SelectedDays" and self.days:
            raise ValueError("days are given for a schedule on selected days only")
        zone_of(self.zone)

    @property
    def run_days(self) -> tuple[DayOfWeek, ...]:
        """The days of the week on which it runs, Sunday first."""
        if self.kind == "Everyday":
            return DAYS
        return WEEK_DAYS if self.kind == "WeekDays" else tuple(d for d in DAYS if d in self.days)

    def next_run(self, after: datetime) -> datetime:
        """Given a moment, return the first one later than it at which the job is due, in UTC."""
        days = ",".join(str(DAYS.index(day)) for day in self.run_days)
        return _first([f"{self.time.minute} {self.time.hour} * * {days}"], self.zone, after)


class Monthly(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """Once in each of the chosen months.

    That is on the first, ... or last `day_of_week` of the month; or, with `day_number` OnDay, on
    the `day_of_month`, which in a month that is too short means its last day. `time` and `zone`
    are as for `Daily`. No months means all.
    """

    time: time
    day_number: DayNumber = "First"
    day_of_week: DayOfWeek = "Sunday"
    day_of_month: int = 1
    months: tuple[Month, ...] = ()
    zone: str = "UTC"

    def __post_init__(self) -> None:
        _check_time(self.time)
        if not 1 <= self.day_of_month <= 31:
            raise ValueError("a day of the month is between 1 and 31")
        zone_of(self.zone)

    @property
    def run_months(self) -> tuple[Month, ...]:
        """The months in which it runs, January first."""
        return tuple(month for month in MONTHS if month in self.months) or MONTHS

    def next_run(self, after: datetime) -> datetime:
        """Given a moment, return the first one later than it at which the job is due, in UTC."""
        at = f"{self.time.minute} {self.time.hour}"
        numbers = [MONTHS.index(month) + 1 for month in self.run_months]
        if self.day_number != "OnDay":
            day = f"{DAYS.index(self.day_of_week)}{_NUMBERS[self.day_number]}"
            return _first([f"{at} * {_listed(numbers)} {day}"], self.zone, after)
        short = [number for number in numbers if self.day_of_month > _least_days(number)]
        long = [number for number in numbers if number not in short]
        expressions = []
        if long:
            expressions.append(f"{at} {self.day_of_month} {_listed(long)} *")
        if short:
            expressions.append(f"{at} L {_listed(short)} *")
        return _first(expressions, self.zone, after)


class Periodically(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """Every so many hours or minutes, counted in UTC from midnight of 1970-01-01.

    The distance between two runs is thus always the same, also when clocks change and when the
    period does not divide a day; when it does, runs fall on the same times every day. With
    `hours`, only the times in these count; hours in which no time falls are run at their
    beginning, so that no such schedule never runs.
    """

    every: int
    kind: Literal["Hours", "Minutes"] = "Hours"
    hours: Hours | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.every <= 10_000:
            raise ValueError("the period of a schedule is between 1 and 10000")

    def next_run(self, after: datetime) -> datetime:
        """Given a moment, return the first one later than it at which the job is due, in UTC."""
        moment, start = self._time_after(after), after
        if self.hours is None:
            return moment
        if self.hours.is_open(after):
            closing = self.hours.closes(after)
            if closing is None or moment < closing:
                return moment
            start = closing
        opening = self.hours.opens(start)
        closing = self.hours.closes(opening)
        moment = self._time_after(opening - timedelta(microseconds=1))
        return moment if closing is None or moment < closing else opening

    def _time_after(self, moment: datetime) -> datetime:
        period = (
            timedelta(hours=self.every) if self.kind == "Hours" else timedelta(minutes=self.every)
        )
        return _EPOCH + ((moment - _EPOCH) // period + 1) * period


class Continuously(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """Again as soon as the last run has ended; with `hours`, in these only."""

    hours: Hours | None = None

    def next_run(self, after: datetime) -> datetime:
        """Given the end of a run (or the present), return when the next one begins."""
        return after if self.hours is None else self.hours.opens(after)


class AfterJob(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """When a session of another job has ended, however it ended."""

    job: UUID

    def next_run(self, _after: datetime) -> None:
        """Return None: no clock tells."""
        return


Schedule = Daily | Monthly | Periodically | Continuously | AfterJob


def next_run(
    schedule: Schedule | None, after: datetime, window: Hours | None = None
) -> datetime | None:
    """Given a schedule and a moment, return when the job is due next; None when no clock tells.

    A time outside the backup window is put off until that opens: it is not left out.
    """
    moment = None if schedule is None else schedule.next_run(after)
    return moment if moment is None or window is None else window.opens(moment)


def encode_schedule(schedule: Schedule | None) -> str | None:
    """Given a schedule, return it as JSON text, or None for none."""
    return None if schedule is None else msgspec.json.encode(schedule).decode()


def decode_schedule(text: str | None) -> Schedule | None:
    """Given what `encode_schedule` returned, return the schedule."""
    return None if text is None else msgspec.json.decode(text, type=Schedule)


def encode_hours(hours: Hours | None) -> str | None:
    """Given hours of the week, return them as JSON text, or None for none."""
    return None if hours is None else msgspec.json.encode(hours).decode()


def decode_hours(text: str | None) -> Hours | None:
    """Given what `encode_hours` returned, return the hours."""
    return None if text is None else msgspec.json.decode(text, type=Hours)


def _check_time(given: time) -> None:
    if given.tzinfo is not None or given.second or given.microsecond:
        raise ValueError("the time of a schedule is hours and minutes, without offset")


def _first(expressions: Iterable[str], zone: str, after: datetime) -> datetime:
    """Given cron expressions, return the first moment later than `after` that one of them means."""
    return min(_first_of(expression, zone, after) for expression in expressions)


def _first_of(expression: str, zone: str, after: datetime) -> datetime:
    for candidate in CronSim(expression, after.astimezone(zone_of(zone))):
        moment = candidate.astimezone(UTC)
        # In the hour that comes twice, the library answers with its first pass, also when
        # that has gone by.
        if moment > after:
            return moment
    raise AssertionError("every schedule has a day on which the job is due")


def _least_days(month: int) -> int:
    """Given a month's number, return how many days it has in every year."""
    if month == 2:
        return 28
    return 30 if month in (4, 6, 9, 11) else 31


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
