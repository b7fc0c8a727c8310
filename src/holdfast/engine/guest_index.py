"""The index of the files in one restore point: a small SQLite file, written once, then only read.

It says what was there without the repository being at hand. It is bounded: beyond
`GREATEST_INDEX` entries, or deeper than `DEEPEST_PATH`, nothing more is taken in. Of a folder that
it does not have whole, it has the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from holdfast.engine.browser import Browser, NoSuchEntry, UnreadableEntry
from holdfast.engine.durability import partial_name
from holdfast.engine.errors import EngineError
from holdfast.engine.guest_entry import DEEPEST_PATH, Entry, Listing, match

GREATEST_INDEX = 500_000
_PAGE = 5000
_TABLES = """
CREATE TABLE entry (
    folder TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    size INTEGER NOT NULL, owner TEXT NOT NULL, modified INTEGER NOT NULL,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE TABLE unreadable (folder TEXT NOT NULL PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
"""
_INSERT = "INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_UNREADABLE = "INSERT OR IGNORE INTO unreadable VALUES (?, ?)"
_WANTED = {
    "all": "folder = ?",
    "directories": "folder = ? AND kind = 'directory'",
    "files": "folder = ? AND kind <> 'directory'",
}


class IndexNotWritten(EngineError):
    """The place where indexes are kept takes no more, or nothing at the moment."""


async def build_index(browser: Browser, path: Path, greatest: int = GREATEST_INDEX) -> int:
    """Given an open restore point, write its index; return how many entries that has.

    The file appears only when it is whole. Raise IndexNotWritten, or another EngineError when the
    point cannot be read.
    """
    partial = partial_name(path)
    try:
        await asyncio.to_thread(_start, partial)
        taken = await _walk(browser, partial, greatest)
        await asyncio.to_thread(partial.replace, path)
    except (sqlite3.Error, OSError) as error:
        raise IndexNotWritten(f"The index {path} cannot be written: {error}.") from error
    finally:
        await asyncio.to_thread(partial.unlink, missing_ok=True)
    return taken


def only_first(greatest: int) -> str:
    """Given how many entries an index has at most, return why it does not have a folder whole."""
    return f"The catalog has only the first {greatest} files and folders of a restore point."


async def _walk(browser: Browser, partial: Path, greatest: int) -> int:
    folders: deque[tuple[str, ...]] = deque([()])
    unreadable: list[tuple[str, str]] = []
    taken = 0
    while folders and taken < greatest:
        parts = folders.popleft()
        offset = 0
        while True:
            wanted = min(_PAGE, greatest - taken)
            try:
                listing = await browser.listing(parts, "all", offset, wanted)
            except NoSuchEntry:
                break
            except UnreadableEntry as error:
                unreadable.append(("/".join(parts), str(error)))
                break
            await asyncio.to_thread(_insert, partial, "/".join(parts), listing.entries)
            taken += len(listing.entries)
            offset += len(listing.entries)
            below = [entry for entry in listing.entries if entry.kind == "directory"]
            if len(parts) + 1 < DEEPEST_PATH:
                folders.extend((*parts, entry.name) for entry in below)
            else:
                deep = f"The catalog has no folders below {DEEPEST_PATH} others."
                unreadable += [("/".join((*parts, entry.name)), deep) for entry in below]
            if not listing.entries or offset >= listing.total:
                break
            if taken >= greatest:
                folders.appendleft(parts)
                break
    unreadable += [("/".join(parts), only_first(greatest)) for parts in folders]
    await asyncio.to_thread(_insert_unreadable, partial, unreadable)
    return taken


def _start(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    with _opened(partial) as database:
        # Made again after any failure: it need not survive one.
        database.execute("PRAGMA synchronous = OFF")
        database.executescript(_TABLES)


def _insert(partial: Path, folder: str, entries: list[Entry]) -> None:
    rows = [(folder, e.name, e.kind, e.size, e.owner, e.modified) for e in entries]
    with _opened(partial) as database, database:
        database.executemany(_INSERT, rows)


def _insert_unreadable(partial: Path, rows: list[tuple[str, str]]) -> None:
    with _opened(partial) as database, database:
        database.executemany(_INSERT_UNREADABLE, rows)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        yield database


class GuestIndex:
    """Reads an index. Every method blocks and raises NoSuchEntry, UnreadableEntry for a folder that
    the index does not have whole, or EngineError for a damaged file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def entry(self, parts: tuple[str, ...]) -> Entry:
        """Return what is at a path."""
        with self._read() as database:
            return _find(database, parts)[1]

    def listing(self, parts: tuple[str, ...], kinds: str, offset: int, limit: int) -> Listing:
        """Return a part of a folder's entries, folders first."""
        with self._read() as database:
            folder, entry = _find(database, parts)
            if entry.kind != "directory":
                raise NoSuchEntry(f"{entry.name} is not a folder.")
            if (reason := _unreadable(database, folder)) is not None:
                raise UnreadableEntry(reason)
            where = _WANTED[kinds]
            rows = database.execute(
                f"SELECT name, kind, size, owner, modified FROM entry WHERE {where}"  # noqa: S608
                " ORDER BY kind <> 'directory', name LIMIT ? OFFSET ?",
                (folder, limit, offset),
            )
            entries = [_entry(row) for row in rows]
            count = f"SELECT count(*) FROM entry WHERE {where}"  # noqa: S608 - one of our own
            total: int = database.execute(count, (folder,)).fetchone()[0]
            return Listing(entries=entries, total=total)

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        try:
            address = f"{self._path.absolute().as_uri()}?mode=ro&immutable=1"
            with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
                yield database
        except sqlite3.Error as error:
            raise EngineError(f"The index {self._path} cannot be read: {error}.") from error


def _find(database: sqlite3.Connection, parts: tuple[str, ...]) -> tuple[str, Entry]:
    """Return a path as it is written in the index, and what is there."""
    folder, entry = "", Entry(name="", kind="directory")
    for part in parts:
        query = "SELECT name, kind, size, owner, modified FROM entry WHERE folder = ?"
        row = database.execute(f"{query} AND name = ?", (folder, part)).fetchone()
        if row is None:
            names = [name for (name, *_) in database.execute(query, (folder,))]
            if (name := match(part, names)) is None:
                if (reason := _unreadable(database, folder)) is not None:
                    raise UnreadableEntry(reason)
                raise NoSuchEntry(f"There is no {part} in {entry.name or 'this restore point'}.")
            row = database.execute(f"{query} AND name = ?", (folder, name)).fetchone()
        entry = _entry(row)
        folder = f"{folder}/{entry.name}" if folder else entry.name
    return folder, entry


def _unreadable(database: sqlite3.Connection, folder: str) -> str | None:
    """Return why a folder cannot be listed; None when it can."""
    known = "SELECT 1 FROM sqlite_master WHERE name = 'unreadable'"
    if database.execute(known).fetchone() is None:
        return None  # an index that was made before they were noted
    query = "SELECT reason FROM unreadable WHERE folder = ?"
    row = database.execute(query, (folder,)).fetchone()
    return None if row is None else str(row[0])


def _entry(row: tuple[str, str, int, str, int]) -> Entry:
    name, kind, size, owner, modified = row
    known = {"directory": "directory", "file": "file", "link": "link"}
    return Entry(
        name=name,
        kind=known.get(kind, "other"),  # type: ignore[arg-type]
        size=size,
        owner=owner,
        modified=modified,
    )
