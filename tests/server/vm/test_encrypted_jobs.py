"""Jobs that encrypt machines of hosts: backed up, told of, restored, run from their points."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from engine.vm.lab import Guest, Host
from holdfast.engine import key_file
from holdfast.engine.data_key import SEALED_SUFFIX
from holdfast.engine.errors import ChainBroken
from holdfast.engine.key_file import SUFFIX, read_key_file, unwrap
from holdfast.engine.libvirt_secret import layer_secret
from holdfast.server import tables
from server.lab import HandClock
from server.offsite import Offsite

from .lab import HostedLab, bytes_of, disks_of, entries, killed_at, running_hosted_lab

pytestmark = pytest.mark.vm
SECRET = "correct horse battery staple"


async def test_a_key_that_a_crash_has_left_on_a_host_is_taken_back(
    tmp_path: Path,
    clock: HandClock,
    daemon: Host,
    make_guest: Callable[..., Guest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_file, "_N", 2**10)
    targets = tmp_path / "targets"
    targets.mkdir()
    guest = make_guest("vda")

    def lent() -> list[str]:
        return [str(secret.UUIDString()) for secret in guest.connection.listAllSecrets()]

    async def left() -> list[str]:
        """What a start of the server leaves of it."""
        assert lent() != []
        async with running_hosted_lab(tmp_path, clock, daemon) as lab:
            assert (await lab.command("rescan-host", lab.host)).success
            return lent()

    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        made = await lab.command("create-password", hint="of the vault", password=SECRET)
        assert made.made is not None
        job = await lab.job_of(guest, options={"encryption": str(made.made.uid)})
        point = await lab.backed_up(guest, job, 0)
    killed_at("lent", tmp_path, "start-job", job, {})
    assert await left() == []
    wanted = {"new_name": "copy", "new_identifiers": True, "folder": str(targets)}
    killed_at("lent", tmp_path, "start-instant-recovery", point, wanted)
    assert await left() == []
    assert entries(targets) == []
    # One that is in use is not taken, whatever was before.
    killed_at("starting", tmp_path, "start-instant-recovery", point, wanted)
    [key] = await left()
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        [recovery] = await lab.rows(tables.instant_recovery)
        assert key == layer_secret(recovery.uuid)
        await lab.done("discard-instant-recovery", recovery.uid)
    assert lent() == []


async def test_a_machine_is_unreadable_in_the_repository_and_comes_back_from_it(
    lab: HostedLab,
    make_guest: Callable[..., Guest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(key_file, "_N", 2**10)
    targets = tmp_path / "targets"
    targets.mkdir()
    made = await lab.command("create-password", hint="of the vault", password=SECRET)
    assert made.made is not None
    guest = make_guest("vda", "vdb")
    job = await lab.job_of(guest, retention=2, options={"encryption": str(made.made.uid)})
    guest.write("vda", 6 * 2**20, 8192, 0xA5)
    contents = []
    for number in range(3):
        guest.write_something(number)
        contents.append(guest.contents())
        session = await lab.run(job)
        [task] = (await lab.tasks(session.uid)).values()
        assert session.values["Result"] == "Success", task.values
        assert task.values["Reason"].endswith("Encrypted.")
    points = await lab.points(guest.name)
    assert [point.values["PointType"] for point in points] == ["Full", "Increment"]
    offsite = await Offsite.of(lab)
    copying = await offsite.copy_job(job)
    await lab.begin(copying)
    await lab.server.wait_until_idle()
    [copied, _newer] = await offsite.points("machine")

    [key_path] = lab.repository_path.glob(f"*/*{SUFFIX}")
    key = unwrap(read_key_file(key_path), SECRET)
    for folder in (lab.repository_path, offsite.path):
        stored = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert sum(name.endswith(f".xml{SEALED_SUFFIX}") for name in stored) == 2
        for content in stored.values():
            assert b"\xa5" * 512 not in content
            assert b"<domain" not in content
            assert key.passphrase not in content
    server = b"".join(path.read_bytes() for path in (tmp_path / "server").glob("server.sqlite*"))
    for secret in (SECRET, key.secret):
        assert secret not in caplog.text
        assert secret.encode() not in server
        assert all(secret not in str(change) for change in await lab.feed())
        assert all(secret not in row.outcome for row in await lab.rows(tables.command))

    wanted = {"new_identifiers": True, "folder": str(targets)}
    await lab.done("restore-machine", points[0].uid, new_name="back", **wanted)
    back = guest.connection.lookupByName("back")
    found = {target: bytes_of(path) for target, path in disks_of(back).items()}
    assert found == contents[1]
    await lab.done("start-instant-recovery", copied.uid, new_name="now", **wanted)
    running = guest.connection.lookupByName("now")
    running.suspend()
    [recovery] = await lab.rows(tables.instant_recovery)
    # A daemon that is started again knows no secret that was lent to the one before.
    running.destroy()
    for secret in guest.connection.listAllSecrets():
        secret.undefine()
    with pytest.raises(libvirt.libvirtError, match="secret"):
        running.create()
    assert (await lab.command("rescan-host", recovery.host_uid)).success
    running.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    await lab.done("migrate-instant-recovery", recovery.uid)
    found = {target: bytes_of(path) for target, path in disks_of(running).items()}
    assert found == contents[1]
    assert (await lab.command("rescan-host", recovery.host_uid)).success
    assert guest.connection.listAllSecrets() == []
    # The directory of a restore by the command line.
    kept = {path: path.read_bytes() for path in lab.repository_path.glob(f"*/*.xml{SEALED_SUFFIX}")}
    for path, whole in kept.items():
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ChainBroken, match="it is not what was stored"):
        await lab.server.restore.point(points[1].uid, tmp_path / "files")
    for path, whole in kept.items():
        path.write_bytes(whole)
    await lab.server.restore.point(points[1].uid, tmp_path / "files")
    for target, content in contents[2].items():
        assert (tmp_path / "files" / f"{target}.raw").read_bytes() == content
    [definition] = (tmp_path / "files").glob("*.xml")
    assert guest.name in definition.read_text()
    assert definition.stat().st_mode & 0o077 == 0
