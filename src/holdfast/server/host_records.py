"""What is known of hosts and their machines: written down, shown. Each runs in a transaction.

A host that is away keeps all its rows. A machine that is gone from its host keeps its row, so that
its name is known, and is shown only while a job has it or a point of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from holdfast.engine.libvirt_uri import daemon_of
from holdfast.server import stand_ins, tables
from holdfast.server.hierarchy import publish_item
from holdfast.server.host_machines import show_each_once
from holdfast.server.job_roles import FOUND
from holdfast.server.job_specification import COPY_KINDS
from holdfast.server.libvirt_references import (
    host_reference,
    machine_reference,
    read_reference,
    tag_reference,
)
from holdfast.server.outbox import Resource, publish, withdraw
from holdfast.server.platform import HostFacts, HostMachine
from holdfast.server.publish_job import publish_job
from holdfast.server.refusal import RefusedError

AVAILABLE = "Available"
UNAVAILABLE = "Unavailable"


def host_in_use(connection: Connection, uid: UUID | None) -> Row[Any]:
    """Return the row of a host; refuse an unknown one."""
    table = tables.host
    row = connection.execute(select(table).where(table.c.uid == uid)).first()
    if row is None:
        raise RefusedError(f"Cannot find host [{uid}].")
    return row


def is_known(connection: Connection, uid: UUID) -> bool:
    """Say whether a host is among those that are known."""
    table = tables.host
    return connection.scalar(select(table.c.uid).where(table.c.uid == uid)) is not None


def insert_host(connection: Connection, values: dict[str, Any]) -> None:
    """Write a new host down; refuse a name or a URI that another has."""
    refuse_duplicates(connection, None, values)
    connection.execute(insert(tables.host).values(state=AVAILABLE, reason="", **values))


def refuse_duplicates(connection: Connection, uid: UUID | None, values: dict[str, Any]) -> None:
    """Refuse what makes a host look like another: its name, the daemon that its URI leads to."""
    table = tables.host
    others = connection.execute(select(table).where(table.c.uid != uid) if uid else select(table))
    for row in others:
        if "name" in values and row.name.casefold() == values["name"].casefold():
            raise RefusedError(f'name: there is a host named "{row.name}" already.')
        if "uri" in values and daemon_of(row.uri) == daemon_of(values["uri"]):
            raise RefusedError(f'uri: host "{row.name}" is reached by {row.uri} already.')


def record_scan(
    connection: Connection,
    uid: UUID,
    facts: HostFacts | None,
    machines: Sequence[HostMachine],
    now: int,
) -> None:
    """Write down what a host has now; `facts` of None are those of before. Unknown: nothing."""
    table = tables.host
    values: dict[str, Any] = {"state": AVAILABLE, "reason": "", "scanned": now}
    if facts is not None:
        values["facts"] = msgspec.json.encode(facts).decode()
    if not connection.execute(update(table).where(table.c.uid == uid).values(values)).rowcount:
        return  # removed while it was looked at
    tags = _tags_of(connection, uid)
    known = {row.uuid: row for row in _machines_of(connection, uid)}
    changed = []
    for machine in machines:
        reference = machine_reference(uid, machine.uuid)
        shown = {
            "name": machine.name,
            "tags": msgspec.json.encode(sorted(set(machine.tags))).decode(),
        }
        noted = {
            "defined": True,
            "active": machine.active,
            "disks": msgspec.json.encode(sorted(machine.disks)).decode(),
        }
        before = known.pop(machine.uuid.lower(), None)
        if before is None:
            fixed = {"host_uid": uid, "uuid": machine.uuid.lower(), "reference": reference}
            fixed |= {"present": False, "seen": now}
            connection.execute(insert(tables.host_machine).values(**fixed, **shown, **noted))
        else:
            _change(connection, before, shown | noted)
        if before is None or any(getattr(before, name) != value for name, value in shown.items()):
            changed.append(reference)
    for gone in known.values():
        if gone.defined:
            _change(connection, gone, {"defined": False, "active": False})
    _note_seen(connection, uid, now)
    uuids = {machine.uuid.lower() for machine in machines} | known.keys()
    moved = show_each_once(connection, uuids)
    changed += [
        row.reference for row in moved if row.host_uid == uid and row.reference not in changed
    ]
    publish_host(connection, uid)
    rename_in_jobs(connection, changed)
    for reference in changed:
        publish_item(connection, reference)
    for tag in tags | _tags_of(connection, uid):
        publish_item(connection, tag_reference(uid, tag))
    _publish_moved(connection, [row for row in moved if row.host_uid != uid])


def _publish_moved(connection: Connection, machines: Iterable[Row[Any]]) -> None:
    """Show machines and their tags where they are now, and no more where they were."""
    for row in machines:
        publish_item(connection, row.reference)
        for tag in tags_of(row):
            publish_item(connection, tag_reference(row.host_uid, tag))


def record_away(connection: Connection, uid: UUID, reason: str) -> None:
    """Write down that a host cannot be asked, and why."""
    table = tables.host
    values = {"state": UNAVAILABLE, "reason": reason}
    if connection.execute(update(table).where(table.c.uid == uid).values(values)).rowcount:
        publish_host(connection, uid)
        _publish_moved(
            connection,
            show_each_once(connection, [row.uuid for row in _machines_of(connection, uid)]),
        )


def rename_host(connection: Connection, uid: UUID) -> None:
    """Show a host whose name may have changed, where it stands in jobs, too."""
    publish_host(connection, uid)
    machines = [row.reference for row in _machines_of(connection, uid)]
    rename_in_jobs(connection, [host_reference(uid), *machines])


def publish_host(connection: Connection, uid: UUID) -> None:
    """Show a host, its root and its place in the hierarchy."""
    row = host_in_use(connection, uid)
    facts = None if row.facts is None else msgspec.json.decode(row.facts, type=HostFacts)
    values: dict[str, Any] = {
        "Description": row.description,
        "ManagedServerType": "Linux",
        "Uri": row.uri,
        "State": row.state,
        "Reason": row.reason,
    }
    if row.credentials_uid is not None:
        values["CredentialsUid"] = row.credentials_uid
    if row.staging is not None:
        values["Staging"] = row.staging
    if row.scanned is not None:
        values["LastScan"] = row.scanned
    if facts is not None:
        values |= {
            "HostName": facts.hostname,
            "HypervisorVersion": facts.hypervisor,
            "LibraryVersion": facts.library,
            "Acceleration": facts.acceleration,
            "AccelerationNote": facts.note,
        }
    # A host is its own root: the references of its machines begin with its UID.
    publish(connection, Resource("ManagedServer", uid, row.name, values, {"hierarchy_root": uid}))
    ids = {"HierarchyRootId": str(uid), "UniqueId": str(uid)}
    publish(connection, Resource("HierarchyRoot", uid, row.name, ids, {"managed_server": uid}))
    publish_item(connection, host_reference(uid))


def remove_host(connection: Connection, uid: UUID | None) -> str:
    """Forget a host and its machines; return its name. Points of the machines stay.

    Refused while a job includes or excludes anything of it, or a machine there runs from its
    backup.
    """
    host = host_in_use(connection, uid)
    if (job := _job_with(connection, host.uid)) is not None:
        raise RefusedError(
            f'Job "{job}" has machines of host "{host.name}". Take them out of it first.'
        )
    instant = tables.instant_recovery
    running = connection.scalar(select(instant.c.name).where(instant.c.host_uid == host.uid))
    if running is not None:
        raise RefusedError(
            f'The machine "{running}" on host "{host.name}" runs from its backup. Move it to its '
            "own storage or discard it first."
        )
    _refuse_with_replicas(connection, host)
    references = [row.reference for row in _machines_of(connection, host.uid)]
    references += [tag_reference(host.uid, tag) for tag in _tags_of(connection, host.uid)]
    for table in (tables.host_machine, tables.left_backup):
        connection.execute(delete(table).where(table.c.host_uid == host.uid))
    connection.execute(delete(tables.host).where(tables.host.c.uid == host.uid))
    for reference in (*references, host_reference(host.uid)):
        publish_item(connection, reference)
    withdraw(connection, "HierarchyRoot", host.uid)
    withdraw(connection, "ManagedServer", host.uid)
    return str(host.name)


def host_uids(connection: Connection) -> list[UUID]:
    """Return all hosts."""
    return list(connection.scalars(select(tables.host.c.uid).order_by(tables.host.c.name)))


def tags_of(row: Row[Any]) -> list[str]:
    """Given the row of a machine, return its tags."""
    found: list[str] = msgspec.json.decode(row.tags, type=list[str])
    return found


def _machines_of(connection: Connection, uid: UUID) -> list[Row[Any]]:
    table = tables.host_machine
    return list(connection.execute(select(table).where(table.c.host_uid == uid)))


def _tags_of(connection: Connection, uid: UUID) -> set[str]:
    present = (row for row in _machines_of(connection, uid) if row.present)
    return {tag for row in present for tag in tags_of(row)}


def _change(connection: Connection, machine: Row[Any], values: dict[str, Any]) -> None:
    """Write down what is not known of a machine already."""
    table = tables.host_machine
    new = {name: value for name, value in values.items() if getattr(machine, name) != value}
    if new:
        same = (table.c.host_uid == machine.host_uid) & (table.c.uuid == machine.uuid)
        connection.execute(update(table).where(same).values(new))


def _note_seen(connection: Connection, uid: UUID, now: int) -> None:
    """Write down when the machines that a host has were seen, and those that are on, to run."""
    table = tables.host_machine
    here = update(table).where(table.c.host_uid == uid)
    connection.execute(here.where(table.c.defined).values(seen=now))
    connection.execute(here.where(table.c.active).values(ran=now))


def rename_in_jobs(connection: Connection, references: Iterable[str]) -> None:
    """Let jobs show hosts and machines under the names they have now."""
    table, machine, host = tables.job_object, tables.host_machine, tables.host
    jobs = set()
    for reference in references:
        known_as = stand_ins.known_as(connection, reference)
        known = connection.execute(
            select(machine.c.name, host.c.name.label("host_name"))
            .join(host, host.c.uid == machine.c.host_uid)
            .where(machine.c.reference == reference)
        ).first()
        if known is not None:
            shown = {"name": known.name, "path": source_path(known.host_name, known.name)}
        else:
            read = read_reference(reference)
            root = None if read is None else read.root
            shown = {"name": host_in_use(connection, root).name}
        rows = connection.execute(select(table).where(table.c.reference.in_(known_as))).all()
        for row in rows:
            if any(getattr(row, name) != value for name, value in shown.items()):
                connection.execute(update(table).where(table.c.uid == row.uid).values(shown))
                jobs.add(row.job_uid)
    for job in jobs:
        publish_job(connection, job)


def source_path(host: str, machine: str) -> str:
    """Given the names of a host and a machine there, return where points say they came from."""
    return f"{host}/{machine}"


def _refuse_with_replicas(connection: Connection, host: Row[Any]) -> None:
    """Refuse to forget a host that has replicas, or is to have them."""
    target, job, replica = tables.replica_target, tables.job, tables.replica
    making = select(job.c.name).join(target, target.c.job_uid == job.c.uid)
    making = making.where(target.c.host_uid == host.uid, ~job.c.deleted).order_by(job.c.name)
    if (name := connection.scalar(making.limit(1))) is not None:
        raise RefusedError(f'Job "{name}" makes replicas on host "{host.name}". Delete it first.')
    there = select(replica.c.machine_name).where(replica.c.host_uid == host.uid)
    if (name := connection.scalar(there.limit(1))) is not None:
        raise RefusedError(f'Host "{host.name}" has replicas, such as "{name}". Remove them first.')
    for row in connection.execute(select(replica).where(replica.c.failover.is_not(None))):
        record = msgspec.json.decode(row.failover, type=_FailoverRecord)
        if record.place is not None and record.place.host == host.uid:
            raise RefusedError(
                f'"{row.machine_name}" is failed back to host "{host.name}". Commit or undo that '
                "first."
            )
    connection.execute(delete(target).where(target.c.host_uid == host.uid))


class _FailoverPlace(msgspec.Struct, frozen=True):
    host: UUID


class _FailoverRecord(msgspec.Struct, frozen=True):
    """What a host must know of a `failover_record.Failover`."""

    place: _FailoverPlace | None = None


def _job_with(connection: Connection, uid: UUID) -> str | None:
    """Return the name of a job that backs up anything of a host; None without one."""
    table, job = tables.job_object, tables.job
    rows = connection.execute(
        select(table.c.reference, job.c.name)
        .join(job, job.c.uid == table.c.job_uid)
        .where(~table.c.removed, ~job.c.deleted, table.c.role != FOUND)
        .where(table.c.kind.in_(("machine", "host", "tag")), job.c.kind.not_in(COPY_KINDS))
        .order_by(job.c.name)
    )
    for row in rows:
        read = read_reference(stand_ins.current(connection, row.reference))
        if read is not None and read.root == uid:
            return str(row.name)
    return None
