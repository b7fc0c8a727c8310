"""Restores of whole machines, as sessions: where they go, what they check, what a crash leaves."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from holdfast.engine.image import restore_image
from holdfast.server import point_restore, restore_sessions
from holdfast.server.messages import Change
from holdfast.server.restore_plan import MachineRestoreOptions, plan_machine, point_row

from .lab import Lab, write_image

OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]


async def begun(lab: Lab, point: UUID, **options: Any) -> UUID:
    outcome = await lab.command("restore-machine", point, **options)
    assert outcome.success, outcome.message
    assert outcome.made is not None
    assert outcome.made.type == "RestoreSession"
    return outcome.made.uid


async def restored(lab: Lab, point: UUID, **options: Any) -> Change:
    session = await begun(lab, point, **options)
    await lab.server.wait_until_idle()
    return await lab.resource("RestoreSession", session)


async def backed_up(lab: Lab, seed: int = 1) -> tuple[bytes, UUID]:
    content = write_image(lab.source("a.raw"), seed)
    await lab.run(await lab.create_job("a.raw"))
    return content, (await lab.points("a"))[-1].uid


async def test_a_machine_is_restored_beside_the_original_under_a_new_name(lab: Lab) -> None:
    content, point = await backed_up(lab)
    lab.source("a.raw").write_bytes(b"the original")
    session = await restored(lab, point, new_name="a-again")
    assert lab.source("a-again.raw").read_bytes() == content
    assert lab.source("a.raw").read_bytes() == b"the original"
    values = session.values
    assert (values["State"], values["Result"], values["Progress"]) == ("Stopped", "Success", 100)
    assert (values["JobType"], values["JobName"], values["VmDisplayName"]) == (
        "RestoreVm",
        "Nightly",
        "a",
    )
    assert session.relations == {"point": point}
    assert session.name == "a@2026-03-02 09:10:00"


async def test_the_original_is_replaced_only_when_that_was_asked_for(lab: Lab) -> None:
    content, point = await backed_up(lab)
    lab.source("a.raw").write_bytes(b"the original")
    session = await restored(lab, point)
    assert session.values["Result"] == "Failed"
    assert "exists already" in session.values["FailureMessage"]
    assert lab.source("a.raw").read_bytes() == b"the original"
    session = await restored(lab, point, overwrite=True)
    assert session.values["Result"] == "Success"
    assert lab.source("a.raw").read_bytes() == content
    lab.source("a.raw").unlink()
    assert (await restored(lab, point)).values["Result"] == "Success"
    assert lab.source("a.raw").read_bytes() == content


async def test_an_increment_is_restored_whole(lab: Lab) -> None:
    first = write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    await lab.run(job)
    second = bytearray(first)
    second[1 << 20 : (1 << 20) + 4096] = b"x" * 4096
    lab.source("a.raw").write_bytes(second)
    await lab.run(job)
    old, new = await lab.points("a")
    await restored(lab, new.uid, new_name="new")
    await restored(lab, old.uid, new_name="old")
    assert lab.source("new.raw").read_bytes() == second
    assert lab.source("old.raw").read_bytes() == first


async def test_a_backup_file_that_was_changed_is_noticed_before_anything_is_written(
    lab: Lab,
) -> None:
    _, point = await backed_up(lab)
    [image] = lab.repository_path.glob("*/*.qcow2")
    damaged = bytearray(image.read_bytes())
    damaged[-1000] ^= 1  # a bit of the data, which no check of the format would see
    image.write_bytes(damaged)
    session = await restored(lab, point, overwrite=True)
    assert session.values["Result"] == "Failed"
    assert "checksum" in session.values["FailureMessage"]


async def test_what_cannot_be_done_is_a_warning_or_refused(lab: Lab) -> None:
    content, point = await backed_up(lab)
    session = await restored(lab, point, new_name="b.raw", power_on=True)
    assert session.values["Result"] == "Warning"
    assert "not powered on" in session.values["FailureMessage"]
    assert lab.source("b.raw").read_bytes() == content
    for name in ("../b", "a/b", "..", "\x01", "n" * 300):
        outcome = await lab.command("restore-machine", point, new_name=name)
        assert not outcome.success
        assert "plain file name" in outcome.message
    outcome = await lab.command("restore-machine", UUID(int=1))
    assert outcome.message == f"Cannot find restore point [{UUID(int=1)}]."


async def held_restore(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let restores stand still just before they write the disk; set the event to go on."""
    go_on = asyncio.Event()

    async def slow(point: Path, target: Path, *arguments: Any, **options: Any) -> None:
        target.with_name(target.name + ".partial").write_bytes(b"half")
        try:
            await go_on.wait()
        finally:
            target.with_name(target.name + ".partial").unlink(missing_ok=True)
        await restore_image(point, target, *arguments, **options)

    monkeypatch.setattr(point_restore, "restore_image", slow)
    return go_on


