"""The real content that the sample jobs back up."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from holdfast.cli import samples
from holdfast.engine.errors import EngineError
from holdfast.engine.process import run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> samples.Samples:
    directory = tmp_path_factory.mktemp("samples") / "samples"
    return asyncio.run(samples.ensure(directory))


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_sample_files_are_many_and_bounded(made: samples.Samples) -> None:
    sizes = [path.stat().st_size for path in made.files.rglob("*") if path.is_file()]
    assert len(sizes) > 200
    assert 4 * 1024 * 1024 < sum(sizes) <= samples.MOST_BYTES


def test_sample_disk_holds_a_sound_file_system_with_the_same_files(
    made: samples.Samples, tmp_path: Path
) -> None:
    raw = tmp_path / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", made.disk, raw], check=True)
    assert raw.stat().st_size == 64 * 1024 * 1024
    subprocess.run(["/usr/sbin/e2fsck", "-fn", raw], check=True, capture_output=True)
    shown = subprocess.run(
        ["/usr/sbin/debugfs", "-R", "cat /json/__init__.py", raw], check=True, capture_output=True
    )
    assert shown.stdout == (made.files / "json" / "__init__.py").read_bytes()


async def test_samples_that_are_there_are_left_as_they_are(made: samples.Samples) -> None:
    before = made.disk.stat()
    again = await samples.ensure(made.disk.parent)
    assert again == made
    assert again.disk.stat().st_mtime_ns == before.st_mtime_ns


async def test_leftovers_of_an_interrupted_attempt_are_replaced(tmp_path: Path) -> None:
    leftover = tmp_path / "samples.partial" / "files" / "half.py"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half")
    made = await samples.ensure(tmp_path / "samples")
    assert made.disk.exists()
    assert names_in(tmp_path) == ["samples"]
    assert not (made.files / "half.py").exists()


async def test_attempt_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_mke2fs(argv: list[str], **_options: object) -> object:
        return await run(["no-such-program"] if argv[0] == "mke2fs" else argv)

    monkeypatch.setattr(samples, "run", without_mke2fs)
    with pytest.raises(EngineError, match="no-such-program"):
        await samples.ensure(tmp_path / "samples")
    assert names_in(tmp_path) == []
