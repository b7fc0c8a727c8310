"""Machines of a real libvirt daemon: found, backed up, kept to a number of points, restored."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import libvirt
import pytest

from engine.lab import MIB
from engine.vm.lab import DISK_SIZE, Guest, Host, libvirt_daemon
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.server import tables
from holdfast.server.hosts import RESCAN
from holdfast.server.libvirt_references import host_reference, machine_reference, tag_reference
from support.disks import ext_image, sample_tree

from .lab import HandClock, Lab, running_lab
from .offsite import Offsite
from .test_mounts import content as content_of
from .test_mounts import mounted

pytestmark = pytest.mark.vm

_TAGS = "<metadata><h:tags xmlns:h='urn:example:tags'><h:tag>gold</h:tag></h:tags></metadata>"
_numbers = count(1)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


@pytest.fixture
def make_guest(daemon: Host, tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    """Make a machine, powered on but paused, and take all machines away in the end."""
    direct = libvirt.open(daemon.uri)
    disks = tmp_path / "disks"
    disks.mkdir()
    made: list[Guest] = []

    def make(*targets: str, started: bool = True, size: int = DISK_SIZE, **more: str) -> Guest:
        guest = Guest(daemon, f"hosted{next(_numbers)}", disks, direct, **more)
        made.append(guest)
        for target in targets or ("vda",):
            guest.add_disk(target, size=size)
        guest.define()
        if started:
            guest.start()
        return guest

    yield make
    for guest in made:
        with suppress(libvirt.libvirtError):
            guest.discard()
    direct.close()


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock) as lab:
        yield lab


async def add_host(lab: Lab, daemon: Host) -> UUID:
    outcome = await lab.command("add-host", **daemon.named("kvm1"))
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def make_job(lab: Lab, *objects: str, **more: Any) -> UUID:
    outcome = await lab.command(
        "create-job",
        name="Nightly",
        objects=[{"reference": each} for each in objects],
        repository=str(lab.repository),
        **more,
    )
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def restored(lab: Lab, point: UUID) -> dict[str, bytes]:
    """Restore a machine's point to files; return the content of each disk."""
    target = lab.folder / f"restored-{point}"
    await lab.server.restore.point(point, target)
    assert len(list(target.glob("*.xml"))) == 1
    found = {file.stem: file.read_bytes() for file in target.glob("*.raw")}
    shutil.rmtree(target)
    return found


