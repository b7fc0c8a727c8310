"""Machines that take the place of others: what jobs mean by a reference then."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from holdfast.server import failover_settlement, stand_ins, tables
from holdfast.server.failover_elsewhere import jobs_with_source, left_behind, rename_in_jobs
from holdfast.server.failover_record import Failover, Operation, Place
from holdfast.server.hosted_objects import locate
from holdfast.server.hosted_restore_plan import _took_its_place
from holdfast.server.libvirt_references import host_reference, machine_reference, tag_reference

from .lab import HandClock, Lab, running_lab
from .test_hosted_objects import add_host, includes, machines_of, make_job
from .test_replicas import give_replica, replica_job
from .toy_platform import HERE, THERE, ToyPlatform


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock, platform: ToyPlatform) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        yield lab


async def test_jobs_go_on_with_the_machine_that_took_the_place(
    lab: Lab, platform: ToyPlatform
) -> None:
    web = platform.hosts[HERE].add("web")
    new = platform.hosts[THERE].add("web-new", uuid=web)
    here, there = await add_host(lab), await add_host(lab, THERE)
    former, now = machine_reference(here, web), machine_reference(there, new)
    job = await make_job(lab, former)
    assert await machines_of(lab, job) == ["web"]

    def take_place(connection: Connection) -> None:
        stand_ins.record(connection, former, now)
        rename_in_jobs(connection, [now])

    await lab.write(take_place)
    assert await includes(lab) == [("web-new", former)]
    # The original is still there. It is nobody's any more.
    assert await machines_of(lab, job) == ["web-new"]
    assert (await lab.command("delete-job", job)).success
    job = await make_job(lab, host_reference(there), former)
    assert await machines_of(lab, job) == ["web-new"]
    assert (await lab.command("delete-job", job)).success
    job = await make_job(lab, host_reference(here))
    assert await machines_of(lab, job) == []
    # Its host holds nobody up, that of the new one does.
    assert (await lab.command("delete-job", job)).success
    await make_job(lab, former)
    refused = await lab.command("remove-host", there)
    assert 'has machines of host "kvm2"' in refused.message
    removed = await lab.command("remove-host", here)
    assert removed.success, removed.message
    row = await lab.write(lambda connection: locate(connection, former))
    assert (row.name, row.host_uid) == ("web-new", there)
    # A point of the original is not brought over the machine that has its place.
    assert await lab.write(lambda c: took_place(c, former, "kvm1/web", row))
    assert not await lab.write(lambda c: took_place(c, former, "kvm2/web-new", row))


def took_place(connection: Connection, reference: str, source: str, there: Any) -> bool:
    point: Any = SimpleNamespace(reference=reference, source_path=source)
    known: Any = SimpleNamespace(uuid=there.uuid)
    return _took_its_place(connection, point, there, known)


async def test_place_is_taken_again_and_given_back(lab: Lab) -> None:
    def take_places(connection: Connection) -> list[dict[str, str]]:
        seen = []
        for former, now in (("a", "b"), ("a", "c"), ("c", "d"), ("a", "a")):
            stand_ins.record(connection, former, now)
            seen.append(stand_ins.all_of(connection))
        return seen

    assert await lab.write(take_places) == [
        {"a": "b"},
        {"a": "c", "b": "c"},
        {"a": "d", "b": "d", "c": "d"},
        {"b": "a", "c": "a", "d": "a"},
    ]


async def test_jobs_that_do_not_follow_to_the_new_machine_are_named(
    lab: Lab, platform: ToyPlatform
) -> None:
    web = platform.hosts[HERE].add("web", "gold")
    platform.hosts[THERE].add("web-new", "gold", uuid=web)
    here, there = await add_host(lab), await add_host(lab, THERE)
    former = machine_reference(here, web)
    wanted: dict[str, tuple[list[str], list[str]]] = {
        "By host": ([host_reference(here)], []),
        "By itself": ([former], []),
        "By tag": ([tag_reference(here, "gold")], []),
        "Both hosts": ([host_reference(here), host_reference(there)], []),
        "Not at all": ([host_reference(here)], [former]),
        "Not there": ([former], [tag_reference(there, "gold")]),
        "Tag there": ([host_reference(here), tag_reference(there, "gold")], []),
        "Deleted": ([host_reference(here)], []),
    }
    for name, (objects, excludes) in wanted.items():
        outcome = await lab.command(
            "create-job",
            name=name,
            objects=[{"reference": each} for each in objects],
            excludes=[{"reference": each} for each in excludes],
            repository=str(lab.repository),
        )
        assert outcome.made is not None, outcome.message
    assert (await lab.command("delete-job", outcome.made.uid)).success
    row: Any = SimpleNamespace(source_host_uid=here, source_uuid=web)
    place = Place(host=there, folder="/srv", name="web-new", uuid=web)

    def take_place(connection: Connection) -> str:
        jobs = jobs_with_source(connection, row)
        stand_ins.record(connection, former, machine_reference(there, web))
        return left_behind(connection, jobs, "web", place)

    assert await lab.write(take_place) == (
        'These jobs had "web" and do not have "web-new" in its place: '
        '"By host", "By tag", "Not there". To have it protected by them, add it to them.'
    )


async def test_nothing_is_said_of_jobs_when_the_new_machine_s_host_does_not_answer(
    lab: Lab, platform: ToyPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_to_undo(*_: Any) -> None:
        """The toys have no layers to remove."""

    failovers = lab.server._failovers._failovers
    monkeypatch.setattr(failover_settlement, "take_back", nothing_to_undo)
    monkeypatch.setattr(failovers._ground, "plan", nothing_to_undo)
    monkeypatch.setattr(failovers._ground, "target", contextlib.nullcontext)
    web = platform.hosts[HERE].add("web")
    here, there = await add_host(lab), await add_host(lab, THERE)
    former = machine_reference(here, web)
    await make_job(lab, former)  # has the new one, wherever that is
    job = await replica_job(lab, there, former)
    await lab.begin(job)
    await lab.server.wait_until_idle()
    replica = await give_replica(lab, job, former)
    places = [Place(host=there, folder="/srv", name="new", uuid=str(uuid4())) for _ in range(3)]

    async def committed(place: Place) -> str:
        [row] = await lab.rows(tables.replica)
        assert row.uid == replica
        record = Failover(doing=Operation.COMMIT, place=place)
        return await failovers._settlement._settle_undo(row, record)

    unknown = (
        'Whether these jobs, which had "{}", have "new" in its place is not known, since its host '
        'does not show it now: "Nightly", "Replication".'
    )
    # It answers, but somebody has removed the machine.
    assert await committed(places[0]) == unknown.format("web")
    platform.hosts[THERE].add("new", uuid=places[0].uuid)
    assert (await lab.command("rescan-host", there)).success
    # It went away before it was asked for the machine of the next one.
    platform.hosts[THERE].away = True
    told = await committed(places[1])
    assert told.startswith(unknown.format("new") + " ")
    assert told != unknown.format("new") + " "
    platform.hosts[THERE].away = False
    platform.hosts[THERE].add("new", uuid=places[1].uuid)
    platform.hosts[THERE].add("new", uuid=places[2].uuid)
    assert (await lab.command("rescan-host", there)).success
    assert await committed(places[2]) == ""
