"""Files read out of XFS: made by mkfs.xfs, written by Linux, and damaged."""

from __future__ import annotations

import asyncio
import contextlib
import lzma
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.engine.disk import DamagedError
from holdfast.engine.file_system import NotFoundError
from holdfast.engine.guest_entry import shown_name
from holdfast.engine.guest_volumes import Volume, volumes_of
from holdfast.engine.xfs import Xfs
from holdfast.engine.xfs_log import is_in_use
from support import written_logs, written_xfs
from support.disks import MIB, xfs_image

from .guests import all_files, everything, opened, read


@dataclass
class Bytes:
    """A disk in memory that notes what is read."""

    content: bytes | bytearray
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return bytes(self.content[offset : offset + length])


def xfs_tree(folder: Path, names: int) -> dict[str, bytes]:
    """Make a tree with folders of every form; return the files' contents by their paths."""
    chance = random.Random(11)
    contents = {
        "hello.txt": b"hello\n",
        "empty": b"",
        "big.bin": chance.randbytes(3 * MIB + 17),
        "/".join(f"level{number}" for number in range(60)): b"deep",
        "ümlaut-名前-🗄/ß": "ß".encode(),
        "%41&#x;*?[a]'\"$(id)": b"odd",
        "-rf": b"dash",
        "n" * 255: b"long",
        "ü" * 127: b"long, too",
    }
    # In the inode; in one block; with a table of hashes in one block, then in many.
    for count in (1, 3, 25, 300, names):
        for number in range(count):
            name = f"{number:05}" + "x" * chance.randrange(80)
            # Content between the names scatters the folder's blocks: its extents become a tree.
            content = chance.randbytes(chance.randrange(3000)) if number % 3 == 0 else b""
            contents[f"folder{count}/{name}"] = content
    for path, content in contents.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (folder / "short").symlink_to("hello.txt")
    (folder / "long").symlink_to("a/" * 400)
    return contents


@pytest.mark.parametrize(
    "options",
    [
        "-m crc=1 -b size=4096",
        "-m crc=1 -b size=1024 -i nrext64=1",
        "-m crc=1,bigtime=0,finobt=0 -b size=2048 -n size=8192 -i sparse=0",
        "-m crc=0 -b size=4096 -n ftype=0",
        "-m crc=0 -b size=512 -n ftype=1,size=4096 -i size=256",
        "-m crc=0 -b size=2048 -n ftype=0,size=16384 -i size=1024",
        "-m crc=1 -b size=16384 -s size=4096 -i size=2048",
        "-m crc=1 -b size=65536",
    ],
)
async def test_every_file_of_an_xfs_file_system_is_read(tmp_path: Path, options: str) -> None:
    contents = xfs_tree(tmp_path / "tree", names=3000)
    large = 1024 * MIB if "65536" in options else 256 * MIB
    image = tmp_path / "disk.raw"
    await asyncio.to_thread(xfs_image, image, tmp_path / "tree", *options.split(), size=large)
    async with opened(tmp_path, image) as disk:
        found = await everything(disk, "volume1")
        assert (found["short"].kind, found["long"].kind) == ("link", "link")
        assert await all_files(disk, "volume1") == contents


async def test_what_linux_has_written_is_read(tmp_path: Path) -> None:
    """Extents in trees of several levels, holes, space set aside, shared blocks, deleted names."""
    image = tmp_path / "disk.raw"
    image.write_bytes(lzma.decompress(written_xfs.IMAGE.read_bytes()))
    async with opened(tmp_path, image) as disk:
        for name, content in written_xfs.contents().items():
            assert await read(disk, "volume1", shown_name(name.encode())) == content
        found = await everything(disk, "volume1")
        assert found["odd\\x5c\\x0a name"].modified == written_xfs.FAR_TIME
        kinds = {name: found[name].kind for name in ("long link", "short link", "pipe", "names")}
        assert list(kinds.values()) == ["link", "link", "other", "directory"]
        below = [name.removeprefix("names/") for name in found if name.startswith("names/")]
        assert sorted(below) == sorted(written_xfs.NAMES)


