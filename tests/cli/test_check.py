"""`holdfast check`: a backup is read, damage is told and listed, and restored with --force."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import StartHoldfast
from .holdfast_process import Running, holdfast


def test_damage_is_told_listed_and_restored_with_force(
    start: StartHoldfast, tmp_path: Path
) -> None:
    running: Running = start()
    variables = {"HOLDFAST_PASSWORD": str(running.ready["password"])}
    place = ("--data", running.data, "--ready-file", running.ready_file)

    [file] = running.data.glob("repository/*/*.qcow2")
    content = bytearray(file.read_bytes())
    content[60_000] ^= 1  # behind the header, where nothing is: so the disk itself is whole
    file.write_bytes(content)
    bad = holdfast("check", "sample disk backup", *place, **variables)
    assert bad.returncode == 1
    assert f"The backup file {file} is damaged" in bad.stdout
    assert len(bad.stderr.splitlines()) == 1

    listed = json.loads(holdfast("points", "--data", running.data, "--json").stdout)
    points = [point for point in listed if point["kind"] == "disk image"]
    [damaged] = [point for point in points if point["damaged"]]
    assert len(points) == 2  # the other was made at once
    target = tmp_path / "disk.raw"
    forced = holdfast("restore", "--data", running.data, damaged["uid"], target, "--force")
    assert forced.returncode == 0, forced.stderr
    assert target.exists()


def test_a_job_is_started_and_its_end_told(start: StartHoldfast, tmp_path: Path) -> None:
    running: Running = start()
    variables = {"HOLDFAST_PASSWORD": str(running.ready["password"])}
    place = ("--data", running.data, "--ready-file", running.ready_file)

    done = holdfast("job", "start", "sample disk backup", *place, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    *machines, last = done.stdout.splitlines()
    assert last.lower() == "sample disk backup ended: success"
    assert len(machines) == 1

    shown = json.loads(holdfast("job", "list", "--json", *place, **variables).stdout)
    repository = next(job["repository"] for job in shown if job["kind"] == "Backup")
    described, gone = tmp_path / "job.json", tmp_path / "gone.raw"
    given = {"name": "Gone", "repository": repository, "sources": [{"path": str(gone)}]}
    described.write_text(json.dumps(given))
    assert holdfast("job", "create", described, *place, **variables).returncode == 0
    failed = holdfast("job", "start", "Gone", *place, **variables)
    assert failed.returncode == 1
    assert failed.stdout.startswith("gone: ")
    assert str(gone) in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
