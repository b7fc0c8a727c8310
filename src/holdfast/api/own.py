"""What Holdfast adds to the API, under a path of its own and in JSON alone.

Nothing here shows in the documents of the API proper, whose clients may be strict.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import msgspec
from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call, not_found
from holdfast.api.errors import BadRequest
from holdfast.api.own_bodies import guid_in, json_answer, json_object, read_as
from holdfast.api.own_descriptions import JOBS, ONE_JOB
from holdfast.api.resources import task_answer
from holdfast.api.routing import Router
from holdfast.catalog.reader import Row
from holdfast.catalog.select import Restriction
from holdfast.catalog.writer import OWNER
from holdfast.query.expression import Operator
from holdfast.query.request import Query, default_order
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import REPLICA, Command, JobEdit, JobSpecification

PREFIX = "/holdfast/v1"

#: What a copy job copies from: field, type of the links, and the element that names the target.
_LINKED = {
    "linked_jobs": ("LinkedJobObject", "LinkedJobUid"),
    "linked_repositories": ("LinkedBackupRepositoryObject", "LinkedBackupRepositoryUid"),
}

#: Links by the UID of their job and the field they stand in.
Links = dict[str, dict[str, list[dict[str, Any]]]]


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add(f"{PREFIX}/jobs", {"GET": jobs, "POST": create_job}, describe=JOBS)
    router.add(f"{PREFIX}/jobs/{{id}}", {"GET": job, "PUT": edit_job}, describe=ONE_JOB)


async def jobs(call: Call) -> Response:
    """Answer with all jobs by name, each as `job` answers it, under ``jobs``."""
    require(call, ADMINISTRATOR, "read jobs")
    resource = call.manager.schema["Job"]
    order = default_order(call.manager.schema, resource)
    found = await call.manager.reader.rows(Query(resource, None, order, None, True))
    links = await _links(call)
    return json_answer({"jobs": [_document(row, links) for row in found.rows]})


async def job(call: Call) -> Response:
    """Answer with one job: who it is, when it runs, what it backs up, what it keeps."""
    require(call, ADMINISTRATOR, "read jobs")
    resource = call.manager.schema["Job"]
    uid = call.path_uid(resource)
    identity = (Restriction("uid", Operator.EQUAL, uid.bytes),)
    row = await call.manager.reader.first(resource, identity, entities=True)
    if row is None:
        raise not_found(resource, uid)
    return json_answer(_document(row, await _links(call, uid)))


async def create_job(call: Call) -> Response:
    """Start making a job on the backup server that has the named repository or target host.

    The body is a job specification: ``name``, ``kind`` (Backup, NasBackup, BackupCopy,
    ImmediateBackupCopy or Replica), ``sources`` (each with a ``path`` on the backup server),
    ``objects`` (machines of hosts, hosts or tags, each by its ``reference``) and ``excludes`` or,
    for a copy job, ``linked_jobs`` and ``linked_repositories`` (UIDs or GUIDs) that it copies from,
    ``repository`` (UID or GUID) where it keeps its points or, for a Replica job, a ``target`` (its
    ``host``, UID or GUID, a ``folder`` and, if wanted, ``suffix`` and ``networks``), and if wanted
    ``description``, ``retention`` (points to keep), ``retention_days``, ``schedule``,
    ``schedule_enabled``, ``retry``, ``window`` and ``options``: how it does its work. A
    ``schedule`` has a ``type``: Daily, Monthly, Periodically, Continuously or AfterJob. What cannot
    be right is refused at once, by the name of its field; what only the backup server can refuse is
    the reason in the task.
    """
    require(call, ADMINISTRATOR, "create jobs")
    given = await json_object(call)
    written = {name: _guids(given[name], name) for name in _LINKED if name in given}
    replicating = given.get("kind") == REPLICA
    if not replicating or "repository" in given:
        written["repository"] = str(guid_in(given.get("repository", ""), "repository"))
    if isinstance(target := given.get("target"), dict) and "host" in target:
        written["target"] = target | {"host": str(guid_in(target["host"], "target.host"))}
    specification = read_as(given | written, JobSpecification)
    server = await _server_for(call, specification)
    command = Command(
        request_id=uuid4(),
        operation="create-job",
        arguments=msgspec.to_builtins(specification),
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, "CreateJob", server, command)
    return await task_answer(call, task)


async def _server_for(call: Call, specification: JobSpecification) -> UUID:
    """Return the backup server that a new job is for. Raises BadRequest, naming the field."""
    field, kind, uid = "repository", "Repository", specification.repository
    if specification.target is not None:
        field, kind, uid = "target.host", "ManagedServer", specification.target.host
    server = None
    if uid is not None:
        server = await call.manager.reader.related(call.manager.schema[kind], uid, OWNER)
    if server is None:
        what = "repository" if kind == "Repository" else "host"
        raise BadRequest(f"{field}: there is no {what} {uid}.")
    return server


async def edit_job(call: Call) -> Response:
    """Start changing a job: the body says what changes, the rest stays as it is.

    It may hold ``name``, ``description``, ``retention``, ``retention_days``, ``schedule`` and
    ``window`` (null takes any of the three away), ``schedule_enabled``, ``retry``, ``options`` (all
    of them), and ``objects``: all that the job has after,
    each by its ``uid``, or a new one by ``reference`` and ``name``; likewise ``excludes``. A
    copy job has ``linked_jobs`` and ``linked_repositories`` instead: each by its ``uid``, or a new
    one by its ``target``.
    """
    require(call, ADMINISTRATOR, "edit jobs")
    resource = call.manager.schema["Job"]
    uid = call.path_uid(resource)
    edit = read_as(await json_object(call), JobEdit)
    server = await call.manager.reader.related(resource, uid, OWNER)
    if server is None:
        raise not_found(resource, uid)
    command = Command(
        request_id=uuid4(),
        operation="edit-job",
        target=uid,
        arguments=msgspec.to_builtins(edit),
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, "EditJob", server, command)
    return await task_answer(call, task)


async def _links(call: Call, job: UUID | None = None) -> Links:
    """Return the links of all copy jobs, or of one, by the job's UID."""
    schema = call.manager.schema
    found: Links = {}
    for field, (type_name, target) in _LINKED.items():
        resource = schema[type_name]
        column = resource.relation("job").column
        only = () if job is None else (Restriction(column, Operator.EQUAL, job.bytes),)
        order = default_order(schema, resource)
        rows = await call.manager.reader.rows(Query(resource, None, order, None, True), only)
        for row in rows.rows:
            link = {"uid": row["ObjectInJobId"], "target": row[target]}
            found.setdefault(row["job.UID"], {}).setdefault(field, []).append(link)
    return found


