"""Something real to back up on a machine where nobody has named anything yet.

Files of Python's own standard library, and a disk image with an ext4 file system that holds the
same files. Neither needs root or a mount. Both appear at once, in one rename, or not at all.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.cli.errors import Failure
from holdfast.engine.process import run

MOST_BYTES = 16 * 1024 * 1024
DISK_SIZE = "64M"
_TIME_LIMIT = 120.0
_LEFT_OUT = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests"})
_SYSTEM_PATH = "/usr/sbin:/sbin"


@dataclass(frozen=True)
class Samples:
    """Where the samples lie: a directory of files, and a qcow2 disk image.

    `done` is a mark that the sample jobs have been run.
    """

    files: Path
    disk: Path
    done: Path


def at(directory: Path) -> Samples:
    """Given the directory of the samples, return where each of them is."""
    return Samples(directory / "files", directory / "sample-disk.qcow2", directory / "done")


async def ensure(directory: Path) -> Samples:
    """Given the directory for the samples, return them; make them when they are not there.

    What an interrupted attempt left is removed. Raise Failure or EngineError when they cannot be
    made.
    """
    if not await asyncio.to_thread(directory.is_dir):
        partial = directory.with_name(f"{directory.name}.partial")
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        try:
            await _make(at(partial))
            await _tool("sync", "--file-system", str(partial))
            partial.rename(directory)
        except OSError as error:
            raise Failure(f"{error.filename or directory}: {error.strerror}") from None
        finally:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    return at(directory)


async def _make(samples: Samples) -> None:
    samples.files.mkdir(mode=0o700, parents=True)
    source = Path(sysconfig.get_path("stdlib"))
    await asyncio.to_thread(_copy, source, samples.files)
    raw = samples.disk.with_suffix(".raw")
    await _tool(
        *("mke2fs", "-q", "-t", "ext4", "-L", "holdfast", "-E", "root_owner=0:0"),
        *("-d", str(samples.files), str(raw), DISK_SIZE),
    )
    await _tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(samples.disk))
    raw.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy the Python files below `source`, by the order of their names, up to a size."""
    left = MOST_BYTES
    for path in _python_files(source):
        left -= path.stat().st_size
        if left < 0:
            return
        copy = target / path.relative_to(source)
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _python_files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_symlink() or path.name in _LEFT_OUT:
            continue
        if path.is_dir():
            yield from _python_files(path)
        elif path.suffix == ".py" and path.is_file() and os.access(path, os.R_OK):
            yield path


async def _tool(*argv: str) -> None:
    search_path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
    done = await run(argv, environment={"PATH": search_path}, time_limit=_TIME_LIMIT)
    if done.exit_code != 0:
        reason = " ".join(done.stderr.split())
        raise Failure(
            f"{argv[0]} could not make the samples (exit code {done.exit_code}): {reason}"
        )
