"""What people say of a host when they add or change it. Checked as it is read; pure.

Every refusal begins with the name of the field.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.engine.errors import EngineError
from holdfast.engine.libvirt_uri import checked_uri

LONGEST_NAME = 255
LONGEST_DESCRIPTION = 1024
LONGEST_URI = 1024


class HostSpecification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host of virtual machines to be added.

    `uri` is libvirt's connection URI, such as ``qemu:///system``. `name` is what people see; by
    default the name the host gives itself. `credentials` are the UID of those to log on with,
    where the host asks for a name and a password. `staging` is a folder that QEMU on the host can
    write to, under the same path as the backup server; without one, QEMU writes to the repository.
    """

    uri: str
    name: str = ""
    description: str = ""
    credentials: UUID | None = None
    staging: str | None = None

    def __post_init__(self) -> None:
        _check(self.uri, self.name, self.description, self.staging)


class HostEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a host is to change; what is left out stays.

    `credentials` and `staging` of None are taken away.
    """

    uri: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    credentials: UUID | UnsetType | None = UNSET
    staging: str | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.name is not UNSET and not self.name.strip():
            raise ValueError("name: a host needs a name")
        _check(self.uri, self.name, self.description, self.staging)


def _check(
    uri: str | UnsetType,
    name: str | UnsetType,
    description: str | UnsetType,
    staging: str | UnsetType | None,
) -> None:
    """Raise ValueError unless a host may have these."""
    if name is not UNSET and (len(name) > LONGEST_NAME or any(ord(sign) < 32 for sign in name)):
        raise ValueError(f"name: expected at most {LONGEST_NAME} printable characters")
    if description is not UNSET and len(description) > LONGEST_DESCRIPTION:
        raise ValueError(f"description: expected at most {LONGEST_DESCRIPTION} characters")
    if isinstance(staging, str) and not PurePosixPath(staging).is_absolute():
        raise ValueError("staging: expected the absolute path of a folder")
    if uri is UNSET:
        return
    if len(uri) > LONGEST_URI:
        raise ValueError(f"uri: expected at most {LONGEST_URI} characters")
    try:
        checked_uri(uri)
    except EngineError as error:
        raise ValueError(f"uri: {str(error).rstrip('.')}") from None
