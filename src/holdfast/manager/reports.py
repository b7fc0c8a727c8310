"""The figures of the reports, from the rows of the catalog.

What is counted, where the API leaves it open:

- Figures about what was done are of seven days of UTC: today and the six before. What belongs to a
  day is what began on it.
- A machine is counted once for each backup server, by its name, whatever jobs process it.
- A run (of a job) or processing (of a machine) is successful with the result Success, and good
  enough to restore from with Warning too; one that is still going on is in no figure but
  ``RunningJobs``.
- Links to reports of other products are empty: there are none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.catalog import reports as statements
from holdfast.catalog.store import CatalogStore
from holdfast.manager.clock import Clock
from holdfast.schema.resources import reports
from holdfast.schema.resources.reports import REPORTED_DAYS, ReportFrame

_DAY = 24 * 60 * 60 * 1000

#: What the API writes for a size that nobody knows.
_UNKNOWN = -1

Figures = dict[str, Any]
_Rows = list[dict[str, Any]]


class Reports:
    """Makes the frames of the summary report."""

    def __init__(self, store: CatalogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._makers: dict[str, Callable[[], Awaitable[Figures]]] = {
            reports.OVERVIEW.name: self.overview,
            reports.VMS_OVERVIEW.name: self.vms_overview,
            reports.JOB_STATISTICS.name: self.job_statistics,
            reports.PROCESSED_VMS.name: self.processed_vms,
            reports.REPOSITORY.name: self.repository,
        }

    async def figures(self, frame: ReportFrame) -> Figures:
        """Given a frame, return its figures by the names of its elements."""
        return await self._makers[frame.name]()

    async def overview(self) -> Figures:
        """Return what there is and how it went last.

        - ``ProxyServers``: machines that move data. Every backup server moves its own, so there are
          as many as backup servers.
        - ``RepositoryServers``: repositories.
        - ``RunningJobs``: jobs with a session that has no result yet.
        - ``ScheduledJobs``: jobs whose schedule is made and switched on.
        - ``…VmLastestStates``: machines by the result of their last finished task session, of
          backup or replication, within the seven days; one not processed in them is in none.
        """
        [[found]] = await self._ask(statements.OVERVIEW)
        return {
            "BackupServers": found["backup_servers"],
            "ProxyServers": found["backup_servers"],
            "RepositoryServers": found["repositories"],
            "RunningJobs": found["running_jobs"],
            "ScheduledJobs": found["scheduled_jobs"],
            "SuccessfulVmLastestStates": found["successful"],
            "WarningVmLastestStates": found["warning"],
            "FailedVmLastestStates": found["failed"],
        }

    async def vms_overview(self) -> Figures:
        """Return how many machines can be restored and what that takes.

        - ``ProtectedVms``: machines with at least one point, of a backup or a replica, of any age;
          ``BackedUpVms`` and ``ReplicatedVms`` may overlap.
        - ``RestorePoints``: points of single machines, of backups and replicas together.
        - ``FullBackupPointsSize``: bytes of full backup files (vbk);
          ``IncrementalBackupPointsSize`` of increments in either direction (vib, vrb).
        - ``ReplicaRestorePointsSize``: 0; the size of replica points is not known to the API.
        - ``SourceVmsSize``: bytes of the protected machines, as their last successful task sessions
          saw them. A machine without any such session counts 0.
        - ``SuccessBackupPercents``: of the finished task sessions of backups within the seven
          days, those with Success or Warning, rounded down, so that 100 means all; 0 when there
          were none.
        """
        [points], [sizes] = await self._ask(
            statements.protected_machines(self._store.schema), statements.FILES_AND_RESULTS
        )
        finished = sizes["all_of_them"]
        return {
            "ProtectedVms": points["machines"],
            "BackedUpVms": int(points["backed_up"]),
            "ReplicatedVms": int(points["replicated"]),
            "RestorePoints": int(points["points"]),
            "FullBackupPointsSize": int(sizes["full_size"]),
            "IncrementalBackupPointsSize": int(sizes["increment_size"]),
            "ReplicaRestorePointsSize": 0,
            "SourceVmsSize": int(points["source_size"]),
            "SuccessBackupPercents": sizes["successful"] * 100 // finished if finished else 0,
            "ProtectedVmsReportLink": "",
        }

    async def job_statistics(self) -> Figures:
        """Return how the jobs did.

        - ``RunningJobs``, ``ScheduledJobs``: as in the overview. A scheduled job that is no
          replication counts under ``ScheduledBackupJobs``.
        - ``TotalJobRuns``: finished job sessions within the seven days: the sum of the three
          figures after it.
        - ``Max…Duration``: whole seconds from the beginning to the end of the longest of them, and
          the name of its job; 0 and empty when there were none.
        """
        [runs], longest = await self._ask(statements.JOB_RUNS, statements.LONGEST_RUNS)
        seconds = {row["replica"]: row["milliseconds"] // 1000 for row in longest}
        names = {row["replica"]: row["job_name"] for row in longest}
        scheduled, replicas = runs["scheduled_jobs"], runs["scheduled_replica_jobs"]
        return {
            "RunningJobs": runs["running_jobs"],
            "ScheduledJobs": scheduled,
            "ScheduledBackupJobs": scheduled - replicas,
            "ScheduledReplicaJobs": replicas,
            "TotalJobRuns": runs["successful"] + runs["warnings"] + runs["failed"],
            "SuccessfulJobRuns": runs["successful"],
            "WarningsJobRuns": runs["warnings"],
            "FailedJobRuns": runs["failed"],
            "MaxJobDuration": max(seconds.values(), default=0),
            "MaxBackupJobDuration": seconds.get(0, 0),
            "MaxReplicaJobDuration": seconds.get(1, 0),
            "MaxDurationBackupJobName": names.get(0, ""),
            "MaxDurationReplicaJobName": names.get(1, ""),
            "BackupJobStatusReportLink": "",
        }

    async def processed_vms(self) -> Figures:
        """Return, for each of the seven days, newest first, how many machines were processed.

        A machine counts once a day and kind of job, when a task session that began on that day
        ended with Success or Warning. ``Timestamp`` is the day's beginning in UTC.
        """
        [found] = await self._ask(statements.PROCESSED_MACHINES)
        counts = {(row["day"], row["replica"]): row["machines"] for row in found}
        since = self._since()
        return {
            "Day": [
                {
                    "BackupedVms": counts.get((day, 0), 0),
                    "ReplicatedVms": counts.get((day, 1), 0),
                    "Timestamp": since + day * _DAY,
                }
                for day in reversed(range(REPORTED_DAYS))
            ]
        }

    async def repository(self) -> Figures:
        """Return the repositories, by name, with their room.

        Bytes; -1 for a capacity or free space that is not known, as of object storage.
        ``BackupSize`` is what is in use, capacity less free space; where that is not known, what
        the known backup files take up.
        """
        [found] = await self._ask(statements.REPOSITORIES)
        return {"CapacityPlanningReportLink": "", "Period": [_period(row) for row in found]}

    async def _ask(self, *texts: str) -> list[_Rows]:
        """Given statements, return the rows of each by column names, all as of one moment."""
        values = statements.parameters(self._store.schema, self._since())

        def ask(connection: sqlite3.Connection) -> list[_Rows]:
            return [_named(connection.execute(text, values)) for text in texts]

        return await self._store.read(ask)

    def _since(self) -> int:
        """The beginning of the oldest of the seven days."""
        now = self._clock()
        return now - now % _DAY - (REPORTED_DAYS - 1) * _DAY


def _named(cursor: sqlite3.Cursor) -> _Rows:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _period(row: dict[str, Any]) -> Figures:
    capacity, free = row["capacity"], row["free_space"]
    known = _UNKNOWN not in (capacity, free)
    return {
        "Name": row["name"],
        "Capacity": capacity,
        "FreeSpace": free,
        "BackupSize": capacity - free if known else int(row["files_size"]),
    }
