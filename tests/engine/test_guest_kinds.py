"""Files read out of NTFS and FAT, in partitions and without."""

from __future__ import annotations

import asyncio
import lzma
import random
import struct
from pathlib import Path

import pytest

from holdfast.engine.browser import UnreadableEntry
from holdfast.engine.guest_volumes import volumes_of
from holdfast.engine.sleuthkit import SleuthKit
from support import written_ntfs
from support.disks import (
    MIB,
    ext_image,
    fat_image,
    ntfs_image,
    partitioned,
    set_ext_flags,
    xfs_image,
)
from support.exfat import ExfatImage
from support.ntfs import FileTable

from .guests import all_files, everything, opened, read
from .test_xfs import Bytes

FILES = {
    "hello.txt": b"hello\r\n",
    "empty": b"",
    "Ümlaut 名前 & co.txt": b"odd",
    "n" * 200: b"long",
    "resident": b"x" * 300,
    "big.bin": random.Random(2).randbytes(5 * MIB + 17),
}

# The tags that Windows gives them, and what is to be said.
_REFUSED = {
    "compact.dll": (0x80000017, "CompactOS"),
    "deduplicated.vhd": (0x80000013, "chunk store"),
    "strange.bin": (0x800A0001, "reparse tag 0x800A0001"),
    "secret.docx": (0, "EFS"),
}
_POINTS = {
    "symlink": (0xA000000C, "link"),
    "junction": (0xA0000003, "link"),
    "alias.exe": (0x8000001B, "link"),
    "nfs": (0x80000014, "link"),
    "socket": (0x80000023, "other"),
    "fetched.txt": (0x9000601A, "file"),
}
_OTHERS = dict.fromkeys(_POINTS, b"") | {"plain": b"as it is", "fetched.txt": b"from the cloud"}


def fat_tree(folder: Path) -> dict[str, bytes]:
    contents = {
        "hello.txt": b"hello\r\n",
        "empty": b"",
        "Longer name than 8 and 3.text": b"long",
        "ümlaut & co.txt": b"odd",
        "deep/er/still/deeper.bin": random.Random(3).randbytes(MIB + 17),
        **{f"many/file{number:04}.dat": str(number).encode() for number in range(300)},
    }
    for path, content in contents.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return contents


async def test_every_file_of_an_ntfs_file_system_is_read(tmp_path: Path) -> None:
    await asyncio.to_thread(ntfs_image, tmp_path / "disk.raw", FILES)
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        assert await all_files(disk, "C:") == FILES


async def test_what_ntfs_keeps_elsewhere_is_refused_and_links_are_told_as_such(
    tmp_path: Path,
) -> None:
    image = tmp_path / "disk.raw"
    await asyncio.to_thread(ntfs_image, image, dict.fromkeys(_REFUSED, b"raw" * 3000) | _OTHERS)
    table = FileTable(image)
    for name, (tag, _) in _REFUSED.items():
        if tag:
            table.make_reparse_point(name, tag)
    table.encrypt("secret.docx")
    for name, (tag, _) in _POINTS.items():
        table.make_reparse_point(name, tag, b"LNK\x01\0\0\0\0", folder=name == "junction")
    table.save()
    async with opened(tmp_path, image) as disk:
        for name, (_, reason) in _REFUSED.items():
            with pytest.raises(UnreadableEntry, match=rf"^{name} cannot be read: .*{reason}"):
                await read(disk, "C:", name)
        found = await everything(disk, "C:")
        assert {name: entry.kind for name, entry in found.items()} == (
            dict.fromkeys(_REFUSED, "file")
            | {name: kind for name, (_, kind) in _POINTS.items()}
            | {"plain": "file"}
        )
        assert {found[name].size for name in _REFUSED} == {9000}
        assert await read(disk, "C:", "plain") == b"as it is"
        assert await read(disk, "C:", "fetched.txt") == b"from the cloud"


