"""When a job runs by itself. Pure: given a moment, the next one."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim

DayOfWeek = Literal["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

#: In the order cron numbers them.
DAYS: tuple[DayOfWeek, ...] = (
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
)  # fmt: skip
WEEK_DAYS = DAYS[1:6]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Daily(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """Once a day, on some or all days of the week.

    `time` is the local time of day, to the minute, in the time zone `zone` (an IANA name). In a
    night when clocks change, a time that does not exist is made up for right after the gap, and
    one that comes twice is used once.
    """

    time: time
    kind: Literal["Everyday", "WeekDays", "SelectedDays"] = "Everyday"
    days: tuple[DayOfWeek, ...] = ()
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.time.tzinfo is not None or self.time.second or self.time.microsecond:
            raise ValueError("the time of a schedule is hours and minutes, without offset")
        if self.kind == "SelectedDays" and not self.days:
            raise ValueError("a schedule on selected days needs at least one day")
        if self.kind != "SelectedDays" and self.days:
            raise ValueError("days are given for a schedule on selected days only")
        try:
            ZoneInfo(self.zone)
        except (OSError, ValueError, LookupError):  # a name that is no file, no path, no zone
            raise ValueError(f"there is no time zone {self.zone!r}") from None

    @property
    def run_days(self) -> tuple[DayOfWeek, ...]:
        """The days of the week on which it runs, Sunday first."""
        if self.kind == "Everyday":
            return DAYS
        return WEEK_DAYS if self.kind == "WeekDays" else tuple(d for d in DAYS if d in self.days)

    def next_run(self, after: datetime) -> datetime:
        """Given a moment, return the first one later than it at which the job is due, in UTC."""
        days = ",".join(str(DAYS.index(day)) for day in self.run_days)
        expression = f"{self.time.minute} {self.time.hour} * * {days}"
        for candidate in CronSim(expression, after.astimezone(ZoneInfo(self.zone))):
            moment = candidate.astimezone(UTC)
            # In the hour that comes twice, the library answers with its first pass, also when
            # that has gone by.
            if moment > after:
                return moment
        raise AssertionError("a week has at least one day on which the job is due")

    def offset_at(self, moment: datetime) -> timedelta:
        """Given a moment, return how far local time is ahead of UTC then."""
        return moment.astimezone(ZoneInfo(self.zone)).utcoffset() or timedelta(0)


class Periodically(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """Every so many hours or minutes, counted in UTC from midnight of 1970-01-01.

    The distance between two runs is thus always the same, also when clocks change and when the
    period does not divide a day; when it does, runs fall on the same times every day.
    """

    every: int
    kind: Literal["Hours", "Minutes"] = "Hours"

    def __post_init__(self) -> None:
        if not 1 <= self.every <= 10_000:
            raise ValueError("the period of a schedule is between 1 and 10000")

    def next_run(self, after: datetime) -> datetime:
        """Given a moment, return the first one later than it at which the job is due, in UTC."""
        period = (
            timedelta(hours=self.every) if self.kind == "Hours" else timedelta(minutes=self.every)
        )
        return _EPOCH + ((after - _EPOCH) // period + 1) * period


Schedule = Daily | Periodically


def encode_schedule(schedule: Schedule | None) -> str | None:
    """Given a schedule, return it as JSON text, or None for none."""
    return None if schedule is None else msgspec.json.encode(schedule).decode()


def decode_schedule(text: str | None) -> Schedule | None:
    """Given what `encode_schedule` returned, return the schedule."""
    return None if text is None else msgspec.json.decode(text, type=Schedule)
