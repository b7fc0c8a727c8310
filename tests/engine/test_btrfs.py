"""Files read out of btrfs: made by mkfs.btrfs, written by Linux, on several disks, and damaged."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import random
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from holdfast.engine import btrfs_format, btrfs_tree, lzo
from holdfast.engine.browser import UnreadableEntry
from holdfast.engine.btrfs import Btrfs, Device, read_superblock
from holdfast.engine.btrfs_checksum import crc32c
from holdfast.engine.disk import DamagedError
from holdfast.engine.file_system import NotFoundError
from holdfast.engine.guest_entry import shown_name
from holdfast.engine.guest_volumes import Volume, volumes_of
from support import written_btrfs
from support.disks import MIB, btrfs_image, ext_image, partitioned
from support.written_btrfs import FOUR, ONE, TWO, Images

from .guests import all_files, everything, opened, read
from .test_xfs import Bytes, walk, xfs_tree

_NODE = 4096  # bytes, on one disk
_SUPERBLOCK = 1 << 16

Unpack = Callable[[Images], list[Path]]


@pytest.fixture(scope="module")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Unpack:
    """Unpack what Linux has written, each disk once; nobody changes it."""
    folder = tmp_path_factory.mktemp("written")
    return cache(lambda images: written_btrfs.unpack(images, folder))


@pytest.mark.parametrize(
    "options",
    ["--nodesize 65536", "--nodesize 4096 --mixed --csum sha256"],
)
async def test_every_file_of_a_btrfs_file_system_is_read(tmp_path: Path, options: str) -> None:
    contents = xfs_tree(tmp_path / "tree", names=300)
    image = tmp_path / "disk.raw"
    await asyncio.to_thread(btrfs_image, image, tmp_path / "tree", *options.split())
    async with opened(tmp_path, image) as disk:
        found = await everything(disk, "volume1")
        assert (found["short"].kind, found["long"].kind) == ("link", "link")
        assert await all_files(disk, "volume1") == contents


async def test_what_linux_has_written_is_read(tmp_path: Path, unpack: Unpack) -> None:
    """Compressed in every way, holes, space set aside, shared blocks, subvolumes, snapshots."""
    async with opened(tmp_path, *unpack(ONE)) as disk:
        for name, content in written_btrfs.contents().items():
            parts = [shown_name(part.encode()) for part in name.split("/")]
            assert await read(disk, "volume1", *parts) == content, name
        found = await everything(disk, "volume1")
        assert found["odd\\x5c\\x0a name"].modified == written_btrfs.FAR_TIME
        kinds = {name: found[name].kind for name in ("long link", "short link", "pipe", "sub")}
        assert list(kinds.values()) == ["link", "link", "other", "directory"]
        below = [name.removeprefix("names/") for name in found if name.startswith("names/")]
        assert sorted(below) == sorted(written_btrfs.NAMES)
        # What was in another subvolume is not in the snapshot, and a deleted one is nowhere.
        assert found["snapshots/1/inner"].kind == "directory"
        in_snapshot = {name for name in found if name.startswith("snapshots/1/")}
        assert in_snapshot == {"snapshots/1/inner", "snapshots/1/first"}
        assert "gone" not in found


@pytest.mark.parametrize("images", [TWO, FOUR])
async def test_a_file_system_on_several_disks_is_read(
    tmp_path: Path, unpack: Unpack, images: Images
) -> None:
    disks = unpack(images)
    # In any order, and in a partition as well.
    partitioned(tmp_path / "partitioned", disks[0])
    async with opened(tmp_path, *reversed(disks[1:]), tmp_path / "partitioned") as machine:
        roots = await machine.listing((), "all", 0, 10)
        assert [entry.name for entry in roots.entries] == ["volume1"]
        assert await all_files(machine, "volume1") == written_btrfs.on_several()


@contextlib.contextmanager
def in_memory(*paths: Path) -> Iterator[list[Bytes]]:
    """Open disks so that they can be changed for the time being."""
    with contextlib.ExitStack() as files:
        found = []
        for path in paths:
            file = files.enter_context(path.open("rb"))
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            files.enter_context(content)
            found.append(Bytes(content))  # type: ignore[arg-type]
        yield found


@pytest.fixture
def one(unpack: Unpack) -> Iterator[Bytes]:
    with in_memory(*unpack(ONE)) as (disk,):
        yield disk


def content_of(volume: Volume, *parts: str) -> bytes:
    node = volume.find(parts)
    pieces = range(0, node.entry.size, MIB)
    return b"".join(volume.read(node, offset, MIB) for offset in pieces)


def test_of_four_disks_one_may_be_missing_when_there_are_copies(unpack: Unpack) -> None:
    with in_memory(*unpack(FOUR)) as disks:
        for missing in range(4):
            (volume,) = volumes_of([disk for disk in disks if disk is not disks[missing]])
            for name, content in written_btrfs.on_several().items():
                assert content_of(volume, name) == content


def test_without_a_disk_that_has_no_copy_what_lies_on_it_is_an_error(unpack: Unpack) -> None:
    with in_memory(*unpack(TWO)) as disks:
        for disk in disks:
            (volume,) = volumes_of([disk])
            assert content_of(volume, "small") == b"small"
            with pytest.raises(DamagedError, match=r"Device \d of the btrfs file system is miss"):
                content_of(volume, "large")


def test_a_copy_of_a_disk_is_a_file_system_of_its_own(unpack: Unpack) -> None:
    with in_memory(*unpack(TWO)) as disks:
        volumes = volumes_of([disks[0], disks[0], disks[1], disks[1]])
        assert [content_of(volume, "small") for volume in volumes] == [b"small", b"small"]
        assert content_of(volumes[1], "large") == written_btrfs.on_several()["large"]


def test_compressed_content_is_read_as_it_is_kept(one: Bytes) -> None:
    (volume,) = volumes_of([one])
    for name in written_btrfs.COMPRESSIONS:
        node = volume.find((name, "zeros"))
        one.reads.clear()
        assert volume.read(node, 0, MIB) == bytes(MIB)
        assert sum(length for _, length in one.reads) < MIB


async def test_the_other_file_systems_of_a_disk_come_first(tmp_path: Path) -> None:
    """So they have the names that they had before btrfs could be read."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "which").write_text("ext")
    ext_image(tmp_path / "ext", tree, size=4 * MIB)
    (tree / "which").write_text("btrfs")
    await asyncio.to_thread(btrfs_image, tmp_path / "btrfs", tree)
    partitioned(tmp_path / "disk", tmp_path / "btrfs", tmp_path / "ext", label="gpt")
    async with opened(tmp_path, tmp_path / "disk") as disk:
        assert await read(disk, "volume1", "which") == b"ext"
        assert await read(disk, "volume2", "which") == b"btrfs"


