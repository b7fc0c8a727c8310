"""The machines and directories in jobs: found, put in, taken out. Each runs in a transaction.

A hierarchy reference is understood in three ways:

- the reference of a machine (``urn:Qemu:Vm:…``) or directory (``urn:NasBackup:FileServer:…``)
  that any job of this server has or ever had;
- such a reference that nobody knows yet, with its absolute path as the name: the reference is
  made of the path, so that each proves the other;
- the reference of the host itself, ``urn:Qemu:Host:<managed server>``, with an absolute path on
  it as the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, func, insert, select, update

from holdfast.schema.naming import guid_of
from holdfast.server import tables
from holdfast.server.job_specification import COPY_KINDS, Source, is_copy, plain_path
from holdfast.server.names import directory_reference, image_reference
from holdfast.server.refusal import RefusedError

_KIND = {"Backup": "image", "NasBackup": "directory"}
_WORDS = {"image": "machine", "directory": "directory"}


@dataclass(frozen=True)
class Found:
    """What a reference names."""

    kind: str
    name: str
    path: str
    format: str | None
    reference: str


def objects_of(connection: Connection, job_uid: UUID) -> list[Row[Any]]:
    """Return the objects that a job has, in their order."""
    table = tables.job_object
    return list(
        connection.execute(
            select(table)
            .where(table.c.job_uid == job_uid, ~table.c.removed)
            .order_by(table.c.position)
        )
    )


def resolve(connection: Connection, reference: str, name: str = "") -> Found:
    """Given a hierarchy reference and a name, return what they name; refuse what is unknown."""
    reference, name = reference.strip(), name.strip()
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
    host = _host(connection)
    if name.startswith("/"):
        source = _source(name)
        for kind in ("image", "directory"):
            found = _found(kind, source, host)
            if found.reference.lower() == reference.lower():
                return found
        if _is_host(reference, host):
            return _found("image", source, host)
    raise RefusedError(
        f'The backup server knows no object "{reference}". Name a machine of one of its jobs, or '
        f'give "urn:Qemu:Host:{host}" with the path of a disk image as the name.'
    )


def add_source(connection: Connection, job_uid: UUID, kind: str, source: Source) -> UUID:
    """Put a disk image or a directory into a job of a kind; return the object's UID."""
    return add(connection, job_uid, _found(_KIND[kind], source, _host(connection)))


def add(connection: Connection, job_uid: UUID, found: Found) -> UUID:
    """Put something into a job, after all it has; return the object's UID.

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
    if found.kind != _KIND[row.kind]:
        raise RefusedError(
            f'"{found.name}" is a {_WORDS[found.kind]}; job "{row.name}" takes '
            f"{'machines' if row.kind == 'Backup' else 'directories'}."
        )
    last = select(func.max(table.c.position)).where(table.c.job_uid == job_uid, ~table.c.removed)
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
            )
        )
        return uid
    if not before.removed:
        raise RefusedError(f'"{before.name}" is in job "{row.name}" already.')
    connection.execute(
        update(table)
        .where(table.c.uid == before.uid)
        .values(removed=False, name=found.name, position=position)
    )
    kept: UUID = before.uid
    return kept


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


def _is_host(reference: str, host: UUID) -> bool:
    try:
        return reference.lower().startswith("urn:") and guid_of(reference.split(":")[-1]) == host
    except ValueError:
        return False


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
