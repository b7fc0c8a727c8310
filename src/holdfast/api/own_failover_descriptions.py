"""Descriptions of the calls about replicas that take over, and plans for that."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from holdfast.api.description import ActionChoice, Answer, Body, Operation, Parameter, document
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import (
    ADMINISTRATOR,
    FAILOVER_OPERATORS,
    RESTORERS,
    VM_RESTORERS,
    Role,
)
from holdfast.server.messages import (
    FailoverOptions,
    FailoverPlanEdit,
    FailoverPlanSpecification,
)

_AREA = "Holdfast"
_REPLICA = "HoldfastReplica"
_PLAN = "HoldfastFailoverPlan"
_TEXT: JsonSchema = {"type": "string"}
_UID: JsonSchema = {"type": "string", "format": "uuid"}

#: What can be asked of a replica, by the task under which it is done.
ACTIONS = {
    "failover": "StartReplicaFailover",
    "planned-failover": "StartPlannedFailover",
    "undo-failover": "UndoReplicaFailover",
    "permanent-failover": "StartPermanentFailover",
    "failback": "StartReplicaFailback",
    "commit-failback": "CommitReplicaFailback",
    "undo-failback": "UndoReplicaFailback",
}


def may_do(action: str) -> frozenset[Role]:
    """Return the roles that may do something with a replica.

    Whoever may let a replica take over by the documented call may do so here. The others write to
    the source, power machines off or throw away what one of the two has written.
    """
    return RESTORERS if action == "failover" else VM_RESTORERS


def _or_null(described: JsonSchema) -> JsonSchema:
    return {"anyOf": [described, {"type": "null"}]}


def _object(properties: dict[str, JsonSchema]) -> JsonSchema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schemas() -> dict[str, JsonSchema]:
    wanted = (FailoverOptions, FailoverPlanSpecification, FailoverPlanEdit)
    template = "#/components/schemas/{name}"
    found: dict[str, Any] = msgspec.json.schema_components(wanted, ref_template=template)[1]
    for described in found.values():
        # The rest of the text is for those who read the code.
        described["description"] = cleandoc(described["description"]).partition("\n\n")[0]
    given = found["PlannedMachine"]["properties"]
    given["replica"] = _TEXT | {"description": "The UID or the GUID of a replica."}
    states = ["Ready", "Processing", "Failover", "Failback", "PermanentFailover"]
    replica = {
        "uid": _UID,
        "name": _TEXT,
        "source": _TEXT | {"description": "The machine that it stands for."},
        "server": _or_null(_UID),
        "host": _or_null(_UID | {"description": "Where it runs."}),
        "state": {"type": "string", "enum": states},
        "doing": _TEXT | {"description": "What is under way; empty for nothing."},
        "point": _or_null(_UID | {"description": "The restore point that took over."}),
        "failback": _TEXT | {"description": "What the last failback compared and wrote."},
    }
    machine = {
        "replica": _UID,
        "name": _TEXT,
        "delay": {"type": "integer", "description": "Seconds to wait before the next one."},
        "started": {"type": "boolean", "description": "Whether it took over by this plan."},
    }
    plan = {
        "uid": _UID,
        "name": _TEXT,
        "description": _TEXT,
        "server": _or_null(_UID),
        "doing": {"type": "string", "enum": ["", "start", "undo"]},
        "outcome": _TEXT | {"description": "How it was started or undone last; may be empty."},
        "machines": {"type": "array", "items": _object(machine)},
    }
    return {**found, _REPLICA: _object(replica), _PLAN: _object(plan)}


#: The schemas of bodies and answers, by component name.
SCHEMAS = _schemas()

_STARTED = {202: document("Task", "The task under which it is done.")}


def _list(name: str, component: str, text: str) -> dict[int, Answer]:
    listed = _object({name: {"type": "array", "items": named(component)}})
    return {200: Answer(text, listed)}


REPLICAS = {
    "GET": Operation(
        "List all replicas and how it stands with them",
        _AREA,
        _list("replicas", _REPLICA, "The replicas, by name."),
        RESTORERS,
    )
}
ONE_REPLICA = {
    "GET": Operation(
        "Read one replica",
        _AREA,
        {200: Answer("The replica.", named(_REPLICA))},
        RESTORERS,
    ),
    "POST": Operation(
        "Let a replica take over, or what follows that",
        _AREA,
        _STARTED,
        RESTORERS,
        parameters=(
            Parameter(
                "action", "What is to be done.", {"type": "string", "enum": list(ACTIONS)}, True
            ),
        ),
        body=Body(named(FailoverOptions.__name__)),
        actions=tuple(ActionChoice(name, task, may_do(name)) for name, task in ACTIONS.items()),
    ),
    "DELETE": Operation(
        "Remove a replica that is ready, with its machine and all its points",
        _AREA,
        _STARTED,
        ADMINISTRATOR,
    ),
}
PLANS = {
    "GET": Operation(
        "List all failover plans, with their machines and delays",
        _AREA,
        _list("failover_plans", _PLAN, "The plans, by name."),
        FAILOVER_OPERATORS,
    ),
    "POST": Operation(
        "Make a failover plan",
        _AREA,
        _STARTED,
        ADMINISTRATOR,
        body=Body(named(FailoverPlanSpecification.__name__), required=True),
    ),
}
ONE_PLAN = {
    "GET": Operation(
        "Read one failover plan",
        _AREA,
        {200: Answer("The plan.", named(_PLAN))},
        FAILOVER_OPERATORS,
    ),
    "PUT": Operation(
        "Change one failover plan; what is left out stays as it is",
        _AREA,
        _STARTED,
        ADMINISTRATOR,
        body=Body(named(FailoverPlanEdit.__name__), required=True),
    ),
    "DELETE": Operation(
        "Delete one failover plan, unless machines have taken over by it",
        _AREA,
        _STARTED,
        ADMINISTRATOR,
    ),
}
