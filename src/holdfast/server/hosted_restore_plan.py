"""What a restore of a machine of a host has to do: decided in the transaction that begins it."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, Row, select

from holdfast.engine.image_restore import FORMATS
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.server import stand_ins, tables
from holdfast.server.host_records import host_in_use, source_path
from holdfast.server.hosted_objects import MACHINE, locate
from holdfast.server.hosted_points import known_point
from holdfast.server.libvirt_references import read_reference
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import (
    Hosted,
    MachineRestoreOptions,
    RestoreDisks,
    RestoreHosted,
    plain_name,
    refuse_damaged,
)

# Volumes and other block devices have their names there, and files would be kept in memory.
_DEVICES = "/dev"


def plan_hosted(connection: Connection, point: Row[Any], options: MachineRestoreOptions) -> Hosted:
    """Given a machine's point and what is wanted of it, return what is to be done; refuse what
    cannot be.

    Over the original only when that was asked for and the machine is there; one that is gone comes
    back as it was.
    """
    in_place = options.overwrite and not options.new_name
    refuse_damaged(point, force=options.force and not in_place)
    known = known_point(connection, point.uid)
    disks = wanted_disks(known, options.disks)
    name = plain_name(options.new_name) if options.new_name else point.display_name
    if options.format:
        return _to_files(connection, point, name, disks, options)
    there = locate(connection, point.reference)
    if in_place:
        if there is not None and _took_its_place(connection, point, there, known):
            raise RefusedError(
                f'The machine "{point.display_name}" was failed back to another place as '
                f'"{there.name}" since: this point can be restored as a new machine.'
            )
        if there is not None:
            return _in_place(point, there, disks, options)
        if disks is not None:
            raise RefusedError(
                f'No host has the machine "{point.display_name}", so that no disk of it can be '
                "replaced. The whole machine can be restored."
            )
    host = host_for(connection, point, there, options.host)
    uuid = str(uuid4()) if options.new_identifiers else known.uuid
    return RestoreHosted(
        point=point.uid,
        host=host,
        name=name,
        uuid=uuid,
        folder=folder_for(connection, known, disks, options.folder),
        new_identifiers=options.new_identifiers,
        disks=disks,
        power_on=options.power_on,
        force=options.force,
    )


def _took_its_place(
    connection: Connection, point: Row[Any], there: Row[Any], known: MachinePoint
) -> bool:
    """Say whether a machine is not the one that a point was made of, but has its place since."""
    if stand_ins.current(connection, point.reference) == point.reference:
        return False
    found = source_path(there.host_name, there.name)
    return bool(there.uuid != known.uuid or found != point.source_path)


def plan_instant(
    connection: Connection, point: Row[Any], options: MachineRestoreOptions
) -> RestoreHosted:
    """Given a machine's point, return how the machine is to run from it; refuse what cannot be."""
    if point.kind != MACHINE:
        raise RefusedError(f'"{point.display_name}" is no machine of a host: it cannot run.')
    planned = plan_hosted(connection, point, options)
    if not isinstance(planned, RestoreHosted) or planned.in_place or planned.disks is not None:
        raise RefusedError("A machine runs from its restore point whole, beside its original.")
    return msgspec.structs.replace(planned, power_on=True, instant=uuid4())


def wanted_disks(known: MachinePoint, wanted: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the disks to restore, None for all; refuse one that the point does not hold."""
    if wanted is None:
        return None
    held = [disk.state.target for disk in known.disks]
    for disk in wanted:
        if disk not in held:
            raise RefusedError(f"disks: expected any of {', '.join(held)}, not {disk}.")
    if not wanted:
        raise RefusedError(f"disks: expected one or more of {', '.join(held)}.")
    return tuple(dict.fromkeys(wanted))


def host_for(
    connection: Connection, point: Row[Any], there: Row[Any] | None, wanted: UUID | None
) -> UUID:
    """Return the host to restore to: the wanted one, or the one that has or had the original."""
    if wanted is not None:
        host_in_use(connection, wanted)
        return wanted
    if there is not None:
        found: UUID = there.host_uid
        return found
    read = read_reference(point.reference)
    known = select(tables.host.c.uid).where(tables.host.c.uid == (read and read.root))
    if read is None or connection.execute(known).first() is None:
        raise RefusedError(
            f'The host of the machine "{point.display_name}" is not known any more: say which host '
            "it is to be restored to."
        )
    return read.root


def folder_for(
    connection: Connection, known: MachinePoint, disks: tuple[str, ...] | None, wanted: str
) -> str:
    """Return the folder for the disks of a new machine: the wanted one, or that of the original."""
    if wanted:
        return checked_folder(connection, wanted)
    for disk in known.disks:
        if disk.state.path is None or not (disks is None or disk.state.target in disks):
            continue
        if not (folder := PurePosixPath(disk.state.path).parent).is_relative_to(_DEVICES):
            return str(folder)
    raise RefusedError(
        "folder: say where the disks are to come, since the original's were no files."
    )


def checked_folder(connection: Connection, wanted: str) -> str:
    """Return a folder that somebody named; refuse one that is not named from the root, and one in
    a repository: what is not of the backups has no place there.
    """
    # Two slashes at the beginning would make it another path than the repositories' for Python.
    path = PurePosixPath(re.sub("^/+", "/", wanted.strip()))
    if not path.is_absolute() or ".." in path.parts or any(ord(sign) < 32 for sign in wanted):
        raise RefusedError(f"folder: expected a folder's path from the root, not {wanted!r}.")
    really = Path(os.path.realpath(path))
    for repository in connection.scalars(select(tables.repository.c.path)):
        if path.is_relative_to(repository) or really.is_relative_to(os.path.realpath(repository)):
            raise RefusedError(f"folder: {path} is in a repository, which is for backups alone.")
    return str(path)


def _to_files(
    connection: Connection,
    point: Row[Any],
    name: str,
    disks: tuple[str, ...] | None,
    options: MachineRestoreOptions,
) -> RestoreDisks:
    if options.format not in FORMATS:
        raise RefusedError(f"format: expected {', '.join(FORMATS)}, not {options.format!r}.")
    if not options.folder:
        raise RefusedError("folder: say where the files are to come.")
    folder = checked_folder(connection, options.folder)
    return RestoreDisks(point.uid, name, folder, options.format, disks, options.force)


def _in_place(
    point: Row[Any],
    there: Row[Any],
    disks: tuple[str, ...] | None,
    options: MachineRestoreOptions,
) -> RestoreHosted:
    if options.host not in (None, there.host_uid):
        raise RefusedError(
            f'The machine "{point.display_name}" is on the host "{there.host_name}": it can be '
            "replaced there alone."
        )
    return RestoreHosted(
        point=point.uid,
        host=there.host_uid,
        name=there.name,
        uuid=there.uuid,
        folder="",
        in_place=True,
        disks=disks,
        power_on=options.power_on,
    )
