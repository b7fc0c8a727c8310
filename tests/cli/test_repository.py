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
    before = points_of(lost.data)
    shutil.rmtree(lost.data)
    running = start("--no-samples", data=tmp_path / "new" / "data")
    without = imported(running, old)
    assert without.returncode == 1
    assert without.stdout.startswith("1 restore point imported, of 1 backup; 0 known already.\n")
    assert "cannot be opened with a password that is known here" in without.stdout
    assert without.stderr == "holdfast: not everything could be imported\n"
    done = imported(running, old, "--repository-password-file", password)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 restore point imported, of 1 backup; 1 known already.\n"
    secret = password.read_text().strip()
    assert secret not in running.log.read_text() + running.output.read_text()
    for path in running.data.rglob("*.sqlite*"):
        assert secret.encode() not in path.read_bytes()
    after = points_of(running.data)
    assert {kind: point["uid"] for kind, point in after.items()} == {
        kind: point["uid"] for kind, point in before.items()
    }
    disk, files = tmp_path / "disk.raw", tmp_path / "files"
    for kind, target in (("disk image", disk), ("directory", files)):
        restored = holdfast("restore", "--data", running.data, after[kind]["uid"], target)
        assert restored.returncode == 0, restored.stderr
    subprocess.run(["qemu-img", "compare", disk, samples / "sample-disk.qcow2"], check=True)
    assert_same_files(samples / "files", files)
    with running.client() as client:
        shown = client.get("/query?type=VmRestorePoint&format=Entities").json()
    assert before["disk image"]["uid"] in json.dumps(shown)
