"""Failed logons: counted, so that passwords cannot be guessed by trying many."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from sqlite3 import Connection

from holdfast.catalog.store import CatalogStore
from holdfast.manager.clock import Clock
from holdfast.query.literals import fold

#: How long one waits after the first failure too many, in milliseconds: twice as long after each
#: further one, up to the longest.
FIRST_DELAY = 1_000
LONGEST_DELAY = 5 * 60_000

#: A failure is forgotten when nothing has been heard of its subject for so long.
_MEMORY = 24 * 60 * 60_000


class LogonRefused(Exception):
    """The name or the password is wrong, or it was tried too often; the message does not say
    which of the first two.
    """


@dataclass(frozen=True)
class _Subject:
    """What failures are counted of, and how many it may have before it must wait."""

    key: str
    free_failures: int


def _subjects(name: str, address: str) -> tuple[_Subject, ...]:
    # An account is counted with the address: a stranger elsewhere cannot lock its owner out.
    # Names are hashed, since anything may be given as one.
    account = hashlib.sha256(fold(name).encode("utf-8", "surrogatepass")).hexdigest()
    return (_Subject(f"account {account} {address}", 5), _Subject(f"address {address}", 50))


class LogonFailures:
    """The failures of late, kept across restarts."""

    def __init__(self, store: CatalogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def refuse_while_delayed(self, name: str, address: str) -> None:
        """Raise LogonRefused when the name, or the address, has to wait."""
        keys = tuple(subject.key for subject in _subjects(name, address))
        until: int | None = await self._store.read(
            lambda c: c.execute(
                "SELECT max(refused_until) FROM logon_failure WHERE subject IN (?, ?)", keys
            ).fetchone()[0]
        )
        wait = (until or 0) - self._clock()
        if wait > 0:
            seconds = -(-wait // 1000)
            raise LogonRefused(f"Too many failed logons; try again in {seconds} s.")

    async def count(self, name: str, address: str) -> None:
        """Note that a logon has failed."""
        now = self._clock()

        def note(connection: Connection) -> None:
            for subject in _subjects(name, address):
                (failures,) = connection.execute(
                    "INSERT INTO logon_failure (subject, failures, refused_until) VALUES (?, 1, ?)"
                    " ON CONFLICT (subject) DO UPDATE"
                    " SET failures = failures + 1, refused_until = excluded.refused_until"
                    " RETURNING failures",
                    (subject.key, now),
                ).fetchone()
                if failures >= subject.free_failures:
                    doublings = min(failures - subject.free_failures, 16)
                    delay = min(FIRST_DELAY << doublings, LONGEST_DELAY)
                    connection.execute(
                        "UPDATE logon_failure SET refused_until = ? WHERE subject = ?",
                        (now + delay, subject.key),
                    )

        await self._store.write(note)

    async def forget(self, name: str, address: str) -> None:
        """Note that a logon has succeeded."""
        keys = [(subject.key,) for subject in _subjects(name, address)]
        known = await self._store.read(
            lambda c: c.execute(
                "SELECT 1 FROM logon_failure WHERE subject IN (?, ?)", [key for (key,) in keys]
            ).fetchone()
        )
        if known:
            remove = "DELETE FROM logon_failure WHERE subject = ?"
            await self._store.write(lambda c: c.executemany(remove, keys))

    async def remove_old(self) -> None:
        """Forget the failures of yesterday."""
        before = self._clock() - _MEMORY
        await self._store.write(
            lambda c: c.execute("DELETE FROM logon_failure WHERE refused_until < ?", (before,))
        )
