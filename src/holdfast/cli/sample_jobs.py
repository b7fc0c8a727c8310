"""The two jobs of a new installation: they back up the samples, so that people see something."""

from __future__ import annotations

from datetime import time
from uuid import UUID, uuid5

import msgspec

from holdfast.cli.errors import Failure
from holdfast.cli.local_zone import local_zone
from holdfast.cli.samples import Samples
from holdfast.server.backup_server import BackupServer
from holdfast.server.job_specification import JobSpecification, Source
from holdfast.server.messages import Command, Outcome
from holdfast.server.schedule import Daily

RETENTION = 14
RUNS_AT = time(22, 0)

# Commands are carried out once per request id, so these jobs are made and run once in the life of
# a backup server: not again after a crash in between, and not again when a person deletes them.
_REQUESTS = UUID("6ff9d0a5-5c0a-4d0e-9a5f-6a3f9f0b7c52")


async def ensure(server: BackupServer, repository: UUID, samples: Samples) -> None:
    """Make the sample jobs and start them, unless that has been done.

    Raise Failure when the backup server refuses.
    """
    for specification in _specifications(repository, samples):
        made = (await _once(server, "create-job", specification)).made
        if made is None:
            raise Failure(f"the backup server made no job {specification.name!r}")
        await _once(server, "start-job", specification, made.uid)


def _specifications(repository: UUID, samples: Samples) -> tuple[JobSpecification, ...]:
    schedule = Daily(time=RUNS_AT, zone=local_zone())
    disk = Source(path=str(samples.disk), name="sample-disk", format="qcow2")
    return (
        JobSpecification(
            name="Sample Disk Backup",
            description="Backs up a disk image that holds files of this machine.",
            sources=(disk,),
            repository=repository,
            kind="Backup",
            retention=RETENTION,
            schedule=schedule,
        ),
        JobSpecification(
            name="Sample Files Backup",
            description="Backs up a directory with files of this machine.",
            sources=(Source(path=str(samples.files), name="sample-files"),),
            repository=repository,
            kind="NasBackup",
            retention=RETENTION,
            schedule=schedule,
        ),
    )


async def _once(
    server: BackupServer,
    operation: str,
    specification: JobSpecification,
    target: UUID | None = None,
) -> Outcome:
    creates = operation == "create-job"
    outcome = await server.execute(
        Command(
            request_id=uuid5(_REQUESTS, f"{operation} {specification.name}"),
            operation=operation,
            target=target,
            arguments=msgspec.to_builtins(specification) if creates else {},
            asked_by="Holdfast",
        )
    )
    if not outcome.success:
        raise Failure(f"{specification.name}: {outcome.message}")
    return outcome
