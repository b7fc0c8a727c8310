"""The journal: what is about to be done to a repository, written down before it is done.

An intent stands from before the first byte changes until the transaction that records the result.
Whatever happens between, the intent says exactly which files are in doubt; `settlement` clears
them up. Each function runs in a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from holdfast.engine.restic import Snapshot
from holdfast.server import tables
from holdfast.server.chain_holds import refuse_if_held

#: The chain of all directories in a backup: they share one restic repository, which takes one
#: writer at a time. The chain of an image is known by the image's own reference.
FILES_CHAIN = "files"


@dataclass(frozen=True)
class ChainKey:
    """What must not be worked on twice at once: the points of one image, or all directories."""

    backup: UUID
    chain: str

    @classmethod
    def of(cls, backup: UUID, kind: str, reference: str) -> ChainKey:
        """Given a backup and what is backed up there, return the key of its chain."""
        return cls(backup, FILES_CHAIN if kind == "directory" else reference)


class MakeImage(msgspec.Struct, frozen=True, tag=True):
    """A backup file is being written. Undone: the file is removed unless it was recorded."""

    path: str


class MakeMachine(msgspec.Struct, frozen=True, tag=True):
    """The files of a machine's point are being written. Undone: all that begin with the path go.

    `staging` is the folder, outside the repository, that QEMU writes to first; None for none.
    """

    point: UUID
    path: str
    staging: str | None = None


class RemoveFiles(msgspec.Struct, frozen=True, tag=True):
    """Files beside the disks of a point that is gone are being removed. Carried on until gone."""

    paths: tuple[str, ...]


class MakeSnapshot(msgspec.Struct, frozen=True, tag=True):
    """A snapshot is being taken for a point. Undone: it is forgotten unless it was recorded.

    Of a copy, `original` is the snapshot that is copied: the copy carries that one's tag.
    """

    point: UUID
    original: str | None = None

    def has_made(self, snapshot: Snapshot) -> bool:
        """Say whether a snapshot is what this work makes."""
        if self.original is not None:
            return snapshot.original == self.original
        return str(self.point) in snapshot.tags


class RemoveImage(msgspec.Struct, frozen=True, tag=True):
    """A backup file without points is being removed. Carried on until it is gone."""

    file: UUID


class MergeImages(msgspec.Struct, frozen=True, tag=True):
    """An increment is being merged into the full it is built on. Carried on until it is done.

    Called off when that can never be. Until it has `begun`, nothing was written to either file.
    """

    full: UUID
    increment: UUID
    begun: bool = True


class RebuildImage(msgspec.Struct, frozen=True, tag=True):
    """A backup file is being written anew, built on `onto`, or as a full.

    Undone, unless the new file has taken the place of the old one: then that is recorded.
    """

    file: UUID
    onto: UUID | None


class ForgetSnapshots(msgspec.Struct, frozen=True, tag=True):
    """Snapshots without points are being forgotten. Carried on until they are gone."""

    snapshots: tuple[str, ...]


Work = (
    MakeImage
    | MakeMachine
    | MakeSnapshot
    | RemoveImage
    | RemoveFiles
    | MergeImages
    | RebuildImage
    | ForgetSnapshots
)


#: What changes or removes files of points that exist or existed.
_CHANGING = RemoveImage | RemoveFiles | MergeImages | RebuildImage


@dataclass(frozen=True)
class Intent:
    """An entry of the journal."""

    uid: UUID
    key: ChainKey
    work: Work


def declare(connection: Connection, key: ChainKey, work: Work, now: int) -> Intent:
    """Write down what is about to be done; return the entry.

    Raise RefusedError when it would change files that a machine runs from.
    """
    if isinstance(work, _CHANGING):
        refuse_if_held(connection, key.backup, key.chain)
    intent, table = Intent(uuid4(), key, work), tables.intent
    same = (table.c.backup_uid == key.backup) & (table.c.chain == key.chain)
    newest = connection.scalar(select(func.max(table.c.created)).where(same)) or 0
    connection.execute(
        insert(table).values(
            uid=intent.uid,
            backup_uid=key.backup,
            chain=key.chain,
            # Later than all others of the chain: they are settled in the order they were declared.
            created=max(now, newest + 1),
            work=msgspec.json.encode(work).decode(),
        )
    )
    return intent


def restate(connection: Connection, intent: Intent, work: Work) -> None:
    """Change what an entry says, since the work has come further."""
    connection.execute(
        update(tables.intent)
        .where(tables.intent.c.uid == intent.uid)
        .values(work=msgspec.json.encode(work).decode())
    )


def strike(connection: Connection, intent: Intent) -> None:
    """Remove an entry: what it said has been done or undone."""
    connection.execute(delete(tables.intent).where(tables.intent.c.uid == intent.uid))


def stands(connection: Connection, intent: Intent) -> bool:
    """Say whether an entry is still there."""
    found = select(tables.intent.c.uid).where(tables.intent.c.uid == intent.uid)
    return connection.execute(found).first() is not None


def standing(connection: Connection, key: ChainKey | None = None) -> list[Intent]:
    """Return the entries of one chain, or all, oldest first."""
    table = tables.intent
    query = select(table).order_by(table.c.created, table.c.uid)
    if key is not None:
        query = query.where(table.c.backup_uid == key.backup, table.c.chain == key.chain)
    return [
        Intent(
            row.uid, ChainKey(row.backup_uid, row.chain), msgspec.json.decode(row.work, type=Work)
        )
        for row in connection.execute(query)
    ]


def rewritten_files(connection: Connection, backup: UUID) -> frozenset[UUID]:
    """Return the backup files of a backup that may not be what is recorded, nor damaged."""
    found: set[UUID] = set()
    for each in standing(connection):
        if each.key.backup == backup:
            match each.work:
                case MergeImages(full=full, increment=increment):
                    found |= {full, increment}
                case RebuildImage(file=file):
                    found.add(file)
    return frozenset(found)


def changes_files(connection: Connection, key: ChainKey) -> bool:
    """Say whether files of a chain's points are to be changed or removed."""
    return any(isinstance(each.work, _CHANGING) for each in standing(connection, key))
