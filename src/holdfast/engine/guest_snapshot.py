"""A restore point of a directory, open for browsing: restic is asked for each folder and file."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Literal

import msgspec

from holdfast.engine.browser import Browser, NoSuchEntry, UnreadableEntry
from holdfast.engine.files import ResticRepository
from holdfast.engine.guest_entry import (
    GREATEST_FOLDER,
    Entry,
    Kind,
    Listing,
    in_order,
    match,
    more_than_shown,
    part_of,
    shown_name,
)
from holdfast.engine.guest_index import only_first
from holdfast.engine.process import end

_KINDS: dict[str, Kind] = {"dir": "directory", "file": "file", "symlink": "link"}
_KEPT_FOLDERS = 16


class _Node(msgspec.Struct, frozen=True):
    """A line of ``restic ls --json``; the first line is the snapshot and has another type."""

    struct_type: Literal["node"]
    name: str
    type: str
    path: str
    uid: int = 0
    size: int = 0
    mtime: str = ""


_NODE = msgspec.json.Decoder(_Node)


class GuestSnapshot:
    """A `holdfast.engine.browser.Browser` of a snapshot, whose only root is the directory."""

    def __init__(self, repository: ResticRepository, snapshot_id: str, root: str) -> None:
        self._repository = repository
        self._snapshot = snapshot_id
        self.root = Entry(name=shown_name(root.encode("utf-8", "replace")), kind="directory")
        self._folders: OrderedDict[tuple[str, ...], dict[str, tuple[str, Entry]]] = OrderedDict()
        self._reading: set[Process] = set()
        self._turn = asyncio.Lock()

    async def warnings(self) -> list[str]:
        """Return nothing: a snapshot is whole."""
        return []

    async def entry(self, parts: tuple[str, ...]) -> Entry:
        """Return what is at a path."""
        if not parts:
            return Entry(name="", kind="directory")
        return (await self.true_path(parts))[1]

    async def listing(self, parts: tuple[str, ...], kinds: str, offset: int, limit: int) -> Listing:
        """Return a part of a folder's entries."""
        if not parts:
            return part_of([self.root], kinds, offset, limit)
        names, entry = await self.true_path(parts)
        if entry.kind != "directory":
            raise NoSuchEntry(f"{entry.name} is not a folder.")
        entries = [each for _, each in (await self._folder(names)).values()]
        found = part_of(entries[:GREATEST_FOLDER], kinds, offset, limit)
        if len(entries) <= GREATEST_FOLDER:
            return found
        if not found.entries:
            raise UnreadableEntry(more_than_shown(entry.name))
        return Listing(entries=found.entries, total=found.total + 1)

    async def content(self, parts: tuple[str, ...]) -> AsyncIterator[bytes]:
        """Return a file's content, piece by piece."""
        names, entry = await self.true_path(parts)
        if entry.kind != "file":
            raise NoSuchEntry(f"{entry.name} is not a file.")
        async for piece in self._repository.dump(self._snapshot, _path(names), self._reading):
            yield piece

    async def true_path(self, parts: tuple[str, ...]) -> tuple[tuple[str, ...], Entry]:
        """Given a path as it is shown, return the names that restic knows, and what is there."""
        if not parts or match(parts[0], [self.root.name]) is None:
            raise NoSuchEntry(f"There is no {'/'.join(parts)} in this restore point.")
        return await self._found(parts[1:])

    async def list_all(self, on_line: Callable[[str], None]) -> None:
        """Hand out every entry of the snapshot, a JSON line for each."""
        await self._repository.list_folder(self._snapshot, None, on_line)

    async def close(self) -> None:
        """Forget what was read, and end what is being read: it has the repository locked."""
        self._folders.clear()
        for process in list(self._reading):
            await end(process)

    async def _found(self, parts: tuple[str, ...]) -> tuple[tuple[str, ...], Entry]:
        """Return the true names of a path, and what is there. Links are never followed."""
        names: tuple[str, ...] = ()
        entry = self.root
        for part in parts:
            if entry.kind != "directory":
                raise NoSuchEntry(f"{entry.name} is not a folder.")
            inside = await self._folder(names)
            shown = match(part, list(inside))
            if shown is None and len(inside) > GREATEST_FOLDER:
                inside = await self._read(names, part)
                shown = match(part, list(inside))
            if shown is None:
                raise NoSuchEntry(f"There is no {part} in {entry.name}.")
            name, entry = inside[shown]
            names = (*names, name)
        return names, entry

    async def _folder(self, names: tuple[str, ...]) -> dict[str, tuple[str, Entry]]:
        """Return a folder's entries with their true names, by the names that are shown."""
        async with self._turn:
            if (known := self._folders.get(names)) is None:
                known = await self._read(names)
                self._folders[names] = known
                while len(self._folders) > _KEPT_FOLDERS:
                    self._folders.popitem(last=False)
            return known

    async def _read(
        self, names: tuple[str, ...], wanted: str | None = None
    ) -> dict[str, tuple[str, Entry]]:
        """Read a folder: what bears a name, or, of a very large one, the first and one more."""
        found: dict[str, tuple[str, Entry]] = {}
        folder = _path(names)
        above = "" if folder == "/" else folder

        def take(line: str) -> None:
            try:
                node = _NODE.decode(line)
            except msgspec.DecodeError:
                return  # the snapshot itself
            # restic lists the folders on the way, too.
            if node.path == f"{above}/{node.name}" and len(found) <= GREATEST_FOLDER:
                shown = shown_name(node.name.encode("utf-8", "surrogateescape"))
                if wanted is not None and match(wanted, [shown]) is None:
                    return
                found.setdefault(shown, (node.name, _entry(shown, node)))

        await self._repository.list_folder(self._snapshot, folder, take)
        return {entry.name: found[entry.name] for entry in in_order([e for _, e in found.values()])}