async def test_a_machine_is_backed_up_by_what_changed_and_restored(
    lab: Lab, daemon: Host, make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest("vda", "vdb", metadata=_TAGS)
    uid = await add_host(lab, daemon)
    host = await lab.resource("ManagedServer", uid)
    assert host.values["HypervisorVersion"].count(".") == 2
    assert host.values["AccelerationNote"]
    job = await make_job(lab, tag_reference(uid, "gold"), retention=2)
    contents = []
    for number in range(3):
        guest.write_something(number)
        contents.append(guest.contents())
        session = await lab.run(job)
        task = (await lab.tasks(session.uid))[guest.name]
        assert task.values["Result"] == "Success", task.values["Reason"]
        assert session.values.get("FailureMessage") is None
        wanted = "Full" if number == 0 else "Changed blocks"
        assert task.values["Reason"].startswith(f"{wanted}, crash-consistent.")
        assert task.values["VmUid"] == machine_reference(uid, guest.uuid)
        assert task.values["TotalSize"] == 16 * 1024 * 1024
    points = await lab.points(guest.name)
    assert [point.values["PointType"] for point in points] == ["Full", "Increment"]
    for point, content in zip(points, contents[1:], strict=True):
        assert await restored(lab, point.uid) == content
    # What retention took away is gone: two points of two disks, a definition, manifests.
    folder = next(path for path in lab.repository_path.iterdir() if path.is_dir())
    endings = sorted(path.suffix for path in folder.iterdir())
    assert endings == [".json"] * 4 + [".qcow2"] * 4 + [".xml"] * 2
    assert await lab.rows(tables.intent) == []
    guest.ensure_untouched()


async def test_points_stay_right_when_older_ones_are_merged_away(
    lab: Lab, daemon: Host, make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest("vda", "vdb")
    uid = await add_host(lab, daemon)
    job = await make_job(lab, machine_reference(uid, guest.uuid), retention=2)
    contents = []
    for number in range(4):
        if number == 2:
            # This disk falls a rung, the other does not: the point is an increment all the same.
            guest.domain.blockResize("vda", 10 * MIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
            guest.disks["vda"].content += bytes(2 * MIB)
        guest.write_something(number)
        contents.append(guest.contents())
        session = await lab.run(job)
        told = session.values.get("FailureMessage")
        assert (told is not None and "vda was kept whole" in told) if number == 2 else told is None
        points = await lab.points(guest.name)
        for point, content in zip(points, contents[-2:], strict=True):
            assert await restored(lab, point.uid) == content
        files = await lab.rows(tables.backup_file)
        for file in files:
            path = next(lab.repository_path.rglob(PurePath(file.path).name))
            assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        images = {path.name for path in lab.repository_path.rglob("*.qcow2")}
        assert images == {PurePath(file.path).name for file in files}
    assert [point.values["PointType"] for point in points] == ["Full", "Increment"]
    assert await lab.rows(tables.intent) == []
    guest.ensure_untouched()


async def test_points_survive_a_start_and_what_is_lost_is_shown_as_damaged(
    tmp_path: Path, clock: HandClock, daemon: Host, make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest("vda", "vdb")
    async with running_lab(tmp_path, clock) as lab:
        uid = await add_host(lab, daemon)
        job = await make_job(lab, host_reference(uid))
        await lab.run(job)
        guest.write_something(1)
        await lab.run(job)
        assert len(await lab.points(guest.name)) == 2
    async with running_lab(tmp_path, clock) as lab:
        points = await lab.points(guest.name)
        assert len(points) == 2
        assert (await restored(lab, points[1].uid)) == guest.contents()
    lost = sorted((tmp_path / "repository").glob("*/*.vdb.qcow2"))[-1]
    lost.unlink()
    async with running_lab(tmp_path, clock) as lab:
        points = await lab.points(guest.name)
        reason = f"The backup file {lost} is missing."
        assert [point.values.get("Damaged") for point in points] == [None, reason]
        # No point is built on what is not there.
        guest.write_something(2)
        session = await lab.run(job)
        assert session.values["Result"] in ("Success", "Warning"), session.values
        points = await lab.points(guest.name)
        assert (await restored(lab, points[-1].uid)) == guest.contents()


async def test_a_failed_backup_leaves_nothing(
    lab: Lab, daemon: Host, make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest()
    uid = await add_host(lab, daemon)
    job = await make_job(lab, machine_reference(uid, guest.uuid))
    assert (await lab.command("edit-host", uid, staging="/nowhere/at/all")).success
    session = await lab.run(job)
    assert session.values["Result"] == "Failed"
    assert "/nowhere/at/all" in session.values["FailureMessage"]
    assert (await lab.command("edit-host", uid, staging=None)).success
    assert await lab.points(guest.name) == []
    assert await lab.rows(tables.intent) == []
    await lab.run(job)
    assert len(await lab.points(guest.name)) == 1


async def test_a_one_off_backup_of_a_machine_expires_whole(
    lab: Lab, clock: HandClock, daemon: Host, make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest("vda", "vdb")
    uid = await add_host(lab, daemon)
    outcome = await lab.command(
        "one-off-backup",
        machines=[machine_reference(uid, guest.uuid)],
        repository=str(lab.repository),
        remove="In3days",
    )
    assert outcome.made is not None, outcome.message
    await lab.server.wait_until_idle()
    assert len(await lab.points(guest.name)) == 1
    clock.advance(timedelta(days=4))

    async def gone() -> bool:
        return not [path for path in lab.repository_path.iterdir() if path.is_dir()]

    await lab.until(gone)
    assert await lab.rows(tables.backup_file) == []


async def test_no_checkpoint_is_left_when_the_job_is_deleted(
    lab: Lab, clock: HandClock, daemon: Host, make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest()
    uid = await add_host(lab, daemon)
    job = await make_job(lab, host_reference(uid))
    await lab.run(job)
    assert len(guest.checkpoints()) == 1
    assert (await lab.command("delete-job", job)).success
    clock.advance(RESCAN)

    async def released() -> bool:
        return guest.checkpoints() == []

    await lab.until(released)
    [point] = await lab.points(guest.name)
    assert await restored(lab, point.uid) == guest.contents()
    # The host may go now, and what is kept of its machine is still found.
    assert (await lab.command("remove-host", uid)).success
    names = [item.values["ObjectName"] for item in await lab.resources("HierarchyItem")]
    assert guest.name in names


async def test_all_disks_are_seen_in_a_point_and_in_its_copy(
    lab: Lab, daemon: Host, make_guest: Callable[..., Guest]
) -> None:
    # Written before the machine starts: what is in them is no matter to QEMU.
    trees, images = {}, {}
    for target in ("vda", "vdb"):
        tree = lab.folder / f"tree-{target}"
        tree.mkdir()
        trees[target] = sample_tree(tree) | {"which": target.encode()}
        (tree / "which").write_text(target)
        images[target] = lab.folder / f"{target}.raw"
        ext_image(images[target], tree, size=8 * MIB)
    guest = make_guest("vda", "vdb", started=False)
    for target, image in images.items():
        command = ["qemu-img", "convert", "-O", "qcow2", image, guest.disks[target].path]
        await asyncio.to_thread(subprocess.run, command, check=True)
    guest.start()
    offsite, uid = await Offsite.of(lab), await add_host(lab, daemon)
    job = await make_job(lab, machine_reference(uid, guest.uuid))
    await lab.run(job)
    await lab.run(await offsite.copy_job(job))
    await lab.server.catalog.catch_up()
    points = await lab.points(guest.name)
    assert len(points) == 2
    for point in points:
        contents = {target: image.read_bytes() for target, image in images.items()}
        assert await restored(lab, point.uid) == contents
        mount = await mounted(lab, point.uid)
        index = lab.server.catalog.index_of(point.uid)
        for volume, target in (("volume1", "vda"), ("volume2", "vdb")):
            for path, expected in trees[target].items():
                assert await content_of(lab, mount, f"{volume}/{path}") == expected
                found = index.entry((volume, *path.split("/")))
                assert (found.kind, found.size) == ("file", len(expected))


async def test_a_job_decides_how_a_machine_is_backed_up(
    lab: Lab,
    daemon: Host,
    make_guest: Callable[..., Guest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = make_guest("vda", "vdb", "vdc")
    big = make_guest("vda", size=160 * MIB)
    uid = await add_host(lab, daemon)
    said = lab.folder / "said"
    script = lab.folder / "script"
    script.write_text(f'#!/bin/sh\necho "$HOLDFAST_MACHINE" >> {said}\n')
    script.chmod(0o755)
    reference = machine_reference(uid, guest.uuid)
    options: dict[str, Any] = {
        "compression": "none",
        "leave_out": [{"disk": "vdb", "reference": reference}, {"disk": "vdc"}],
        "quiesce": False,
        "before": {"path": str(script)},
        "after": {"path": str(script)},
    }
    job = await make_job(lab, reference, options=options)
    guest.write_something(1)
    session = await lab.run(job)
    reason = (await lab.tasks(session.uid))[guest.name].values["Reason"]
    assert "vdb is not backed up: the job leaves it out." in reason
    assert "vdc is not backed up: the job leaves it out." in reason
    assert said.read_text() == f"{guest.name}\n{guest.name}\n"
    [point] = await lab.points(guest.name)
    assert await restored(lab, point.uid) == {"vda": guest.contents()["vda"]}

    # The next midnight begins a day on which a full is made.
    tuesday = {"active_full": {"week": ["Tuesday"]}}
    assert (await lab.command("edit-job", job, options=tuesday)).success
    lab.clock.advance(timedelta(days=1))
    for number, wanted in ((2, "Full"), (3, "Changed blocks")):
        guest.write_something(number)
        session = await lab.run(job)
        task = (await lab.tasks(session.uid))[guest.name]
        assert task.values["Result"] == "Success", task.values["Reason"]
        if number == 2:
            assert "because the job has one made on this day." in task.values["Reason"]
        else:
            assert task.values["Reason"].startswith(f"{wanted}, crash-consistent.")
        newest = (await lab.points(guest.name))[-1]
        assert await restored(lab, newest.uid) == guest.contents()

    # A limit that QEMU has: the job is stopped when that is known.
    for start in range(0, 160 * MIB, 32 * MIB):
        big.write("vda", start, 32 * MIB, 7)
    limit = 8 * MIB
    outcome = await lab.command(
        "create-job",
        name="Slow",
        objects=[{"reference": machine_reference(uid, big.uuid)}],
        repository=str(lab.repository),
        options={"bandwidth": limit},
    )
    assert outcome.made is not None, outcome.message
    slow = outcome.made.uid
    limits: list[int | None] = []
    limit_backup = LibvirtMachine.limit_backup

    async def limited(machine: LibvirtMachine, target: str, rate: int) -> None:
        await limit_backup(machine, target, rate)
        in_bytes = libvirt.VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES
        limits.append(big.domain.blockJobInfo(target, in_bytes).get("bandwidth"))

    async def limited_or_over() -> bool:
        sessions = await lab.rows(tables.job_session)
        over = [row.state == "Stopped" for row in sessions if row.job_uid == slow]
        return bool(limits) or all(over)

    monkeypatch.setattr(LibvirtMachine, "limit_backup", limited)
    # QEMU may have copied all before the limit comes.
    for _ in range(5):
        limits.clear()
        await lab.begin(slow)
        await lab.until(limited_or_over)
        await lab.command("stop-job", slow)
        await lab.server.wait_until_idle()
        if limits == [limit]:
            break
    assert limits == [limit]
    big.ensure_untouched()


async def test_all_disks_of_a_machine_get_a_synthetic_full_and_are_checked(
    lab: Lab, daemon: Host, make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest("vda", "vdb")
    uid = await add_host(lab, daemon)
    options = {"synthetic_full": {"week": ["Tuesday"]}, "gfs": {"yearly": {"keep": 1}}}
    reference = machine_reference(uid, guest.uuid)
    job = await make_job(lab, reference, options=options, retention=2)
    contents = []
    for number in range(4):  # a point of Monday, and three of Tuesday
        guest.write_something(number)
        contents.append(guest.contents())
        session = await lab.run(job)
        assert session.values["Result"] == "Success", session.values
        if not number:
            lab.clock.advance(timedelta(days=1))
    points = await lab.points(guest.name)
    kinds = [point.values["PointType"] for point in points]
    # The first of the year; of Tuesday's, the full was merged on.
    assert kinds == ["Full", "Full", "Increment"]
    for point, content in zip(points, [contents[0], *contents[2:]], strict=True):
        assert await restored(lab, point.uid) == content
    rows = sorted(await lab.rows(tables.backup_file), key=lambda row: (row.created, row.path))
    assert [row.parent_uid is None for row in rows] == [True] * 4 + [False] * 2

    file = lab.repository_path / rows[-1].path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    session = await lab.run(job, "check-job")
    assert session.values["Result"] == "Warning"
    assert f"The backup file {file} is damaged" in session.values["FailureMessage"]
    points = await lab.points(guest.name)
    damaged = [point for point in points if point.values.get("Damaged")]
    assert [point.uid for point in damaged] == [points[-2].uid]
    assert await restored(lab, points[-1].uid) == guest.contents()
    guest.write_something(4)
    session = await lab.run(job)
    reason = (await lab.tasks(session.uid))[guest.name].values["Reason"]
    assert reason.startswith("Changed blocks, crash-consistent.")
    assert await restored(lab, (await lab.points(guest.name))[-1].uid) == guest.contents()
