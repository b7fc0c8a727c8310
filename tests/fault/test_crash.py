"""Holdfast is killed at random moments of running jobs, again and again, and loses nothing.

After each SIGKILL it is started again on the same data. Then every session has ended with a
reason, the catalog's points restore to what their machines held when they were made, nothing
half-made lies about, and the next run succeeds.

``HOLDFAST_CRASHES`` says how often in all (25), shared out over several independent lives of a data
directory. The seed is printed; ``HOLDFAST_SEED`` repeats one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from fault.holdfast_process import HoldfastProcess
from holdfast.server.restore import restore_point

LIVES = 5
CRASHES = -(-int(os.environ.get("HOLDFAST_CRASHES", "20")) // LIVES)
SEED = os.environ.get("HOLDFAST_SEED")

MIB = 1 << 20
IMAGE_SIZE = 12 * MIB
RETENTION = 3
CRASHED = "The backup server stopped unexpectedly"

#: Seconds that clearing up may take; the lock of a killed restic can stand in the way for a minute.
CLEARING_LIMIT = 100.0

#: Seconds within which a run of both jobs is killed; a whole run takes about as long.
LONGEST_DELAY = 2.5


@dataclass
class Sources:
    """The machines and the directory that are backed up; they change between runs alone."""

    folder: Path
    chance: random.Random
    images: list[Path] = field(default_factory=list)

    def make(self) -> None:
        """Make two disk images and a directory with files."""
        self.images = [self.folder / "mail.raw", self.folder / "web.raw"]
        for image in self.images:
            image.write_bytes(self.chance.randbytes(IMAGE_SIZE // 2) + bytes(IMAGE_SIZE // 2))
        (self.files / "deep" / "deeper").mkdir(parents=True)
        for number in range(30):
            self._write_file(number)

    @property
    def files(self) -> Path:
        """The directory."""
        return self.folder / "share"

    def change(self) -> None:
        """Write here and there on every disk, and some files."""
        for image in self.images:
            with image.open("r+b") as disk:
                for _ in range(12):
                    disk.seek(self.chance.randrange(IMAGE_SIZE - 8192))
                    disk.write(self.chance.randbytes(8192))
        for _ in range(4):
            self._write_file(self.chance.randrange(40))

    def digests(self) -> dict[str, str]:
        """What is in them now: machine name to digest."""
        found = {image.stem: digest_of_file(image) for image in self.images}
        return found | {str(self.files): digest_of_tree(self.files)}

    def _write_file(self, number: int) -> None:
        place = self.files / ("deep/deeper" if number % 3 else ".") / f"file {number}.bin"
        place.write_bytes(self.chance.randbytes(self.chance.randrange(200_000)))


def digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_of_tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def jobs_for(sources: Sources, repository: str, *, cut_out: bool) -> list[dict[str, object]]:
    # With a point that is kept for long, others are cut out of the chain after it.
    options = {"gfs": {"yearly": {"keep": 1}}} if cut_out else {}
    return [
        {
            "options": options,
            "name": "Machines",
            "kind": "Backup",
            "repository": repository,
            "retention": RETENTION,
            "sources": [{"path": str(image), "format": "raw"} for image in sources.images],
        },
        {
            "name": "Share",
            "kind": "NasBackup",
            "repository": repository,
            "retention": RETENTION,
            "sources": [{"path": str(sources.files)}],
        },
    ]


def check_points(holdfast: HoldfastProcess, known: dict[str, dict[str, str]], scratch: Path) -> int:
    """Restore every point in the catalog and compare it with what its session saw.

    `known` holds the digests of each run, by the UIDs of its sessions. Returns how many restored.
    """
    session_of = {
        link["Href"].rsplit("/", 1)[-1]: session["UID"]
        for session in holdfast.entities("BackupJobSession")
        for link in session["Links"]
        if link["Type"] == "RestorePointReference"
    }
    restored = 0
    for point in holdfast.entities("RestorePoint"):
        uid = point["UID"].rsplit(":", 1)[-1]
        digests = known[session_of[uid]]
        target = scratch / uid
        machines = asyncio.run(restore_point(holdfast.data / "server", UUID(uid), target))
        for machine in machines:
            is_tree = machine.path.is_dir()
            found = digest_of_tree(machine.path) if is_tree else digest_of_file(machine.path)
            assert found == digests[machine.machine], f"{machine.machine} of {point['Name']}"
            restored += 1
        shutil.rmtree(target)
    return restored


def check_nothing_half_made(holdfast: HoldfastProcess) -> None:
    """Fail unless what was half made goes away; the server clears up while it serves already."""
    give_up_at = time.monotonic() + CLEARING_LIMIT
    while half_made := _half_made(holdfast):
        assert time.monotonic() < give_up_at, half_made
        time.sleep(0.2)


def _half_made(holdfast: HoldfastProcess) -> set[Path]:
    """Return temporary files, and images that are not those the catalog shows."""
    places = (holdfast.data / "repository", holdfast.data.parent / "offsite")
    found = [path for place in places for path in place.rglob("*")]
    temporary = {
        path for path in found if path.name.endswith((".partial", ".tmp")) or "-tmp-" in path.name
    }
    images = {path for path in found if path.suffix == ".qcow2"}
    return temporary | (images ^ {Path(f["FilePath"]) for f in holdfast.entities("BackupFile")})


@pytest.mark.parametrize("life", range(LIVES))
def test_nothing_is_lost_when_holdfast_is_killed_at_random_moments(
    tmp_path: Path, life: int
) -> None:
    seed = SEED or f"{random.SystemRandom().randrange(1 << 32)}"
    print(f"HOLDFAST_SEED={seed}, {CRASHES} crashes")
    chance = random.Random(f"{seed} {life}")
    folder = tmp_path / "sources"
    folder.mkdir()
    sources = Sources(folder, chance)
    sources.make()
    known: dict[str, dict[str, str]] = {}
    cut_short = restored = 0
    holdfast = HoldfastProcess(tmp_path / "data", tmp_path / "log.txt")
    holdfast.start()
    try:
        repository = holdfast.entities("Repository")[0]["UID"]
        specifications = jobs_for(sources, repository, cut_out=life % 2 == 1)
        jobs = [holdfast.create_job(each) for each in specifications]
        for _ in range(CRASHES):
            sources.change()
            before = {session["UID"] for session in holdfast.entities("BackupJobSession")}
            digests = sources.digests()
            for job in jobs:
                holdfast.act(f"/jobs/{job}?action=start")
            time.sleep(chance.random() * LONGEST_DELAY)
            holdfast.kill()

            holdfast.start()
            for session in holdfast.entities("BackupJobSession"):
                assert session["State"] == "Stopped"
                assert session["Result"] in ("Success", "Failed")
                if session["UID"] not in before:
                    known[session["UID"]] = digests
                if session["Result"] == "Failed":
                    assert CRASHED in session["FailureMessage"]
                    cut_short += session["UID"] not in before
            for task in holdfast.entities("BackupTaskSession"):
                assert task["State"] == "Completed"
                assert (task["Result"] == "Success") or (CRASHED in task["Reason"])
            restored += check_points(holdfast, known, tmp_path / "restored")
            check_nothing_half_made(holdfast)

            for job in jobs:
                session_uid = holdfast.run_job(job)
                known[session_uid] = digests
        restored += check_points(holdfast, known, tmp_path / "restored")
    finally:
        holdfast.kill()
    print(f"{cut_short} sessions cut short, {restored} restores compared")
    assert cut_short >= CRASHES // 5, "hardly any kill met a running job; choose other delays"
