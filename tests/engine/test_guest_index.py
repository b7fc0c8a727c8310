"""The index of the files in a restore point: what it says of what it does not have."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.engine import guest_snapshot, guest_volumes
from holdfast.engine.browser import NoSuchEntry, UnreadableEntry
from holdfast.engine.files import FilesPlan, ResticRepository
from holdfast.engine.guest_entry import Entry, Listing, part_of
from holdfast.engine.guest_index import GuestIndex, build_index
from holdfast.engine.guest_protocol import Request
from holdfast.engine.guest_reader import Reader
from holdfast.engine.guest_snapshot import GuestSnapshot, whole_snapshot
from support.disks import ext_image

from .test_xfs import Bytes

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


async def test_a_folder_larger_than_is_listed_says_so_and_all_in_it_is_found(
    restic_repository: ResticRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(6):
        (tree / f"{number}").write_text(f"file {number}")
    ext_image(tmp_path / "disk.raw", tree, size=4 << 20)
    content = (tmp_path / "disk.raw").read_bytes()
    await restic_repository.ensure()
    kept = await restic_repository.back_up(FilesPlan(tree, "tag", "machine"))
    for module in (guest_snapshot, guest_volumes):
        monkeypatch.setattr(module, "GREATEST_FOLDER", 5)

    snapshot = GuestSnapshot(restic_repository, kept.snapshot_id, "tree")
    first = await snapshot.listing(("tree",), "all", 0, 10)
    assert (len(first.entries), first.total) == (5, 6)
    with pytest.raises(UnreadableEntry, match="tree has more than"):
        await snapshot.listing(("tree",), "all", 5, 5)
    for number in range(6):
        parts = ("tree", f"{number}")
        said = b"".join([piece async for piece in snapshot.content(parts)])
        assert said == f"file {number}".encode()
    with pytest.raises(NoSuchEntry, match="There is no 6 in tree"):
        await snapshot.entry(("tree", "6"))

    reader = Reader([Bytes(bytearray(content))])

    def ask(*parts: str, **more: Any) -> tuple[bytes, bytes]:
        return reader.answer(Request(parts=("volume1", *parts), **more))

    kind, said = ask(do="list", offset=0, limit=10)
    listing = msgspec.json.decode(said, type=Listing)
    assert (kind, len(listing.entries), listing.total) == (b"J", 5, 6)
    kind, said = ask(do="list", offset=5, limit=5)
    assert (kind, b"volume1 has more than" in said) == (b"U", True)
    for number in range(6):
        found = ask(f"{number}", do="read", offset=0, limit=99)
        assert found == (b"D", f"file {number}".encode())
    assert ask("6", do="entry")[0] == b"E"


async def test_an_index_of_an_older_holdfast_is_read(tmp_path: Path) -> None:
    await build_index(Folders(), tmp_path / "index")
    with sqlite3.connect(tmp_path / "index") as database:
        database.execute("DROP TABLE unreadable")
    assert GuestIndex(tmp_path / "index").listing((), "all", 0, 10).total == 3
