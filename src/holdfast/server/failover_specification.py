"""What can be asked of a replica; what a failover plan is made of, and how it is changed."""

from __future__ import annotations

from pathlib import PurePosixPath
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

LONGEST_NAME = 255
LONGEST_DELAY = 24 * 60 * 60
MOST_MACHINES = 1000


class FailoverOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an operation is to be done.

    `seconds` is how long a guest may take to shut down; with `force` it is powered off then. A
    failback goes to another place than the source with a `host` (that of the source by default), a
    `folder` for the disks there (that of the source's by default) or a `name` for the machine (the
    source's by default); `networks` gives the host's network, or bridge, for those of the source.
    """

    seconds: int = 300
    force: bool = False
    host: UUID | None = None
    folder: str = ""
    name: str = ""
    networks: dict[str, str] = {}

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= LONGEST_DELAY:
            raise ValueError(f"a guest has 1 to {LONGEST_DELAY} seconds to shut down")
        if self.folder and not PurePosixPath(self.folder).is_absolute():
            raise ValueError("folder: expected the absolute path of a folder")
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"name: expected at most {LONGEST_NAME} characters")
        if self.networks and not self.elsewhere:
            raise ValueError("networks: expected a host, a folder or a name for another place, too")

    @property
    def elsewhere(self) -> bool:
        """Whether a failback is to go to another place than the source."""
        return self.host is not None or bool(self.folder or self.name)


class PlannedMachine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replica in a plan, and how many seconds to wait after it before the next one."""

    replica: UUID
    delay: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.delay <= LONGEST_DELAY:
            raise ValueError(f"delay: expected 0 to {LONGEST_DELAY} seconds, not {self.delay}")


class FailoverPlanSpecification(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A failover plan to be made: its machines take over one after the other, in this order."""

    name: str
    machines: tuple[PlannedMachine, ...]
    description: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_machines(self.machines)


class FailoverPlanEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change in a failover plan; what is left out stays. `machines` are all of them."""

    name: str | UnsetType = UNSET
    machines: tuple[PlannedMachine, ...] | UnsetType = UNSET
    description: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.name is not UNSET:
            _check_name(self.name)
        if self.machines is not UNSET:
            _check_machines(self.machines)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > LONGEST_NAME:
        raise ValueError(f"name: expected 1 to {LONGEST_NAME} characters")


def _check_machines(machines: tuple[PlannedMachine, ...]) -> None:
    if not 1 <= len(machines) <= MOST_MACHINES:
        raise ValueError(f"machines: expected 1 to {MOST_MACHINES}, not {len(machines)}")
    if len({machine.replica for machine in machines}) != len(machines):
        raise ValueError("machines: expected each replica once")
