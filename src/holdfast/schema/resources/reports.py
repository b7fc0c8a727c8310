"""The summary report: its frames, each a document of figures about the whole installation."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.schema.roles import USERS, Role
from holdfast.schema.types import DATE_TIME, INTEGER, STRING, Element, structure

#: Where the summary stands; the frames stand below it.
SUMMARY_PATH = "/reports/summary"
SUMMARY_ROOT = "SummaryReport"

#: Who may read reports.
READERS: frozenset[Role] = USERS

#: The span of the figures about what was done: today and the days before it, in UTC.
REPORTED_DAYS = 7


@dataclass(frozen=True)
class ReportFrame:
    """One frame of the summary: the last part of its address and its root element."""

    name: str
    root: Element

    @property
    def path(self) -> str:
        """The frame's address below the API."""
        return f"{SUMMARY_PATH}/{self.name}"


def _integers(*names: str) -> tuple[Element, ...]:
    return tuple(Element(name, INTEGER) for name in names)


OVERVIEW = ReportFrame(
    "overview",
    Element(
        "OverviewReportFrame",
        structure(
            *_integers(
                "BackupServers",
                "ProxyServers",
                "RepositoryServers",
                "RunningJobs",
                "ScheduledJobs",
                "SuccessfulVmLastestStates",  # so spelt on the wire, as are the next two
                "WarningVmLastestStates",
                "FailedVmLastestStates",
            )
        ),
    ),
)

VMS_OVERVIEW = ReportFrame(
    "vms_overview",
    Element(
        "VmsOverviewReportFrame",
        structure(
            *_integers(
                "ProtectedVms",
                "BackedUpVms",
                "ReplicatedVms",
                "RestorePoints",
                "FullBackupPointsSize",
                "IncrementalBackupPointsSize",
                "ReplicaRestorePointsSize",
                "SourceVmsSize",
                "SuccessBackupPercents",
            ),
            Element("ProtectedVmsReportLink", STRING),
        ),
    ),
)

JOB_STATISTICS = ReportFrame(
    "job_statistics",
    Element(
        "JobStatisticsReportFrame",
        structure(
            *_integers(
                "RunningJobs",
                "ScheduledJobs",
                "ScheduledBackupJobs",
                "ScheduledReplicaJobs",
                "TotalJobRuns",
                "SuccessfulJobRuns",
                "WarningsJobRuns",
                "FailedJobRuns",
                "MaxJobDuration",
                "MaxBackupJobDuration",
                "MaxReplicaJobDuration",
            ),
            Element("MaxDurationBackupJobName", STRING),
            Element("MaxDurationReplicaJobName", STRING),
            Element("BackupJobStatusReportLink", STRING),
        ),
    ),
)

PROCESSED_VMS = ReportFrame(
    "processed_vms",
    Element(
        "ProcessedVmsReportFrame",
        structure(
            Element(
                "Day",
                structure(
                    attributes=(
                        *_integers("BackupedVms", "ReplicatedVms"),
                        Element("Timestamp", DATE_TIME),
                    )
                ),
                repeated=True,
                json_name="Days",
            )
        ),
    ),
)

REPOSITORY = ReportFrame(
    "repository",
    Element(
        "RepositoryReportFrame",
        structure(
            Element(
                "Period",
                structure(
                    Element("Name", STRING),
                    *_integers("Capacity", "FreeSpace", "BackupSize"),
                ),
                repeated=True,
                json_name="Periods",
            ),
            attributes=(Element("CapacityPlanningReportLink", STRING),),
        ),
    ),
)

#: The frames in the order in which the summary lists them.
FRAMES = (OVERVIEW, VMS_OVERVIEW, JOB_STATISTICS, PROCESSED_VMS, REPOSITORY)
