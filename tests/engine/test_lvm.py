"""Logical volumes: metadata made by LVM's own tools, and damaged or unusual ones."""

from __future__ import annotations

import asyncio
import contextlib
import lzma
import random
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.engine.browser import UnreadableEntry
from holdfast.engine.disk import DamagedError, Disk
from holdfast.engine.lvm import LogicalVolume, logical_volumes
from holdfast.engine.lvm_text import parse
from support.disks import MIB, ext_image, partitioned, sample_tree, xfs_image

from .guests import all_files, opened
from .test_xfs import xfs_tree

HEADS = Path(__file__).parents[1] / "support" / "lvm" / "heads.xz"
_SIZE = 120 * MIB  # of each physical volume
_FIRST = 1 * MIB  # where its extents begin; an extent has 1 MiB, too
_STRIPE = 64 * 1024


def heads() -> list[bytes]:
    both = lzma.decompress(HEADS.read_bytes())
    return [both[:MIB], both[MIB:]]


def place(volume: str, offset: int) -> tuple[int, int]:
    """Given an offset in a logical volume, return its physical volume and the offset there.

    As LVM's own lvs says; see make_heads.sh.
    """
    if volume == "striped":
        row, inside = divmod(offset, _STRIPE)
        extent = 48 if row % 2 == 0 else 0
        return row % 2, _FIRST + extent * MIB + row // 2 * _STRIPE + inside
    if volume == "root":
        return 0, _FIRST + offset + (8 * MIB if offset >= 24 * MIB else 0)
    assert volume == "data"
    return 1, _FIRST + 16 * MIB + offset


