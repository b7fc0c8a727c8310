"""Copy jobs: points of other jobs, whole and provably so, in another repository."""

from __future__ import annotations

import asyncio
import filecmp
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from holdfast.engine.errors import ToolFailed
from holdfast.engine.files import ResticRepository
from holdfast.server import journal, machine_copy, points, settlement, tables
from holdfast.server.journal import ChainKey, MergeImages
from holdfast.server.manifest import read_manifest

from .lab import MIB, Lab, write_image, write_slow_image
from .offsite import Offsite, back_up, restored, result_of, until_copying

OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]


async def test_a_chain_is_copied_bit_by_bit_and_restores_without_its_source(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    contents = await back_up(lab, job, 1, 2, 3)
    copy = await offsite.copy_job(job)

    session = await lab.run(copy, "sync-job")

    assert result_of(session) == ("Success", None)
    assert session.values["JobType"] == "BackupCopy"
    assert session.values["Progress"] == 100
    assert "restore_point" not in session.relations
    [task] = (await lab.tasks(session.uid)).values()
    assert task.values["Result"] == "Success"
    assert task.values["TotalSize"] == 8 * MIB
    copied = await offsite.points()
    assert task.relations["point"] == copied[-1].uid
    sources = {path.name: path.read_bytes() for path in lab.repository_path.glob("*/*.qcow2")}
    copies = {path.name: path.read_bytes() for path in offsite.path.glob("*/*.qcow2")}
    assert copies == sources
    originals = [p for p in await lab.rows(tables.machine_point) if p.copied_from is None]
    assert {p.copied_from: p.created for p in copied} == {p.uid: p.created for p in originals}
    for point in await lab.resources("VmRestorePoint"):
        assert point.values["VmDisplayName"] == "a"
    assert len(await lab.resources("RestorePoint")) == 6
    for file in await lab.rows(tables.backup_file):
        [image] = [*lab.folder.glob(f"*/{file.path}")]
        manifest = read_manifest(image)
        assert (manifest.sha256, manifest.file_size) == (file.sha256, image.stat().st_size)
        assert manifest.backup == file.backup_uid

    shutil.rmtree(lab.repository_path)
    assert await restored(lab, copied) == contents


async def test_a_machine_is_restored_in_place_from_its_copy_when_all_else_is_lost(
    lab: Lab,
) -> None:
    offsite, job = (
        await Offsite.of(lab),
        await lab.create_job(sources=[{"path": str(lab.source("a.img")), "format": "raw"}]),
    )
    contents = await back_up(lab, job, 1, 2, machine="a.img")
    await lab.run(await offsite.copy_job(job))
    shutil.rmtree(lab.repository_path)
    lab.source("a.img").unlink()

    for point, content in zip(await offsite.points(), contents, strict=True):
        outcome = await lab.command("restore-machine", point.uid, overwrite=True)
        assert outcome.made is not None, outcome.message
        await lab.server.wait_until_idle()
        session = await lab.resource("RestoreSession", outcome.made.uid)
        assert session.values["Result"] == "Success", session.values
        assert lab.source("a.img").read_bytes() == content


async def test_the_next_session_copies_only_what_is_new(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    contents = await back_up(lab, job, 1, 2)
    copy = await offsite.copy_job(job)
    await lab.run(copy)
    before = offsite.files()
    copied: list[Path] = []
    real = machine_copy.copy_image

    async def noting(plan: Any, on_progress: Any) -> None:
        copied.append(plan.target)
        await real(plan, on_progress)

    monkeypatch.setattr(machine_copy, "copy_image", noting)

    assert result_of(nothing := await lab.run(copy)) == ("Success", None)
    assert await lab.tasks(nothing.uid) == {}
    assert (copied, offsite.files()) == ([], before)

    contents += await back_up(lab, job, 3)
    await lab.run(copy)
    assert len(copied) == 1
    assert before.items() < offsite.files().items()
    assert await restored(lab, await offsite.points()) == contents


async def test_a_directory_is_copied_with_its_points(lab: Lab) -> None:
    offsite, source = await Offsite.of(lab), lab.source("share")
    job = await lab.create_job("share", kind="NasBackup")
    trees = []
    for number in range(2):
        (source / "deep").mkdir(parents=True, exist_ok=True)
        (source / "deep" / f"{number}.bin").write_bytes(bytes([number]) * 100_000)
        await lab.run(job)
        trees.append(lab.folder / f"tree-{number}")
        shutil.copytree(source, trees[-1])
    copy = await offsite.copy_job(job, retention=3)

    session = await lab.run(copy)
    assert result_of(session) == ("Success", None)
    [task] = (await lab.tasks(session.uid)).values()
    assert task.values["TotalSize"] == 200_000
    shutil.rmtree(lab.repository_path)
    copied = await offsite.points("directory")
    assert len(copied) == 2
    for point, tree in zip(copied, trees, strict=True):
        target = lab.folder / f"restored-{uuid4()}"
        await lab.server.restore.point(point.uid, target)
        compared = filecmp.dircmp(target / "deep", tree / "deep")
        assert (compared.left_only, compared.right_only) == ([], [])
        assert not filecmp.cmpfiles(target / "deep", tree / "deep", compared.common, False)[1]


async def test_retention_of_the_copy_is_its_own(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw", retention=10)
    copy = await offsite.copy_job(job, retention=2)
    contents = await back_up(lab, job, 1, 2, 3)
    await lab.run(copy)
    assert await restored(lab, await offsite.points()) == contents[-2:]
    assert len(list(offsite.path.glob("*/*.qcow2"))) == 2

    # What retention took away is not copied again, and its merged full is built on.
    session = await lab.run(copy)
    assert await lab.tasks(session.uid) == {}
    contents += await back_up(lab, job, 4)
    assert result_of(await lab.run(copy)) == ("Success", None)
    assert await restored(lab, await offsite.points()) == contents[-2:]
    assert len(await lab.points("a")) == 6


async def test_the_source_may_merge_what_was_copied_before(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw", retention=2)
    copy = await offsite.copy_job(job, retention=10)
    contents = []
    for seed in range(1, 6):
        contents += await back_up(lab, job, seed)
        assert result_of(await lab.run(copy)) == ("Success", None)
    assert await restored(lab, await offsite.points()) == contents
    # A job that comes later begins with what the source has by then.
    later = await offsite.copy_job(job, name="Later")
    await lab.run(later)
    backups = {row.job_uid: row.uid for row in await lab.rows(tables.backup)}
    copied = [p for p in await lab.rows(tables.machine_point) if p.backup_uid == backups[later]]
    assert await restored(lab, sorted(copied, key=lambda p: p.created)) == contents[-2:]


async def test_all_backups_of_a_linked_repository_are_copied_and_no_copies(lab: Lab) -> None:
    offsite = await Offsite.of(lab)
    third = await lab.server.add_repository("Third", lab.folder / "third")
    jobs = [await lab.create_job(f"{name}.raw", job=name) for name in "ab"]
    for name, job in zip("ab", jobs, strict=True):
        await back_up(lab, job, 1, machine=f"{name}.raw")
    linked = {"linked_repositories": [str(lab.repository)]}
    await lab.run(await offsite.copy_job(**linked))
    assert {point.display_name for point in await offsite.points()} == {"a", "b"}

    linked = {"linked_repositories": [str(offsite.repository), str(lab.repository)]}
    session = await lab.run(
        await offsite.copy_job(name="Again", **linked | {"repository": str(third)})
    )
    assert set(await lab.tasks(session.uid)) == {"a", "b"}
    assert len(list((lab.folder / "third").glob("*/*.qcow2"))) == 2


@pytest.mark.parametrize("damaged", ["bits", "manifest", "missing"])
async def test_a_damaged_file_is_noticed_and_never_copied(lab: Lab, damaged: str) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    contents = await back_up(lab, job, 1, 2)
    newest = max(await lab.rows(tables.backup_file), key=lambda row: row.created)
    image = lab.repository_path / newest.path
    if damaged == "bits":
        content = bytearray(image.read_bytes())
        content[len(content) // 2] ^= 1
        image.write_bytes(content)
    elif damaged == "manifest":
        manifest = image.with_name(f"{image.name}.json")
        manifest.write_text(manifest.read_text().replace(newest.sha256, "0" * 64))
    else:
        image.unlink()
    copy = await offsite.copy_job(job)

    session = await lab.run(copy)

    result, message = result_of(session)
    assert result == "Failed"
    assert image.name in message
    assert {"bits": "damaged", "manifest": "manifest", "missing": "missing"}[damaged] in message
    assert await restored(lab, await offsite.points()) == contents[:1]
    assert image.name not in offsite.files()
    assert await lab.rows(tables.intent) == []


async def test_a_damaged_snapshot_is_noticed_and_never_copied(lab: Lab) -> None:
    offsite, source = await Offsite.of(lab), lab.source("share")
    source.mkdir()
    (source / "file.bin").write_bytes(write_image(lab.source("noise.raw"), 5))
    job = await lab.create_job("share", kind="NasBackup")
    await lab.run(job)
    pack = max(lab.repository_path.glob("*/files/data/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[1000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)

    session = await lab.run(await offsite.copy_job(job))

    result, message = result_of(session)
    assert result == "Failed"
    assert f"{lab.repository_path}" in message
    assert "damaged" in message
    assert await lab.rows(tables.intent) == []
    assert [row for row in await lab.rows(tables.machine_point) if row.copied_from] == []
    assert not list(offsite.path.glob("*/files/snapshots/*"))


async def slow_copy(lab: Lab) -> tuple[Offsite, UUID, UUID]:
    """Make a copy job that has a second's work to do; return it and the job that it copies."""
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    write_slow_image(lab.source("a.raw"))
    await lab.run(job)
    return offsite, job, await offsite.copy_job(job)


async def test_a_copy_that_is_stopped_leaves_nothing_and_the_next_one_is_whole(lab: Lab) -> None:
    offsite, _job, copy = await slow_copy(lab)
    session = await lab.begin(copy)
    await until_copying(lab, offsite)

    assert (await lab.command("stop-job", copy)).success
    await lab.server.wait_until_idle()

    ended = await lab.resource("BackupJobSession", session)
    assert result_of(ended) == ("Failed", "The session was stopped by operator.")
    assert offsite.files() == {}
    assert await lab.rows(tables.intent) == []
    assert result_of(await lab.run(copy)) == ("Success", None)
    assert len(await offsite.points()) == 1


@pytest.mark.parametrize("step", ["copy_image", "write_manifest"])
async def test_a_copy_that_was_cut_off_before_it_was_recorded_leaves_nothing(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(machine_copy, step)
    calls = 0

    async def cut_off(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        await real(*arguments)
        if calls == 2:
            raise ToolFailed("a test cut this off")

    async def nothing(*_arguments: object) -> None:
        return None

    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
        contents = await back_up(lab, job, 1, 2)
        copy = await offsite.copy_job(job)
        with monkeypatch.context() as patch:
            patch.setattr(machine_copy, step, cut_off)
            patch.setattr(settlement.Settlement, "try_settle", nothing)
            await lab.run(copy)
        assert len(list(offsite.path.glob("*/*.qcow2"))) == 2
        assert len(await offsite.points()) == 1
    async with open_lab() as lab:
        offsite = await Offsite.of(lab)
        assert len(list(offsite.path.glob("*/*.qcow2"))) == 1
        assert result_of(await lab.run(copy)) == ("Success", None)
        assert await restored(lab, await offsite.points()) == contents


async def test_a_snapshot_that_was_copied_and_not_recorded_is_removed_and_copied_again(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ResticRepository.copy_snapshot
    calls = 0

    async def cut_off(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        await real(*arguments, **more)
        if calls == 2:
            raise ToolFailed("a test cut this off")
        return (await arguments[0].snapshots())[-1].id

    async def nothing(*_arguments: object) -> None:
        return None

    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await lab.create_job("share", kind="NasBackup")
        lab.source("share").mkdir()
        for number in range(2):
            (lab.source("share") / "file").write_text(f"version {number}")
            await lab.run(job)
        copy = await offsite.copy_job(job)
        with monkeypatch.context() as patch:
            patch.setattr(ResticRepository, "copy_snapshot", cut_off)
            patch.setattr(settlement.Settlement, "try_settle", nothing)
            assert (await lab.run(copy)).values["Result"] == "Failed"
        assert len(list(offsite.path.glob("*/files/snapshots/*"))) == 2
    async with open_lab() as lab:
        offsite = await Offsite.of(lab)
        [kept] = await offsite.points("directory")
        assert [path.name for path in offsite.path.glob("*/files/snapshots/*")] == [
            kept.snapshot_id
        ]
        assert result_of(await lab.run(copy)) == ("Success", None)
        copies = await offsite.points("directory")
        for number, point in enumerate(copies):
            target = lab.folder / f"restored-{number}"
            await lab.server.restore.point(point.uid, target)
            assert (target / "file").read_text() == f"version {number}"
        assert len(copies) == 2


async def test_a_file_without_a_point_is_replaced_by_the_copy(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    contents = await back_up(lab, job, 1)
    copy = await offsite.copy_job(job)
    await lab.run(copy)
    [point] = await offsite.points()

    def lose(connection: Any) -> None:
        points.withdraw_point(connection, point.uid)
        points.remove_file(connection, point.backup_file_uid)

    await lab.write(lose)
    assert result_of(await lab.run(copy)) == ("Success", None)
    assert await restored(lab, await offsite.points()) == contents


async def test_a_merge_that_stands_on_the_source_is_done_before_its_files_are_copied(
    lab: Lab,
) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw", retention=1)
    write_image(lab.source("a.raw"), 1)
    await lab.run(job)
    with pytest.MonkeyPatch.context() as patch:

        async def fail(*_arguments: object) -> None:
            raise ToolFailed("a test cut this off")

        patch.setattr(settlement, "merge_into_parent", fail)
        [content] = [write_image(lab.source("a.raw"), 2)]
        await lab.run(job)
        copy = await offsite.copy_job(job)
        session = await lab.run(copy)
        assert session.values["Result"] == "Failed"
        assert "a test cut this off" in session.values["FailureMessage"]
    intents = await lab.rows(tables.intent)
    assert len(intents) == 1
    assert result_of(await lab.run(copy)) == ("Success", None)
    assert await lab.rows(tables.intent) == []
    assert await restored(lab, await offsite.points()) == [content]


async def test_a_point_that_retention_lets_go_of_while_it_is_copied_is_a_whole_copy(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw", retention=1)
    contents = await back_up(lab, job, 1)
    [original] = await lab.rows(tables.machine_point)
    copy = await offsite.copy_job(job)
    begun, go_on, real = asyncio.Event(), asyncio.Event(), machine_copy.copy_image

    async def slow(plan: Any, on_progress: Any) -> None:
        begun.set()
        await go_on.wait()
        await real(plan, on_progress)

    monkeypatch.setattr(machine_copy, "copy_image", slow)
    session = await lab.begin(copy)
    await begun.wait()
    contents.append(write_image(lab.source("a.raw"), 2))
    await lab.begin(job)

    async def gone() -> bool:
        return original.uid not in {row.uid for row in await lab.rows(tables.machine_point)}

    await lab.until(gone)
    go_on.set()
    await lab.server.wait_until_idle()
    assert result_of(await lab.resource("BackupJobSession", session)) == ("Success", None)
    copied = await offsite.points()
    assert copied[0].copied_from == original.uid
    assert await restored(lab, copied) == contents
    assert await lab.rows(tables.intent) == []


async def test_copies_of_many_machines_and_their_backups_do_not_wait_for_each_other_for_ever(
    lab: Lab,
) -> None:
    names = [f"m{number}.raw" for number in range(5)]
    offsite, job = await Offsite.of(lab), await lab.create_job(*names, retention=1)
    copy = await offsite.copy_job(job, retention=1)
    for seed in range(4):
        for name in names:
            write_image(lab.source(name), seed, size=4 * MIB)
        async with asyncio.timeout(60):
            await lab.begin(job)
            await lab.begin(copy)
            await lab.server.wait_until_idle()
        lab.clock.advance(timedelta(minutes=5))
    sessions = await lab.resources("BackupJobSession")
    assert {session.values["Result"] for session in sessions} == {"Success"}
    await lab.run(copy)
    assert len(await offsite.points()) == 5
    assert await lab.rows(tables.intent) == []


async def test_a_merge_noted_on_a_chain_holds_its_copy_back(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    await back_up(lab, job, 1, 2)
    await offsite.copy_job(job)
    files = sorted(await lab.rows(tables.backup_file), key=lambda row: row.created)
    key = ChainKey(files[0].backup_uid, (await lab.rows(tables.machine_point))[0].reference)
    work = MergeImages(full=files[0].uid, increment=files[1].uid)

    def noted(connection: Any) -> bool:
        before = machine_copy._merges(connection, key)
        intent = journal.declare(connection, key, work, 0)
        during = machine_copy._merges(connection, key)
        journal.strike(connection, intent)
        return (before, during) == (False, True)

    assert await lab.write(noted)
