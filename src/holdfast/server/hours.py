"""Hours of the week at which something may run, and the time zones they are told in. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

DayOfWeek = Literal["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

#: In the order cron numbers them.
DAYS: tuple[DayOfWeek, ...] = (
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
)  # fmt: skip

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)

# Local hours begin on quarters of an hour of UTC, in every zone there is today.
_STEP = timedelta(minutes=15)
_STEPS_IN_A_WEEK = 7 * 24 * 4


def zone_of(name: str) -> tzinfo:
    """Given an IANA name, or an offset such as ``+01:00``, return the zone; else ValueError."""
    if found := _OFFSET.fullmatch(name):
        distance = timedelta(hours=int(found[2]), minutes=int(found[3]))
        if distance > timedelta(hours=14) or int(found[3]) % 15:
            raise ValueError(f"there is no offset {name}")
        return timezone(-distance if found[1] == "-" else distance)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # a name that is no file, no path, no zone
        raise ValueError(f"there is no time zone {name!r}") from None


def offset_text(offset: timedelta) -> str:
    """Given how far a zone is ahead of UTC, return it as ``+01:00``."""
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def offset_at(zone: str, moment: datetime) -> timedelta:
    """Given a zone and a moment, return how far the zone is ahead of UTC then."""
    return moment.astimezone(zone_of(zone)).utcoffset() or timedelta(0)


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of the week: by day, the hours (0 to 23) in which it is open, in local time.

    `zone` is as for `zone_of`; None means that nobody has said it, and counts as UTC.
    """

    days: dict[DayOfWeek, tuple[int, ...]]
    zone: str | None = None

    def __post_init__(self) -> None:
        hours = [hour for each in self.days.values() for hour in each]
        if not hours:
            raise ValueError("there must be at least one hour in the week")
        if not all(0 <= hour <= 23 for hour in hours):
            raise ValueError("an hour is between 0 and 23")
        zone_of(self.zone or "UTC")

    @property
    def never_close(self) -> bool:
        """Whether every hour of the week is open."""
        return sum(len(set(hours)) for hours in self.days.values()) == 7 * 24

    def is_open(self, moment: datetime) -> bool:
        """Say whether a moment is in one of the hours."""
        local = moment.astimezone(zone_of(self.zone or "UTC"))
        return local.hour in self.days.get(DAYS[local.isoweekday() % 7], ())

    def opens(self, moment: datetime) -> datetime:
        """Given a moment, return the first one from there on that is in one of the hours."""
        for _ in range(_STEPS_IN_A_WEEK + 96):
            if self.is_open(moment):
                return moment
            moment = _next_step(moment)
        raise AssertionError("a week has at least one hour that is open")

    def closes(self, moment: datetime) -> datetime | None:
        """Given a moment, return the first one after it at which it closes; None if it never does.

        From a moment that is not in the hours, that is the end of the next ones.
        """
        if self.never_close:
            return None
        before = self.is_open(moment)
        for _ in range(2 * _STEPS_IN_A_WEEK):
            moment = _next_step(moment)
            now = self.is_open(moment)
            if before and not now:
                return moment
            before = now
        raise AssertionError("hours that do not fill a week close in every week")


def _next_step(moment: datetime) -> datetime:
    return _EPOCH + ((moment - _EPOCH) // _STEP + 1) * _STEP
