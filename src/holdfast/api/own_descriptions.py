"""Descriptions of what Holdfast adds to the API. Its bodies are read, and its answers are, JSON.

What requests say is made from what they are read as.
"""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from holdfast.api.description import Answer, Body, Operation, document
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import JobEdit, JobSpecification, ReplicaTarget

_AREA = "Holdfast"
_JOB = "HoldfastJob"

_TEXT: JsonSchema = {"type": "string"}
_BOOLEAN: JsonSchema = {"type": "boolean"}
_WHOLE: JsonSchema = {"type": "integer"}
_POINTS = {"type": "integer", "minimum": 1, "description": "Points to keep."}


def _or_null(described: JsonSchema) -> JsonSchema:
    return {"anyOf": [described, {"type": "null"}]}


def _object(properties: dict[str, JsonSchema]) -> JsonSchema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


#: What a copy job copies from.
_LINKS: JsonSchema = {"type": "array", "items": _object({"uid": _TEXT, "target": _or_null(_TEXT)})}


def _schemas() -> dict[str, JsonSchema]:
    """The schemas that the descriptions name."""
    wanted = (JobSpecification, JobEdit)
    template = "#/components/schemas/{name}"
    found: dict[str, Any] = msgspec.json.schema_components(wanted, ref_template=template)[1]
    for described in found.values():
        # The rest of the text is for those who read the code.
        described["description"] = cleandoc(described["description"]).partition("\n\n")[0]
    made, changed = (found[kind.__name__]["properties"] for kind in wanted)
    made["repository"] = _TEXT | {"description": "The UID or the GUID of a repository."}
    made["sources"] = {"type": "array", "items": made["sources"]["items"], "minItems": 1}
    linked = {"type": "array", "items": _TEXT, "description": "UIDs or GUIDs; for copy jobs."}
    made |= {"linked_jobs": linked, "linked_repositories": linked}
    host = _TEXT | {"description": "The UID or the GUID of a host."}
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
    found[_JOB] = _object(
        {
            "uid": _TEXT | {"format": "uuid"},
            "name": _TEXT,
            "kind": _or_null(_TEXT),
            "description": _or_null(_TEXT),
            "server": _or_null(_TEXT | {"format": "uuid"}),
            "repository": _or_null(_TEXT | {"format": "uuid"}),
            "retention": _or_null(_WHOLE),
            "retention_days": _or_null(_WHOLE),
            "options": {
                "type": "object",
                "description": "What a job was told, as in `JobOptions`; the rest is as usual.",
            },
            "schedule_enabled": _or_null(_BOOLEAN),
            "next_run": _or_null(_WHOLE | {"description": "Milliseconds since 1970, UTC."}),
            "schedule_options": _or_null(
                {"type": "object", "description": "As in the JobScheduleOptions of a Job."}
            ),
            "objects": {
                "type": "array",
                "items": _object({"uid": _TEXT, "name": _TEXT, "reference": _TEXT}),
            },
            "excludes": {
                "type": "array",
                "items": _object({"uid": _TEXT, "name": _TEXT, "reference": _TEXT}),
            },
            "linked_jobs": _LINKS,
            "linked_repositories": _LINKS,
        }
    )
    return found


#: The schemas of bodies and answers, by component name.
SCHEMAS = _schemas()

_STARTED = {202: document("Task", "The task under which it is done.")}

JOBS = {
    "GET": Operation(
        "List all jobs",
        _AREA,
        {
            200: Answer(
                "The jobs, by name.", _object({"jobs": {"type": "array", "items": named(_JOB)}})
            )
        },
        ADMINISTRATOR,
    ),
    "POST": Operation(
        "Create a job",
        _AREA,
        _STARTED,
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
        _STARTED,
        ADMINISTRATOR,
        body=Body(named(JobEdit.__name__), required=True),
    ),
}
