"""Machines that a job has no more: their points age, are checked, and go where that is wanted."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from holdfast.server import tables
from holdfast.server.points import withdraw_point

from .lab import Lab, flip, write_image
from .offsite import Offsite, back_up, restored, result_of
from .test_long_retention import DAY


async def run_days(lab: Lab, job: UUID, days: int, *names: str) -> None:
    for _ in range(days):
        for number, name in enumerate(names):
            if lab.source(name).suffix:
                write_image(lab.source(name), lab.clock.now().day * 10 + number)
            else:
                lab.source(name).mkdir(exist_ok=True)
                (lab.source(name) / "file").write_text(lab.clock.now().isoformat())
        session = await lab.run(job)
        assert session.values["Result"] == "Success", session.values
        lab.clock.advance(DAY - timedelta(minutes=10))


async def take_out(lab: Lab, job: UUID, name: str) -> None:
    rows = await lab.rows(tables.job_object)
    [row] = [row for row in rows if row.job_uid == job and row.path == str(lab.source(name))]
    outcome = await lab.command("remove-object", row.uid)
    assert outcome.success, outcome.message


async def points_of(lab: Lab, name: str) -> list[Any]:
    rows = await lab.rows(tables.machine_point)
    return [row for row in rows if row.source_path == str(lab.source(name))]


async def test_points_of_a_machine_that_was_taken_out_age_and_go(lab: Lab) -> None:
    job = await lab.create_job("a.raw", "b.raw", retention_days=2)
    await run_days(lab, job, 2, "a.raw", "b.raw")
    await take_out(lab, job, "b.raw")
    assert len(await points_of(lab, "b.raw")) == 2
    await run_days(lab, job, 2, "a.raw")
    # The newest stays, however old it is: nobody has said that it is to go.
    assert len(await points_of(lab, "b.raw")) == 1
    assert (await lab.command("edit-job", job, options={"remove_deleted_after": 4})).success
    # Four days after the first session without it, which was two days ago.
    await run_days(lab, job, 2, "a.raw")
    assert len(await points_of(lab, "b.raw")) == 1
    await run_days(lab, job, 1, "a.raw")
    assert await points_of(lab, "b.raw") == []
    assert len(await points_of(lab, "a.raw")) == 2
    assert await lab.rows(tables.intent) == []
    assert not list(lab.repository_path.glob("*/b*"))


async def test_a_directory_that_was_taken_out_goes_without_the_others(lab: Lab) -> None:
    options = {"remove_deleted_after": 1}
    job = await lab.create_job("a", "b", kind="NasBackup", options=options)
    await run_days(lab, job, 1, "a", "b")
    await take_out(lab, job, "b")
    # By itself, and not by asking for single machines.
    assert (await lab.run(job, "check-job")).values["Result"] == "Success"
    assert len(await points_of(lab, "b")) == 1
    # However long nothing ran: the days are for people to notice that it is gone.
    lab.clock.advance(5 * DAY)
    await run_days(lab, job, 1, "a")
    assert len(await points_of(lab, "b")) == 1
    await run_days(lab, job, 1, "a")
    assert await points_of(lab, "b") == []
    assert len(await points_of(lab, "a")) == 3
    assert len(list(lab.repository_path.glob("*/files/snapshots/*"))) == 3


async def test_points_of_a_machine_that_was_taken_out_are_checked(lab: Lab) -> None:
    job = await lab.create_job("a.raw", "b.raw")
    await run_days(lab, job, 1, "a.raw", "b.raw")
    await take_out(lab, job, "b.raw")
    [file] = lab.repository_path.glob("*/b*.qcow2")
    flip(file)
    session = await lab.run(job, "check-job")
    assert session.values["Result"] == "Warning"
    assert session.values["FailureMessage"] == (
        f"b: The backup file {file} is damaged: its checksum is not the one it was written with."
    )
    assert [bool(row.damaged) for row in await points_of(lab, "b.raw")] == [True]
    assert [bool(row.damaged) for row in await points_of(lab, "a.raw")] == [False]


async def lose_originals(lab: Lab, offsite: Offsite) -> None:
    """Take out of the catalog whatever is no copy."""
    copies = {row.uid for row in await offsite.points()}
    for row in await lab.rows(tables.machine_point):
        if row.uid not in copies:
            await lab.write(partial(withdraw_point, uid=row.uid))


async def test_copies_of_a_backup_that_was_lost_stay_for_days_with_a_warning(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    contents = await back_up(lab, job, 1, 2)
    copy = await offsite.copy_job(job, options={"remove_deleted_after": 3})
    # For long there is nothing new to copy: the backup job is switched off.
    for _ in range(6):
        assert result_of(await lab.run(copy)) == ("Success", None)
        lab.clock.advance(DAY)
    await lose_originals(lab, offsite)
    gone = "a: what its restore points here are copies of is gone"
    for days in ("3 days", "2 days"):
        result, message = result_of(await lab.run(copy))
        assert result == "Warning"
        assert message.startswith(gone)
        assert f"They are removed in {days}, unless" in message
        assert await restored(lab, await offsite.points()) == contents
        lab.clock.advance(DAY)
    # With a new chain there is a source again, and the days begin anew when that is lost.
    contents += await back_up(lab, job, 3)
    assert result_of(await lab.run(copy)) == ("Success", None)
    assert await restored(lab, await offsite.points()) == contents
    assert await lab.rows(tables.lost_source) == []
    await lose_originals(lab, offsite)
    for days in ("3 days", "2 days", "1 day"):
        assert f"in {days}, unless" in result_of(await lab.run(copy))[1]
        lab.clock.advance(DAY)
    assert len(await offsite.points()) == 3
    assert result_of(await lab.run(copy)) == ("Success", None)
    assert await offsite.points() == []
    await lab.run(copy)
    assert await lab.rows(tables.lost_source) == []


async def test_copies_of_a_backup_that_was_lost_stay_where_nothing_else_is_said(lab: Lab) -> None:
    offsite = await Offsite.of(lab)
    jobs = [await lab.create_job(f"{name}.raw", job=name) for name in "ab"]
    [content] = await back_up(lab, jobs[0], 1)
    await back_up(lab, jobs[1], 2, machine="b.raw")
    copy = await offsite.copy_job(*jobs, retention_days=2)
    assert result_of(await lab.run(copy)) == ("Success", None)
    [link, _] = await lab.rows(tables.job_link)
    assert (await lab.command("remove-linked-job", link.uid)).success
    result, message = result_of(await lab.run(copy))
    assert result == "Warning"
    assert message.endswith("nothing else of it to copy from. They stay.")
    lab.clock.advance(5 * DAY)
    # That is told once.
    assert result_of(await lab.run(copy)) == ("Success", None)
    [point, _] = await offsite.points()
    assert await restored(lab, [point]) == [content]
