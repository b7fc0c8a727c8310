"""The files of a restore get their names, whatever happens meanwhile: all of them, or none."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.engine import restored_files
from holdfast.engine.errors import CannotFinish, EngineError, ImageInUse, LeftUnfinished
from holdfast.engine.restored_files import FileToBe, NoLedger, WholeFile, finish_naming, written


def to_be(folder: Path) -> list[FileToBe]:
    return [FileToBe(folder / name, "raw", name.encode()) for name in ("vda", "vdb", "vdc")]


async def restored(folder: Path, *, overwrite: bool) -> None:
    async with written(folder, to_be(folder), lambda _: None, NoLedger(), overwrite=overwrite):
        pass


class Naming:
    """Names files, but stops at the second before it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self._calls = 0
        self._publish = restored_files.publish
        monkeypatch.setattr(restored_files, "publish", self.publish)

    async def publish(self, *arguments: Any, **more: Any) -> None:
        self._calls += 1
        if self._calls == 2:
            self.reached.set()
            await self.go_on.wait()
        await self._publish(*arguments, **more)


async def test_a_restore_in_place_is_not_stopped_between_one_disk_and_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in to_be(tmp_path):
        file.path.write_bytes(b"old")
    naming = Naming(monkeypatch)
    running = asyncio.create_task(restored(tmp_path, overwrite=True))
    await naming.reached.wait()
    running.cancel()
    await asyncio.sleep(0.05)
    naming.go_on.set()
    await running
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert held == {"vda": b"vda", "vdb": b"vdb", "vdc": b"vdc"}


async def test_a_restore_to_new_files_that_is_stopped_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naming = Naming(monkeypatch)
    named = asyncio.Event()

    async def slow(partial: Path, path: Path) -> None:
        # As in a thread, which goes on when whoever waits for it is cancelled.
        path.hardlink_to(partial)
        partial.unlink()
        naming.reached.set()
        await naming.go_on.wait()
        named.set()

    monkeypatch.setattr(restored_files, "publish", slow)
    running = asyncio.create_task(restored(tmp_path, overwrite=False))
    await naming.reached.wait()
    running.cancel()
    await asyncio.sleep(0.05)
    naming.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert named.is_set()
    assert list(tmp_path.iterdir()) == []


async def test_no_disk_is_replaced_when_a_machine_runs_on_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in to_be(tmp_path):
        file.path.write_bytes(b"old")
    real = restored_files.unchanged_while_read

    def in_use(paths: list[Path]) -> Any:
        if tmp_path / "vdb" in paths:
            raise ImageInUse("vdb is in use")
        return real(paths)

    monkeypatch.setattr(restored_files, "unchanged_while_read", in_use)
    with pytest.raises(ImageInUse):
        await restored(tmp_path, overwrite=True)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"old"}


