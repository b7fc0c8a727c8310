"""Merging: at whatever moment it is killed, the run after it must end at the right bytes."""

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engine.durability import sha256_of
from holdfast.engine.errors import ChainBroken, EngineError, ToolFailed
from holdfast.engine.image import (
    ImagePlan,
    back_up_image,
    inspect,
    merge_into_parent,
    restore_image,
)

from .lab import MIB, Disk, Finished, processes

# ruff: noqa: ASYNC221, ASYNC240 - a test has the event loop for itself

MakeDisk = Callable[..., Disk]


async def make_chain(disk: Disk, folder: Path, count: int) -> list[bytes]:
    """Back up a disk several times, with changes between; return what each point must hold."""
    contents = []
    for number in range(count):
        parent = folder / f"p{number - 1}.qcow2" if number else None
        result = await back_up_image(
            ImagePlan(disk.path, folder / f"p{number}.qcow2", parent, disk.format)
        )
        assert result.incremental == bool(number)
        contents.append(bytes(disk.content))
        for _ in range(8):
            disk.write_randomly(256 * 1024)
        disk.zero((1 + number) * MIB, 300 * 1024)
    return contents


async def assert_restores(point: Path, content: bytes, to: Path) -> None:
    await restore_image(point, to, overwrite=True)
    assert to.read_bytes() == content


