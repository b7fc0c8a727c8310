"""Descriptions of the calls that change accounts, their roles and their scopes."""

from __future__ import annotations

from holdfast.api.description import (
    ActionChoice,
    Answer,
    Body,
    Operation,
    Parameter,
    document,
)
from holdfast.representation.json_schema import named
from holdfast.schema.resources.security import (
    ACCOUNT_CREATE_SPEC,
    ACCOUNT_IN_ROLE_CREATE_SPEC,
    HIERARCHY_SCOPE_CREATE_SPEC,
)
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.schema.types import Element

_AREA = "Security"
_MADE = "It is made; the header Location says where."


def _given(body: Element, *, required: bool = True) -> Body:
    return Body(named(body.name), body.name, required=required)


def _operation(
    summary: str, status: int, text: str = "Done.", body: Element | None = None
) -> Operation:
    answers = {status: Answer(text)}
    given = _given(body) if body is not None else None
    return Operation(summary, _AREA, answers, ADMINISTRATOR, body=given)


CREATE_ACCOUNT = Operation(
    "Create an account, or find anew what all scopes cover",
    _AREA,
    {201: document("Task", "The account is made (no body), or the task of rebuildScope.")},
    ADMINISTRATOR,
    parameters=(
        Parameter(
            "action",
            "Whether to find anew what all scopes cover, or to create an account, as without it.",
            {"type": "string", "enum": ["create", "rebuildScope"]},
        ),
    ),
    body=_given(ACCOUNT_CREATE_SPEC, required=False),
    actions=(ActionChoice("rebuildScope", "StartRebuildScope", ADMINISTRATOR),),
)
TOGGLE_RESTORE_SCOPES = _operation("Let an account restore everything, or no longer", 204)
DELETE_ACCOUNT = _operation("End an account and its logon sessions", 204)
ADD_ROLE = _operation("Give an account a role", 201, _MADE, ACCOUNT_IN_ROLE_CREATE_SPEC)
REMOVE_ROLE = _operation("Take a role away from an account", 204)
ADD_SCOPES = _operation(
    "Let an account restore further objects", 202, _MADE, HIERARCHY_SCOPE_CREATE_SPEC
)
REMOVE_SCOPE = _operation("Let an account no longer restore an object", 204)
