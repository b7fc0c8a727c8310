"""Machines of a real libvirt daemon come back: to a host, in place, to files, and after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import pytest

from engine.lab import wait_until
from engine.vm.lab import Guest, Host, libvirt_daemon
from holdfast.engine import restored_files
from server.lab import HandClock

from .lab import HostedLab, bytes_of, disks_of, entries, is_there, killed_at, running_hosted_lab

pytestmark = pytest.mark.vm

MakeGuest = Callable[..., Guest]


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    made = tmp_path / "targets"
    made.mkdir()
    return made


async def test_a_machine_comes_back_as_another_one_powered_on_and_to_files(
    lab: HostedLab, make_guest: MakeGuest, targets: Path
) -> None:
    guest = make_guest("vda", "vdb")
    job = await lab.job_of(guest)
    await lab.backed_up(guest, job, 0)
    point, content = await lab.backed_up(guest, job, 1), guest.contents()
    before = lab.point_files()
    session = await lab.done(
        "restore-machine",
        point,
        new_name="web copy",
        new_identifiers=True,
        folder=str(targets),
        power_on=True,
    )
    assert (session.values["JobType"], session.values["Progress"]) == ("RestoreVm", 100)
    domain = guest.connection.lookupByName("web copy")
    assert domain.isActive()
    domain.suspend()  # it would do nothing but use the processor
    assert domain.UUIDString() != guest.uuid
    assert {path.parent for path in disks_of(domain).values()} == {targets}
    assert {target: bytes_of(path) for target, path in disks_of(domain).items()} == content
    # The host was looked at again: the new machine can be found at once.
    names = [item.values["ObjectName"] for item in await lab.resources("HierarchyItem")]
    assert "web copy" in names
    for format in ("raw", "qcow2", "vmdk"):
        await lab.done("restore-machine", point, format=format, folder=str(targets), disks=["vdb"])
        assert bytes_of(targets / f"{guest.name}-vdb.{format}") == content["vdb"]
    # Nothing is overwritten, and nothing is left of what was refused.
    there = entries(targets)
    again = await lab.begun("restore-machine", point, format="raw", folder=str(targets))
    session = await lab.ended(again)
    assert session.values["Result"] == "Failed"
    assert "vdb.raw exists already" in session.values["FailureMessage"]
    twice = await lab.ended(await lab.begun("restore-machine", point, folder=str(targets)))
    assert f"has a machine {guest.name} already" in twice.values["FailureMessage"]
    assert entries(targets) == there
    assert lab.point_files() == before


async def test_a_machine_comes_back_as_itself_on_another_host(
    lab: HostedLab, make_guest: MakeGuest, targets: Path
) -> None:
    guest = make_guest("vda", "vdb")
    point = await lab.backed_up(guest, await lab.job_of(guest), 0)
    with libvirt_daemon() as other:
        added = await lab.command("add-host", uri=other.uri, name="kvm2")
        assert added.made is not None, added.message
        host = str(added.made.uid)
        await lab.done("restore-machine", point, host=host, folder=str(targets))
        there = libvirt.open(other.uri)
        domain = there.lookupByName(guest.name)
        assert domain.UUIDString() == guest.uuid
        assert {t: bytes_of(path) for t, path in disks_of(domain).items()} == guest.contents()
        assert {path.parent for path in disks_of(domain).values()} == {targets}
        there.close()


async def test_a_machine_and_a_disk_come_back_in_place_and_one_that_was_lost(
    lab: HostedLab, make_guest: MakeGuest
) -> None:
    guest = make_guest("vda", "vdb")
    job = await lab.job_of(guest)
    older, before = await lab.backed_up(guest, job, 0), guest.contents()
    newer, content = await lab.backed_up(guest, job, 1), guest.contents()
    running = await lab.ended(await lab.begun("restore-machine", older, overwrite=True))
    assert "power it off first" in running.values["FailureMessage"]
    guest.power_off()
    await lab.done("restore-machine", older, overwrite=True, disks=["vdb"])
    held = {target: bytes_of(path) for target, path in disks_of(guest.domain).items()}
    assert held == {"vda": content["vda"], "vdb": before["vdb"]}
    await lab.done("restore-machine", older, overwrite=True, power_on=True)
    assert guest.domain.isActive()
    guest.domain.suspend()
    assert {t: bytes_of(path) for t, path in disks_of(guest.domain).items()} == before
    uuid = guest.uuid
    guest.discard()
    for path in list(guest.folder.iterdir()):
        path.unlink()
    wait_until(lambda: not is_there(lab.daemon, guest.name))
    assert (await lab.command("rescan-host", lab.host)).success
    # It is where the original was: on its host, in its folder.
    await lab.done("restore-machine", newer, overwrite=True)
    domain = guest.connection.lookupByUUIDString(uuid)
    assert domain.name() == guest.name
    assert {path.parent for path in disks_of(domain).values()} == {guest.folder}
    assert {t: bytes_of(path) for t, path in disks_of(domain).items()} == content


async def test_what_makes_no_sense_is_refused_and_what_fails_or_is_stopped_leaves_nothing(
    lab: HostedLab, make_guest: MakeGuest, targets: Path
) -> None:
    guest = make_guest()
    point = await lab.backed_up(guest, await lab.job_of(guest), 0)
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"disks": ["vdz"]}, "disks: expected any of vda, not vdz."),
        ({"disks": []}, "disks: expected one or more of vda."),
        ({"format": "vhdx", "folder": "/x"}, "format: expected raw, qcow2, vmdk, not 'vhdx'."),
        ({"format": "raw"}, "folder: say where the files are to come."),
        ({"new_name": "a", "folder": "x"}, "folder: expected a folder's path from the root"),
        ({"new_name": "a/b"}, "plain file name"),
        ({"new_name": "a", "folder": str(lab.repository_path / "x")}, "is in a repository"),
        ({"new_name": "a", "folder": f"/{lab.repository_path / 'x'}"}, "is in a repository"),
        ({"host": "7f3c9a52-92a4-4d5a-a3e5-0f6dbd1b7e11"}, "Cannot find host"),
    ]
    for options, reason in refusals:
        outcome = await lab.command("restore-machine", point, **options)
        assert not outcome.success
        assert reason in outcome.message
    wanted = {"new_name": "copy", "new_identifiers": True, "folder": str(targets)}
    session = await lab.begun("restore-machine", point, **wanted)
    assert (await lab.command("stop-restore", session)).success
    stopped = await lab.ended(session)
    assert stopped.values["FailureMessage"] == "The restore was stopped by operator."
    image = next(lab.repository_path.rglob("*.qcow2"))
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    damaged = await lab.ended(await lab.begun("restore-machine", point, **wanted))
    assert "is damaged: its checksum" in damaged.values["FailureMessage"]
    assert entries(targets) == []
    assert not is_there(lab.daemon, "copy")


async def test_two_restores_never_write_to_the_same_file(
    lab: HostedLab, make_guest: MakeGuest, targets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = make_guest()
    point, content = await lab.backed_up(guest, await lab.job_of(guest), 0), guest.contents()
    guest.power_off()
    guest.discard()
    wait_until(lambda: not is_there(lab.daemon, guest.name))
    begun, go_on = asyncio.Event(), asyncio.Event()
    real = restored_files.restore_image

    async def slow(*arguments: Any, **more: Any) -> None:
        begun.set()
        await go_on.wait()
        await real(*arguments, **more)

    monkeypatch.setattr(restored_files, "restore_image", slow)
    # To files, and as a machine: two places, but the name of the file is the same.
    first = await lab.begun("restore-machine", point, format="qcow2", folder=str(targets))
    await begun.wait()
    second = await lab.begun("restore-machine", point, folder=str(targets))
    monkeypatch.setattr(restored_files, "restore_image", real)
    async with asyncio.timeout(60):
        while (await lab.resource("RestoreSession", second)).values["State"] != "Stopped":
            await asyncio.sleep(0.1)
    go_on.set()
    assert (await lab.ended(first)).values["Result"] == "Success"
    failed = (await lab.ended(second)).values
    path = targets / f"{guest.name}-vda.qcow2"
    assert failed["FailureMessage"] == f"Another restore is writing to {path}."
    assert bytes_of(path) == content["vda"]


async def test_a_crash_leaves_nothing_half_made(
    tmp_path: Path, clock: HandClock, daemon: Host, make_guest: MakeGuest, targets: Path
) -> None:
    guest = make_guest("vda", "vdb")
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        job = await lab.job_of(guest)
        point, before = await lab.backed_up(guest, job, 0), guest.contents()
        await lab.backed_up(guest, job, 1)
    guest.power_off()
    copy = {"new_name": "copy", "new_identifiers": True, "folder": str(targets)}

    async def put_right() -> dict[str, Any]:
        async with running_hosted_lab(tmp_path, clock, daemon) as lab:
            sessions = await lab.resources("RestoreSession")
            return sessions[-1].values

    (targets / "copy-vdb.qcow2").write_text("somebody else's")
    for moment in ("written", "naming"):
        killed_at(moment, tmp_path, "restore-machine", point, copy)
        assert len(entries(targets)) > 1
        session = await put_right()
        assert session["Result"] == "Failed"
        assert "stopped unexpectedly" in session["FailureMessage"]
        assert entries(targets) == ["copy-vdb.qcow2"]
        assert not is_there(daemon, "copy")
    (targets / "copy-vdb.qcow2").unlink()
    killed_at("starting", tmp_path, "restore-machine", point, {**copy, "power_on": True})
    session = await put_right()
    assert session["Result"] == "Warning"
    domain = guest.connection.lookupByName("copy")
    assert {target: bytes_of(path) for target, path in disks_of(domain).items()} == before
    # Of a machine's disks, one was replaced and one was not: the other follows.
    killed_at("naming", tmp_path, "restore-machine", point, {"overwrite": True})
    held = {target: bytes_of(path) for target, path in disks_of(guest.domain).items()}
    assert held["vda"] == before["vda"]
    assert held["vdb"] != before["vdb"]
    session = await put_right()
    assert session["Result"] == "Warning"
    assert {t: bytes_of(path) for t, path in disks_of(guest.domain).items()} == before
    assert not list(guest.folder.glob("*.partial"))
