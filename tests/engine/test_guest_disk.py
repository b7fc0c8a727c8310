"""Files read out of disk images, well-meant and hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from holdfast.engine import guest_disk
from holdfast.engine.browser import NoSuchEntry
from holdfast.engine.errors import ChainBroken, EngineError, ToolFailed
from holdfast.engine.guest_disk import GuestDisk
from holdfast.engine.guest_entry import WrongPathError, path_parts, shown_name
from support.disks import ext_image, partitioned, sample_tree

from .guests import opened, read
from .lab import processes, wait_until


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
async def test_every_file_of_an_ext_file_system_is_read(tmp_path: Path, kind: str) -> None:
    contents = sample_tree(tmp_path / "tree")
    ext_image(tmp_path / "disk.raw", tmp_path / "tree", kind=kind)
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        for path, content in contents.items():
            assert await read(disk, "volume1", *path.split("/")) == content


async def test_every_partition_is_a_volume(tmp_path: Path) -> None:
    parts = []
    for number in range(2):
        tree = tmp_path / f"tree{number}"
        tree.mkdir()
        (tree / "which").write_text(str(number))
        parts.append(tmp_path / f"part{number}.raw")
        ext_image(parts[-1], tree, size=4 << 20)
    partitioned(tmp_path / "disk.raw", *parts)
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        roots = await disk.listing((), "all", 0, 10)
        assert [entry.name for entry in roots.entries] == ["volume1", "volume2"]
        assert await read(disk, "volume1", "which") == b"0"
        assert await read(disk, "volume2", "which") == b"1"


async def test_all_disks_of_a_machine_are_read_and_let_go(tmp_path: Path) -> None:
    raws = []
    for number in range(3):
        tree = tmp_path / f"tree{number}"
        tree.mkdir()
        (tree / "which").write_text(str(number))
        raws.append(tmp_path / f"disk{number}.raw")
        ext_image(raws[-1], tree, size=4 << 20)
    async with opened(tmp_path, *raws) as machine:
        assert len(processes("qemu-nbd", tmp_path)) == 3
        for number in range(3):
            found = await read(machine, f"volume{number + 1}", "which")
            assert found == str(number).encode()
    assert processes("qemu-nbd", tmp_path) == []


async def test_a_disk_that_went_away_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    sample_tree(tmp_path / "tree")
    ext_image(tmp_path / "disk.raw", tmp_path / "tree")
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        assert await disk.listing(("volume1",), "all", 0, 10)
        [server] = processes("qemu-nbd", tmp_path)
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: not processes("qemu-nbd", tmp_path))
        with pytest.raises(ToolFailed, match="The backup files of the restore point"):
            await read(disk, "volume1", "big.bin")


async def test_a_machine_of_which_a_disk_is_missing_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    ext_image(tmp_path / "disk.raw", tmp_path / "tree", size=4 << 20)
    with pytest.raises(ChainBroken, match=r"gone\.qcow2"):
        async with opened(tmp_path, tmp_path / "disk.raw"):
            await GuestDisk.open([tmp_path / "disk.qcow2", tmp_path / "gone.qcow2"], tmp_path)
    assert processes("qemu-nbd", tmp_path) == []


async def test_a_reader_that_was_taken_over_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_tree(tmp_path / "tree")
    ext_image(tmp_path / "disk.raw", tmp_path / "tree")
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        monkeypatch.setattr(guest_disk, "LARGEST_ANSWER", 10)
        with pytest.raises(ToolFailed):
            await disk.entry(("volume1", "hello.txt"))


async def test_nothing_is_left_running(tmp_path: Path) -> None:
    sample_tree(tmp_path / "tree")
    ext_image(tmp_path / "disk.raw", tmp_path / "tree")
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        assert processes("qemu-nbd", tmp_path)
        reading = asyncio.create_task(disk.listing(("volume1",), "all", 0, 10))
        await asyncio.sleep(0)
        reading.cancel()
        # The answer nobody waited for is not taken for the next one.
        assert (await disk.entry(("volume1", "hello.txt"))).size == 6
    wait_until(lambda: not processes("qemu-nbd", tmp_path))


@pytest.mark.parametrize("moments", range(1, 4))
async def test_closing_that_is_cancelled_still_ends_both_processes(
    tmp_path: Path, moments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engine.process._GRACE_SECONDS", 0.2)
    sample_tree(tmp_path / "tree")
    ext_image(tmp_path / "disk.raw", tmp_path / "tree")
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        for server in processes("qemu-nbd", tmp_path):
            os.kill(server, signal.SIGSTOP)  # so that it does not end when its reader does
        closing = asyncio.create_task(disk.close())
        for _ in range(moments):
            await asyncio.sleep(0)
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        assert processes("qemu-nbd", tmp_path) == []


async def test_names_nobody_could_have_made_are_shown_escaped_and_found(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("slash_aaaa", "newline_bb", "invalid_cc", "updir_ddee"):
        (tree / name).write_text(name)
    image = tmp_path / "disk.raw"
    ext_image(image, tree)
    hostile = {
        b"slash_aaaa": b"../../../x",
        b"newline_bb": b"new\nline\r\x1b",
        b"invalid_cc": b"inv\xff\xfe\\lid_",
        b"updir_ddee": b"C:\\windows",
    }
    for old, new in hostile.items():
        assert len(old) == len(new)
        # The folder's own record: its name is not in the file's content.
        content = image.read_bytes()
        at = content.index(bytes([len(old), 1]) + old) + 2
        image.write_bytes(content[:at] + new + content[at + len(old) :])
    async with opened(tmp_path, image) as disk:
        found = await disk.listing(("volume1",), "files", 0, 100)
        names = [entry.name for entry in found.entries]
        assert sorted(names) == sorted(shown_name(name) for name in hostile.values())
        assert all("/" not in name and name.isprintable() for name in names)
        for old, new in hostile.items():
            assert await read(disk, "volume1", shown_name(new)) == old


async def test_a_folder_that_contains_itself_ends_at_the_longest_path(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    image = tmp_path / "disk.raw"
    ext_image(image, tree)
    # Let the record "inner" of the root folder name the root itself (inode 2).
    content = bytearray(image.read_bytes())
    at = content.index(b"\x05\x02inner") - 6
    content[at : at + 4] = struct.pack("<I", 2)
    image.write_bytes(content)
    async with opened(tmp_path, image) as disk:
        deep = ("volume1", *["inner"] * 200)
        assert (await disk.entry(deep)).kind == "directory"
        with pytest.raises(WrongPathError):
            path_parts("/".join(["inner"] * 300))


async def test_a_huge_folder_is_listed_in_parts(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(5000):
        (tree / f"file{number:05}").touch()
    ext_image(tmp_path / "disk.raw", tree, size=64 << 20)
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        part = await disk.listing(("volume1",), "files", 4990, 100)
        assert part.total == 5000
        assert [entry.name for entry in part.entries][-1] == "file04999"
        assert len(part.entries) == 10


async def test_deleted_files_are_not_shown(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "kept").touch()
    (tree / "secret").write_text("gone")
    ext_image(tmp_path / "disk.raw", tree)
    command = ["/usr/sbin/debugfs", "-w", "-R", "rm secret", str(tmp_path / "disk.raw")]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    async with opened(tmp_path, tmp_path / "disk.raw") as disk:
        names = [e.name for e in (await disk.listing(("volume1",), "files", 0, 10)).entries]
        assert names == ["kept"]
        with pytest.raises(NoSuchEntry):
            await disk.entry(("volume1", "secret"))


async def test_damaged_file_systems_do_no_harm_to_us(tmp_path: Path) -> None:
    """Whatever the reader does with junk, it is an answer or an error, and soon."""
    sample_tree(tmp_path / "tree")
    ext_image(tmp_path / "whole.raw", tmp_path / "tree", size=8 << 20)
    whole = (tmp_path / "whole.raw").read_bytes()
    chance = random.Random(3)
    for attempt in range(6):
        content = bytearray(whole)
        for _ in range(400):
            content[1024 + chance.randrange(256 * 1024)] = chance.randrange(256)
        content[1024:2048] = whole[1024:2048]  # or there would be nothing to look into
        folder = tmp_path / str(attempt)
        folder.mkdir()
        (folder / "disk.raw").write_bytes(content)
        # An EngineError may come; nothing else, and nothing may hang.
        with contextlib.suppress(EngineError):
            async with opened(folder, folder / "disk.raw") as disk:
                found = await disk.listing(("volume1",), "all", 0, 100)
                for entry in found.entries:
                    if entry.kind == "file" and entry.size < 1 << 24:
                        await read(disk, "volume1", entry.name)


def test_paths_cannot_climb() -> None:
    assert path_parts("/volume1//etc/") == ("volume1", "etc")
    for wrong in ("..", "a/../b", "a/./b", "a/\0", "a" * 40_000):
        with pytest.raises(WrongPathError):
            path_parts(wrong)
