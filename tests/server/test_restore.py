"""Restores: where they go, what they wait for, what they refuse."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from holdfast.engine import image_merge
from holdfast.engine.errors import ChainBroken, EngineError, NoSpace
from holdfast.engine.image import back_up_image
from holdfast.server import machine_backup, settlement, tables
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


async def interrupted_merge(lab: Lab, monkeypatch: pytest.MonkeyPatch, where: Any) -> list[bytes]:
    """Cut the merge of the first two of three points off; return what the others must hold."""
    module, step, done = where
    real = getattr(module, step)

    async def cut_off(*arguments: Any) -> Any:
        if done:
            await real(*arguments)
        raise NoSpace("a test cut this off")

    contents = []
    job = await lab.create_job("a.raw", retention=2)
    monkeypatch.setattr(module, step, cut_off)
    for seed in range(3):
        contents.append(write_image(lab.source("a.raw"), seed))
        session = await lab.run(job)
    assert session.values["Result"] == "Warning"
    return contents[1:]


async def restored_anew(lab: Lab, point: UUID, name: str, **more: Any) -> tuple[str, str]:
    """Restore a point over the API; return how that ended."""
    outcome = await lab.command("restore-machine", point, new_name=name, **more)
    assert outcome.made is not None, outcome.message
    await lab.server.wait_until_idle()
    values = (await lab.resource("RestoreSession", outcome.made.uid)).values
    return values["Result"], values["FailureMessage"]


@pytest.mark.parametrize(
    "where",
    [
        (image_merge, "_commit", False),
        (image_merge, "_commit", True),
        (settlement, "write_manifest", True),
    ],
    ids=["before", "committed", "renamed"],
)
async def test_a_point_of_a_merge_that_was_cut_off_is_restored_right_or_not_at_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, where: Any
) -> None:
    with monkeypatch.context() as patched:
        contents = await interrupted_merge(lab, patched, where)
        older, newer = await lab.points("a")
        [intent] = await lab.rows(tables.intent)
        assert '"MergeImages"' in intent.work
        # It cannot be finished either. Files that the merge has not written to are proved.
        result, reason = await restored_anew(lab, newer.uid, "early")
        if where[1:] == ("_commit", False):
            assert result == "Success"
        else:
            assert result == "Failed"
            assert "cannot be said now" in reason
            with pytest.raises(ChainBroken, match="cannot be said now"):
                await lab.restored(older.uid)
            assert not lab.source("early.raw").exists()
        # What is there can be had all the same.
        assert (await restored_anew(lab, newer.uid, "forced", force=True))[0] == "Success"
        assert lab.source("forced.raw").read_bytes() == contents[1]
        rows = {row.uid: row for row in await lab.rows(tables.backup_file)}
        [point] = [row for row in await lab.rows(tables.machine_point) if row.uid == newer.uid]
        newest = lab.repository_path / rows[point.backup_file_uid].path
        whole = newest.read_bytes()
        newest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(ChainBroken, match=f"{newest} is damaged"):
            await lab.restored(newer.uid)
        newest.write_bytes(whole)
    assert await restored_anew(lab, older.uid, "later") == ("Success", "")
    assert lab.source("later.raw").read_bytes() == contents[0]
    assert await lab.rows(tables.intent) == []
    assert await lab.restored(newer.uid) == contents[1]


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
