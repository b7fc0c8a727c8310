"""The hierarchy this server shows: its own host and hosts of machines as roots, what is there.

A machine of a host is known while it is there. Any machine or directory is known while a job has
it or a point of it is kept. What only the last point's end made unknown is taken out at the next
start.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import Connection, Row, select

from holdfast.server import tables
from holdfast.server.job_roles import INCLUDED
from holdfast.server.job_specification import COPY_KINDS
from holdfast.server.libvirt_references import HOST, TAG, read_reference, tag_reference
from holdfast.server.libvirt_references import host_reference as libvirt_host_reference
from holdfast.server.names import host_reference
from holdfast.server.outbox import Resource, publish, withdraw
from holdfast.server.publish import publish_managed_server, row_of

ITEM = "HierarchyItem"

_OWN_FORM = re.compile(r"urn:\w+:\w+:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\..+", re.DOTALL)


def publish_hierarchy(connection: Connection) -> None:
    """Show the host, its root and everything known there; take away what is known no more."""
    host = connection.scalars(select(tables.managed_server.c.uid)).one()
    publish_managed_server(connection, host)
    name = row_of(connection, tables.managed_server, host).name
    # The references of machines begin with the host's UID: that is the root's id.
    values = {"HierarchyRootId": str(host), "UniqueId": str(host)}
    relations = {"managed_server": host}
    publish(connection, Resource("HierarchyRoot", host, name, values, relations))
    own = host_reference(host)
    _publish_item(connection, own, name)
    job_object, point, change = tables.job_object, tables.machine_point, tables.change
    references = {
        *_of_hosts(connection),
        *connection.scalars(select(job_object.c.reference).distinct()),
        *connection.scalars(select(point.c.reference).distinct()),
    }
    for reference in references:
        publish_item(connection, reference)
    kept = {_uid(one) for one in (*references, own) if _OWN_FORM.fullmatch(one)}
    shown = select(change.c.uid).where(change.c.type == ITEM, change.c.state.is_not(None))
    for uid in set(connection.scalars(shown)) - kept:
        withdraw(connection, ITEM, uid)


def publish_item(connection: Connection, reference: str) -> None:
    """Show what a reference stands for, under its newest name; or that it is known no more.

    A reference of another form than this server's own is below no root that it shows.
    """
    if not _OWN_FORM.fullmatch(reference):
        return
    name = _name_of(connection, reference)
    if name is not None:
        _publish_item(connection, reference, name)
    elif _is_shown(connection, _uid(reference)):
        withdraw(connection, ITEM, _uid(reference))


def _of_hosts(connection: Connection) -> set[str]:
    """Return the references of all hosts, of their machines and tags."""
    machine = tables.host_machine
    hosts = {libvirt_host_reference(uid) for uid in connection.scalars(select(tables.host.c.uid))}
    rows = connection.execute(select(machine).where(machine.c.present)).all()
    tags = {tag_reference(row.host_uid, tag) for row in rows for tag in _tags(row)}
    return hosts | {row.reference for row in rows} | tags


def _tags(machine: Row[Any]) -> list[str]:
    found: list[str] = msgspec.json.decode(machine.tags)
    return found


def _publish_item(connection: Connection, reference: str, name: str) -> None:
    read = read_reference(reference)
    if read is not None and read.type == TAG:
        reference = tag_reference(read.root, name)
    values: dict[str, Any] = {
        "ObjectRef": reference,
        "ObjectType": reference.split(":")[2],
        "ObjectName": name,
    }
    root = {"hierarchy_root": _root_of(reference)}
    publish(connection, Resource(ITEM, _uid(reference), name, values, root))


def _name_of(connection: Connection, reference: str) -> str | None:
    return (
        _name_on_host(connection, reference)
        or _name_in_job(connection, reference)
        or _name_of_point(connection, reference)
    )


def _name_on_host(connection: Connection, reference: str) -> str | None:
    """Return the name of a host, of a machine that is there, or a tag of such a machine."""
    read = read_reference(reference)
    if read is None:
        return None
    machine, host = tables.host_machine, tables.host
    if read.type == HOST:
        return connection.scalar(select(host.c.name).where(host.c.uid == read.root))
    there = select(machine).where(machine.c.host_uid == read.root, machine.c.present)
    if read.type == TAG:
        tags = (tag for row in connection.execute(there) for tag in _tags(row))
        return min((tag for tag in tags if tag.casefold() == read.item.casefold()), default=None)
    row = connection.execute(there.where(machine.c.uuid == read.item)).first()
    return None if row is None else str(row.name)


def _name_in_job(connection: Connection, reference: str) -> str | None:
    job, job_object = tables.job, tables.job_object
    found: str | None = connection.scalar(
        select(job_object.c.name)
        .join(job, job.c.uid == job_object.c.job_uid)
        .where(job_object.c.reference == reference, ~job_object.c.removed, ~job.c.deleted)
        .where(job_object.c.role == INCLUDED)
        # A copy job has only what its points say anyway.
        .where(job.c.kind.not_in(COPY_KINDS))
        .order_by(job.c.created.desc(), job.c.uid)
        .limit(1)
    )
    return found


def _name_of_point(connection: Connection, reference: str) -> str | None:
    point = tables.machine_point
    kept: str | None = connection.scalar(
        select(point.c.display_name)
        .where(point.c.reference == reference)
        .order_by(point.c.created.desc())
        .limit(1)
    )
    return kept


def _is_shown(connection: Connection, uid: UUID) -> bool:
    change = tables.change
    state = select(change.c.state).where(change.c.type == ITEM, change.c.uid == uid)
    return connection.scalar(state) is not None


def _root_of(reference: str) -> UUID:
    # A tag may hold colons and full stops of its own.
    return UUID(reference.split(":", 3)[3].partition(".")[0])


def _uid(reference: str) -> UUID:
    read = read_reference(reference)
    # Tags that differ in case alone are one.
    known = reference.casefold() if read is not None and read.type == TAG else reference
    return uuid5(_root_of(reference), known)
