"""`holdfast points` and `holdfast restore`: back from a point to what was there."""

from __future__ import annotations

import filecmp
import json
import subprocess
from pathlib import Path
from typing import Any

from .conftest import StartHoldfast
from .holdfast_process import Running, holdfast


def points_of(data: Path) -> dict[str, dict[str, Any]]:
    listed = holdfast("points", "--data", data, "--json")
    assert listed.returncode == 0, listed.stderr
    return {point["kind"]: point for point in json.loads(listed.stdout)}


def assert_same_files(left: Path, right: Path) -> None:
    names = {path.relative_to(left) for path in left.rglob("*") if path.is_file()}
    assert names == {path.relative_to(right) for path in right.rglob("*") if path.is_file()}
    _, different, unreadable = filecmp.cmpfiles(left, right, map(str, names), shallow=False)
    assert (different, unreadable) == ([], [])


def test_points_are_listed_as_table_and_json(first_start: Running) -> None:
    found = points_of(first_start.data)
    assert found.keys() == {"disk image", "directory"}
    assert found["disk image"]["job"] == "Sample Disk Backup"
    assert found["disk image"]["created"].endswith("Z")
    table = holdfast("points", "--data", first_start.data)
    assert found["directory"]["uid"] in table.stdout
    assert "\x1b" not in table.stdout


def test_disk_image_is_restored_while_holdfast_runs(first_start: Running, tmp_path: Path) -> None:
    point = points_of(first_start.data)["disk image"]["uid"]
    source = first_start.data / "samples" / "sample-disk.qcow2"
    for image_format in ("raw", "qcow2"):
        target = tmp_path / f"disk.{image_format}"
        restored = holdfast(
            *("restore", "--data", first_start.data, point, target, "--format", image_format)
        )
        assert restored.returncode == 0, restored.stderr
        assert str(target) in restored.stdout
        subprocess.run(["qemu-img", "compare", "-f", image_format, target, source], check=True)


def test_both_kinds_are_restored_when_holdfast_does_not_run(
    start: StartHoldfast, tmp_path: Path
) -> None:
    running = start()
    assert running.stop() == 0
    found = points_of(running.data)
    urn = f"urn:veeam:VmRestorePoint:{found['disk image']['uid']}"
    disk, files = tmp_path / "disk.raw", tmp_path / "files"
    for point, target in ((urn, disk), (found["directory"]["uid"], files)):
        restored = holdfast("restore", "--data", running.data, point, target)
        assert restored.returncode == 0, restored.stderr
    samples = running.data / "samples"
    subprocess.run(["qemu-img", "compare", disk, samples / "sample-disk.qcow2"], check=True)
    assert_same_files(samples / "files", files)


def test_target_that_exists_is_left_alone(first_start: Running, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("keep me")
    point = points_of(first_start.data)["disk image"]["uid"]
    refused = holdfast("restore", "--data", first_start.data, point, target)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert str(target) in refused.stderr
    assert target.read_text() == "keep me"


def test_unknown_point_is_told_in_one_line(first_start: Running, tmp_path: Path) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    refused = holdfast("restore", "--data", first_start.data, unknown, tmp_path / "disk")
    assert refused.returncode == 1
    assert refused.stderr == f"holdfast: Cannot find restore point [{unknown}].\n"
    wrong = holdfast("restore", "--data", first_start.data, "yesterday", tmp_path / "disk")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("holdfast: POINT: expected the UID of a restore point")