def _document(row: Row, links: Links) -> dict[str, Any]:
    linked = links.get(row["UID"], {})
    every = row["JobInfo"] or {}
    info = every.get("BackupJobInfo") or every.get("ReplicaJobInfo") or {}
    objects = (info.get("Includes") or {}).get("ObjectInJob") or ()
    return {
        "uid": row["UID"],
        "name": row["Name"],
        "kind": row["JobType"],
        "description": row["Description"],
        "server": row["server.UID"],
        "repository": row["RepositoryUid"],
        "target": _json_of(row["Target"]) or None,
        "retention": row["RetainedPoints"],
        "retention_days": row["RetainedDays"],
        "options": _json_of(row["Options"]),
        "schedule_enabled": row["ScheduleEnabled"],
        "next_run": row["NextRun"],
        "schedule_options": _schedule_options(row),
        "objects": _objects(objects),
        "excludes": _objects((row["Excludes"] or {}).get("ObjectInJob") or ()),
        **{field: linked.get(field, []) for field in _LINKED},
    }


def _objects(found: Iterable[Row]) -> list[dict[str, Any]]:
    return [
        {
            "uid": each["ObjectInJobId"],
            "name": each["Name"],
            "reference": each["HierarchyObjRef"],
        }
        for each in found
    ]


def _schedule_options(row: Row) -> Any:
    options = row["JobScheduleOptions"] or {}
    return options.get("Standart") or options.get("ImmediateCopyMode")


def _json_of(text: str | None) -> dict[str, Any]:
    """Return the options of a job, or its target, as its backup server tells them.

    Were that another version, too.
    """
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _guids(given: Any, field: str) -> Any:
    """Given a list of UIDs, return it as GUIDs; what is no list is left to be refused."""
    if not isinstance(given, list):
        return given
    return [str(guid_in(each, f"{field}[{index}]")) for index, each in enumerate(given)]
