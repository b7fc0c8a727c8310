"""The statements behind the reports. Portable SQL: named parameters, nothing of one engine alone.

A *machine* is known by its backup server and its name in lower case, whatever way it is protected.
The parameters are those of `parameters`; a statement uses some of them.
"""

from __future__ import annotations

from typing import Any

from holdfast.schema.resource import Schema
from holdfast.schema.types import Enumeration

# How many there are of what stands still; jobs that run now; the latest result of each machine.
#
# A job runs while one of its sessions has no result yet. The latest result of a machine is that of
# its last finished task session, of whatever kind, among those that began since `since`.
OVERVIEW = """
WITH running AS (
    SELECT COALESCE(job_uid, uid) AS job FROM backup_job_session WHERE result = :undecided
    UNION
    SELECT COALESCE(job_uid, uid) AS job FROM replica_job_session WHERE result = :undecided
), processed AS (
    SELECT server_uid, vm_display_name_key, creation_time_utc, uid, result
    FROM backup_task_session
    WHERE creation_time_utc >= :since AND result <> :undecided
    UNION ALL
    SELECT server_uid, vm_display_name_key, creation_time_utc, uid, result
    FROM replica_task_session
    WHERE creation_time_utc >= :since AND result <> :undecided
), placed AS (
    SELECT result, ROW_NUMBER() OVER (
        PARTITION BY server_uid, vm_display_name_key ORDER BY creation_time_utc DESC, uid
    ) AS place
    FROM processed
), latest AS (
    SELECT COUNT(CASE WHEN result = :success THEN 1 END) AS successful,
           COUNT(CASE WHEN result = :warning THEN 1 END) AS warning,
           COUNT(CASE WHEN result = :failed THEN 1 END) AS failed
    FROM placed
    WHERE place = 1
)
SELECT (SELECT COUNT(*) FROM backup_server) AS backup_servers,
       (SELECT COUNT(*) FROM repository) AS repositories,
       (SELECT COUNT(*) FROM running) AS running_jobs,
       (SELECT COUNT(*) FROM job
        WHERE schedule_configured = 1 AND schedule_enabled = 1) AS scheduled_jobs,
       latest.successful, latest.warning, latest.failed
FROM latest
"""

# The points there are to restore a machine from: those of backups, and those of replicas too.
_BACKUP_POINTS = """
WITH point AS (
    SELECT server_uid, vm_display_name_key AS machine, 1 AS backed_up, 0 AS replicated
    FROM vm_restore_point
"""
_REPLICA_POINTS = """
    UNION ALL
    SELECT server_uid, vm_display_name_key AS machine, 0 AS backed_up, 1 AS replicated
    FROM vm_replica_point
"""

# How many machines have points, how many points there are, and the size of those machines.
#
# The size of a machine is the one its last successful task session saw.
_PROTECTED_MACHINES = """
), protected AS (
    SELECT server_uid, machine, COUNT(*) AS points,
           MAX(backed_up) AS backed_up, MAX(replicated) AS replicated
    FROM point
    GROUP BY server_uid, machine
), sized AS (
    SELECT points, backed_up, replicated, COALESCE(
        (SELECT session.total_size FROM backup_task_session AS session
         WHERE session.vm_display_name_key = protected.machine
           AND session.server_uid = protected.server_uid
           AND session.result IN (:success, :warning)
         ORDER BY session.creation_time_utc DESC LIMIT 1),
        (SELECT session.total_size FROM replica_task_session AS session
         WHERE session.vm_display_name_key = protected.machine
           AND session.server_uid = protected.server_uid
           AND session.result IN (:success, :warning)
         ORDER BY session.creation_time_utc DESC LIMIT 1),
        0
    ) AS size
    FROM protected
)
SELECT COUNT(*) AS machines,
       COALESCE(SUM(backed_up), 0) AS backed_up,
       COALESCE(SUM(replicated), 0) AS replicated,
       COALESCE(SUM(points), 0) AS points,
       COALESCE(SUM(size), 0) AS source_size
FROM sized
"""

# What backup files take up, by whether they are full; backups of machines since `since`.
FILES_AND_RESULTS = """
WITH files AS (
    SELECT COALESCE(SUM(CASE WHEN file_type = :full THEN backup_size END), 0) AS full_size,
           COALESCE(SUM(CASE WHEN file_type <> :full THEN backup_size END), 0) AS increment_size
    FROM backup_file
), finished AS (
    SELECT COUNT(*) AS all_of_them,
           COUNT(CASE WHEN result IN (:success, :warning) THEN 1 END) AS successful
    FROM backup_task_session
    WHERE creation_time_utc >= :since AND result <> :undecided
)
SELECT files.full_size, files.increment_size, finished.all_of_them, finished.successful
FROM files CROSS JOIN finished
"""

