"""Failed logons, counted for each account and address, and the delay they bring. Kept for good."""

from __future__ import annotations

from sqlite3 import Connection

from holdfast.catalog.store import CatalogStore
from holdfast.manager.clock import Clock

#: Failed logons an account or an address may have before it must wait, and how long it waits:
#: twice as long after each further failure, up to the longest.
FREE_FAILURES = 5
FIRST_DELAY = 1_000
LONGEST_DELAY = 5 * 60_000

Subjects = tuple[str, str]


class LogonFailures:
    """Counts failures by subject: an account's name, an address."""

    def __init__(self, store: CatalogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def wait(self, subjects: Subjects) -> int:
        """Given subjects, return how many seconds they must still wait; 0 when they need not."""
        until: int | None = await self._store.read(
            lambda c: c.execute(
                "SELECT max(refused_until) FROM logon_failure WHERE subject IN (?, ?)", subjects
            ).fetchone()[0]
        )
        return max(0, -(-((until or 0) - self._clock()) // 1000))

    async def count(self, subjects: Subjects) -> None:
        """Given subjects, count one more failure of each."""
        await self._store.write(lambda c: self._count(c, subjects))

    async def forget(self, subjects: Subjects) -> None:
        """Given subjects, forget their failures."""
        text = "DELETE FROM logon_failure WHERE subject IN (?, ?)"
        await self._store.write(lambda c: c.execute(text, subjects))

    def _count(self, connection: Connection, subjects: Subjects) -> None:
        for subject in subjects:
            (failures,) = connection.execute(
                "INSERT INTO logon_failure (subject, failures, refused_until) VALUES (?, 1, 0)"
                " ON CONFLICT (subject) DO UPDATE SET failures = failures + 1"
                " RETURNING failures",
                (subject,),
            ).fetchone()
            if failures >= FREE_FAILURES:
                doublings = min(failures - FREE_FAILURES, 16)
                delay = min(FIRST_DELAY << doublings, LONGEST_DELAY)
                connection.execute(
                    "UPDATE logon_failure SET refused_until = ? WHERE subject = ?",
                    (self._clock() + delay, subject),
                )
