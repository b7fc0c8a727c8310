"""Who works on a machine is alone with it: jobs that share it and restores in place take turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from engine.vm.lab import Guest
from holdfast.server.finished_chains import FinishedChains
from holdfast.server.job_runner import WAITING
from holdfast.server.journal import ChainKey
from holdfast.server.libvirt_references import machine_reference

from .lab import HostedLab, bytes_of

pytestmark = pytest.mark.vm


async def job_with(lab: HostedLab, name: str, guest: Guest, **more: Any) -> UUID:
    outcome = await lab.command(
        "create-job",
        name=name,
        objects=[{"reference": machine_reference(lab.host, guest.uuid)}],
        repository=str(lab.repository),
        **more,
    )
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def task(lab: HostedLab, session: UUID) -> dict[str, Any]:
    """Return the task session of a session as it is shown, once it is."""
    found = list((await lab.tasks(session)).values())
    return dict(found[0].values) if found else {"State": None, "Reason": ""}


async def test_jobs_and_restores_in_place_of_one_machine_take_turns(
    lab: HostedLab,
    make_guest: Callable[..., Guest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest()
    began, go_on, script = (tmp_path / name for name in ("began", "go on", "script"))
    script.write_text(
        f"#!/bin/sh\ntouch '{began}'\nwhile ! test -e '{go_on}'; do sleep 0.05; done\n"
    )
    script.chmod(0o755)
    second = await lab.job_of(guest)
    older = await lab.backed_up(guest, second, 0)
    before = guest.contents()["vda"]
    guest.write_something(1)
    guest.power_off()
    first = await job_with(lab, "First", guest, options={"before": {"path": str(script)}})
    third = await job_with(lab, "Third", guest)

    async def waits(session: UUID) -> bool:
        found = await task(lab, session)
        return (found["State"], found["Reason"]) == ("Pending", WAITING)

    async def has_begun() -> bool:
        return began.exists()

    sessions = [await lab.begin(first)]
    await lab.until(has_begun)
    sessions.append(await lab.begin(second))
    stopped = await lab.begin(third)
    for session in (sessions[1], stopped):
        await lab.until(lambda session=session: waits(session))
    # It can be stopped meanwhile, and does not wait for ever.
    assert (await lab.command("stop-session", stopped)).success

    async def has_ended() -> bool:
        return (await task(lab, stopped))["State"] == "Completed"

    await lab.until(has_ended)
    with monkeypatch.context() as changed:
        changed.setattr("holdfast.server.chain_locks.LONGEST_TURN", 0.05)
        late = await lab.begin(third)

        async def has_given_up() -> bool:
            return "was not free within" in (await task(lab, late))["Reason"]

        await lab.until(has_given_up)
    finished: list[ChainKey] = []
    really_finish = FinishedChains.finish

    async def finish(chains: FinishedChains, key: ChainKey) -> list[str]:
        finished.append(key)
        return await really_finish(chains, key)

    async def is_finished() -> bool:
        return bool(finished)

    monkeypatch.setattr(FinishedChains, "finish", finish)
    restore = await lab.begun("restore-machine", older, overwrite=True)
    # What was cut off in the chain keeps nobody off the machine while it is finished.
    await lab.until(is_finished)
    go_on.touch()
    assert (await lab.ended(restore)).values["Result"] == "Success"
    results = [await task(lab, session) for session in sessions]
    # The restore comes before a backup that waits for the machine first, then for a slot.
    assert [each["Result"] for each in results] == ["Success", "Warning"], results
    assert bytes_of(guest.disks["vda"].path) == before
