"""The bodies of requests that ask for an action."""

from __future__ import annotations

from typing import Any

from holdfast.api.backup_server_descriptions import CREDENTIALS_CHANGES
from holdfast.api.call import Call
from holdfast.api.errors import BadRequest
from holdfast.api.negotiation import sends_json
from holdfast.representation.json_schema import (
    JsonSchema,
    changes_name,
    changes_schema,
    request_schema,
)
from holdfast.representation.requests import read_body
from holdfast.schema.resource import NAME, Action, ResourceType, Schema
from holdfast.schema.resources.credentials import (
    CREDENTIALS_CHANGE,
    CREDENTIALS_SPEC,
    PASSWORD_KEY_SPEC,
)
from holdfast.schema.resources.failover_plans import FAILOVER_PLAN_MANAGEMENT_SPEC
from holdfast.schema.resources.infrastructure import BACKUP_SERVER_SPEC
from holdfast.schema.resources.job_requests import (
    CREATE_OBJECT_IN_JOB_SPEC,
    QUICK_BACKUP_STARTUP_SPEC,
    VEEAM_ZIP_STARTUP_SPEC,
)
from holdfast.schema.resources.jobs import JOB_CLONE_SPEC
from holdfast.schema.resources.restore_specs import FILE_RESTORE_SPEC, RESTORE_SPEC
from holdfast.schema.resources.security import (
    ACCOUNT_CREATE_SPEC,
    ACCOUNT_IN_ROLE_CREATE_SPEC,
    HIERARCHY_SCOPE_CREATE_SPEC,
    REBUILD_SCOPE_JOB_SPEC,
)
from holdfast.schema.types import Element, Structure, Uid

#: The declarations of bodies that are no documents of a type, by the name of their root or
#: component.
BODIES: dict[str, Element] = {
    body.name: body
    for body in (
        ACCOUNT_CREATE_SPEC,
        ACCOUNT_IN_ROLE_CREATE_SPEC,
        BACKUP_SERVER_SPEC,
        CREATE_OBJECT_IN_JOB_SPEC,
        CREDENTIALS_SPEC,
        FAILOVER_PLAN_MANAGEMENT_SPEC,
        FILE_RESTORE_SPEC,
        HIERARCHY_SCOPE_CREATE_SPEC,
        JOB_CLONE_SPEC,
        PASSWORD_KEY_SPEC,
        QUICK_BACKUP_STARTUP_SPEC,
        REBUILD_SCOPE_JOB_SPEC,
        RESTORE_SPEC,
        VEEAM_ZIP_STARTUP_SPEC,
    )
} | {CREDENTIALS_CHANGES: CREDENTIALS_CHANGE}


async def body_of(call: Call, resource: ResourceType, action: Action) -> dict[str, Any]:
    """Given an action on a type, return what its request's body says; nothing where it has none.

    Raises BadRequest or RequestError for a body that cannot be understood.
    """
    if action.body is None:
        return {}
    body = await call.body()
    is_document = action.body == resource.element_name
    if not body.strip():
        if is_document:
            raise BadRequest(f"The body: expected a document {action.body}.")
        return {}
    root = document_of(resource) if is_document else BODIES[action.body]
    return read_body(body, is_json=sends_json(call.request), root=root, any_root=action.any_root)


def body_schemas(schema: Schema) -> dict[str, JsonSchema]:
    """Given the resource types, return the schemas of all bodies, by component name."""
    found = {name: request_schema(root) for name, root in BODIES.items()}
    for resource in schema:
        if any(action.body == resource.element_name for action in resource.actions):
            found[changes_name(resource)] = changes_schema(document_of(resource))
    return found


def document_of(resource: ResourceType) -> Element:
    """Given a type, return the declaration of its documents as requests hold them."""
    own = (NAME, Element("UID", Uid(resource.document_type))) if resource.key else ()
    parts = Structure(children=resource.elements, attributes=(*resource.attributes, *own))
    return Element(resource.element_name, parts)
