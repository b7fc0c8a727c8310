"""Jobs: made, cloned, switched, deleted; and what is refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from holdfast.server.messages import Command

from .lab import Lab, write_image

DAILY = {"type": "Daily", "time": "22:00:00", "zone": "Europe/Berlin"}


async def test_a_job_shows_its_machines_its_schedule_and_its_retention(lab: Lab) -> None:
    job = await lab.create_job("a.raw", "b.qcow2", retention=5, schedule=DAILY)

    shown = await lab.resource("Job", job)

    assert shown.values["JobType"] == "Backup"
    assert shown.values["ScheduleEnabled"] is True
    daily = shown.values["JobScheduleOptions"]["Standart"]["OptionsDaily"]
    assert daily["Time"] == "22:00:00.0000000+01:00"
    assert daily["TimeOffsetUtc"] == 3600
    info = shown.values["JobInfo"]["BackupJobInfo"]
    assert info["SimpleRetentionPolicy"]["RetainCycles"] == 5
    includes = info["Includes"]["ObjectInJob"]
    assert [each["Name"] for each in includes] == ["a", "b"]
    objects = await lab.resources("ObjectInJob")
    assert includes[0]["Href"] == f"/jobs/{job}/includes/{objects[0].uid}"
    assert objects[0].relations["job"] == job


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "  "}, "name: a job needs a name"),
        ({"name": "NIGHTLY"}, 'There is a job named "NIGHTLY" already.'),
        ({"sources": []}, "objects, sources: expected at least one"),
        ({"sources": [{"path": "relative.raw"}]}, "sources[0].path: expected an absolute path"),
        ({"sources": [{"path": "/a/../b.raw"}]}, "sources[0].path: expected an absolute path"),
        (
            {"sources": [{"path": "/a.raw"}, {"path": "//a.raw/"}]},
            "sources: each may be given once",
        ),
        ({"retention": 0}, "retention: expected between 1 and 9999 restore points."),
        ({"kind": "Magic"}, "kind: expected Backup, BackupCopy, "),
        ({"kind": "Replica"}, "needs a target"),
        ({"repository": str(uuid4())}, "Cannot find repository"),
        ({"schedule": {"type": "Daily", "time": "22:00", "zone": "Mars/Base"}}, "schedule"),
        ({"schedule": {"type": "Periodically", "every": 0}}, "between 1 and 10000"),
        ({"nonsense": 1}, "nonsense: there is no such field; expected one of name, "),
    ],
)
async def test_a_job_that_makes_no_sense_is_refused_with_the_reason(
    lab: Lab, change: dict[str, Any], reason: str
) -> None:
    await lab.create_job("x.raw")
    arguments: dict[str, Any] = {
        "name": "Other",
        "sources": [{"path": "/a.raw"}],
        "repository": str(lab.repository),
    }
    outcome = await lab.command("create-job", **(arguments | change))
    assert not outcome.success
    assert reason in outcome.message
    assert len(await lab.resources("Job")) == 1


async def test_a_clone_has_its_own_chain_and_its_schedule_switched_off(lab: Lab) -> None:
    content = write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw", schedule=DAILY, description="the original")
    await lab.run(job)

    outcome = await lab.command("clone-job", job)

    assert outcome.made is not None
    assert outcome.made.name == "Cloned job (3/2/2026 9:10:00 AM)"
    clone = await lab.resource("Job", outcome.made.uid)
    assert clone.values["ScheduleConfigured"] is True
    assert clone.values["ScheduleEnabled"] is False
    assert "NextRun" not in clone.values
    assert clone.values["Description"] == "the original"
    await lab.run(clone.uid)
    points = await lab.points("a")
    assert [p.values["PointType"] for p in points] == ["Full", "Full"]
    assert [await lab.restored(p.uid) for p in points] == [content, content]
    assert len(await lab.resources("Backup")) == 2
    second = await lab.command("clone-job", job, name="Mine", description="a copy")
    assert second.made is not None
    assert second.made.name == "Mine"


async def test_a_schedule_is_switched_on_and_off(lab: Lab) -> None:
    job = await lab.create_job("a.raw", schedule=DAILY)
    plain = await lab.create_job("a.raw", job="Plain")
    assert (await lab.command("toggle-schedule", job)).success
    off = await lab.resource("Job", job)
    assert off.values["ScheduleEnabled"] is False
    assert "NextRun" not in off.values
    assert (await lab.command("toggle-schedule", job)).success
    assert "NextRun" in (await lab.resource("Job", job)).values
    assert (await lab.command("toggle-schedule", plain)).message == 'Job "Plain" has no schedule.'


async def test_a_deleted_job_leaves_its_backups_and_its_history(lab: Lab) -> None:
    content = write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    session = await lab.run(job)

    assert (await lab.command("delete-job", job)).success

    assert await lab.resources("Job") == []
    assert await lab.resources("ObjectInJob") == []
    assert (await lab.resource("BackupJobSession", session.uid)).relations["job"] == job
    [point] = await lab.points("a")
    assert await lab.restored(point.uid) == content
    assert (await lab.command("start-job", job)).message == f"Cannot find job [{job}]."
    again = await lab.create_job("a.raw")
    await lab.run(again)
    assert len(await lab.points("a")) == 2


async def test_a_command_asked_twice_at_once_is_carried_out_once(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    command = Command(request_id=uuid4(), operation="start-job", target=job)

    first, second = await asyncio.gather(lab.server.execute(command), lab.server.execute(command))
    await lab.server.wait_until_idle()

    assert first == second == await lab.server.execute(command)
    assert first.success
    assert len(await lab.resources("BackupJobSession")) == 1


async def test_a_command_goes_on_when_whoever_asked_has_gone(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    asking = asyncio.create_task(lab.command("start-job", job))
    await asyncio.sleep(0)
    asking.cancel()
    await lab.until(lambda: lab.resources("BackupJobSession"))
    await lab.server.wait_until_idle()
    [session] = await lab.resources("BackupJobSession")
    assert session.values["Result"] == "Success"


async def test_an_unknown_operation_is_refused(lab: Lab) -> None:
    outcome = await lab.command("explode")
    assert not outcome.success
    assert "explode" in outcome.message


async def test_a_due_job_starts_by_itself_and_not_twice_at_once(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw", schedule={"type": "Periodically", "every": 1})
    lab.clock.advance(timedelta(hours=1))
    await lab.until(lambda: lab.resources("BackupJobSession"))
    await lab.server.wait_until_idle()
    next_run = (await lab.resource("Job", job)).values["NextRun"]
    assert (
        next_run
        == (await lab.resources("BackupJobSession"))[0].values["CreationTimeUTC"] + 3600 * 1000
    )
