"""File trees: every snapshot restored must be the tree as it was."""

import asyncio
import os
import random
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engine import files_folder
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    RepositoryUnavailable,
    SourceMissing,
    SourceUnreadable,
)
from holdfast.engine.files import FilesPlan, FilesResult, ResticRepository
from holdfast.engine.files_folder import staging_folder
from holdfast.engine.progress import Progress

from .lab import MIB, Finished, processes

# ruff: noqa: ASYNC240 - a test has the event loop for itself


def described(tree: Path) -> dict[str, tuple[object, ...]]:
    """All that must come back: names, kinds, modes, times, owners, links and contents."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(tree):
        for name in folders + files:
            path = Path(place) / name
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                content = path.readlink()
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            facts = status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content
            found[os.fspath(path.relative_to(tree))] = facts
    return found


def make_tree(tree: Path) -> Path:
    chance = random.Random(5)
    (tree / "deep" / "er" / "est").mkdir(parents=True)
    (tree / "empty folder").mkdir()
    (tree / "empty file").touch()
    (tree / "deep" / "data").write_bytes(chance.randbytes(3 * MIB))
    (tree / "deep" / "er" / "est" / "note").write_text("short")
    (tree / "secret").write_text("mine")
    (tree / "secret").chmod(0o600)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o4755)
    (tree / "link").symlink_to("deep/data")
    (tree / "dangling").symlink_to("/nowhere/at all")
    (tree / "twin").hardlink_to(tree / "secret")
    for name in ("-rf", "new\nline", "tab\t", "ünï ☃", "*", "a\\b", "quote'\"", " ", "x" * 255):
        (tree / name).write_text(name)
    Path(os.fsdecode(os.fsencode(tree) + b"/not-\xff-utf8")).write_text("bytes")
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


async def back_up(repository: ResticRepository, tree: Path, tag: str) -> FilesResult:
    return await repository.back_up(FilesPlan(tree, tag, "machine"))


async def test_what_a_restore_puts_together_is_not_backed_up(
    restic_repository: ResticRepository, tmp_path: Path
) -> None:
    tree = tmp_path / "we*ird [1]"
    staging = staging_folder(tree, "0123456789abcdef" * 2)
    staging.mkdir(parents=True)
    (staging / "half").write_text("restored")
    (tree / ".holdfast-restore-mine").write_text("not ours")
    (tmp_path / "also").symlink_to(tree)
    await restic_repository.ensure()
    for source in (tree, tmp_path / "also"):
        result = await back_up(restic_repository, source, "t")
        assert result.total_files == 1
    await restic_repository.restore(result.snapshot_id, tmp_path / "restored")
    assert [path.name for path in (tmp_path / "restored").iterdir()] == [".holdfast-restore-mine"]


async def test_a_full_and_five_more_snapshots_restore_exactly(
    restic_repository: ResticRepository, tree: Path, tmp_path: Path
) -> None:
    changes: list[Callable[[], object]] = [
        lambda: (tree / "secret").write_text("changed"),
        lambda: (tree / "deep").rename(tree / "moved"),
        lambda: shutil.rmtree(tree / "moved" / "er"),
        lambda: (tree / "run").chmod(0o500),
        lambda: [(tree / f"many {number}").write_bytes(os.urandom(5000)) for number in range(50)],
    ]
    await restic_repository.ensure()
    await restic_repository.ensure()
    results = [await back_up(restic_repository, tree, "t0")]
    states = [described(tree)]
    for number, change in enumerate(changes, start=1):
        change()
        results.append(await back_up(restic_repository, tree, f"t{number}"))
        states.append(described(tree))

    assert results[0].added_size >= 3 * MIB
    assert all(result.added_size < MIB for result in results[1:])
    assert results[0].total_size >= 3 * MIB
    regular = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    assert results[5].total_files == len(regular)
    listed = await restic_repository.snapshots()
    assert [snapshot.id for snapshot in listed] == [result.snapshot_id for result in results]
    assert [snapshot.tags for snapshot in listed] == [(f"t{number}",) for number in range(6)]

    await restic_repository.forget([results[0].snapshot_id, results[2].snapshot_id])
    await restic_repository.prune()
    await restic_repository.check(read_data=True)
    for number in (1, 3, 4, 5):
        target = tmp_path / f"restored {number}"
        await restic_repository.restore(results[number].snapshot_id, target)
        assert described(target) == states[number]
    with pytest.raises(ChainBroken, match="does not hold that snapshot"):
        await restic_repository.restore(results[0].snapshot_id, tmp_path / "gone")


async def test_progress_never_goes_back_and_ends_at_one(
    made_repository: ResticRepository, tree: Path
) -> None:
    seen: list[Progress] = []
    result = await made_repository.back_up(FilesPlan(tree, "t", "machine"), seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert seen[-1] == Progress(1.0, result.total_size, result.total_size)


async def test_a_missing_parent_is_a_warning_not_a_failure(
    made_repository: ResticRepository, tree: Path
) -> None:
    first = await back_up(made_repository, tree, "a")
    plan = FilesPlan(tree, "b", "machine", first.snapshot_id)
    assert (await made_repository.back_up(plan)).warnings == ()
    plan = FilesPlan(tree, "c", "machine", "0" * 64)
    (warning,) = (await made_repository.back_up(plan)).warnings
    assert "is gone" in warning


async def test_a_source_without_files_is_warned_about_and_an_empty_one_refused(
    made_repository: ResticRepository, tmp_path: Path
) -> None:
    source = tmp_path / "share"
    source.mkdir()
    with pytest.raises(SourceUnreadable, match="mounted"):
        await back_up(made_repository, source, "a")
    (source / "folder").mkdir()
    result = await back_up(made_repository, source, "b")
    assert result.warnings == (f"{source} holds no files.",)


async def test_snapshots_are_forgotten_once_and_again(
    made_repository: ResticRepository, tree: Path
) -> None:
    kept = await back_up(made_repository, tree, "kept")
    lost = await back_up(made_repository, tree, "lost")
    for _ in range(2):
        await made_repository.forget([lost.snapshot_id])
        found = [snapshot.id for snapshot in await made_repository.snapshots()]
        assert found == [kept.snapshot_id]


UNREADABLE = """
    import asyncio, sys
    from pathlib import Path
    from holdfast.engine.errors import SourceUnreadable
    from holdfast.engine.files import FilesPlan, ResticRepository

    async def main():
        repository = ResticRepository(Path(sys.argv[1]), Path(sys.argv[2]))
        try:
            await repository.back_up(FilesPlan(Path(sys.argv[3]), "t", "machine"))
        except SourceUnreadable as error:
            print(error)
        assert await repository.snapshots() == []

    asyncio.run(main())
