"""What people say of a restore of a machine of a host. Checked as it is read; pure.

Every refusal begins with the name of the field.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal
from uuid import UUID

import msgspec


class RestoreSpecification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a machine of a host is to be restored.

    To a host as a new machine: `host` (that of the original by default), `name` (the original's by
    default), with `new_identifiers` as another machine than the original, its disks in `folder`
    (the original's by default). `in_place`: over the original, which must be off. With a `format`:
    as plain files in `folder`. `disks` are those wanted by their names in the guest, such as vda;
    by default all. `force` restores a point, too, that is known to be damaged; never in place.
    """

    host: UUID | None = None
    name: str = ""
    new_identifiers: bool = False
    folder: str = ""
    in_place: bool = False
    disks: tuple[str, ...] | None = None
    power_on: bool = False
    format: Literal["raw", "qcow2", "vmdk"] | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.folder and not PurePosixPath(self.folder).is_absolute():
            raise ValueError("folder: expected the absolute path of a folder")
        if self.format is not None and not self.folder:
            raise ValueError("folder: expected the folder for the files")
        if self.format is not None and (self.in_place or self.power_on or self.host):
            raise ValueError("format: plain files are no machine of a host, and not in place")
        if self.disks is not None and not self.disks:
            raise ValueError("disks: expected at least one name such as vda, or null for all")
        if self.disks is not None and len(set(self.disks)) != len(self.disks):
            raise ValueError("disks: expected each name once")
        if self.in_place and self.force:
            raise ValueError("force: a damaged point does not take the place of what is there")
        if self.in_place and (self.name or self.new_identifiers or self.folder):
            raise ValueError("in_place: the machine keeps its name, its identifiers and its folder")


class InstantSpecification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a machine of a host is to run from its restore point.

    On the `host` (that of the original by default) under the `name` (the original's by default),
    with `new_identifiers` as another machine than the original. What it writes comes into `folder`
    (that of the original's disks by default), where it moves to later.
    """

    host: UUID | None = None
    name: str = ""
    new_identifiers: bool = False
    folder: str = ""

    def __post_init__(self) -> None:
        if self.folder and not PurePosixPath(self.folder).is_absolute():
            raise ValueError("folder: expected the absolute path of a folder")
