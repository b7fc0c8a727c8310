"""`holdfast host`: hosts of virtual machines, added and listed at a Holdfast that runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.vm.lab import Host, libvirt_daemon

from .conftest import StartHoldfast
from .holdfast_process import Running, holdfast

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def daemon() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


def host(running: Running, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command about hosts against a Holdfast that runs."""
    variables = {"HOLDFAST_PASSWORD": str(running.ready["password"])} | more
    return holdfast(
        "host", *arguments, "--data", running.data, "--ready-file", running.ready_file, **variables
    )


def test_a_host_is_added_listed_rescanned_and_removed(start: StartHoldfast, daemon: Host) -> None:
    running = start("--no-samples")
    added = host(running, "add", daemon.uri, "--name", "kvm1", "--description", "First")
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.startswith("kvm1 added: QEMU ")
    listed = json.loads(host(running, "list", "--json").stdout)
    assert [(each["name"], each["uri"]) for each in listed] == [("kvm1", daemon.uri)]
    table = host(running, "list").stdout
    assert "kvm1" in table
    assert listed[0]["reference"] in table
    again = host(running, "add", daemon.uri)
    assert again.returncode == 1
    assert 'host "kvm1" is reached by' in again.stderr
    machine = (
        "<domain type='qemu'><name>web</name><memory unit='MiB'>32</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
    )
    define = ["virsh", "--connect", daemon.uri, "define", "/dev/stdin"]
    subprocess.run(define, input=machine, text=True, check=True, capture_output=True)
    try:
        found = host(running, "rescan", "KVM1").stdout
    finally:
        undefine = ["virsh", "--connect", daemon.uri, "undefine", "web"]
        subprocess.run(undefine, check=True, capture_output=True)
    assert found.startswith("web\turn:Libvirt:Vm:")
    removed = host(running, "remove", daemon.uri)
    assert removed.stdout == "kvm1 removed\n"
    unknown = host(running, "remove", "kvm1")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "HOST: expected the name" in unknown.stderr
    wrong = host(running, "list", HOLDFAST_PASSWORD="wrong")
    assert wrong.returncode == 1
    assert len(wrong.stderr.splitlines()) == 1


def test_without_libvirt_holdfast_runs_and_a_host_fails_with_a_plain_reason(
    start: StartHoldfast, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "libvirt.py").write_text('raise ImportError("not there")\n')
    running = start("--no-samples", PYTHONPATH=_before(missing))
    added = host(running, "add", "qemu:///system")
    assert added.returncode == 1
    assert "need the Python module libvirt, which is not installed" in added.stderr
    refused = host(running, "add", "esx://somewhere/")
    assert refused.returncode == 1
    assert "uri: " in refused.stderr


def test_a_command_says_that_nothing_runs(tmp_path: Path) -> None:
    ended = holdfast("host", "list", "--data", tmp_path, "--http-port", "1")
    assert ended.returncode == 1
    assert "No Holdfast answers at http://127.0.0.1:1/api" in ended.stderr
    assert "its --http-port or its --ready-file" in ended.stderr


def _before(folder: Path) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