def written() -> bytearray:
    return bytearray(lzma.decompress(written_xfs.IMAGE.read_bytes()))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (4, struct.pack(">I", 1000)),  # the size of a block
        (4, struct.pack(">I", 1 << 31)),
        (84, struct.pack(">I", 0)),  # blocks of a group
        (84, struct.pack(">I", 0xFFFFFFFF)),
        (88, struct.pack(">I", 0xFFFFFFFF)),  # groups
        (8, struct.pack(">Q", (1 << 64) - 1)),  # blocks
        (56, struct.pack(">Q", (1 << 64) - 1)),  # the root
        (100, struct.pack(">H", 0xB4A1)),  # the version
        (104, struct.pack(">H", 0)),  # the size of an inode
        (192, b"\xff"),  # the size of a folder's block
        (216, struct.pack(">I", 0x80000000)),  # a feature of times to come
    ],
)
def test_a_superblock_that_cannot_be_is_refused(offset: int, value: bytes) -> None:
    image = written()
    image[offset : offset + len(value)] = value
    with pytest.raises(DamagedError):
        Xfs(Bytes(image))
    (volume,) = volumes_of([Bytes(image)])
    assert volume.name == "unreadable1 (XFS)"
    with pytest.raises(DamagedError, match="The XFS file system is damaged: "):
        volume.children(volume.find(()))


def inode_offset(image: bytearray, name: str) -> int:
    (volume,) = volumes_of([Bytes(image)])
    number = volume.find((name,)).address
    return int(Xfs(Bytes(image))._superblock.inode_offset(number))


def test_a_tree_that_leads_to_itself_is_an_error() -> None:
    image = written()
    inode = inode_offset(image, "sparse")
    fork = inode + 176
    room = (image[inode + 82] * 8 - 4) // 16
    (block,) = struct.unpack_from(">Q", image, fork + 4 + room * 8)
    node = Xfs(Bytes(image))._superblock.block_offset(block)
    pointers = node + 72 + (1024 - 72) // 16 * 8
    image[pointers : pointers + 8] = struct.pack(">Q", block)
    (volume,) = volumes_of([Bytes(image)])
    with pytest.raises(DamagedError):
        volume.read(volume.find(("sparse",)), 0, MIB)
    assert volume.read(volume.find(("a",)), 0, 4096) == written_xfs.contents()["a"][:4096]


def test_an_extent_outside_of_the_file_system_is_an_error() -> None:
    image = written()
    fork = inode_offset(image, "odd\\x5c\\x0a name") + 176
    image[fork : fork + 16] = struct.pack(">QQ", 0x1FF, (1 << 64) - 1)
    (volume,) = volumes_of([Bytes(image)])
    with pytest.raises(DamagedError):
        volume.read(volume.find(("odd\\x5c\\x0a name",)), 0, MIB)


def test_content_on_a_realtime_device_is_an_error() -> None:
    image = written()
    flags = inode_offset(image, "a") + 90
    image[flags : flags + 2] = struct.pack(">H", 1)
    (volume,) = volumes_of([Bytes(image)])
    with pytest.raises(DamagedError, match="realtime"):
        volume.read(volume.find(("a",)), 0, MIB)


def test_a_folder_that_repeats_itself_ends() -> None:
    """Its blocks are the same one over and over, and its size is beyond all measure."""
    image = written()
    at = inode_offset(image, "names")
    (low,) = struct.unpack_from(">Q", image, at + 176 + 8)
    one_block = low >> 21 << 21 | 4  # of a folder: four of the file system
    for number in range(12):
        struct.pack_into(">QQ", image, at + 176 + 16 * number, 4 * number << 9, one_block)
    struct.pack_into(">Q", image, at + 24, 12)  # how many extents
    struct.pack_into(">Q", image, at + 56, 1 << 40)  # the size
    (volume,) = volumes_of([Bytes(image)])
    names = {node.entry.name for node in volume.children(volume.find(("names",)))}
    assert names
    assert names < set(written_xfs.NAMES)