# The sessions of jobs that began since `since` and have a result.
_RUNS = """
WITH run AS (
    SELECT 0 AS replica, uid, job_name, result, creation_time_utc AS began, end_time_utc AS ended
    FROM backup_job_session
    WHERE creation_time_utc >= :since AND result <> :undecided
    UNION ALL
    SELECT 1 AS replica, uid, job_name, result, creation_time_utc AS began, end_time_utc AS ended
    FROM replica_job_session
    WHERE creation_time_utc >= :since AND result <> :undecided
)
"""

# Jobs that run now, jobs that a schedule starts, finished runs by their result.
JOB_RUNS = f"""
{_RUNS}
, running AS (
    SELECT COALESCE(job_uid, uid) AS job FROM backup_job_session WHERE result = :undecided
    UNION
    SELECT COALESCE(job_uid, uid) AS job FROM replica_job_session WHERE result = :undecided
), scheduled AS (
    SELECT COUNT(*) AS jobs, COUNT(CASE WHEN job_type = :replica THEN 1 END) AS replicas
    FROM job
    WHERE schedule_configured = 1 AND schedule_enabled = 1
), outcome AS (
    SELECT COUNT(CASE WHEN result = :success THEN 1 END) AS successful,
           COUNT(CASE WHEN result = :warning THEN 1 END) AS warnings,
           COUNT(CASE WHEN result = :failed THEN 1 END) AS failed
    FROM run
)
SELECT (SELECT COUNT(*) FROM running) AS running_jobs,
       scheduled.jobs AS scheduled_jobs, scheduled.replicas AS scheduled_replica_jobs,
       outcome.successful, outcome.warnings, outcome.failed
FROM scheduled CROSS JOIN outcome
"""

# The longest finished run of backup jobs and of replication jobs; the later of equally long ones.
LONGEST_RUNS = f"""
{_RUNS}
, placed AS (
    SELECT replica, job_name, ended - began AS milliseconds, ROW_NUMBER() OVER (
        PARTITION BY replica ORDER BY ended - began DESC, began DESC, uid
    ) AS place
    FROM run
    WHERE ended >= began
)
SELECT replica, COALESCE(job_name, '') AS job_name, milliseconds FROM placed WHERE place = 1
"""

# How many machines were backed up or replicated on each day since `since`, counted from 0.
PROCESSED_MACHINES = """
WITH processed AS (
    SELECT 0 AS replica, server_uid, vm_display_name_key,
           (creation_time_utc - :since) / 86400000 AS day
    FROM backup_task_session
    WHERE creation_time_utc >= :since AND result IN (:success, :warning)
    UNION
    SELECT 1 AS replica, server_uid, vm_display_name_key,
           (creation_time_utc - :since) / 86400000 AS day
    FROM replica_task_session
    WHERE creation_time_utc >= :since AND result IN (:success, :warning)
)
SELECT day, replica, COUNT(*) AS machines FROM processed GROUP BY day, replica
"""

# The repositories with what their backup files take up together, by name.
REPOSITORIES = """
WITH filled AS (
    SELECT backup.repository_uid, SUM(backup_file.backup_size) AS size
    FROM backup_file JOIN backup ON backup.uid = backup_file.backup_uid
    GROUP BY backup.repository_uid
)
SELECT COALESCE(repository.name, '') AS name,
       COALESCE(repository.capacity, -1) AS capacity,
       COALESCE(repository.free_space, -1) AS free_space,
       COALESCE(filled.size, 0) AS files_size
FROM repository LEFT JOIN filled ON filled.repository_uid = repository.uid
ORDER BY repository.name_key, repository.uid
"""


def protected_machines(schema: Schema) -> str:
    """Given a schema, return the statement about points, over the kinds of points it has."""
    replicas = _REPLICA_POINTS if "VmReplicaPoint" in schema else ""
    return _BACKUP_POINTS + replicas + _PROTECTED_MACHINES


def parameters(schema: Schema, since: int) -> dict[str, Any]:
    """Given the beginning of the period in milliseconds, return what the statements ask for."""
    result = _values(schema, "BackupJobSession", "Result")
    return {
        "since": since,
        "undecided": Enumeration.UNDECIDED_INDEX,
        "success": result.index("Success"),
        "warning": result.index("Warning"),
        "failed": result.index("Failed"),
        "replica": _values(schema, "Job", "JobType").index("Replica"),
        "full": _values(schema, "BackupFile", "FileType").index("vbk"),
    }


def _values(schema: Schema, resource: str, element: str) -> Enumeration:
    declared = schema[resource].value(element).type
    if not isinstance(declared, Enumeration):
        raise TypeError(f"{resource}.{element} is not an enumeration")
    return declared
