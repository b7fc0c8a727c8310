"""What Holdfast adds to the API about replicas that take over, and plans for that."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import msgspec
from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call, not_found
from holdfast.api.errors import BadRequest
from holdfast.api.file_listing import server_of_row, started
from holdfast.api.own import PREFIX
from holdfast.api.own_bodies import (
    guid_in,
    json_answer,
    json_object,
    optional_object,
    read_as,
)
from holdfast.api.own_failover_descriptions import (
    ACTIONS,
    ONE_PLAN,
    ONE_REPLICA,
    PLANS,
    REPLICAS,
    may_do,
)
from holdfast.api.own_restores import expect_may_name, with_host
from holdfast.api.resources import Place, own_restrictions, task_answer
from holdfast.api.routing import Router
from holdfast.catalog.reader import Row
from holdfast.catalog.select import Restriction
from holdfast.catalog.writer import OWNER
from holdfast.query.expression import Operator
from holdfast.query.request import Query, default_order
from holdfast.schema.resource import ResourceType
from holdfast.schema.roles import ADMINISTRATOR, FAILOVER_OPERATORS, RESTORERS
from holdfast.server.messages import (
    Command,
    FailoverOptions,
    FailoverPlanEdit,
    FailoverPlanSpecification,
)

_REPLICAS = f"{PREFIX}/replicas"
_PLANS = f"{PREFIX}/failoverPlans"


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add(_REPLICAS, {"GET": replicas}, describe=REPLICAS)
    router.add(
        f"{_REPLICAS}/{{id}}",
        {"GET": replica, "POST": act, "DELETE": delete_replica},
        describe=ONE_REPLICA,
    )
    router.add(_PLANS, {"GET": plans, "POST": create_plan}, describe=PLANS)
    router.add(
        f"{_PLANS}/{{id}}",
        {"GET": plan, "PUT": edit_plan, "DELETE": delete_plan},
        describe=ONE_PLAN,
    )


async def replicas(call: Call) -> Response:
    """Answer with all replicas by name, under ``replicas``."""
    require(call, RESTORERS, "read replicas")
    resource = call.manager.schema["Replica"]
    found = await _all(call, resource)
    return json_answer({"replicas": [_replica_document(row) for row in found]})


async def replica(call: Call) -> Response:
    """Answer with one replica."""
    require(call, RESTORERS, "read replicas")
    return json_answer(_replica_document(await _one(call, "Replica")))


async def act(call: Call) -> Response:
    """Start what is asked for with a replica and answer with its task.

    The body may say how: ``seconds`` for a guest to shut down, ``force`` to power it off then; for
    a failback to another place ``host``, ``folder``, ``name`` and ``networks``.
    """
    require(call, RESTORERS, "fail over")
    resource = call.manager.schema["Replica"]
    uid = await Place(resource).expect(call)
    action = (call.parameter("action") or "").strip("/ ").casefold()
    if action not in ACTIONS:
        raise BadRequest(f"Parameter action: expected one of {', '.join(ACTIONS)}.")
    require(call, may_do(action), action.replace("-", " "))
    options = read_as(with_host(await optional_object(call)), FailoverOptions)
    if options.elsewhere and action != "failback":
        raise BadRequest("host, folder, name: these are for a failback to another place alone.")
    expect_may_name(call, options.folder)
    server, _ = await server_of_row(call, resource, uid)
    arguments = msgspec.to_builtins(options)
    return await started(call, ACTIONS[action], server, action, uid, arguments)


async def delete_replica(call: Call) -> Response:
    """Start removing a replica with its machine and all its points.

    With ``force=true`` one is forgotten whose host does not answer.
    """
    require(call, ADMINISTRATOR, "remove replicas")
    resource = call.manager.schema["Replica"]
    uid = await Place(resource).expect(call)
    force = (call.parameter("force") or "false").casefold()
    if force not in ("true", "false"):
        raise BadRequest("Parameter force: expected true or false.")
    server, _ = await server_of_row(call, resource, uid)
    return await started(
        call, "DeleteReplica", server, "remove-replica", uid, {"force": force == "true"}
    )


async def plans(call: Call) -> Response:
    """Answer with all failover plans by name, under ``failover_plans``."""
    require(call, FAILOVER_OPERATORS, "read failover plans")
    found = await _all(call, call.manager.schema["FailoverPlan"])
    return json_answer({"failover_plans": [_plan_document(row) for row in found]})


async def plan(call: Call) -> Response:
    """Answer with one failover plan."""
    require(call, FAILOVER_OPERATORS, "read failover plans")
    return json_answer(_plan_document(await _one(call, "FailoverPlan")))


async def create_plan(call: Call) -> Response:
    """Start making a failover plan on the backup server that has its replicas."""
    require(call, ADMINISTRATOR, "make failover plans")
    wanted = read_as(_with_guids(await json_object(call)), FailoverPlanSpecification)
    server = await _server_of(call, [machine.replica for machine in wanted.machines])
    command = Command(
        request_id=uuid4(),
        operation="create-failover-plan",
        arguments=msgspec.to_builtins(wanted),
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, "CreateFailoverPlan", server, command)
    return await task_answer(call, task)


async def edit_plan(call: Call) -> Response:
    """Start changing a failover plan: the body says what changes, the rest stays as it is."""
    require(call, ADMINISTRATOR, "edit failover plans")
    edit = read_as(_with_guids(await json_object(call)), FailoverPlanEdit)
    return await _started(call, "EditFailoverPlan", "edit-failover-plan", msgspec.to_builtins(edit))


async def delete_plan(call: Call) -> Response:
    """Start deleting a failover plan."""
    require(call, ADMINISTRATOR, "delete failover plans")
    return await _started(call, "DeleteFailoverPlan", "delete-failover-plan", {})


async def _started(
    call: Call, operation: str, command: str, arguments: dict[str, object]
) -> Response:
    resource = call.manager.schema["FailoverPlan"]
    uid = await Place(resource).expect(call)
    server, _ = await server_of_row(call, resource, uid)
    return await started(call, operation, server, command, uid, arguments)


async def _server_of(call: Call, replicas: list[UUID]) -> UUID:
    """Return the backup server that has all these replicas. Raises BadRequest."""
    resource = call.manager.schema["Replica"]
    servers = set()
    for number, uid in enumerate(replicas):
        server = await call.manager.reader.related(resource, uid, OWNER)
        if server is None:
            raise BadRequest(f"machines[{number}].replica: there is no replica {uid}.")
        servers.add(server)
    if len(servers) != 1:
        raise BadRequest("machines: expected replicas of one backup server.")
    return servers.pop()


async def _all(call: Call, resource: ResourceType) -> list[Row]:
    order = default_order(call.manager.schema, resource)
    query = Query(resource, None, order, None, True)
    found = await call.manager.reader.rows(query, tuple(own_restrictions(call, resource)))
    return list(found.rows)


async def _one(call: Call, name: str) -> Row:
    resource = call.manager.schema[name]
    uid = await Place(resource).expect(call)
    identity = (Restriction("uid", Operator.EQUAL, uid.bytes),)
    row = await call.manager.reader.first(resource, identity, entities=True)
    if row is None:
        raise not_found(resource, uid)
    return row


def _with_guids(given: dict[str, Any]) -> dict[str, Any]:
    """Given a body, return it with the GUIDs of its replicas, of which UIDs will do."""
    machines = given.get("machines")
    if not isinstance(machines, list):
        return given
    read = [
        {**each, "replica": str(guid_in(each["replica"], f"machines[{number}].replica"))}
        if isinstance(each, dict) and "replica" in each
        else each
        for number, each in enumerate(machines)
    ]
    return given | {"machines": read}


def _replica_document(row: Row) -> dict[str, Any]:
    return {
        "uid": row["UID"],
        "name": row["Name"],
        "source": row["SourceName"] or "",
        "server": row["server.UID"],
        "host": row["HostUid"],
        "state": row["State"] or "Ready",
        "doing": row["Doing"] or "",
        "point": row["PointUid"],
        "failback": row["Failback"] or "",
        "source_runs_on": row["SourceRunsOn"] or "",
    }


def _plan_document(row: Row) -> dict[str, Any]:
    info = (row["FailoverPlanInfo"] or {}).get("Includes") or {}
    names = [machine.get("Name") or "" for machine in info.get("FailoveredVm") or ()]
    machines = (row["Machines"] or {}).get("Machine") or ()
    return {
        "uid": row["UID"],
        "name": row["Name"],
        "description": row["Description"] or "",
        "server": row["server.UID"],
        "doing": row["Doing"] or "",
        "outcome": row["Outcome"] or "",
        "machines": [
            {
                "replica": machine["Replica"],
                "name": name,
                "delay": machine["Delay"],
                "started": machine["Started"],
            }
            for machine, name in zip(machines, names, strict=False)
        ],
    }
