"""The schedule of a job as managers are shown it: the parts of its JobScheduleOptions. Pure."""

from __future__ import annotations

from datetime import time
from typing import Any

from sqlalchemy import Row

from holdfast.server.clock import moment_of
from holdfast.server.hours import DAYS, Hours, offset_at, offset_text
from holdfast.server.schedule import (
    AfterJob,
    Continuously,
    Daily,
    Monthly,
    Schedule,
    decode_hours,
    decode_schedule,
)

_DAY = range(24)


def immediate_options(job: Row[Any]) -> dict[str, Any]:
    """Given the row of a job that copies each new point at once, return its ImmediateCopyMode."""
    schedule = decode_schedule(job.schedule)
    hours = schedule.hours if isinstance(schedule, Continuously) else None
    return {"OptionsContinuous": {"Enabled": True, "Schedule": hours_element(hours)}}


def schedule_options(job: Row[Any]) -> dict[str, Any]:
    """Given the row of a job, return the element.

    ``Enabled`` tells which kind of schedule the job has; whether that is switched on, is the
    job's ScheduleEnabled.
    """
    options: dict[str, Any] = {
        "RetryOptions": {
            "RetryTimes": job.retry_times,
            "RetryTimeout": job.retry_minutes,
            "RetrySpecified": job.retry_times > 0,
        }
    }
    schedule = decode_schedule(job.schedule)
    if schedule is not None:
        name, parts = _kind(schedule, job.next_run or job.created)
        options[name] = {"Enabled": True, **parts}
    window = decode_hours(job.backup_window)
    if window is not None:
        options["OptionsBackupWindow"] = {"Enabled": True, "TimePeriods": hours_element(window)}
    return options


def hours_element(hours: Hours | None) -> dict[str, Any]:
    """Given hours of the week, or None for all, return them as seven days of 24 times 0 or 1."""
    days = []
    for day in DAYS:
        open_hours = _DAY if hours is None else hours.days.get(day, ())
        value = ",".join("1" if hour in open_hours else "0" for hour in _DAY)
        days.append({"Name": day, "Value": value})
    return {"Day": days}


def _kind(schedule: Schedule, at: int) -> tuple[str, dict[str, Any]]:
    """Given a schedule and the moment its offset is wanted for, return its element."""
    match schedule:
        case Daily():
            return "OptionsDaily", {
                "Kind": schedule.kind,
                "Days": list(schedule.run_days),
                **_time(schedule.time, schedule.zone, at),
            }
        case Monthly():
            return "OptionsMonthly", {
                **_time(schedule.time, schedule.zone, at),
                "DayNumberInMonth": schedule.day_number,
                "DayOfWeek": schedule.day_of_week,
                "Months": list(schedule.run_months),
                "DayOfMonth": schedule.day_of_month,
            }
        case Continuously():
            return "OptionsContinuous", {"Schedule": hours_element(schedule.hours)}
        case AfterJob():
            return "OptionsDaisyChaining", {"PreviousJobUid": str(schedule.job)}
        case _:
            return "OptionsPeriodically", {
                "Kind": schedule.kind,
                "FullPeriod": schedule.every,
                "Schedule": hours_element(schedule.hours),
            }


def _time(local: time, zone: str, at: int) -> dict[str, Any]:
    offset = offset_at(zone, moment_of(at))
    return {
        "Time": f"{local:%H:%M:%S}.0000000{offset_text(offset)}",
        "TimeOffsetUtc": int(offset.total_seconds()),
    }
