"""Failback to another place than the source: what is wanted, looked at, made, given up, taken.

A new machine is made there, which becomes the source's stand-in with the commit: jobs go on with
it under the reference that the source had.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select, update

from holdfast.engine.errors import ToolFailed
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_failback import ensure_stands_in
from holdfast.engine.libvirt_new_place import (
    bring_layers,
    copy_point,
    give_files_up,
    give_place_up,
    identity_for,
    take_place,
    whole_files,
)
from holdfast.engine.libvirt_overlay import FailoverPlan
from holdfast.engine.progress import Phases, ProgressCallback, fraction_of
from holdfast.engine.repository import folder_name
from holdfast.server import hosted_objects, stand_ins, tables
from holdfast.server.failover_record import Place, record_of
from holdfast.server.failover_specification import FailoverOptions
from holdfast.server.host_records import host_in_use, is_known, rename_in_jobs
from holdfast.server.hosted_points import known_point
from holdfast.server.hosted_restore_plan import folder_for
from holdfast.server.job_roles import FOUND, INCLUDED
from holdfast.server.libvirt_references import machine_reference
from holdfast.server.publish_job import publish_job
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import plain_name


def checked(connection: Connection, row: Row[Any], options: FailoverOptions) -> FailoverOptions:
    """Given what is wanted of a failback, return it with the folder; refuse what cannot be."""
    record = record_of(row)
    if record is None or record.point is None:
        return options
    if options.host is not None:
        host_in_use(connection, options.host)
    elif not is_known(connection, row.source_host_uid):
        raise RefusedError(
            f'host: the one of the source "{row.name}" is not among the hosts any more. Fail back '
            "to another place: say on which host."
        )
    if not options.elsewhere:
        return options
    known = known_point(connection, record.point)
    return msgspec.structs.replace(
        options,
        folder=folder_for(connection, known, None, options.folder),
        name=plain_name(options.name or row.name),
    )


def refuse_taken(connection: Connection, replica: UUID, place: Place) -> None:
    """Refuse a place that another failback writes to now."""
    table = tables.replica
    query = select(table).where(table.c.failover.is_not(None), table.c.uid != replica)
    for row in connection.execute(query):
        record = record_of(row)
        taken = None if record is None else record.place
        if taken is not None and _files_at(taken) == _files_at(place):
            raise RefusedError(
                f'folder: the failback of "{row.machine_name}" makes the machine "{place.name}" '
                f"in {place.folder} already."
            )


def _files_at(place: Place) -> tuple[str, str]:
    """Return what the files at a place are named by, however that is written."""
    return os.path.realpath(place.folder), folder_name(place.name)


def replace_source(connection: Connection, row: Row[Any], place: Place) -> None:
    """Let the new machine take the source's place, for the replica's job and for all others."""
    reference = machine_reference(place.host, place.uuid)
    stand_ins.record(connection, row.reference, reference)
    table = tables.replica
    values = {"source_host_uid": place.host, "source_uuid": place.uuid, "name": place.name}
    connection.execute(update(table).where(table.c.uid == row.uid).values(values))
    # Its host or tag, by which the job may have found it, need not be those of the new one.
    job = connection.scalar(
        select(tables.backup.c.job_uid).where(tables.backup.c.uid == row.backup_uid)
    )
    item = tables.job_object
    found = (item.c.job_uid == job) & (item.c.reference == row.reference) & (item.c.role == FOUND)
    connection.execute(update(item).where(found, ~item.c.removed).values(role=INCLUDED))
    rename_in_jobs(connection, [reference])
    if job is not None:
        publish_job(connection, job)


def jobs_with_source(connection: Connection, row: Row[Any]) -> dict[UUID, str]:
    """Given the row of a replica, return the names of the jobs that have its source, by UID."""
    source = machine_reference(row.source_host_uid, row.source_uuid)
    return hosted_objects.jobs_with(connection, source)


def left_behind(
    connection: Connection,
    jobs: Mapping[UUID, str],
    source: str,
    place: Place,
    away: str | None = None,
) -> str:
    """Tell which of the jobs that had the source do not have the machine that took its place.

    `away` is why the machine's host could not be asked, if so: what jobs have is not known then,
    and neither is it when the host did not show the machine.
    """
    if not jobs:
        return ""
    reference, table = machine_reference(place.host, place.uuid), tables.host_machine
    seen = connection.scalar(select(table.c.name).where(table.c.reference == reference))
    if away is not None or seen is None:
        reason = "" if away is None else f" {away}"
        return (
            f'Whether these jobs, which had "{source}", have "{place.name}" in its place is not '
            f"known, since its host does not show it now: {_quoted(jobs.values())}.{reason}"
        )
    following = hosted_objects.jobs_with(connection, reference)
    names = [name for uid, name in jobs.items() if uid not in following]
    if not names:
        return ""
    return (
        f'These jobs had "{source}" and do not have "{place.name}" in its place: '
        f"{_quoted(names)}. To have it protected by them, add it to them."
    )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


class Elsewhere:
    """The failbacks to another place. `transfers` is a folder for the keys of transfers."""

    def __init__(self, transfers: Path) -> None:
        self._transfers = transfers

    async def find(
        self,
        target: LibvirtConnection,
        there: LibvirtConnection,
        plan: FailoverPlan,
        host: UUID,
        options: FailoverOptions,
    ) -> Place:
        """Return the place on a host; raise why it is none, or why the replica has nothing."""
        await ensure_stands_in(target, plan)
        folder = Path(options.folder)
        found = await identity_for(there, plan, folder, options.name, options.networks)
        return Place(
            host=host,
            folder=str(found.folder),
            name=found.name,
            uuid=found.uuid,
            networks=found.networks,
        )

    async def copy(
        self, plan: FailoverPlan, place: Place, on_progress: ProgressCallback, *, running: bool
    ) -> int:
        """Copy the point to the place and, of one that runs, most of what it wrote since.

        Return the bytes that were sent.
        """
        phases = Phases(on_progress, [80, 20])
        keys = self._transfers
        first, last = (fraction_of(phases.phase(number)) for number in (0, 1))
        sent = await copy_point(plan, place.known, keys, first)
        if running:
            # While it still writes. What this misses, or reads wrongly, `finish` finds.
            with contextlib.suppress(ToolFailed):
                await bring_layers(plan, place.known, keys, last, running=True)
        return sent

    async def finish(
        self, plan: FailoverPlan, place: Place, on_progress: ProgressCallback
    ) -> tuple[Place, str]:
        """Bring what is left of a replica that is off; return the place with its files, and what
        was done with each disk, in words."""
        keys = self._transfers
        moved = await bring_layers(plan, place.known, keys, on_progress, running=False)
        files = await whole_files(plan, place.known)
        words = [f"{target}: {each.written} bytes written last." for target, each in moved.items()]
        return msgspec.structs.replace(place, files=files), " ".join(words)

    async def begin(self, there: LibvirtConnection, plan: FailoverPlan, place: Place) -> None:
        """Name the files and define the machine, unless that is done. It is not started."""
        await take_place(there, plan, place.known, place.files)

    async def give_up(
        self, there: LibvirtConnection | None, plan: FailoverPlan, place: Place
    ) -> None:
        """Take away what was made; `there` is None when no machine can have been defined."""
        if there is None:
            await give_files_up(plan, place.known, place.files)
        else:
            await give_place_up(there, plan, place.known, place.files)
