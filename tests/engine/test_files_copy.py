"""Snapshots copied to another restic repository."""

import asyncio
import filecmp
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engine.errors import ChainBroken, RepositoryUnavailable
from holdfast.engine.files import FilesPlan, ResticRepository

from .lab import MIB, wait_until


@pytest.fixture
def offsite(tmp_path: Path, repository_template: Path) -> ResticRepository:
    """Another repository, with another password, without snapshots."""
    shutil.copytree(repository_template, tmp_path / "offsite")
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_text("correct horse battery staple")
    after.write_text("another password")
    change = ["restic", "-q", "-r", tmp_path / "offsite", "-p", before, "key", "passwd"]
    subprocess.run([*change, "--new-password-file", after], check=True)
    return ResticRepository(tmp_path / "offsite", after)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "data").write_bytes(os.urandom(3 * MIB))
    (folder / "note").write_text("short")
    return folder


async def back_up(repository: ResticRepository, tree: Path, tag: str) -> str:
    return (await repository.back_up(FilesPlan(tree, tag, "machine"))).snapshot_id


async def test_a_copy_has_tag_and_content_of_its_original_and_outlives_it(
    made_repository: ResticRepository, offsite: ResticRepository, tree: Path, tmp_path: Path
) -> None:
    fractions: list[float] = []
    first = await back_up(made_repository, tree, "first")
    (tree / "note").write_text("longer than before")
    second = await back_up(made_repository, tree, "second")

    copies = [
        await offsite.copy_snapshot(made_repository, each, lambda p: fractions.append(p.fraction))
        for each in (first, second)
    ]

    assert fractions.count(1.0) >= 2
    assert fractions[-1] == 1.0
    shown = await offsite.snapshots()
    assert [(each.id, each.tags, each.original) for each in shown] == [
        (copies[0], ("first",), first),
        (copies[1], ("second",), second),
    ]
    # The same again is neither copied twice nor an error.
    assert await offsite.copy_snapshot(made_repository, second) == copies[1]
    assert len(await offsite.snapshots()) == 2
    shutil.rmtree(made_repository.folder)
    await offsite.check(read_data=True)
    await offsite.restore(copies[1], tmp_path / "restored")
    compared = filecmp.dircmp(tree, tmp_path / "restored")
    assert (compared.left_only, compared.right_only, compared.diff_files) == ([], [], [])


async def test_a_copy_of_a_copy_is_known_although_restic_names_the_first_original(
    made_repository: ResticRepository, offsite: ResticRepository, tree: Path, tmp_path: Path
) -> None:
    first = await back_up(made_repository, tree, "first")
    copy = await offsite.copy_snapshot(made_repository, first)
    shutil.copytree(made_repository.folder, tmp_path / "third")
    third = ResticRepository(tmp_path / "third", made_repository._restic.password_file)
    await third.forget([first])
    again = await third.copy_snapshot(offsite, copy)
    assert [(each.id, each.original) for each in await third.snapshots()] == [(again, first)]


async def test_damaged_data_is_noticed_and_leaves_no_snapshot(
    made_repository: ResticRepository, offsite: ResticRepository, tree: Path
) -> None:
    snapshot = await back_up(made_repository, tree, "t")
    packs = [path for path in (made_repository.folder / "data").rglob("*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[5000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)

    with pytest.raises(ChainBroken, match=f"{made_repository.folder} is damaged"):
        await offsite.copy_snapshot(made_repository, snapshot)

    assert await offsite.snapshots() == []


async def test_a_snapshot_that_is_gone_and_a_repository_that_is_away_are_told(
    made_repository: ResticRepository, offsite: ResticRepository
) -> None:
    with pytest.raises(ChainBroken):
        await offsite.copy_snapshot(made_repository, "0" * 64)
    made_repository.folder.rename(made_repository.folder.with_name("away"))
    with pytest.raises(RepositoryUnavailable, match=str(made_repository.folder)):
        await offsite.copy_snapshot(made_repository, "0" * 64)


async def test_a_stale_lock_of_the_source_does_not_stand_in_the_way(
    made_repository: ResticRepository, offsite: ResticRepository, tree: Path
) -> None:
    snapshot = await back_up(made_repository, tree, "t")
    # A prune that was killed leaves the lock that keeps everybody else out.
    script = f'exec restic -q -r "{made_repository.folder}" -p "$0" prune'
    password = made_repository.folder.with_name("password")
    locks = made_repository.folder / "locks"
    pruning = subprocess.Popen(["sh", "-c", script, password])  # noqa: ASYNC220
    wait_until(lambda: any(locks.iterdir()) or pruning.poll() is not None)
    pruning.kill()
    pruning.wait()

    assert await offsite.copy_snapshot(made_repository, snapshot)


async def test_a_copy_that_is_cancelled_leaves_no_snapshot_and_no_lock(
    made_repository: ResticRepository, offsite: ResticRepository, tree: Path
) -> None:
    (tree / "large").write_bytes(os.urandom(64 * MIB))
    snapshot = await back_up(made_repository, tree, "t")
    # A lock that is only being written has a temporary name, and locks nothing.
    locks: list[Callable[[], object]] = [
        lambda: [f for f in (offsite.folder / "locks").iterdir() if "-tmp-" not in f.name],
        lambda: [f for f in (made_repository.folder / "locks").iterdir() if "-tmp-" not in f.name],
    ]
    copying = asyncio.create_task(offsite.copy_snapshot(made_repository, snapshot))
    while not all(lock() for lock in locks):
        assert not copying.done()
        await asyncio.sleep(0.01)

    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying

    assert await offsite.snapshots() == []
    assert not any(lock() for lock in locks)
    assert await offsite.copy_snapshot(made_repository, snapshot)
