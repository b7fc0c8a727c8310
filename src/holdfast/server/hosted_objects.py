"""Machines of hosts in jobs: which ones a reference, a host or a tag means. Each in a transaction.

A job knows a machine by the reference it first had, and its chain goes by that. A machine that has
moved, which is gone from its host and has come up on another with the same UUID, stays the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, insert, select, update

from holdfast.server import stand_ins, tables
from holdfast.server.host_records import UNAVAILABLE, host_in_use, source_path, tags_of
from holdfast.server.job_roles import EXCLUDED, FOUND, INCLUDED
from holdfast.server.job_specification import COPY_KINDS
from holdfast.server.libvirt_references import (
    HOST,
    TAG,
    host_reference,
    read_reference,
    tag_reference,
)
from holdfast.server.refusal import RefusedError

MACHINE = "machine"
#: The kinds of objects that are of a host: a machine, all of its machines, those with a tag.
HOSTED = (MACHINE, "host", "tag")


@dataclass(frozen=True)
class Hosted:
    """What a reference names: a machine, a host or a tag (`kind`)."""

    kind: str
    name: str
    path: str
    reference: str


def find(connection: Connection, reference: str) -> Hosted | None:
    """Given a reference, return what it names; None when it is of another platform.

    Refuse a host that is not known, and a machine that is on none.
    """
    read = read_reference(reference)
    if read is None:
        return None
    if read.type == HOST:
        host = host_in_use(connection, read.root)
        return Hosted("host", host.name, "", host_reference(host.uid))
    if read.type == TAG:
        host = host_in_use(connection, read.root)
        return Hosted("tag", read.item, "", tag_reference(host.uid, read.item))
    machine = locate(connection, reference)
    if machine is None:
        raise RefusedError(
            f'No host has the machine "{reference}". A rescan of its host may find it.'
        )
    path = source_path(machine.host_name, machine.name)
    return Hosted(MACHINE, machine.name, path, machine.reference)


def host_of(connection: Connection, uid: UUID) -> Hosted | None:
    """Given the UID of a host, return it as something that can be in a job; None if unknown."""
    table = tables.host
    row = connection.execute(select(table).where(table.c.uid == uid)).first()
    return None if row is None else Hosted("host", row.name, "", host_reference(row.uid))


def locate(connection: Connection, reference: str) -> Row[Any] | None:
    """Given a machine's reference, return its row where it is now, with the ``host_name``.

    The host that the reference names comes first, then the one that saw it last; where another
    machine has taken its place, it is that one. None when the machine is nowhere.
    """
    read = read_reference(stand_ins.current(connection, reference))
    if read is None:
        return None
    table, host = tables.host_machine, tables.host
    rows = connection.execute(
        select(table, host.c.name.label("host_name"))
        .join(host, host.c.uid == table.c.host_uid)
        .where(table.c.uuid == read.item, table.c.present)
        .order_by(table.c.seen.desc())
    ).all()
    return next((row for row in rows if row.host_uid == read.root), next(iter(rows), None))


def jobs_with(connection: Connection, machine: str) -> dict[UUID, str]:
    """Given a machine's own reference, return the names of the jobs that have it, by their UIDs.

    As it was seen last, present or not. Copy jobs have no machines of their own.
    """
    table, job = tables.host_machine, tables.job
    row = connection.execute(select(table).where(table.c.reference == machine)).first()
    if row is None:
        return {}
    replaced, present = stand_ins.all_of(connection), list(_present(connection))
    query = select(job.c.uid, job.c.name).where(~job.c.deleted, job.c.kind.not_in(COPY_KINDS))
    return {
        each.uid: each.name
        for each in connection.execute(query.order_by(job.c.name)).all()
        if _is_among(row, _rows(connection, each.uid, INCLUDED), present, replaced)
        and not _is_among(row, _rows(connection, each.uid, EXCLUDED), present, replaced)
    }


def hosts_of(connection: Connection, job: UUID) -> set[UUID]:
    """Return the hosts to be asked before it is known which machines a job means."""
    found = set()
    for row in _rows(connection, job, INCLUDED, EXCLUDED):
        read = read_reference(stand_ins.current(connection, row.reference))
        if read is None:
            continue
        found.add(read.root)
        if row.kind == MACHINE and (machine := locate(connection, row.reference)) is not None:
            found.add(machine.host_uid)
    return found & set(connection.scalars(select(tables.host.c.uid)))


def all_away(connection: Connection, job: Row[Any], objects: Collection[Row[Any]]) -> bool:
    """Say whether no host can be reached that has any of some objects of a job.

    Without objects it is about all hosts of the job. For replicas their host is needed, too.
    """
    host, target = tables.host, tables.replica_target
    away = set(connection.scalars(select(host.c.uid).where(host.c.state == UNAVAILABLE)))
    replicas_on = connection.scalar(select(target.c.host_uid).where(target.c.job_uid == job.uid))
    if replicas_on in away:
        return True
    wanted = set[UUID | None](() if objects else hosts_of(connection, job.uid))
    for row in objects:
        where = locate(connection, row.reference) if row.kind == MACHINE else None
        wanted.add(None if where is None else where.host_uid)
    return bool(wanted) and wanted <= away


def hosted_in(connection: Connection, job: UUID) -> bool:
    """Say whether a job includes a machine of a host, a host or a tag."""
    return any(row.kind in HOSTED for row in _rows(connection, job, INCLUDED))


def expand(connection: Connection, job: UUID) -> list[Row[Any]]:
    """Return the objects for the machines that a job means now, in its order.

    Those that come with a host or a tag are written down as found. What the job excludes is left
    out, also where it is included by itself.
    """
    replaced = stand_ins.all_of(connection)
    rows = _rows(connection, job, INCLUDED, EXCLUDED, FOUND, removed=True)
    # One that another machine has taken the place of is what is left of it.
    present = [row for row in _present(connection) if row.reference not in replaced]
    out = [row for row in rows if row.role == EXCLUDED and not row.removed]
    known = [row for row in rows if row.kind == MACHINE]
    # First those whose place a machine has taken: it may be known by itself, too.
    known.sort(key=lambda row: row.reference not in replaced)
    wanted: dict[str, Row[Any]] = {}
    for included in rows:
        if included.role != INCLUDED or included.removed or included.kind not in HOSTED:
            continue
        if included.kind == MACHINE:
            machine = locate(connection, included.reference)
            if machine is None or not _is_among(machine, out, present, replaced):
                wanted.setdefault(included.reference, included)
            continue
        for machine in present:
            if _is_of(machine, included) and not _is_among(machine, out, present, replaced):
                same = _known_as(machine, known, present, replaced)
                reference = machine.reference if same is None else same.reference
                if reference not in wanted:
                    wanted[reference] = _found(connection, job, included, machine, same)
    return list(wanted.values())


def _rows(connection: Connection, job: UUID, *roles: str, removed: bool = False) -> list[Row[Any]]:
    table = tables.job_object
    query = select(table).where(table.c.job_uid == job, table.c.role.in_(roles))
    if not removed:
        query = query.where(~table.c.removed)
    return list(connection.execute(query.order_by(table.c.position, table.c.name)))


def _present(connection: Connection) -> Iterator[Row[Any]]:
    """Return all machines that are on a host, with its ``host_name``, by name."""
    table, host = tables.host_machine, tables.host
    rows = connection.execute(
        select(table, host.c.name.label("host_name"))
        .join(host, host.c.uid == table.c.host_uid)
        .where(table.c.present)
    ).all()
    return iter(sorted(rows, key=lambda row: (row.name.casefold(), row.reference)))


def _is_of(machine: Row[Any], container: Row[Any]) -> bool:
    """Say whether a machine belongs to a host or a tag that a job names."""
    read = read_reference(container.reference)
    if read is None or read.root != machine.host_uid:
        return False
    tags = {tag.casefold() for tag in tags_of(machine)}
    return container.kind == "host" or read.item.casefold() in tags


def _is_among(
    machine: Row[Any],
    objects: Iterable[Row[Any]],
    present: Iterable[Row[Any]],
    replaced: Mapping[str, str],
) -> bool:
    machines = [row for row in objects if row.kind == MACHINE]
    containers = (row for row in objects if row.kind != MACHINE)
    return _known_as(machine, machines, present, replaced) is not None or any(
        _is_of(machine, row) for row in containers
    )


def _known_as(
    machine: Row[Any],
    known: Iterable[Row[Any]],
    present: Iterable[Row[Any]],
    replaced: Mapping[str, str],
) -> Row[Any] | None:
    """Return the object that a job has for a machine, under the reference it had before it moved.

    `replaced` are the references whose place another machine has taken, with that of each. Two
    machines with one UUID, each on a host of its own at the same time, are two machines.
    """
    same = None
    for row in known:
        reference = replaced.get(row.reference, row.reference)
        read = read_reference(reference)
        if read is None or read.item != machine.uuid:
            continue
        if read.root == machine.host_uid:
            return row
        if not any(each.reference == reference for each in present):
            same = row
    return same


def _found(
    connection: Connection,
    job: UUID,
    included: Row[Any],
    machine: Row[Any],
    same: Row[Any] | None,
) -> Row[Any]:
    """Write down that a job means a machine, because of a host or a tag it includes."""
    table = tables.job_object
    shown = {"name": machine.name, "path": source_path(machine.host_name, machine.name)}
    if same is None:
        uid = uuid4()
        values = {"uid": uid, "job_uid": job, "kind": MACHINE, "reference": machine.reference}
        values |= shown | {"position": included.position, "role": FOUND}
        connection.execute(insert(table).values(values))
    else:
        uid = same.uid
        if same.role != INCLUDED or same.removed:
            # One that is included by itself keeps its own place.
            shown |= {"position": included.position, "role": FOUND, "removed": False}
        connection.execute(update(table).where(table.c.uid == uid).values(shown))
    return connection.execute(select(table).where(table.c.uid == uid)).one()
