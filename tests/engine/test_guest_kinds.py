"""Files read out of NTFS and FAT, in partitions and without."""

from __future__ import annotations

import asyncio
import lzma
import random
import struct
from pathlib import Path

import pytest

from holdfast.engine.guest_volumes import volumes_of
from holdfast.engine.sleuthkit import SleuthKit
from support import written_ntfs
from support.disks import MIB, ext_image, fat_image, ntfs_image, partitioned, xfs_image

from .guests import all_files, everything, opened
from .test_xfs import Bytes

FILES = {
    "hello.txt": b"hello\r\n",
    "empty": b"",
    "Ümlaut 名前 & co.txt": b"odd",
    "n" * 200: b"long",
    "resident": b"x" * 300,
    "big.bin": random.Random(2).randbytes(5 * MIB + 17),
}


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
