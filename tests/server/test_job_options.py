"""Options of jobs: refused with a reason, kept, and minded by real runs."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from holdfast.engine.qcow2_header import read_header
from holdfast.representation.struct_reading import MismatchError, read_struct
from holdfast.server import settlement, tables
from holdfast.server.job_options import Days
from holdfast.server.job_specification import JobSpecification
from holdfast.server.secret_specifications import PasswordSpecification
from holdfast.server.slots import Concurrency, Slots

from .lab import MIB, Lab, write_image
from .offsite import Offsite

SUNDAYS = {"week": ["Sunday"]}
REPLICA = {
    "kind": "Replica",
    "repository": None,
    "sources": [],
    "objects": [{"reference": "urn:Libvirt:Vm:x.y"}],
    "target": {"host": "8d6f6d3c-3f0e-4a7c-9a52-0c5a5b6e3c11", "folder": "/srv/replicas"},
}


def specification(**more: Any) -> JobSpecification:
    given = {
        "name": "Nightly",
        "repository": "8d6f6d3c-3f0e-4a7c-9a52-0c5a5b6e3c11",
        "sources": [{"path": "/srv/a.raw"}],
    }
    return read_struct(given | more, JobSpecification)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            {"options": {"compression": "lz4"}},
            "options.compression: expected max, none or zstd, not 'lz4'",
        ),
        ({"options": {"compression": "max"}}, "options.compression: expected none or zstd"),
        ({"options": {"compression_level": 0}}, "compression_level: expected between 1 and 19"),
        (
            {"options": {"compression": "none", "compression_level": 3}},
            "compression_level: expected with compression zstd alone",
        ),
        (
            {"options": {"compress": "none"}},
            "options.compress: there is no such field; expected compression",
        ),
        ({"options": {"bandwidth": 5}}, "bandwidth: expected bytes a second between 65536 and"),
        ({"options": {"before": {"path": "run.sh"}}}, "path: expected an absolute path"),
        ({"options": {"before": {"path": "/a", "seconds": 0}}}, "seconds: expected between"),
        ({"options": {"leave_out": [{"disk": "../a"}]}}, "disk: expected a name such as vdb"),
        ({"options": {"active_full": {}}}, "expected at least one day in week or month"),
        ({"options": {"active_full": {"month": [32]}}}, "month: expected days between 1 and 31"),
        (
            {"options": {"active_full": {"week": ["Sun"]}}},
            r"active_full.week\[0\]: expected Friday, .* not 'Sun'",
        ),
        ({"options": {"health_check": SUNDAYS | {"zone": "Mars"}}}, "no time zone 'Mars'"),
        ({"options": {"gfs": {}}}, "expected at least one of weekly, monthly, yearly"),
        ({"options": {"gfs": {"weekly": {"keep": 0}}}}, "keep: expected between 1 and 999"),
        ({"retention_days": 0}, "retention_days: expected between 1 and 9999"),
        ({"kind": "NasBackup", "options": {"synthetic_full": SUNDAYS}}, "options.synthetic_full"),
        ({"kind": "NasBackup", "options": {"quiesce": False}}, "options.quiesce"),
        (
            {
                "kind": "BackupCopy",
                "sources": [],
                "linked_jobs": ["8d6f6d3c-3f0e-4a7c-9a52-0c5a5b6e3c11"],
                "options": {"active_full": SUNDAYS},
            },
            "options.active_full: a job of kind BackupCopy has none",
        ),
        ({"options": {"remove_deleted_after": 0}}, "remove_deleted_after: expected days between"),
        (REPLICA | {"options": {"gfs": {"weekly": {"keep": 4}}}}, "options.gfs: a replica keeps"),
        (REPLICA | {"options": {"compression": "none"}}, "options.compression: replicas are never"),
        (REPLICA | {"options": {"synthetic_full": SUNDAYS}}, "options.synthetic_full: a replica"),
        (REPLICA | {"options": {"remove_deleted_after": 9}}, "options.remove_deleted_after: a rep"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(MismatchError, match=reason):
        specification(**more)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"kind": "Foo"},
            "kind: expected Backup, BackupCopy, ImmediateBackupCopy, NasBackup or Replica, not "
            "'Foo'",
        ),
        (
            {"options": {"encryption": "vault"}},
            "options.encryption: expected a UID (the GUID alone) or null",
        ),
        ({"retension": 5}, "retension: there is no such field; expected retention"),
        ({"options": {"x": 5}}, "options.x: there is no such field; expected one of compression, "),
        ({"target": {"host": str(uuid4())}}, "target.folder: expected text; it is missing"),
        ({"retention": "five"}, "retention: expected a whole number, not text"),
        ({"retention": 1.5}, "retention: expected a whole number, not a fraction"),
        ({"retention_days": []}, "retention_days: expected a whole number or null, not a list"),
        ({"sources": {}}, "sources: expected a list, not an object"),
        ({"sources": ["/a"]}, "sources[0]: expected an object, not text"),
        ({"options": {"quiesce": 1}}, "options.quiesce: expected true or false, not a number"),
        ({"options": {"bandwidth": 1}}, "options.bandwidth: expected bytes a second between "),
        ({"options": {"leave_out": [{"disk": "."}]}}, "options.leave_out[0].disk: expected a name"),
        ({"retry": {"times": -1}}, "retry.times: expected between 0 and 999"),
        ({"schedule": {}}, "schedule.type: expected Daily, Monthly, Periodically, Continuously "),
        ({"schedule": {"type": "Hourly"}}, "schedule.type: expected Daily, Monthly, "),
        (
            {"schedule": {"type": "Daily", "time": "22h"}},
            "schedule.time: expected a time of day such as 22:00:00",
        ),
        (
            {"schedule": {"type": "Periodically", "every": 1, "kind": "Days"}},
            "schedule.kind: expected Hours or Minutes, not 'Days'",
        ),
        ({"window": {"days": {"Mon": [1]}}}, "window.days: expected Friday, Monday, "),
        ({"window": {"days": {"Monday": "x"}}}, "window.days[...]: expected a list, not text"),
        (
            {"window": {"days": {"Monday": [1, None]}}},
            "window.days[...][1]: expected a whole number, not null",
        ),
        ({"window": {"days": {}}}, "window: there must be at least one hour in the week"),
        (REPLICA | {"objects": []}, "objects: expected at least one"),
        ({"kind": "NasBackup", "sources": []}, "sources: expected at least one"),
        ({"linked_jobs": [str(uuid4())]}, "linked_jobs: only a copy job has any"),
    ],
)
def test_a_refusal_begins_with_the_field_and_says_what_was_expected(
    more: dict[str, Any], said: str
) -> None:
    with pytest.raises(MismatchError) as refused:
        specification(**more)
    assert str(refused.value).startswith(said)


def test_what_is_no_object_is_told_as_the_body() -> None:
    with pytest.raises(MismatchError, match=r"The body: expected an object, not a list"):
        read_struct([], JobSpecification)


def test_a_refusal_does_not_show_what_may_be_a_secret() -> None:
    for password in (5, "x" * 5000):
        with pytest.raises(MismatchError, match=r"^password: expected text of at most 4096 char"):
            read_struct({"password": password}, PasswordSpecification)


def test_a_day_is_due_once_from_its_midnight_on() -> None:
    # 2026-03-01 is a Sunday.
    sundays = Days(week=("Sunday",), zone="+01:00")
    midnight = datetime(2026, 2, 28, 23, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert sundays.due(midnight - second, midnight)
    assert not sundays.due(midnight - timedelta(days=6), midnight - second)
    assert not sundays.due(midnight, midnight + timedelta(days=6, hours=23))
    assert sundays.due(midnight, midnight + timedelta(days=7))
    # What was missed on Sunday is made up for on Tuesday.
    assert sundays.due(midnight - timedelta(days=1), midnight + timedelta(days=2))


def test_a_day_that_a_month_lacks_is_its_last() -> None:
    last = Days(month=(31,))
    assert last.due(datetime(2026, 2, 27, tzinfo=UTC), datetime(2026, 2, 28, 1, tzinfo=UTC))
    assert not last.due(datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 30, 23, tzinfo=UTC))
    assert last.due(datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))


def make_script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def test_disks_are_compressed_as_the_job_says(lab: Lab) -> None:
    sizes = []
    content = text_of(4 * MIB)
    lab.source("a.raw").write_bytes(content)
    for number, options in enumerate(
        [
            {"compression": "none"},
            {"compression_level": 1},
            {},
            {"compression": "zstd", "compression_level": 19},
        ]
    ):
        job = await lab.create_job("a.raw", job=f"job{number}", options=options)
        assert (await lab.run(job)).values["Result"] == "Success"
        file = (await lab.rows(tables.backup_file))[-1]
        sizes.append(file.file_size)
        assert file.data_size == 4 * MIB
        assert is_compressed(lab.repository_path / file.path) is (number > 0)
        assert await lab.restored((await lab.points("a"))[-1].uid) == content
    assert sizes[0] > 4 * MIB > 2 * sizes[1]
    assert sizes == sorted(sizes, reverse=True)


def is_compressed(file: Path) -> bool:
    said = subprocess.run(["qemu-img", "check", file], check=True, capture_output=True).stdout
    return b" 0.00% compressed clusters" not in said


def text_of(size: int) -> bytes:
    draw = random.Random(1)
    words = [draw.randbytes(draw.randint(2, 9)).hex().encode() for _ in range(400)]
    return b" ".join(draw.choices(words, k=size // 4))[:size]


async def test_restic_compresses_as_the_job_says(lab: Lab) -> None:
    lab.source("tree").mkdir()
    job = await lab.create_job("tree", kind="NasBackup")
    sizes = [0]
    for compression in ("none", "max"):
        # Pieces of its own for each, so that none is there already.
        piece = compression.encode() * (MIB // 4)
        (lab.source("tree") / compression).write_bytes(piece)
        await lab.command("edit-job", job, options={"compression": compression})
        assert (await lab.run(job)).values["Result"] == "Success"
        folder = next(lab.repository_path.glob("*/files/data"))
        sizes.append(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()))
    none, most = (after - before for before, after in pairwise(sizes))
    assert none > 10 * most


@pytest.mark.parametrize("kind", ["image", "difference", "directory"])
async def test_a_limited_job_takes_its_time(lab: Lab, kind: str) -> None:
    # A slow machine only takes longer than the limit makes it. The last 2 MiB, what QEMU copies at
    # once, are let go before they are counted, and the first tenth of a second is free.
    size, limit = 8 * MIB, 4 * MIB
    least = (size - 2 * MIB) / limit - 0.1
    draw = random.Random(3)
    directory = kind == "directory"
    source = lab.source("tree" if directory else "a.raw")
    if directory:
        source.mkdir()
    file = source / "file" if directory else source
    job = await lab.create_job(source.name, kind="NasBackup" if directory else "Backup")
    file.write_bytes(draw.randbytes(size))
    if kind == "difference":
        await lab.run(job)
        with file.open("r+b") as changing:
            changing.write(b"x" * 4096)
    outcome = await lab.command("edit-job", job, options={"bandwidth": limit})
    assert outcome.success, outcome.message

    started = time.monotonic()
    assert (await lab.run(job)).values["Result"] == "Success"
    took = time.monotonic() - started

    assert took > least
    if kind == "difference":
        files = await lab.rows(tables.backup_file)
        assert files[-1].parent_uid == files[0].uid


async def test_scripts_run_around_the_reading_of_a_source(lab: Lab) -> None:
    said = lab.folder / "said"
    before = make_script(lab.folder / "before", f'echo "before $HOLDFAST_MACHINE" >> {said}')
    after = make_script(lab.folder / "after", f'echo "after $HOLDFAST_SOURCE" >> {said}; exit 3')
    write_image(lab.source("a.raw"), 1)
    options = {"before": {"path": str(before)}, "after": {"path": str(after), "seconds": 5}}
    job = await lab.create_job("a.raw", options=options)

    session = await lab.run(job)

    assert said.read_text() == f"before a\nafter {lab.source('a.raw')}\n"
    assert session.values["Result"] == "Warning"
    assert f"The script {after} failed (exit code 3)" in session.values["FailureMessage"]
    assert len(await lab.points("a")) == 1


async def test_a_machine_is_not_touched_when_its_first_script_fails(lab: Lab) -> None:
    slow = make_script(lab.folder / "slow", "sleep 60")
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw", options={"before": {"path": str(slow), "seconds": 1}})

    session = await lab.run(job)

    assert session.values["Result"] == "Failed"
    assert "ran longer than 1.0 s" in session.values["FailureMessage"]
    assert await lab.rows(tables.backup_file) == []
    assert await lab.rows(tables.intent) == []


async def test_scripts_that_anybody_may_change_are_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    script = make_script(lab.folder / "script", "true")
    for mode, reason in ((0o777, "others than its owner may write"), (0o644, "not an executable")):
        script.chmod(mode)
        outcome = await lab.command("edit-job", job, options={"before": {"path": str(script)}})
        assert not outcome.success
        assert reason in outcome.message
    # Somebody else's own.
    script.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(script, 65534, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 65534)
    outcome = await lab.command("edit-job", job, options={"before": {"path": str(script)}})
    assert "belongs to neither root nor the account" in outcome.message
    outcome = await lab.command("edit-job", job, options={"after": {"path": "/no/such/script"}})
    assert "options.after: the script /no/such/script cannot be found" in outcome.message


async def test_a_script_that_others_may_change_by_now_is_not_run(lab: Lab) -> None:
    said = lab.folder / "said"
    scripts = {name: make_script(lab.folder / name, f"echo >> {said}") for name in ("one", "two")}
    write_image(lab.source("a.raw"), 1)
    for name, result in (("before", "Failed"), ("after", "Warning")):
        script = scripts["one" if name == "before" else "two"]
        options = {name: {"path": str(script)}}
        job = await lab.create_job("a.raw", job=name, options=options)
        script.chmod(0o777)
        session = await lab.run(job)
        assert session.values["Result"] == result
        assert session.values["FailureMessage"] == (
            f"a: A script of the job was not run: others than its owner may write to the script "
            f"{script}, and it would run with the rights of the backup server."
        )
    assert not said.exists()


def limit(lab: Lab, slots: Slots) -> None:
    """Give a server other slots than it was started with."""
    runner = lab.server._runner
    for part in (runner, runner._retention, runner._others):
        part._slots = slots


async def test_merges_and_synthetic_fulls_take_their_turn(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = Slots(Concurrency(machines=1, per_repository=1))
    limit(lab, slots)
    busy: list[str] = []
    for name in ("merge_into_parent", "rebuild_image"):
        real = getattr(settlement, name)

        async def watched(*arguments: Any, _real: Any = real, _name: str = name) -> Any:
            # Nothing else can go on meanwhile: the one slot is taken.
            assert slots._server.locked()
            busy.append(_name)
            return await _real(*arguments)

        monkeypatch.setattr(settlement, name, watched)
    offsite = await Offsite.of(lab)
    options = {"synthetic_full": {"week": ["Tuesday"]}}
    jobs = [
        await lab.create_job("a.raw", job="A", retention=1),
        await lab.create_job("b.raw", job="B", retention=3, options=options),
    ]
    jobs.append(await offsite.copy_job(*jobs, retention=1))
    for seed in range(3):
        for name in ("a.raw", "b.raw"):
            write_image(lab.source(name), seed)
        # All at once: whoever waits holds nothing that another waits for.
        async with asyncio.timeout(60):
            sessions = [await lab.begin(job) for job in jobs]
            await lab.server.wait_until_idle()
        for uid in sessions:
            shown = await lab.resource("BackupJobSession", uid)
            assert shown.values["Result"] == "Success", shown.values
        lab.clock.advance(timedelta(days=1))
    assert set(busy) == {"merge_into_parent", "rebuild_image"}
    for number, name in enumerate("ab"):
        newest = (await lab.points(name))[-1]
        assert await lab.restored(newest.uid) == lab.source(f"{name}.raw").read_bytes(), number


async def test_an_active_full_reads_the_source_on_its_day(lab: Lab) -> None:
    # The clock of the lab stands on a Monday morning.
    job = await lab.create_job("a.raw", options={"active_full": {"week": ["Tuesday"]}})
    contents = []
    for day in range(4):
        contents.append(write_image(lab.source("a.raw"), day))
        session = await lab.run(job)
        assert session.values["Result"] == "Success", session.values
        lab.clock.advance(timedelta(days=1))

    points = await lab.points("a")
    assert [p.values["PointType"] for p in points] == ["Full", "Full", "Increment", "Increment"]
    assert [await lab.restored(p.uid) for p in points] == contents
    third = sorted(lab.repository_path.glob("*/*.qcow2"))[2]
    assert read_header(third).backing_name is not None
    edited = await lab.command("edit-job", job, options={})
    assert edited.success
    clone = await lab.command("clone-job", job, name="Other")
    assert clone.success


async def test_options_of_a_job_are_kept_and_cloned(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    options = {"bandwidth": 10**6, "gfs": {"weekly": {"keep": 4}}}
    job = await lab.create_job("a.raw", options=options, retention_days=14)
    await lab.command("clone-job", job, name="Other")
    rows = await lab.rows(tables.job)
    assert len({row.options for row in rows}) == 1
    assert [row.retention_days for row in rows] == [14, 14]
    assert (await lab.command("edit-job", job, retention_days=None, options={})).success
    [edited] = [row for row in await lab.rows(tables.job) if row.uid == job]
    assert (edited.options, edited.retention_days) == (None, None)


@pytest.mark.parametrize("limited_by", ["repository", "bandwidth"])
async def test_machines_take_turns_where_that_is_asked_for(lab: Lab, limited_by: str) -> None:
    said = lab.folder / "said"
    before = make_script(lab.folder / "before", f"echo begin >> {said}; sleep 0.1")
    after = make_script(lab.folder / "after", f"echo end >> {said}")
    for name in "abc":
        write_image(lab.source(f"{name}.raw"), 1)
    options: dict[str, Any] = {"before": {"path": str(before)}, "after": {"path": str(after)}}
    if limited_by == "bandwidth":
        options["bandwidth"] = 2**30
    else:
        lab.server._runner._slots = Slots(Concurrency(machines=3, per_repository=1))
    job = await lab.create_job("a.raw", "b.raw", "c.raw", options=options)
    assert (await lab.run(job)).values["Result"] == "Success"
    assert said.read_text().split() == ["begin", "end"] * 3


async def test_slots_limit_each_repository_and_each_host() -> None:
    repositories, hosts = [uuid4(), uuid4()], [uuid4(), uuid4()]
    slots = Slots(Concurrency(machines=3, per_repository=2, per_host=1))
    inside: list[tuple[int, int]] = []
    seen: list[list[tuple[int, int]]] = []

    async def work(repository: int, host: int) -> None:
        async with slots.taken(repositories[repository], hosts[host]):
            inside.append((repository, host))
            seen.append(list(inside))
            await asyncio.sleep(0.01)
            inside.remove((repository, host))

    await asyncio.gather(*(work(n % 2, n // 2 % 2) for n in range(12)))

    assert len(seen) == 12
    assert max(map(len, seen)) == 2  # one of each host
    assert all(len({host for _, host in now}) == len(now) for now in seen)
    unlimited = Slots(Concurrency(machines=2))
    async with unlimited.taken(repositories[0]), unlimited.taken(repositories[0]):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), unlimited.taken(repositories[1]):
                pass
