"""`holdfast restore --to-host` and `holdfast instant`, at a Holdfast that runs, on a real host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest

from engine.lab import wait_until
from engine.vm.lab import Guest, Host, libvirt_daemon
from holdfast.cli.application import run

from .conftest import StartHoldfast
from .holdfast_process import Running

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


@dataclass
class Commands:
    """Commands against a Holdfast that runs, in this process: a start of Python takes its time."""

    running: Running
    output: pytest.CaptureFixture[str]

    def ended(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Run a command; return its exit code and what it wrote."""
        where = ("--data", self.running.data, "--ready-file", self.running.ready_file)
        code = run([str(each) for each in (*arguments, *where)])
        written = self.output.readouterr()
        return code, written.out, written.err

    def done(self, *arguments: str | Path) -> str:
        code, output, errors = self.ended(*arguments)
        assert code == 0, errors
        return output


def backed_up(commands: Commands, guest: Guest) -> str:
    """Back the machine up; return the UID of its point."""
    running = commands.running
    commands.done("host", "add", guest.host.uri, "--name", "kvm1")
    [host] = json.loads(commands.done("host", "list", "--json"))
    with running.client("http") as client:
        repository = client.get("/repositories").json()["Refs"][0]["UID"]
        objects = [{"reference": host["reference"]}]
        body = {"name": "Nightly", "repository": repository, "objects": objects}
        assert client.post("/holdfast/v1/jobs", json=body).status_code == 202
        jobs: list[dict[str, Any]] = []

        def made() -> bool:
            jobs[:] = client.get("/holdfast/v1/jobs").json()["jobs"]
            return bool(jobs)

        wait_until(made)
        assert client.post(f"/jobs/{jobs[0]['uid']}?action=start").status_code == 202
    points: list[dict[str, Any]] = []

    def kept() -> bool:
        run(["points", "--data", str(running.data), "--json"])
        points[:] = json.loads(commands.output.readouterr().out)
        return bool(points)

    wait_until(kept)
    uid: str = points[0]["uid"]
    return uid


def bytes_of(path: Path, raw: Path) -> bytes:
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", path, raw], check=True)
    return raw.read_bytes()


def test_machines_are_restored_to_hosts_and_run_from_their_backup(
    start: StartHoldfast,
    guest: Guest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = start("--no-samples")
    monkeypatch.setenv("HOLDFAST_PASSWORD", str(running.ready["password"]))
    commands = Commands(running, capsys)
    point = backed_up(commands, guest)
    content, raw = guest.contents(), tmp_path / "raw"
    targets = tmp_path / "targets"
    targets.mkdir()
    # To plain files: no host is asked, and Holdfast need not run.
    disk = tmp_path / "disk"
    options = ("--disk", "vdb", "--format", "vmdk", "--data", str(running.data))
    assert run(["restore", point, str(disk), *options]) == 0
    capsys.readouterr()
    assert [path.name for path in disk.iterdir()] == ["vdb.vmdk"]
    assert bytes_of(disk / "vdb.vmdk", raw) == content["vdb"]
    copy = ("--to-host", "KVM1", "--folder", str(targets), "--new-identifiers")
    assert commands.done("restore", point, *copy, "--name", "copy") == "Restored.\n"
    assert bytes_of(targets / "copy-vda.qcow2", raw) == content["vda"]
    assert not guest.connection.lookupByName("copy").isActive()
    code, output, errors = commands.ended("restore", point, "--in-place")
    assert (code, output) == (1, "")
    assert "power it off first" in errors
    # From the backup.
    assert commands.done("instant", "start", point, *copy, "--name", "now") == "now runs on kvm1\n"
    guest.connection.lookupByName("now").suspend()
    [listed] = json.loads(commands.done("instant", "list", "--json"))
    assert (listed["name"], listed["state"], listed["point"]) == ("now", "Running", point)
    assert commands.done("instant", "list").split("\t")[:3] == ["now", "kvm1", "Running"]
    moved = commands.done("instant", "migrate", "now")
    assert moved == "now has moved to its own storage\n"
    assert commands.done("instant", "list") == ""
    again = ("instant", "start", point, *copy, "--name", "twice")
    assert commands.done(*again) == "twice runs on kvm1\n"
    assert commands.done("instant", "discard", "twice") == "twice discarded\n"
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
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    point = "00000000-0000-0000-0000-000000000000"
    assert run(["restore", point, *arguments, "--data", str(tmp_path)]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert reason in written.err
    assert written.err.count("\n") == 1
