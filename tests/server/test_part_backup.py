"""Backups of single machines: in the chain of a job, or on their own for a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from holdfast.server import expiry, tables
from holdfast.server.journal import ChainKey
from holdfast.server.part_backup import Keeping, removal_of
from holdfast.server.refusal import RefusedError

from .lab import Lab, write_image


async def reference(lab: Lab, name: str) -> str:
    """Return the hierarchy reference of a machine in a job."""
    found = await lab.resources("ObjectInJob")
    return next(str(o.values["HierarchyObjRef"]) for o in found if o.name == name)


async def one_off(lab: Lab, *names: str, **more: Any) -> UUID:
    """Make a one-off backup; return the UID of its session."""
    machines = [await reference(lab, name) for name in names]
    outcome = await lab.command(
        "one-off-backup", machines=machines, repository=str(lab.repository), **more
    )
    assert outcome.made is not None, outcome.message
    await lab.server.wait_until_idle()
    return outcome.made.uid


async def backups(lab: Lab) -> set[str]:
    return {backup.name for backup in await lab.resources("Backup")}


async def test_a_one_off_backup_is_compressed_or_not_as_it_was_asked_for(lab: Lab) -> None:
    content = b"so easily made small " * 100_000
    content = content.ljust(4 << 20, b"\0")
    lab.source("a.raw").write_bytes(content)
    await lab.create_job("a.raw")
    sizes = []
    for options in ({"compression": "none"}, {"compression_level": 1}, {"compression_level": 19}):
        known = {file.uid for file in await lab.resources("BackupFile")}
        await one_off(lab, "a", **options)
        [file] = [f for f in await lab.resources("BackupFile") if f.uid not in known]
        sizes.append(int(str(file.values["BackupSize"])))
    assert sizes[0] > len(content) / 3 > sizes[1] >= sizes[2]
    with pytest.raises(AssertionError, match="compression_level: expected between 1 and 19"):
        await one_off(lab, "a", compression_level=20)
    for point in await lab.points("a"):
        assert await lab.restored(point.uid) == content


async def test_a_one_off_backup_leaves_the_chain_of_the_job_alone(lab: Lab) -> None:
    contents = {n: write_image(lab.source(f"{n}.raw"), seed) for seed, n in enumerate("ab")}
    job = await lab.create_job("a.raw", "b.raw")
    await lab.run(job)

    session = await one_off(lab, "a", "b")

    shown = await lab.resource("BackupJobSession", session)
    assert (shown.values["JobName"], shown.values["Result"]) == (
        "VeeamZip of a and 1 more",
        "Success",
    )
    assert await backups(lab) == {"Nightly", "VeeamZip of a and 1 more"}
    assert len(await lab.resources("Job")) == 1
    for name, content in contents.items():
        points = await lab.points(name)
        assert [p.values["PointType"] for p in points] == ["Full", "Full"]
        assert [await lab.restored(p.uid) for p in points] == [content, content]
    lab.clock.advance(timedelta(days=1))
    await lab.run(job)
    assert [p.values["PointType"] for p in await lab.points("a")][-1] == "Increment"


async def test_a_backup_that_has_expired_is_removed_and_nothing_else(lab: Lab) -> None:
    content = write_image(lab.source("a.raw"), 1)
    await lab.run(await lab.create_job("a.raw"))
    await one_off(lab, "a", remove="In1Week")
    lab.clock.advance(timedelta(days=6))
    assert len(await backups(lab)) == 2

    lab.clock.advance(timedelta(days=1))

    async def gone() -> bool:
        return len(await backups(lab)) == 1

    await lab.until(gone)
    [point] = await lab.points("a")
    assert await lab.restored(point.uid) == content
    assert len(list(lab.repository_path.glob("*/*.qcow2"))) == 1
    assert await lab.rows(tables.intent) == []


def test_the_files_of_keys_go_with_their_folder_and_stay_with_anything_else(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    key, other = folder / f"{uuid4()}.key.json", folder / "kept.qcow2"
    key.write_text("{}")
    other.write_bytes(b"encrypted")
    expiry.remove_folder(folder)
    assert key.exists()
    other.unlink()
    expiry.remove_folder(folder)
    assert not folder.exists()


async def test_a_backup_that_must_stay_keeps_no_other_from_going(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(lab.source("a.raw"), 1)
    write_image(lab.source("b.raw"), 1)
    await lab.run(await lab.create_job("a.raw", "b.raw"))
    for name in "ab":
        await one_off(lab, name, remove="In3days")
    rows = [row for row in await lab.rows(tables.backup) if row.expires is not None]
    real = expiry.withdraw_chain

    def refusing(connection: Any, key: ChainKey, now: int) -> Any:
        if key.backup == rows[0].uid:
            raise RefusedError("A machine runs from this backup: a test.")
        return real(connection, key, now)

    monkeypatch.setattr(expiry, "withdraw_chain", refusing)
    lab.clock.advance(timedelta(days=3))

    async def gone() -> bool:
        return len(await backups(lab)) == 2

    await lab.until(gone)
    assert rows[0].name in await backups(lab)


async def test_a_backup_in_a_repository_that_is_away_goes_when_that_is_back(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    await lab.run(await lab.create_job("a.raw"))
    await one_off(lab, "a", remove="In3days")
    away = lab.folder / "away"
    lab.repository_path.rename(away)
    lab.clock.advance(timedelta(days=3))

    async def withdrawn() -> bool:
        return bool(await lab.rows(tables.intent))

    await lab.until(withdrawn)
    assert len(await lab.points("a")) == 1
    away.rename(lab.repository_path)

    async def gone() -> bool:
        lab.clock.advance(timedelta(minutes=10))
        return len(await backups(lab)) == 1

    await lab.until(gone)
    assert len(list(lab.repository_path.glob("*/*.qcow2"))) == 1


async def test_a_one_off_backup_that_failed_leaves_no_empty_backup(lab: Lab) -> None:
    await lab.create_job("missing.raw")
    session = await one_off(lab, "missing")
    assert (await lab.resource("BackupJobSession", session)).values["Result"] == "Failed"

    async def gone() -> bool:
        return not await backups(lab)

    await lab.until(gone)


async def test_a_quick_backup_needs_a_job_and_a_machine_that_is_known(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    machine = await reference(lab, "a")
    await lab.run(job)
    assert (await lab.command("delete-job", job)).success
    outcome = await lab.command("quick-backup", machine=machine)
    assert "No job backs up the machine" in outcome.message
    assert not (await lab.command("quick-backup", machine="urn:Qemu:Vm:x")).success
    # What is known from a job that is gone can still be backed up on its own.
    machines = {"machines": [machine], "repository": str(lab.repository)}
    assert (await lab.command("one-off-backup", **machines)).success
    await lab.server.wait_until_idle()


@pytest.mark.parametrize(
    ("keeping", "expected"),
    [
        ("Never", None),
        ("In3days", datetime(2026, 2, 3, 9, tzinfo=UTC)),
        ("In1Month", datetime(2026, 2, 28, 9, tzinfo=UTC)),
        ("In6Months", datetime(2026, 7, 31, 9, tzinfo=UTC)),
        ("In1Year", datetime(2027, 1, 31, 9, tzinfo=UTC)),
        ("In7Years", datetime(2033, 1, 31, 9, tzinfo=UTC)),
    ],
)
def test_how_long_a_backup_is_kept(keeping: Keeping, expected: datetime | None) -> None:
    assert removal_of(keeping, datetime(2026, 1, 31, 9, tzinfo=UTC)) == expected


def test_a_night_ends_at_local_midnight() -> None:
    now = datetime(2026, 1, 31, 9, tzinfo=UTC)
    tonight, tomorrow = removal_of("Tonight", now), removal_of("TomorrowNight", now)
    assert tonight is not None
    assert tomorrow is not None
    assert tonight.astimezone().hour == tonight.astimezone().minute == 0
    assert now < tonight <= now + timedelta(days=1) < tomorrow <= now + timedelta(days=2)
