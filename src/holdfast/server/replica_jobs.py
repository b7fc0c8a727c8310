"""Jobs of kind Replica, made: the folder of their replicas is looked at before the job is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, select

from holdfast.server import jobs, tables
from holdfast.server.host_records import host_in_use
from holdfast.server.job_lookup import is_free
from holdfast.server.job_specification import JobSpecification, ReplicaTarget, plain_path
from holdfast.server.messages import Command, Made
from holdfast.server.operations import OPERATIONS, Done, Operation, Preparation, read_arguments
from holdfast.server.refusal import RefusedError
from holdfast.server.repositories import Repositories
from holdfast.server.store import Store


class ReplicaJobs:
    """Makes the folder of a target a repository: its marker tells a mounted disk from none."""

    def __init__(self, store: Store, repositories: Repositories) -> None:
        self._store = store
        self._repositories = repositories

    @property
    def preparations(self) -> Mapping[str, Preparation]:
        """The commands for which a folder is looked at first, by name."""
        return {"create-job": self._create}

    async def _create(self, command: Command) -> Operation:
        specification = read_arguments(command, JobSpecification)
        target = specification.target
        if target is None:
            return OPERATIONS["create-job"]
        await self._store.read(lambda c: _refuse_impossible(c, specification, target))
        folder = str(plain_path(target.folder))
        place = await self._store.read(lambda c: _known_place(c, folder))
        if place is None:
            try:
                place = await self._repositories.add(f"Replicas in {folder}", Path(folder))
            except RefusedError as error:
                raise RefusedError(f"target.folder: {error}") from error

        def create(connection: Connection, _command: Command, now: datetime) -> Done:
            uid = jobs.create_job(connection, specification, now, place=place)
            return Done(made=Made(type="Job", uid=uid, name=specification.name.strip()))

        return create


def _refuse_impossible(
    connection: Connection, specification: JobSpecification, target: ReplicaTarget
) -> None:
    """Refuse what would be refused anyway, before a folder is made for it."""
    host_in_use(connection, target.host)
    if not is_free(connection, specification.name.strip()):
        raise RefusedError(f'There is a job named "{specification.name.strip()}" already.')


def _known_place(connection: Connection, folder: str) -> UUID | None:
    table = tables.repository
    found: UUID | None = connection.scalar(select(table.c.uid).where(table.c.path == folder))
    return found