async def test_why_a_file_system_cannot_be_read_is_said(tmp_path: Path) -> None:
    disks = [tmp_path / name for name in ("a", "b", "c")]
    for disk in disks:
        with disk.open("wb") as file:
            file.truncate(192 * MIB)
    command = ["mkfs.btrfs", "-q", "--metadata", "raid5", "--data", "raid5", *map(str, disks)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    async with opened(tmp_path, *disks) as machine:
        name = "unreadable1 (btrfs)"
        assert (await machine.entry((name,))).kind == "directory"
        with pytest.raises(UnreadableEntry, match="RAID5 and RAID6 of btrfs are not read"):
            await machine.listing((name,), "all", 0, 10)


def change(disk: Bytes, at: int, value: bytes) -> None:
    disk.content[at : at + len(value)] = value  # type: ignore[index]


def test_a_damaged_superblock_is_read_from_its_mirror(one: Bytes) -> None:
    change(one, _SUPERBLOCK + 0x90, b"\xff")
    (volume,) = volumes_of([one])
    assert content_of(volume, "small") == b"small"
    change(one, (1 << 26) + 0x90, b"\xff")
    (volume,) = volumes_of([one])
    with pytest.raises(DamagedError, match="superblock"):
        volume.children(volume.find(()))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0x90, struct.pack("<I", 1000)),  # the size of a sector
        (0x94, struct.pack("<I", 1 << 31)),  # of a node
        (0xA0, struct.pack("<I", 5000)),  # of the chunks in the superblock
        (0xBC, struct.pack("<Q", 1 << 13)),  # features
        (0xC4, struct.pack("<H", 9)),  # the kind of checksums
        (0xC6, b"\x09"),  # levels of the root tree
        (0x50, struct.pack("<Q", 1 << 60)),  # where that is
        (0x32B + 17, struct.pack("<Q", 0)),  # the size of a chunk
        (0x32B + 17 + 24, struct.pack("<Q", 0x32)),  # its profile: two at once
        (0x32B + 17 + 44, struct.pack("<H", 60000)),  # how many copies it has
    ],
)
def test_a_superblock_that_cannot_be_is_an_error(
    one: Bytes, offset: int, value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btrfs_format, "is_intact", lambda *_: True)
    for place in (_SUPERBLOCK, 1 << 26):
        change(one, place + offset, value)
    (volume,) = volumes_of([one])
    with pytest.raises(DamagedError):
        volume.children(volume.find(()))


