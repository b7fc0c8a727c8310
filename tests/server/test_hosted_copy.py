"""Copies of the points of machines of hosts: all their files, or nothing of them.

The host is made up; the points are real, of disk images that stand for the disks of a machine.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from holdfast.engine.durability import write_new
from holdfast.engine.errors import ChainBroken, ToolFailed
from holdfast.engine.image import ImagePlan, back_up_image
from holdfast.engine.libvirt_backup import MachineResult
from holdfast.engine.libvirt_ladder import DiskState, Rung, lowest
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint, StoredFile
from holdfast.engine.libvirt_work import MachinePlan
from holdfast.engine.progress import ProgressCallback
from holdfast.server import hosted_copy, machine_copy, points, settlement, tables
from holdfast.server.libvirt_references import machine_reference
from holdfast.server.manifest import read_manifest
from holdfast.server.platform import HostAccess
from holdfast.server.points import withdraw_point

from .lab import MIB, HandClock, Lab, running_lab, write_image
from .offsite import Offsite, result_of
from .toy_platform import ToyPlatform

URI = "qemu:///system"
OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]


@dataclass
class DiskPlatform(ToyPlatform):
    """Hosts with one machine, whose disks are raw images by their targets."""

    disks: dict[str, Path] = field(default_factory=dict)
    nvram: bytes = b"boot order"

    async def back_up(
        self, access: HostAccess, plan: MachinePlan, _on_progress: ProgressCallback
    ) -> MachineResult:
        await self._reached(access)
        disks = []
        for target, source in self.disks.items():
            before = None if plan.parent is None else plan.parent.disk(target)
            parent = None if before is None else plan.folder / before.file.name
            image = plan.folder / f"{plan.point}.{target}.qcow2"
            result = await back_up_image(ImagePlan(source, image, parent, "raw"))
            disks.append(
                DiskPoint(
                    state=DiskState(target, str(source), "raw", result.virtual_size, None),
                    file=StoredFile(image.name, result.sha256),
                    file_size=result.file_size,
                    data_size=result.data_size,
                    incremental=result.incremental,
                    rung=Rung.DIFFERENCE if result.incremental else Rung.FULL,
                    reason=None,
                )
            )
        small = {"xml": b"<domain/>", "nvram": self.nvram}
        stored = {}
        for suffix, content in small.items():
            path = plan.folder / f"{plan.point}.{suffix}"
            stored[suffix] = StoredFile(path.name, await write_new(path, content))
        point = MachinePoint(
            uuid=plan.uuid,
            name="web",
            checkpoint=f"checkpoint-{plan.point}",
            parent_checkpoint=None if plan.parent is None else plan.parent.checkpoint,
            definition=stored["xml"],
            nvram=stored["nvram"],
            disks=tuple(disks),
        )
        rung = lowest([disk.rung for disk in disks])
        return MachineResult(point, rung, "crash-consistent", (), ())


@pytest.fixture
def platform(tmp_path: Path) -> DiskPlatform:
    platform = DiskPlatform()
    platform.add(URI, "kvm1").add("web")
    platform.disks = {target: tmp_path / f"{target}.raw" for target in ("vda", "vdb")}
    return platform


@pytest.fixture
def open_lab(tmp_path: Path, clock: HandClock, platform: DiskPlatform) -> OpenLab:
    return lambda: running_lab(tmp_path, clock, platform=platform)


async def add_machine(lab: Lab, platform: DiskPlatform, **more: Any) -> UUID:
    """Make a job over the machine of the platform; return its UID."""
    host = (await lab.command("add-host", uri=URI)).made
    assert host is not None
    [uuid] = platform.hosts[URI].machines
    outcome = await lab.command(
        "create-job",
        name="Nightly",
        objects=[{"reference": machine_reference(host.uid, uuid)}],
        repository=str(lab.repository),
        **more,
    )
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def back_up(lab: Lab, platform: DiskPlatform, job: UUID, *seeds: int) -> list[dict[str, Any]]:
    """Back the machine up with one content after the other; return the contents of its disks."""
    contents = []
    for seed in seeds:
        found = {}
        for number, (target, source) in enumerate(platform.disks.items()):
            # In the second point, one disk is another: each has a chain of its own.
            size = 4 * MIB if number == 0 and seed < 2 else 8 * MIB
            found[target] = write_image(source, 10 * seed + number, size)
        contents.append(found)
        assert result_of(await lab.run(job)) == ("Success", None)
    return contents


async def copied(lab: Lab, offsite: Offsite) -> list[dict[str, bytes]]:
    """Return the contents of the disks of the copied points, oldest first."""
    contents = []
    for point in await offsite.points("machine"):
        target = lab.folder / f"restored-{point.uid}"
        await lab.server.restore.point(point.uid, target)
        assert {path.suffix for path in target.iterdir()} == {".raw", ".xml", ".nvram"}
        contents.append({path.stem: path.read_bytes() for path in target.glob("*.raw")})
        shutil.rmtree(target)
    return contents


async def test_a_chain_is_copied_bit_by_bit_and_restores_without_its_source(
    open_lab: OpenLab, platform: DiskPlatform
) -> None:
    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await add_machine(lab, platform, retention=9)
        contents = await back_up(lab, platform, job, 1, 2, 3)
        files = {row.path for row in await lab.rows(tables.backup_file) if row.parent_uid is None}
        assert sorted(path.split(".")[-2] for path in files) == ["vda", "vda", "vdb"]
        # One disk is a full, but the point needs the one before it for the other.
        kinds = [("Full", "Full"), *[("Increment", "Incremental")] * 2]
        shown = await lab.points("web")
        assert [(p.values["PointType"], p.values["Algorithm"]) for p in shown] == kinds
        tasks = await lab.resources("BackupTaskSession")
        reasons = [str(task.values["Reason"]).split(",")[0] for task in tasks]
        assert reasons == ["Full", "Difference", "Difference"]

        session = await lab.run(await offsite.copy_job(job))

        assert result_of(session) == ("Success", None)
        [task] = (await lab.tasks(session.uid)).values()
        assert (task.values["Result"], task.values["TotalSize"]) == ("Success", 16 * MIB)
        assert task.relations["point"] == (await offsite.points("machine"))[-1].uid
        copies = (await lab.points("web"))[0::2], (await lab.points("web"))[1::2]
        for shown in copies:
            assert [(p.values["PointType"], p.values["Algorithm"]) for p in shown] == kinds
        images = {path.name: path.read_bytes() for path in lab.repository_path.glob("*/*.qcow2")}
        assert len(images) == 6
        assert images.items() <= offsite.files().items()
        for path in offsite.path.glob("*/*.[nx]*m*"):
            expected = platform.nvram if path.suffix == ".nvram" else b"<domain/>"
            assert path.read_bytes() == expected
            assert path.stat().st_mode & 0o077 == 0
        for file in await lab.rows(tables.backup_file):
            [image] = lab.folder.glob(f"*/{file.path}")
            manifest = read_manifest(image)
            assert manifest.sha256 == file.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
            assert manifest.backup == file.backup_uid
            assert manifest.detail is not None
            # A copy has no part in the checkpoints of the machine.
            is_copy = offsite.path in image.parents
            assert (manifest.detail.checkpoint is None) is is_copy
            assert (manifest.copied_from is not None) is is_copy
        shutil.rmtree(lab.repository_path)
        assert await copied(lab, offsite) == contents


async def test_the_next_session_copies_what_is_new_and_retention_of_the_copy_is_its_own(
    open_lab: OpenLab, platform: DiskPlatform
) -> None:
    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await add_machine(lab, platform, retention=9)
        copy = await offsite.copy_job(job, retention=3)
        contents = await back_up(lab, platform, job, 1, 2, 3)
        await lab.run(copy)
        before = offsite.files()
        assert await lab.tasks((await lab.run(copy)).uid) == {}
        assert offsite.files() == before

        contents += await back_up(lab, platform, job, 4, 5)
        assert result_of(await lab.run(copy)) == ("Success", None)
        assert await copied(lab, offsite) == contents[-3:]
        assert await lab.rows(tables.intent) == []
        assert len(list(offsite.path.glob("*/*.xml"))) == 3

        # As after a start that found a file of a point missing: a later one may need another, so
        # what is left of it is neither replaced nor removed. An older point takes its place.
        oldest, *_ = await offsite.points("machine")
        await lab.write(lambda c: withdraw_point(c, oldest.uid))
        before = offsite.files()
        assert result_of(await lab.run(copy)) == ("Success", None)
        assert before.items() <= offsite.files().items()
        assert await copied(lab, offsite) == [contents[1], *contents[-2:]]


async def test_a_copy_that_is_cut_off_anywhere_leaves_nothing(
    open_lab: OpenLab, platform: DiskPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await add_machine(lab, platform)
        contents = await back_up(lab, platform, job, 2, 3)
        copy = await offsite.copy_job(job)
        originals = {path.name: path.read_bytes() for path in lab.repository_path.glob("*/*")}
    # A point has two disks, then a definition and NVRAM, then two manifests.
    steps = [("copy_image", 2), ("copy_small_file", 1), ("write_manifest", 2)]
    for step, call in steps:
        async with open_lab() as lab:
            offsite = await Offsite.of(lab)
            assert await lab.rows(tables.intent) == []
            assert offsite.files() == {}
            with monkeypatch.context() as patch:
                module = machine_copy if step == "copy_image" else hosted_copy
                patch.setattr(module, step, cutting_off(getattr(module, step), call))
                patch.setattr(settlement.Settlement, "try_settle", nothing)
                session = await lab.run(copy)
            assert session.values["Result"] == "Failed"
            assert offsite.files()
            assert await offsite.points("machine") == []
    async with open_lab() as lab:
        offsite = await Offsite.of(lab)
        assert offsite.files() == {}
        assert result_of(await lab.run(copy, "retry-job")) == ("Success", None)
        assert await copied(lab, offsite) == contents
        now = {path.name: path.read_bytes() for path in lab.repository_path.glob("*/*")}
        assert now == originals


def cutting_off(real: Callable[..., Awaitable[None]], call: int) -> Callable[..., Awaitable[None]]:
    """Return what works as a step does, and then fails at one of its calls."""
    calls = count(1)

    async def step(*arguments: Any) -> None:
        await real(*arguments)
        if next(calls) == call:
            raise ToolFailed("a test cut this off")

    return step


async def nothing(*_arguments: object) -> None:
    return None


async def test_a_damaged_file_is_noticed_and_its_point_never_copied(
    open_lab: OpenLab, platform: DiskPlatform
) -> None:
    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await add_machine(lab, platform)
        contents = await back_up(lab, platform, job, 2)
        copy = await offsite.copy_job(job)
        for pattern in ("*.xml", "*.nvram", "*.vdb.qcow2"):
            [file] = lab.repository_path.glob(f"*/{pattern}")
            whole = file.read_bytes()
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            session = await lab.run(copy)
            assert session.values["Result"] == "Failed"
            assert f"{file} is damaged" in session.values["FailureMessage"]
            assert offsite.files() == {}
            assert await lab.rows(tables.intent) == []
            file.write_bytes(whole)
        assert result_of(await lab.run(copy, "retry-job")) == ("Success", None)
        assert await copied(lab, offsite) == contents


async def test_a_damaged_definition_or_nvram_is_never_restored(
    open_lab: OpenLab, platform: DiskPlatform
) -> None:
    async with open_lab() as lab:
        contents = await back_up(lab, platform, await add_machine(lab, platform), 2)
        [point], target = await lab.points("web"), lab.folder / "restored"
        for pattern in ("*.xml", "*.nvram"):
            [file] = lab.repository_path.glob(f"*/{pattern}")
            whole = file.read_bytes()
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            with pytest.raises(ChainBroken, match=f"{file} is damaged"):
                await lab.server.restore.point(point.uid, target)
            assert not target.exists()
            [found] = await lab.server.restore.point(point.uid, target, force=True)
            assert f"{file} is damaged" in found.note
            assert not list(target.glob(pattern))
            assert {path.stem: path.read_bytes() for path in target.glob("*.raw")} == contents[0]
            shutil.rmtree(target)
            file.write_bytes(whole)


async def test_a_copy_has_nothing_to_do_with_the_host(
    open_lab: OpenLab, platform: DiskPlatform
) -> None:
    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await add_machine(lab, platform)
        contents = await back_up(lab, platform, job, 2)
        copy = await offsite.copy_job(job)
        [host] = await lab.rows(tables.host)
        platform.hosts[URI].away = True
        assert result_of(await lab.run(copy)) == ("Success", None)
        assert (await lab.command("delete-job", copy)).success
        assert (await lab.command("delete-job", job)).success
        assert (await lab.command("remove-host", host.uid)).success
        assert await copied(lab, offsite) == contents


async def test_a_point_that_goes_just_before_it_is_copied_is_passed_over(
    open_lab: OpenLab, platform: DiskPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab() as lab:
        offsite, job = await Offsite.of(lab), await add_machine(lab, platform)
        await back_up(lab, platform, job, 2)
        real = hosted_copy.HostedCopy._copy_image

        async def late(copying: Any, point: Any, on_progress: Any) -> None:
            await lab.write(lambda c: withdraw_point(c, point.uid))
            await real(copying, point, on_progress)

        monkeypatch.setattr(hosted_copy.HostedCopy, "_copy_image", late)
        copy = await offsite.copy_job(job)
        assert result_of(await lab.run(copy)) == ("Success", None)
        assert offsite.files() == {}
        assert await lab.rows(tables.intent) == []


async def lose_second(lab: Lab) -> None:
    """Take the second point out of the catalog; the third is built on its disks."""
    second = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)[1]
    await lab.write(lambda c: points.withdraw_point(c, second.uid))
    sorted(lab.repository_path.glob("*/*.xml"))[1].unlink()


async def test_what_has_lost_its_point_is_merged_and_written_anew_as_others_are(
    open_lab: OpenLab, platform: DiskPlatform
) -> None:
    async with open_lab() as lab:
        job = await add_machine(lab, platform, retention=9)
        contents = await back_up(lab, platform, job, 2, 3, 4)
        await lose_second(lab)
    async with open_lab() as lab:
        assert len(await lab.rows(tables.machine_point)) == 2
        assert (await lab.command("edit-job", job, retention=2)).success
        for seed in (5, 6, 7):
            contents += await back_up(lab, platform, job, seed)
            assert await lab.rows(tables.intent) == []
        left = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
        assert len(left) == 2
        for point, content in zip(left, contents[-2:], strict=True):
            target = lab.folder / f"restored-{point.uid}"
            await lab.server.restore.point(point.uid, target)
            assert {path.stem: path.read_bytes() for path in target.glob("*.raw")} == content


async def test_a_file_that_has_lost_its_point_is_checked_for_those_that_need_it(
    open_lab: OpenLab, platform: DiskPlatform
) -> None:
    async with open_lab() as lab:
        job = await add_machine(lab, platform, retention=9)
        await back_up(lab, platform, job, 2, 3, 4)
        await lose_second(lab)
    sorted(lab.repository_path.glob("*/*.vda.qcow2"))[1].write_bytes(b"nothing")
    async with open_lab() as lab:
        session = await lab.run(job, "check-job")
        assert session.values["Result"] == "Warning"
        points = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
        # The third, and the one that was made because of it.
        assert [point.damaged is not None for point in points] == [False, True, False]
