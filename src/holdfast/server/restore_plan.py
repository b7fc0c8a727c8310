"""What a restore has to do: decided when it is asked for, in the transaction that begins it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select

from holdfast.engine.durability import partial_name
from holdfast.engine.files_folder import staging_folder
from holdfast.server import tables
from holdfast.server.refusal import RefusedError

_LONGEST_NAME = 200


class RestoreMachine(msgspec.Struct, frozen=True, tag=True):
    """The disk of a point is written to `target`; an old file there is replaced only if asked.

    `format` is that of the source, when the job says it. `note` is what could not be done as it
    was asked for: the session ends with a warning.
    """

    point: UUID
    target: str
    format: str | None
    overwrite: bool
    note: str = ""
    force: bool = False


class RestoreFiles(msgspec.Struct, frozen=True, tag=True):
    """A file or folder of a directory's point is put back; `names` lead to it from the root."""

    point: UUID
    names: tuple[str, ...]
    directory: str
    overwrite: bool


class RestoreHosted(msgspec.Struct, frozen=True, tag=True):
    """A machine of a host is restored to a host: as a new machine, or `in_place`.

    `name` and `uuid` are those that it has after. A new machine's disks come into `folder`, which
    is not looked at in place. `disks` are those wanted; None for all, and in place the definition.
    With `instant`, an instant recovery, nothing is copied: the machine runs from the point.
    """

    point: UUID
    host: UUID
    name: str
    uuid: str
    folder: str
    new_identifiers: bool = False
    in_place: bool = False
    disks: tuple[str, ...] | None = None
    power_on: bool = False
    instant: UUID | None = None
    force: bool = False


class RestoreDisks(msgspec.Struct, frozen=True, tag=True):
    """Disks of a machine of a host, None for all, come as plain files into `folder`."""

    point: UUID
    name: str
    folder: str
    format: str
    disks: tuple[str, ...] | None = None
    force: bool = False


class MigrateInstant(msgspec.Struct, frozen=True, tag=True):
    """A machine that runs from its point moves to its own storage: an instant recovery."""

    point: UUID
    recovery: UUID


class DiscardInstant(msgspec.Struct, frozen=True, tag=True):
    """A machine that runs from its point is taken away: an instant recovery."""

    point: UUID
    recovery: UUID


Hosted = RestoreHosted | RestoreDisks
Instant = MigrateInstant | DiscardInstant
Plan = (
    RestoreMachine | RestoreFiles | RestoreHosted | RestoreDisks | MigrateInstant | DiscardInstant
)


class MachineRestoreOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a machine is to be restored: to a new name beside the original, or over the original.

    The rest is for machines of hosts: the `host` to restore to, the `folder` for the disks there,
    new identifiers, which `disks`, and the `format` of plain files, when it is to come as these.
    `force` restores a point, too, that is known to be damaged: what can still be read of it.
    """

    new_name: str = ""
    overwrite: bool = False
    power_on: bool = False
    host: UUID | None = None
    folder: str = ""
    new_identifiers: bool = False
    disks: tuple[str, ...] | None = None
    format: str = ""
    force: bool = False


def point_row(connection: Connection, uid: UUID | None) -> Row[Any]:
    """Return the row of a machine's point, with its file's path; refuse an unknown one."""
    point, file = tables.machine_point, tables.backup_file
    row = connection.execute(
        select(point, file.c.path, tables.backup.c.job_uid, tables.backup.c.name.label("job_name"))
        .join(tables.backup, tables.backup.c.uid == point.c.backup_uid)
        .outerjoin(file, file.c.uid == point.c.backup_file_uid)
        .where(point.c.uid == uid)
    ).first()
    if row is None:
        raise RefusedError(f"Cannot find restore point [{uid}].")
    return row


def plan_machine(
    connection: Connection, point: Row[Any], options: MachineRestoreOptions
) -> RestoreMachine:
    """Given a point and what is wanted of it, return what is to be done; refuse what cannot be."""
    if point.snapshot_id is not None:
        raise RefusedError(f'"{point.display_name}" is a directory, not a machine.')
    if options.folder or options.disks is not None or options.format:
        raise RefusedError(
            f'"{point.display_name}" is a disk image, not a machine of a host: it is restored '
            "where it was, whole, under its own or a new name."
        )
    refuse_damaged(point, force=options.force and (bool(options.new_name) or not options.overwrite))
    source = PurePosixPath(point.source_path)
    target = source
    if options.new_name:
        name = plain_name(options.new_name)
        target = source.with_name(name if name.endswith(source.suffix) else name + source.suffix)
    job_object = tables.job_object
    declared = connection.scalar(
        select(job_object.c.format).where(
            job_object.c.job_uid == point.job_uid, job_object.c.reference == point.reference
        )
    )
    note = ""
    if options.power_on:
        note = "The machine was not powered on: it is a disk image here, without a hypervisor."
    return RestoreMachine(
        point=point.uid,
        target=str(target),
        format=declared,
        overwrite=options.overwrite and not options.new_name,
        note=note,
        force=options.force,
    )


def refuse_damaged(point: Row[Any], *, force: bool = False) -> None:
    """Refuse a point that the last check found damaged, unless it is wanted all the same."""
    if point.damaged is not None and not force:
        raise RefusedError(
            f'The restore point of "{point.display_name}" is damaged. {point.damaged} '
            "Choose another point. What can still be read of this one is only restored with force, "
            "and never over the original."
        )


def plan_files(point: Row[Any], names: tuple[str, ...], *, overwrite: bool) -> RestoreFiles:
    """Given a directory's point and a path in it, return what is to be done."""
    if point.snapshot_id is None:
        raise RefusedError(
            f'"{point.display_name}" is a machine; there is no way into it from here. '
            "Its files can be downloaded, or the whole machine restored."
        )
    refuse_damaged(point)
    if not names:
        raise RefusedError("The whole directory cannot be put back at once; choose a folder in it.")
    if any(name in ("", ".", "..") or "/" in name or "\0" in name for name in names):
        raise RefusedError("The path is not one inside the restore point.")
    return RestoreFiles(point.uid, names, point.source_path, overwrite)


def target_of(plan: Plan) -> str:
    """Return what a plan writes: no two restores do so at once."""
    match plan:
        case RestoreMachine():
            return plan.target
        case RestoreFiles():
            return str(Path(plan.directory).joinpath(*plan.names))
        case RestoreHosted():
            return f"{plan.host}/{plan.name}"
        case RestoreDisks():
            return f"{plan.folder}/{plan.name}"
        case MigrateInstant() | DiscardInstant():
            return instant_target(plan.recovery)


def is_instant(plan: Plan) -> bool:
    """Say whether a plan is one of an instant recovery."""
    if isinstance(plan, RestoreHosted):
        return plan.instant is not None
    return isinstance(plan, MigrateInstant | DiscardInstant)


def instant_target(recovery: UUID) -> str:
    """Given an instant recovery, return what moving or discarding it writes."""
    return f"instant recovery {recovery}"


def temporary_of(plan: Plan, session: UUID) -> str:
    """Return what a restore that is interrupted may leave: a file, or a folder.

    Empty for a machine of a host, which has a ledger.
    """
    match plan:
        case RestoreMachine():
            return str(partial_name(Path(plan.target)))
        case RestoreFiles():
            return str(staging_folder(Path(plan.directory), session.hex))
        case _:
            return ""


def plain_name(name: str) -> str:
    """Return the name that a machine is to get; refuse what a file cannot be called."""
    stripped = name.strip()
    if (
        stripped in ("", ".", "..")
        or any(ord(sign) < 32 or sign in "/\\" for sign in stripped)
        or len(stripped.encode()) > _LONGEST_NAME
    ):
        raise RefusedError(
            "The new name of the machine must be a plain file name: no slashes, "
            f"at most {_LONGEST_NAME} bytes."
        )
    return stripped
