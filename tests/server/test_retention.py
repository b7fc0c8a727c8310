"""Retention: old points go, and every point that stays is what it was."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdfast.engine.durability import sha256_of
from holdfast.engine.errors import ToolFailed
from holdfast.engine.file_check import check_file
from holdfast.server import journal, points, tables
from holdfast.server.journal import ChainKey, MergeImages
from holdfast.server.manifest import Manifest

from .lab import MIB, Lab, flip, write_image


async def test_the_oldest_increment_is_merged_and_every_point_stays_equal(lab: Lab) -> None:
    job = await lab.create_job("a.raw", retention=2)
    contents = []
    for seed in range(4):
        contents.append(write_image(lab.source("a.raw"), seed))
        assert (await lab.run(job)).values["Result"] == "Success"

    points = await lab.points("a")

    assert [p.values["PointType"] for p in points] == ["Full", "Increment"]
    assert [await lab.restored(p.uid) for p in points] == contents[2:]
    assert len(await lab.resources("RestorePoint")) == 2
    files = {f.uid: f for f in await lab.resources("BackupFile")}
    assert [files[p.relations["backup_file"]].values["FileType"] for p in points] == ["vbk", "vib"]
    assert len(list(lab.repository_path.glob("*/*.qcow2"))) == 2
    assert await lab.rows(tables.intent) == []


async def test_what_the_catalog_and_the_manifest_say_of_a_merged_file_is_true(lab: Lab) -> None:
    job = await lab.create_job("a.raw", retention=1)
    for seed in range(3):
        write_image(lab.source("a.raw"), seed)
        await lab.run(job)

    [row] = await lab.rows(tables.backup_file)
    path = lab.repository_path / row.path

    assert row.parent_uid is None
    assert row.file_size == path.stat().st_size
    assert row.sha256 == await sha256_of(path)
    [beside] = lab.repository_path.glob("*/*.json")
    manifest = msgspec.json.decode(beside.read_bytes(), type=Manifest)
    assert beside.name == f"{path.name}.json"
    assert (manifest.sha256, manifest.file_size, manifest.parent) == (
        row.sha256,
        row.file_size,
        None,
    )


async def test_a_full_that_nothing_is_built_on_is_dropped(lab: Lab) -> None:
    job = await lab.create_job("a.raw", retention=1)
    write_image(lab.source("a.raw"), 1)
    await lab.run(job)
    content = write_image(lab.source("a.raw"), 2, size=9 * MIB)

    await lab.run(job)

    [point] = await lab.points("a")
    assert await lab.restored(point.uid) == content
    assert len(list(lab.repository_path.glob("*/*.qcow2"))) == 1
    assert len(list(lab.repository_path.glob("*/*.json"))) == 1


async def test_surplus_snapshots_are_forgotten(lab: Lab) -> None:
    job = await lab.create_job("one", "two", kind="NasBackup", retention=1)
    for number in range(2):
        for name in ("one", "two"):
            lab.source(name).mkdir(exist_ok=True)
            (lab.source(name) / "number").write_text(f"{name} {number}")
        await lab.run(job)

    [restore_point] = await lab.resources("RestorePoint")

    assert len(await lab.rows(tables.machine_point)) == 2
    assert len(list(lab.repository_path.glob("*/files/snapshots/*"))) == 2
    restored = await lab.server.restore.point(restore_point.uid, lab.folder / "out")
    assert sorted((r.path / "number").read_text() for r in restored) == ["one 1", "two 1"]


async def test_a_retention_that_fails_is_a_warning_and_is_made_up_for_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_arguments: object) -> None:
        raise ToolFailed("qemu-img commit failed (exit code 1): a test.")

    job = await lab.create_job("a.raw", retention=1)
    write_image(lab.source("a.raw"), 1)
    await lab.run(job)
    with monkeypatch.context() as patch:
        patch.setattr("holdfast.server.settlement.merge_into_parent", failing)
        second = write_image(lab.source("a.raw"), 2)
        session = await lab.run(job)
        assert session.values["Result"] == "Warning"
        assert "could not be removed" in session.values["FailureMessage"]
        [point] = await lab.points("a")
        assert await lab.restored(point.uid) == second
        third = write_image(lab.source("a.raw"), 3)
        assert (await lab.run(job)).values["Result"] == "Warning"
        assert await lab.restored((await lab.points("a"))[-1].uid) == third
    fourth = write_image(lab.source("a.raw"), 4)

    session = await lab.run(job)

    assert session.values["Result"] == "Success"
    [point] = await lab.points("a")
    assert await lab.restored(point.uid) == fourth
    assert await lab.rows(tables.intent) == []
    assert len(list(lab.repository_path.glob("*/*.qcow2"))) == 1


async def test_what_could_not_be_proved_is_not_merged_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await lab.create_job("a.raw", retention=2)
    for seed in range(2):
        write_image(lab.source("a.raw"), seed)
        await lab.run(job)
    full = lab.repository_path / (await lab.rows(tables.backup_file))[0].path
    away = lab.folder / "away"

    async def leaving(path: Path, sha256: str) -> None:
        if not away.exists():
            lab.repository_path.rename(away)
        await check_file(path, sha256)

    with monkeypatch.context() as patch:
        patch.setattr("holdfast.server.settlement.check_file", leaving)
        write_image(lab.source("a.raw"), 2)
        session = await lab.run(job)
    assert session.values["Result"] == "Warning"
    assert "Is its disk or share mounted?" in session.values["FailureMessage"]
    assert await lab.rows(tables.intent) == []
    assert [row.damaged for row in await lab.rows(tables.machine_point)] == [None] * 3
    away.rename(lab.repository_path)
    flip(full)
    write_image(lab.source("a.raw"), 3)
    session = await lab.run(job)
    assert f"The backup file {full} is damaged" in session.values["FailureMessage"]
    assert all(row.damaged for row in await lab.rows(tables.machine_point))


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("which", [0, 1], ids=["full", "increment"])
@pytest.mark.parametrize("missing", [False, True])
async def test_a_merge_that_can_never_be_is_called_off(
    lab: Lab, caplog: pytest.LogCaptureFixture, missing: bool, which: int, begun: bool
) -> None:
    job = await lab.create_job("a.raw", retention=3)
    for seed in range(3):
        write_image(lab.source("a.raw"), seed)
        await lab.run(job)
    rows = sorted(await lab.rows(tables.backup_file), key=lambda row: row.created)
    first, *_ = await lab.points("a")
    key = ChainKey(rows[0].backup_uid, (await lab.rows(tables.machine_point))[0].reference)
    work = MergeImages(rows[0].uid, rows[1].uid, begun)
    await lab.write(lambda c: points.withdraw_point(c, first.uid))
    await lab.write(lambda c: journal.declare(c, key, work, 0))
    bad = lab.repository_path / rows[which].path
    if missing:
        bad.unlink()
    elif begun and which == 0:
        bad.write_bytes(b"half merged when the power went")
    else:
        flip(bad)

    session = await lab.run(job, "check-job")

    # The chain is not kept waiting, and what is damaged is told.
    assert await lab.rows(tables.intent) == []
    assert f"A merge of restore points was called off: The backup file {bad}" in caplog.text
    assert session.values["Result"] == "Warning"
    assert str(bad) in session.values["FailureMessage"]
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    assert [row.damaged is not None for row in rows] == [True, True, False]
    contents = []
    for seed in range(3, 6):
        contents.append(write_image(lab.source("a.raw"), seed))
        await lab.run(job)
    assert [await lab.restored(point.uid) for point in await lab.points("a")] == contents
    # What the merge was called off for goes with the last point that was built on it.
    assert len(list(lab.repository_path.glob("*/*.qcow2"))) == 3
    assert len(await lab.rows(tables.backup_file)) == 3


async def test_a_merge_that_another_file_hinders_is_called_off_before_it_begins(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    job = await lab.create_job("a.raw", retention=2)
    for seed in range(2):
        write_image(lab.source("a.raw"), seed)
        await lab.run(job)
    increment = max(lab.repository_path.glob("*/*.qcow2"))
    stray = increment.with_name("stray.qcow2")
    stray.write_bytes(increment.read_bytes())
    contents = []
    for seed in range(2, 4):
        contents.append(write_image(lab.source("a.raw"), seed))
        await lab.run(job)
    assert f"called off: {min(lab.repository_path.glob('*/*.qcow2'))} cannot be" in caplog.text
    assert await lab.rows(tables.intent) == []
    assert [await lab.restored(point.uid) for point in await lab.points("a")] == contents
    assert (await lab.run(job, "check-job")).values["Result"] == "Success"
