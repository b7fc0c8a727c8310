"""What people may say of how a job does its work: days, limits, scripts. Checked as it is read.

Every refusal begins with the name of the field. Pure, but for `check_scripts`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from uuid import UUID

import msgspec

from holdfast.engine.errors import ScriptFailed
from holdfast.engine.script import ensure_trustworthy
from holdfast.engine.zstd import LEVELS, USUAL_LEVEL
from holdfast.server.hours import DAYS, DayOfWeek, zone_of
from holdfast.server.refusal import RefusedError
from holdfast.server.schedule import MONTHS, Month

#: Bytes a second. Less would let a single cluster of a disk take longer than a time limit.
LEAST_BANDWIDTH = 64 * 1024
GREATEST_BANDWIDTH = 2**40
LONGEST_SCRIPT = 24 * 3600
MOST_PERIODS = 999
LONGEST_AFTER = 9999

#: The options that jobs of a kind may have beside none.
_ALL = frozenset(
    {
        "compression",
        "compression_level",
        "bandwidth",
        "quiesce",
        "before",
        "after",
        "leave_out",
        "active_full",
    }
    | {"synthetic_full", "health_check", "gfs", "remove_deleted_after", "encryption"}
)
_OF_COPIES = _ALL - {"quiesce", "before", "after", "leave_out", "active_full", "encryption"}
_OPTIONS_OF = {
    "Backup": _ALL,
    "NasBackup": _ALL
    - {"quiesce", "leave_out", "active_full", "synthetic_full", "encryption", "compression_level"},
    "BackupCopy": _OF_COPIES,
    "ImmediateBackupCopy": _OF_COPIES,
    "Replica": _ALL
    - {
        "compression",
        "compression_level",
        "synthetic_full",
        "gfs",
        "remove_deleted_after",
        "encryption",
    },
}

#: Why jobs of a kind cannot have an option, where that is not plain.
_WHY_NOT = {
    ("Replica", "compression"): "replicas are never compressed, since machines are to run on them",
    ("Replica", "synthetic_full"): "a replica has no fulls of its own; active_full sends one anew",
    ("Replica", "encryption"): "machines are to run on the files of replicas",
    ("NasBackup", "encryption"): "restic encrypts what is backed up of directories in any case",
    ("BackupCopy", "encryption"): "copies are encrypted as what they are copies of",
    ("ImmediateBackupCopy", "encryption"): "copies are encrypted as what they are copies of",
    ("Replica", "gfs"): "a replica keeps a number of points, or those of some days",
    (
        "Replica",
        "remove_deleted_after",
    ): "a replica is removed by its own command, with its machine",
    ("NasBackup", "quiesce"): "expected true; directories have no guest agent",
    ("NasBackup", "compression_level"): "restic knows no levels but compression zstd and max",
    ("NasBackup", "leave_out"): "a directory has no disks",
}
_DISK = re.compile(r"[a-z0-9]{1,32}")


class Days(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days on which something is done: of the week, of the month, or both.

    A day of the `month` that a month does not have is its last one. A day begins at midnight in
    the time zone `zone` (an IANA name, or an offset such as ``+01:00``). What could not be done
    on its day is done on the next occasion.
    """

    week: tuple[DayOfWeek, ...] = ()
    month: tuple[int, ...] = ()
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if not (self.week or self.month):
            raise ValueError("expected at least one day in week or month")
        if not all(1 <= day <= 31 for day in self.month):
            raise ValueError("month: expected days between 1 and 31")
        zone_of(self.zone)

    def due(self, since: datetime, now: datetime) -> bool:
        """Given when it was last done, say whether one of the days has begun after that."""
        day = now.astimezone(zone_of(self.zone)).date()
        # Any month has each of its days within so many days.
        for _ in range(32):
            if self._chosen(day):
                return since < midnight(day, self.zone)
            day -= timedelta(days=1)
        raise AssertionError("every month has one of the days")

    def _chosen(self, day: date) -> bool:
        length = monthrange(day.year, day.month)[1]
        return DAYS[day.isoweekday() % 7] in self.week or any(
            min(each, length) == day.day for each in self.month
        )


