"""Factories for the engine's tests: disks, trees, and programs seen from outside."""

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from holdfast.engine.files import ResticRepository

from .lab import MIB, SOURCE, Disk, Finished

PASSWORD = "correct horse battery staple"


@pytest.fixture
def make_disk(tmp_path: Path) -> Callable[..., Disk]:
    def make(format: str = "raw", *, size: int = 16 * MIB, data: int = 4 * MIB) -> Disk:
        path = tmp_path / f"disk.{format}"
        subprocess.run(["qemu-img", "create", "-q", "-f", format, path, str(size)], check=True)
        disk = Disk(path, format, bytearray(size))
        disk.write(MIB, disk.chance.randbytes(data))
        return disk

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of one job in a repository."""
    made = tmp_path / "repository" / "job"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def restic_repository(tmp_path: Path) -> ResticRepository:
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD)
    return ResticRepository(tmp_path / "restic", password_file)


@pytest.fixture(scope="session")
def repository_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restic repository without snapshots, made once: making one takes a second."""
    work = tmp_path_factory.mktemp("template")
    (work / "password").write_text(PASSWORD)
    asyncio.run(ResticRepository(work / "restic", work / "password").ensure())
    return work / "restic"


@pytest.fixture
def made_repository(
    restic_repository: ResticRepository, repository_template: Path
) -> ResticRepository:
    """A restic repository that was made already."""
    shutil.copytree(repository_template, restic_repository.folder)
    return restic_repository


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., Finished]:
    """Run a Python script that uses the engine, behind a prefix such as unshare or setpriv."""

    def run(script: str, *arguments: object, prefix: Sequence[str] = ()) -> Finished:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(script))
        done = subprocess.run(
            [*prefix, sys.executable, str(path), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
        )
        return Finished(done.returncode, done.stdout + done.stderr)

    return run


@pytest.fixture
def small_file_system() -> list[str]:
    """A prefix that runs a program where a small tmpfs can be mounted, with or without root.

    The mount lives in a namespace of the program's own and goes with it.
    """
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--mount"]


@pytest.fixture
def leftovers(folder: Path) -> Callable[[], list[str]]:
    """Names of the temporaries that the job's folder holds."""
    return lambda: sorted(path.name for path in folder.iterdir() if path.suffix == ".partial")
