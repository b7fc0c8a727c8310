"""The document of a job in a request, understood: as a change of the job it was read from. Pure.

What can be changed is read; what cannot must be as the job has it, or not be there, so that a
document that was read, changed and sent back is taken, and nothing that was asked for is
silently left undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from holdfast.manager.schedule_documents import checked, schedule_changes
from holdfast.representation.requests import RequestError
from holdfast.schema.naming import guid_of
from holdfast.server.messages import Included, JobEdit, Linked

Document = Mapping[str, Any]

_STANDARD = "JobScheduleOptions.Standart"
_IMMEDIATE = "JobScheduleOptions.ImmediateCopyMode"
_BACKUP = "JobInfo.BackupJobInfo"
_REPLICA = "JobInfo.ReplicaJobInfo"
_COPY = "JobInfo.BackupCopyJobInfo"
_IMMEDIATE_COPY = "JobInfo.ImmediateBackupCopyJobInfo"

#: Elements of which a job has one child, by its type.
_CHOICES = ("JobScheduleOptions", "JobInfo")

#: The lists of links in a copy job's part of JobInfo: the item, its target, the field of a change.
_LINKS = {
    "LinkedJobIncludes": ("LinkedJobObject", "LinkedJobUid", "linked_jobs"),
    "LinkedBackupRepositoryIncludes": (
        "LinkedBackupRepository",
        "LinkedBackupRepositoryUid",
        "linked_repositories",
    ),
}

#: What `job_edit` reads itself, and what the backup server works out.
_READ = frozenset(
    {
        "Name",
        "Description",
        "ScheduleEnabled",
        "ScheduleConfigured",
        "NextRun",
        f"{_STANDARD}.RetryOptions",
        f"{_STANDARD}.OptionsDaily",
        f"{_STANDARD}.OptionsMonthly",
        f"{_STANDARD}.OptionsPeriodically",
        f"{_STANDARD}.OptionsContinuous",
        f"{_STANDARD}.OptionsBackupWindow",
        f"{_STANDARD}.OptionsDaisyChaining",
        f"{_IMMEDIATE}.OptionsContinuous",
        f"{_BACKUP}.Includes",
        f"{_REPLICA}.Includes",
        f"{_BACKUP}.SimpleRetentionPolicy.RetainCycles",
        f"{_BACKUP}.SimpleRetentionPolicy.RetainDaysToKeep",
        f"{_BACKUP}.SimpleRetentionPolicy.RetainLimitType",
        f"{_COPY}.LinkedJobIncludes",
        f"{_IMMEDIATE_COPY}.LinkedJobIncludes",
        f"{_IMMEDIATE_COPY}.LinkedBackupRepositoryIncludes",
    }
)


def job_edit(document: Document, job: Document) -> dict[str, Any]:
    """Given a job's document and its present row, return the arguments of ``edit-job``.

    Raises RequestError, naming the element, for what makes no sense or cannot be changed.
    """
    _refuse_other_types(document, job)
    _refuse_unchangeable(document, job, "Job")
    changes: dict[str, Any] = {}
    for name, field in (("Name", "name"), ("Description", "description")):
        if name in document and document[name] != (job.get(name) or ""):
            changes[field] = document[name]
    for mode in (_STANDARD, _IMMEDIATE):
        changes |= schedule_changes(_part(document, mode), _part(job, mode), f"Job.{mode}")
    if changes.get("schedule", True) is None and _part(job, _IMMEDIATE):
        raise RequestError(
            f"Element Job.{_IMMEDIATE}.OptionsContinuous: cannot be taken away; ScheduleEnabled "
            "switches it off."
        )
    changes |= _switch(document, job, changes)
    simple = f"{_BACKUP}.SimpleRetentionPolicy"
    changes |= _retention(_part(document, simple), _part(job, simple), f"Job.{simple}")
    for path in (_BACKUP, _REPLICA):
        info, present_info = _part(document, path), _part(job, path)
        if "Includes" in info:
            wanted = info["Includes"].get("ObjectInJob") or ()
            known = (present_info.get("Includes") or {}).get("ObjectInJob") or ()
            changes["objects"] = _objects(wanted, known, f"Job.{path}.Includes.ObjectInJob")
    for path in (_COPY, _IMMEDIATE_COPY):
        changes |= _links(_part(document, path), f"Job.{path}")
    edit = checked(lambda: JobEdit(**changes), "Job")
    arguments: dict[str, Any] = msgspec.to_builtins(edit)
    return arguments


def _retention(wanted: Document, present: Document, at: str) -> dict[str, Any]:
    """Return what changes in how many points are kept, or for how many days."""
    changes: dict[str, Any] = {}
    if wanted.get("RetainCycles") is not None:
        changes["retention"] = wanted["RetainCycles"]
    before = {name: present.get(name) for name in ("RetainLimitType", "RetainDaysToKeep")}
    after = before | {name: wanted[name] for name in before if wanted.get(name) is not None}
    if after == before:
        return changes
    days = after["RetainDaysToKeep"] or 0
    if after["RetainLimitType"] == "Cycles":
        if "RetainDaysToKeep" in wanted and days and days != before["RetainDaysToKeep"]:
            raise RequestError(f"Element {at}.RetainDaysToKeep: expected 0 with Cycles, or Days.")
        return changes | {"retention_days": None}
    if days < 1:
        raise RequestError(f"Element {at}.RetainDaysToKeep: expected 1 or more with Days.")
    return changes | {"retention_days": days}


def _switch(document: Document, job: Document, changes: Document) -> dict[str, Any]:
    """Whether the schedule is on. One that is given to a job without any is on, unless asked off.

    A document that was read from such a job says off, which was not asked for.
    """
    was_on, wanted = bool(job.get("ScheduleEnabled")), document.get("ScheduleEnabled")
    if changes.get("schedule") is not None and not job.get("ScheduleConfigured"):
        return {"schedule_enabled": True}
    return {} if wanted is None or wanted == was_on else {"schedule_enabled": wanted}


def _objects(
    wanted: Sequence[Document], known: Sequence[Document], at: str
) -> tuple[Included, ...]:
    """Return the objects that the job is to have, in the order that they say or stand in."""
    if not wanted:
        raise RequestError(f"Element {at}: a job needs at least one object.")
    if all("Order" in each for each in wanted):
        wanted = sorted(wanted, key=lambda each: each["Order"])
    present = {str(each["ObjectInJobId"]): each for each in known}
    return tuple(_included(each, present, at) for each in wanted)


def _included(wanted: Document, present: Mapping[str, Document], at: str) -> Included:
    uid = wanted.get("ObjectInJobId")
    if uid is None:
        if not wanted.get("HierarchyObjRef"):
            raise RequestError(f"Element {at}: HierarchyObjRef is missing.")
        refuse_guest_processing(wanted, at)
        name = wanted.get("Name") or wanted.get("DisplayName") or ""
        return checked(lambda: Included(reference=wanted["HierarchyObjRef"], name=name), at)  # type: ignore[no-any-return]
    if uid not in present:
        raise RequestError(f"Element {at}.ObjectInJobId: the job has no object {uid}.")
    own = {name: value for name, value in wanted.items() if name not in ("Order", "Type", "Href")}
    _refuse_unchangeable(own, present[uid], at)
    return Included(uid=UUID(uid))


def _links(info: Document, at: str) -> dict[str, tuple[Linked, ...]]:
    """Return the links that a copy job is to have, by the fields of a change."""
    changes = {}
    for includes, (item, target, field) in _LINKS.items():
        if includes in info:
            place = f"{at}.{includes}.{item}"
            wanted = info[includes].get(item) or ()
            changes[field] = tuple(_link(each, target, place) for each in wanted)
    return changes


def _link(wanted: Document, target: str, at: str) -> Linked:
    uid, linked = wanted.get("ObjectInJobId"), wanted.get(target)
    if uid is None and linked is None:
        raise RequestError(f"Element {at}: {target} is missing.")
    return Linked(uid=uid and UUID(uid), target=linked and UUID(linked))


def _refuse_other_types(document: Document, job: Document) -> None:
    """Raise RequestError for what only jobs of another type have."""
    for choice in _CHOICES:
        present = job.get(choice) or {}
        for name, value in (document.get(choice) or {}).items():
            if present and name not in present and value:
                raise RequestError(
                    f"Element Job.{choice}.{name}: the job is of type {job.get('JobType')} and "
                    f"has {' and '.join(present)}."
                )


def refuse_guest_processing(document: Document, at: str) -> None:
    """Raise RequestError when something is to be done inside a machine, which nobody would do."""
    given = document.get("GuestProcessingOptions") or {}
    _refuse_unchangeable({"GuestProcessingOptions": given}, {}, at)


def _refuse_unchangeable(given: Document, present: Document, at: str) -> None:
    for name, value in given.items():
        path = f"{at}.{name}"
        now = present.get(name)
        if path.removeprefix("Job.") in _READ:
            continue
        if path == "Job.UID":
            same = guid_of(value) == guid_of(str(now))
        elif isinstance(value, Mapping):
            if now is None and value.get("Enabled") is False:
                continue  # a part we do not have, switched off: what it says means nothing
            _refuse_unchangeable(value, now or {}, path)
            continue
        else:
            same = value == now or (now is None and value in _NOTHING)
        if not same:
            told = f"it is {now}" if isinstance(now, str | int) else "it is not supported"
            raise RequestError(f"Element {path}: cannot be changed; {told}.")


#: Values that say no more than that there is nothing.
_NOTHING: tuple[Any, ...] = (False, 0, "", "Disabled", [], {})


def _part(document: Document, path: str) -> Document:
    """Given names joined by dots, return the structure there; an empty one when it is not."""
    for name in path.split("."):
        document = document.get(name) or {}
    return document
