"""Rows of sessions of one kind: moved on, stopped, ended. Each runs in a writing transaction.

Restores and failovers have a table each, with the same columns for how a session stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Table, select, update

from holdfast.server.publish import row_of
from holdfast.server.session_state import JobSessionState, Result, check_job_session


class SessionRows:
    """The sessions in a table; `publish` shows one of them."""

    def __init__(self, table: Table, publish: Callable[[Connection, UUID], None]) -> None:
        self._table = table
        self._publish = publish

    def start_working(self, connection: Connection, uid: UUID) -> bool:
        """Let a session that was begun work; say whether it may, or was stopped already."""
        row = row_of(connection, self._table, uid)
        if row.state != JobSessionState.STARTING:
            return False
        self._set(connection, row, state=JobSessionState.WORKING)
        return True

    def request_stop(self, connection: Connection, uid: UUID, reason: str) -> None:
        """Note that a session is to stop and why. One that is stopping keeps its reason."""
        row = row_of(connection, self._table, uid)
        if row.state != JobSessionState.STOPPING:
            self._set(connection, row, state=JobSessionState.STOPPING, failure_message=reason)

    def set_progress(self, connection: Connection, uid: UUID, percent: int) -> None:
        """Note how far a session is. Never goes back."""
        row = row_of(connection, self._table, uid)
        if row.state == JobSessionState.WORKING and percent > row.progress:
            self._set(connection, row, progress=min(percent, 100))

    def end(
        self,
        connection: Connection,
        uid: UUID,
        now: int,
        *,
        failure: str | None = None,
        note: str = "",
        added: str | None = None,
        **columns: Any,
    ) -> bool:
        """End a session: failed, for the reason given; with a warning; or well.

        Say whether it was not ended before: else it stays as it was. One that was asked to stop
        fails with the reason given then, unless it was done already. What is `added` is told after
        the reason; `columns` are those of this kind of session.
        """
        row = row_of(connection, self._table, uid)
        if row.state == JobSessionState.STOPPED:
            return False
        if failure is not None and row.state == JobSessionState.STOPPING:
            failure = row.failure_message
        if failure is not None and added is not None:
            failure = f"{failure} {added}"
        result = Result.WARNING if note else Result.SUCCESS
        self._set(
            connection,
            row,
            state=JobSessionState.STOPPED,
            result=Result.FAILED if failure is not None else result,
            ended=max(now, row.created),
            progress=row.progress if failure is not None else 100,
            failure_message=note if failure is None else failure,
            **columns,
        )
        return True

    def unfinished(self, connection: Connection) -> list[Row[Any]]:
        """Return the sessions that have not ended, oldest first."""
        query = select(self._table).where(self._table.c.state != JobSessionState.STOPPED)
        return list(connection.execute(query.order_by(self._table.c.created)))

    def _set(self, connection: Connection, row: Row[Any], **values: Any) -> None:
        if "state" in values:
            check_job_session(row.state, values["state"])
        table = self._table
        connection.execute(update(table).where(table.c.uid == row.uid).values(values))
        self._publish(connection, row.uid)
