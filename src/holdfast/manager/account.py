"""An account, as the rest of the manager knows it, and one that is to be made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from holdfast.schema.roles import Role

#: What an account may be. Groups are kept and shown; nobody logs on as one.
USER = "User"
KINDS = (USER, "Group", "ExternalUser", "ExternalGroup")
CAN_LOG_ON = (USER, "ExternalUser")


@dataclass(frozen=True)
class Account:
    """Somebody who may log on. Without a role there is nothing they may do."""

    uid: UUID
    name: str
    roles: frozenset[Role]
    restores_everything: bool = True


@dataclass(frozen=True)
class NewAccount:
    """An account to be made. Without a password only an outside program can prove it."""

    name: str
    roles: Collection[Role] = ()
    password: str | None = None
    kind: str = USER
    allow_restore_all_vms: bool = True
    scopes: Collection[str] = ()
