"""Descriptions of the routes that every declared resource type has."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.api.description import (
    ActionChoice,
    Answer,
    Body,
    Operation,
    Operations,
    Parameter,
    area_of,
    document,
)
from holdfast.query.request import DEFAULT_PAGE_SIZE
from holdfast.representation.json_schema import (
    QUERY_RESULT,
    REFERENCE,
    REFERENCES,
    changes_name,
    collection_name,
    named,
    view_name,
)
from holdfast.schema.resource import Action, ResourceType, Schema, View
from holdfast.schema.roles import EVERYONE

_FORMAT = Parameter(
    "format",
    "Whether references or whole entities are wanted.",
    {"type": "string", "enum": ["Reference", "Entity", "Entities"], "default": "Reference"},
)
_SORT = (
    Parameter("sortAsc", "The field to sort by, lowest first."),
    Parameter("sortDesc", "The field to sort by, highest first; not together with sortAsc."),
)
_STARTED = {202: document("Task", "The task under which it is done.")}
_POSITIVE = {"type": "integer", "minimum": 1}
_PAGE = (
    Parameter("pageSize", "How many items a page has.", _POSITIVE),
    Parameter("page", "Which page, from 1.", _POSITIVE),
)


def describe_collection(
    resource: ResourceType,
    above: ResourceType | None = None,
    *,
    view: View | None = None,
    entities_alone: bool = False,
    misspelt: bool = False,
) -> Operations:
    """Given the type of a collection and that of the item it stands below, describe its GET."""
    own_plural = view.plural if view is not None else None
    where = f" of one {above.name}" if above is not None else ""
    days = f", of the last {resource.recent_days} days" if resource.recent_days else ""
    both = resource.key and not entities_alone
    operation = Operation(
        f"List the {resource.plural}{where}{days}",
        area_of(above or resource),
        {200: _collection_answer(resource, own_plural, both=both)},
        resource.readers,
        parameters=(*((_FORMAT,) if both else ()), *_SORT, *_PAGE),
        deprecated=misspelt,
    )
    return {"GET": operation}


def _collection_answer(resource: ResourceType, own_plural: str | None, *, both: bool) -> Answer:
    plural = own_plural or resource.plural
    component = view_name(own_plural) if own_plural else collection_name(resource)
    entities = document(plural, "The items.", component)
    if not both:
        return entities
    return Answer(
        f"References ({REFERENCES}), or with format=Entity the items ({plural}).",
        {"anyOf": [named(REFERENCES), named(component)]},
        f"{REFERENCES} or {plural}",
    )


def describe_item(resource: ResourceType, above: ResourceType | None = None) -> Operations:
    """Given the type of an item and that of the item it stands below, describe its GET."""
    where = f" of one {above.name}" if above is not None else ""
    root = resource.element_name
    entity = document(root, "The item.", resource.name)
    reference = Answer(
        f"A reference ({REFERENCE}), or with format=Entity the item ({root}).",
        {"anyOf": [named(REFERENCE), named(resource.name)]},
        f"{REFERENCE} or {root}",
    )
    operation = Operation(
        f"Read one {resource.name}{where}",
        area_of(above or resource),
        {200: reference if resource.key else entity},
        resource.readers,
        parameters=(_FORMAT,) if resource.key else (),
    )
    return {"GET": operation}


def describe_actions(resource: ResourceType) -> Operations:
    """Given a type, describe what can be done to an item."""
    found: dict[str, Operation] = {}
    to_items = [action for action in resource.actions if not action.creates]
    for method in sorted({action.method for action in to_items}):
        choices = _choices(action for action in to_items if action.method == method)
        found[method] = Operation(
            _action_summary(resource, method, choices),
            area_of(resource),
            _STARTED,
            frozenset(role for choice in choices for role in choice.roles),
            parameters=(_action_parameter(method, choices),) if method != "DELETE" else (),
            body=_body(resource, choices),
            actions=choices,
        )
    if resource.private_to_logon:
        gone = {204: Answer("It is gone.")}
        found["DELETE"] = Operation(
            f"Remove one {resource.name} of this logon session", area_of(resource), gone
        )
    return found


def describe_creation(
    resource: ResourceType, above: ResourceType, *, misspelt: bool = False
) -> Operations:
    """Given a type and that of the item below which it is created, describe that, if it can be."""
    choices = _choices(action for action in resource.actions if action.creates)
    if not choices:
        return {}
    operation = Operation(
        f"Create one {resource.name} below one {above.name}",
        area_of(above),
        _STARTED,
        choices[0].roles,
        body=_body(resource, choices),
        actions=choices,
        deprecated=misspelt,
    )
    return {"POST": operation}


def _choices(actions: Iterable[Action]) -> tuple[ActionChoice, ...]:
    return tuple(
        ActionChoice(action.name, action.operation, action.roles, action.body) for action in actions
    )


def _body(resource: ResourceType, choices: tuple[ActionChoice, ...]) -> Body | None:
    """What the request for any of the actions carries; one that is the only choice must."""
    roots = [choice.body for choice in choices if choice.body is not None]
    if not roots:
        return None
    schemas = [
        named(changes_name(resource) if root == resource.element_name else root) for root in roots
    ]
    described = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return Body(described, " or ".join(roots), required=len(choices) == 1)


def _action_summary(resource: ResourceType, method: str, choices: tuple[ActionChoice, ...]) -> str:
    if method == "DELETE":
        return f"Delete one {resource.name}"
    names = ", ".join(choice.name for choice in choices)
    return f"Act on one {resource.name}: {names}"


def _action_parameter(method: str, choices: tuple[ActionChoice, ...]) -> Parameter:
    names = [choice.name for choice in choices]
    return Parameter(
        "action",
        "What to do; compared without case.",
        {"type": "string", "enum": names},
        required=method == "POST",
    )


def describe_query(schema: Schema) -> Operations:
    """Given the resource types, describe the query."""
    names = sorted(resource.name for resource in schema if resource.queryable)
    parameters = (
        Parameter("type", "What is asked for.", {"type": "string", "enum": names}, required=True),
        _FORMAT,
        Parameter(
            "filter",
            "Which items: comparisons such as Name==x with == != < <= > >=, joined by ; (and)"
            " and , (or); ; binds tighter, parentheses group.",
        ),
        *_SORT,
        Parameter(
            "pageSize", "How many items a page has.", _POSITIVE | {"default": DEFAULT_PAGE_SIZE}
        ),
        Parameter("page", "Which page, from 1.", _POSITIVE | {"default": 1}),
    )
    operation = Operation(
        "Ask for resources of one type",
        "Query",
        {200: document(QUERY_RESULT, "A page of what was found.")},
        EVERYONE,
        parameters=parameters,
    )
    return {"GET": operation}