async def test_a_log_of_ntfs_that_cannot_be_is_taken_for_one_in_use(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    await asyncio.to_thread(ntfs_image, image, {"file": b"content"})
    table = FileTable(image)
    table.encrypt("$LogFile")
    table.save()
    async with opened(tmp_path, image) as disk:
        assert await read(disk, "C:", "file") == b"content"
        (warning,) = await disk.warnings()
        assert "its log is not replayed" in warning


async def test_what_was_never_written_of_a_file_of_exfat_is_zeros(tmp_path: Path) -> None:
    image = ExfatImage(tmp_path / "disk.raw", 8 * MIB)
    image.grow()
    stale = random.Random(5).randbytes(3 * MIB)
    image.add("whole", stale[:5000], 5000)
    image.add("part", stale, 2 * MIB + 5)
    image.add("none", stale[:9000], 0)
    # The second of its entries is in another cluster.
    image.pad(4096 // 32 - 1)
    image.add("far", stale[:9000], 100)
    image.save()
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        found = await all_files(disk, "C:")
        assert {name: found[name] for name in found if not name.startswith("$")} == {
            "whole": stale[:5000],
            "part": stale[: 2 * MIB + 5] + bytes(MIB - 5),
            "none": bytes(9000),
            "far": stale[:100] + bytes(8900),
        }


@pytest.mark.parametrize("features", ["^64bit,encrypt", "64bit,encrypt"])
async def test_what_ext4_has_encrypted_is_refused(tmp_path: Path, features: str) -> None:
    contents = fat_tree(tmp_path / "tree")
    image = tmp_path / "disk.raw"
    # Several groups, of which the descriptors have two sizes.
    options = ["-O", features, "-g", "1024", "-N", "2048"]
    tree = tmp_path / "tree"
    await asyncio.to_thread(ext_image, image, tree, 24 * MIB, "ext4", options)
    secret = ["hello.txt", "deep/er/still/deeper.bin", "many/file0299.dat"]
    for name in secret:
        await asyncio.to_thread(set_ext_flags, image, name, 0x80800)
    async with opened(tmp_path, image) as disk:
        for name, content in contents.items():
            if name in secret:
                with pytest.raises(UnreadableEntry, match=r"cannot be read: .*fscrypt"):
                    await read(disk, "volume1", *name.split("/"))
            elif not name.startswith("many"):
                assert await read(disk, "volume1", *name.split("/")) == content


@pytest.mark.parametrize(("bits", "size"), [(12, 8 * MIB), (16, 32 * MIB), (32, 64 * MIB)])
async def test_every_file_of_a_fat_file_system_is_read(
    tmp_path: Path, bits: int, size: int
) -> None:
    contents = fat_tree(tmp_path / "tree")
    await asyncio.to_thread(fat_image, tmp_path / "disk.raw", tmp_path / "tree", bits, size)
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        assert await all_files(disk, "C:") == contents


async def test_what_a_driver_has_written_to_ntfs_is_read(tmp_path: Path) -> None:
    """Compressed, sparse, in many pieces; other streams; names that were deleted, or are odd."""
    image = tmp_path / "disk.raw"
    image.write_bytes(lzma.decompress(written_ntfs.IMAGE.read_bytes()))
    async with opened(tmp_path, image) as disk:
        found = await everything(disk, "C:")
        below = [name for name in found if name.startswith("names/")]
        assert sorted(below) == sorted(f"names/{name}" for name in written_ntfs.NAMES)
        contents = await all_files(disk, "C:")
        halves = [contents[name] for name in found if name.startswith("half")]
        assert sorted(halves) == [b"0", b"1"]
        # A hole that is larger than the file system is not read: that is told from an empty file.
        assert found["hole of 5 GiB"].kind == "other"
        written = written_ntfs.contents()
        others = set(found) - set(written) - set(below)
        assert {name for name in others if not name.startswith("half")} == {
            "c",
            "names",
            "hole of 5 GiB",
        }
        assert {name: contents[name] for name in written} == written


async def test_who_reads_ntfs_that_was_in_use_is_warned(tmp_path: Path) -> None:
    await asyncio.to_thread(ntfs_image, tmp_path / "disk.raw", {})
    image = bytearray((tmp_path / "disk.raw").read_bytes())
    assert volumes_of([Bytes(image)])[0].warnings == []
    system = SleuthKit(Bytes(image))
    log = next(run for attribute in system._system.open_meta(2) for run in attribute)

    def pages(*states: tuple[int, int, int]) -> list[str]:
        """Two pages: the number of each, who uses the log, and flags."""
        for number, state in enumerate(states):
            page = b"RSTR".ljust(24, b"\0") + struct.pack("<H", 48)
            page = page.ljust(48, b"\0") + struct.pack("<QHHHH", state[0], 1, 0, *state[1:])
            at = log.addr * 4096 + number * 4096
            image[at : at + len(page)] = page
        return volumes_of([Bytes(image)])[0].warnings

    nobody, somebody, clean = 0xFFFF, 0, 2
    assert pages((1, somebody, 0), (2, somebody, clean)) == []
    assert pages((1, somebody, 0), (2, nobody, 0)) == []
    (warning,) = pages((1, nobody, clean), (2, somebody, 0))
    assert warning.startswith("[C:] It was in use when it was backed up, and its log is not")


def test_a_disk_that_cannot_be_read_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    class Failing(Bytes):
        fails = False

        def read(self, offset: int, length: int) -> bytes:
            if self.fails:
                raise OSError("The disk cannot be read.")
            return super().read(offset, length)

    ntfs_image(tmp_path / "disk.raw", FILES)
    disk = Failing((tmp_path / "disk.raw").read_bytes())
    system = SleuthKit(disk)
    node = next(node for node in system.nodes(system.root) if node.entry.name == "big.bin")
    disk.fails = True
    with pytest.raises(OSError, match="cannot be read"):
        system.read(node.address, 0, MIB)
    with pytest.raises(OSError, match="cannot be read"):
        SleuthKit(disk)


@pytest.mark.parametrize("label", ["dos", "gpt"])
async def test_file_systems_of_all_kinds_share_a_disk(tmp_path: Path, label: str) -> None:
    tree = tmp_path / "tree"
    contents = fat_tree(tree)
    images = [tmp_path / f"{name}.raw" for name in ("ext", "ntfs", "fat", "xfs")]
    await asyncio.to_thread(ext_image, images[0], tree)
    await asyncio.to_thread(ntfs_image, images[1], FILES)
    await asyncio.to_thread(fat_image, images[2], tree, 16, 32 * MIB)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "which").write_bytes(b"xfs")
    await asyncio.to_thread(xfs_image, images[3], plain)
    partitioned(tmp_path / "disk.raw", *images, label=label)
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        roots = await disk.listing((), "all", 0, 10)
        assert [entry.name for entry in roots.entries] == ["C:", "D:", "volume1", "volume4"]
        found = await all_files(disk, "volume1")
        assert found == contents
        assert await all_files(disk, "C:") == FILES
        assert await all_files(disk, "D:") == contents
        assert await all_files(disk, "volume4") == {"which": b"xfs"}
