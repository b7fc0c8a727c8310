"""The health check: what is damaged is found, said, not restored, and not built on."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.engine.durability import sha256_of
from holdfast.engine.errors import ChainBroken, ToolFailed
from holdfast.engine.files import ResticRepository
from holdfast.server import machine_backup, points, tables
from holdfast.server.refusal import RefusedError

from .lab import Lab, flip, write_image
from .offsite import Offsite, restored

DAY = timedelta(days=1)
ACTIVE_FULL: dict[str, Any] = {"active_full": {"week": ["Monday"]}}


async def run_points(lab: Lab, job: Any, count: int) -> list[bytes]:
    contents = []
    for number in range(count):
        contents.append(write_image(lab.source("a.raw"), number))
        assert (await lab.run(job)).values["Result"] == "Success"
    return contents


async def files_of(lab: Lab) -> list[Path]:
    rows = sorted(await lab.rows(tables.backup_file), key=lambda row: row.created)
    return [lab.repository_path / row.path for row in rows]


async def damaged(lab: Lab) -> list[bool]:
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    return [row.damaged is not None for row in rows]


async def test_a_check_that_finds_nothing_says_how_much_it_read(lab: Lab) -> None:
    job = await lab.create_job("a.raw")
    await run_points(lab, job, 3)
    session = await lab.run(job, "check-job")
    assert session.values["Result"] == "Success"
    task = (await lab.tasks(session.uid))["a"]
    assert task.values["Reason"] == "All 3 files are as they were written."
    assert len(await lab.points("a")) == 3
    [row] = await lab.rows(tables.job)
    assert row.checked == session.values["CreationTimeUTC"]


@pytest.mark.parametrize("missing", [False, True])
async def test_a_bad_file_marks_all_that_need_it_and_a_full_is_made_at_once(
    lab: Lab, missing: bool
) -> None:
    job = await lab.create_job("a.raw", retention=3)
    contents = await run_points(lab, job, 3)
    files = await files_of(lab)
    if missing:
        shutil.move(files[1], lab.folder / "taken")
    else:
        flip(files[1])
    contents.append(write_image(lab.source("a.raw"), 3))

    session = await lab.run(job, "check-job")

    assert session.values["Result"] == "Warning"
    what = "is missing" if missing else "is damaged"
    assert f"The backup file {files[1]} {what}" in session.values["FailureMessage"]
    points = await lab.points("a")
    kinds = [p.values["PointType"] for p in points]
    assert kinds == ["Full", "Increment", "Increment", "Full"]
    assert await damaged(lab) == [False, True, True, False]
    for number in (0, 3):
        assert await lab.restored(points[number].uid) == contents[number]
    for number in (1, 2):
        with pytest.raises(RefusedError, match=f"is damaged. The backup file {files[1]}"):
            await lab.restored(points[number].uid)
        outcome = await lab.command("restore-machine", points[number].uid, new_name="b")
        assert not outcome.success
        assert "is only restored with force" in outcome.message
        assert not (await lab.command("mount-point", points[number].uid)).success

    # The chain goes on from the new full, and the next check has no news but the old.
    contents.append(write_image(lab.source("a.raw"), 4))
    assert (await lab.run(job)).values["Result"] == "Success"
    newest = (await lab.points("a"))[-1]
    assert newest.values["PointType"] == "Increment"
    assert await lab.restored(newest.uid) == contents[4]
    assert (await lab.run(job, "check-job")).values["Result"] == "Warning"
    # Points that cannot be restored go with the good ones of their time.
    for number in range(5, 8):
        contents.append(write_image(lab.source("a.raw"), number))
        assert (await lab.run(job)).values["Result"] == "Success"
    points = await lab.points("a")
    assert [await lab.restored(p.uid) for p in points] == contents[-3:]
    assert await damaged(lab) == [False] * 3
    assert (await lab.run(job, "check-job")).values["Result"] == "Success"


async def test_what_can_be_read_of_a_damaged_point_is_restored_with_force(lab: Lab) -> None:
    options = {"compression": "none"}
    job = await lab.create_job("a.raw", options=options)
    [content] = await run_points(lab, job, 1)
    [file] = await files_of(lab)
    flip(file)
    await lab.run(job, "check-job")
    point = (await lab.points("a"))[0].uid
    target = lab.folder / "forced"
    await lab.server.restore.point(point, target, force=True)
    found = target.read_bytes()
    assert len(found) == len(content)
    assert sum(a != b for a, b in zip(found, content, strict=True)) == 1
    outcome = await lab.command("restore-machine", point, new_name="b", force=True)
    assert outcome.success, outcome.message
    await lab.server.wait_until_idle()
    assert lab.source("b.raw").read_bytes() == found


async def test_damage_that_no_check_has_found_yet_is_never_restored_unasked(lab: Lab) -> None:
    # Not compressed, so that qemu-img has no way to see it.
    job = await lab.create_job("a.raw", options={"compression": "none"})
    [content] = await run_points(lab, job, 1)
    file = (await files_of(lab))[0]
    file.chmod(0o600)
    block = next(content[at : at + 512] for at in range(0, len(content), 65536) if content[at])
    data = file.read_bytes()
    file.write_bytes(data.replace(block, bytes([block[0] ^ 1]) + block[1:]))
    [point] = await lab.points("a")
    with pytest.raises(ChainBroken, match="its checksum is not the one"):
        await lab.restored(point.uid)
    await lab.server.restore.point(point.uid, lab.folder / "out", force=True)
    assert (lab.folder / "out").read_bytes() != content


async def test_marks_are_taken_back_when_the_files_are_there_again(lab: Lab) -> None:
    job = await lab.create_job("a.raw")
    contents = await run_points(lab, job, 2)
    full = (await files_of(lab))[0]
    shutil.move(full, lab.folder / "away")
    await lab.run(job, "check-job")
    assert await damaged(lab) == [True, True, False]
    shutil.move(lab.folder / "away", full)
    assert (await lab.run(job, "check-job")).values["Result"] == "Success"
    assert await damaged(lab) == [False] * 3
    points = await lab.points("a")
    assert [await lab.restored(p.uid) for p in points[:2]] == contents


@pytest.mark.parametrize("passing", [True, False])
@pytest.mark.parametrize("number", [None, errno.EIO, errno.EACCES])
async def test_only_what_is_read_wrong_twice_is_damaged(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, number: int | None, passing: bool
) -> None:
    job = await lab.create_job("a.raw")
    await run_points(lab, job, 2)
    first, _ = await files_of(lab)
    reads = 0

    async def read(path: Path, on_bytes: Any = None) -> str:
        nonlocal reads
        reads += path == first
        if path != first or (passing and reads > 1):
            return await sha256_of(path, on_bytes)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return hashlib.sha256(b"cut off").hexdigest()

    monkeypatch.setattr("holdfast.engine.file_check.sha256_of", read)
    session = await lab.run(job, "check-job")
    if number == errno.EACCES:
        # That says nothing about the file.
        assert session.values["Result"] == "Failed"
        assert "Permission denied" in session.values["FailureMessage"]
    else:
        assert session.values["Result"] == ("Success" if passing else "Warning")
        assert reads == 2
    is_damaged = not passing and number != errno.EACCES
    assert await damaged(lab) == ([True] * 2 + [False] if is_damaged else [False] * 2)


async def test_a_repository_that_is_away_damages_nothing(lab: Lab) -> None:
    job = await lab.create_job("a.raw")
    await run_points(lab, job, 2)
    away = lab.folder / "away"
    shutil.move(lab.repository_path, away)
    session = await lab.run(job, "check-job")
    assert session.values["Result"] == "Failed"
    shutil.move(away, lab.repository_path)
    assert await damaged(lab) == [False, False]
    [row] = await lab.rows(tables.job)
    assert row.checked is None


async def test_a_job_checks_its_backup_on_its_days_before_it_builds_on_it(lab: Lab) -> None:
    job = await lab.create_job("a.raw", options={"health_check": {"week": ["Wednesday"]}})
    contents = await run_points(lab, job, 2)
    flip((await files_of(lab))[1])
    lab.clock.advance(2 * DAY)
    contents.append(write_image(lab.source("a.raw"), 2))
    session = await lab.run(job)
    assert session.values["Result"] == "Warning"
    assert "A full backup was taken, because the newest" in session.values["FailureMessage"]
    assert await damaged(lab) == [False, True, False]
    assert await lab.restored((await lab.points("a"))[2].uid) == contents[2]
    # Not again on the same day.
    write_image(lab.source("a.raw"), 3)
    assert (await lab.run(job)).values["Result"] == "Success"


async def test_damaged_data_of_restic_is_found_and_stored_anew(lab: Lab) -> None:
    for name in ("one", "two"):
        lab.source(name).mkdir()
        (lab.source(name) / "file").write_bytes(name.encode() * 300_000)
    options = {"compression": "none"}
    job = await lab.create_job("one", "two", kind="NasBackup", options=options)
    assert (await lab.run(job)).values["Result"] == "Success"
    folder = next(lab.repository_path.glob("*/files/data"))
    # The pack with the content of "one"; that of "two" is another.
    packs = sorted(
        (p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime_ns
    )
    flip(next(p for p in packs if p.stat().st_size > 100_000))

    session = await lab.run(job, "check-job")

    tasks = await lab.tasks(session.uid)
    names = {name: task.values["Result"] for name, task in tasks.items()}
    assert sorted(names.values()) == ["Success", "Warning"]
    [bad] = [name for name, result in names.items() if result == "Warning"]
    assert "is damaged" in tasks[bad].values["Reason"]
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    assert len(rows) == 3  # the one that is damaged, the other, and the new one
    assert [row.display_name for row in rows if row.damaged] == [bad]
    assert rows[-1].display_name == bad
    await lab.server.restore.point(rows[-1].uid, lab.folder / "out")
    source = Path(rows[-1].source_path) / "file"
    assert (lab.folder / "out" / "file").read_bytes() == source.read_bytes()
    # What was stored anew makes the old point whole, too.
    assert (await lab.run(job, "check-job")).values["Result"] == "Success"
    assert not any(await damaged(lab))


async def test_a_damaged_increment_is_not_merged_into_a_good_full(lab: Lab) -> None:
    job = await lab.create_job("a.raw", retention=2)
    contents = await run_points(lab, job, 2)
    flip((await files_of(lab))[1])
    contents.append(write_image(lab.source("a.raw"), 2))

    session = await lab.run(job)

    assert session.values["Result"] == "Warning"
    assert "is damaged" in session.values["FailureMessage"]
    assert await damaged(lab) == [False, True, True]
    assert await lab.rows(tables.intent) == []
    points = await lab.points("a")
    assert await lab.restored(points[0].uid) == contents[0]
    # The next is a full; when there are two good ones after the damaged, these go.
    for number in (3, 4):
        contents.append(write_image(lab.source("a.raw"), number))
        await lab.run(job)
    points = await lab.points("a")
    assert [p.values["PointType"] for p in points] == ["Full", "Increment"]
    assert [await lab.restored(p.uid) for p in points] == contents[-2:]


async def test_nothing_is_merged_into_a_damaged_full(lab: Lab) -> None:
    job = await lab.create_job("a.raw", retention=2)
    contents = await run_points(lab, job, 2)
    flip((await files_of(lab))[0])
    contents.append(write_image(lab.source("a.raw"), 2))

    session = await lab.run(job)

    # After a merge, the damage would be part of what every later check finds as it was written.
    assert session.values["Result"] == "Warning"
    assert "is damaged" in session.values["FailureMessage"]
    assert await damaged(lab) == [True, True, True]
    assert await lab.rows(tables.intent) == []
    for number in (3, 4):
        contents.append(write_image(lab.source("a.raw"), number))
        await lab.run(job)
    points = await lab.points("a")
    assert [p.values["PointType"] for p in points] == ["Full", "Increment"]
    assert [await lab.restored(p.uid) for p in points] == contents[-2:]


async def test_a_damaged_file_that_no_point_has_is_not_merged(lab: Lab) -> None:
    job = await lab.create_job("a.raw", retention=3)
    contents = await run_points(lab, job, 3)
    [_, without_point, last] = await lab.points("a")
    await lab.write(lambda c: points.withdraw_point(c, without_point.uid))
    files = await files_of(lab)
    flip(files[1])
    before = [file.read_bytes() for file in files]
    assert (await lab.command("edit-job", job, retention=1)).success

    contents.append(write_image(lab.source("a.raw"), 3))
    session = await lab.run(job)

    # Merged, it would look whole, and the points on it, too.
    assert session.values["Result"] == "Warning"
    assert f"The backup file {files[1]} is damaged" in session.values["FailureMessage"]
    assert [file.read_bytes() for file in files] == before
    rows = {row.uid: row for row in await lab.rows(tables.machine_point)}
    assert rows[last.uid].damaged is not None
    assert await lab.rows(tables.intent) == []
    contents.append(write_image(lab.source("a.raw"), 4))
    assert (await lab.run(job)).values["Result"] == "Warning"
    newest = (await lab.points("a"))[-1]
    assert await lab.restored(newest.uid) == contents[-1]


@pytest.mark.parametrize("header", [False, True])
async def test_no_full_is_made_of_what_is_damaged(lab: Lab, header: bool) -> None:
    job = await lab.create_job("a.raw", options={"synthetic_full": {"week": ["Tuesday"]}})
    contents = await run_points(lab, job, 2)
    file = (await files_of(lab))[1]
    if header:
        file.write_bytes(b"nothing" + file.read_bytes()[7:])
    else:
        flip(file)
    lab.clock.advance(DAY)
    contents.append(write_image(lab.source("a.raw"), 2))
    session = await lab.run(job)
    # With a header that cannot be read, the backup itself sees that it cannot be built on.
    assert session.values["Result"] == "Warning"
    assert str(file) in session.values["FailureMessage"]
    assert await lab.rows(tables.intent) == []
    points = await lab.points("a")
    kinds = [p.values["PointType"] for p in points]
    assert kinds == ["Full", "Increment", "Full" if header else "Increment"]
    assert await damaged(lab) == ([False] * 3 if header else [False, True, True])
    contents.append(write_image(lab.source("a.raw"), 3))
    await lab.run(job)
    newest = (await lab.points("a"))[-1]
    assert newest.values["PointType"] == ("Increment" if header else "Full")
    assert await lab.restored(newest.uid) == contents[3]


async def test_damaged_points_are_not_copied_and_hinder_no_others(lab: Lab) -> None:
    offsite = await Offsite.of(lab)
    job = await lab.create_job("a.raw")
    contents = await run_points(lab, job, 2)
    flip((await files_of(lab))[1])
    contents.append(write_image(lab.source("a.raw"), 2))
    await lab.run(job, "check-job")
    copying = await offsite.copy_job(job)
    assert (await lab.run(copying)).values["Result"] == "Success"
    assert await restored(lab, await offsite.points()) == [contents[0], contents[2]]
    assert (await lab.run(copying, "check-job")).values["Result"] == "Success"


async def test_what_is_copied_onto_a_damaged_copy_is_not_taken_for_good(lab: Lab) -> None:
    offsite = await Offsite.of(lab)
    job = await lab.create_job("a.raw", retention=9)
    copying = await offsite.copy_job(job, retention=3)
    contents = await run_points(lab, job, 3)
    assert (await lab.run(copying)).values["Result"] == "Success"
    # The second is to be merged into the first, which shows that it is damaged.
    flip(sorted(offsite.path.glob("*/*.qcow2"))[1])
    for seed in (3, 4, 5, 6):
        write_image(lab.source("a.raw"), seed)
        await lab.run(job)
        session = await lab.run(copying)
        assert session.values["Result"] == "Warning"
        assert "is damaged" in session.values["FailureMessage"]

    points = await offsite.points()
    assert [point.damaged is not None for point in points] == [False] + [True] * 6
    # The good one stays, and what does not need the damaged ones is good again.
    assert await restored(lab, points[:1]) == contents[:1]
    assert (await lab.command("edit-job", job, options=ACTIVE_FULL)).success
    lab.clock.advance(7 * DAY)
    contents.append(write_image(lab.source("a.raw"), 7))
    await lab.run(job)
    assert (await lab.run(copying)).values["Result"] == "Success"
    newest = (await offsite.points())[-1]
    assert newest.damaged is None
    assert await restored(lab, [newest]) == contents[-1:]


async def damage_the_first_snapshot(lab: Lab) -> Any:
    """Make two points of a directory, and damage a file that only the first has; return the job.

    In the same pack is a file that the second needs, and that the source has no more.
    """
    share = lab.source("share")
    share.mkdir()
    for name, size in (("a", 300_000), ("b", 20_000), ("c", 20_000)):
        (share / name).write_bytes(name.encode() * size)
    job = await lab.create_job("share", kind="NasBackup", options={"compression": "none"})
    for name in "ab":
        assert (await lab.run(job)).values["Result"] == "Success"
        (share / name).unlink()
    [folder] = lab.repository_path.glob("*/files/data")
    # Wherever it begins, the largest file is in the middle.
    flip(max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size))
    return job


async def test_what_is_lost_with_a_damaged_pack_is_noted_as_damaged(lab: Lab) -> None:
    job = await damage_the_first_snapshot(lab)
    await lab.run(job, "check-job")
    assert await damaged(lab) == [True, False]
    # A backup comes after the check only where the newest point is damaged, or on the days of it.
    options = {"compression": "none", "health_check": {"week": ["Tuesday"]}}
    assert (await lab.command("edit-job", job, options=options)).success
    lab.clock.advance(DAY)
    assert (await lab.run(job)).values["Result"] == "Warning"
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    for row in rows:
        if row.damaged is None:
            await lab.server.restore.point(row.uid, lab.folder / f"out-{row.uid}")
    assert [row.damaged is not None for row in rows] == [True, True, False]


async def test_a_directory_is_backed_up_again_after_its_healing_was_interrupted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = lab.source("share")
    share.mkdir()
    (share / "a").write_bytes(b"a" * 300_000)
    job = await lab.create_job("share", kind="NasBackup", options={"compression": "none"})
    assert (await lab.run(job)).values["Result"] == "Success"
    [folder] = lab.repository_path.glob("*/files/data")
    flip(max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size))

    async def failing(*_arguments: object) -> None:
        raise ToolFailed("a test cut this off")

    with monkeypatch.context() as patch:
        patch.setattr(ResticRepository, "back_up", failing)
        assert (await lab.run(job, "check-job")).values["Result"] == "Failed"
    session = await lab.run(job)
    assert session.values["Result"] == "Warning", session.values
    assert await damaged(lab) == [True, False]
    newest = max(await lab.rows(tables.machine_point), key=lambda row: row.created)
    await lab.server.restore.point(newest.uid, lab.folder / "out")
    assert (lab.folder / "out" / "a").read_bytes() == b"a" * 300_000


async def restic_folder(lab: Lab) -> ResticRepository:
    [backup] = await lab.rows(tables.backup)
    return (await lab.server.repositories.place_of(backup.uid)).files()


async def test_a_snapshot_that_somebody_has_removed_is_found_missing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = lab.source("share")
    share.mkdir()
    job = await lab.create_job("share", kind="NasBackup")
    for number in range(3):
        (share / "number").write_text(str(number))
        await lab.run(job)
    files = await restic_folder(lab)
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    await files.forget([rows[0].snapshot_id])
    session = await lab.run(job, "check-job")
    assert session.values["Result"] == "Warning"
    reason = f"The snapshot {rows[0].snapshot_id} of {files.folder} is missing."
    assert reason in session.values["FailureMessage"]
    assert await damaged(lab) == [True, False, False]
    # The others share nothing with it that could be damaged: they are not read as a whole.
    with monkeypatch.context() as changed:
        changed.setattr(machine_backup, "unreadable", None)
        assert (await lab.run(job)).values["Result"] == "Success"
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    # The newest of them is stored anew at once.
    await files.forget([rows[3].snapshot_id])
    assert (await lab.run(job, "check-job")).values["Result"] == "Warning"
    assert await damaged(lab) == [True, False, False, True, False]
    newest = max(await lab.rows(tables.machine_point), key=lambda row: row.created)
    await lab.server.restore.point(newest.uid, lab.folder / "out")
    assert (lab.folder / "out" / "number").read_text() == "2"


async def test_packs_that_are_whole_are_left_alone(lab: Lab) -> None:
    share = lab.source("share")
    share.mkdir()
    job = await lab.create_job("share", kind="NasBackup", options={"compression": "none"})
    for name in ("a", "b"):
        (share / name).write_bytes(name.encode() * 300_000)
        await lab.run(job)
    files = await restic_folder(lab)
    # As a crash leaves it: restic names all packs, and finds no fault with them.
    indexes = {path: path.read_bytes() for path in (files.folder / "index").iterdir()}
    doing = "a test"
    await files._restic.call("rebuild-index", "--read-all-packs", doing=doing)
    for path, content in indexes.items():
        path.write_bytes(content)
    completed = await files._restic.call("check", "--no-lock", doing=doing)
    assert "contained in several indexes" in completed.stdout + completed.stderr
    assert await files.damaged_packs() == ()
    # Of those that are named beside one that is damaged, too.
    packs = [path for path in (files.folder / "data").rglob("*") if path.is_file()]
    bad = max(packs, key=lambda path: path.stat().st_size)
    flip(bad)
    assert await files.damaged_packs() == (bad.name,)
    assert (await lab.run(job, "check-job")).values["Result"] == "Warning"
    left = {path for path in (files.folder / "data").rglob("*") if path.is_file()}
    assert set(packs) - left == {bad}
    newest = max(await lab.rows(tables.machine_point), key=lambda row: row.created)
    await lab.server.restore.point(newest.uid, lab.folder / "out")
    for name in ("a", "b"):
        assert (lab.folder / "out" / name).read_bytes() == name.encode() * 300_000


async def test_a_point_that_takes_damaged_data_for_there_is_not_taken_for_good(lab: Lab) -> None:
    job = await damage_the_first_snapshot(lab)
    await lab.run(job, "check-job")
    assert await damaged(lab) == [True, False]
    # What is damaged is in the source again: restic has it already, and stores it no second time.
    (lab.source("share") / "a").write_bytes(b"a" * 300_000)
    session = await lab.run(job)
    assert session.values["Result"] == "Warning"
    assert "which the next backup stores anew" in session.values["FailureMessage"]
    assert (await damaged(lab))[-1]
    assert (await lab.run(job)).values["Result"] == "Warning"
    assert not (await damaged(lab))[-1]
    newest = max(await lab.rows(tables.machine_point), key=lambda row: row.created)
    await lab.server.restore.point(newest.uid, lab.folder / "out")
    assert (lab.folder / "out" / "a").read_bytes() == b"a" * 300_000
