"""Notices when the server's clock jumps, so that nothing is deleted for an age that it has not.

Every so often the time is written down. When much more has passed since than can have (a clock that
was set wrong, or a server that was off for long), that is kept as a jump: the ages of points are
told without it, and backups that are kept for a time stay for so much longer. When the clock is set
right again, that is taken back. See `keeping.Jump`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, delete, func, insert, select, update

from holdfast.server import tables
from holdfast.server.clock import Clock, milliseconds, moment_of
from holdfast.server.keeping import Jump
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

#: What passes between two looks at the clock is less than this, unless something is wrong.
LONGEST_PAUSE = timedelta(days=8)
_BETWEEN_LOOKS = timedelta(minutes=10)


class ClockWatch:
    """Looks at the clock, again and again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def look(self) -> None:
        """Look once."""
        await self._store.write(partial(note_time, now=self._clock.now()))

    async def run(self) -> None:
        """Look every so often, until cancelled."""
        while True:
            await self.look()
            # The clock may be set back meanwhile: then its moment would be long in coming.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BETWEEN_LOOKS.total_seconds()):
                    await self._clock.sleep_until(self._clock.now() + _BETWEEN_LOOKS)


def note_time(connection: Connection, now: datetime) -> None:
    """Write down what time it is, and whether the clock has jumped since that was last done."""
    server, backup = tables.server, tables.backup
    seen, moment = connection.scalar(select(server.c.seen)), milliseconds(now)
    if seen is None:
        seen = _newest_session(connection)
    if seen is not None and abs(now - moment_of(seen)) > LONGEST_PAUSE:
        ahead = moment - seen
        if ahead < 0:
            ahead = -_take_back(connection, -ahead)
        else:
            connection.execute(insert(tables.clock_jump).values(before=seen, length=ahead))
        connection.execute(
            update(backup)
            .where(backup.c.expires.is_not(None))
            .values(expires=backup.c.expires + ahead)
        )
        _LOGGER.warning(
            "The clock of the backup server has jumped from %s to %s. Restore points do not age by "
            "that.",
            moment_of(seen).isoformat(timespec="seconds"),
            now.isoformat(timespec="seconds"),
        )
    connection.execute(update(server).values(seen=moment))


def _take_back(connection: Connection, length: int) -> int:
    """Take jumps back, the newest first, by so many ms at most; return by how many it was."""
    table, left = tables.clock_jump, length
    for row in connection.execute(select(table).order_by(table.c.number.desc())).all():
        taken = min(left, row.length)
        same = table.c.number == row.number
        if row.length - taken < LONGEST_PAUSE // timedelta(milliseconds=1):
            connection.execute(delete(table).where(same))
        else:
            connection.execute(update(table).where(same).values(length=row.length - taken))
        left -= taken
        if not left:
            break
    return length - left


def jumps(connection: Connection) -> tuple[Jump, ...]:
    """Return all jumps that were noticed, in their order."""
    table = tables.clock_jump
    rows = connection.execute(select(table).order_by(table.c.number))
    return tuple(Jump(moment_of(row.before), moment_of(row.length) - moment_of(0)) for row in rows)


def _newest_session(connection: Connection) -> int | None:
    """Return when something was last done, for a server that has never written down the time."""
    session = tables.job_session
    found: int | None = connection.scalar(
        select(func.max(func.coalesce(session.c.ended, session.c.created)))
    )
    return found