class Weekly(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first point from a `day` of the week on is kept for `keep` weeks."""

    keep: int
    day: DayOfWeek = "Sunday"

    def __post_init__(self) -> None:
        _check_periods(self.keep)


class OfMonths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first point from the beginning of the first or last 7 days of a month on is kept.

    That is for `keep` months.
    """

    keep: int
    week: Literal["First", "Last"] = "First"

    def __post_init__(self) -> None:
        _check_periods(self.keep)


class Yearly(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first point from the beginning of a `month` on is kept for `keep` years."""

    keep: int
    month: Month = "January"

    def __post_init__(self) -> None:
        _check_periods(self.keep)


class Gfs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which points are kept longer, as fulls: by weeks, months and years in the time `zone`."""

    weekly: Weekly | None = None
    monthly: OfMonths | None = None
    yearly: Yearly | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if not (self.weekly or self.monthly or self.yearly):
            raise ValueError("expected at least one of weekly, monthly, yearly")
        zone_of(self.zone)


class ScriptOption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An executable file on the backup server, and how many seconds it may run."""

    path: str
    seconds: int = 600

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if not path.is_absolute() or ".." in path.parts or "\0" in self.path:
            raise ValueError(f"path: expected an absolute path, not {self.path!r}")
        if not 1 <= self.seconds <= LONGEST_SCRIPT:
            raise ValueError(f"seconds: expected between 1 and {LONGEST_SCRIPT}")


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A disk that is not backed up, by its name in the guest, such as vdb.

    That is with the machine of the hierarchy `reference`; without one, with every machine.
    """

    disk: str
    reference: str = ""

    def __post_init__(self) -> None:
        if not _DISK.fullmatch(self.disk):
            raise ValueError(f"disk: expected a name such as vdb, not {self.disk!r}")


class JobOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a job does its work.

    `compression` is ``none``, ``zstd`` or, with directories, ``max``; `compression_level` how much
    of the processor's time is spent on disks that are compressed. `bandwidth` is how many
    bytes the job moves in a second at most: of disks that are read, of directories that are
    written. `quiesce` has the guest agent freeze
    the file systems of a machine. The scripts `before` and `after` run for each machine.
    `leave_out` are disks of machines of hosts. On the days of `active_full` a full is taken from
    the source, on those of `synthetic_full` one is made of what the repository holds; on those of
    `health_check` every file in the backup is read and compared with its checksum. All points of a
    machine that the job has no more are removed `remove_deleted_after` so many days since the first
    whole session without it; without it, never. `encryption` is the password (a UID of
    ``/api/passwords``) that machines are encrypted with, from their next point on, which is a full;
    they are not compressed then.
    """

    compression: Literal["none", "zstd", "max"] = "zstd"
    compression_level: int | None = None
    bandwidth: int | None = None
    quiesce: bool = True
    before: ScriptOption | None = None
    after: ScriptOption | None = None
    leave_out: tuple[LeftOut, ...] = ()
    active_full: Days | None = None
    synthetic_full: Days | None = None
    health_check: Days | None = None
    gfs: Gfs | None = None
    remove_deleted_after: int | None = None
    encryption: UUID | None = None

    def __post_init__(self) -> None:
        days = self.remove_deleted_after
        if days is not None and not 1 <= days <= LONGEST_AFTER:
            raise ValueError(f"remove_deleted_after: expected days between 1 and {LONGEST_AFTER}")
        level = self.compression_level
        if level is not None and level not in LEVELS:
            raise ValueError(
                f"compression_level: expected between {LEVELS[0]} and {LEVELS[-1]}; "
                f"{USUAL_LEVEL} is usual"
            )
        if level is not None and self.compression != "zstd":
            raise ValueError("compression_level: expected with compression zstd alone")
        limit = self.bandwidth
        if limit is not None and not LEAST_BANDWIDTH <= limit <= GREATEST_BANDWIDTH:
            raise ValueError(
                "bandwidth: expected bytes a second between "
                f"{LEAST_BANDWIDTH} and {GREATEST_BANDWIDTH}"
            )

    @property
    def level(self) -> int | None:
        """How disks are compressed; None when they are not."""
        if self.compression == "none":
            return None
        return USUAL_LEVEL if self.compression_level is None else self.compression_level

    def disks_left_out(self, references: Sequence[str]) -> frozenset[str]:
        """Given the references a machine is known by, return its disks that are left out."""
        names = {reference.lower() for reference in references} | {""}
        return frozenset(each.disk for each in self.leave_out if each.reference.lower() in names)


def check_options(options: JobOptions, kind: str) -> None:
    """Raise ValueError, naming the field, unless a job of this kind may have these options."""
    for name in _told(options):
        if name not in _OPTIONS_OF[kind]:
            reason = _WHY_NOT.get((kind, name), f"a job of kind {kind} has none")
            raise ValueError(f"options.{name}: {reason}")
    if kind == "Backup" and options.compression == "max":
        raise ValueError(
            "options.compression: expected none or zstd; max is for directories only, and disks "
            "have a compression_level"
        )


def check_scripts(options: JobOptions) -> None:
    """Refuse scripts that are not there, or that others than root and the server may change.

    The same is looked at again before each run.
    """
    for name, script in (("before", options.before), ("after", options.after)):
        if script is None:
            continue
        try:
            ensure_trustworthy(Path(script.path))
        except ScriptFailed as error:
            raise RefusedError(f"options.{name}: {error}") from error


def encode_options(options: JobOptions) -> str | None:
    """Given options, return them as JSON text; None when nothing is out of the ordinary."""
    if options == JobOptions():
        return None
    given = {name: value for name, value in _told(options).items() if value is not None}
    return msgspec.json.encode(given).decode()


def _told(options: JobOptions) -> dict[str, Any]:
    """Return the options that are not as usual, by name."""
    usual = JobOptions()
    return {
        name: value
        for name, value in msgspec.structs.asdict(options).items()
        if value != getattr(usual, name)
    }


def decode_options(text: str | None) -> JobOptions:
    """Given what `encode_options` returned, return the options."""
    return JobOptions() if text is None else msgspec.json.decode(text, type=JobOptions)


def midnight(day: date, zone: str) -> datetime:
    """Return when a day begins in a time zone, in UTC."""
    return datetime.combine(day, time(0), zone_of(zone)).astimezone(UTC)


def month_number(month: Month) -> int:
    """Return the number of a month, from 1."""
    return MONTHS.index(month) + 1


def _check_periods(keep: int) -> None:
    if not 1 <= keep <= MOST_PERIODS:
        raise ValueError(f"keep: expected between 1 and {MOST_PERIODS}")
