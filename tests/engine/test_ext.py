"""Files read out of ext2 to ext4: made by mke2fs, written by Linux, cut off, and damaged."""

from __future__ import annotations

import asyncio
import contextlib
import lzma
import os
import random
import struct
from pathlib import Path

import pytest

from holdfast.engine.browser import UnreadableEntry
from holdfast.engine.disk import DamagedError
from holdfast.engine.guest_entry import shown_name
from holdfast.engine.guest_volumes import volumes_of
from support import written_ext
from support.disks import MIB, ext_image

from .guests import all_files, everything, opened, read
from .test_xfs import Bytes, walk


@pytest.mark.parametrize(
    "options",
    [
        "ext2 -b 1024",
        "ext3 -b 4096",
        "ext4 -O bigalloc -C 16384 -N 4096",
        "ext4 -O meta_bg,^resize_inode -b 1024",
        "ext4 -O meta_bg,^resize_inode,sparse_super2,bigalloc -b 1024 -C 4096 -N 4096",
        "ext4 -O ^extent,^64bit -I 512",
        "ext4 -I 128 -b 2048",
    ],
)
async def test_every_file_of_every_kind_of_ext_is_read(tmp_path: Path, options: str) -> None:
    tree, chance = tmp_path / "tree", random.Random(4)
    contents = {f"many/{number:04}": b"%d" % number for number in range(400)}
    contents |= {"big": chance.randbytes(3 * MIB + 17), "empty": b"", "small": b"s" * 150}
    for path, content in contents.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    # Beyond what one, two and three lists of blocks reach, and what 32 bits count.
    places = (0, 13 << 12, 5 << 20, 70 << 20)
    with (tree / "sparse").open("wb") as file:
        for place in places:
            os.pwrite(file.fileno(), b"here %d" % place, place)
        file.truncate((5 << 30) + 7)
    image = tmp_path / "disk.raw"
    kind, *others = options.split()
    await asyncio.to_thread(ext_image, image, tree, 48 * MIB, kind, others)
    (volume,) = volumes_of([Bytes(image.read_bytes())])
    assert volume.warnings == []
    found = {node.entry.name: node for node in volume.children(volume.find(()))}
    many = {f"many/{node.entry.name}": node for node in volume.children(found["many"])}
    assert len(many) == 400
    for path, content in contents.items():
        assert volume.read((found | many)[path], 0, 4 * MIB) == content
    sparse = volume.find(("sparse",))
    assert sparse.entry.size == (5 << 30) + 7
    for place in places:
        expected = b"here %d" % place
        assert volume.read(sparse, place, 8192) == expected + bytes(8192 - len(expected))
    assert volume.read(sparse, 5 << 30, 100) == bytes(7)


async def test_what_linux_has_written_is_read(tmp_path: Path) -> None:
    """Extents in trees, holes, space set aside, content in inodes, deleted names in an index."""
    image = tmp_path / "disk.raw"
    image.write_bytes(lzma.decompress(written_ext.IMAGE.read_bytes()))
    async with opened(tmp_path, image) as disk:
        for name, content in written_ext.contents().items():
            assert await read(disk, "volume1", name) == content
        found = await everything(disk, "volume1")
        assert shown_name(b"inv\xff\xfelid") in found
        assert found["inode1"].modified == written_ext.FAR_TIME
        kinds = {name: found[name].kind for name in ("long link", "short link", "pipe", "names")}
        assert list(kinds.values()) == ["link", "link", "other", "directory"]
        for folder, names in {
            "names": written_ext.NAMES,
            "folder in its inode": [f"file{number}" for number in range(6)],
        }.items():
            below = [name for name in found if name.startswith(f"{folder}/")]
            assert sorted(below) == sorted(f"{folder}/{name}" for name in names)
        assert await disk.warnings() == [
            "[volume1] It was in use when it was backed up, and its journal is not replayed: files "
            "that were changed right before may be missing, old or incomplete."
        ]


async def test_what_lies_behind_the_end_of_the_disk_is_no_zeros(tmp_path: Path) -> None:
    tree, image = tmp_path / "tree", tmp_path / "disk.raw"
    tree.mkdir()
    content = os.urandom(12 * MIB)
    (tree / "file").write_bytes(content)
    await asyncio.to_thread(ext_image, image, tree)
    os.truncate(image, 10 * MIB)
    async with opened(tmp_path, image) as disk:
        with pytest.raises(UnreadableEntry, match=r"The disk has no \d+ bytes at \d+"):
            await all_files(disk, "volume1")
        (warning,) = await disk.warnings()
        assert warning.startswith("[volume1] It claims 16777216 bytes, but its place has only 10")


