"""Holdfast, QEMU and libvirt's daemon are killed while a machine is backed up, again and again.

After each SIGKILL what was killed is started again. Then every point in the catalog restores to
what the disks held when it was made, no good point is lost, nothing half-made lies about, and the
next run succeeds; after it, the machine has the checkpoints of its chain and no others. In every
second life of a host the backup is encrypted.

``HOLDFAST_MACHINE_CRASHES`` says how often in all (20), shared out over several lives of a host.
The seed is printed; ``HOLDFAST_SEED`` repeats one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt
import pytest

from engine.lab import wait_until
from engine.vm.lab import Guest, Host, libvirt_daemon
from fault.holdfast_process import HoldfastProcess
from fault.test_crash import check_nothing_half_made
from holdfast.server.restore import restore_point

pytestmark = pytest.mark.vm

CRASHES = int(os.environ.get("HOLDFAST_MACHINE_CRASHES", "20"))
LIVES = max(2, CRASHES // 10)
SEED = os.environ.get("HOLDFAST_SEED")
RETENTION = 3
STUCK = "Power the machine off, restart the daemon"
VICTIMS = ("Holdfast", "QEMU", "libvirtd")

libvirt.registerErrorHandler(lambda _context, _error: None, None)


@pytest.fixture
def host() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


def digests(contents: dict[str, bytes]) -> dict[str, str]:
    return {target: hashlib.sha256(content).hexdigest() for target, content in contents.items()}


class House:
    """A Holdfast with a host, a machine there, and a job that backs it up."""

    def __init__(self, folder: Path, host: Host, chance: random.Random) -> None:
        self.folder, self.host, self.chance = folder, host, chance
        self.holdfast = HoldfastProcess(folder / "data", folder / "log.txt")
        disks = folder / "disks"
        disks.mkdir()
        self.guest = Guest(host, "web", disks, libvirt.open(host.uri))
        self.guest.add_disk("vda")
        self.guest.add_disk("vdb")
        self.guest.define()
        self.guest.start()
        self.known: dict[str, dict[str, str]] = {}
        self.usual = 1.0
        self.job = ""

    def begin(self, *, encrypted: bool) -> None:
        self.holdfast.start()
        self.holdfast.finished(
            self.holdfast.act("/holdfast/v1/hosts", {"uri": self.host.uri, "name": "kvm1"})
        )
        [found] = self.holdfast.client.get("/holdfast/v1/hosts").json()["hosts"]
        self.job = self.holdfast.create_job(
            {
                "name": "Machines",
                "repository": self.holdfast.entities("Repository")[0]["UID"],
                "retention": RETENTION,
                "objects": [{"reference": found["reference"]}],
                "options": {"encryption": self._password()} if encrypted else {},
            }
        )

    def _password(self) -> str:
        """Make a password for encryption; return its UID."""
        [server] = self.holdfast.entities("BackupServer")
        passwords = f"/backupServers/{server['UID'].rsplit(':', 1)[-1]}/passwords"
        body = {"Hint": "", "Password": "of the crashes"}
        answer = self.holdfast.client.post(f"{passwords}?action=create", json=body)
        assert answer.status_code == 202, answer.text

        def shown() -> list[dict[str, Any]]:
            found = self.holdfast.client.get(passwords).json()["PasswordKeyInfoList"]
            assert isinstance(found, list)
            return found

        wait_until(lambda: bool(shown()))
        return str(shown()[0]["Id"])

    def change(self) -> None:
        """Write here and there on each disk, as the guest would."""
        for target, disk in self.guest.disks.items():
            for _ in range(3):
                length = self.chance.choice([4096, 70_144, 1 << 20])
                offset = self.chance.randrange(0, len(disk.content) - length, 512)
                self.guest.write(target, offset, length, self.chance.randrange(1, 256))

    def start_job(self) -> str:
        return self.holdfast.related(
            self.holdfast.finished(self.holdfast.act(f"/jobs/{self.job}?action=start"))
        )

    def run(self) -> dict[str, Any]:
        """Run the job to its end, which must be good; return its session."""
        session_uid = self.start_job()
        begun = time.monotonic()
        session = self.holdfast.ended(session_uid)
        self.usual = time.monotonic() - begun
        if session["Result"] == "Failed" and self.host.process.poll() is not None:
            # libvirt 9 itself crashes now and then when it had been killed in the middle.
            print(f"libvirtd ended by itself: {self.host.process.returncode}")
            self.start_daemon()
            session = self.holdfast.ended(self.start_job())
        if session["Result"] == "Failed" and STUCK in session["FailureMessage"]:
            # libvirt 9 has lost track of a backup that it was killed at the very begin of: a point
            # cannot be made then, but what to do is told.
            self.guest.power_off()
            self.kill("libvirtd")
            self.guest.start()
            session = self.holdfast.ended(self.start_job())
        assert session["Result"] in ("Success", "Warning"), session["FailureMessage"]
        self.known[session["UID"]] = digests(self.guest.contents())
        return session

    def kill(self, victim: str) -> None:
        """Kill something, and start it again."""
        if victim == "Holdfast":
            self.holdfast.kill()
            self.holdfast.start()
        elif victim == "QEMU":
            self.guest.kill()
            self.on()
        else:
            self.host.kill()
            time.sleep(self.chance.random() * 0.3)
            self.start_daemon()

    def on(self) -> None:
        """Power the machine on, unless it is: Holdfast starts one that is off, too, for a while."""
        with suppress(libvirt.libvirtError):
            self.guest.start()

    def start_daemon(self) -> None:
        self.host.start()
        self.guest.connection = libvirt.open(self.host.uri)

    def points(self) -> list[str]:
        """Return the points in the catalog, oldest first."""
        found = self.holdfast.entities("VmRestorePoint")
        found.sort(key=lambda point: str(point["CreationTimeUTC"]))
        return [str(point["UID"]).rpartition(":")[2] for point in found]

    def check_points(self) -> int:
        """Restore every point and compare it with what its session saw; return how many."""
        session_of = {
            link["Href"].rsplit("/", 1)[-1]: session["UID"]
            for session in self.holdfast.entities("BackupJobSession")
            for link in session["Links"]
            if link["Type"] == "RestorePointReference"
        }
        points = self.holdfast.entities("RestorePoint")
        for point in points:
            uid = point["UID"].rsplit(":", 1)[-1]
            target = self.folder / "restored"
            [machine] = asyncio.run(restore_point(self.holdfast.data / "server", UUID(uid), target))
            found = {file.stem: file.read_bytes() for file in machine.path.glob("*.raw")}
            assert digests(found) == self.known[session_of[uid]], point["Name"]
            shutil.rmtree(target)
        return len(points)

    def check_machine(self) -> None:
        """The machine has what the chain needs for the next increment, and nothing else."""
        self.guest.ensure_untouched()
        assert self.guest.connection.listAllSecrets() == []
        checkpoints = self.guest.checkpoints()
        assert 1 <= len(checkpoints) <= 2, checkpoints
        assert all(name.startswith("holdfast.") for name in checkpoints)
        for bitmaps in self.guest.bitmaps_in_use().values():
            # That of the point before is gone when QEMU was killed; its record says so.
            assert checkpoints[-1] in bitmaps
            assert bitmaps <= set(checkpoints)
        assert self.guest.ask_qemu("query-block-jobs") == []
        files = {node["file"] for node in self.guest.ask_qemu("query-named-block-nodes")}
        assert files == {str(disk.path) for disk in self.guest.disks.values()}


@pytest.mark.parametrize("life", range(LIVES))
def test_no_point_is_lost_or_wrong_whatever_is_killed(
    tmp_path: Path, host: Host, life: int
) -> None:
    seed = SEED or f"{random.SystemRandom().randrange(1 << 32)}"
    crashes = CRASHES // LIVES + (life < CRASHES % LIVES)
    print(f"HOLDFAST_SEED={seed}, {crashes} crashes")
    chance = random.Random(f"{seed} {life}")
    house = House(tmp_path, host, chance)
    unfinished = restored = 0
    try:
        house.begin(encrypted=life % 2 == 1)
        house.change()
        house.run()
        for number in range(crashes):
            victim = VICTIMS[(life + number) % len(VICTIMS)]
            house.change()
            before = house.points()
            session = house.start_job()
            delay = chance.random() * house.usual
            print(f"{victim} is killed after {delay:.3f} s")
            time.sleep(delay)
            house.kill(victim)
            ended = house.holdfast.ended(session)
            house.on()
            house.known[ended["UID"]] = digests(house.guest.contents())
            unfinished += ended["Result"] == "Failed"
            now = house.points()
            kept = [point for point in now if point in before]
            assert kept == before[-len(kept) :]
            assert len(kept) >= min(len(before), RETENTION - (len(now) - len(kept)))
            restored += house.check_points()
            check_nothing_half_made(house.holdfast)

            session = house.run()
            print(session["Result"], session.get("FailureMessage"))
            house.check_machine()
        restored += house.check_points()
        check_nothing_half_made(house.holdfast)
    finally:
        house.holdfast.kill()
    print(f"{unfinished} runs cut short, {restored} restores compared")
    assert unfinished >= crashes // 5, "hardly any kill met a running backup"
