"""The index of the files in a restore point: what it says of what it does not have."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.engine.browser import NoSuchEntry, UnreadableEntry
from holdfast.engine.guest_entry import Entry, Listing, part_of
from holdfast.engine.guest_index import GuestIndex, build_index

_FOLDERS = {
    (): ["good", "damaged", "large"],
    ("good",): ["inner"],
    ("good", "inner"): [],
    ("large",): [f"{number:03}" for number in range(100)],
}


class Folders:
    """A `Browser` of which one folder cannot be read."""

    async def warnings(self) -> list[str]:
        return []

    async def entry(self, parts: tuple[str, ...]) -> Entry:
        raise NotImplementedError

    async def listing(self, parts: tuple[str, ...], kinds: str, offset: int, limit: int) -> Listing:
        if parts == ("damaged",):
            raise UnreadableEntry("The disk cannot be read there: it is damaged")
        entries = [Entry(name=name, kind="directory") for name in _FOLDERS.get(parts, [])]
        return part_of(entries, kinds, offset, limit)

    def content(self, parts: tuple[str, ...]) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


async def test_a_folder_that_could_not_be_read_is_an_error_and_not_empty(tmp_path: Path) -> None:
    assert await build_index(Folders(), tmp_path / "index") == 104
    index = GuestIndex(tmp_path / "index")
    assert index.entry(("damaged",)).kind == "directory"
    with pytest.raises(UnreadableEntry, match="it is damaged"):
        index.listing(("damaged",), "all", 0, 10)
    with pytest.raises(UnreadableEntry, match="it is damaged"):
        index.entry(("damaged", "anything"))
    assert index.listing(("good", "inner"), "all", 0, 10).total == 0
    with pytest.raises(NoSuchEntry):
        index.entry(("good", "anything"))


async def test_folders_that_had_no_place_in_the_index_are_not_empty(tmp_path: Path) -> None:
    assert await build_index(Folders(), tmp_path / "index", greatest=50) == 50
    index = GuestIndex(tmp_path / "index")
    assert index.listing((), "all", 0, 10).total == 3
    for folder in (("large",), ("good", "inner")):
        with pytest.raises(UnreadableEntry, match="only the first 50 files and folders"):
            index.listing(folder, "all", 0, 10)


async def test_an_index_of_an_older_holdfast_is_read(tmp_path: Path) -> None:
    await build_index(Folders(), tmp_path / "index")
    with sqlite3.connect(tmp_path / "index") as database:
        database.execute("DROP TABLE unreadable")
    assert GuestIndex(tmp_path / "index").listing((), "all", 0, 10).total == 3