"""


async def test_a_file_that_cannot_be_read_fails_the_backup_and_leaves_no_snapshot(
    made_repository: ResticRepository,
    tree: Path,
    tmp_path: Path,
    run_script: Callable[..., Finished],
) -> None:
    (tree / "secret").chmod(0)
    # Root reads everything, unless it is without the capabilities that let it.
    privileges = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={privileges}", f"--inh-caps={privileges}"]
    done = run_script(
        UNREADABLE,
        made_repository.folder,
        tmp_path / "password",
        tree,
        prefix=prefix if os.geteuid() == 0 else (),
    )
    assert done.exit_code == 0, done.output
    assert f"Not all of {tree} could be read" in done.output
    assert "secret: Permission denied" in done.output


async def test_a_source_that_is_no_folder_is_named(
    made_repository: ResticRepository, tree: Path
) -> None:
    with pytest.raises(SourceMissing, match="nowhere"):
        await back_up(made_repository, tree / "nowhere", "t")
    with pytest.raises(SourceUnreadable, match="not a folder"):
        await back_up(made_repository, tree / "secret", "t")


async def test_a_wrong_password_or_a_missing_one_is_told(
    made_repository: ResticRepository, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(RepositoryUnavailable, match="does not open with the password"):
        await made_repository.snapshots()
    (tmp_path / "password").unlink()
    with pytest.raises(RepositoryUnavailable, match="password file"):
        await made_repository.snapshots()


async def test_a_missing_repository_is_told(
    restic_repository: ResticRepository, tree: Path
) -> None:
    with pytest.raises(RepositoryUnavailable, match="mounted"):
        await restic_repository.snapshots()
    with pytest.raises(RepositoryUnavailable, match="mounted"):
        await back_up(restic_repository, tree, "t")


async def test_a_repository_gone_in_the_middle_is_not_reported_as_success(
    made_repository: ResticRepository, tree: Path
) -> None:
    (tree / "large").write_bytes(os.urandom(64 * MIB))
    folder = made_repository.folder

    def unplug(_progress: Progress) -> None:
        if not folder.with_name("unplugged").exists():
            folder.rename(folder.with_name("unplugged"))

    with pytest.raises(RepositoryUnavailable, match=r"mounted|replaced"):
        await made_repository.back_up(FilesPlan(tree, "t", "machine"), unplug)


async def test_work_waits_for_another_restic_to_let_go_of_its_lock(
    made_repository: ResticRepository, tree: Path
) -> None:
    (tree / "large").write_bytes(os.urandom(64 * MIB))
    backup = asyncio.create_task(back_up(made_repository, tree, "t"))
    while not list((made_repository.folder / "locks").iterdir()):
        await asyncio.sleep(0.005)
    await made_repository.prune()
    assert backup.done(), "the prune went on beside a backup"
    await backup
    assert len(await made_repository.snapshots()) == 1


async def test_a_lock_that_stays_is_told_and_a_stale_one_removed(
    made_repository: ResticRepository, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engine.restic.LOCK_PATIENCE", 0)
    (tree / "large").write_bytes(os.urandom(64 * MIB))
    backup = asyncio.create_task(back_up(made_repository, tree, "t"))
    # A lock is written under another name first, and is none until it has its own.
    while not [
        lock for lock in (made_repository.folder / "locks").iterdir() if "-tmp-" not in lock.name
    ]:
        await asyncio.sleep(0.005)
    holding = processes("restic", made_repository.folder)
    for process in holding:
        # However long the prune takes to begin, the lock is still there.
        os.kill(process, signal.SIGSTOP)
    with pytest.raises(RepositoryUnavailable, match="locked by another restic"):
        await made_repository.prune()
    for process in holding:
        os.kill(process, signal.SIGKILL)
    with pytest.raises(EngineError, match="signal 9"):
        await backup
    await made_repository.unlock()
    await made_repository.sweep_temporary()
    await made_repository.prune()
    assert not list(made_repository.folder.rglob("*-tmp-*"))


async def test_an_init_killed_before_it_wrote_the_config_is_made_again(
    made_repository: ResticRepository, tree: Path
) -> None:
    # The worst moment: the key is there, the config that it belongs to is not. A second init on
    # top would leave a repository that no key opens.
    (made_repository.folder / "config").unlink()
    await made_repository.ensure()
    await back_up(made_repository, tree, "t")


async def test_an_init_killed_by_a_signal_is_made_again(
    restic_repository: ResticRepository,
) -> None:
    making = asyncio.create_task(restic_repository.ensure())
    while not processes("restic", restic_repository.folder):
        await asyncio.sleep(0.001)
    for process in processes("restic", restic_repository.folder):
        os.kill(process, signal.SIGKILL)
    with pytest.raises(EngineError, match="signal 9"):
        await making
    await restic_repository.ensure()
    assert await restic_repository.snapshots() == []


@pytest.mark.parametrize("leftover", ["keys/" + "a" * 64, "locks/" + "b" * 64, "config-tmp-123"])
def test_what_an_interrupted_init_left_is_cleared(tmp_path: Path, leftover: str) -> None:
    path = tmp_path / "restic" / leftover
    path.parent.mkdir(parents=True)
    path.write_text("half")
    assert files_folder.prepare(tmp_path / "restic") is False
    assert not path.exists()


@pytest.mark.parametrize("precious", ["data/00/" + "a" * 64, "snapshots/" + "b" * 64, "holiday"])
async def test_a_folder_with_data_but_no_config_is_never_made_again(
    restic_repository: ResticRepository, precious: str
) -> None:
    path = restic_repository.folder / precious
    path.parent.mkdir(parents=True)
    path.write_text("backup data")
    with pytest.raises(RepositoryUnavailable):
        await restic_repository.ensure()
    assert path.read_text() == "backup data"


async def test_a_restore_target_in_use_is_left_alone(
    made_repository: ResticRepository, tree: Path, tmp_path: Path
) -> None:
    result = await back_up(made_repository, tree, "t")
    with pytest.raises(EngineError, match="not empty"):
        await made_repository.restore(result.snapshot_id, tree)
    target = tmp_path / "target"
    target.mkdir()
    restore = asyncio.create_task(made_repository.restore(result.snapshot_id, target))
    while not list(target.iterdir()):
        await asyncio.sleep(0.001)
    restore.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restore
    assert list(target.iterdir()) == []


async def test_rotten_data_is_found_by_check_and_stops_a_restore(
    made_repository: ResticRepository, tree: Path, tmp_path: Path
) -> None:
    result = await back_up(made_repository, tree, "t")
    packs = [path for path in (made_repository.folder / "data").rglob("*") if path.is_file()]
    largest = max(packs, key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    with largest.open("r+b") as file:
        file.seek(50_000)
        file.write(bytes(1000))
    with pytest.raises(ChainBroken):
        await made_repository.check(read_data=True)
    target = tmp_path / "target"
    with pytest.raises(ChainBroken):
        await made_repository.restore(result.snapshot_id, target)
    assert list(target.iterdir()) == []
