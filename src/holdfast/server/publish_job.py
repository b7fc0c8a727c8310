"""Shows jobs and the objects in them to managers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.server import tables
from holdfast.server.hierarchy import publish_item
from holdfast.server.outbox import Resource, publish, withdraw
from holdfast.server.publish import row_of
from holdfast.server.publish_schedule import schedule_options


def publish_job(connection: Connection, uid: UUID) -> None:
    """Show a job and its objects; or, when it has been deleted, that they are gone."""
    job = row_of(connection, tables.job, uid)
    rows = connection.execute(
        select(tables.job_object)
        .where(tables.job_object.c.job_uid == uid)
        .order_by(tables.job_object.c.position)
    ).all()
    objects = [row for row in rows if not (row.removed or job.deleted)]
    for row in rows:
        if row not in objects:
            withdraw(connection, "ObjectInJob", row.uid)
            publish_item(connection, row.reference)
    if job.deleted:
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
    values: dict[str, Any] = {
        "JobType": job.kind,
        "Description": job.description,
        "ScheduleConfigured": job.schedule is not None,
        "ScheduleEnabled": job.schedule_enabled,
        "JobScheduleOptions": {"Standart": schedule_options(job)},
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


def _object_values(row: Row[Any]) -> dict[str, Any]:
    return {
        "ObjectInJobId": row.uid,
        "HierarchyObjRef": row.reference,
        "Name": row.name,
        "DisplayName": row.name,
        "Order": row.position,
    }
