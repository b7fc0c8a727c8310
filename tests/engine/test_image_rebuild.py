"""Writing a point's file anew: whatever happens, every point restores what it did before."""

import asyncio
import shutil
from pathlib import Path

import pytest

from holdfast.engine.errors import ChainBroken
from holdfast.engine.image import ImagePlan, back_up_image, merge_into_parent
from holdfast.engine.image_chain import read_backup_header
from holdfast.engine.image_rebuild import (
    is_built_on,
    measured,
    rebuild_image,
    rebuilt_name,
    take_place,
)
from holdfast.engine.qemu_image import Storing

from .lab import MIB, Disk
from .test_image_merge import assert_restores, make_chain


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Disk, Path, list[bytes]]:
    """A chain of five points, made once."""
    folder = tmp_path_factory.mktemp("made") / "chain"
    folder.mkdir()
    path = folder.parent / "disk.raw"
    disk = Disk(path, "raw", bytearray(8 * MIB))
    path.write_bytes(disk.content)
    return disk, folder, asyncio.run(make_chain(disk, folder, 5))


@pytest.fixture
def chain(made: tuple[Disk, Path, list[bytes]], tmp_path: Path) -> tuple[Disk, Path, list[bytes]]:
    """The chain, to be worked on."""
    disk, folder, contents = made
    shutil.copytree(folder, tmp_path / "chain")
    return disk, tmp_path / "chain", contents


async def assert_all_restore(folder: Path, contents: list[bytes], to: Path) -> None:
    for number, content in enumerate(contents):
        await assert_restores(folder / f"p{number}.qcow2", content, to)


@pytest.mark.parametrize("onto", [None, 1])
async def test_a_point_written_anew_restores_the_same(
    chain: tuple[Disk, Path, list[bytes]], tmp_path: Path, onto: int | None
) -> None:
    disk, folder, contents = chain
    file = folder / "p3.qcow2"
    base = None if onto is None else folder / f"p{onto}.qcow2"
    storing = Storing(19, rate_limit=2**30) if onto is None else Storing(None, rate_limit=2**30)

    await rebuild_image(file, base, storing)
    await assert_all_restore(folder, contents, tmp_path / "out")
    assert not await is_built_on(file, base)
    await take_place(file)

    assert await is_built_on(file, base)
    await assert_all_restore(folder, contents, tmp_path / "out")
    assert (await measured(file)).file_size == file.stat().st_size
    assert list(folder.glob("*.partial")) == []
    # What was between is not needed any more, and the chain goes on.
    for number in range((onto or -1) + 1, 3):
        (folder / f"p{number}.qcow2").unlink()
    await assert_restores(file, contents[3], tmp_path / "out")
    await assert_restores(folder / "p4.qcow2", contents[4], tmp_path / "out")
    plan = ImagePlan(disk.path, folder / "p5.qcow2", folder / "p4.qcow2", disk.format)
    assert (await back_up_image(plan)).incremental
    await assert_restores(folder / "p5.qcow2", bytes(disk.content), tmp_path / "out")
    if onto is None:
        await merge_into_parent(file, folder / "p4.qcow2")
        await assert_restores(folder / "p5.qcow2", bytes(disk.content), tmp_path / "out")


@pytest.mark.parametrize("onto", [None, 1])
async def test_cancelled_at_any_moment_it_leaves_nothing(
    chain: tuple[Disk, Path, list[bytes]], tmp_path: Path, onto: int | None
) -> None:
    _, folder, contents = chain
    base = None if onto is None else folder / f"p{onto}.qcow2"
    for delay in (0.0, 0.02, 0.05):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(delay):
                await rebuild_image(folder / "p3.qcow2", base, Storing(rate_limit=1024 * 1024))
        assert list(folder.glob("*.partial")) == []
    await assert_restores(folder / "p3.qcow2", contents[3], tmp_path / "out")


async def test_a_killed_one_is_made_again(
    chain: tuple[Disk, Path, list[bytes]], tmp_path: Path
) -> None:
    _, folder, contents = chain
    file = folder / "p3.qcow2"
    rebuilt_name(file).write_bytes(b"half a file")
    await rebuild_image(file, None)
    await take_place(file)
    await assert_all_restore(folder, contents, tmp_path / "out")


async def test_it_is_not_built_on_what_is_no_ancestor_nor_made_of_what_is_damaged(
    chain: tuple[Disk, Path, list[bytes]],
) -> None:
    _, folder, _ = chain
    with pytest.raises(ChainBroken, match="is not built on"):
        await rebuild_image(folder / "p2.qcow2", folder / "p4.qcow2")
    (folder / "p1.qcow2").write_bytes((folder / "p1.qcow2").read_bytes()[:70000])
    with pytest.raises(ChainBroken):
        await rebuild_image(folder / "p3.qcow2", None)
    assert list(folder.glob("*.partial")) == []
    assert read_backup_header(folder / "p3.qcow2").backing_name == "p2.qcow2"
