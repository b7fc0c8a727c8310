"""`holdfast repository import`: a data directory is lost, and its repository is not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from .conftest import StartHoldfast
from .holdfast_process import Running, holdfast
from .test_restore import assert_same_files, points_of


def imported(
    running: Running, folder: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    return holdfast(
        *("repository", "import", folder, *arguments),
        *("--data", running.data, "--ready-file", running.ready_file),
        HOLDFAST_PASSWORD=str(running.ready["password"]),
    )


def test_what_a_lost_holdfast_has_backed_up_is_restored_by_a_new_one(
    start: StartHoldfast, tmp_path: Path
) -> None:
    lost = start()
    assert lost.stop() == 0
    old, samples = tmp_path / "old", tmp_path / "samples"
    (lost.data / "repository").rename(old)
    (lost.data / "samples").rename(samples)
    uid = json.loads((old / "holdfast-repository.json").read_text())["uid"]
    password = tmp_path / "password"
    shutil.copy(lost.data / "server" / "keys" / f"{uid}.password", password)
    shutil.rmtree(lost.data)
    running = start("--no-samples", data=tmp_path / "new" / "data")
    done = imported(running, old, "--repository-password-file", password)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 restore points imported, of 2 backups; 0 known already.\n"
    secret = password.read_text().strip()
    assert secret not in running.log.read_text() + running.output.read_text()
    for path in running.data.rglob("*.sqlite*"):
        assert secret.encode() not in path.read_bytes()
    after = points_of(running.data)
    files = tmp_path / "files"
    restored = holdfast("restore", "--data", running.data, after["directory"]["uid"], files)
    assert restored.returncode == 0, restored.stderr
    assert_same_files(samples / "files", files)
    with running.client() as client:
        shown = client.get("/query?type=VmRestorePoint&format=Entities").json()
    assert after["disk image"]["uid"] in json.dumps(shown)
