"""The catalog of files on the backup server: when it is made, and what it never harms."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from holdfast.engine.errors import (
    ChainBroken,
    NoSpace,
    RepositoryUnavailable,
    ToolFailed,
    ToolMissing,
)
from holdfast.server import guest_catalog
from support.disks import ext_image, sample_tree

from .lab import Lab


async def machine(lab: Lab) -> None:
    tree = lab.folder / "tree"
    tree.mkdir()
    sample_tree(tree)
    ext_image(lab.source("web.raw"), tree)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def fail(*_arguments: object) -> int:
        raise error

    monkeypatch.setattr(guest_catalog, "build_index", fail)


async def test_a_backup_whose_files_cannot_be_indexed_is_none_the_worse(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ChainBroken("damaged"))
    await machine(lab)
    session = await lab.run(await lab.create_job("web.raw"))
    await lab.server.catalog.catch_up()
    assert session.values["Result"] == "Success"
    assert not await lab.resources("CatalogVm")


async def test_one_strange_point_does_not_end_the_catalog(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        # As a time beyond what a database holds, out of a disk made for it.
        failing(patched, OverflowError("Python int too large to convert to SQLite INTEGER"))
        await machine(lab)
        job = await lab.create_job("web.raw")
        assert (await lab.run(job)).values["Result"] == "Success"
        await lab.server.catalog.catch_up()
    await lab.run(job)
    await lab.server.catalog.catch_up()
    assert len(await lab.resources("CatalogVmRestorePoint")) == 1


async def test_what_could_not_be_indexed_for_now_is_indexed_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        failing(patched, RepositoryUnavailable("away"))
        await machine(lab)
        await lab.run(await lab.create_job("web.raw"))
        await lab.server.catalog.catch_up()
        assert not await lab.resources("CatalogVm")
    await lab.server.catalog.catch_up()
    [shown] = await lab.resources("CatalogVm")
    assert shown.name == "web"
    [point] = await lab.resources("CatalogVmRestorePoint")
    assert point.relations == {"vm": shown.uid, "point": point.uid}


@pytest.mark.parametrize(
    "error", [NoSpace("full"), ToolMissing("gone"), ToolFailed("killed"), TimeoutError(), OSError()]
)
async def test_a_failure_that_passes_leaves_no_point_without_an_index(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with monkeypatch.context() as patched:
        failing(patched, error)
        await machine(lab)
        await lab.run(await lab.create_job("web.raw"))
        await lab.server.catalog.catch_up()
        assert not await lab.resources("CatalogVm")
    # Not at once again: it may be costly to try.
    await lab.server.catalog.catch_up()
    assert not await lab.resources("CatalogVm")
    later = time.monotonic() + 2 * guest_catalog._AGAIN_SECONDS
    monkeypatch.setattr(guest_catalog, "time", SimpleNamespace(monotonic=lambda: later))
    await lab.server.catalog.catch_up()
    assert [shown.name for shown in await lab.resources("CatalogVm")] == ["web"]


async def test_what_fails_again_and_again_is_left_without_an_index_and_the_reason_told(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_catalog, "_AGAIN_SECONDS", 0.0)
    with monkeypatch.context() as patched:
        failing(patched, ToolFailed("The file systems of this disk cannot be read."))
        await machine(lab)
        await lab.run(await lab.create_job("web.raw"))
        for _ in range(guest_catalog._ATTEMPTS):
            await lab.server.catalog.catch_up()
    await lab.server.catalog.catch_up()
    assert not await lab.resources("CatalogVm")
    [point] = await lab.points("web")
    refused = (await lab.command("browse-catalog", point.uid)).message
    assert refused.endswith("not in the catalog. The file systems of this disk cannot be read.")
    # Of what an older version gave up, nothing is known: it is tried once more after the update.
    [reason] = lab.folder.rglob("*.reason")
    await asyncio.to_thread(reason.unlink)
    await lab.write(lab.server.catalog._forget_unexplained)
    await lab.server.catalog.catch_up()
    assert [shown.name for shown in await lab.resources("CatalogVm")] == ["web"]


async def test_retention_does_not_wait_for_an_index(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def endless(*_arguments: object) -> int:
        reached.set()
        await asyncio.Event().wait()
        return 1

    await machine(lab)
    job = await lab.create_job("web.raw", retention=1)
    with monkeypatch.context() as patched:
        patched.setattr(guest_catalog, "build_index", endless)
        await lab.run(job)
        await asyncio.wait_for(reached.wait(), 20)
        with lab.source("web.raw").open("r+b") as image:
            image.seek(12 << 20)
            image.write(b"x" * 4096)
        session = await asyncio.wait_for(lab.run(job), 30)
    assert session.values["Result"] == "Success"
    assert len(await lab.points("web")) == 1
