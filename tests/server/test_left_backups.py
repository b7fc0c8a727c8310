"""What backups leave at machines is seen to at once, whatever else goes on or does not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import pytest

from holdfast.server import left_backups, tables
from holdfast.server.job_runner import WAITING
from holdfast.server.left_backups import note_backup
from holdfast.server.libvirt_references import host_reference
from holdfast.server.slots import Concurrency

from .lab import HandClock, Lab, running_lab
from .toy_platform import HERE, THERE, ToyHost, ToyPlatform


@pytest.fixture
async def lab(
    tmp_path: Path, clock: HandClock, platform: ToyPlatform, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    # What is not done at once is not done in these tests.
    monkeypatch.setattr(left_backups, "_FIRST_PAUSE", 3600.0)
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        yield lab


@pytest.fixture
def here(platform: ToyPlatform) -> ToyHost:
    return platform.hosts[HERE]


async def add_host(lab: Lab, uri: str = HERE) -> UUID:
    outcome = await lab.command("add-host", uri=uri)
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def job_of(lab: Lab, host: UUID) -> UUID:
    outcome = await lab.command(
        "create-job",
        name="Nightly",
        objects=[{"reference": host_reference(host)}],
        repository=str(lab.repository),
    )
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def leave(lab: Lab, host: UUID, uuid: str, chain: int = 1) -> None:
    """Write down that a backup may have left something, and have that looked at."""
    await lab.write(lambda c: note_backup(c, host, uuid, UUID(int=chain), []))
    lab.server._runner._left.wake()


async def test_who_waits_for_a_slot_has_no_machine_and_who_waits_for_a_machine_no_slot(
    lab: Lab, platform: ToyPlatform, here: ToyHost
) -> None:
    machine, idle = here.add("web"), here.add("idle")
    host = await add_host(lab)
    job = await job_of(lab, host)
    slots, machines = lab.server._runner._slots, lab.server._runner._locks.machines

    async def states() -> list[tuple[str, str]]:
        tasks = (await lab.tasks(session)).values()
        return sorted((task.values["State"], task.values["Reason"]) for task in tasks)

    async def is_begun() -> bool:
        return len(await states()) == 2

    async def is_seen_to() -> bool:
        return platform.ended == [machine]

    async def only_the_idle_one_is_done() -> bool:
        return await states() == [
            ("Completed", f"The machine {idle} is a toy."),
            ("Pending", WAITING),
        ]

    async with AsyncExitStack() as held:
        async with AsyncExitStack() as taken:
            for _ in range(Concurrency().machines):
                await taken.enter_async_context(slots.taken(lab.repository))
            session = await lab.begin(job)
            await lab.until(is_begun)
            await leave(lab, host, machine)
            await lab.until(is_seen_to)
            # When its turn comes, somebody else is at the machine.
            await held.enter_async_context(machines.hold(machine))
        await lab.until(only_the_idle_one_is_done)
        async with AsyncExitStack() as taken:
            for _ in range(Concurrency().machines):
                await taken.enter_async_context(slots.taken(lab.repository))
    await lab.server.wait_until_idle()
    assert [reason for _, reason in await states()] == sorted(
        f"The machine {uuid} is a toy." for uuid in (machine, idle)
    )


async def test_what_a_backup_left_is_seen_to_as_soon_as_it_has_ended(
    lab: Lab, platform: ToyPlatform, here: ToyHost
) -> None:
    machine = here.add("web")
    await lab.run(await job_of(lab, await add_host(lab)))

    async def is_seen_to() -> bool:
        return not await lab.rows(tables.left_backup)

    await lab.until(is_seen_to)
    assert platform.ended == [machine]


async def test_a_host_that_hangs_does_not_keep_the_guests_of_others_frozen(
    lab: Lab, platform: ToyPlatform, here: ToyHost
) -> None:
    there = platform.hosts[THERE]
    hanging, answering = there.add("db"), here.add("web")
    host, other = await add_host(lab), await add_host(lab, THERE)
    there.hanging = True
    await leave(lab, other, hanging)
    asked = len(platform.asked)

    async def is_asked() -> bool:
        return len(platform.asked) > asked

    await lab.until(is_asked)
    for chain in (1, 2):
        await leave(lab, host, answering, chain)

        async def is_seen_to(times: int = chain) -> bool:
            return platform.ended == [answering] * times

        await lab.until(is_seen_to)

    async def is_forgotten() -> bool:
        return [row.uuid for row in await lab.rows(tables.left_backup)] == [hanging]

    await lab.until(is_forgotten)
