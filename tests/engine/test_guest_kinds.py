"""Files read out of NTFS and FAT, in partitions and without."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from support.disks import MIB, ext_image, fat_image, ntfs_image, partitioned, xfs_image

from .guests import all_files, opened

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
