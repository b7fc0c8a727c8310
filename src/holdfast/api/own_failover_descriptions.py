"""Descriptions of the calls about replicas that take over, and plans for that."""

from __future__ import annotations

from holdfast.api.description import ActionChoice, Answer, Body, Operation, Parameter
from holdfast.api.own_shapes import STARTED, TEXT, UID, components_of, object_of, or_null
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


def _schemas() -> dict[str, JsonSchema]:
    wanted = (FailoverOptions, FailoverPlanSpecification, FailoverPlanEdit)
    found = components_of(*wanted)
    given = found["PlannedMachine"]["properties"]
    given["replica"] = TEXT | {"description": "The UID or the GUID of a replica."}
    wanted_place = found["FailoverOptions"]["properties"]
    for name, text in {
        "seconds": "How long a guest may take to shut down.",
        "force": "Power a guest off then; undo a failback, or go on after a planned failover that "
        "failed, though the source's host is away; fail over though the source runs elsewhere.",
        "folder": "A failback goes to another place: the folder for the disks there.",
        "name": "A failback goes to another place: the name of the machine there.",
        "networks": "The networks or bridges there, by those of the source.",
    }.items():
        wanted_place[name] = wanted_place[name] | {"description": text}
    wanted_place["host"] = or_null(
        TEXT | {"description": "A failback goes to another place: the UID or GUID of its host."}
    )
    states = ["Ready", "Processing", "Failover", "Failback", "PermanentFailover"]
    replica = {
        "uid": UID,
        "name": TEXT,
        "source": TEXT | {"description": "The machine that it stands for."},
        "server": or_null(UID),
        "host": or_null(UID | {"description": "Where it runs."}),
        "state": {"type": "string", "enum": states},
        "doing": TEXT | {"description": "What is under way; empty for nothing."},
        "point": or_null(UID | {"description": "The restore point that took over."}),
        "failback": TEXT | {"description": "What the last failback compared and wrote."},
        "source_runs_on": TEXT
        | {
            "description": "The host on which the source was last seen to run although the replica "
            "has taken over; empty for none."
        },
    }
    machine = {
        "replica": UID,
        "name": TEXT,
        "delay": {"type": "integer", "description": "Seconds to wait before the next one."},
        "started": {"type": "boolean", "description": "Whether it took over by this plan."},
    }
    plan = {
        "uid": UID,
        "name": TEXT,
        "description": TEXT,
        "server": or_null(UID),
        "doing": {"type": "string", "enum": ["", "start", "undo"]},
        "outcome": TEXT | {"description": "How it was started or undone last; may be empty."},
        "machines": {"type": "array", "items": object_of(machine)},
    }
    return {**found, _REPLICA: object_of(replica), _PLAN: object_of(plan)}


#: The schemas of bodies and answers, by component name.
SCHEMAS = _schemas()


def _list(name: str, component: str, text: str) -> dict[int, Answer]:
    listed = object_of({name: {"type": "array", "items": named(component)}})
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
        STARTED,
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
        STARTED,
        ADMINISTRATOR,
        parameters=(
            Parameter(
                "force",
                "Forget it, in whatever state, when its host does not answer: its machine and its "
                "files stay. Remove it although its source's host does not answer.",
                {"type": "boolean", "default": False},
            ),
        ),
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
        STARTED,
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
        STARTED,
        ADMINISTRATOR,
        body=Body(named(FailoverPlanEdit.__name__), required=True),
    ),
    "DELETE": Operation(
        "Delete one failover plan, unless machines have taken over by it",
        _AREA,
        STARTED,
        ADMINISTRATOR,
    ),
}
