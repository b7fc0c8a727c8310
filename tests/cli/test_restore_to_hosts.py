"""`holdfast restore --to-host` and `holdfast instant`, at a Holdfast that runs, on a real host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from engine.lab import wait_until
from engine.vm.lab import Guest, Host, libvirt_daemon

from .conftest import StartHoldfast
from .holdfast_process import Running, holdfast

pytestmark = pytest.mark.vm

libvirt.registerErrorHandler(lambda _context, _error: None, None)


@pytest.fixture
def daemon() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


@pytest.fixture
def guest(daemon: Host, tmp_path: Path) -> Iterator[Guest]:
    """A machine of two disks that somebody has written to."""
    direct = libvirt.open(daemon.uri)
    (tmp_path / "disks").mkdir()
    guest = Guest(daemon, "web", tmp_path / "disks", direct)
    guest.add_disk("vda")
    guest.add_disk("vdb")
    guest.define()
    guest.start()
    guest.write_something(1)
    yield guest
    direct.close()


def asked(running: Running, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command against a Holdfast that runs."""
    password = str(running.ready["password"])
    where = ("--data", running.data, "--ready-file", running.ready_file)
    return holdfast(*arguments, *where, HOLDFAST_PASSWORD=password)


def done(running: Running, *arguments: str | Path) -> str:
    ended = asked(running, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def backed_up(running: Running, guest: Guest) -> str:
    """Back the machine up; return the UID of its point."""
    done(running, "host", "add", guest.host.uri, "--name", "kvm1")
    [host] = json.loads(done(running, "host", "list", "--json"))
    with running.client("http") as client:
        repository = client.get("/repositories").json()["Refs"][0]["UID"]
        objects = [{"reference": host["reference"]}]
        body = {"name": "Nightly", "repository": repository, "objects": objects}
        assert client.post("/holdfast/v1/jobs", json=body).status_code == 202
        jobs: list[dict[str, Any]] = []

        def made() -> bool:
            jobs[:] = client.get("/holdfast/v1/jobs").json()["jobs"]
            return bool(jobs)

        wait_until(made, seconds=20)
        assert client.post(f"/jobs/{jobs[0]['uid']}?action=start").status_code == 202
    points: list[dict[str, Any]] = []

    def kept() -> bool:
        points[:] = json.loads(holdfast("points", "--data", running.data, "--json").stdout)
        return bool(points)

    wait_until(kept, seconds=60)
    uid: str = points[0]["uid"]
    return uid


def bytes_of(path: Path, raw: Path) -> bytes:
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", path, raw], check=True)
    return raw.read_bytes()


def test_machines_are_restored_to_hosts_and_run_from_their_backup(
    start: StartHoldfast, guest: Guest, tmp_path: Path
) -> None:
    running = start("--no-samples")
    point = backed_up(running, guest)
    content, raw = guest.contents(), tmp_path / "raw"
    targets = tmp_path / "targets"
    targets.mkdir()
    # To plain files: no host is asked, and Holdfast need not run.
    disk = tmp_path / "disk"
    files = holdfast(
        *("restore", "--data", running.data, point, disk, "--disk", "vdb", "--format", "vmdk")
    )
    assert files.returncode == 0, files.stderr
    assert [path.name for path in disk.iterdir()] == ["vdb.vmdk"]
    assert bytes_of(disk / "vdb.vmdk", raw) == content["vdb"]
    copy = ("--to-host", "KVM1", "--folder", str(targets), "--new-identifiers")
    assert done(running, "restore", point, *copy, "--name", "copy") == "Restored.\n"
    assert bytes_of(targets / "copy-vda.qcow2", raw) == content["vda"]
    assert not guest.connection.lookupByName("copy").isActive()
    refused = asked(running, "restore", point, "--in-place")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "power it off first" in refused.stderr
    # From the backup.
    assert done(running, "instant", "start", point, *copy, "--name", "now") == "now runs on kvm1\n"
    guest.connection.lookupByName("now").suspend()
    [listed] = json.loads(done(running, "instant", "list", "--json"))
    assert (listed["name"], listed["state"], listed["point"]) == ("now", "Running", point)
    assert done(running, "instant", "list").split("\t")[:3] == ["now", "kvm1", "Running"]
    moved = done(running, "instant", "migrate", "now")
    assert moved == "now has moved to its own storage\n"
    assert done(running, "instant", "list") == ""
    again = ("instant", "start", point, *copy, "--name", "twice")
    assert done(running, *again) == "twice runs on kvm1\n"
    assert done(running, "instant", "discard", "twice") == "twice discarded\n"
    names = {domain.name() for domain in guest.connection.listAllDomains()}
    assert names == {"web", "copy", "now"}
    assert len(list(targets.iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "TARGET: expected the file or directory to make, or --to-host"),
        (("here", "--to-host", "kvm1"), "TARGET: a machine on a host has its disks in --folder"),
        (("here", "--power-on"), "--power-on: this is for a machine on a host"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    point = "00000000-0000-0000-0000-000000000000"
    refused = holdfast("restore", point, *arguments, "--data", tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert reason in refused.stderr
    assert refused.stderr.count("\n") == 1