def written() -> bytearray:
    return bytearray(lzma.decompress(written_ext.IMAGE.read_bytes()))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0x0, struct.pack("<I", 0)),  # inodes
        (0x4, struct.pack("<I", 0)),  # blocks
        (0x20, struct.pack("<I", 0)),  # blocks of a group
        (0x28, struct.pack("<I", 1 << 31)),  # inodes of a group
        (0x58, struct.pack("<H", 100)),  # the size of an inode
        (0x60, struct.pack("<I", 0x80000002)),  # a feature of times to come
        (0x60, struct.pack("<I", 0x8)),  # a journal
        (0xFE, struct.pack("<H", 0)),  # the size of a descriptor
    ],
)
def test_a_superblock_that_cannot_be_is_told_of(offset: int, value: bytes) -> None:
    image = written()
    image[1024 + offset : 1024 + offset + len(value)] = value
    (volume,) = volumes_of([Bytes(image)])
    assert volume.name == "unreadable1 (ext)"
    with pytest.raises(DamagedError, match="The ext file system is damaged: "):
        volume.children(volume.find(()))


def inode_of(image: bytearray, name: str) -> int:
    """Return where the inode of a file is in the image."""
    (volume,) = volumes_of([Bytes(image)])
    number = volume.find((name,)).address
    (of_group,) = struct.unpack_from("<I", image, 1024 + 0x28)
    group, inside = divmod(number - 1, of_group)
    (table,) = struct.unpack_from("<I", image, 2048 + group * 64 + 8)
    return int(table * 1024 + inside * 256)


def test_a_node_of_extents_with_nothing_below_it_is_damaged() -> None:
    image = written()
    at = inode_of(image, "sparse") + 0x28
    assert struct.unpack_from("<H", image, at + 6) > (0,)  # its level
    struct.pack_into("<H", image, at + 2, 0)
    (volume,) = volumes_of([Bytes(image)])
    with pytest.raises(DamagedError, match=r"The extents of inode \d+ are damaged"):
        volume.read(volume.find(("sparse",)), 0, MIB)


def test_extents_that_are_named_again_and_again_are_not_read_each_time() -> None:
    image = written()
    at = inode_of(image, "sparse") + 0x28
    head, key = struct.Struct("<HHHHI"), struct.Struct("<IIHH")
    magic, _, room, _, _ = head.unpack_from(image, at)
    _, leaf, *_ = key.unpack_from(image, at + head.size)
    # As many keys as there is room for, and below all of them one leaf with one long extent.
    head.pack_into(image, at, magic, room, room, 1, 0)
    for number in range(room):
        key.pack_into(image, at + head.size + key.size * number, number * 9, leaf, 0, 0)
    head.pack_into(image, leaf * 1024, magic, 1, room, 0, 0)
    struct.pack_into("<IHHI", image, leaf * 1024 + head.size, 0, 1024, 0, 1)
    (volume,) = volumes_of([Bytes(image)])
    with pytest.raises(DamagedError, match=r"The extents of inode \d+ are not in order"):
        volume.read(volume.find(("sparse",)), 0, MIB)


def test_a_folder_that_claims_more_than_any_has_is_an_error_in_the_end() -> None:
    image = written()
    struct.pack_into("<I", image, inode_of(image, "names") + 0x4, 1 << 31)
    disk = Bytes(image)
    (volume,) = volumes_of([disk])
    with pytest.raises(DamagedError, match=r"Folder \d+ is larger than any that is read"):
        volume.children(volume.find(("names",)))
    assert sum(length for _, length in disk.reads) < 2 * len(image)


def test_an_encrypted_folder_is_not_read() -> None:
    image = written()
    at = inode_of(image, "names") + 0x20
    struct.pack_into("<I", image, at, struct.unpack_from("<I", image, at)[0] | 0x800)
    (volume,) = volumes_of([Bytes(image)])
    with pytest.raises(DamagedError, match="encrypted"):
        volume.children(volume.find(("names",)))


def test_damaged_file_systems_give_errors_and_no_more_work_than_whole_ones() -> None:
    """Whatever is damaged, the reader answers or raises what it is known to raise."""
    image = written()
    disk = Bytes(image)
    for volume in volumes_of([disk]):
        walk(volume)
    small = {read for read in disk.reads if read[1] <= MIB // 16}
    places = sorted({at for start, length in small for at in range(start, start + length)})
    most = 4 * sum(length for _, length in disk.reads)
    chance = random.Random(5)
    for _ in range(40):
        content = bytearray(image)
        for _ in range(chance.choice([1, 3, 30, 300])):
            at, size = chance.choice(places), chance.choice([1, 2, 4, 8])
            content[at : at + size] = chance.choice([chance.randbytes(size), b"\xff" * size])
        disk = Bytes(content[: len(image)])
        for volume in volumes_of([disk]):
            with contextlib.suppress(OSError):
                walk(volume)
        assert sum(length for _, length in disk.reads) < most
