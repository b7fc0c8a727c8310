"""The commands about replicas that take over, and plans for that. See `messages.Command`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from holdfast.server import failover_plans, failover_sessions, replicas, tables
from holdfast.server.clock import milliseconds
from holdfast.server.failover_plan_runner import FailoverPlanRunner
from holdfast.server.failover_record import Operation
from holdfast.server.failover_runner import FailoverRunner
from holdfast.server.failover_specification import (
    FailoverOptions,
    FailoverPlanEdit,
    FailoverPlanSpecification,
)
from holdfast.server.messages import Command, Made
from holdfast.server.operations import Done, Preparation, read_arguments
from holdfast.server.operations import Operation as Change
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.session_state import JobSessionState

STOP = "stop-restore"


class _PlanStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which points to take: none later than `until`, in milliseconds since 1970 UTC."""

    until: int | None = None


class FailoverCommands:
    """What replicas and failover plans can be told to do."""

    def __init__(
        self, runner: FailoverRunner, plans: FailoverPlanRunner, stop_others: Preparation
    ) -> None:
        """`stop_others` stops the sessions of restores that are none of these."""
        self._runner = runner
        self._plans = plans
        self._stop_others = stop_others

    @property
    def operations(self) -> Mapping[str, Change]:
        """Return the operations by their names."""
        of_replicas = {str(each): partial(self._begin, each) for each in Operation}
        return {
            **of_replicas,
            "failover-point": self._failover_point,
            "create-failover-plan": self._create_plan,
            "edit-failover-plan": self._edit_plan,
            "delete-failover-plan": self._delete_plan,
            "start-failover-plan": self._start_plan,
            "undo-failover-plan": self._undo_plan,
        }

    @property
    def preparations(self) -> Mapping[str, Preparation]:
        """Return the operations that must look for their target first, by their names."""
        return {STOP: self._prepare_stop}

    def _begin(
        self, operation: Operation, connection: Connection, command: Command, now: datetime
    ) -> Done:
        options = read_arguments(command, FailoverOptions)
        at = milliseconds(now)
        uid = failover_sessions.begin(connection, command.target, operation, options, at)
        return self._launched(connection, uid)

    def _failover_point(self, connection: Connection, command: Command, now: datetime) -> Done:
        options = read_arguments(command, FailoverOptions)
        point = replicas.replica_point(connection, command.target or UUID(int=0))
        damaged = row_of(connection, tables.machine_point, point.uid).damaged
        if damaged is not None:
            raise RefusedError(f"This restore point is damaged: {damaged}")
        uid = failover_sessions.begin(
            connection,
            point.replica.uid,
            Operation.FAILOVER,
            options,
            milliseconds(now),
            point.uid,
        )
        return self._launched(connection, uid)

    def _launched(self, connection: Connection, uid: UUID) -> Done:
        name = failover_sessions.name_of(connection, uid)
        made = Made(type="RestoreSession", uid=uid, name=name)
        return Done(made=made, then=partial(self._runner.launch, uid))

    def _create_plan(self, connection: Connection, command: Command, now: datetime) -> Done:
        specification = read_arguments(command, FailoverPlanSpecification)
        uid, name = failover_plans.create_plan(connection, specification, milliseconds(now))
        return Done(made=Made(type="FailoverPlan", uid=uid, name=name))

    def _edit_plan(self, connection: Connection, command: Command, _now: datetime) -> Done:
        edit = read_arguments(command, FailoverPlanEdit)
        failover_plans.edit_plan(connection, command.target, edit)
        return Done()

    def _delete_plan(self, connection: Connection, command: Command, _now: datetime) -> Done:
        failover_plans.delete_plan(connection, command.target)
        return Done()

    def _start_plan(self, connection: Connection, command: Command, _now: datetime) -> Done:
        until = read_arguments(command, _PlanStart).until
        plan = failover_plans.begin(connection, command.target, failover_plans.START)
        launch = partial(self._plans.launch, plan.uid, failover_plans.START, until)
        return Done(then=launch, awaits=plan.uid)

    def _undo_plan(self, connection: Connection, command: Command, _now: datetime) -> Done:
        plan = failover_plans.begin(connection, command.target, failover_plans.UNDO)
        launch = partial(self._plans.launch, plan.uid, failover_plans.UNDO)
        return Done(then=launch, awaits=plan.uid)

    async def _prepare_stop(self, command: Command) -> Change:
        others = await self._stop_others(command)

        def stop(connection: Connection, command: Command, now: datetime) -> Done:
            row = failover_sessions.find(connection, command.target)
            if row is None:
                return others(connection, command, now)
            if row.state == JobSessionState.STOPPED:
                name = failover_sessions.name_of(connection, row.uid)
                raise RefusedError(f'Restore session "{name}" has ended already.')
            by = f" by {command.asked_by}" if command.asked_by else ""
            failover_sessions.request_stop(connection, row.uid, f"It was stopped{by}.")
            return Done(then=partial(self._runner.interrupt, row.uid))

        return stop