class _WholeSnapshot:
    """A snapshot of which every folder is in memory: what an index is made from.

    Beyond ``greatest`` entries what lies deepest is left out. A folder that lacks some of its
    entries gives those that it has, and is an error after the last of them.
    """

    def __init__(self, root: str, greatest: int) -> None:
        self._root = Entry(name=root, kind="directory")
        self._greatest = greatest
        self._folders: dict[tuple[str, ...], list[Entry]] = {(root,): []}
        self._cut: set[tuple[str, ...]] = set()
        # By depth the folder of each entry, in the order in which they came.
        self._levels: list[list[tuple[str, ...]]] = []

    def take(self, folder: tuple[str, ...], entry: Entry) -> None:
        """Add an entry to a folder, which was added before its entries."""
        if folder not in self._folders:
            return  # it was left out itself
        while len(self._levels) < len(folder):
            self._levels.append([])
        if self._is_full() and not self._leave_out_below(len(folder)):
            self._cut.add(folder)
            return
        self._levels[len(folder) - 1].append(folder)
        self._folders[folder].append(entry)
        if entry.kind == "directory":
            self._folders.setdefault((*folder, entry.name), [])

    def _is_full(self) -> bool:
        return sum(map(len, self._levels)) >= self._greatest

    def _leave_out_below(self, depth: int) -> bool:
        """Make room for an entry at a depth; say whether there was something deeper."""
        while len(self._levels) > depth and not self._levels[-1]:
            self._levels.pop()
        if len(self._levels) <= depth:
            return False
        folder = self._levels[-1].pop()
        left_out = (*folder, self._folders[folder].pop().name)
        self._cut.add(folder)
        self._cut.discard(left_out)
        self._folders.pop(left_out, None)
        return True

    async def warnings(self) -> list[str]:
        """Return nothing: a snapshot is whole."""
        return []

    async def entry(self, parts: tuple[str, ...]) -> Entry:
        """Return the folder at a path."""
        if parts and parts not in self._folders:
            raise NoSuchEntry(f"There is no folder {'/'.join(parts)}.")
        return Entry(name=parts[-1] if parts else "", kind="directory")

    async def listing(self, parts: tuple[str, ...], kinds: str, offset: int, limit: int) -> Listing:
        """Return a part of a folder's entries; raise UnreadableEntry after the last it has."""
        if not parts:
            return part_of([self._root], kinds, offset, limit)
        found = part_of(in_order(self._folders.get(parts, [])), kinds, offset, limit)
        if parts not in self._cut:
            return found
        if not found.entries:
            raise UnreadableEntry(only_first(self._greatest))
        return Listing(entries=found.entries, total=found.total + 1)

    async def content(self, parts: tuple[str, ...]) -> AsyncIterator[bytes]:
        """Nothing can be read here."""
        raise NoSuchEntry(f"{'/'.join(parts)} cannot be read from a listing.")
        yield b""

    async def close(self) -> None:
        """Forget what was read."""
        self._folders.clear()


async def whole_snapshot(snapshot: GuestSnapshot, greatest: int) -> Browser:
    """Given a snapshot, return its folders (not its contents), read by one call of restic.

    Beyond `greatest` entries what lies deepest is left out, and its folders are errors.
    """
    root = snapshot.root.name
    whole = _WholeSnapshot(root, greatest)

    def take(line: str) -> None:
        try:
            node = _NODE.decode(line)
        except msgspec.DecodeError:
            return  # the snapshot itself
        above = node.path.strip("/").split("/")[:-1]
        shown = (shown_name(part.encode("utf-8", "replace")) for part in above)
        whole.take((root, *shown), _entry(shown_name(node.name.encode("utf-8", "replace")), node))

    await snapshot.list_all(take)
    return whole


def _path(names: tuple[str, ...]) -> str:
    return "/" + "/".join(names)


def _entry(shown: str, node: _Node) -> Entry:
    return Entry(
        name=shown,
        kind=_KINDS.get(node.type, "other"),
        size=node.size if node.type == "file" else 0,
        owner=str(node.uid),
        modified=_milliseconds(node.mtime),
    )


def _milliseconds(written: str) -> int:
    try:
        return max(0, int(datetime.fromisoformat(written).timestamp() * 1000))
    except (ValueError, OverflowError):
        return 0