async def test_a_restore_can_be_stopped_and_leaves_the_original(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, point = await backed_up(lab)
    lab.source("a.raw").write_bytes(b"the original")
    await held_restore(monkeypatch)
    session = await begun(lab, point, overwrite=True)
    second = await lab.command("restore-machine", point, overwrite=True)
    assert second.message == f"Another restore is writing to {lab.source('a.raw')}."

    async def writing() -> bool:
        return lab.source("a.raw.partial").exists()

    await lab.until(writing)
    assert (await lab.command("stop-restore", session)).success
    await lab.server.wait_until_idle()
    values = (await lab.resource("RestoreSession", session)).values
    assert (values["State"], values["Result"]) == ("Stopped", "Failed")
    assert values["FailureMessage"] == "The restore was stopped by operator."
    assert lab.source("a.raw").read_bytes() == b"the original"
    assert not list(lab.folder.glob("sources/*.partial"))
    again = await lab.command("stop-restore", session)
    assert "has ended already" in again.message


async def test_a_restore_stopped_before_it_began_is_not_told_as_done(lab: Lab) -> None:
    _, point = await backed_up(lab)

    def begin_and_stop(connection: Connection) -> UUID:
        row = point_row(connection, point)
        options = MachineRestoreOptions(new_name="b")
        uid = restore_sessions.begin(connection, plan_machine(connection, row, options), row, 1)
        restore_sessions.request_stop(connection, uid, "Stopped by operator.")
        return uid

    session = await lab.write(begin_and_stop)
    lab.server._restores.launch(session)
    await lab.server.wait_until_idle()
    values = (await lab.resource("RestoreSession", session)).values
    assert (values["State"], values["Result"]) == ("Stopped", "Failed")
    assert values["FailureMessage"] == "Stopped by operator."
    assert not lab.source("b.raw").exists()


async def test_what_a_crash_leaves_of_a_restore_is_removed_and_its_session_ended(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        _, point = await backed_up(lab)
        session = await restored(lab, point, new_name="b")
        lab.source("b.raw").rename(lab.source("b.raw.partial"))
    # As if the server had been killed while it wrote the disk.
    with closing(sqlite3.connect(lab.folder / "server" / "server.sqlite")) as database, database:
        database.execute("UPDATE restore_session SET state = 'Working', result = 'None'")
    async with open_lab() as lab:
        values = (await lab.resource("RestoreSession", session.uid)).values
        assert (values["State"], values["Result"]) == ("Stopped", "Failed")
        assert "stopped unexpectedly" in values["FailureMessage"]
        assert not lab.source("b.raw.partial").exists()


async def test_shutting_down_stops_restores_and_says_so(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab() as lab:
        _, point = await backed_up(lab)
        await held_restore(monkeypatch)
        session = await begun(lab, point, new_name="b")
    async with open_lab() as lab:
        values = (await lab.resource("RestoreSession", session)).values
        assert values["Result"] == "Failed"
        assert values["FailureMessage"] == "The backup server was shut down."


async def test_retention_waits_for_a_restore(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw", retention=1)
    await lab.run(job)
    [point] = await lab.points("a")
    go_on = await held_restore(monkeypatch)
    session = await begun(lab, point.uid, new_name="b")
    write_image(lab.source("a.raw"), 2)
    lab.clock.advance(timedelta(minutes=1))
    await lab.begin(job)
    await asyncio.sleep(0.5)
    go_on.set()
    await lab.server.wait_until_idle()
    assert (await lab.resource("RestoreSession", session)).values["Result"] == "Success"
    assert lab.source("b.raw").read_bytes() == first
    assert len(await lab.points("a")) == 1
