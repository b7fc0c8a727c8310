"""How much goes on at once: on the whole server, with one repository, with one host."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Concurrency:
    """How many machines or directories are backed up or copied at the same time, over all jobs.

    `machines` on the whole server; of these, so many to one repository, and so many of one host.
    None means no other limit than the first.
    """

    machines: int = 2
    per_repository: int | None = None
    per_host: int | None = None

    def __post_init__(self) -> None:
        if any(each is not None and each < 1 for each in (self.per_repository, self.per_host)):
            raise ValueError("at least one machine must be let through")
        if self.machines < 1:
            raise ValueError("at least one machine must be let through")


class Slots:
    """The slots of a server. Whoever works holds one of each kind that concerns it."""

    def __init__(self, concurrency: Concurrency) -> None:
        self._server = asyncio.Semaphore(concurrency.machines)
        self._repositories = _Each(concurrency.per_repository)
        self._hosts = _Each(concurrency.per_host)

    @asynccontextmanager
    async def taken(self, repository: UUID, host: UUID | None = None) -> AsyncIterator[None]:
        """Wait for the slots that work needs, and hold them."""
        # The narrow ones first, so that nobody holds one of the server's and waits for a busy
        # host; always in the same order, so that no two wait for each other.
        async with AsyncExitStack() as held:
            if host is not None:
                await held.enter_async_context(self._hosts.of(host))
            await held.enter_async_context(self._repositories.of(repository))
            await held.enter_async_context(self._server)
            yield


class _Each:
    """A number of slots for each of something."""

    def __init__(self, number: int | None) -> None:
        self._number = number
        self._slots: defaultdict[UUID, asyncio.Semaphore] = defaultdict(self._made)

    def _made(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self._number or 1)

    @asynccontextmanager
    async def of(self, uid: UUID) -> AsyncIterator[None]:
        if self._number is None:
            yield
            return
        async with self._slots[uid]:
            yield
