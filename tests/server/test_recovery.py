"""What a start puts right: sessions, the journal, points whose files are gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from holdfast.engine.errors import ChainBroken, ToolFailed
from holdfast.engine.files import FilesPlan, ResticRepository
from holdfast.server import journal, machine_backup, sessions, settlement, tables
from holdfast.server.backup_server import BackupServer, DirectoryInUseError
from holdfast.server.clock import milliseconds
from holdfast.server.journal import FILES_CHAIN, ChainKey, ForgetSnapshots, MakeImage, MakeSnapshot
from holdfast.server.manifest import snapshot_manifest_path
from holdfast.server.recovery import SHUT_DOWN, STOPPED_UNEXPECTEDLY
from holdfast.server.session_start import begin_session

from .lab import HandClock, Lab, running_lab, write_image, write_slow_image

OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]
Step = Callable[..., Awaitable[Any]]


async def image_key(lab: Lab) -> ChainKey:
    [backup] = await lab.rows(tables.backup)
    reference = (await lab.rows(tables.machine_point))[0].reference
    return ChainKey(backup.uid, reference)


async def declare(lab: Lab, key: ChainKey, work: journal.Work) -> None:
    await lab.write(lambda c: journal.declare(c, key, work, 0))


async def test_a_session_that_was_running_is_ended_with_the_reason(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab() as lab:
        job = await lab.create_job("a.raw")
        now = milliseconds(lab.clock.now())
        uid = await lab.write(lambda c: begin_session(c, job, now))
        await lab.write(lambda c: sessions.start_working(c, uid))

        async def killed(*_arguments: object) -> None:
            return None

        monkeypatch.setattr("holdfast.server.job_runner.JobRunner.stop_all", killed)
    async with open_lab() as lab:
        session = await lab.resource("BackupJobSession", uid)
        assert session.values["State"] == "Stopped"
        assert session.values["Result"] == "Failed"
        assert session.values["FailureMessage"] == STOPPED_UNEXPECTEDLY
        [task] = (await lab.tasks(uid)).values()
        assert task.values["Reason"] == STOPPED_UNEXPECTEDLY
        assert task.values["State"] == "Completed"


async def test_a_shut_down_ends_sessions_saying_so_and_the_server_goes_on_after(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        write_slow_image(lab.source("a.raw"))
        job = await lab.create_job("a.raw")
        session = await lab.begin(job)
        await lab.until_copying()
    assert not list(lab.repository_path.glob("*/*"))
    async with open_lab() as lab:
        ended = await lab.resource("BackupJobSession", session)
        assert ended.values["FailureMessage"] == SHUT_DOWN
        assert (await lab.run(job)).values["Result"] == "Success"


async def test_two_servers_never_share_a_directory(lab: Lab, clock: HandClock) -> None:
    with pytest.raises(DirectoryInUseError):
        await BackupServer(lab.folder / "server", "second", clock=clock).start()


async def test_the_folder_and_its_secrets_are_private(lab: Lab) -> None:
    folder = lab.folder / "server"
    assert folder.stat().st_mode & 0o777 == 0o700
    secrets = list((folder / "keys").iterdir())
    assert len(secrets) == 3
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


async def test_a_file_that_was_never_recorded_is_removed_and_recorded_ones_stay(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        content = write_image(lab.source("a.raw"), 1)
        await lab.run(await lab.create_job("a.raw"))
        key = await image_key(lab)
        [image] = lab.repository_path.glob("*/*.qcow2")
        names = ["b.qcow2", "b.qcow2.json", "b.qcow2.partial", "b.qcow2.difference.partial"]
        names.append("b.qcow2.unpacked.partial")
        for name in names:
            (image.parent / name).write_bytes(b"half made")
        await declare(lab, key, MakeImage(f"{image.parent.name}/b.qcow2"))
        # An entry that would remove a recorded file must never be carried out.
        await declare(lab, key, MakeImage(f"{image.parent.name}/{image.name}"))
    async with open_lab() as lab:
        assert {path.name for path in image.parent.iterdir()} == {image.name, f"{image.name}.json"}
        [point] = await lab.points("a")
        assert await lab.restored(point.uid) == content
        assert len(await lab.rows(tables.intent)) == 1


@pytest.mark.parametrize("step", ["back_up_image", "write_manifest"])
async def test_a_backup_that_was_cut_off_before_it_was_recorded_leaves_nothing(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real: Step = getattr(machine_backup, step)

    async def cut_off(*arguments: Any) -> Any:
        await real(*arguments)
        raise ToolFailed("a test cut this off")

    async def nothing(*_arguments: object) -> None:
        return None

    async with open_lab() as lab:
        job = await lab.create_job("a.raw")
        first = write_image(lab.source("a.raw"), 1)
        await lab.run(job)
        before = set(lab.repository_path.glob("*/*"))
        second = write_image(lab.source("a.raw"), 2)
        with monkeypatch.context() as patch:
            patch.setattr(machine_backup, step, cut_off)
            patch.setattr(settlement.Settlement, "try_settle", nothing)
            await lab.run(job)
        assert set(lab.repository_path.glob("*/*")) > before
        assert len(await lab.points("a")) == 1
    async with open_lab() as lab:
        assert set(lab.repository_path.glob("*/*")) == before
        assert (await lab.run(job)).values["Result"] == "Success"
        assert [await lab.restored(p.uid) for p in await lab.points("a")] == [first, second]


async def test_a_repository_that_is_away_delays_its_journal_and_not_the_start(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        write_image(lab.source("a.raw"), 1)
        job = await lab.create_job("a.raw")
        await lab.run(job)
        [image] = lab.repository_path.glob("*/*.qcow2")
        half_made = image.with_name("b.qcow2")
        half_made.write_bytes(b"half made")
        await declare(lab, await image_key(lab), MakeImage(f"{image.parent.name}/b.qcow2"))
    away = lab.repository_path.rename(lab.folder / "away")
    lab.repository_path.mkdir()
    async with open_lab() as lab:
        assert len(await lab.points("a")) == 1
        assert len(await lab.rows(tables.intent)) == 1
        session = await lab.run(job)
        assert "Is its disk or share mounted?" in session.values["FailureMessage"]
        lab.repository_path.rmdir()
        away.rename(lab.repository_path)
        assert half_made.exists()
        assert (await lab.run(job)).values["Result"] == "Success"
        assert not half_made.exists()
        assert await lab.rows(tables.intent) == []


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "step", ["remove_image", "merge_into_parent", "write_manifest", "remove_manifest"]
)
@pytest.mark.parametrize("grown", [False, True], ids=["merge", "drop"])
async def test_retention_that_was_cut_off_at_any_step_is_carried_on(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch, step: str, done: bool, grown: bool
) -> None:
    real: Step = getattr(settlement, step)

    async def cut_off(*arguments: Any) -> Any:
        if done:
            await real(*arguments)
        raise ToolFailed("a test cut this off")

    async with open_lab() as lab:
        job = await lab.create_job("a.raw", retention=1)
        write_image(lab.source("a.raw"), 1)
        await lab.run(job)
        content = write_image(lab.source("a.raw"), 2, size=(9 if grown else 8) * 1024 * 1024)
        with monkeypatch.context() as patch:
            patch.setattr(settlement, step, cut_off)
            await lab.run(job)
        [point] = await lab.points("a")
        assert await lab.restored(point.uid) == content
    async with open_lab() as lab:
        assert await lab.rows(tables.intent) == []
        [point] = await lab.points("a")
        assert point.values["PointType"] == "Full"
        assert await lab.restored(point.uid) == content
        [image] = lab.repository_path.glob("*/*.qcow2")
        assert [p.name for p in lab.repository_path.glob("*/*.json")] == [f"{image.name}.json"]
        third = write_image(lab.source("a.raw"), 3, size=(9 if grown else 8) * 1024 * 1024)
        assert (await lab.run(job)).values["Result"] == "Success"
        [point] = await lab.points("a")
        assert await lab.restored(point.uid) == third


async def test_what_cannot_be_settled_on_the_start_is_tried_again_soon(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.server.backup_server._SETTLE_DELAYS", (0.0, 0.5))
    async with open_lab() as lab:
        write_image(lab.source("a.raw"), 1)
        await lab.run(await lab.create_job("a.raw"))
        [image] = lab.repository_path.glob("*/*.qcow2")
        await declare(lab, await image_key(lab), MakeImage(f"{image.parent.name}/b.qcow2"))
    away = lab.repository_path.rename(lab.folder / "away")
    async with open_lab() as lab:
        assert len(await lab.rows(tables.intent)) == 1
        away.rename(lab.repository_path)

        async def settled() -> bool:
            return await lab.rows(tables.intent) == []

        await lab.until(settled)


async def test_a_snapshot_that_was_never_recorded_is_forgotten_and_recorded_ones_stay(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        lab.source("share").mkdir()
        (lab.source("share") / "letter").write_text("kept")
        await lab.run(await lab.create_job("share", kind="NasBackup"))
        [backup] = await lab.rows(tables.backup)
        point = uuid4()
        place = await lab.server.repositories.place_of(backup.uid)
        files = place.files()
        await files.back_up(FilesPlan(lab.source("share"), str(point), "host"))
        # A point that the catalog has lost, as when its folder was away at a start.
        lost = await files.back_up(FilesPlan(lab.source("share"), str(uuid4()), "host"))
        manifest = snapshot_manifest_path(files.folder.parent, lost.snapshot_id)
        manifest.write_text("{}")
        await declare(lab, ChainKey(backup.uid, FILES_CHAIN), MakeSnapshot(point))
    async with open_lab() as lab:
        [row] = await lab.rows(tables.machine_point)
        assert [s.id for s in await files.snapshots()] == [row.snapshot_id, lost.snapshot_id]
        assert manifest.exists()
        [restored] = await lab.server.restore.point(row.uid, lab.folder / "out")
        assert (restored.path / "letter").read_text() == "kept"
        assert await lab.rows(tables.intent) == []


async def test_snapshots_are_forgotten_although_damage_keeps_their_space(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        lab.source("share").mkdir()
        file = lab.source("share") / "file"
        file.write_bytes(random.Random(1).randbytes(2 << 20))
        await lab.run(await lab.create_job("share", kind="NasBackup"))
        [backup] = await lab.rows(tables.backup)
        files = (await lab.server.repositories.place_of(backup.uid)).files()
        # What is lost is not in the source any more, so no backup stores it anew.
        pack = max((files.folder / "data").rglob("*"), key=lambda path: path.lstat().st_size)
        pack.unlink()
        await files.set_aside([pack.name])
        file.write_bytes(b"new")
        surplus = await files.back_up(FilesPlan(lab.source("share"), str(uuid4()), "host"))
        with pytest.raises(ChainBroken):
            await files.prune()
        key = ChainKey(backup.uid, FILES_CHAIN)
        await declare(lab, key, ForgetSnapshots((surplus.snapshot_id,)))
    async with open_lab() as lab:
        [row] = await lab.rows(tables.machine_point)
        assert [each.id for each in await files.snapshots()] == [row.snapshot_id]
        assert await lab.rows(tables.intent) == []


async def test_what_a_killed_reader_has_left_of_a_lock_is_removed_on_the_next_start(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        lab.source("share").mkdir()
        await lab.run(await lab.create_job("share", kind="NasBackup"))
        [backup] = await lab.rows(tables.backup)
        place = await lab.server.repositories.place_of(backup.uid)
        lock = place.files().folder / "locks" / f"{'5' * 64}-tmp-1927057349"
        lock.write_bytes(b"half a lock")
    async with open_lab():
        assert not lock.exists()


async def test_snapshots_that_were_to_be_forgotten_are_forgotten_on_the_next_start(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*_arguments: object) -> None:
        raise ToolFailed("a test cut this off")

    async with open_lab() as lab:
        lab.source("share").mkdir()
        job = await lab.create_job("share", kind="NasBackup", retention=1)
        for number in range(2):
            (lab.source("share") / "number").write_text(str(number))
            with monkeypatch.context() as patch:
                patch.setattr(ResticRepository, "forget", cut_off)
                session = await lab.run(job)
        assert session.values["Result"] == "Warning"
        assert len(await lab.rows(tables.machine_point)) == 1
    async with open_lab() as lab:
        [row] = await lab.rows(tables.machine_point)
        place = await lab.server.repositories.place_of(row.backup_uid)
        assert [s.id for s in await place.files().snapshots()] == [row.snapshot_id]


async def damaged(lab: Lab) -> list[bool]:
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    return [row.damaged is not None for row in rows]


async def test_a_point_whose_file_somebody_took_away_is_shown_as_damaged(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        job = await lab.create_job("a.raw", retention=3)
        for seed in range(3):
            write_image(lab.source("a.raw"), seed)
            await lab.run(job)
        shown = await lab.points("a")
        file = await lab.resource("BackupFile", shown[1].relations["backup_file"])
    path = Path(file.values["FilePath"])
    await asyncio.to_thread(path.unlink)
    async with open_lab() as lab:
        points = await lab.points("a")
        assert [point.uid for point in points] == [point.uid for point in shown]
        reason = f"The backup file {path} is missing."
        assert [point.values.get("Damaged") for point in points] == [None, reason, reason]
        contents = []
        for seed in range(5, 9):
            contents.append(write_image(lab.source("a.raw"), seed))
            session = await lab.run(job)
            assert session.values["Result"] == ("Warning" if seed == 5 else "Success")
        assert [await lab.restored(p.uid) for p in await lab.points("a")] == contents[1:]


async def test_points_whose_folder_was_away_at_a_start_are_what_they_were(
    open_lab: OpenLab,
) -> None:
    kinds = ("VmRestorePoint", "BackupFile", "RestorePoint", "Backup")
    options = {"gfs": {"weekly": {"keep": 2}}}

    async def published(lab: Lab) -> list[Any]:
        found = [change for kind in kinds for change in await lab.resources(kind)]
        return sorted(((each.uid, each.values, each.relations) for each in found), key=str)

    async with open_lab() as lab:
        lab.source("share").mkdir()
        image = await lab.create_job("a.raw", options=options)
        share = await lab.create_job("share", job="Files", kind="NasBackup", options=options)
        contents = []
        for seed in range(2):
            contents.append(write_image(lab.source("a.raw"), seed))
            (lab.source("share") / "number").write_text(str(seed))
            await lab.run(image)
            await lab.run(share)
        before = await published(lab)
        kept_for = [row.kept_for for row in await lab.rows(tables.machine_point)]
        assert "Weekly" in kept_for
    # The repository itself is there: what is away is a part of it.
    folders = [path for path in lab.repository_path.iterdir() if path.is_dir()]
    for folder in folders:
        folder.rename(lab.folder / folder.name)
    async with open_lab() as lab:
        assert await damaged(lab) == [True] * 4
        assert [row.kept_for for row in await lab.rows(tables.machine_point)] == kept_for
    for folder in folders:
        (lab.folder / folder.name).rename(folder)
    async with open_lab() as lab:

        async def whole() -> bool:
            return not any(await damaged(lab))

        await lab.until(whole)
        assert await published(lab) == before
        assert [await lab.restored(p.uid) for p in await lab.points("a")] == contents
    # What cannot be read at all proves nothing, and keeps nothing from starting.
    [snapshots] = lab.repository_path.glob("*/files/snapshots")
    snapshots.rename(snapshots.with_name("aside"))
    snapshots.touch()
    async with open_lab() as lab:
        assert await damaged(lab) == [False] * 4


async def test_points_of_a_repository_that_is_away_are_still_shown(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        write_image(lab.source("a.raw"), 1)
        await lab.run(await lab.create_job("a.raw"))
    away = lab.repository_path.rename(lab.folder / "away")
    for mounted in (False, True):
        if mounted:
            lab.repository_path.mkdir()
        async with open_lab() as lab:
            assert await damaged(lab) == [False]
            assert len(await lab.points("a")) == 1
    # Nothing is written into the empty folder that it is to be mounted on.
    assert list(lab.repository_path.iterdir()) == []
    lab.repository_path.rmdir()
    away.rename(lab.repository_path)


async def test_runs_that_were_missed_are_not_made_up_for(
    open_lab: OpenLab, clock: HandClock
) -> None:
    async with open_lab() as lab:
        job = await lab.create_job("a.raw", schedule={"type": "Periodically", "every": 1})
    clock.advance(timedelta(hours=5, minutes=20))
    async with open_lab() as lab:
        assert await lab.resources("BackupJobSession") == []
        next_run = (await lab.resource("Job", job)).values["NextRun"]
        assert next_run == milliseconds(clock.now().replace(hour=15, minute=0))


async def test_a_repository_that_was_moved_is_found_again_with_its_points(
    tmp_path: Path, clock: HandClock
) -> None:
    async with running_lab(tmp_path, clock) as lab:
        content = write_image(lab.source("web.raw"), 1)
        await lab.run(await lab.create_job("web.raw"))
        uid = lab.repository
    lab.repository_path.rename(tmp_path / "elsewhere")

    server = BackupServer(tmp_path / "server", "backup01", clock=clock)
    await server.start()
    try:
        moved = Lab(server, clock, tmp_path)
        assert await server.add_repository("Main", tmp_path / "elsewhere") == uid
        (file,) = await moved.resources("BackupFile")
        assert str(file.values["FilePath"]).startswith(str(tmp_path / "elsewhere"))
        (point,) = await moved.points("web")
        assert await moved.restored(point.uid) == content
    finally:
        await server.stop()
