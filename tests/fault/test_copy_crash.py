"""Holdfast is killed in the middle of copying restore points, and the copy is whole after.

``HOLDFAST_COPY_CRASHES`` says how often (4). The moments are spread over the time of a copy.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from uuid import UUID

from fault.holdfast_process import HoldfastProcess
from fault.test_crash import check_nothing_half_made, digest_of_file, digest_of_tree
from holdfast.server.restore import restore_point

CRASHES = int(os.environ.get("HOLDFAST_COPY_CRASHES", "4"))
MIB = 1 << 20


def test_a_copy_that_is_killed_again_and_again_is_whole_in_the_end(
    tmp_path: Path, monkeypatch
) -> None:
    chance = random.Random(11)
    disk, share = tmp_path / "mail.raw", tmp_path / "share"
    disk.write_bytes(chance.randbytes(96 * MIB))
    share.mkdir()
    (share / "file.bin").write_bytes(chance.randbytes(48 * MIB))
    monkeypatch.setenv("HOLDFAST_REPOSITORIES", f"Offsite={tmp_path / 'offsite'}")
    holdfast = HoldfastProcess(tmp_path / "data", tmp_path / "log.txt")
    holdfast.start()
    try:
        found = {each["Name"]: each["UID"] for each in holdfast.entities("Repository")}
        offsite = found.pop("Offsite")
        (main,) = found.values()
        common = {"repository": main, "retention": 9}
        jobs = [
            holdfast.create_job(common | {"name": "D", "sources": [{"path": str(disk)}]}),
            holdfast.create_job(
                common | {"name": "S", "kind": "NasBackup", "sources": [{"path": str(share)}]}
            ),
        ]
        digests: dict[str, set[str]] = {"mail": set(), str(share): set()}
        for _ in range(3):
            for job in jobs:
                holdfast.run_job(job)
            digests["mail"].add(digest_of_file(disk))
            digests[str(share)].add(digest_of_tree(share))
            with disk.open("r+b") as changed:
                changed.seek(chance.randrange(80 * MIB))
                changed.write(chance.randbytes(8 * MIB))
            (share / f"{chance.randrange(1000)}.bin").write_bytes(chance.randbytes(8 * MIB))
        copy = holdfast.create_job(
            {"name": "C", "kind": "BackupCopy", "repository": offsite, "linked_jobs": jobs}
        )
        for number in range(CRASHES):
            holdfast.act(f"/jobs/{copy}?action=sync")
            time.sleep(0.1 + 0.3 * number)
            holdfast.kill()
            holdfast.start()
            assert {each["State"] for each in holdfast.entities("BackupJobSession")} == {"Stopped"}
        check_nothing_half_made(holdfast)
        holdfast.run_job(copy)
        backups = {each["UID"]: each["Name"] for each in holdfast.entities("Backup")}
        restored: dict[str, set[str]] = {name: set() for name in digests}
        for point in holdfast.entities("RestorePoint"):
            uid = UUID(point["UID"].rpartition(":")[2])
            up = next(each for each in point["Links"] if each["Type"] == "BackupReference")
            if backups[f"urn:veeam:Backup:{up['Href'].rpartition('/')[2]}"] != "C":
                continue
            target = tmp_path / "restored" / str(uid)
            for machine in asyncio.run(restore_point(holdfast.data / "server", uid, target)):
                tree = machine.path.is_dir()
                digest = digest_of_tree(machine.path) if tree else digest_of_file(machine.path)
                restored[machine.machine].add(digest)
        assert restored == digests
    finally:
        holdfast.kill()
