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


Plan = RestoreMachine | RestoreFiles


class MachineRestoreOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a machine is to be restored: to a new name beside the original, or over the original.

    `force` restores a point, too, that is known to be damaged: what can still be read of it.
    """

    new_name: str = ""
    overwrite: bool = False
    power_on: bool = False
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
    if point.kind != "image":
        raise RefusedError(
            f'"{point.display_name}" is a machine of a host. "holdfast restore" brings its disks '
            "and its definition back as files."
        )
    refuse_damaged(point, force=options.force)
    source = PurePosixPath(point.source_path)
    target = source
    if options.new_name:
        name = _plain_name(options.new_name)
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
            "Choose another point. What can still be read of this one is only restored with force."
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
    if isinstance(plan, RestoreMachine):
        return plan.target
    return str(Path(plan.directory).joinpath(*plan.names))


def temporary_of(plan: Plan, session: UUID) -> Path:
    """Return what a restore that is interrupted may leave: a file, or a folder."""
    if isinstance(plan, RestoreMachine):
        return partial_name(Path(plan.target))
    return staging_folder(Path(plan.directory), session.hex)


def _plain_name(name: str) -> str:
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
