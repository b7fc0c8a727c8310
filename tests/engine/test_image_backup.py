"""Disk images: every point restored must be the disk as it was, bit by bit."""

# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - a test has the event loop for itself

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    ImageInUse,
    RepositoryUnavailable,
    SourceMissing,
    SourceUnreadable,
)
from holdfast.engine.image import (
    ImagePlan,
    ImageResult,
    back_up_image,
    merge_into_parent,
    remove_image,
    restore_image,
)
from holdfast.engine.image_backup import finish_image
from holdfast.engine.progress import Progress

from .lab import MIB, Disk, serves, wait_until

MakeDisk = Callable[..., Disk]


async def back_up(disk: Disk, folder: Path, name: str, parent: str | None = None) -> ImageResult:
    return await back_up_image(
        ImagePlan(
            disk.path,
            folder / f"{name}.qcow2",
            None if parent is None else folder / f"{parent}.qcow2",
            disk.format,
        )
    )


async def restored(point: Path, to: Path) -> bytes:
    await restore_image(point, to, overwrite=True)
    return to.read_bytes()


@pytest.mark.parametrize("format", ["raw", "qcow2"])
async def test_every_point_of_a_chain_restores_byte_for_byte_before_and_after_merges(
    make_disk: MakeDisk, folder: Path, tmp_path: Path, format: str
) -> None:
    disk = make_disk(format)

    def write_unaligned() -> None:
        for _ in range(5):
            disk.write_randomly(5000, sector=512)

    def change_both_ends() -> None:
        disk.zero(MIB, 4096)
        disk.write(disk.size - 4096, b"\xaa" * 4096)

    changes: list[Callable[[], None]] = [
        lambda: disk.write_randomly(256 * 1024),
        lambda: disk.zero(2 * MIB, 512 * 1024),
        lambda: disk.discard(3 * MIB, 512 * 1024),
        write_unaligned,
        change_both_ends,
    ]
    full = await back_up(disk, folder, "p0")
    assert (full.incremental, full.note, full.virtual_size) == (False, None, disk.size)
    assert full.data_size == 4 * MIB
    contents = [bytes(disk.content)]
    for number, change in enumerate(changes, start=1):
        change()
        result = await back_up(disk, folder, f"p{number}", f"p{number - 1}")
        assert result.incremental, result.note
        assert result.sha256 == hashlib.sha256(result.path.read_bytes()).hexdigest()
        assert result.file_size == result.path.stat().st_size < MIB
        contents.append(bytes(disk.content))
    for number, content in enumerate(contents):
        assert await restored(folder / f"p{number}.qcow2", tmp_path / "out") == content

    for oldest in range(3):
        paths = folder / f"p{oldest}.qcow2", folder / f"p{oldest + 1}.qcow2"
        merged = await merge_into_parent(*paths)
        assert not paths[0].exists()
        assert merged.sha256 == hashlib.sha256(paths[1].read_bytes()).hexdigest()
        for number in range(oldest + 1, len(contents)):
            point = folder / f"p{number}.qcow2"
            assert await restored(point, tmp_path / "out") == contents[number]
    assert {path.suffix for path in folder.iterdir()} == {".qcow2"}


async def test_an_increment_is_about_as_large_as_what_changed(
    make_disk: MakeDisk, folder: Path
) -> None:
    disk = make_disk(size=64 * MIB, data=16 * MIB)
    await back_up(disk, folder, "full")
    disk.write(8 * MIB, disk.chance.randbytes(2 * MIB))
    result = await back_up(disk, folder, "next", "full")
    assert result.data_size == 2 * MIB
    assert 2 * MIB <= result.file_size < 2 * MIB + MIB // 2


