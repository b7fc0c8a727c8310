"""When jobs run and how long what they make is kept."""

from __future__ import annotations

from holdfast.schema.types import (
    BOOLEAN,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Structure,
    Uid,
    structure,
)

DAYS_OF_WEEK = Enumeration(
    ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
)
MONTHS = Enumeration(
    (
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    )
)
#: Which of the days of a month that have the same name.
DAY_NUMBERS = Enumeration(("First", "Second", "Third", "Fourth", "Last", "OnDay"))
ENABLED = (Element("Enabled", BOOLEAN),)

#: Seven days, each 24 times 0 or 1 separated by commas, one for each hour.
TIME_PERIODS = structure(
    Element(
        "Day",
        Structure(attributes=(Element("Name", DAYS_OF_WEEK),), text="Value"),
        repeated=True,
        json_name="Days",
    )
)

_CONTINUOUS = structure(Element("Schedule", TIME_PERIODS, optional=True), attributes=ENABLED)

_RETRY = structure(
    Element("RetryTimes", INTEGER, optional=True),
    Element("RetryTimeout", INTEGER, optional=True),
    Element("RetrySpecified", BOOLEAN, optional=True, json_name="RetrySpecified1"),
)

_DAILY = structure(
    Element("Kind", Enumeration(("Everyday", "WeekDays", "SelectedDays"))),
    Element("Days", DAYS_OF_WEEK, repeated=True),
    Element("Time", STRING),
    Element("TimeOffsetUtc", INTEGER),
    attributes=ENABLED,
)

_MONTHLY = structure(
    Element("Time", STRING),
    Element("TimeOffsetUtc", INTEGER),
    Element("DayNumberInMonth", DAY_NUMBERS),
    Element("DayOfWeek", DAYS_OF_WEEK),
    Element("Months", MONTHS, repeated=True),
    Element("DayOfMonth", INTEGER),
    attributes=ENABLED,
)

_PERIODICALLY = structure(
    Element("Kind", Enumeration(("Hours", "Minutes"))),
    Element("FullPeriod", INTEGER),
    Element("Schedule", TIME_PERIODS, optional=True),
    attributes=ENABLED,
)

#: The children of ``Standart``; file share jobs have them without that wrapper.
_STANDARD = (
    Element("RetryOptions", _RETRY),
    Element("WaitForBackupCompletion", BOOLEAN, optional=True),
    Element("BackupCompetitionWaitingPeriodMin", INTEGER, optional=True),
    Element("OptionsDaily", _DAILY, optional=True),
    Element("OptionsMonthly", _MONTHLY, optional=True),
    Element("OptionsPeriodically", _PERIODICALLY, optional=True),
    Element("OptionsContinuous", _CONTINUOUS, optional=True),
    Element(
        "OptionsBackupWindow",
        structure(Element("TimePeriods", TIME_PERIODS), attributes=ENABLED),
        optional=True,
    ),
    Element(
        "OptionsDaisyChaining",
        structure(Element("PreviousJobUid", Uid("Job"), optional=True), attributes=ENABLED),
        optional=True,
    ),
)

#: Exactly one of the two is there; copies that run at once have the second.
SCHEDULE_OPTIONS = structure(
    Element("Standart", structure(*_STANDARD), optional=True),  # so spelt on the wire
    Element(
        "ImmediateCopyMode",
        structure(Element("OptionsContinuous", _CONTINUOUS)),
        optional=True,
    ),
)

FILE_SHARE_SCHEDULE_OPTIONS = structure(*_STANDARD)

GFS_RETENTION_POLICY = structure(
    Element(
        "Weekly",
        structure(
            Element("Enabled", BOOLEAN),
            Element("RetentionPeriod", INTEGER),
            Element("SelectedDay", DAYS_OF_WEEK),
        ),
    ),
    Element(
        "Monthly",
        structure(
            Element("Enabled", BOOLEAN),
            Element("RetentionPeriod", INTEGER),
            Element("SelectedWeek", Enumeration(("First", "Last"))),
        ),
    ),
    Element(
        "Yearly",
        structure(
            Element("Enabled", BOOLEAN),
            Element("RetentionPeriod", INTEGER),
            Element("SelectedMonth", MONTHS),
        ),
    ),
    attributes=ENABLED,
)

SIMPLE_RETENTION_POLICY = structure(
    Element("RetainCycles", INTEGER),
    Element("RetainDaysToKeep", INTEGER),
    Element("RetainLimitType", Enumeration(("Cycles", "Days"))),
)
