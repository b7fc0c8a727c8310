"""Notices when the server's clock jumps, so that nothing is deleted for an age that it has not.

Every so often the time is written down. When it is later than the last one by more than can be, or
earlier (a clock that was set, a dead battery, a server that was off for long), that is kept as a
*step*, ahead or back: where the clock stood before, and by how much it moved without time passing.
Steps are never forgotten.

Between two steps lies an *era*, in which the clock went on as it should. What is told is how much
of a point's age is no time that passed. For a point of a given era that is the sum of all steps
since, those back being negative; so a step back is a debt that a later step ahead pays first. A
point bears no era, only a moment. It cannot be of an era that ended before that moment; of all
others, the era with the largest sum is taken, which makes the point youngest. Thus

- a boot in 1970 adds a step back and one ahead, whose sum is nothing to what was made before, and
  56 years to what was made in 1970;
- a clock that was ahead and is set right pays back what had been left out;
- a step that comes to where the clock would stand in an earlier era, or up to LONGEST_PAUSE later,
  counts as a return to that; what is left over is time that passed, as if there had been no steps.

So from one look to the next no point ages by more than the clock went on, and where that cannot be,
by LONGEST_PAUSE at most. What errs makes points younger: they stay for longer. The end of backups
that are kept for a time moves with every step of more than LONGEST_PAUSE, ahead or back, so that
what is left until then is the same.
See `keeping.Jump`.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, func, insert, select, update

from holdfast.server import tables
from holdfast.server.clock import Clock, milliseconds, moment_of, pause
from holdfast.server.keeping import Jump
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

#: What passes between two looks at the clock is less than this, unless something is wrong.
LONGEST_PAUSE = timedelta(days=8)
_LONGEST_PAUSE = LONGEST_PAUSE // timedelta(milliseconds=1)
#: By how many ms a clock is set back that is only corrected.
_SMALL = 600_000
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
            await pause(self._clock, _BETWEEN_LOOKS)


def note_time(connection: Connection, now: datetime) -> None:
    """Write down what time it is, and whether the clock has jumped since that was last done."""
    server, backup = tables.server, tables.backup
    seen, moment = connection.scalar(select(server.c.seen)), milliseconds(now)
    if seen is None:
        seen = _newest_session(connection)
    moved = 0 if seen is None else moment - seen
    if seen is not None and (moved < -_SMALL or moved > _LONGEST_PAUSE):
        step = _step(connection, moved)
        connection.execute(insert(tables.clock_jump).values(before=seen, length=step))
    if seen is not None and abs(moved) > _LONGEST_PAUSE:
        connection.execute(
            update(backup)
            .where(backup.c.expires.is_not(None))
            .values(expires=backup.c.expires + step)
        )
        _LOGGER.warning(
            "The clock of the backup server has jumped from %s to %s. Restore points do not age by "
            "that.",
            moment_of(seen).isoformat(timespec="seconds"),
            now.isoformat(timespec="seconds"),
        )
    # While it is only corrected, the latest: no point is later than the end of its era.
    connection.execute(update(server).values(seen=seen if -_SMALL <= moved < 0 else moment))


def _step(connection: Connection, moved: int) -> int:
    """Given by how many ms the clock has moved, return how much of it is no time that passed."""
    for _end, since in _eras(connection):
        if 0 <= since + moved <= _LONGEST_PAUSE:
            return -since  # back in that era
    return moved


def _eras(connection: Connection) -> list[tuple[int, int]]:
    """Return when each era but this one ended and the sum of all steps since, the latest first."""
    table, since, found = tables.clock_jump, 0, []
    for row in connection.execute(select(table).order_by(table.c.number.desc())):
        since += row.length
        found.append((row.before, since))
    return found


def is_behind(connection: Connection) -> bool:
    """Say whether the clock has been set back by more than it had jumped ahead, as by a boot in
    1970: then it was right before, and is wrong now."""
    total = connection.scalar(select(func.sum(tables.clock_jump.c.length))) or 0
    return bool(total < -_SMALL)


def jumps(connection: Connection) -> tuple[Jump, ...]:
    """Return what is left out of the ages of points, by the moments at which that begins.

    For a point that was made at a moment, the lengths of those at or after it add up to the largest
    sum of any era that it may be of, or to nothing.
    """
    found: list[Jump] = []
    told = 0
    for end, since in sorted(_eras(connection), reverse=True):
        if since > told:
            found.append(Jump(moment_of(end), timedelta(milliseconds=since - told)))
            told = since
    return tuple(reversed(found))


def _newest_session(connection: Connection) -> int | None:
    """Return when something was last done, for a server that has never written down the time."""
    session = tables.job_session
    found: int | None = connection.scalar(
        select(func.max(func.coalesce(session.c.ended, session.c.created)))
    )
    return found
