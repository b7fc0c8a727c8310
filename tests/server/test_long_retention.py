"""Points that are kept for long, fulls made of what there is: every point stays what it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from holdfast.engine.durability import sha256_of
from holdfast.engine.errors import NoSpace
from holdfast.engine.image_rebuild import rebuild_image, rebuilt_name, take_place
from holdfast.server import journal, tables
from holdfast.server.clock import milliseconds
from holdfast.server.journal import ChainKey, RebuildImage
from holdfast.server.manifest import read_manifest

from .lab import Lab, flip, write_image

DAY = timedelta(days=1)


async def run_days(lab: Lab, job: UUID, days: range) -> dict[int, bytes]:
    """Run a job once a day; return what each point made must hold, by its time."""
    contents = {}
    for day in days:
        content = write_image(lab.source("a.raw"), day)
        session = await lab.run(job)
        assert session.values["Result"] == "Success", session.values.get("FailureMessage")
        contents[session.values["CreationTimeUTC"]] = content
        lab.clock.advance(DAY - timedelta(minutes=10))
    return contents


async def assert_all_true(lab: Lab, contents: dict[int, bytes]) -> list[str]:
    """Every point that is shown restores what it should, and all that is said of files is so."""
    points = await lab.points("a")
    for point in points:
        assert await lab.restored(point.uid) == contents[point.values["CreationTimeUTC"]]
    files = {row.uid: row for row in await lab.rows(tables.backup_file)}
    for row in files.values():
        path = lab.repository_path / row.path
        parent = None if row.parent_uid is None else Path(files[row.parent_uid].path).name
        manifest = read_manifest(path)
        assert (row.sha256, row.file_size) == (await sha256_of(path), path.stat().st_size)
        assert (manifest.sha256, manifest.parent) == (row.sha256, parent)
    assert {p.name for p in lab.repository_path.glob("*/*.qcow2*")} == {
        name
        for row in files.values()
        for name in (Path(row.path).name, f"{Path(row.path).name}.json")
    }
    assert await lab.rows(tables.intent) == []
    return [point.values["PointType"] for point in points]


async def test_a_synthetic_full_is_made_without_reading_the_source(lab: Lab) -> None:
    # From a Monday on; the full is due on Wednesday.
    job = await lab.create_job("a.raw", options={"synthetic_full": {"week": ["Wednesday"]}})
    contents = await run_days(lab, job, range(5))
    kinds = await assert_all_true(lab, contents)
    assert kinds == ["Full", "Increment", "Full", "Increment", "Increment"]
    # The chain goes on from there, and what is before it can go without it.
    outcome = await lab.command("edit-job", job, retention=2, options={})
    assert outcome.success
    contents |= await run_days(lab, job, range(5, 7))
    assert await assert_all_true(lab, contents) == ["Full", "Increment"]


async def test_points_are_kept_by_days(lab: Lab) -> None:
    job = await lab.create_job("a.raw", retention=1, retention_days=3)
    contents = await run_days(lab, job, range(6))
    assert await assert_all_true(lab, contents) == ["Full", "Increment", "Increment"]
    lab.clock.advance(6 * DAY)
    contents |= await run_days(lab, job, range(6, 7))
    assert await assert_all_true(lab, contents) == ["Full"]


async def test_a_point_of_each_week_is_kept_as_a_full_by_itself(lab: Lab) -> None:
    options = {"gfs": {"weekly": {"keep": 2, "day": "Wednesday"}, "yearly": {"keep": 1}}}
    job = await lab.create_job("a.raw", retention=2, options=options)
    contents = await run_days(lab, job, range(12))

    await assert_all_true(lab, contents)
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    files = {row.uid: row for row in await lab.rows(tables.backup_file)}
    monday = rows[0].created
    days = [round((row.created - monday) / DAY.total_seconds() / 1000) for row in rows]
    # The first of the year (and of its week); Wednesday; the next Wednesday; the newest two.
    assert days == [0, 2, 9, 10, 11]
    assert [row.kept_for for row in rows] == ["Yearly", "Weekly", "Weekly", None, None]
    full = [files[row.backup_file_uid].parent_uid is None for row in rows]
    assert full == [True, True, True, False, False]
    # Nothing else is needed for what is kept for long.
    for row in rows[3:]:
        (lab.repository_path / files[row.backup_file_uid].path).unlink()
    for row in rows[:3]:
        assert await lab.restored(row.uid) == contents[row.created]


async def test_what_is_between_two_points_that_stay_is_cut_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await lab.create_job("a.raw", retention=2, options={"gfs": {"yearly": {"keep": 1}}})
    contents = await run_days(lab, job, range(5))
    assert await assert_all_true(lab, contents) == ["Full", "Increment", "Increment"]

    # A full that cannot be made is told, and nothing that should go stays for it.
    async def failing(*_arguments: object) -> None:
        raise NoSpace("No space left: a test.")

    monkeypatch.setattr("holdfast.server.settlement.rebuild_image", failing)
    options: dict[str, Any] = {"synthetic_full": {"week": ["Saturday"]}}
    assert (await lab.command("edit-job", job, options=options, retention=3)).success
    write_image(lab.source("a.raw"), 9)
    session = await lab.run(job)
    assert session.values["Result"] == "Warning"
    assert "A full could not be made: No space left: a test." in session.values["FailureMessage"]
    assert len(await lab.points("a")) == 3


@pytest.mark.parametrize(("full", "swapped"), [(True, False), (True, True), (False, True)])
async def test_killed_while_a_file_is_written_anew(
    open_lab: Callable[[], AbstractAsyncContextManager[Lab]], swapped: bool, full: bool
) -> None:
    async with open_lab() as lab:
        job = await lab.create_job("a.raw")
        contents = await run_days(lab, job, range(4))
        rows = sorted(await lab.rows(tables.backup_file), key=lambda row: row.created)
        [backup] = await lab.rows(tables.backup)
        [source] = await lab.rows(tables.job_object)
        onto = None if full else rows[0]
        key = ChainKey(backup.uid, source.reference)
        work = RebuildImage(rows[2].uid, onto and onto.uid)
        now = milliseconds(lab.clock.now())
        await lab.write(lambda c: journal.declare(c, key, work, now))
        file = lab.repository_path / rows[2].path
        await rebuild_image(file, onto and lab.repository_path / onto.path)
        if swapped:
            await take_place(file)
        else:
            rebuilt_name(file).write_bytes(b"half")
    async with open_lab() as lab:
        await lab.server.wait_until_idle()
        kinds = await assert_all_true(lab, contents)
        third = "Full" if swapped and full else "Increment"
        assert kinds == ["Full", "Increment", third, "Increment"]
        after = {row.uid: row.parent_uid for row in await lab.rows(tables.backup_file)}
        assert after[rows[2].uid] == ((onto and onto.uid) if swapped else rows[1].uid)
        contents |= await run_days(lab, job, range(4, 5))
        await assert_all_true(lab, contents)


async def test_what_is_kept_for_long_is_not_removed_when_it_is_damaged(lab: Lab) -> None:
    options = {"gfs": {"weekly": {"keep": 2, "day": "Wednesday"}}}
    job = await lab.create_job("a.raw", retention=2, options=options)
    contents = await run_days(lab, job, range(12))
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    assert [row.kept_for for row in rows] == ["Weekly", "Weekly", None, None]
    files = {row.uid: row for row in await lab.rows(tables.backup_file)}
    file = lab.repository_path / files[rows[1].backup_file_uid].path
    flip(file)
    assert (await lab.run(job, "check-job")).values["Result"] == "Warning"
    contents |= await run_days(lab, job, range(12, 14))
    after = {row.uid: row for row in await lab.rows(tables.machine_point)}
    assert [after[row.uid].kept_for for row in rows[:2]] == ["Weekly", "Weekly"]
    assert after[rows[1].uid].damaged is not None
    assert after[rows[0].uid].damaged is None
    assert file.exists()
    # It goes when its weeks are over.
    contents |= await run_days(lab, job, range(14, 28))
    assert not file.exists()
    await assert_all_true(lab, contents)
