"""Files put back where they were, while the folders on the way are not left as they are."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.engine import tree_restore, tree_staging
from holdfast.engine.errors import EngineError
from holdfast.engine.files import FilesPlan, ResticRepository
from holdfast.engine.tree_restore import restore_into_tree
from holdfast.engine.tree_staging import remove_left

TOKEN = "0123456789abcdef" * 2
STAGING = f".holdfast-restore-{TOKEN}"


class House:
    """A backed up tree, and a folder outside of it that is to stay as it is."""

    def __init__(self, repository: ResticRepository, folder: Path) -> None:
        self.repository = repository
        self.share, self.outside = folder / "share", folder / "outside"
        self.snapshot = ""

    async def begin(self) -> None:
        (self.share / "etc/deep").mkdir(parents=True)
        (self.share / "etc/app.conf").write_text("answer")
        (self.share / "etc/deep/file").write_text("deep")
        self.outside.mkdir()
        await self.repository.ensure()
        made = await self.repository.back_up(FilesPlan(self.share, "t", "machine"))
        self.snapshot = made.snapshot_id

    async def restore(self, path: str, directory: Path | None = None, **more: Any) -> Path:
        more = {"overwrite": False, "token": TOKEN, **more}
        names, into = tuple(path.split("/")), directory or self.share
        return await restore_into_tree(self.repository, self.snapshot, names, into, **more)

    def assert_clean(self) -> None:
        assert not list(self.outside.iterdir())
        assert not list(self.share.rglob(".holdfast*"))


@pytest.fixture
async def house(restic_repository: ResticRepository, tmp_path: Path) -> House:
    house = House(restic_repository, tmp_path)
    await house.begin()
    return house


def before(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, act: Callable[[], None]) -> None:
    """Let something happen right before a function is called."""
    real = getattr(place, name)

    def late(*arguments: Any, **more: Any) -> Any:
        act()
        return real(*arguments, **more)

    monkeypatch.setattr(place, name, late)


@pytest.mark.parametrize(
    ("which", "step"),
    [
        ("directory", "restore_part"),
        ("staging", "restore_part"),
        ("staging", "list_folder"),
        ("on the way", "list_folder"),
    ],
)
async def test_a_folder_that_is_exchanged_for_a_link_leads_nowhere(
    house: House, monkeypatch: pytest.MonkeyPatch, which: str, step: str
) -> None:
    (house.share / "etc/app.conf").unlink()
    shutil.rmtree(house.share / "etc/deep")
    (house.outside / "etc").mkdir()
    real = {
        "directory": house.share,
        "staging": house.share / STAGING,
        "on the way": house.share / "etc",
    }[which]
    moved = real.with_name("moved")

    def exchange() -> None:
        if not moved.exists():
            real.rename(moved)
            real.symlink_to(house.outside)

    before(monkeypatch, ResticRepository, step, exchange)
    restoring = house.restore("etc/deep/file")
    if which == "on the way":
        with pytest.raises(EngineError, match="nothing is restored through it"):
            await restoring
    else:
        await restoring
    assert moved.exists() or which == "staging"
    assert [path.name for path in house.outside.rglob("*")] == ["etc"]


async def test_a_staging_folder_of_another_is_not_worked_in(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def late(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if path == STAGING and not flags & os.O_CREAT:
            staging = house.share / STAGING
            if staging.stat().st_mode & 0o777 == 0o700:
                staging.rmdir()
                staging.mkdir()
                staging.chmod(0o777)
        return real(path, flags, *arguments, **more)

    (house.share / "etc/app.conf").unlink()
    monkeypatch.setattr(tree_staging.os, "open", late)
    with pytest.raises(EngineError, match="was replaced while a restore began"):
        await house.restore("etc/app.conf")
    assert not (house.share / "etc/app.conf").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links of others")
async def test_the_directory_may_be_named_by_a_link_of_those_who_may(house: House) -> None:
    link = house.outside.with_name("link")
    link.symlink_to("share")
    (house.share / "etc/app.conf").unlink()
    assert await house.restore("etc/app.conf", link) == link / "etc/app.conf"
    assert (house.share / "etc/app.conf").read_text() == "answer"
    os.lchown(link, 1234, 1234)
    with pytest.raises(EngineError, match="does not belong to the owner of the link"):
        await house.restore("etc/app.conf", link)
    # What they have themselves they may name as they like.
    os.chown(house.share, 1234, 1234)
    assert (await house.restore("etc/app.conf", link)).name == "RESTORED-app.conf"
    house.assert_clean()


@pytest.mark.parametrize("path", ["etc/app.conf", "etc/deep"])
async def test_another_file_system_on_the_way_gets_a_copy(
    house: House, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    real, refused = tree_restore._put, []

    def put(name: str, source: int, target: int, overwrite: bool) -> str:
        if not refused:
            refused.append(name)
            raise OSError(errno.EXDEV, "another device")
        return real(name, source, target, overwrite)

    monkeypatch.setattr(tree_restore, "_put", put)
    await asyncio.to_thread(shutil.rmtree, house.share / "etc/deep")
    (house.share / "etc/app.conf").unlink()
    assert await house.restore(path) == house.share / path
    found = house.share / path
    content = (found / "file" if found.is_dir() else found).read_text()
    assert content == ("deep" if found.is_dir() else "answer")
    house.assert_clean()


@pytest.mark.parametrize("links", [True, False])
async def test_file_systems_without_the_rename_that_replaces_nothing_are_restored_to(
    house: House, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    class Library:
        def __init__(self, *_arguments: Any, **_more: Any) -> None: ...

        def renameat2(self, *_arguments: Any) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

    def no_link(*_arguments: Any, **_more: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(tree_restore.ctypes, "CDLL", Library)
    if not links:
        monkeypatch.setattr(tree_restore.os, "link", no_link)
    for path in ("etc/app.conf", "etc/deep"):
        assert (await house.restore(path)).name == f"RESTORED-{Path(path).name}"
    assert (house.share / "etc/RESTORED-app.conf").read_text() == "answer"
    assert (house.share / "etc/RESTORED-deep/file").read_text() == "deep"
    house.assert_clean()


def test_what_a_killed_restore_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("stays")
    inner = tmp_path / "share/etc"
    inner.mkdir(parents=True)
    for folder in (tmp_path / "share", inner):
        (folder / STAGING / "deep").mkdir(parents=True)
        (folder / STAGING / "deep/link").symlink_to(tmp_path / "precious")
    remove_left(tmp_path / "share", ("etc", "gone"), STAGING)
    (inner / STAGING).symlink_to(tmp_path / "precious")
    remove_left(tmp_path / "share", ("etc",), STAGING)
    assert (tmp_path / "precious/file").read_text() == "stays"
    assert not (tmp_path / "share" / STAGING).exists()
    assert [path.name for path in inner.iterdir()] == [STAGING]
    remove_left(tmp_path / "nowhere", (), STAGING)
