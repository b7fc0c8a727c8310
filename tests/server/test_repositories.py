"""Repositories as they are added: each has its directory for itself."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.engine.repository import MARKER_NAME
from holdfast.server import tables
from holdfast.server.refusal import RefusedError

from .lab import HandClock, Lab, running_lab


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock) as lab:
        yield lab


async def refused(lab: Lab, name: str, path: Path) -> str:
    """Try to add a repository; return why it is not, sure that nothing was made of it."""
    before = await lab.rows(tables.repository), sorted(lab.folder.rglob("*"))
    with pytest.raises(RefusedError) as refusal:
        await lab.server.add_repository(name, path)
    assert (await lab.rows(tables.repository), sorted(lab.folder.rglob("*"))) == before
    return str(refusal.value)


async def test_a_directory_above_a_repository_is_refused(lab: Lab) -> None:
    above = lab.folder / "backup"
    site = await lab.server.add_repository("Site", above / "site")
    message = f"The repository in {above / 'site'} lies inside {above}."
    assert await refused(lab, "Backup", above) == message
    (lab.folder / "link").symlink_to(above)
    message = f"The repository in {above / 'site'} lies inside {lab.folder / 'link'}."
    assert await refused(lab, "Backup", lab.folder / "link") == message
    assert await lab.server.add_repository("Site", above / "site") == site
    # One beside it is no parent, however much alike the names are.
    await lab.server.add_repository("Beside", above / "sit")


async def test_a_repository_that_is_not_mounted_still_has_its_directory(lab: Lab) -> None:
    outer = lab.folder / "outer"
    uid = await lab.server.add_repository("Outer", outer)
    (outer / MARKER_NAME).rename(lab.folder / "unmounted")
    message = f"{outer / 'inner'} lies inside the repository in {outer}."
    assert await refused(lab, "Inner", outer / "inner") == message
    (lab.folder / "link").symlink_to(outer)
    message = f'{lab.folder / "link"} is where repository "Outer" is: {outer}.'
    assert await refused(lab, "Link", lab.folder / "link") == message
    assert await lab.server.add_repository("Outer", outer) == uid


async def test_a_repository_that_was_brought_here_or_moved_is_looked_at_too(lab: Lab) -> None:
    outer, brought, moved = (lab.folder / name for name in ("outer", "brought", "moved"))
    (lab.folder / "other").mkdir()
    async with running_lab(lab.folder / "other", lab.clock) as other:
        shutil.copytree(other.repository_path, brought)
        uid = other.repository
    await lab.server.add_repository("Outer", outer)
    brought.rename(outer / "brought")
    message = f"{outer / 'brought'} lies inside the repository in {outer}."
    assert await refused(lab, "Brought", outer / "brought") == message
    outcome = await lab.command("import-repository", folder=str(outer / "brought"))
    assert (outcome.success, outcome.message) == (False, message)
    (outer / "brought").rename(brought)
    assert await lab.server.add_repository("Brought", brought) == uid
    # Known now, it is moved: to where it may not be, and to where it may.
    brought.rename(outer / "brought")
    assert await refused(lab, "Brought", outer / "brought") == message
    (outer / "brought").rename(moved)
    assert await lab.server.add_repository("Brought", moved) == uid
    # Below where it was itself is no other's place.
    moved.rename(lab.folder / "away")
    moved.mkdir()
    (lab.folder / "away").rename(moved / "below")
    assert await lab.server.add_repository("Brought", moved / "below") == uid
    [row] = [row for row in await lab.rows(tables.repository) if row.name == "Brought"]
    assert row.path == str(moved / "below")
