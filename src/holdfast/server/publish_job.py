"""Shows jobs, the objects in them and the links of copy jobs to managers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select

from holdfast.server import replicas, tables
from holdfast.server.copy_links import JOBS, REPOSITORIES, RESOURCES, links_of, resource_of
from holdfast.server.hierarchy import publish_item
from holdfast.server.job_options import Gfs, decode_options
from holdfast.server.job_roles import EXCLUDED, FOUND, INCLUDED
from holdfast.server.job_specification import IMMEDIATE_COPY, REPLICA, is_copy
from holdfast.server.outbox import Resource, publish, withdraw
from holdfast.server.publish import row_of
from holdfast.server.publish_schedule import immediate_options, schedule_options


def publish_job(connection: Connection, uid: UUID) -> None:
    """Show a job, its objects and links; or, when it has been deleted, that they are gone."""
    job = row_of(connection, tables.job, uid)
    if is_copy(job.kind):
        _publish_copy_job(connection, job)
        return
    rows = connection.execute(
        select(tables.job_object)
        .where(tables.job_object.c.job_uid == uid)
        .order_by(tables.job_object.c.position)
    ).all()
    shown = [row for row in rows if not (row.removed or job.deleted)]
    objects = [row for row in shown if row.role == INCLUDED]
    for row in rows:
        # What was only found was never shown.
        if row not in objects and row.role != FOUND:
            withdraw(connection, "ObjectInJob", row.uid)
            publish_item(connection, row.reference)
    if job.deleted:
        withdraw(connection, "Job", uid)
        return
    info = _replica_info if job.kind == REPLICA else _backup_info
    values = _job_values(job) | {"JobInfo": info(job, objects)}
    if job.kind == REPLICA:
        values["Target"] = _target(connection, job)
    excluded = [_object_values(row) for row in shown if row.role == EXCLUDED]
    if excluded:
        values["Excludes"] = {"ObjectInJob": excluded}
    publish(connection, Resource("Job", uid, job.name, values))
    for row in objects:
        publish(
            connection,
            Resource("ObjectInJob", row.uid, row.name, _object_values(row), {"job": uid}),
        )
        publish_item(connection, row.reference)


def _publish_copy_job(connection: Connection, job: Row[Any]) -> None:
    links = links_of(connection, job.uid)
    if job.deleted:
        for link in links:
            withdraw(connection, resource_of(link), link.uid)
        withdraw(connection, "Job", job.uid)
        return
    values = _job_values(job) | {"JobInfo": _copy_info(job, links)}
    publish(connection, Resource("Job", job.uid, job.name, values))
    for link in links:
        shown = Resource(resource_of(link), link.uid, "", _link_values(link), {"job": job.uid})
        publish(connection, shown)


def _job_values(job: Row[Any]) -> dict[str, Any]:
    at_once = job.kind == IMMEDIATE_COPY
    values: dict[str, Any] = {
        "JobType": job.kind,
        "Description": job.description,
        "ScheduleConfigured": job.schedule is not None,
        "ScheduleEnabled": job.schedule_enabled,
        "JobScheduleOptions": (
            {"ImmediateCopyMode": immediate_options(job)}
            if at_once
            else {"Standart": schedule_options(job)}
        ),
        "RepositoryUid": job.repository_uid,
        "RetainedPoints": job.retention,
    }
    if job.retention_days is not None:
        values["RetainedDays"] = job.retention_days
    if job.options is not None:
        values["Options"] = job.options
    if job.next_run is not None:
        values["NextRun"] = job.next_run
    return values


def _includes(job: Row[Any], objects: Sequence[Row[Any]]) -> dict[str, Any]:
    return {
        "ObjectInJob": [
            {
                "Type": "ObjectInJob",
                "Href": f"/jobs/{job.uid}/includes/{row.uid}",
                **_object_values(row),
            }
            for row in objects
        ]
    }


def _replica_info(job: Row[Any], objects: Sequence[Row[Any]]) -> dict[str, Any]:
    return {"ReplicaJobInfo": {"Includes": _includes(job, objects)}}


def _target(connection: Connection, job: Row[Any]) -> str:
    """Return where a job makes its replicas, as JSON text like that of a `ReplicaTarget`."""
    target = replicas.target_of(connection, job.uid)
    told = {
        "host": target.host_uid,
        "folder": row_of(connection, tables.repository, job.repository_uid).path,
        "suffix": target.suffix,
        "networks": replicas.networks_of(target),
    }
    return msgspec.json.encode(told).decode()


def _backup_info(job: Row[Any], objects: Sequence[Row[Any]]) -> dict[str, Any]:
    return {
        "BackupJobInfo": {
            "Includes": _includes(job, objects),
            "SimpleRetentionPolicy": {
                "RetainCycles": job.retention,
                "RetainDaysToKeep": job.retention_days or 0,
                "RetainLimitType": "Cycles" if job.retention_days is None else "Days",
            },
            **_long_retention(decode_options(job.options).gfs),
        }
    }


def _long_retention(gfs: Gfs | None) -> dict[str, Any]:
    """Return what is kept for weeks, months and years, as the API shows it; nothing for nothing."""
    if gfs is None:
        return {}
    weekly, monthly, yearly = gfs.weekly, gfs.monthly, gfs.yearly
    return {
        "GfsRetentionPolicy": {
            "Enabled": True,
            "Weekly": {
                "Enabled": weekly is not None,
                "RetentionPeriod": weekly.keep if weekly else 0,
                "SelectedDay": weekly.day if weekly else "Sunday",
            },
            "Monthly": {
                "Enabled": monthly is not None,
                "RetentionPeriod": monthly.keep if monthly else 0,
                "SelectedWeek": monthly.week if monthly else "First",
            },
            "Yearly": {
                "Enabled": yearly is not None,
                "RetentionPeriod": yearly.keep if yearly else 0,
                "SelectedMonth": yearly.month if yearly else "January",
            },
        }
    }


def _copy_info(job: Row[Any], links: Sequence[Row[Any]]) -> dict[str, Any]:
    linked = {
        resource: [_link_values(link) for link in links if resource_of(link) == resource]
        for resource in RESOURCES.values()
    }
    info: dict[str, Any] = {
        "LinkedJobIncludes": {"LinkedJobObject": linked[RESOURCES[JOBS]]},
        "LinkedBackupIncludes": {"LinkedBackup": []},
    }
    if job.kind != IMMEDIATE_COPY:
        return {"BackupCopyJobInfo": info}
    repositories = {"LinkedBackupRepository": linked[RESOURCES[REPOSITORIES]]}
    return {"ImmediateBackupCopyJobInfo": info | {"LinkedBackupRepositoryIncludes": repositories}}


def _link_values(link: Row[Any]) -> dict[str, Any]:
    if link.linked_job_uid is not None:
        return {"ObjectInJobId": link.uid, "LinkedJobUid": link.linked_job_uid}
    return {"ObjectInJobId": link.uid, "LinkedBackupRepositoryUid": link.linked_repository_uid}


def _object_values(row: Row[Any]) -> dict[str, Any]:
    return {
        "ObjectInJobId": row.uid,
        "HierarchyObjRef": row.reference,
        "Name": row.name,
        "DisplayName": row.name,
        "Order": row.position,
    }
