"""What can be done with a restore point that is open for browsing, whatever it is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from holdfast.engine.errors import EngineError
from holdfast.engine.guest_entry import Entry, Listing


class NoSuchEntry(EngineError):
    """There is no such file or folder in the restore point, or it is not of the kind needed."""


class UnreadableEntry(EngineError):
    """What is in the restore point there cannot be read; the message says why."""


class Browser(Protocol):
    """An open restore point. Paths are names from the root down.

    Every method raises NoSuchEntry, UnreadableEntry and other EngineErrors.
    """

    async def warnings(self) -> list[str]:
        """Return what people are to know who look into it, such as what of it cannot be read."""

    async def entry(self, parts: tuple[str, ...]) -> Entry:
        """Return what is at a path."""

    async def listing(self, parts: tuple[str, ...], kinds: str, offset: int, limit: int) -> Listing:
        """Return a part of a folder's entries; ``kinds`` is all, directories or files."""

    def content(self, parts: tuple[str, ...]) -> AsyncIterator[bytes]:
        """Return a file's content, piece by piece. UnreadableEntry when it cannot be had."""

    async def close(self) -> None:
        """Let go of everything the browser holds."""
