"""Descriptions of calls that the API has and Holdfast does not carry out yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast.api.description import Operation, Parameter
from holdfast.schema.calls import ApiCall

_MEANING = "Which of the calls at this address is meant; compared without case."


def describe_unbuilt(call: ApiCall, area: str) -> Operation:
    """Given a call at an address where nothing is built, and its area, describe it."""
    parameters = (_parameter(call, required=not call.optional),) if call.parameter else ()
    return Operation(
        "Known, but not carried out yet", area, {}, call.roles, parameters=parameters, built=False
    )


def with_unbuilt(operation: Operation, call: ApiCall) -> Operation:
    """Given what is said of an address, and a call there that is not built, say that too."""
    known = next((p for p in operation.parameters if p.name == call.parameter), None)
    if call.parameter is None:
        # Without any parameter it is this call that is meant.
        parameters = tuple(replace(p, required=False) for p in operation.parameters)
    elif known is None:
        parameters = (*operation.parameters, _parameter(call, required=False))
    else:
        required = known.required and not call.optional
        both = replace(known, schema=_with_values(known.schema, call), required=required)
        parameters = tuple(both if p is known else p for p in operation.parameters)
    values = operation.unbuilt_values
    if operation.built:
        values = (*values, *call.values)
    return replace(operation, parameters=parameters, unbuilt_values=values)


def _parameter(call: ApiCall, *, required: bool) -> Parameter:
    return Parameter(call.parameter or "", _MEANING, _value_schema(call.values), required)


def _with_values(schema: Any, call: ApiCall) -> dict[str, Any]:
    """Given the schema of a parameter's value, return it with those of a call beside them."""
    if "enum" not in schema:
        return dict(schema)
    known = {value.casefold() for value in schema["enum"]}
    further = [value for value in call.values if value.casefold() not in known]
    return {**schema, **_value_schema((*schema["enum"], *further))}


def _value_schema(values: tuple[str, ...]) -> dict[str, Any]:
    if any("*" in value for value in values):
        begins = "|".join(value.replace("*", "") for value in values)
        return {"type": "string", "pattern": f"^({begins})"}
    return {"type": "string", "enum": list(values)}