def test_one_damaged_inode_does_not_hide_the_others_of_its_folder() -> None:
    image = written()
    at = inode_offset(image, "a")
    image[at : at + 2] = b"\0\0"
    (volume,) = volumes_of([Bytes(image)])
    found = {node.entry.name: node.entry.kind for node in volume.children(volume.find(()))}
    assert found["a"] == "other"
    assert found["b"] == "file"


def test_a_log_in_use_is_told_from_one_that_was_unmounted_or_frozen() -> None:
    for name, log in written_logs.logs().items():
        disk = Bytes(log)
        assert is_in_use(disk, 0, len(log)) is written_logs.IN_USE[name], name
        assert len(disk.reads) < 100


def test_who_reads_a_file_system_that_was_in_use_is_warned() -> None:
    image = written()
    (volume,) = volumes_of([Bytes(image)])
    assert volume.warnings == []
    # The record that says that it was unmounted says something else.
    superblock = Xfs(Bytes(image))._superblock
    start = superblock.block_offset(superblock.log)
    records = [
        number
        for number in range(superblock.log_blocks * 2)
        if image.startswith(b"\xfe\xed\xba\xbe", start + number * 512)
    ]
    last = max(records, key=lambda number: image[start + number * 512 + 16 :][:8])
    image[start + last * 512 + 512 + 9] = 0
    (volume,) = volumes_of([Bytes(image)])
    (warning,) = volume.warnings
    assert warning.startswith("[volume1] It was in use when it was backed up, and its log is not")


def walk(volume: Volume) -> None:
    """Look at all there is, within limits, as somebody who browses does."""
    folders = [volume.find(())]
    seen = 0
    while folders and seen < 5000:
        with contextlib.suppress(OSError, NotFoundError):
            for node in volume.children(folders.pop()):
                seen += 1
                if node.entry.kind == "directory":
                    folders.append(node)
                with contextlib.suppress(OSError, NotFoundError):
                    for offset in (0, node.entry.size // 2, node.entry.size - 10):
                        volume.read(node, max(0, offset), 65536)


def places_that_matter(image: bytes | bytearray) -> list[list[int]]:
    """Return the offsets of all metadata that are read, for each kind of them."""
    disk = Bytes(image)
    walk(Volume("", Xfs(disk)))
    kinds: dict[bytes, set[int]] = {b"XFSB": set(), b"IN": set(), b"BMA3": set(), b"XD": set()}
    for offset, length in disk.reads:
        for name, places in kinds.items():
            if image.startswith(name, offset):
                places.update(range(offset, offset + length))
    assert all(kinds.values())
    return [sorted(places) for places in kinds.values()]


def damaged(image: bytearray, places: list[list[int]], chance: random.Random) -> bytearray:
    content = bytearray(image)
    for _ in range(chance.choice([1, 1, 3, 30])):
        at, other = (chance.choice(chance.choice(places)) for _ in range(2))
        size = chance.choice([1, 2, 4, 8])
        content[at : at + size] = chance.choice(
            [
                chance.randbytes(size),
                b"\xff" * size,
                bytes(size),
                bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 : at + size],
                content[other : other + size],
            ]
        )
    return content


def test_damaged_file_systems_give_errors_and_no_more_work_than_whole_ones() -> None:
    """Whatever is damaged, the reader answers or raises what it is known to raise."""
    image = written()
    places = places_that_matter(image)
    chance = random.Random(5)
    for _ in range(300):
        disk = Bytes(damaged(image, places, chance))
        for volume in volumes_of([disk]):
            walk(volume)
        assert sum(length for _, length in disk.reads) < 256 * MIB
