"""Failover plans: made, changed, deleted, shown. Each function runs in a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

from msgspec import UNSET
from sqlalchemy import Connection, Row, delete, insert, select, update

from holdfast.server import awaited, replicas, tables
from holdfast.server.failover_specification import (
    FailoverPlanEdit,
    FailoverPlanSpecification,
    PlannedMachine,
)
from holdfast.server.outbox import Resource, publish, withdraw
from holdfast.server.publish import row_of
from holdfast.server.recovery import STOPPED_UNEXPECTEDLY
from holdfast.server.refusal import RefusedError

START, UNDO = "start", "undo"


def find_plan(connection: Connection, uid: UUID | None) -> Row[Any]:
    """Return the row of a plan; refuse an unknown one."""
    table = tables.failover_plan
    row = connection.execute(select(table).where(table.c.uid == uid)).first()
    if row is None:
        raise RefusedError(f"Cannot find failover plan [{uid}].")
    return row


def machines_of(connection: Connection, plan: UUID) -> list[Row[Any]]:
    """Return the machines of a plan, in order."""
    table = tables.failover_plan_machine
    query = select(table).where(table.c.plan_uid == plan).order_by(table.c.position)
    return list(connection.execute(query))


def create_plan(
    connection: Connection, specification: FailoverPlanSpecification, now: int
) -> tuple[UUID, str]:
    """Make a plan; return its UID and name."""
    uid, name = uuid4(), specification.name.strip()
    _refuse_duplicate(connection, name, None)
    connection.execute(
        insert(tables.failover_plan).values(
            uid=uid, name=name, description=specification.description, outcome="", created=now
        )
    )
    _put_machines(connection, uid, specification.machines)
    publish_plan(connection, uid)
    return uid, name


def edit_plan(connection: Connection, uid: UUID | None, edit: FailoverPlanEdit) -> str:
    """Change a plan; return its name. Its machines only while none of them has taken over."""
    plan = find_plan(connection, uid)
    values: dict[str, Any] = {}
    if edit.name is not UNSET:
        values["name"] = edit.name.strip()
        _refuse_duplicate(connection, values["name"], plan.uid)
    if edit.description is not UNSET:
        values["description"] = edit.description
    if values:
        table = tables.failover_plan
        connection.execute(update(table).where(table.c.uid == plan.uid).values(values))
    if edit.machines is not UNSET:
        _refuse_at_work(connection, plan, "changed")
        table = tables.failover_plan_machine
        connection.execute(delete(table).where(table.c.plan_uid == plan.uid))
        _put_machines(connection, plan.uid, edit.machines)
    publish_plan(connection, plan.uid)
    return str(values.get("name", plan.name))


def delete_plan(connection: Connection, uid: UUID | None) -> None:
    """Delete a plan, unless machines have taken over by it."""
    plan = find_plan(connection, uid)
    _refuse_at_work(connection, plan, "deleted")
    machine, table = tables.failover_plan_machine, tables.failover_plan
    connection.execute(delete(machine).where(machine.c.plan_uid == plan.uid))
    connection.execute(delete(table).where(table.c.uid == plan.uid))
    withdraw(connection, "FailoverPlan", plan.uid)


def begin(connection: Connection, uid: UUID | None, doing: str) -> Row[Any]:
    """Begin to start or to undo a plan; return its row. Refuse while either goes on."""
    plan = find_plan(connection, uid)
    if plan.doing is not None:
        raise RefusedError(f'Failover plan "{plan.name}": {plan.doing} is under way already.')
    if doing == UNDO and not any(row.started for row in machines_of(connection, plan.uid)):
        raise RefusedError(
            f'No machine has taken over by failover plan "{plan.name}"; there is nothing to undo.'
        )
    _set(connection, plan.uid, doing=doing, outcome="")
    return plan


def end(connection: Connection, uid: UUID, outcome: str, *, success: bool) -> None:
    """Note how the start or the undoing of a plan ended, and answer whoever asked for it."""
    _set(connection, uid, doing=None, outcome=outcome)
    awaited.conclude(connection, uid, success=success, message=outcome)


def set_started(connection: Connection, machine: UUID, *, started: bool) -> None:
    """Note whether a machine of a plan has taken over by it."""
    table = tables.failover_plan_machine
    connection.execute(update(table).where(table.c.uid == machine).values(started=started))
    publish_plan(connection, row_of(connection, table, machine).plan_uid)


def end_interrupted(connection: Connection) -> None:
    """End what a crash interrupted: no machine takes over hours later, unasked."""
    table = tables.failover_plan
    for row in connection.execute(select(table).where(table.c.doing.is_not(None))).all():
        outcome = f"{STOPPED_UNEXPECTEDLY} Start the plan again, or undo it."
        end(connection, row.uid, outcome, success=False)


def take_out(connection: Connection, replica: UUID) -> None:
    """Take a replica out of all plans; refuse while one of these is started or undone."""
    machine, plan = tables.failover_plan_machine, tables.failover_plan
    having = select(plan).join(machine, machine.c.plan_uid == plan.c.uid)
    for row in connection.execute(having.where(machine.c.replica_uid == replica)).all():
        if row.doing is not None:
            raise RefusedError(f'Failover plan "{row.name}": {row.doing} is under way.')
        same = (machine.c.plan_uid == row.uid) & (machine.c.replica_uid == replica)
        connection.execute(delete(machine).where(same))
        if machines_of(connection, row.uid):
            publish_plan(connection, row.uid)
        else:
            delete_plan(connection, row.uid)


def publish_plan(connection: Connection, uid: UUID) -> None:
    """Show a plan."""
    plan = find_plan(connection, uid)
    machines = [
        (row, row_of(connection, tables.replica, row.replica_uid))
        for row in machines_of(connection, uid)
    ]
    values: dict[str, Any] = {
        "Description": plan.description,
        "FailoverPlanInfo": {
            "Includes": {
                "FailoveredVm": [
                    {
                        "Type": "FailoveredVm",
                        "Href": f"/failoverPlans/{uid}",
                        "FailoveredVmId": row.uid,
                        "HierarchyObjRef": replica.reference,
                        "Name": replica.machine_name,
                        "DisplayName": replica.name,
                        "Order": row.position,
                    }
                    for row, replica in machines
                ]
            }
        },
        "Machines": {
            "Machine": [
                {"Replica": row.replica_uid, "Delay": row.delay, "Started": row.started}
                for row, _ in machines
            ]
        },
        "Outcome": plan.outcome,
    }
    if plan.doing is not None:
        values["Doing"] = plan.doing
    publish(connection, Resource("FailoverPlan", uid, plan.name, values))


def _put_machines(connection: Connection, plan: UUID, machines: Iterable[PlannedMachine]) -> None:
    for position, machine in enumerate(machines):
        try:
            replica = replicas.find_replica(connection, machine.replica)
        except RefusedError as error:
            raise RefusedError(f"machines[{position}].replica: {error}") from error
        connection.execute(
            insert(tables.failover_plan_machine).values(
                uid=uuid4(),
                plan_uid=plan,
                replica_uid=replica.uid,
                position=position,
                delay=machine.delay,
                started=False,
            )
        )


def _refuse_at_work(connection: Connection, plan: Row[Any], what: str) -> None:
    if plan.doing is not None or any(row.started for row in machines_of(connection, plan.uid)):
        raise RefusedError(
            f'Machines have taken over by failover plan "{plan.name}", so it cannot be {what}. '
            "Undo it first."
        )


def _refuse_duplicate(connection: Connection, name: str, uid: UUID | None) -> None:
    table = tables.failover_plan
    for row in connection.execute(select(table.c.uid, table.c.name)):
        if row.uid != uid and row.name.casefold() == name.casefold():
            raise RefusedError(f'name: there is a failover plan named "{row.name}" already.')


def _set(connection: Connection, uid: UUID, **values: Any) -> None:
    table = tables.failover_plan
    connection.execute(update(table).where(table.c.uid == uid).values(values))
    publish_plan(connection, uid)
