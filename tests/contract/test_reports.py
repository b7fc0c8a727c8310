"""The summary report: its links, and every figure against one counted by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.schema.core import CORE
from holdfast.schema.roles import USERS, Role
from support import report_rows
from support.documents import error_message, json_of, links_of, local, parsed
from support.managers import (
    HOST,
    JSON,
    XML,
    FakeClock,
    add_administrator,
    client_of,
    log_on,
    running_manager,
)

REPLICA_POINTS = "VmReplicaPoint" in CORE

FIGURES: dict[str, dict[str, int | str]] = {
    "overview": {
        "BackupServers": 2,
        "ProxyServers": 2,
        "RepositoryServers": 3,
        "RunningJobs": 2,
        "ScheduledJobs": 3,
        # vm3 of the first server by its replication, VM1 of the second.
        "SuccessfulVmLastestStates": 2,
        # vm1 of the first server: the one under way does not count yet.
        "WarningVmLastestStates": 1,
        "FailedVmLastestStates": 1,
    },
    "vms_overview": {
        "ProtectedVms": 5 if REPLICA_POINTS else 4,
        "BackedUpVms": 4,
        "ReplicatedVms": 2 if REPLICA_POINTS else 0,
        "RestorePoints": 7 if REPLICA_POINTS else 5,
        "FullBackupPointsSize": 340,
        "IncrementalBackupPointsSize": 33,
        "ReplicaRestorePointsSize": 0,
        # 60 + 70 + 5, and 8 of the replicated one.
        "SourceVmsSize": 143 if REPLICA_POINTS else 135,
        # Four of five.
        "SuccessBackupPercents": 80,
        "ProtectedVmsReportLink": "",
    },
    "job_statistics": {
        "RunningJobs": 2,
        "ScheduledJobs": 3,
        "ScheduledBackupJobs": 2,
        "ScheduledReplicaJobs": 1,
        "TotalJobRuns": 4,
        "SuccessfulJobRuns": 2,
        "WarningsJobRuns": 1,
        "FailedJobRuns": 1,
        "MaxJobDuration": 300,
        "MaxBackupJobDuration": 300,
        "MaxReplicaJobDuration": 50,
        "MaxDurationBackupJobName": "nightly",
        "MaxDurationReplicaJobName": "mirror",
        "BackupJobStatusReportLink": "",
    },
}
ROOTS = {
    "overview": "OverviewReportFrame",
    "vms_overview": "VmsOverviewReportFrame",
    "job_statistics": "JobStatisticsReportFrame",
    "processed_vms": "ProcessedVmsReportFrame",
    "repository": "RepositoryReportFrame",
}
DAYS = [
    ("1", "0", "2023-11-14T00:00:00Z"),
    ("1", "1", "2023-11-13T00:00:00Z"),
    ("0", "0", "2023-11-12T00:00:00Z"),
    ("0", "0", "2023-11-11T00:00:00Z"),
    ("0", "0", "2023-11-10T00:00:00Z"),
    ("0", "0", "2023-11-09T00:00:00Z"),
    ("1", "0", "2023-11-08T00:00:00Z"),
]
PERIODS = [
    {"Name": "Attic", "Capacity": -1, "FreeSpace": -1, "BackupSize": 0},
    {"Name": "bucket", "Capacity": -1, "FreeSpace": -1, "BackupSize": 40},
    {"Name": "main", "Capacity": 1000, "FreeSpace": 400, "BackupSize": 600},
]
NOTHING_MORE = {"Links": [], "Href": None, "Type": None}


@asynccontextmanager
async def reporting(directory: Path, *, filled: bool) -> AsyncIterator[httpx.AsyncClient]:
    """Given a directory, give a client of a manager there, with the rows or with none."""
    clock = FakeClock(report_rows.NOW)
    async with running_manager(directory, clock=clock) as manager:
        await add_administrator(manager)
        if filled:
            await manager.store.write(lambda c: report_rows.fill(c, manager.schema))
        async with client_of(manager) as client:
            await log_on(client)
            yield client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a manager whose catalog holds the report rows."""
    async with reporting(tmp_path, filled=True) as client:
        yield client


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a manager whose catalog is empty."""
    async with reporting(tmp_path, filled=False) as client:
        yield client


async def frame(client: httpx.AsyncClient, name: str) -> tuple[Any, Any]:
    """Given a frame's name, return its root element and its JSON value."""
    path = f"/api/reports/summary/{name}"
    root = parsed(await client.get(path, headers=XML))
    assert local(root) == ROOTS[name]
    return root, json_of(await client.get(path, headers=JSON))


