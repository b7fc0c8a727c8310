"""Copies of backup files: the same bytes, or nothing."""

import asyncio
import hashlib
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engine.errors import ChainBroken, NoSpace, RepositoryUnavailable
from holdfast.engine.image import CopyPlan, ImagePlan, back_up_image, copy_image, restore_image
from holdfast.engine.progress import Progress

from .lab import MIB, Disk, Finished

# ruff: noqa: ASYNC240 - a test has the event loop for itself


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The folder of a job in another repository."""
    made = tmp_path / "offsite" / "job"
    made.mkdir(parents=True)
    return made


async def chain_of(disk: Disk, folder: Path, points: int) -> list[Path]:
    """Make a full and increments; return their files."""
    files: list[Path] = []
    for number in range(points):
        parent = files[-1] if files else None
        file = folder / f"{number}.qcow2"
        await back_up_image(ImagePlan(disk.path, file, parent, disk.format))
        files.append(file)
        disk.write_randomly(MIB)
    return files


def plan_for(source: Path, target: Path) -> CopyPlan:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return CopyPlan(source, target / source.name, source.stat().st_size, digest)


async def test_a_chain_is_copied_byte_by_byte_and_restores_alone(
    make_disk: Callable[..., Disk], folder: Path, target: Path, tmp_path: Path
) -> None:
    disk = make_disk()
    files = await chain_of(disk, folder, 3)
    expected = tmp_path / "expected.raw"
    await restore_image(files[-1], expected)
    told: list[Progress] = []

    for file in files:
        await copy_image(plan_for(file, target), told.append)

    assert [path.read_bytes() for path in sorted(target.iterdir())] == [
        file.read_bytes() for file in files
    ]
    fractions = [progress.fraction for progress in told]
    assert fractions[-1] == 1.0
    assert all(0 <= fraction <= 1 for fraction in fractions)
    shutil.rmtree(folder)
    await restore_image(target / files[-1].name, tmp_path / "restored.raw")
    assert (tmp_path / "restored.raw").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("place", [0, 70_000, -1])
async def test_a_flipped_bit_is_noticed_wherever_it_is(
    make_disk: Callable[..., Disk], folder: Path, target: Path, place: int
) -> None:
    [file] = await chain_of(make_disk(), folder, 1)
    plan = plan_for(file, target)
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)

    with pytest.raises(ChainBroken, match="damaged"):
        await copy_image(plan)

    assert list(target.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 40_000])
async def test_a_file_that_was_cut_off_is_noticed(
    make_disk: Callable[..., Disk], folder: Path, target: Path, kept: int
) -> None:
    [file] = await chain_of(make_disk(), folder, 1)
    plan = plan_for(file, target)
    os.truncate(file, kept)

    with pytest.raises(ChainBroken, match="damaged"):
        await copy_image(plan)

    assert list(target.iterdir()) == []


async def test_a_copy_of_which_only_a_part_could_be_written_is_no_copy(
    make_disk: Callable[..., Disk], folder: Path, target: Path
) -> None:
    [file] = await chain_of(make_disk(), folder, 1)
    plan = plan_for(file, target)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel writes as much as there is room for, and tells no error before the next write.
    resource.setrlimit(resource.RLIMIT_FSIZE, (plan.file_size - 1000, before[1]))
    try:
        with pytest.raises(NoSpace, match=str(target)):
            await copy_image(plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert list(target.iterdir()) == []


async def test_an_increment_is_not_copied_without_what_it_is_built_on(
    make_disk: Callable[..., Disk], folder: Path, target: Path
) -> None:
    files = await chain_of(make_disk(), folder, 2)

    with pytest.raises(ChainBroken, match=r"0\.qcow2 is missing"):
        await copy_image(plan_for(files[1], target))

    assert list(target.iterdir()) == []


async def test_a_missing_source_and_a_missing_folder_are_named(
    make_disk: Callable[..., Disk], folder: Path, target: Path
) -> None:
    [file] = await chain_of(make_disk(), folder, 1)
    plan = plan_for(file, target)
    target.rmdir()
    with pytest.raises(RepositoryUnavailable, match=str(target)):
        await copy_image(plan)
    file.unlink()
    with pytest.raises(ChainBroken, match="missing"):
        await copy_image(plan)


async def test_what_lies_in_the_way_is_replaced_by_the_whole_file(
    make_disk: Callable[..., Disk], folder: Path, target: Path
) -> None:
    [file] = await chain_of(make_disk(), folder, 1)
    (target / file.name).write_bytes(b"left over")
    (target / f"{file.name}.partial").write_bytes(b"left over")

    await copy_image(plan_for(file, target))

    assert [path.name for path in target.iterdir()] == [file.name]
    assert (target / file.name).read_bytes() == file.read_bytes()


async def test_a_copy_that_is_cancelled_leaves_nothing(
    make_disk: Callable[..., Disk], folder: Path, target: Path
) -> None:
    disk = make_disk(size=256 * MIB, data=200 * MIB)
    [file] = await chain_of(disk, folder, 1)
    begun = asyncio.Event()
    copying = asyncio.create_task(copy_image(plan_for(file, target), lambda _done: begun.set()))
    await begun.wait()

    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying

    assert list(target.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(
    make_disk: Callable[..., Disk],
    folder: Path,
    tmp_path: Path,
    small_file_system: list[str],
    run_script: Callable[..., Finished],
) -> None:
    [file] = asyncio.run(chain_of(make_disk(), folder, 1))
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    finished = run_script(
        """
        import asyncio, hashlib, subprocess, sys
        from pathlib import Path
        from holdfast.engine.errors import NoSpace
        from holdfast.engine.image import CopyPlan, copy_image

        source, mounted = Path(sys.argv[1]), Path(sys.argv[2])
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], check=True)
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        plan = CopyPlan(source, mounted / source.name, source.stat().st_size, digest)
        try:
            asyncio.run(copy_image(plan))
        except NoSpace as error:
            print("no space:", error)
        print("left:", list(mounted.iterdir()))
        """,
        file,
        mounted,
        prefix=small_file_system,
    )
    assert finished.exit_code == 0, finished.output
    assert "no space: No space left while writing" in finished.output
    assert "left: []" in finished.output