def test_who_reads_a_file_system_that_was_in_use_is_warned(
    one: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volume,) = volumes_of([one])
    assert volume.warnings == []
    monkeypatch.setattr(btrfs_format, "is_intact", lambda *_: True)
    change(one, _SUPERBLOCK + 0x60, struct.pack("<Q", 1 << 20))  # where a log is
    change(one, _SUPERBLOCK + 0xC9 + 8, struct.pack("<Q", 1 << 40))  # the size of the device
    (volume,) = volumes_of([one])
    larger, in_use = volume.warnings
    assert larger.startswith("[volume1] It claims 1099511627776 bytes, but its place has only 1")
    assert in_use.startswith("[volume1] It was in use when it was backed up, and its log is not")


def nodes_of(disk: Bytes) -> list[int]:
    """Return where the nodes lie that are read of a file system that is whole: of each, a copy."""
    disk.reads.clear()
    walk(Volume("", Btrfs([Device(disk, read_superblock(disk))])))
    uuid = disk.content[_SUPERBLOCK + 32 : _SUPERBLOCK + 48]
    found = {at for at, _ in disk.reads if disk.content[at + 32 : at + 48] == uuid}
    return sorted(found - {_SUPERBLOCK})


def test_nodes_are_read_from_their_second_copies_when_the_first_are_damaged(one: Bytes) -> None:
    nodes = nodes_of(one)
    assert len(nodes) > 30
    for at in nodes:
        change(one, at + 200, b"damage")
    assert len(set(nodes_of(one)) - set(nodes)) == len(nodes)  # the others
    (volume,) = volumes_of([one])
    for name in ("a", "sub/inner/deeper/deepest", "zstd/text"):
        assert content_of(volume, *name.split("/")) == written_btrfs.contents()[name]


def test_a_node_of_which_no_copy_is_whole_is_an_error(one: Bytes) -> None:
    first = nodes_of(one)
    for at in first:
        change(one, at + 200, b"damage")
    for at in nodes_of(one):
        change(one, at + 200, b"damage")
    (volume,) = volumes_of([one])
    with pytest.raises(DamagedError, match="checksum"):
        volume.children(volume.find(()))


def entries_of(disk: Bytes, name: bytes) -> list[int]:
    """Return where the entries of folders with a name say what they name."""
    marker = struct.pack("<H", len(name))
    found = []
    at = -1
    while (at := disk.content.find(name, at + 1)) >= 0:
        if disk.content[at - 3 : at - 1] == marker and disk.content[at - 30 + 8] in (1, 132):
            found.append(at - 30)
    assert found
    return found


def test_a_folder_that_contains_itself_is_read_no_deeper_than_asked(
    one: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btrfs_tree, "is_intact", lambda *_: True)
    for at in entries_of(one, b"small"):
        change(one, at, struct.pack("<Q", 256))  # the topmost folder
    (volume,) = volumes_of([one])
    node = volume.find(("small",) * 200)
    assert node.entry.kind == "directory"
    assert "a" in {child.entry.name for child in volume.children(node)}


def test_a_subvolume_that_is_not_where_it_says_is_empty(
    one: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btrfs_tree, "is_intact", lambda *_: True)
    for at in entries_of(one, b"inner"):
        change(one, at, struct.pack("<Q", 5))  # the topmost subvolume
    (volume,) = volumes_of([one])
    assert volume.children(volume.find(("sub", "inner"))) == []


