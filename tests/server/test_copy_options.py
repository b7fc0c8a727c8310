"""Options of copy jobs: how copies are stored, kept and checked."""

from __future__ import annotations

import subprocess
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from holdfast.engine.durability import sha256_of
from holdfast.server import tables

from .lab import MIB, Lab, flip, write_image
from .offsite import Offsite, restored
from .test_long_retention import DAY

JobOptions = dict[str, Any]


def is_compressed(file: Path) -> bool:
    said = subprocess.run(["qemu-img", "check", file], check=True, capture_output=True).stdout
    return b" 0.00% compressed clusters" not in said


def write_text(path: Path, seed: int) -> bytes:
    """Write a raw image that can be compressed."""
    content = bytearray(4 * MIB)
    for number in range(seed + 1):
        content[number * 65536 : (number + 1) * 65536] = bytes([number + 1]) * 65536
    path.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_a_copy_is_stored_as_its_own_job_says(lab: Lab, compression: str) -> None:
    offsite = await Offsite.of(lab)
    other = {"none": "zstd", "zstd": "none"}[compression]
    job = await lab.create_job("a.raw", options={"compression": other})
    copying = await offsite.copy_job(job, options={"compression": compression}, retention=2)
    contents = []
    for seed in range(3):
        contents.append(write_text(lab.source("a.raw"), seed))
        assert (await lab.run(job)).values["Result"] == "Success"
        session = await lab.run(copying)
        assert session.values["Result"] == "Success", session.values
    points = await offsite.points()
    assert await restored(lab, points) == contents[1:]
    # Increments are copied as such. The full was merged, by which it is stored without compression.
    [_, increment] = sorted(offsite.path.glob("*/*.qcow2"))
    assert is_compressed(increment) is (compression == "zstd")
    assert increment.stat().st_size < MIB
    for row in await lab.rows(tables.backup_file):
        if row.path.endswith(increment.name) and row.backup_uid == await offsite.backup():
            assert row.sha256 == await sha256_of(increment)
    assert (await lab.run(copying, "check-job")).values["Result"] == "Success"


async def test_copies_of_directories_are_stored_as_their_own_job_says(lab: Lab) -> None:
    offsite = await Offsite.of(lab)
    lab.source("tree").mkdir()
    (lab.source("tree") / "file").write_bytes(b"a word " * 300_000)
    job = await lab.create_job("tree", kind="NasBackup")
    sizes = {}
    for compression in ("none", "max"):
        copying = await offsite.copy_job(
            job, name=compression, options={"compression": compression}
        )
        if compression == "none":
            assert (await lab.run(job)).values["Result"] == "Success"
        assert (await lab.run(copying)).values["Result"] == "Success"
        [folder] = offsite.path.glob(f"{compression}*/files/data")
        sizes[compression] = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    assert sizes["none"] > MIB > 10 * sizes["max"]


async def test_a_limited_copy_takes_its_time(lab: Lab) -> None:
    # Ratios hold on any machine: a slow one only takes longer than the limit makes it.
    offsite = await Offsite.of(lab)
    job = await lab.create_job("a.raw", options={"compression": "none"})
    write_image(lab.source("a.raw"), 1)
    await lab.run(job)
    [file] = lab.repository_path.glob("*/*.qcow2")
    size = file.stat().st_size
    copying = await offsite.copy_job(job, options={"bandwidth": size, "compression": "none"})
    started = time.monotonic()
    assert (await lab.run(copying)).values["Result"] == "Success"
    assert time.monotonic() - started > 0.9
    [copy] = offsite.path.glob("*/*.qcow2")
    assert copy.read_bytes() == file.read_bytes()


async def test_copies_are_kept_by_days_and_by_weeks(lab: Lab) -> None:
    # The clock of the lab stands on a Monday morning.
    offsite = await Offsite.of(lab)
    job = await lab.create_job("a.raw", retention=20)
    options = {"gfs": {"weekly": {"keep": 2, "day": "Wednesday"}}}
    copying = await offsite.copy_job(job, retention_days=2, options=options)
    contents = {}
    made = (0, 2, 3, 8, 9, 10)
    for day, following in pairwise((*made, 11)):
        contents[day] = write_image(lab.source("a.raw"), day)
        assert (await lab.run(job)).values["Result"] == "Success"
        lab.clock.advance((following - day) * DAY / 2)
        if day != 2:  # that is copied with the one after it
            session = await lab.run(copying)
            assert session.values["Result"] == "Success", session.values
            lab.clock.advance(-timedelta(minutes=10))
        lab.clock.advance((following - day) * DAY / 2 - timedelta(minutes=10))
    points = await offsite.points()
    monday = min(row.created for row in await lab.rows(tables.machine_point))
    days = [round((row.created - monday) / DAY.total_seconds() / 1000) for row in points]
    assert days == [2, 9, 10]
    assert [row.kept_for for row in points] == ["Weekly", "Weekly", None]
    assert await restored(lab, points) == [contents[day] for day in days]
    # What went is not copied again.
    again = await lab.run(copying)
    assert again.values["Result"] == "Success"
    assert [row.uid for row in await offsite.points()] == [row.uid for row in points]


async def test_a_copy_that_is_damaged_is_found_and_copied_again(lab: Lab) -> None:
    offsite = await Offsite.of(lab)
    job = await lab.create_job("a.raw")
    copying = await offsite.copy_job(job, options={"health_check": {"week": ["Wednesday"]}})
    contents = []
    for seed in range(3):
        contents.append(write_image(lab.source("a.raw"), seed))
        await lab.run(job)
    assert (await lab.run(copying)).values["Result"] == "Success"
    file = sorted(offsite.path.glob("*/*.qcow2"))[1]
    flip(file)
    # A check that is asked for tells of it, and does nothing else.
    session = await lab.run(copying, "check-job")
    assert session.values["Result"] == "Warning"
    assert str(file) in session.values["FailureMessage"]
    assert [row.damaged is None for row in await offsite.points()] == [True, False, False]

    lab.clock.advance(2 * DAY)
    contents.append(write_image(lab.source("a.raw"), 3))
    await lab.run(job)
    session = await lab.run(copying)
    assert session.values["Result"] == "Warning"
    assert "is damaged" in session.values["FailureMessage"]
    assert "was copied again from the backup, and is whole" in session.values["FailureMessage"]
    points = await offsite.points()
    assert [row.damaged for row in points] == [None] * 4
    assert await restored(lab, points) == contents
    assert (await lab.run(copying, "check-job")).values["Result"] == "Success"
