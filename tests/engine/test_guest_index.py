"""The index of the files in a restore point: what it says of what it does not have."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.engine.browser import NoSuchEntry, UnreadableEntry
from holdfast.engine.files import FilesPlan, ResticRepository
from holdfast.engine.guest_entry import Entry, Listing, part_of
from holdfast.engine.guest_index import GuestIndex, build_index
from holdfast.engine.guest_snapshot import GuestSnapshot, whole_snapshot

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


async def test_what_a_large_snapshot_lacks_in_the_index_is_deepest_and_told_of(
    restic_repository: ResticRepository, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    for path in ("z", "b/file", "b/none/", *(f"a/deep/{number}/below" for number in range(10))):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (tree / path).mkdir()
        else:
            (tree / path).touch()
    await restic_repository.ensure()
    kept = await restic_repository.back_up(FilesPlan(tree, "tag", "machine"))
    snapshot = GuestSnapshot(restic_repository, kept.snapshot_id, "tree")
    # Three in the folder, three below these, and the first four of ten below deep.
    await build_index(await whole_snapshot(snapshot, 10), tmp_path / "index")
    index = GuestIndex(tmp_path / "index")
    assert [e.name for e in index.listing(("tree",), "all", 0, 10).entries] == ["a", "b", "z"]
    assert index.listing(("tree", "b"), "all", 0, 10).total == 2
    assert index.listing(("tree", "b", "none"), "all", 0, 10).total == 0
    for parts in (("deep",), ("deep", "3"), ("deep", "9", "below")):
        with pytest.raises(UnreadableEntry, match="only the first 10 files and folders"):
            index.listing(("tree", "a", *parts), "all", 0, 10)
    # And none of this when there is place.
    await build_index(await whole_snapshot(snapshot, 100), tmp_path / "index")
    assert index.listing(("tree", "a", "deep", "9"), "all", 0, 10).total == 1


async def test_an_index_of_an_older_holdfast_is_read(tmp_path: Path) -> None:
    await build_index(Folders(), tmp_path / "index")
    with sqlite3.connect(tmp_path / "index") as database:
        database.execute("DROP TABLE unreadable")
    assert GuestIndex(tmp_path / "index").listing((), "all", 0, 10).total == 3
