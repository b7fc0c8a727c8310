"""What the bodies of requests about failover plans ask a backup server to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.query.expression import Operator
from holdfast.query.literals import comparable
from holdfast.representation.requests import RequestError
from holdfast.schema.types import DATE_TIME

Body = Mapping[str, Any]


def plan_start(body: Body, _row: Body) -> dict[str, Any]:
    """Given a FailoverPlanManagementSpec, return the arguments of ``start-failover-plan``.

    Machines take over from their newest points, or, with a StartDate, from the newest of then. One
    of both has to be said: nothing takes over by a request that says nothing. Raises RequestError.
    """
    now, date = body.get("StartNow"), body.get("StartDate")
    if not now and date is None:
        raise RequestError(
            "Element FailoverPlanManagementSpec: expected StartNow true, or a StartDate."
        )
    if now and date is not None:
        raise RequestError(
            "Element FailoverPlanManagementSpec: expected one of StartNow true and StartDate."
        )
    if date is None:
        return {}
    try:
        _, until = comparable(DATE_TIME, Operator.LESS_OR_EQUAL, str(date))
    except ValueError as error:
        raise RequestError(f"Element FailoverPlanManagementSpec.StartDate: {error}.") from None
    return {"until": until}


def plan_edit(body: Body, row: Body) -> dict[str, Any]:
    """Given a FailoverPlan, return the arguments of ``edit-failover-plan``. Raises RequestError.

    The name and the description can be changed; what else is given has to be as it is.
    """
    given = ((body.get("FailoverPlanInfo") or {}).get("Includes") or {}).get("FailoveredVm")
    known = ((row.get("FailoverPlanInfo") or {}).get("Includes") or {}).get("FailoveredVm") or []
    if given is not None and _identities(given) != _identities(known):
        raise RequestError(
            "Element FailoverPlan.FailoverPlanInfo: the machines of a plan cannot be changed here; "
            "they are changed under /holdfast/v1/failoverPlans."
        )
    arguments = {"name": body.get("Name"), "description": body.get("Description")}
    return {name: value for name, value in arguments.items() if value is not None}


def _identities(machines: Any) -> list[str]:
    return [str(machine.get("FailoveredVmId") or "").lower() for machine in machines]