@pytest.fixture
def kill_commit_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Make every ``qemu-img commit`` be killed with SIGKILL so many seconds after its start."""
    real = shutil.which("qemu-img")
    folder = tmp_path / "programs"
    folder.mkdir()
    stand_in = folder / "qemu-img"
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def set_delay(seconds: float) -> None:
        killed = f'[ "$1" = commit ] && exec timeout -s KILL {seconds:.4f} {real} "$@"\n'
        stand_in.write_text(f'#!/bin/sh\n{killed if seconds else ""}exec {real} "$@"\n')
        stand_in.chmod(0o755)

    return set_delay


async def test_a_merge_killed_at_any_moment_is_finished_by_the_next_one(
    make_disk: MakeDisk, folder: Path, tmp_path: Path, kill_commit_after: Callable[[float], None]
) -> None:
    kill_commit_after(0)
    contents = await make_chain(make_disk(data=12 * MIB), folder, 3)
    saved = {path.name: path.read_bytes() for path in folder.iterdir()}
    begun = killed = 0
    for attempt in range(18):
        if attempt == 12 and begun:
            break  # on a machine that is busy with other things, a commit takes longer
        for name, content in saved.items():
            (folder / name).write_bytes(content)
        kill_commit_after(0.001 * 1.5**attempt)  # 1 to 86 ms: a commit takes about 20
        try:
            await merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2")
        except ToolFailed:
            killed += 1
            begun += (folder / "p0.qcow2").read_bytes() != saved["p0.qcow2"]
        kill_commit_after(0)
        # Whether done, half done or not begun, the newer points read as ever.
        await assert_restores(folder / "p1.qcow2", contents[1], tmp_path / "out")
        result = await merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2")
        assert result.sha256 == hashlib.sha256(result.path.read_bytes()).hexdigest()
        assert not (folder / "p0.qcow2").exists()
        await assert_restores(folder / "p1.qcow2", contents[1], tmp_path / "out")
        await assert_restores(folder / "p2.qcow2", contents[2], tmp_path / "out")
    assert killed
    assert begun, "none was killed while it wrote"


async def test_a_check_that_is_killed_does_not_call_a_good_file_damaged(
    make_disk: MakeDisk, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = make_disk()
    contents = await make_chain(disk, folder, 2)
    programs = tmp_path / "programs"
    programs.mkdir()
    stand_in = programs / "qemu-img"
    real = shutil.which("qemu-img")
    stand_in.write_text(f'#!/bin/sh\n[ "$1" = check ] && kill -9 $$\nexec {real} "$@"\n')
    stand_in.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        with pytest.raises(ToolFailed, match="ended by signal 9"):
            await merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2")
        # Nothing is known any more of a file whose times are others.
        os.utime(folder / "p1.qcow2")
        with pytest.raises(ToolFailed, match="ended by signal 9"):
            await back_up_image(ImagePlan(disk.path, folder / "p2.qcow2", folder / "p1.qcow2"))
        with pytest.raises(ToolFailed, match="ended by signal 9"):
            await restore_image(folder / "p1.qcow2", tmp_path / "out")
    await assert_restores(folder / "p1.qcow2", contents[1], tmp_path / "out")


async def test_a_cancelled_merge_leaves_no_process_and_can_be_run_again(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    contents = await make_chain(make_disk(data=12 * MIB), folder, 2)
    begun = asyncio.Event()
    merge = asyncio.create_task(
        merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2", lambda _progress: begun.set())
    )
    await begun.wait()
    merge.cancel()
    with pytest.raises(asyncio.CancelledError):
        await merge
    assert processes("qemu-img", folder) == []
    await merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2")
    await assert_restores(folder / "p1.qcow2", contents[1], tmp_path / "out")


async def test_a_merge_that_was_done_is_only_measured_again(
    make_disk: MakeDisk, folder: Path
) -> None:
    await make_chain(make_disk(), folder, 2)
    first = await merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2")
    assert await merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2") == first
    assert first.sha256 == await sha256_of(first.path)


@pytest.mark.parametrize("size", [8 * MIB, 24 * MIB])
async def test_an_increment_of_another_size_is_merged_to_its_own_size(
    make_disk: MakeDisk, folder: Path, tmp_path: Path, size: int
) -> None:
    disk = make_disk(data=12 * MIB)
    full, increment = folder / "p0.qcow2", folder / "p1.qcow2"
    await back_up_image(ImagePlan(disk.path, full))
    arguments = ["-q", "-f", "qcow2", "-b", full.name, "-F", "qcow2", str(increment), str(size)]
    subprocess.run(["qemu-img", "create", *arguments], check=True)
    subprocess.run(["qemu-io", "-c", "write -q -P 7 1M 64k", "-f", "qcow2", increment], check=True)
    disk.resize(size)
    disk.content[MIB : MIB + 65536] = b"\7" * 65536
    await merge_into_parent(full, increment)
    assert (await inspect(increment)).virtual_size == size
    await assert_restores(increment, bytes(disk.content), tmp_path / "out")


async def test_a_full_that_another_increment_needs_is_not_merged_away(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk()
    contents = await make_chain(disk, folder, 2)
    await back_up_image(ImagePlan(disk.path, folder / "other.qcow2", folder / "p0.qcow2"))
    with pytest.raises(EngineError, match=r"other\.qcow2 depends on it"):
        await merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2")
    await assert_restores(folder / "p0.qcow2", contents[0], tmp_path / "out")


async def test_files_that_do_not_belong_together_are_not_merged(
    make_disk: MakeDisk, folder: Path
) -> None:
    await make_chain(make_disk(), folder, 3)
    with pytest.raises(ChainBroken, match="cannot be merged"):
        await merge_into_parent(folder / "p0.qcow2", folder / "p2.qcow2")
    with pytest.raises(ChainBroken, match="not a full"):
        await merge_into_parent(folder / "p1.qcow2", folder / "p2.qcow2")
    with pytest.raises(ChainBroken, match="missing"):
        await merge_into_parent(folder / "p2.qcow2", folder / "p3.qcow2")


async def test_a_damaged_increment_is_noticed_before_the_full_is_touched(
    make_disk: MakeDisk, folder: Path
) -> None:
    await make_chain(make_disk(), folder, 2)
    before = await sha256_of(folder / "p0.qcow2")
    os.truncate(folder / "p1.qcow2", 400_000)
    with pytest.raises(ChainBroken, match=r"p1\.qcow2 is damaged"):
        await merge_into_parent(folder / "p0.qcow2", folder / "p1.qcow2")
    assert await sha256_of(folder / "p0.qcow2") == before


MERGE_WITHOUT_SPACE = """
    import asyncio, shutil, subprocess, sys
    from pathlib import Path
    from holdfast.engine.errors import NoSpace
    from holdfast.engine.image import merge_into_parent, restore_image

    folder, room, content = map(Path, sys.argv[1:])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", room], check=True)
    for name in ("p0.qcow2", "p1.qcow2"):
        shutil.copy(folder / name, room / name)
    filler = room / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    arguments = room / "p0.qcow2", room / "p1.qcow2"
    try:
        asyncio.run(merge_into_parent(*arguments))
        sys.exit("there was room")
    except NoSpace as error:
        print(error)
    out = content.with_name("out")
    asyncio.run(restore_image(room / "p1.qcow2", out))
    assert out.read_bytes() == content.read_bytes(), "after the failure"
    filler.unlink()
    asyncio.run(merge_into_parent(*arguments))
    asyncio.run(restore_image(room / "p1.qcow2", out, overwrite=True))
    assert out.read_bytes() == content.read_bytes(), "after the second merge"
"""


async def test_a_merge_without_space_loses_nothing_and_is_finished_later(
    make_disk: MakeDisk,
    folder: Path,
    tmp_path: Path,
    run_script: Callable[..., Finished],
    small_file_system: list[str],
) -> None:
    contents = await make_chain(make_disk(), folder, 2)
    (tmp_path / "content").write_bytes(contents[1])
    (tmp_path / "room").mkdir()
    done = run_script(
        MERGE_WITHOUT_SPACE,
        folder,
        tmp_path / "room",
        tmp_path / "content",
        prefix=small_file_system,
    )
    assert done.exit_code == 0, done.output
    assert "No space left while writing" in done.output
