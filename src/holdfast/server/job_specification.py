"""What people say of a job when they make, clone or change it. Checked as it is read; pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.server.hours import Hours
from holdfast.server.job_options import JobOptions, check_options
from holdfast.server.schedule import Continuously, Schedule

LONGEST_NAME = 255
LONGEST_SUFFIX = 64
GREATEST_RETENTION = 9999


#: A copy job that runs whenever there is a new point to copy.
IMMEDIATE_COPY = "ImmediateBackupCopy"
COPY_KINDS = ("BackupCopy", IMMEDIATE_COPY)

#: A job that keeps copies of machines ready on another host.
REPLICA = "Replica"


def is_copy(kind: str) -> bool:
    """Given the kind of a job, say whether it copies restore points instead of making them."""
    return kind in COPY_KINDS


def plain_path(text: str) -> PurePosixPath:
    """Given a path, return it without doubled or final slashes, so that equal ones look equal."""
    # Two slashes at the beginning are kept by pathlib, since POSIX lets them mean something.
    return PurePosixPath("/" + text.lstrip("/")) if text.startswith("/") else PurePosixPath(text)


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A disk image or a directory to back up.

    `path` is absolute, on the server's host. `name` is what people see; by default the file's
    name without its ending, or the directory's path. `format` is the image's format: whoever
    knows it should say it, otherwise ``.raw`` and ``.qcow2`` tell, and then the image itself.
    """

    path: str
    name: str = ""
    format: Literal["raw", "qcow2"] | None = None

    def __post_init__(self) -> None:
        path = plain_path(self.path)
        if not path.is_absolute() or ".." in path.parts or "\0" in self.path:
            raise ValueError(f"path: expected an absolute path, not {self.path!r}")
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"name: expected at most {LONGEST_NAME} characters")


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often the machines that failed in a scheduled session are tried again, and how soon.

    `minutes` are from the end of a session to the next try. No `times` means never.
    """

    times: int = 0
    minutes: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.times <= 999:
            raise ValueError("times: expected between 0 and 999")
        if not 0 <= self.minutes <= 1440:
            raise ValueError("minutes: expected between 0 and 1440")


class Included(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object that a job is to have: one it has, by `uid`, or a new one.

    A new one is named by its hierarchy reference; see `job_objects.resolve`.
    """

    uid: UUID | None = None
    reference: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if self.uid is None and not self.reference:
            raise ValueError("reference: expected the hierarchy reference of an object")
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"name: expected at most {LONGEST_NAME} characters")


class ReplicaTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where replicas are made.

    `host` is the one they are to run on, `folder` the one for their files, seen by that host and by
    the backup server under the same absolute path. A replica is called as its machine, with the
    `suffix`. `networks` gives the host's network for networks of the source that it does not have.
    """

    host: UUID
    folder: str
    suffix: str = "_replica"
    networks: dict[str, str] = {}

    def __post_init__(self) -> None:
        path = plain_path(self.folder)
        if not path.is_absolute() or ".." in path.parts or "\0" in self.folder:
            raise ValueError(f"folder: expected an absolute path, not {self.folder!r}")
        check_suffix(self.suffix)
        if not all(name.strip() and other.strip() for name, other in self.networks.items()):
            raise ValueError("networks: expected names of networks, each with the name of another")


class JobSpecification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job to be made.

    A `Backup` job takes disk images of machines, a `NasBackup` job directories: its `sources`. A
    `Backup` job may have `objects` as well or instead: machines of hosts, whole hosts (all their
    machines, those that come later, too) and tags, less what it `excludes`. A
    `BackupCopy` job copies the restore points that its `linked_jobs` made and those that lie in
    its `linked_repositories`; an `ImmediateBackupCopy` job does so as soon as there is a new one,
    and a schedule can only limit it to some hours. A `Replica` job keeps replicas of its `objects`
    on the host and in the folder of its `target`. `repository` is where the points are kept (those
    of replicas are in the target's folder), `retention` how many to keep of each machine, or
    `retention_days` for how many days instead; `window` are the hours in which the job may run,
    `options` how it does its work.
    """

    name: str
    repository: UUID | None = None
    target: ReplicaTarget | None = None
    sources: tuple[Source, ...] = ()
    objects: tuple[Included, ...] = ()
    excludes: tuple[Included, ...] = ()
    linked_jobs: tuple[UUID, ...] = ()
    linked_repositories: tuple[UUID, ...] = ()
    kind: Literal["Backup", "NasBackup", "BackupCopy", "ImmediateBackupCopy", "Replica"] = "Backup"
    description: str = ""
    retention: int = 7
    retention_days: int | None = None
    schedule: Schedule | None = None
    schedule_enabled: bool = True
    retry: Retry = Retry()
    window: Hours | None = None
    options: JobOptions = JobOptions()

    def __post_init__(self) -> None:
        check_name(self.name)
        check_retention(self.retention)
        if self.kind == REPLICA:
            self._check_replica()
        elif self.target is not None:
            raise ValueError(f"target: only a job of kind {REPLICA} has one")
        elif self.repository is None:
            raise ValueError("repository: expected the repository for the restore points")
        check_retention_days(self.retention_days)
        check_options(self.options, self.kind)
        if is_copy(self.kind):
            self._check_copy()
        else:
            self._check_sources()

    def _check_replica(self) -> None:
        if self.target is None:
            raise ValueError(f"target: a job of kind {REPLICA} needs a target: host, folder")
        if self.repository is not None:
            raise ValueError("repository: replicas lie in the folder of the target instead")
        if self.sources:
            raise ValueError("sources: replicas are made of objects (machines, hosts, tags)")

    def _check_copy(self) -> None:
        for name in ("sources", "objects", "excludes"):
            if getattr(self, name):
                raise ValueError(f"{name}: a copy job has linked_jobs, linked_repositories instead")
        for name in ("linked_jobs", "linked_repositories"):
            linked = getattr(self, name)
            if len(set(linked)) != len(linked):
                raise ValueError(f"{name}: each may be given once")
        if not (self.linked_jobs or self.linked_repositories):
            raise ValueError("linked_jobs, linked_repositories: expected at least one of either")
        if self.kind == IMMEDIATE_COPY:
            check_immediate(self.schedule or Continuously())

    def _check_sources(self) -> None:
        for name in ("linked_jobs", "linked_repositories"):
            if getattr(self, name):
                raise ValueError(f"{name}: only a copy job has any")
        if not (self.sources or self.objects):
            places = {"NasBackup": "sources", REPLICA: "objects"}.get(self.kind, "objects, sources")
            raise ValueError(f"{places}: expected at least one of what the job is to keep")
        for name in ("objects", "excludes"):
            if any(each.uid for each in getattr(self, name)):
                raise ValueError(f"{name}: those of a new job have no uid yet, only a reference")
        paths = {plain_path(source.path) for source in self.sources}
        if len(paths) != len(self.sources):
            raise ValueError("sources: each may be given once")
        if self.kind == "NasBackup" and any(source.format for source in self.sources):
            raise ValueError("sources: a directory has no image format")


class CloneSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """How a clone differs from its job; what is left out stays as it is.

    `suffix` is for the replicas of a job of kind Replica; by default it is that of the job with
    ``_clone``, so that the two do not make replicas of one name.
    """

    name: str | None = None
    description: str | None = None
    repository: UUID | None = None
    suffix: str | None = None

    def __post_init__(self) -> None:
        if self.suffix is not None:
            check_suffix(self.suffix)


class Linked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a copy job is to copy from: a link that it has, by `uid`, or a new one.

    A new one is named by the UID of its `target`: a job or a repository.
    """

    uid: UUID | None = None
    target: UUID | None = None

    def __post_init__(self) -> None:
        if self.uid is None and self.target is None:
            raise ValueError("uid, target: expected the uid of the link or that of its target")


class JobEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a job is to change; what is left out stays as it is.

    A `schedule`, a `window` or `retention_days` of None is taken away. `objects` are all that the
    job has after, and so are `excludes` and `options`, and `linked_jobs` and
    `linked_repositories` with a copy job.
    """

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    retention: int | UnsetType = UNSET
    retention_days: int | UnsetType | None = UNSET
    schedule: Schedule | UnsetType | None = UNSET
    schedule_enabled: bool | UnsetType = UNSET
    retry: Retry | UnsetType = UNSET
    window: Hours | UnsetType | None = UNSET
    options: JobOptions | UnsetType = UNSET
    objects: tuple[Included, ...] | UnsetType = UNSET
    excludes: tuple[Included, ...] | UnsetType = UNSET
    linked_jobs: tuple[Linked, ...] | UnsetType = UNSET
    linked_repositories: tuple[Linked, ...] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.name is not UNSET:
            check_name(self.name)
        if self.retention is not UNSET:
            check_retention(self.retention)
        if self.objects is not UNSET and not self.objects:
            raise ValueError("objects: expected at least one")


def check_name(name: str) -> None:
    """Raise ValueError unless a job may have this name."""
    if not name.strip() or len(name) > LONGEST_NAME:
        raise ValueError(f"name: a job needs a name of at most {LONGEST_NAME} characters")


def check_suffix(suffix: str) -> None:
    """Raise ValueError unless the names of replicas may end in this."""
    if not suffix.strip() or len(suffix) > LONGEST_SUFFIX or not suffix.isprintable():
        raise ValueError(f"suffix: expected 1 to {LONGEST_SUFFIX} printable characters")
    if "/" in suffix:
        raise ValueError("suffix: expected no slash")


def check_immediate(schedule: Schedule | None) -> None:
    """Raise ValueError unless a copy job that runs for each new point may have this schedule."""
    if not isinstance(schedule, Continuously):
        raise ValueError(
            f"schedule: that of a job of kind {IMMEDIATE_COPY} is of type Continuously; its hours "
            "say when it may copy, and schedule_enabled switches it off"
        )


def check_retention(retention: int) -> None:
    """Raise ValueError unless a job may keep so many points."""
    if not 1 <= retention <= GREATEST_RETENTION:
        raise ValueError(f"retention: expected between 1 and {GREATEST_RETENTION} restore points")


def check_retention_days(days: int | None) -> None:
    """Raise ValueError unless a job may keep its points for so many days."""
    if days is not None and not 1 <= days <= GREATEST_RETENTION:
        raise ValueError(f"retention_days: expected between 1 and {GREATEST_RETENTION}")
