"""What a manager and a backup server say to each other: the feed and the commands.

These are the only words between the two, also inside one process. They travel as JSON:

- ``GET /information`` → `Information`
- ``GET /changes?after=<cursor>&limit=<n>&wait=<seconds>`` → `Changes`; with `wait`, an empty
  answer is held back until something changes or the time is over
- ``POST /commands`` with a `Command` → `Outcome`; the same request id is carried out once, and
  asked again answers the same outcome
- ``GET /commands/<request id>`` → the `Outcome` of a command that was carried out; 404 otherwise

Restore points that are mounted are asked about where they are open; a mount lives in the backup
server's memory, and is gone when that restarts:

- ``GET /mounts?point=<uid>`` → list of `MountedPoint`
- ``DELETE /mounts/<uid>`` → 204
- ``GET /mounts/<uid>/entry?path=<path>`` → `Entry`; of a path inside the point, names joined by
  slashes. Names are shown as `holdfast.engine.guest_entry.shown_name` does
- ``GET /mounts/<uid>/entries?path=<path>&kinds=<all|directories|files>&offset=<n>&limit=<n>`` →
  `Listing`
- ``GET /mounts/<uid>/content?path=<path>`` → the file's bytes, as a stream; an answer that ends
  before its Content-Length was cut short

Machines that run from their restore point are asked about at their backup server, too:

- ``GET /instant-recoveries`` → list of `InstantRecovery`, oldest first

The catalog of files is asked in the same way, whether the repository is at hand or not:
``GET /catalog/<point>/entry`` and ``GET /catalog/<point>/entries``.

Refused are: 400 a request that makes no sense, 404 what is not there (any more), 422 what cannot
be read. The answer to them is a `Refusal`.

Values are those of `holdfast.schema.types`, as JSON writes them: a Uid and a Guid as text, a
DateTime as milliseconds since 1970 UTC, an enumeration by its value.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from holdfast.engine.guest_entry import Entry, Listing
from holdfast.server.failover_specification import (
    FailoverOptions,
    FailoverPlanEdit,
    FailoverPlanSpecification,
)
from holdfast.server.host_specification import HostEdit, HostSpecification
from holdfast.server.hours import DAYS, Hours
from holdfast.server.job_specification import (
    REPLICA,
    Included,
    JobEdit,
    JobSpecification,
    Linked,
    ReplicaTarget,
    Retry,
)
from holdfast.server.repository_specification import RepositoryImport
from holdfast.server.restore_specification import InstantSpecification, RestoreSpecification
from holdfast.server.schedule import (
    AfterJob,
    Continuously,
    Daily,
    Monthly,
    Periodically,
    Schedule,
)

__all__ = [
    "DAYS",
    "REPLICA",
    "AfterJob",
    "Change",
    "Changes",
    "Command",
    "Continuously",
    "Daily",
    "Entry",
    "FailoverOptions",
    "FailoverPlanEdit",
    "FailoverPlanSpecification",
    "HostEdit",
    "HostSpecification",
    "Hours",
    "Included",
    "Information",
    "InstantRecovery",
    "InstantSpecification",
    "JobEdit",
    "JobSpecification",
    "Linked",
    "Listing",
    "Made",
    "Monthly",
    "MountedPoint",
    "Outcome",
    "Periodically",
    "Refusal",
    "ReplicaTarget",
    "RepositoryImport",
    "RestoreSpecification",
    "Retry",
    "Schedule",
]


class Information(msgspec.Struct, frozen=True, kw_only=True):
    """Who a backup server is. `epoch` changes when its feed starts anew (a lost database)."""

    uid: UUID
    epoch: UUID
    name: str
    description: str
    version: str
    cursor: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The newest state of one resource, or its removal (`removed`).

    `type` is a resource type of the schema; `values` holds its elements, attributes and stored
    values by name; `relations` the UIDs of related resources by the relation's name. The relation
    to the backup server itself is understood and never sent.
    """

    sequence: int
    type: str
    uid: UUID
    removed: bool = False
    name: str = ""
    values: dict[str, Any] = {}
    relations: dict[str, UUID] = {}


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of the feed, oldest first. Ask next with `cursor`; at once when there is `more`."""

    epoch: UUID
    cursor: int
    more: bool
    changes: list[Change]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be done.

    ======================== =============== =======================================================
    operation                target          arguments
    ======================== =============== =======================================================
    start-job                job
    stop-job                 job
    retry-job                job
    sync-job                 copy job
    check-job                job             (every file in its backup is read)
    clone-job                job             name, description, repository (UUID); all optional
    toggle-schedule          job
    delete-job               job
    stop-session             job session
    create-job               -               a `JobSpecification` as JSON
    edit-job                 job             a `JobEdit` as JSON
    add-object               job             an `Included` as JSON
    remove-object            object in job
    add-linked-job           copy job        job: its UUID
    remove-linked-job        link
    add-linked-repository    copy job        repository (UUID)
    remove-linked-repository link
    quick-backup             -               machine: its hierarchy reference
    one-off-backup           -               machines (references), repository (UUID), remove (when)
    create-credentials       -               username, description, password
    edit-credentials         credentials     the same; what is left out stays as it is
    delete-credentials       credentials
    create-password          -               hint, password
    edit-password            password        the same; what is left out stays as it is
    delete-password          password
    add-host                 -               a `HostSpecification` as JSON
    edit-host                host            a `HostEdit` as JSON
    remove-host              host
    rescan-host              host, or -      (all of them)
    restore-machine          machine point   new_name (beside the original) or overwrite; power_on;
                                             of a host's also host, folder, new_identifiers, disks,
                                             and format for plain files
    mount-point              machine point
    restore-file             mount           path; download, or overwrite (in the original place)
    browse-catalog           machine point
    restore-catalog-file     machine point   path (in the catalog); overwrite
    stop-restore             restore session
    start-instant-recovery   machine point   host, new_name, folder, new_identifiers; all optional
    migrate-instant-recovery instant recovery
    discard-instant-recovery instant recovery
    failover-point           replica point
    failover                 replica         (to its newest point)
    planned-failover         replica         seconds for the guest to shut down; force
    undo-failover            replica
    permanent-failover       replica
    failback                 replica         seconds for the guest to shut down; force
    commit-failback          replica
    undo-failback            replica         force: though the source's host does not answer
    create-failover-plan     -               a `FailoverPlanSpecification` as JSON
    edit-failover-plan       failover plan   a `FailoverPlanEdit` as JSON
    delete-failover-plan     failover plan
    start-failover-plan      failover plan   until: no point later than that, in milliseconds
    undo-failover-plan       failover plan
    ======================== =============== =======================================================

    `asked_by` is the account, for the records and for reasons shown to people.
    """

    request_id: UUID
    operation: str
    target: UUID | None = None
    arguments: dict[str, Any] = {}
    asked_by: str = ""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The resource that a command created or started."""

    type: str
    uid: UUID
    name: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended on the backup server.

    When a manager has collected the feed up to `cursor`, it knows all that the command did. With
    `awaits`, it has only begun something of that UID; once that has ended, the outcome says how.
    """

    success: bool
    message: str
    cursor: int
    made: Made | None = None
    awaits: UUID | None = None


class MountedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A mount; `number` tells the mounts of one point apart."""

    uid: UUID
    point: UUID
    number: int


class InstantRecovery(msgspec.Struct, frozen=True, kw_only=True):
    """A machine, of that `name` and `uuid` on its host, that runs from its restore point.

    `state` is Starting, Running, Migrating (to its own storage) or Discarding; `session` is the
    restore session that is at it, `progress` how far that is, in percent.
    """

    uid: UUID
    point: UUID
    host: UUID
    host_name: str
    name: str
    uuid: str
    state: str
    created: int
    session: UUID | None
    progress: int | None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused, for people."""

    message: str
