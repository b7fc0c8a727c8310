"""Work that goes on at the same time: what fails first, and what is not named before its proof."""

import asyncio
import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from holdfast.engine import durability
from holdfast.engine.durability import synchronised_meanwhile
from holdfast.engine.errors import ChainBroken
from holdfast.engine.image import ImagePlan, back_up_image, restore_image
from holdfast.engine.progress import Abreast, Progress
from holdfast.engine.restored_files import NoLedger, ProvenLedger, WholeFile
from holdfast.engine.together import proven_meanwhile, together

from .lab import Disk

MakeDisk = Callable[..., Disk]


async def fail(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def test_what_fails_first_is_raised_as_it_is_and_ends_the_rest() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def all_of_it() -> None:
        async with together() as group:
            group.create_task(work())
            group.create_task(fail(FileExistsError("first")))
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("block")

    with pytest.raises(FileExistsError, match="first"):
        await all_of_it()
    assert sorted(ended) == ["block", "task"]


async def test_a_proof_that_fails_ends_the_block_that_goes_on_beside_it() -> None:
    with pytest.raises(ChainBroken, match="this file"):
        async with proven_meanwhile(fail(ChainBroken("this file"))):
            await asyncio.Event().wait()


async def test_damage_that_the_block_notices_first_is_told_as_the_proof_tells_it() -> None:
    noticed = asyncio.Event()

    async def proof() -> None:
        await noticed.wait()
        raise ChainBroken("this file")

    async def read() -> None:
        async with proven_meanwhile(proof()):
            noticed.set()
            raise ChainBroken("something cannot be read")

    with pytest.raises(ChainBroken, match="this file"):
        await read()


async def test_damage_that_only_the_block_notices_is_told() -> None:
    with pytest.raises(ChainBroken, match="cannot be read"):
        async with proven_meanwhile(asyncio.sleep(0)):
            raise ChainBroken("something cannot be read")


async def test_a_restore_waits_for_the_proof_and_names_nothing_without_it(
    make_disk: MakeDisk, tmp_path: Path
) -> None:
    backup, target = tmp_path / "a.qcow2", tmp_path / "restored"
    await back_up_image(ImagePlan(make_disk().path, backup))
    written, wanted = asyncio.Event(), tmp_path / "restored.partial"

    async def proof() -> None:
        await written.wait()
        assert wanted.exists()
        assert not target.exists()
        raise ChainBroken("this file")

    def look(progress: Progress) -> None:
        if progress.fraction > 0.9:
            written.set()

    with pytest.raises(ChainBroken, match="this file"):
        async with proven_meanwhile(proof()) as good:
            await restore_image(backup, target, look, proof=good)
    assert not target.exists()
    assert not wanted.exists()


async def test_no_file_of_a_machine_is_named_without_the_proof() -> None:
    noted: list[str] = []

    class Noting(NoLedger):
        async def naming(self, files: Sequence[WholeFile]) -> None:
            noted.append(f"{len(files)} files")

    async with together() as group:
        good = group.create_task(asyncio.sleep(0))
        await ProvenLedger(Noting(), good).naming([])
    assert noted == ["0 files"]
    with pytest.raises(ChainBroken):
        async with proven_meanwhile(fail(ChainBroken("this file"))) as bad:
            await ProvenLedger(Noting(), bad).naming([])
    assert noted == ["0 files"]


async def test_a_disk_that_fails_while_a_file_is_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(durability, "_SYNCHRONISE_SECONDS", 0.01)
    async with synchronised_meanwhile(tmp_path / "not there yet"):
        await asyncio.sleep(0.1)
    monkeypatch.setattr(durability, "synchronise", broken)
    with pytest.raises(OSError, match="the disk is broken"):
        async with synchronised_meanwhile(tmp_path / "file"):
            await asyncio.Event().wait()


def test_work_that_goes_on_at_the_same_time_is_as_far_as_the_slowest() -> None:
    seen: list[float] = []
    abreast = Abreast(lambda progress: seen.append(progress.fraction), 2)
    one, other = abreast.part(0), abreast.part(1)
    one(0.5)
    other(0.25)
    other(0.75)
    one(0.4)
    one(1.0)
    assert seen == [0.0, 0.25, 0.5, 0.5, 0.75]