async def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.write_bytes(b"old")
    (tmp_path / "vdb").symlink_to(volume)
    with pytest.raises(EngineError, match="vdb is not a regular file; it is not overwritten"):
        await restored(tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vdb", "volume"]
    assert (tmp_path / "vdb").is_symlink()


async def test_a_restore_that_is_done_is_not_stopped_while_it_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    @contextlib.asynccontextmanager
    async def slow(*_temporaries: Path) -> AsyncIterator[None]:
        yield
        reached.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(restored_files, "discarded_on_exit", slow)
    running = asyncio.create_task(restored(tmp_path, overwrite=False))
    await reached.wait()
    running.cancel()
    await running
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vda", "vdb", "vdc"]


class Noting(NoLedger):
    """Keeps what is about to be named."""

    files: Sequence[WholeFile] = ()

    async def naming(self, files: Sequence[WholeFile]) -> None:
        self.files = files


async def half_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Sequence[WholeFile]:
    """Restore in place until the second file cannot be named; return the files."""
    for file in to_be(folder):
        file.path.write_bytes(b"old")
    ledger, real = Noting(), restored_files.publish

    async def fail(partial: Path, path: Path, **more: Any) -> None:
        if path.name == "vdb":
            raise OSError(errno.EIO, "broken")
        await real(partial, path, **more)

    with monkeypatch.context() as patched:
        patched.setattr(restored_files, "publish", fail)
        with pytest.raises(LeftUnfinished, match=r"vdb cannot be written: broken.*some were not"):
            async with written(folder, to_be(folder), lambda _: None, ledger, overwrite=True):
                pass
    return ledger.files


async def test_disks_that_cannot_be_named_now_follow_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await half_named(tmp_path, monkeypatch)
    assert (tmp_path / "vda").read_bytes() == b"vda"
    assert (tmp_path / "vdc").read_bytes() == b"old"
    await finish_naming(files)
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert held == {"vda": b"vda", "vdb": b"vdb", "vdc": b"vdc"}
    # Powered on, the machine writes to its disks: they are all there still.
    (tmp_path / "vda").write_bytes(b"more")
    await finish_naming(files)


async def test_what_became_of_disks_that_cannot_be_seen_now_is_found_out_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in to_be(tmp_path):
        file.path.write_bytes(b"old")
    ledger, real = Noting(), restored_files.publish

    async def fail(partial: Path, path: Path, **more: Any) -> None:
        if path.name == "vdb":
            raise OSError(errno.EIO, "broken")
        await real(partial, path, **more)

    def unseen(path: Path, _file: WholeFile) -> bool:
        raise OSError(errno.EIO, "broken", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(restored_files, "publish", fail)
        patched.setattr(restored_files, "_is_there", unseen)
        with pytest.raises(LeftUnfinished, match=r"vdb cannot be written: .*cannot be seen now"):
            async with written(tmp_path, to_be(tmp_path), lambda _: None, ledger, overwrite=True):
                pass
    await finish_naming(ledger.files)
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert held == {"vda": b"vda", "vdb": b"vdb", "vdc": b"vdc"}


async def test_disks_of_a_machine_that_has_run_on_some_of_them_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await half_named(tmp_path, monkeypatch)
    (tmp_path / "vda").write_bytes(b"more")
    with pytest.raises(CannotFinish, match=r"vda was restored and .*vdb was not.*Restore it again"):
        await finish_naming(files)
    (tmp_path / "vda").unlink()
    with pytest.raises(EngineError, match="Is the disk or share mounted"):
        await finish_naming(files)
    assert (tmp_path / "vdb").read_bytes() == (tmp_path / "vdc").read_bytes() == b"old"


async def test_a_file_that_somebody_has_made_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await half_named(tmp_path, monkeypatch)
    (tmp_path / "vdb").unlink()
    files = [replace(file, new=file.path.endswith("vdb")) for file in files]
    (tmp_path / "vdb").write_bytes(b"somebody's")
    with pytest.raises(CannotFinish, match=r"vdb was not there when it was restored, and another"):
        await finish_naming(files)
    assert (tmp_path / "vdb").read_bytes() == b"somebody's"
    (tmp_path / "vdb").unlink()
    await finish_naming(files)
    assert (tmp_path / "vdb").read_bytes() == b"vdb"

    async def made() -> None:
        (tmp_path / "new").write_bytes(b"somebody's")

    ledger, new = NoLedger(), [FileToBe(tmp_path / "new", "raw", b"new")]
    with pytest.raises(EngineError, match="new exists already; it is not overwritten"):
        async with written(tmp_path, new, lambda _: None, ledger, overwrite=True, allowed=made):
            pass
    assert (tmp_path / "new").read_bytes() == b"somebody's"


async def test_a_disk_that_another_one_has_taken_the_place_of_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await half_named(tmp_path, monkeypatch)
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "other").replace(tmp_path / "vda")
    with pytest.raises(CannotFinish, match=r"which was to become .*vda, is gone"):
        await finish_naming(files)
    assert (tmp_path / "vdb").read_bytes() == b"old"
