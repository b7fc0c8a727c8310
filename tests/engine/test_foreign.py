"""What is on a disk and cannot be read is shown as that, with the reason."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
from pathlib import Path

import pytest

from holdfast.engine.browser import UnreadableEntry
from holdfast.engine.disk import DamagedError
from holdfast.engine.guest_disk import GuestDisk
from holdfast.engine.guest_volumes import volumes_of
from support.disks import MIB, ext_image, fat_image, partitioned

from .guests import all_files, opened, read
from .test_xfs import Bytes


async def names(disk: GuestDisk) -> list[str]:
    return [entry.name for entry in (await disk.listing((), "all", 0, 100)).entries]


def tree(folder: Path, content: bytes = b"content") -> Path:
    (folder / "tree").mkdir(exist_ok=True)
    (folder / "tree" / "file").write_bytes(content)
    return folder / "tree"


@pytest.mark.parametrize(
    ("offset", "magic", "kind"),
    [
        (0, b"LUKS\xba\xbe\0\2", "LUKS"),
        (0, b"\xeb\x58\x90-FVE-FS-", "BitLocker"),
        (3, b"ReFS\0\0\0\0", "ReFS"),
        (32, b"NXSB", "APFS"),
        (4096 + 24, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef"), "bcachefs"),
        (131 * 1024, struct.pack("<Q", 0x00BAB10C), "ZFS"),
        (1024, bytes.fromhex("1020f5f2"), "F2FS"),
        (4096 - 10, b"SWAPSPACE2", "swap"),
        (3, b"NTFS    ", "NTFS"),
    ],
)
def test_what_is_known_but_not_read_is_a_volume_with_the_reason(
    offset: int, magic: bytes, kind: str
) -> None:
    content = bytearray(MIB)
    content[offset : offset + len(magic)] = magic
    (volume,) = volumes_of([Bytes(content)])
    assert volume.name == f"unreadable1 ({kind})"
    (warning,) = volume.warnings
    with pytest.raises(DamagedError) as raised:
        volume.children(volume.find(()))
    assert warning == f"[unreadable1 ({kind})] {raised.value}"
    assert volumes_of([Bytes(bytes(MIB))]) == []


async def test_what_is_not_read_takes_no_name_from_what_is(tmp_path: Path) -> None:
    swap, luks, ext = (tmp_path / f"{name}.raw" for name in ("swap", "luks", "ext"))
    ext_image(ext, tree(tmp_path), size=4 * MIB)
    for image, head in ((swap, b""), (luks, b"LUKS\xba\xbe\0\2")):
        image.write_bytes(head + bytes(2 * MIB - len(head)))
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    command = ["mkswap", str(swap)]
    await asyncio.to_thread(
        subprocess.run, command, check=True, env=environment, capture_output=True
    )
    partitioned(tmp_path / "disk.raw", swap, ext, luks, label="gpt")
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        assert await names(disk) == ["unreadable1 (swap)", "unreadable2 (LUKS)", "volume1"]
        assert await read(disk, "volume1", "file") == b"content"
        with pytest.raises(UnreadableEntry, match="It is encrypted"):
            await disk.listing(("unreadable2 (LUKS)",), "all", 0, 10)
        assert await disk.warnings() == [
            "[unreadable1 (swap)] It is swap space: there are no files in it.",
            "[unreadable2 (LUKS)] It is encrypted: Holdfast has no key to it.",
        ]


async def test_a_partition_that_reaches_beyond_its_disk_has_no_zeros_there(tmp_path: Path) -> None:
    """What The Sleuth Kit reads, too: it would take what is missing for zeros."""
    content = os.urandom(12 * MIB)
    for number in range(4):
        (tree(tmp_path) / f"file{number}").write_bytes(content)
    image, disk_image = tmp_path / "fat.raw", tmp_path / "disk.raw"
    await asyncio.to_thread(fat_image, image, tree(tmp_path), 32, 64 * MIB)
    partitioned(disk_image, image)
    cut = bytearray(disk_image.read_bytes()[: 30 * MIB])
    (volume,) = volumes_of([Bytes(cut)])
    assert volume.warnings == [
        "[C:] It claims 67108864 bytes, but its place has only 30408704: what lies behind the end "
        "is missing and cannot be read."
    ]
    outcomes = []
    for node in volume.children(volume.find(())):
        expected = b"content" if node.entry.name == "file" else content
        try:
            assert volume.read(node, 0, 12 * MIB) == expected
        except OSError:
            outcomes.append(False)
        else:
            outcomes.append(True)
    assert sorted(outcomes) == [False, False, True, True, True]


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_a_disk_with_nothing_in_its_partitions_is_not_damaged(tmp_path: Path, label: str) -> None:
    (tmp_path / "nothing.raw").write_bytes(bytes(2 * MIB))
    for parts in ([], [tmp_path / "nothing.raw"] * 2):
        partitioned(tmp_path / "disk.raw", *parts, label=label)
        disk = Bytes((tmp_path / "disk.raw").read_bytes())
        assert volumes_of([disk]) == []
        assert len(set(disk.reads)) == len(disk.reads)


def test_a_damaged_gpt_is_not_taken_for_one_without_partitions(tmp_path: Path) -> None:
    ext_image(tmp_path / "ext.raw", tree(tmp_path), size=4 * MIB)
    partitioned(tmp_path / "disk.raw", tmp_path / "ext.raw", label="gpt")
    # Its head, of which there is a copy at the end, and the list of the partitions.
    for place, expected in ((512, "volume1"), (1024, "unreadable1 (partitions)")):
        disk = bytearray((tmp_path / "disk.raw").read_bytes())
        disk[place : place + 512] = bytes(512)
        assert [volume.name for volume in volumes_of([Bytes(disk)])] == [expected]


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_partitions_behind_the_end_of_their_disk_are_told_of(tmp_path: Path, label: str) -> None:
    ext_image(tmp_path / "ext.raw", tree(tmp_path), size=4 * MIB)
    partitioned(tmp_path / "disk.raw", *[tmp_path / "ext.raw"] * 4, label=label)
    whole = (tmp_path / "disk.raw").read_bytes()
    assert len(volumes_of([Bytes(whole)])) == 4
    kinds = {
        14: ["volume1", "volume2", "volume3", "volume4"],
        6: ["volume1", "volume2", "unreadable1 (missing)", "unreadable2 (missing)"],
        3: ["unreadable1 (partitions)"],
    }
    for size, names_expected in kinds.items():
        volumes = volumes_of([Bytes(whole[: size * MIB])])
        assert [volume.name for volume in volumes] == names_expected
        (cut, *_) = [warning for volume in volumes for warning in volume.warnings]
        assert ("its place has only 1048576" in cut) is (size != 3)


class Superblock:
    """A superblock of md: that of a mirror of two, which is in step, unless said otherwise."""

    def __init__(
        self,
        *,
        role: int = 0,
        level: int = 1,
        events: int = 7,
        in_step: bool = True,
        rebuilding: bool = False,
    ) -> None:
        self.role, self.level, self.events = role, level, events
        self.in_step, self.rebuilding = in_step, rebuilding

    def version_1(self, own: int, data: int, size: int) -> bytes:
        """Given sectors: where it is, and where the data are."""
        raw = bytearray(256 + 2 * 128)
        struct.pack_into("<III", raw, 0, 0xA92B4EFC, 1, 2 if self.rebuilding else 0)
        raw[16:48] = b"u" * 16 + b"any:0".ljust(16, b"\0")
        struct.pack_into("<iIQII", raw, 72, self.level, 0, size, 0, 2)
        struct.pack_into("<QQQ", raw, 128, data, size, own)
        struct.pack_into("<I", raw, 160, self.role)
        in_step = (1 << 64) - 1 if self.in_step else 0
        struct.pack_into("<QQII", raw, 200, self.events, in_step, 0, 128)
        struct.pack_into("<128H", raw, 256, 0, 1, *[0xFFFF] * 126)
        words = struct.unpack(f"<{len(raw) // 4}I", raw)
        total = sum(words)
        struct.pack_into("<I", raw, 216, (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF)
        return bytes(raw)

    def version_0(self, size: int) -> bytes:
        """Given the size in KiB."""
        raw = bytearray(4096)
        struct.pack_into(
            "<7IiIIII", raw, 0, 0xA92B4EFC, 0, 90, 0, 0, 1, 0, self.level, size, 2, 2, 0
        )
        struct.pack_into("<II", raw, 128, 0, 1 if self.in_step else 0)
        struct.pack_into("<Q", raw, 156, self.events)
        for at, role in ((512, 0), (512 + 128, 1), (3968, self.role)):
            struct.pack_into("<IIIII", raw, at, role, 8, role, role, 6)
        struct.pack_into("<I", raw, 152, sum(struct.unpack("<1024I", raw)) & 0xFFFFFFFF)
        return bytes(raw)


_SIZE = 6 * MIB  # of a member


def member(version: str, superblock: Superblock, content: bytes) -> Bytes:
    """Return a disk that is a member of an array and holds the content."""
    raw = bytearray(_SIZE)
    if version in ("1.1", "1.2"):
        own = 0 if version == "1.1" else 4096
        raw[MIB : MIB + len(content)] = content
        head = superblock.version_1(own // 512, MIB // 512, (_SIZE - MIB) // 512)
    elif version == "1.0":
        own = _SIZE - 8192
        raw[: len(content)] = content
        head = superblock.version_1(own // 512, 0, own // 512)
    else:
        own = _SIZE - 65536
        raw[: len(content)] = content
        head = superblock.version_0(own // 1024)
    raw[own : own + len(head)] = head
    return Bytes(raw)


@pytest.fixture
def contents(tmp_path: Path) -> list[bytes]:
    """Two file systems that differ in what their only file says."""
    found = []
    for which in (b"first", b"other"):
        ext_image(tmp_path / "ext.raw", tree(tmp_path, which), size=4 * MIB)
        found.append((tmp_path / "ext.raw").read_bytes())
    return found


@pytest.mark.parametrize("version", ["0.90", "1.0", "1.1", "1.2"])
def test_a_mirror_is_read_once_from_the_member_that_is_right(
    version: str, contents: list[bytes]
) -> None:
    def found(*members: tuple[Superblock, int]) -> list[bytes | str]:
        disks = [member(version, superblock, contents[which]) for superblock, which in members]
        volumes = volumes_of(disks)
        return [
            volume.warnings[0].partition("] ")[2]
            if volume.name.startswith("unreadable1 (md RAID)")
            else volume.read(volume.find(("file",)), 0, 100)
            for volume in volumes
        ]

    assert found((Superblock(), 0)) == [b"first"]
    assert found((Superblock(role=1), 0)) == [b"first"]
    # One was away for a while: it is behind.
    assert found((Superblock(events=3), 0), (Superblock(role=1), 1)) == [b"other"]
    # A write may have reached one of them only: Linux takes the first for right.
    one, other = Superblock(in_step=False), Superblock(in_step=False, role=1)
    assert found((other, 1), (one, 0)) == [b"first"]
    (reason,) = found((other, 1))
    assert "not in step with the first one" in str(reason)
    for level, name in ((0, "RAID0"), (5, "RAID5"), (10, "RAID10"), (-1, "linear")):
        (reason,) = found((Superblock(level=level), 0))
        assert f"a member of an md array of kind {name}" in str(reason)
    if version != "0.90":
        (reason,) = found((Superblock(role=1, rebuilding=True), 1))
        assert "not in use or not rebuilt yet" in str(reason)


async def test_a_mirror_in_partitions_of_two_disks_is_one_volume(
    tmp_path: Path, contents: list[bytes]
) -> None:
    disks = []
    for role in range(2):
        part, disk = tmp_path / f"part{role}.raw", tmp_path / f"disk{role}.raw"
        part.write_bytes(member("1.2", Superblock(role=role), contents[role]).content)
        partitioned(disk, part, label="gpt")
        disks.append(disk)
    async with opened(tmp_path, *disks) as machine:
        assert await names(machine) == ["volume1"]
        found = await all_files(machine, "volume1")
        assert found == {"file": b"first"}
        assert await machine.warnings() == []


@pytest.mark.parametrize("version", ["0.90", "1.0", "1.2"])
def test_a_mirror_of_whole_disks_has_partitions(
    tmp_path: Path, contents: list[bytes], version: str
) -> None:
    disks = []
    for role in range(2):
        part, disk = tmp_path / f"part{role}.raw", tmp_path / f"disk{role}.raw"
        part.write_bytes(contents[role][: 3 * MIB])
        partitioned(disk, part)
        content = disk.read_bytes()[: 4 * MIB]
        disks.append(member(version, Superblock(role=role, in_step=False), content))
    (volume,) = volumes_of(disks)
    assert volume.read(volume.find(("file",)), 0, 100) == b"first"
    (volume,) = volumes_of(disks[1:])
    assert volume.name == "unreadable1 (md RAID)"