def physical_volumes(folder: Path, volumes: dict[str, Path]) -> list[Path]:
    """Make images of the two physical volumes, with these file systems in logical volumes."""
    paths = [folder / "first.raw", folder / "second.raw"]
    with contextlib.ExitStack() as files:
        targets = [files.enter_context(path.open("wb")) for path in paths]
        for target, head in zip(targets, heads(), strict=True):
            target.truncate(_SIZE)
            target.write(head)
        for name, image in volumes.items():
            content = image.read_bytes()
            for offset in range(0, len(content), _STRIPE):
                piece = content[offset : offset + _STRIPE]
                if piece.strip(b"\0"):
                    number, start = place(name, offset)
                    targets[number].seek(start)
                    targets[number].write(piece)
    return paths


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, dict[str, bytes]]:
    """What is in each logical volume; the images are beside it."""
    found = {}
    for name, size in (("root", 40), ("striped", 32), ("data", 20)):
        tree = tmp_path / f"tree-{name}"
        tree.mkdir()
        if name == "data":
            found[name] = sample_tree(tree)
            ext_image(tmp_path / "data.raw", tree, size=size * MIB)
        else:
            found[name] = xfs_tree(tree, names=500)
            # Enough that content lies on both sides of where the volume is cut.
            for number in range(size - 20):
                path = tree / f"large{number}"
                found[name][path.name] = random.Random(size + number).randbytes(MIB // 2)
                path.write_bytes(found[name][path.name])
            xfs_image(tmp_path / f"{name}.raw", tree, size=size * MIB)
    return found


async def test_file_systems_in_logical_volumes_are_read(
    tmp_path: Path, trees: dict[str, dict[str, bytes]]
) -> None:
    parts = physical_volumes(tmp_path, {name: tmp_path / f"{name}.raw" for name in trees})
    boot = tmp_path / "boot.raw"
    (tmp_path / "tree-boot").mkdir()
    (tmp_path / "tree-boot" / "kernel").write_bytes(b"boot me")
    await asyncio.to_thread(ext_image, boot, tmp_path / "tree-boot", size=4 * MIB)
    partitioned(tmp_path / "disk.raw", boot, *parts, label="gpt")
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        roots = await disk.listing((), "all", 0, 10)
        names = [entry.name for entry in roots.entries]
        assert names == ["volume1", "volume2", "volume3", "volume4"]
        assert await all_files(disk, "volume1") == {"kernel": b"boot me"}
        found = [await all_files(disk, name) for name in names[1:]]
        for contents in trees.values():
            assert contents in found


async def test_a_volume_that_is_partly_on_another_disk_is_told_of(
    tmp_path: Path, trees: dict[str, dict[str, bytes]]
) -> None:
    first, _ = physical_volumes(tmp_path, {name: tmp_path / f"{name}.raw" for name in trees})
    # The whole disk is a physical volume, without partitions.
    async with opened(tmp_path, first) as disk:
        roots = await disk.listing((), "all", 0, 10)
        lost = ["unreadable1 (LVM)", "unreadable2 (LVM)"]
        assert [entry.name for entry in roots.entries] == [*lost, "volume1"]
        assert await all_files(disk, "volume1") == trees["root"]
        for name, volume in zip(lost, ("striped", "data"), strict=True):
            why = f"Logical volume {volume}: A logical volume is not wholly on these disks"
            with pytest.raises(UnreadableEntry, match=why):
                await disk.listing((name,), "all", 0, 10)


async def test_volumes_that_span_the_disks_of_a_machine_are_read(
    tmp_path: Path, trees: dict[str, dict[str, bytes]]
) -> None:
    first, second = physical_volumes(tmp_path, {name: tmp_path / f"{name}.raw" for name in trees})
    (tmp_path / "tree-boot").mkdir()
    (tmp_path / "tree-boot" / "kernel").write_bytes(b"boot me")
    await asyncio.to_thread(ext_image, tmp_path / "boot.raw", tmp_path / "tree-boot", size=4 * MIB)
    partitioned(tmp_path / "system.raw", tmp_path / "boot.raw", first)
    # The second physical volume is a whole disk, and the last disk a file system without a table.
    last = tmp_path / "last.raw"
    await asyncio.to_thread(ext_image, last, tmp_path / "tree-boot", size=4 * MIB)
    async with opened(tmp_path, tmp_path / "system.raw", second, last) as machine:
        roots = await machine.listing((), "all", 0, 10)
        assert [entry.name for entry in roots.entries] == [f"volume{n}" for n in range(1, 6)]
        # What the first disk has alone comes first, as it would without the others.
        assert await all_files(machine, "volume1") == {"kernel": b"boot me"}
        assert await all_files(machine, "volume2") == trees["root"]
        found = [await all_files(machine, name) for name in ("volume3", "volume4")]
        assert trees["striped"] in found
        assert trees["data"] in found
        assert await all_files(machine, "volume5") == {"kernel": b"boot me"}


@dataclass
class Head:
    """A physical volume of which only the first MiB is in memory; the rest is zeros."""

    content: bytearray
    size: int = _SIZE

    def read(self, offset: int, length: int) -> bytes:
        found = bytes(self.content[offset : offset + length])
        return found + bytes(min(length, max(0, self.size - offset)) - len(found))


def disks() -> list[Head]:
    return [Head(bytearray(head)) for head in heads()]


def checksum(raw: bytes) -> int:
    return zlib.crc32(raw, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def text_place(disk: Head) -> tuple[int, int]:
    offset, length = struct.unpack_from("<QQ", disk.content, 4096 + 40)
    return int(offset), int(length)


def text_of(disk: Head) -> bytes:
    offset, length = text_place(disk)
    return bytes(disk.content[4096 + offset : 4096 + offset + length])


def fake_text(disk: Head, text: bytes, offset: int) -> None:
    """Put other metadata into a physical volume, with the checksums that LVM would give them."""
    start, size = struct.unpack_from("<QQ", disk.content, 4096 + 24)
    for number, byte in enumerate(text):
        inside = offset + number
        disk.content[start + (inside if inside < size else inside - size + 512)] = byte
    struct.pack_into("<QQI", disk.content, 4096 + 40, offset, len(text), checksum(text))
    head = bytes(disk.content[4096 + 4 : 4096 + 512])
    struct.pack_into("<I", disk.content, 4096, checksum(head))


def sizes(volumes: list[LogicalVolume]) -> list[int]:
    return sorted(volume.size // MIB for volume in volumes)


def test_metadata_that_go_round_the_end_of_their_area_are_read() -> None:
    first, second = disks()
    assert sizes(logical_volumes([first, second])[0]) == [8, 20, 32, 40]
    (area_size,) = struct.unpack_from("<Q", first.content, 4096 + 32)
    text = text_of(first).replace(b"seqno = ", b"seqno = 9")
    fake_text(first, text, area_size - 700)
    assert sizes(logical_volumes([first, second])[0]) == [8, 20, 32, 40]


def test_the_newest_metadata_count() -> None:
    first, second = disks()
    text = text_of(first).replace(b"seqno = ", b"seqno = 9")
    fake_text(first, text.replace(b'"VISIBLE"', b'"HIDDEN"'), text_place(first)[0])
    assert logical_volumes([first, second]) == ([], [])


def lost(*disks: Head) -> list[tuple[str, list[Disk]]]:
    return [(volume.reason, volume.disks) for volume in logical_volumes(list(disks))[1]]


def test_a_physical_volume_that_is_there_twice_is_read_once_and_told_of() -> None:
    first, second = disks()
    (copy, _) = disks()
    volumes, _ = logical_volumes([first, copy, second])
    assert sizes(volumes) == [8, 20, 32, 40]
    assert not any(disk is copy for volume in volumes for disk in volume.disks)
    ((reason, places),) = lost(first, copy, second)
    assert "with the UUID of another one" in reason
    assert places[0] is copy


def test_a_physical_volume_that_the_newest_metadata_do_not_name_is_told_of() -> None:
    first, second = disks()
    text = text_of(first).replace(b"seqno = ", b"seqno = 9").replace(b'"VISIBLE"', b'"HIDDEN"')
    identity = bytes(second.content[512 + 32 : 512 + 38])  # in the text there are dashes then
    assert text.count(identity) == 1
    fake_text(first, text.replace(identity, b"othero"), text_place(first)[0])
    ((reason, places),) = lost(first, second)
    assert "no valid metadata on these disks name" in reason
    assert places[0] is second


def test_a_physical_volume_of_no_group_has_nothing_in_it_unless_its_metadata_are_elsewhere() -> (
    None
):
    first, _ = disks()
    struct.pack_into("<QQII", first.content, 4096 + 40, 0, 0, 0, 0)
    for ignored in (0, 1):
        struct.pack_into("<I", first.content, 4096 + 60, ignored)
        struct.pack_into(
            "<I", first.content, 4096, checksum(bytes(first.content[4100 : 4096 + 512]))
        )
        assert len(lost(first)) == ignored


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'type = "striped"', b'type = "thin"'),
        (b"extent_size = 2048", b"extent_size = 0"),
        (b"extent_size = 2048", b"extent_size = 9999999999999999999"),
        (b"pe_start = 2048", b"pe_start = 999999999"),
        (b"segment_count = ", b"segment_count = 999999"),
        (b"start_extent = ", b"start_extent = 1"),
        (b"stripe_count = ", b"stripe_count = 7"),
        (b"physical_volumes {", b"physical {"),
        (b'id = "', b'id = "x'),
        (b"logical_volumes {", b"logical_volumes = {"),
        (b'"pv0", ', b'"pv7", '),
    ],
)
def test_volumes_that_cannot_be_are_told_of(old: bytes, new: bytes) -> None:
    found = []
    for disk in disks():
        text = text_of(disk)
        assert old in text
        # Both volumes hold both physical volumes' descriptions: one place changed is in all.
        fake_text(disk, text.replace(old, new), text_place(disk)[0])
        found.append(disk)
    volumes, others = logical_volumes(list(found))
    assert not [volume for volume in volumes if volume.size > 30 * MIB]
    assert others


