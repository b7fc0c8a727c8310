"""Descriptions of the calls that manage backup servers and their secrets, and that look up."""

from __future__ import annotations

from holdfast.api.description import Answer, Body, Operation, Parameter, document
from holdfast.representation.json_schema import collection_name, named
from holdfast.schema import services
from holdfast.schema.resources.credentials import (
    CREDENTIALS_CHANGE,
    CREDENTIALS_SPEC,
    PASSWORD_KEY_SPEC,
)
from holdfast.schema.resources.hierarchy import HIERARCHY_ITEM
from holdfast.schema.resources.infrastructure import BACKUP_SERVER_SPEC
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.schema.types import Element

#: The component of `CREDENTIALS_CHANGE`, whose root is also that of the document.
CREDENTIALS_CHANGES = "CredentialsInfoChanges"

_SERVERS = "Infrastructure"
_SECRETS = "Credentials"
_LOOKUP = "Lookup"
_CREATE = Parameter("action", "May say create.", {"type": "string", "enum": ["create"]})


def _written(
    summary: str,
    area: str,
    status: int,
    text: str = "Done.",
    body: Element | None = None,
    component: str | None = None,
) -> Operation:
    given = Body(named(component or body.name), body.name, required=True) if body else None
    parameters = (_CREATE,) if "Location" in text else ()
    answers = {status: Answer(text)}
    return Operation(
        summary,
        area,
        answers,
        ADMINISTRATOR,
        parameters=parameters,
        body=given,
        asks_server=True,
    )


CREATE_SERVER = _written(
    "Connect a backup server",
    _SERVERS,
    202,
    "It is connected; the header Location names it.",
    BACKUP_SERVER_SPEC,
)
EDIT_SERVER = _written(
    "Change how a backup server is reached", _SERVERS, 204, body=BACKUP_SERVER_SPEC
)
REMOVE_SERVER = _written("Remove a backup server from the catalog", _SERVERS, 204)

_MADE = "It is made; the header Location names it."
CREATE_CREDENTIALS = _written("Store credentials", _SECRETS, 201, _MADE, CREDENTIALS_SPEC)
EDIT_CREDENTIALS = _written(
    "Change credentials",
    _SECRETS,
    204,
    body=CREDENTIALS_CHANGE,
    component=CREDENTIALS_CHANGES,
)
DELETE_CREDENTIALS = _written("Delete credentials", _SECRETS, 204)
CREATE_PASSWORD = _written("Store a password", _SECRETS, 202, _MADE, PASSWORD_KEY_SPEC)
EDIT_PASSWORD = _written("Change a password", _SECRETS, 204, body=PASSWORD_KEY_SPEC)
DELETE_PASSWORD = _written("Delete a password", _SECRETS, 204)

LOOKUP_SERVICE = Operation(
    "Find where objects are looked up",
    _LOOKUP,
    {200: document(services.LOOKUP_SERVICE.root, "A link for each hierarchy root.")},
)
_FOUND = "What was found, which may be nothing."
LOOKUP = Operation(
    "Look up objects by reference, or by host, name and type",
    _LOOKUP,
    {200: document("HierarchyItems", _FOUND, collection_name(HIERARCHY_ITEM))},
    parameters=(
        Parameter("hierarchyRef", "The reference of an object; the others are not needed then."),
        Parameter("host", "The UID of a hierarchy root."),
        Parameter("name", "A whole name, the beginning of one and *, or * for any."),
        Parameter("type", "The type of the objects; * for any."),
    ),
)
