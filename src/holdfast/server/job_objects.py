"""What is in jobs: found, put in, taken out. Each runs in a transaction.

A hierarchy reference is understood in four ways:

- the reference of a machine of a host, of the whole host or of a tag (``urn:Libvirt:…``);

- the reference of a machine (``urn:Qemu:Vm:…``) or directory (``urn:NasBackup:FileServer:…``)
  that any job of this server has or ever had;
- such a reference that nobody knows yet, with its absolute path as the name: the reference is
  made of the path, so that each proves the other;
- the reference of the host itself, ``urn:Qemu:Host:<managed server>``, with an absolute path on
  it as the name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, func, insert, select, update

from holdfast.schema.naming import guid_of
from holdfast.server import hosted_objects, tables
from holdfast.server.hosted_objects import HOSTED, Hosted
from holdfast.server.job_roles import EXCLUDED, INCLUDED
from holdfast.server.job_specification import (
    COPY_KINDS,
    REPLICA,
    Included,
    Source,
    is_copy,
    plain_path,
)
from holdfast.server.names import directory_reference, image_reference
from holdfast.server.refusal import RefusedError

_KINDS = {"Backup": ("image", *HOSTED), "NasBackup": ("directory",), REPLICA: HOSTED}
_TAKEN = {"NasBackup": "directories", REPLICA: "machines of hosts"}
_SOURCES = {"Backup": "image", "NasBackup": "directory"}
_WORDS = {"image": "machine", "tag": "tag of machines"}


@dataclass(frozen=True)
class Found:
    """What a reference names."""

    kind: str
    name: str
    path: str
    format: str | None
    reference: str


def objects_of(connection: Connection, job_uid: UUID) -> list[Row[Any]]:
    """Return the objects that a job includes, in their order."""
    return _in_role(connection, job_uid, INCLUDED)


def excluded_of(connection: Connection, job_uid: UUID) -> list[Row[Any]]:
    """Return what a job excludes."""
    return _in_role(connection, job_uid, EXCLUDED)


def machines_of(connection: Connection, job_uid: UUID) -> list[Row[Any]]:
    """Return the objects for the machines and directories that a job means now."""
    sources = [row for row in objects_of(connection, job_uid) if row.kind not in HOSTED]
    return [*sources, *hosted_objects.expand(connection, job_uid)]


def _in_role(connection: Connection, job_uid: UUID, role: str) -> list[Row[Any]]:
    table = tables.job_object
    return list(
        connection.execute(
            select(table)
            .where(table.c.job_uid == job_uid, ~table.c.removed, table.c.role == role)
            .order_by(table.c.position)
        )
    )


def resolve(connection: Connection, reference: str, name: str = "") -> Found:
    """Given a hierarchy reference and a name, return what they name; refuse what is unknown."""
    reference, name = reference.strip(), name.strip()
    if (hosted := hosted_objects.find(connection, reference)) is not None:
        return _hosted(hosted)
    table, job = tables.job_object, tables.job
    known = connection.execute(
        select(table)
        .join(job, job.c.uid == table.c.job_uid)
        # What copy jobs know of a machine does not tell how to back it up.
        .where(func.lower(table.c.reference) == reference.lower(), job.c.kind.not_in(COPY_KINDS))
        .order_by(table.c.removed)
        .limit(1)
    ).first()
    if known is not None:
        shown = known.name if not name or name.startswith("/") else name
        return Found(known.kind, shown, known.path, known.format, known.reference)
    if (whole := _guid_in(reference)) and (
        known_host := hosted_objects.host_of(connection, whole)
    ) is not None:
        return _hosted(known_host)
    host = _host(connection)
    if name.startswith("/"):
        source = _source(name)
        for kind in ("image", "directory"):
            found = _found(kind, source, host)
            if found.reference.lower() == reference.lower():
                return found
        if _guid_in(reference) == host:
            return _found("image", source, host)
    raise RefusedError(
        f'The backup server knows no object "{reference}". Name a machine of one of its jobs, or '
        f'give "urn:Qemu:Host:{host}" with the path of a disk image as the name.'
    )


def add_source(connection: Connection, job_uid: UUID, kind: str, source: Source) -> UUID:
    """Put a disk image or a directory into a job of a kind; return the object's UID."""
    return add(connection, job_uid, _found(_SOURCES[kind], source, _host(connection)))


