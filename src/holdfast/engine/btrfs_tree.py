"""The B-trees of btrfs: their nodes, checked by their checksums, and the items in them.

Levels fall on the way down, so that no circle is endless; a node may only have keys that the node
above promises, so that none is read twice on one way through a tree.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from holdfast.engine.btrfs_checksum import ROOM, is_intact
from holdfast.engine.btrfs_chunks import Chunks
from holdfast.engine.btrfs_format import Key, Place, Superblock
from holdfast.engine.disk import DamagedError

_HEAD = struct.Struct("<16sQQ16sQQIB")
_HEAD_SIZE = ROOM + _HEAD.size
_ITEM = struct.Struct("<QBQII")
_BELOW = struct.Struct("<QBQQQ")
#: Bytes of nodes that are remembered; taken apart they need several times as many.
_KEPT = 2 << 20
_FIRST: Key = (0, 0, 0)
_END: Key = (1 << 64, 0, 0)

Item = tuple[Key, bytes]


@dataclass(frozen=True)
class _Node:
    """A node of level 0 has items, any other has nodes below it. Keys are in order."""

    keys: list[Key]
    items: list[bytes]
    below: list[Place]


class Nodes:
    """Reads nodes by their places, and remembers some."""

    def __init__(self, superblock: Superblock, chunks: Chunks) -> None:
        self._superblock = superblock
        self._chunks = chunks
        self._kept: OrderedDict[Place, _Node] = OrderedDict()

    def read(self, place: Place) -> _Node:
        """Return a node, from the first copy of it that is whole. Raise OSError."""
        if (known := self._kept.get(place)) is not None:
            self._kept.move_to_end(place)
            return known
        node = self._unpacked(place, self._whole(place))
        self._kept[place] = node
        if len(self._kept) * self._superblock.node_size > _KEPT:
            self._kept.popitem(last=False)
        return node

    def _whole(self, place: Place) -> bytes:
        size = self._superblock.node_size
        problem: OSError | None = None
        for copy in range(self._chunks.copies(place.address)):
            try:
                raw = self._chunks.read_copy(place.address, size, copy)
                self._check(raw, place)
            except OSError as error:
                problem = problem or error
            else:
                return raw
        raise problem or DamagedError("A node of the btrfs file system is missing.")

    def _check(self, raw: bytes, place: Place) -> None:
        uuid, address, _, _, generation, _, _, level = _HEAD.unpack_from(raw, ROOM)
        found = Place(address, generation, level)
        if uuid != self._superblock.metadata_uuid or found != place:
            raise DamagedError(f"The node at {place.address} is not the one that belongs there.")
        if not is_intact(raw, self._superblock.checksum):
            raise DamagedError(f"The checksum of the node at {place.address} is wrong.")

    def _unpacked(self, place: Place, raw: bytes) -> _Node:
        count = _HEAD.unpack_from(raw, ROOM)[6]
        entry = _BELOW if place.level else _ITEM
        end = _HEAD_SIZE + count * entry.size
        if end > len(raw):
            raise DamagedError(f"The node at {place.address} is damaged.")
        entries = list(entry.iter_unpack(raw[_HEAD_SIZE:end]))
        keys: list[Key] = [found[:3] for found in entries]
        if any(key >= next_key for key, next_key in pairwise(keys)):
            raise DamagedError(f"The node at {place.address} is not in order.")
        if place.level:
            below = [Place(found[3], found[4], place.level - 1) for found in entries]
            return _Node(keys, [], below)
        items = []
        for *_, offset, size in entries:
            if _HEAD_SIZE + offset < end or _HEAD_SIZE + offset + size > len(raw):
                raise DamagedError(f"The node at {place.address} is damaged.")
            items.append(raw[_HEAD_SIZE + offset : _HEAD_SIZE + offset + size])
        return _Node(keys, items, [])


class Tree:
    """One B-tree. Every method raises OSError for what cannot be read."""

    def __init__(self, nodes: Nodes, root: Place) -> None:
        self._nodes = nodes
        self._root = root

    def items(self, first: Key, last: Key) -> Iterator[Item]:
        """Return the items from one key up to another, both included, in order."""
        return self._below(self._root, first, last, _FIRST, _END)

    def item(self, key: Key) -> bytes | None:
        """Return what there is under a key."""
        found = self.before(key)
        return found[1] if found is not None and found[0] == key else None

    def before(self, key: Key) -> Item | None:
        """Return the last item whose key is not greater than this."""
        place, low, high = self._root, _FIRST, _END
        while True:
            node = self._read(place, low, high)
            number = bisect_right(node.keys, key) - 1
            if number < 0:
                return None
            if not place.level:
                return node.keys[number], node.items[number]
            place, low = node.below[number], node.keys[number]
            high = node.keys[number + 1] if number + 1 < len(node.keys) else high

    def _below(self, place: Place, first: Key, last: Key, low: Key, high: Key) -> Iterator[Item]:
        node = self._read(place, low, high)
        keys = node.keys
        if not place.level:
            for number in range(bisect_left(keys, first), bisect_right(keys, last)):
                yield keys[number], node.items[number]
            return
        for number in range(max(bisect_right(keys, first) - 1, 0), bisect_right(keys, last)):
            next_key = keys[number + 1] if number + 1 < len(keys) else high
            yield from self._below(node.below[number], first, last, keys[number], next_key)

    def _read(self, place: Place, low: Key, high: Key) -> _Node:
        node = self._nodes.read(place)
        if not node.keys:
            if place == self._root and not place.level:
                return node
            raise DamagedError(f"The node at {place.address} is empty.")
        if node.keys[0] < low or node.keys[-1] >= high:
            raise DamagedError(f"The node at {place.address} has what belongs elsewhere.")
        return node
