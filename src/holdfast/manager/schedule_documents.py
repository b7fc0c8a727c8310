"""The schedule options of a request, understood: as a change of a job's schedule. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import time, timedelta
from typing import Any
from uuid import UUID

from holdfast.representation.requests import RequestError
from holdfast.server.messages import (
    DAYS,
    AfterJob,
    Continuously,
    Daily,
    Hours,
    Monthly,
    Periodically,
    Retry,
    Schedule,
)

Element = Mapping[str, Any]

# A time of day, or a whole moment, as JSON has it; with or without an offset.
_TIME = re.compile(
    r"(?:\d{4}-\d\d-\d\dT)?(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII
)


def schedule_changes(options: Element, current: Element, at: str) -> dict[str, Any]:
    """Given the element Standart and the present one, return what changes, as of a `JobEdit`.

    The kind of schedule that is Enabled is the job's from then on. When the present kind is
    given and not Enabled, nor any other, the job has none. What is not given stays. Raises
    RequestError.
    """
    changes: dict[str, Any] = {}
    given = [name for name in _KINDS if name in options]
    enabled = [name for name in given if options[name].get("Enabled", True)]
    if len(enabled) > 1:
        raise RequestError(f"Element {at}: only one of {' and '.join(enabled)} can be Enabled.")
    if enabled:
        read = _KINDS[enabled[0]]
        changes["schedule"] = checked(lambda: read(options, at), f"{at}.{enabled[0]}")
    elif any(name in current for name in given):
        changes["schedule"] = None
    if "RetryOptions" in options:
        present = current.get("RetryOptions") or {}
        changes["retry"] = _retry(options["RetryOptions"], present, f"{at}.RetryOptions")
    if (window := options.get("OptionsBackupWindow")) is not None:
        place = f"{at}.OptionsBackupWindow"
        is_on = window.get("Enabled", True)
        changes["window"] = _hours(window.get("TimePeriods"), place) if is_on else None
        if is_on and "TimePeriods" not in window:
            raise RequestError(f"Element {place}: TimePeriods is missing.")
    return changes


def checked(make: Callable[[], Any], at: str) -> Any:
    """Given how something is made, return it; what is wrong with it is said of the element `at`."""
    try:
        return make()
    except RequestError:
        raise
    except ValueError as error:
        raise RequestError(f"Element {at}: {error}.") from None


def _daily(options: Element, at: str) -> Schedule:
    given = options["OptionsDaily"]
    kind = given.get("Kind", "Everyday")
    days = tuple(given.get("Days") or ()) if kind == "SelectedDays" else ()
    local, zone = _time(given, f"{at}.OptionsDaily")
    return Daily(time=local, kind=kind, days=days, zone=zone)


def _monthly(options: Element, at: str) -> Schedule:
    given = options["OptionsMonthly"]
    local, zone = _time(given, f"{at}.OptionsMonthly")
    months = tuple(given.get("Months") or ())
    if not months:
        raise RequestError(f"Element {at}.OptionsMonthly: Months is missing.")
    number = given.get("DayNumberInMonth", "OnDay" if "DayOfMonth" in given else "First")
    return Monthly(
        time=local,
        day_number=number,
        day_of_week=given.get("DayOfWeek", "Sunday"),
        day_of_month=given.get("DayOfMonth", 1),
        months=months if len(set(months)) < 12 else (),
        zone=zone,
    )


def _periodically(options: Element, at: str) -> Schedule:
    given = options["OptionsPeriodically"]
    if "FullPeriod" not in given:
        raise RequestError(f"Element {at}.OptionsPeriodically: FullPeriod is missing.")
    return Periodically(
        every=given["FullPeriod"],
        kind=given.get("Kind", "Hours"),
        hours=_hours(given.get("Schedule"), f"{at}.OptionsPeriodically.Schedule"),
    )


def _continuously(options: Element, at: str) -> Schedule:
    given = options["OptionsContinuous"]
    return Continuously(hours=_hours(given.get("Schedule"), f"{at}.OptionsContinuous.Schedule"))


def _after_job(options: Element, at: str) -> Schedule:
    given = options["OptionsDaisyChaining"]
    if "PreviousJobUid" not in given:
        raise RequestError(f"Element {at}.OptionsDaisyChaining: PreviousJobUid is missing.")
    return AfterJob(job=UUID(given["PreviousJobUid"]))


_KINDS: Mapping[str, Callable[[Element, str], Schedule]] = {
    "OptionsDaily": _daily,
    "OptionsMonthly": _monthly,
    "OptionsPeriodically": _periodically,
    "OptionsContinuous": _continuously,
    "OptionsDaisyChaining": _after_job,
}


def _retry(given: Element, present: Element, at: str) -> Retry:
    times = given.get("RetryTimes", present.get("RetryTimes", 0))
    minutes = given.get("RetryTimeout", present.get("RetryTimeout", 0))
    specified = given.get("RetrySpecified", times > 0)
    if specified and times == 0:
        raise RequestError(f"Element {at}.RetryTimes: expected a number from 1.")
    return checked(lambda: Retry(times=times if specified else 0, minutes=minutes), at)  # type: ignore[no-any-return]


def _time(given: Element, at: str) -> tuple[time, str]:
    """Return the local time of day and the zone, as an offset."""
    found = _TIME.fullmatch(given.get("Time", ""))
    if found is None:
        raise RequestError(f"Element {at}.Time: expected a time such as 22:00:00.0000000+01:00.")
    if int(found[3] or 0):
        raise RequestError(f"Element {at}.Time: expected whole minutes.")
    local = checked(lambda: time(int(found[1]), int(found[2])), f"{at}.Time")
    if found[4] is not None:
        offset = "+00:00" if found[4] == "Z" else found[4]
    else:
        offset = _offset(given.get("TimeOffsetUtc", 0))
    return local, offset


def _offset(seconds: int) -> str:
    minutes = abs(timedelta(seconds=seconds)) // timedelta(minutes=1)
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _hours(given: Element | None, at: str) -> Hours | None:
    """Return the hours that seven days of 24 times 0 or 1 tell; None for all hours."""
    if given is None:
        return None
    days: dict[Any, tuple[int, ...]] = {}
    for day in given.get("Day") or ():
        name, values = day.get("Name"), [part.strip() for part in day["Value"].split(",")]
        if name is None or name in days:
            raise RequestError(f"Element {at}.Day: expected each day of the week once, by Name.")
        if len(values) != 24 or not set(values) <= {"0", "1"}:
            raise RequestError(f"Element {at}.Day: {name}: expected 24 times 0 or 1, with commas.")
        days[name] = tuple(hour for hour, value in enumerate(values) if value == "1")
    if set(days) != set(DAYS):
        raise RequestError(f"Element {at}.Day: expected each day of the week once, by Name.")
    open_days = {name: hours for name, hours in days.items() if hours}
    hours: Hours = checked(lambda: Hours(days=open_days), at)
    return None if hours.never_close else hours
