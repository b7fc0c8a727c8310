"""Sessions: from the start of a job to points that can be restored."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.server.session_state import (
    IllegalTransitionError,
    JobSessionState,
    TaskSessionState,
    check_job_session,
    check_task_session,
)

from .lab import MIB, Lab, write_image, write_slow_image


async def test_a_job_makes_a_point_of_each_machine_that_restores_to_its_source(lab: Lab) -> None:
    contents = {
        name: write_image(lab.source(f"{name}.raw"), seed) for seed, name in enumerate("ab")
    }
    job = await lab.create_job("a.raw", "b.raw")

    session = await lab.run(job)

    assert session.name == "Nightly@2026-03-02 09:00:00"
    assert session.values["State"] == "Stopped"
    assert session.values["Result"] == "Success"
    assert session.values["Progress"] == 100
    assert "FailureMessage" not in session.values
    [restore_point] = await lab.resources("RestorePoint")
    assert restore_point.name == "Mar  2 2026  9:00AM"
    assert session.relations["restore_point"] == restore_point.uid
    tasks = await lab.tasks(session.uid)
    for name, content in contents.items():
        [point] = await lab.points(name)
        assert tasks[name].values["Result"] == "Success"
        assert tasks[name].values["TotalSize"] == 8 * MIB
        assert tasks[name].relations["point"] == point.uid
        assert point.relations["restore_point"] == restore_point.uid
        assert await lab.restored(point.uid) == content


async def test_a_directory_makes_a_point_that_restores_to_its_tree(lab: Lab) -> None:
    (lab.source("share") / "inner").mkdir(parents=True)
    (lab.source("share") / "inner" / "letter.txt").write_text("kept")
    job = await lab.create_job("share", kind="NasBackup")

    session = await lab.run(job)

    assert session.values["Result"] == "Success"
    assert session.values["JobType"] == "NasBackup"
    [task] = (await lab.tasks(session.uid)).values()
    assert task.values["TotalSize"] == 4
    assert task.values["VmUid"].startswith("urn:NasBackup:FileServer:")
    assert await lab.resources("VmRestorePoint") == []
    [restore_point] = await lab.resources("RestorePoint")
    [restored] = await lab.server.restore.point(restore_point.uid, lab.folder / "out")
    assert (restored.path / "inner" / "letter.txt").read_text() == "kept"


async def test_a_missing_machine_fails_the_session_and_leaves_the_others_points(lab: Lab) -> None:
    content = write_image(lab.source("a.raw"), 1)
    write_image(lab.source("c.raw"), 3)
    job = await lab.create_job("a.raw", "b.raw", "c.raw")

    session = await lab.run(job)

    assert session.values["Result"] == "Failed"
    assert session.values["FailureMessage"].startswith("1 of 3 machines failed. b: The disk image")
    tasks = await lab.tasks(session.uid)
    assert tasks["b"].values["Result"] == "Failed"
    assert tasks["b"].values["State"] == "Completed"
    assert "does not exist" in tasks["b"].values["Reason"]
    assert tasks["b"].values["TotalSize"] == 0
    assert "point" not in tasks["b"].relations
    [point] = await lab.points("a")
    assert await lab.restored(point.uid) == content


async def test_a_retry_takes_only_the_machines_that_failed(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw", "b.raw")
    await lab.run(job)
    content = write_image(lab.source("b.raw"), 2)

    session = await lab.run(job, "retry-job")

    assert session.values["IsRetry"] is True
    assert session.values["Result"] == "Success"
    assert list(await lab.tasks(session.uid)) == ["b"]
    [point] = await lab.points("b")
    assert await lab.restored(point.uid) == content
    again = await lab.command("retry-job", job)
    assert not again.success
    assert again.message.startswith("No machine failed in the last session")


async def test_a_full_taken_instead_of_an_increment_is_a_warning_with_the_reason(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    await lab.run(job)
    write_image(lab.source("a.raw"), 2, size=9 * MIB)

    session = await lab.run(job)

    [task] = (await lab.tasks(session.uid)).values()
    assert session.values["Result"] == task.values["Result"] == "Warning"
    assert "size of the disk changed" in task.values["Reason"]
    assert task.values["Reason"] in session.values["FailureMessage"]
    assert [p.values["PointType"] for p in await lab.points("a")] == ["Full", "Full"]


async def test_a_session_stopped_while_copying_ends_at_once_and_leaves_nothing(lab: Lab) -> None:
    write_slow_image(lab.source("a.raw"))
    job = await lab.create_job("a.raw")
    session = await lab.begin(job)
    await lab.until_copying()

    outcome = await lab.command("stop-job", job)
    stopping = await lab.resource("BackupJobSession", session)
    await asyncio.wait_for(lab.server.wait_until_idle(), 5)

    assert outcome.success
    assert stopping.values["State"] == "Stopping"
    stopped = await lab.resource("BackupJobSession", session)
    assert stopped.values["State"] == "Stopped"
    assert stopped.values["Result"] == "Failed"
    assert stopped.values["FailureMessage"] == "The session was stopped by operator."
    [task] = (await lab.tasks(session)).values()
    assert task.values["Reason"] == "The session was stopped by operator."
    assert [f.name for f in lab.repository_path.glob("*/*")] == []
    assert not (await lab.command("stop-job", job)).success
    assert not (await lab.command("stop-session", session)).success


async def test_a_session_stopped_before_its_first_step_still_ends(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    started, _stopped = await asyncio.gather(
        lab.command("start-job", job), lab.command("stop-job", job)
    )
    await lab.server.wait_until_idle()
    assert started.made is not None
    session = await lab.resource("BackupJobSession", started.made.uid)
    assert session.values["State"] == "Stopped"
    assert session.values["Result"] == "Failed"


async def test_machines_that_had_finished_keep_their_points_when_the_session_is_stopped(
    lab: Lab,
) -> None:
    content = write_image(lab.source("a.raw"), 1)
    write_slow_image(lab.source("b.raw"))
    job = await lab.create_job("a.raw", "b.raw")
    session = await lab.begin(job)
    await lab.until(lambda: lab.points("a"))

    await lab.command("stop-session", session)
    await lab.server.wait_until_idle()

    tasks = await lab.tasks(session)
    assert tasks["a"].values["Result"] == "Success"
    assert tasks["b"].values["Result"] == "Failed"
    [point] = await lab.points("a")
    assert await lab.restored(point.uid) == content


async def test_a_job_that_runs_is_not_started_again_nor_deleted(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    await lab.begin(job)
    assert (await lab.command("start-job", job)).message == 'Job "Nightly" is already running.'
    assert "is running" in (await lab.command("delete-job", job)).message
    await lab.server.wait_until_idle()


async def test_what_happens_unexpectedly_still_ends_the_session(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("holdfast.server.machine_backup.back_up_image", broken)
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")

    session = await lab.run(job)

    assert session.values["State"] == "Stopped"
    assert session.values["Result"] == "Failed"
    [task] = (await lab.tasks(session.uid)).values()
    assert task.values["Reason"].startswith("An internal error ended this.")
    assert "ZeroDivisionError" in caplog.text


def test_a_session_goes_only_from_one_state_to_one_that_may_follow() -> None:
    check_job_session("Starting", JobSessionState.WORKING)
    check_task_session("Pending", TaskSessionState.COMPLETED)
    with pytest.raises(IllegalTransitionError):
        check_job_session("Stopped", JobSessionState.WORKING)
    with pytest.raises(IllegalTransitionError):
        check_job_session("Stopping", JobSessionState.WORKING)
    with pytest.raises(IllegalTransitionError):
        check_task_session("Completed", TaskSessionState.IN_PROGRESS)