def add(connection: Connection, job_uid: UUID, found: Found, role: str = INCLUDED) -> UUID:
    """Put something into a job, after all it has; return the object's UID.

    In the role EXCLUDED, it is what the job leaves out of the hosts and tags that it has.

    Refuse what does not suit the job and what is there already. What had been taken out comes
    back as it was, so that its chain goes on.
    """
    table, job = tables.job_object, tables.job
    row = connection.execute(select(job).where(job.c.uid == job_uid)).one()
    if is_copy(row.kind):
        raise RefusedError(
            f'Copy job "{row.name}" takes no objects: it copies what its linked jobs and linked '
            "repositories hold."
        )
    if found.kind not in _KINDS[row.kind]:
        raise RefusedError(
            f'"{found.name}" is a {_WORDS.get(found.kind, found.kind)}; job "{row.name}" takes '
            f"{_TAKEN.get(row.kind, 'machines')}."
        )
    if role == EXCLUDED and found.kind not in HOSTED:
        raise RefusedError(
            f'"{found.name}" cannot be excluded: only machines of a host, hosts and tags can.'
        )
    last = select(func.max(table.c.position)).where(
        table.c.job_uid == job_uid, ~table.c.removed, table.c.role == role
    )
    position = (connection.scalar(last) if connection.scalar(last) is not None else -1) + 1
    before = connection.execute(
        select(table).where(table.c.job_uid == job_uid, table.c.reference == found.reference)
    ).first()
    if before is None:
        uid = uuid4()
        connection.execute(
            insert(table).values(
                uid=uid,
                job_uid=job_uid,
                kind=found.kind,
                name=found.name,
                path=found.path,
                format=found.format,
                reference=found.reference,
                position=position,
                role=role,
            )
        )
        return uid
    if not before.removed and before.role == EXCLUDED:
        raise RefusedError(f'"{before.name}" is excluded from job "{row.name}".')
    if not before.removed and before.role == INCLUDED:
        raise RefusedError(f'"{before.name}" is in job "{row.name}" already.')
    connection.execute(
        update(table)
        .where(table.c.uid == before.uid)
        .values(removed=False, name=found.name, position=position, role=role)
    )
    kept: UUID = before.uid
    return kept


def exclude(connection: Connection, job: Row[Any], wanted: Iterable[Included]) -> None:
    """Let a job leave these out, beside what it leaves out already.

    One that has a `uid` is what was excluded under it before. Refuse what the job includes.
    """
    table = tables.job_object
    for each in wanted:
        if each.uid is None:
            found = resolve(connection, each.reference, each.name)
        else:
            same = (table.c.uid == each.uid) & (table.c.job_uid == job.uid)
            row = connection.execute(select(table).where(same, table.c.role == EXCLUDED)).first()
            if row is None:
                raise RefusedError(f'Job "{job.name}" excludes no object [{each.uid}].')
            found = Found(row.kind, row.name, row.path, row.format, row.reference)
        add(connection, job.uid, found, EXCLUDED)


def clear_excluded(connection: Connection, job_uid: UUID) -> None:
    """Let a job leave nothing out."""
    table = tables.job_object
    excluded = (table.c.job_uid == job_uid) & (table.c.role == EXCLUDED)
    connection.execute(update(table).where(excluded).values(removed=True))


def take_out(connection: Connection, job: Row[Any], uid: UUID) -> None:
    """Take an object out of a job. Its points stay. Refuse the last one."""
    if len(objects_of(connection, job.uid)) == 1:
        raise RefusedError(
            f'It is the last object of job "{job.name}". Delete the job, or put another in first.'
        )
    table = tables.job_object
    connection.execute(update(table).where(table.c.uid == uid).values(removed=True))


def place(connection: Connection, uid: UUID, position: int) -> None:
    """Give an object its place in its job."""
    table = tables.job_object
    connection.execute(update(table).where(table.c.uid == uid).values(position=position))


def _host(connection: Connection) -> UUID:
    uid: UUID = connection.scalars(select(tables.managed_server.c.uid)).one()
    return uid


def _guid_in(reference: str) -> UUID | None:
    """Given a reference that ends in a GUID alone, return that."""
    if not reference.lower().startswith("urn:"):
        return None
    try:
        return guid_of(reference.split(":")[-1])
    except ValueError:
        return None


def _hosted(found: Hosted) -> Found:
    return Found(found.kind, found.name, found.path, None, found.reference)


def _source(path: str) -> Source:
    try:
        return Source(path=path)
    except ValueError as error:
        raise RefusedError(f"Not added: {error}.") from None


def _found(kind: str, source: Source, host: UUID) -> Found:
    path = plain_path(source.path)
    if kind == "directory":
        name = source.name.strip() or str(path)
        return Found(kind, name, str(path), None, directory_reference(host, str(path)))
    by_ending = {".raw": "raw", ".qcow2": "qcow2"}.get(path.suffix.lower())
    return Found(
        kind,
        source.name.strip() or path.stem,
        str(path),
        source.format or by_ending,
        image_reference(host, str(path)),
    )
