"""Shows jobs and the objects in them to managers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.server import tables
from holdfast.server.clock import moment_of
from holdfast.server.hierarchy import publish_item
from holdfast.server.outbox import Resource, publish, withdraw
from holdfast.server.publish import row_of
from holdfast.server.schedule import Daily, Schedule, decode_schedule


def publish_job(connection: Connection, uid: UUID) -> None:
    """Show a job and its objects; or, when it has been deleted, that they are gone."""
    job = row_of(connection, tables.job, uid)
    objects = connection.execute(
        select(tables.job_object)
        .where(tables.job_object.c.job_uid == uid)
        .order_by(tables.job_object.c.position)
    ).all()
    if job.deleted:
        for row in objects:
            withdraw(connection, "ObjectInJob", row.uid)
            publish_item(connection, row.reference)
        withdraw(connection, "Job", uid)
        return
    publish(connection, Resource("Job", uid, job.name, _job_values(job, objects)))
    for row in objects:
        publish(
            connection,
            Resource("ObjectInJob", row.uid, row.name, _object_values(row), {"job": uid}),
        )
        publish_item(connection, row.reference)


def _job_values(job: Row[Any], objects: Sequence[Row[Any]]) -> dict[str, Any]:
    schedule = decode_schedule(job.schedule)
    values: dict[str, Any] = {
        "JobType": job.kind,
        "Description": job.description,
        "ScheduleConfigured": schedule is not None,
        "ScheduleEnabled": job.schedule_enabled,
        "JobScheduleOptions": {
            "Standart": {
                "RetryOptions": {"RetryTimes": 0, "RetryTimeout": 0, "RetrySpecified": False},
                **_schedule_options(schedule, job.schedule_enabled, job.next_run or job.created),
            }
        },
        "JobInfo": {
            "BackupJobInfo": {
                "Includes": {
                    "ObjectInJob": [
                        {
                            "Type": "ObjectInJob",
                            "Href": f"/jobs/{job.uid}/includes/{row.uid}",
                            **_object_values(row),
                        }
                        for row in objects
                    ]
                },
                "SimpleRetentionPolicy": {
                    "RetainCycles": job.retention,
                    "RetainDaysToKeep": 0,
                    "RetainLimitType": "Cycles",
                },
            }
        },
    }
    if job.next_run is not None:
        values["NextRun"] = job.next_run
    return values


def _schedule_options(schedule: Schedule | None, enabled: bool, at: int) -> dict[str, Any]:
    """Given a schedule and the moment its offset is wanted for, return the element it has."""
    if schedule is None:
        return {}
    if isinstance(schedule, Daily):
        offset = schedule.offset_at(moment_of(at))
        daily = {
            "Enabled": enabled,
            "Kind": schedule.kind,
            "Days": list(schedule.run_days),
            "Time": f"{schedule.time:%H:%M:%S}.0000000{_offset_text(offset)}",
            "TimeOffsetUtc": int(offset.total_seconds()),
        }
        return {"OptionsDaily": daily}
    periodic = {"Enabled": enabled, "Kind": schedule.kind, "FullPeriod": schedule.every}
    return {"OptionsPeriodically": periodic}


def _offset_text(offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _object_values(row: Row[Any]) -> dict[str, Any]:
    return {
        "ObjectInJobId": row.uid,
        "HierarchyObjRef": row.reference,
        "Name": row.name,
        "DisplayName": row.name,
        "Order": row.position,
    }
