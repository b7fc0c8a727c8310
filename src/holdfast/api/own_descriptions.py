"""Descriptions of what Holdfast adds to the API. Its bodies are read, and its answers are, JSON.

What requests say is made from what they are read as.
"""

from __future__ import annotations

from holdfast.api.description import Answer, Body, Operation
from holdfast.api.own_shapes import STARTED, TEXT, components_of, object_of, or_null
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import JobEdit, JobSpecification, ReplicaTarget

_AREA = "Holdfast"
_JOB = "HoldfastJob"

_BOOLEAN: JsonSchema = {"type": "boolean"}
_WHOLE: JsonSchema = {"type": "integer"}
_POINTS = {"type": "integer", "minimum": 1, "description": "Points to keep."}


#: What a copy job copies from.
_LINKS: JsonSchema = {"type": "array", "items": object_of({"uid": TEXT, "target": or_null(TEXT)})}


def _schemas() -> dict[str, JsonSchema]:
    """The schemas that the descriptions name."""
    wanted = (JobSpecification, JobEdit)
    found = components_of(*wanted)
    made, changed = (found[kind.__name__]["properties"] for kind in wanted)
    made["repository"] = TEXT | {"description": "The UID or the GUID of a repository."}
    made["sources"] = {"type": "array", "items": made["sources"]["items"], "minItems": 1}
    linked = {"type": "array", "items": TEXT, "description": "UIDs or GUIDs; for copy jobs."}
    made |= {"linked_jobs": linked, "linked_repositories": linked}
    host = TEXT | {"description": "The UID or the GUID of a host."}
    found[ReplicaTarget.__name__]["properties"]["host"] = host
    found[JobSpecification.__name__]["oneOf"] = [
        {"required": [name]} for name in ("repository", "target")
    ]
    found[JobSpecification.__name__]["anyOf"] = [
        {"required": [name]}
        for name in ("sources", "objects", "linked_jobs", "linked_repositories")
    ]
    made["retention"] |= _POINTS
    changed["retention"] |= _POINTS
    changed["objects"] |= {"minItems": 1}
    found[_JOB] = object_of(
        {
            "uid": TEXT | {"format": "uuid"},
            "name": TEXT,
            "kind": or_null(TEXT),
            "description": or_null(TEXT),
            "server": or_null(TEXT | {"format": "uuid"}),
            "repository": or_null(TEXT | {"format": "uuid"}),
            "target": or_null(named(ReplicaTarget.__name__)),
            "retention": or_null(_WHOLE),
            "retention_days": or_null(_WHOLE),
            "options": {
                "type": "object",
                "description": "What a job was told, as in `JobOptions`; the rest is as usual.",
            },
            "schedule_enabled": or_null(_BOOLEAN),
            "next_run": or_null(_WHOLE | {"description": "Milliseconds since 1970, UTC."}),
            "schedule_options": or_null(
                {"type": "object", "description": "As in the JobScheduleOptions of a Job."}
            ),
            "objects": {
                "type": "array",
                "items": object_of({"uid": TEXT, "name": TEXT, "reference": TEXT}),
            },
            "excludes": {
                "type": "array",
                "items": object_of({"uid": TEXT, "name": TEXT, "reference": TEXT}),
            },
            "linked_jobs": _LINKS,
            "linked_repositories": _LINKS,
        }
    )
    return found


#: The schemas of bodies and answers, by component name.
SCHEMAS = _schemas()


JOBS = {
    "GET": Operation(
        "List all jobs",
        _AREA,
        {
            200: Answer(
                "The jobs, by name.", object_of({"jobs": {"type": "array", "items": named(_JOB)}})
            )
        },
        ADMINISTRATOR,
    ),
    "POST": Operation(
        "Create a job",
        _AREA,
        STARTED,
        ADMINISTRATOR,
        body=Body(named(JobSpecification.__name__), required=True),
    ),
}
ONE_JOB = {
    "GET": Operation(
        "Read one job: when it runs, what it backs up, what it keeps",
        _AREA,
        {200: Answer("The job.", named(_JOB))},
        ADMINISTRATOR,
    ),
    "PUT": Operation(
        "Change one job; what is left out stays as it is",
        _AREA,
        STARTED,
        ADMINISTRATOR,
        body=Body(named(JobEdit.__name__), required=True),
    ),
}
