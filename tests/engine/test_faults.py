"""Full disks, missing tools, stopped tasks and killed processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engine.errors import ToolMissing
from holdfast.engine.files import FilesPlan, ResticRepository
from holdfast.engine.image import ImagePlan, back_up_image, restore_image
from holdfast.engine.progress import Progress

from .lab import MIB, SOURCE, Disk, Finished, processes, wait_until

# ruff: noqa: ASYNC220, ASYNC240 - a test has the event loop for itself

MakeDisk = Callable[..., Disk]

NO_SPACE = """
    import asyncio, subprocess, sys
    from pathlib import Path
    from holdfast.engine.errors import NoSpace
    from holdfast.engine.files import FilesPlan, ResticRepository
    from holdfast.engine.image import ImagePlan, back_up_image, restore_image

    disk, room, work = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", room], check=True)
    backup = Path(disk).with_name("backup.qcow2")
    small = room / "small.qcow2"

    async def full():
        await back_up_image(ImagePlan(Path(disk), room / "a.qcow2"))

    async def increment():
        empty = Path(disk).with_name("empty.raw")
        with empty.open("wb") as file:
            file.truncate(Path(disk).stat().st_size)
        await back_up_image(ImagePlan(empty, small))
        await back_up_image(ImagePlan(Path(disk), room / "a.qcow2", small))

    async def restore():
        await back_up_image(ImagePlan(Path(disk), backup))
        await restore_image(backup, room / "restored")

    async def files():
        password = Path(disk).with_name("password")
        password.write_text("secret")
        repository = ResticRepository(room / "restic", password)
        await repository.ensure()
        await repository.back_up(FilesPlan(Path(disk).parent / "tree", "tag", "host"))

    try:
        asyncio.run(globals()[work]())
        sys.exit("there was room")
    except NoSpace as error:
        print(error)
    left = [path.name for path in room.iterdir() if path.name not in ("small.qcow2", "restic")]
    assert not left, left
"""


@pytest.mark.parametrize("work", ["full", "increment", "restore", "files"])
async def test_a_full_disk_is_told_with_path_and_free_space_and_leaves_nothing(
    make_disk: MakeDisk,
    tmp_path: Path,
    run_script: Callable[..., Finished],
    small_file_system: list[str],
    work: str,
) -> None:
    disk = make_disk(data=12 * MIB)
    room = tmp_path / "room"
    room.mkdir()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(os.urandom(12 * MIB))
    done = run_script(NO_SPACE, disk.path, room, work, prefix=small_file_system)
    assert done.exit_code == 0, done.output
    assert f"No space left while writing {room}" in done.output
    assert "bytes are free" in done.output


async def test_a_missing_tool_is_named_with_its_debian_package(
    make_disk: MakeDisk,
    folder: Path,
    restic_repository: ResticRepository,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    disk = make_disk()
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    with pytest.raises(ToolMissing, match="apt-get install qemu-utils"):
        await back_up_image(ImagePlan(disk.path, folder / "a.qcow2"))
    with pytest.raises(ToolMissing, match="apt-get install restic"):
        await restic_repository.ensure()


@pytest.mark.parametrize("phase", [0, 0.79, 0.94])
async def test_a_stopped_image_backup_leaves_no_file_and_no_process(
    make_disk: MakeDisk, folder: Path, leftovers: Callable[[], list[str]], phase: float
) -> None:
    disk = make_disk(size=64 * MIB, data=8 * MIB)
    await back_up_image(ImagePlan(disk.path, folder / "a.qcow2"))
    disk.write(20 * MIB, disk.chance.randbytes(32 * MIB))
    reached = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.fraction >= phase:
            reached.set()

    plan = ImagePlan(disk.path, folder / "b.qcow2", folder / "a.qcow2")
    task = asyncio.create_task(back_up_image(plan, watch))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes("qemu-img", folder) == []
    assert leftovers() == []
    assert sorted(path.name for path in folder.iterdir()) == ["a.qcow2"]


async def test_a_stopped_restore_leaves_no_file_and_no_process(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk(size=64 * MIB, data=48 * MIB)
    await back_up_image(ImagePlan(disk.path, folder / "a.qcow2"))
    started = asyncio.Event()
    target = tmp_path / "restored"
    task = asyncio.create_task(
        restore_image(folder / "a.qcow2", target, lambda _progress: started.set())
    )
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.glob("restored*")) == []
    assert processes("qemu-img", folder) == []


async def test_a_stopped_file_backup_leaves_no_process_no_lock_and_no_snapshot(
    made_repository: ResticRepository, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(os.urandom(48 * MIB))
    started = asyncio.Event()
    task = asyncio.create_task(
        made_repository.back_up(FilesPlan(tree, "tag", "host"), lambda _progress: started.set())
    )
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes("restic", made_repository.folder) == []
    assert list((made_repository.folder / "locks").iterdir()) == []
    assert await made_repository.snapshots() == []
    await made_repository.sweep_temporary()
    await made_repository.prune()
    await made_repository.check()


@pytest.mark.parametrize("tool", ["qemu-img", "restic"])
async def test_tools_die_when_holdfast_is_killed(
    make_disk: MakeDisk,
    folder: Path,
    made_repository: ResticRepository,
    tmp_path: Path,
    tool: str,
) -> None:
    disk = make_disk(size=128 * MIB, data=96 * MIB)
    script = tmp_path / "script.py"
    script.write_text(f"""
import asyncio
from pathlib import Path
from holdfast.engine.files import FilesPlan, ResticRepository
from holdfast.engine.image import ImagePlan, back_up_image
from holdfast.engine.qemu_image import Storing

async def main():
    if {tool!r} == "qemu-img":
        slowly = Storing(rate_limit=1 << 23)
        target = Path({str(folder)!r}) / "a.qcow2"
        await back_up_image(ImagePlan(Path({str(disk.path)!r}), target, storing=slowly))
    else:
        repository = ResticRepository(
            Path({str(made_repository.folder)!r}), Path({str(tmp_path / "password")!r})
        )
        await repository.back_up(FilesPlan(Path({str(tmp_path)!r}), "tag", "host"))

asyncio.run(main())
""")
    where = folder if tool == "qemu-img" else made_repository.folder
    holdfast = subprocess.Popen(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(SOURCE)}
    )
    try:
        wait_until(lambda: processes(tool, where))
        (child, *_more) = processes(tool, where)
    finally:
        os.kill(holdfast.pid, signal.SIGKILL)
        holdfast.wait()
    wait_until(lambda: child not in processes(tool, where), seconds=2)
    assert processes(tool, where) == []