def test_one_damaged_inode_does_not_hide_the_others_of_its_folder(
    one: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btrfs_tree, "is_intact", lambda *_: True)
    for at in entries_of(one, b"small"):
        change(one, at, struct.pack("<Q", 999_999))
    (volume,) = volumes_of([one])
    kinds = {node.entry.name: node.entry.kind for node in volume.children(volume.find(()))}
    assert (kinds["small"], kinds["a"]) == ("other", "file")


def test_damaged_file_systems_give_errors_and_no_more_work_than_whole_ones(
    one: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is damaged, the reader answers or raises what it is known to raise."""
    nodes = nodes_of(one)
    # What is damaged on purpose has checksums that fit.
    monkeypatch.setattr(btrfs_tree, "is_intact", lambda *_: True)
    monkeypatch.setattr(btrfs_format, "is_intact", lambda *_: True)
    chance = random.Random(5)
    for _ in range(30):
        undo = []
        for _ in range(chance.choice([1, 5, 100])):
            at = chance.choice([_SUPERBLOCK + 0x40, *nodes]) + chance.randrange(32, _NODE - 32)
            size = chance.choice([1, 2, 4, 8])
            other = chance.choice(nodes) + chance.randrange(_NODE - 8)
            undo.append((at, one.content[at : at + size]))
            damage = [
                chance.randbytes(size),
                b"\xff" * size,
                bytes(size),
                bytes([one.content[at] ^ (1 << chance.randrange(8))]),
                one.content[other : other + size],
            ]
            change(one, at, chance.choice(damage))
        one.reads.clear()
        with contextlib.suppress(OSError):
            look_around(Volume("", Btrfs([Device(one, read_superblock(one))])))
        assert sum(length for _, length in one.reads) < 256 * MIB
        for at, before in reversed(undo):
            change(one, at, before)


def look_around(volume: Volume) -> None:
    """As somebody who browses does, who opens a file here and there."""
    folders = [volume.find(())]
    seen = 0
    while folders and seen < 2000:
        with contextlib.suppress(OSError, NotFoundError):
            for node in volume.children(folders.pop()):
                seen += 1
                if node.entry.kind == "directory":
                    folders.append(node)
                elif node.entry.kind == "file" and not node.entry.name.startswith("name-"):
                    for offset in (0, node.entry.size // 2):
                        with contextlib.suppress(OSError):
                            volume.read(node, offset, 4096)


def test_checksums_are_those_of_rfc_3720() -> None:
    assert crc32c(bytes(32)) == bytes.fromhex("aa36918a")
    assert crc32c(b"\xff" * 32) == bytes.fromhex("43aba862")
    assert crc32c(bytes(range(32))) == bytes.fromhex("4e79dd46")


_STREAMS: Sequence[tuple[bytes, bytes]] = [
    (b"\x15abcd\x11\0\0", b"abcd"),
    (b"\x16abcde\x11\0\0", b"abcde"),
    (b"\0\x01" + bytes(range(19)) + b"\x11\0\0", bytes(range(19))),
    # Eight bytes from one byte before: a run.
    (b"\x15abcd\xe0\0\x11\0\0", b"abcddddddddd"[:12]),
    # Three bytes from four before, and one literal after them.
    (b"\x15abcd\x4d\0z\x11\0\0", b"abcdabcz"),
]


@pytest.mark.parametrize(("stream", "content"), _STREAMS)
def test_streams_of_lzo_are_decompressed(stream: bytes, content: bytes) -> None:
    assert lzo.decompress(stream, 4096) == content


def test_damaged_streams_of_lzo_are_errors_and_stay_small() -> None:
    chance = random.Random(3)
    for _ in range(3000):
        stream = bytearray(chance.choice(_STREAMS)[0] + chance.randbytes(20))
        stream[chance.randrange(len(stream))] = chance.randrange(256)
        with contextlib.suppress(DamagedError):
            assert len(lzo.decompress(bytes(stream), 4096)) <= 4096
    for stream in (
        b"",
        b"\x11",
        b"\0" * 100_000,
        b"\x15abcd" + b"\x20" + bytes(90_000) + b"\1\0\0",
    ):
        with pytest.raises(DamagedError):
            lzo.decompress(stream, 4096)