async def test_an_increment_without_changes_is_nearly_empty(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk()
    await back_up(disk, folder, "full")
    result = await back_up(disk, folder, "next", "full")
    assert result.data_size == 0
    assert result.file_size < MIB // 2
    assert await restored(result.path, tmp_path / "out") == disk.content


@pytest.mark.parametrize("size", [24 * MIB, 8 * MIB])
async def test_a_changed_disk_size_makes_a_full_and_says_so(
    make_disk: MakeDisk, folder: Path, tmp_path: Path, size: int
) -> None:
    disk = make_disk()
    await back_up(disk, folder, "p0")
    disk.resize(size)
    result = await back_up(disk, folder, "p1", "p0")
    assert not result.incremental
    assert result.note is not None
    assert "size of the disk changed" in result.note
    assert await restored(result.path, tmp_path / "out") == disk.content


async def test_a_parent_that_is_missing_cut_or_foreign_makes_a_full_and_says_so(
    make_disk: MakeDisk, folder: Path
) -> None:
    disk = make_disk()
    missing = await back_up(disk, folder, "a", "gone")
    assert not missing.incremental
    assert f"{folder}/gone.qcow2 is missing" in str(missing.note)

    os.truncate(missing.path, missing.file_size // 2)
    cut = await back_up(disk, folder, "b", "a")
    assert not cut.incremental
    assert f"{folder}/a.qcow2 is damaged" in str(cut.note)

    (folder / "c.qcow2").write_bytes(b"not an image")
    foreign = await back_up(disk, folder, "d", "c")
    assert not foreign.incremental
    assert "magic" in str(foreign.note)


async def test_a_parent_whose_data_rotted_makes_a_full_and_says_so(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk(data=4096)
    # Only a compressed cluster shows its rot to qemu-img; in a plain one it reads as other data,
    # which an increment then simply replaces.
    disk.write(MIB, b"".join(b"%d compressible " % number for number in range(250_000)))
    full = await back_up(disk, folder, "a")
    with full.path.open("r+b") as file:
        file.seek(full.file_size - 100_000)
        file.write(b"\xff" * 50_000)
    result = await back_up(disk, folder, "b", "a")
    assert not result.incremental
    assert result.note is not None
    assert await restored(result.path, tmp_path / "out") == disk.content
    with pytest.raises(ChainBroken, match=r"a\.qcow2"):
        await restore_image(full.path, tmp_path / "other")


async def test_the_repository_can_be_moved(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk()
    await back_up(disk, folder, "a")
    disk.write_randomly(100_000)
    await back_up(disk, folder, "b", "a")
    moved = folder.rename(tmp_path / "elsewhere")
    assert await restored(moved / "b.qcow2", tmp_path / "out") == disk.content


async def test_progress_never_goes_back_and_ends_at_one(make_disk: MakeDisk, folder: Path) -> None:
    disk = make_disk()
    for plan in (
        ImagePlan(disk.path, folder / "a.qcow2"),
        ImagePlan(disk.path, folder / "b.qcow2", folder / "a.qcow2"),
    ):
        seen: list[Progress] = []
        await back_up_image(plan, seen.append)
        fractions = [progress.fraction for progress in seen]
        assert len(fractions) > 3
        assert fractions == sorted(fractions)
        assert seen[-1] == Progress(1.0, disk.size, disk.size)


async def test_a_source_that_is_spent_goes_and_one_that_cannot_go_harms_nothing(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk("qcow2")
    pushed, target = folder / "pushed.qcow2", folder / "p0.qcow2"
    shutil.copy(disk.path, pushed)
    await back_up_image(ImagePlan(pushed, target, None, "qcow2", spent=True))
    assert not pushed.exists()
    content = await restored(target, tmp_path / "out")
    assert content == disk.content
    # No file, and so nothing that can be removed like one.
    pushed.mkdir()
    kept = folder / "p1.qcow2"
    await finish_image(
        target,
        kept,
        lambda _fraction: None,
        virtual_size=len(content),
        incremental=False,
        note=None,
        spent=pushed,
    )
    assert await restored(kept, tmp_path / "out") == content


async def test_a_backup_file_is_never_overwritten(make_disk: MakeDisk, folder: Path) -> None:
    disk = make_disk()
    first = await back_up(disk, folder, "a")
    with pytest.raises(EngineError, match="never overwritten"):
        await back_up(disk, folder, "a")
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("format", ["raw", "qcow2"])
@pytest.mark.parametrize("parent", [None, "a"])
async def test_an_image_that_a_machine_writes_to_is_refused(
    make_disk: MakeDisk,
    folder: Path,
    tmp_path: Path,
    leftovers: Callable[[], list[str]],
    format: str,
    parent: str | None,
) -> None:
    disk = make_disk(format)
    await back_up(disk, folder, "a")
    socket = tmp_path / "socket"
    machine = subprocess.Popen(
        ["qemu-nbd", "--persistent", "-k", socket, "-f", disk.format, disk.path]
    )
    try:
        # The socket is there before the image is opened, but answers only after.
        wait_until(partial(serves, socket))
        with pytest.raises(ImageInUse, match="usually a running machine"):
            await back_up(disk, folder, "b", parent)
        with pytest.raises(ImageInUse):
            await restore_image(folder / "a.qcow2", disk.path, overwrite=True)
    finally:
        machine.kill()  # qemu-nbd may miss a SIGTERM that comes while it starts
        machine.wait()
    assert leftovers() == []


async def test_a_machine_cannot_start_on_an_image_while_it_is_read(
    make_disk: MakeDisk, folder: Path
) -> None:
    disk = make_disk(size=64 * MIB, data=48 * MIB)
    attempts: list[subprocess.CompletedProcess[bytes]] = []

    def start_machine(_progress: Progress) -> None:
        if not attempts:
            attempts.append(
                subprocess.run(
                    ["qemu-io", "-f", "raw", "-c", "write 0 512", disk.path], capture_output=True
                )
            )

    await back_up_image(ImagePlan(disk.path, folder / "a.qcow2"), start_machine)
    assert b'Failed to get "write" lock' in attempts[0].stderr


async def test_a_source_changed_while_it_is_read_is_a_failure(
    make_disk: MakeDisk, folder: Path
) -> None:
    disk = make_disk()
    with pytest.raises(SourceUnreadable, match="was changed while it was read"):
        await back_up_image(
            ImagePlan(disk.path, folder / "a.qcow2"), lambda _progress: disk.write(0, b"x")
        )
    assert list(folder.iterdir()) == []


async def test_a_missing_source_or_repository_is_named(make_disk: MakeDisk, folder: Path) -> None:
    with pytest.raises(SourceMissing, match=r"nowhere\.raw"):
        await back_up_image(ImagePlan(folder / "nowhere.raw", folder / "a.qcow2"))
    with pytest.raises(RepositoryUnavailable, match="mounted"):
        await back_up_image(ImagePlan(make_disk().path, folder / "gone" / "a.qcow2"))


async def test_a_repository_gone_in_the_middle_is_named(make_disk: MakeDisk, folder: Path) -> None:
    disk = make_disk()

    def unplug(_progress: Progress) -> None:
        if folder.exists():
            folder.rename(folder.with_name("unplugged"))

    with pytest.raises(RepositoryUnavailable, match="mounted"):
        await back_up_image(ImagePlan(disk.path, folder / "a.qcow2"), unplug)


async def test_a_restore_keeps_what_exists_unless_told_otherwise(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk()
    result = await back_up(disk, folder, "a")
    target = tmp_path / "restored"
    target.write_text("precious")
    with pytest.raises(EngineError, match="exists already"):
        await restore_image(result.path, target)
    assert target.read_text() == "precious"
    await restore_image(result.path, target, overwrite=True)
    assert target.read_bytes() == disk.content


async def test_a_restored_disk_is_read_by_nobody_who_could_not_read_the_one_before(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    result = await back_up(make_disk(), folder, "a")
    target = tmp_path / "restored"
    seen: set[int] = set()

    def look(_progress: Progress) -> None:
        seen.update(path.stat().st_mode & 0o777 for path in tmp_path.glob("restored*.partial"))

    await restore_image(result.path, target, look)
    assert seen == {0o600}
    assert target.stat().st_mode & 0o777 == 0o600
    target.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(target, 1234, 2345)
    before = target.stat()
    await restore_image(result.path, target, overwrite=True)
    after = target.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


async def test_a_machine_started_during_a_restore_keeps_its_disk(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    result = await back_up(make_disk(), folder, "a")
    target, socket = tmp_path / "disk.raw", tmp_path / "socket"
    target.write_bytes(b"precious" * 512)
    machines: list[subprocess.Popen[bytes]] = []

    def start_machine(_progress: Progress) -> None:
        if not machines:
            machines.append(
                subprocess.Popen(["qemu-nbd", "--persistent", "-k", socket, "-f", "raw", target])
            )
            wait_until(lambda: serves(socket))

    try:
        with pytest.raises(ImageInUse):
            await restore_image(result.path, target, start_machine, overwrite=True)
    finally:
        for machine in machines:
            machine.kill()
            machine.wait()
    assert machines
    assert target.read_bytes() == b"precious" * 512
    assert not list(tmp_path.glob("*.partial"))


async def test_a_restore_to_qcow2_is_whole_by_itself(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk()
    await back_up(disk, folder, "a")
    disk.write_randomly(100_000)
    await back_up(disk, folder, "b", "a")
    target = tmp_path / "restored.qcow2"
    await restore_image(folder / "b.qcow2", target, format="qcow2")
    subprocess.run(
        ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", disk.path, target], check=True
    )
    with target.open("rb") as file:
        file.seek(8)
        assert file.read(8) == bytes(8)  # the header names no backing file


async def test_a_restore_without_its_parent_names_the_missing_file(
    make_disk: MakeDisk, folder: Path, tmp_path: Path
) -> None:
    disk = make_disk()
    await back_up(disk, folder, "a")
    await back_up(disk, folder, "b", "a")
    await remove_image(folder / "a.qcow2")
    await remove_image(folder / "a.qcow2")
    with pytest.raises(ChainBroken, match=r"a\.qcow2 is missing"):
        await restore_image(folder / "b.qcow2", tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_two_backups_of_one_source_may_run_at_once(make_disk: MakeDisk, folder: Path) -> None:
    disk = make_disk()
    results = await asyncio.gather(*(back_up(disk, folder, name) for name in "ab"))
    assert all(result.data_size == 4 * MIB for result in results)