def test_damaged_metadata_give_no_volumes_and_no_errors() -> None:
    chance = random.Random(9)
    whole = heads()[0]
    for _ in range(300):
        disk = Head(bytearray(whole))
        text = bytearray(text_of(disk))
        for _ in range(chance.choice([1, 5])):
            at = chance.randrange(len(text))
            text[at] = chance.choice(b'{}[]="0\\x\xff\n#9')
        if chance.random() < 0.5:
            fake_text(disk, bytes(text), 512)
        else:
            disk.content[chance.randrange(512, 8192)] = chance.randrange(256)
        for volume in logical_volumes([disk])[0]:
            with contextlib.suppress(OSError):
                volume.read(0, 65536)
                volume.read(volume.size - 10, 65536)


def test_the_text_of_metadata_is_parsed() -> None:
    text = """
    vg { # a comment with { in it
        id = "a\\"b\\\\" seqno=12
        status = ["READ", "WRITE"] empty = []
        stripes = [ "pv0", 0 ]
        inner { negative = -3 word = yes }
    }
    version = 1
    """
    assert parse(text) == {
        "vg": {
            "id": 'a"b\\',
            "seqno": 12,
            "status": ["READ", "WRITE"],
            "empty": [],
            "stripes": ["pv0", 0],
            "inner": {"negative": -3, "word": "yes"},
        },
        "version": 1,
    }


@pytest.mark.parametrize(
    "text",
    ["a {", "}", "a", "a =", "a = {", "a = [1", '"a" = 1', 'a = "b', "a { " * 100, "a = 1 }", "%"],
)
def test_text_out_of_its_grammar_is_an_error(text: str) -> None:
    with pytest.raises(DamagedError):
        parse(text)