async def test_summary_leads_to_the_five_frames(client: httpx.AsyncClient) -> None:
    root = parsed(await client.get("/api/reports/summary", headers=XML))
    value = json_of(await client.get("/api/reports/summary", headers=JSON))

    assert local(root) == "SummaryReport"
    assert root.attrib == {}
    assert [local(child) for child in root] == ["Links"]
    assert links_of(root) == value["Links"]
    assert [link["Href"] for link in value["Links"]] == [
        f"{HOST}/api/reports/summary/{name}" for name in ROOTS
    ]
    assert {(link["Rel"], link["Type"]) for link in value["Links"]} == {("Down", "ReportFrame")}
    assert all(link["Name"] for link in value["Links"])


async def test_logon_session_leads_to_the_summary(client: httpx.AsyncClient) -> None:
    sessions = json_of(await client.get("/api/logonSessions", headers=JSON))
    links = sessions["LogonSessions"][0]["Links"]

    [link] = [link for link in links if link["Type"] == "Report"]
    assert link["Href"] == f"{HOST}/api/reports/summary"
    assert link["Name"]


@pytest.mark.parametrize("name", FIGURES)
async def test_frame_holds_the_figures_in_their_order(client: httpx.AsyncClient, name: str) -> None:
    root, value = await frame(client, name)

    assert root.attrib == {}
    assert [(local(child), child.text or "") for child in root] == [
        (element, str(figure)) for element, figure in FIGURES[name].items()
    ]
    assert list(value.items()) == list((FIGURES[name] | NOTHING_MORE).items())


async def test_processed_machines_are_counted_once_a_day_newest_first(
    client: httpx.AsyncClient,
) -> None:
    root, value = await frame(client, "processed_vms")

    assert [
        (day.attrib["BackupedVms"], day.attrib["ReplicatedVms"], day.attrib["Timestamp"])
        for day in root
    ] == DAYS
    assert {local(day) for day in root} == {"Day"}
    assert value["Days"] == [
        {"BackupedVms": int(backed_up), "ReplicatedVms": int(replicated), "Timestamp": day}
        for backed_up, replicated, day in DAYS
    ]


async def test_repositories_are_listed_by_name(client: httpx.AsyncClient) -> None:
    root, value = await frame(client, "repository")

    assert root.attrib == {"CapacityPlanningReportLink": ""}
    assert [{local(part): part.text for part in period} for period in root] == [
        {name: str(figure) for name, figure in period.items()} for period in PERIODS
    ]
    assert value == {"Periods": PERIODS, "CapacityPlanningReportLink": "", **NOTHING_MORE}


@pytest.mark.parametrize("name", FIGURES)
async def test_frame_of_an_empty_catalog_is_all_zero(empty: httpx.AsyncClient, name: str) -> None:
    root, value = await frame(empty, name)

    nothing = {
        element: "" if isinstance(figure, str) else 0 for element, figure in FIGURES[name].items()
    }
    assert value == nothing | NOTHING_MORE
    assert [(local(child), child.text or "") for child in root] == [
        (element, str(figure)) for element, figure in nothing.items()
    ]


async def test_empty_catalog_has_seven_empty_days_and_no_repositories(
    empty: httpx.AsyncClient,
) -> None:
    root, value = await frame(empty, "processed_vms")
    assert [day.attrib["Timestamp"] for day in root] == [timestamp for *_, timestamp in DAYS]
    assert {(day["BackupedVms"], day["ReplicatedVms"]) for day in value["Days"]} == {(0, 0)}

    root, value = await frame(empty, "repository")
    assert len(root) == 0
    assert value["Periods"] == []


@pytest.mark.parametrize("role", Role)
async def test_reports_are_for_portal_users_and_administrators(tmp_path: Path, role: Role) -> None:
    async with running_manager(tmp_path) as manager, client_of(manager) as client:
        await manager.accounts.create("someone", "secret", role)
        await log_on(client, "someone")
        for path in ("", *(f"/{name}" for name in ROOTS)):
            answer = await client.get(f"/api/reports/summary{path}")
            if role in USERS:
                assert answer.status_code == 200
            else:
                assert role.value in error_message(answer, 403)


async def test_reports_need_a_logon_session(client: httpx.AsyncClient) -> None:
    client.headers.pop("X-RestSvcSessionId")
    error_message(await client.get("/api/reports/summary/overview"), 401)
