"""Restores: where they go, what they wait for, what they refuse."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from holdfast.engine.errors import ChainBroken, EngineError
from holdfast.engine.image import back_up_image
from holdfast.server import machine_backup
from holdfast.server.refusal import RefusedError
from holdfast.server.restore import restore_point

from .lab import Lab, write_image


async def test_a_restore_point_gives_every_machine_of_it(lab: Lab) -> None:
    contents = {n: write_image(lab.source(f"{n}.raw"), seed) for seed, n in enumerate("ab")}
    await lab.run(await lab.create_job("a.raw", "b.raw"))
    [restore_point] = await lab.resources("RestorePoint")
    restored = await lab.server.restore.point(restore_point.uid, lab.folder / "out")
    assert {r.machine: r.path.read_bytes() for r in restored} == contents


async def test_a_restore_needs_only_the_directory_of_the_server(lab: Lab) -> None:
    content = write_image(lab.source("a.raw"), 1)
    await lab.run(await lab.create_job("a.raw"))
    [point] = await lab.points("a")
    target = lab.folder / "out.raw"
    [restored] = await restore_point(lab.folder / "server", point.uid, target)
    assert restored.path.read_bytes() == content


async def test_a_restore_does_not_wait_for_a_backup_of_the_same_machine(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await back_up_image(*arguments)

    content = write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    await lab.run(job)
    [point] = await lab.points("a")
    monkeypatch.setattr(machine_backup, "back_up_image", slow)
    await lab.begin(job)
    await reached.wait()
    assert await asyncio.wait_for(lab.restored(point.uid), 10) == content
    go_on.set()


async def test_what_cannot_be_restored_is_refused_with_the_reason(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    await lab.run(await lab.create_job("a.raw"))
    [point] = await lab.points("a")
    with pytest.raises(RefusedError, match="Cannot find restore point"):
        await lab.server.restore.point(uuid4(), lab.folder / "out.raw")
    (lab.folder / "taken").write_bytes(b"precious")
    with pytest.raises(EngineError, match="exists already"):
        await lab.server.restore.point(point.uid, lab.folder / "taken")
    [image] = lab.repository_path.glob("*/*.qcow2")
    await asyncio.to_thread(image.unlink)
    with pytest.raises(ChainBroken, match="is missing"):
        await lab.server.restore.point(point.uid, lab.folder / "out.raw")
