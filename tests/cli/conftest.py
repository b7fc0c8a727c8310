"""Real Holdfast processes for the tests of the command line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .holdfast_process import STOP_LIMIT, Running, launch, wait_until_ready

StartHoldfast = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartHoldfast]:
    """Start `holdfast up`, by default on one data directory per test; killed when the test ends."""
    with ExitStack() as stack:

        def start_one(
            *arguments: str | Path, data: Path | None = None, **variables: str
        ) -> Running:
            directory = data or tmp_path / "data"
            process = launch(directory, *arguments, **variables)
            stack.callback(process.wait, STOP_LIMIT)
            stack.callback(process.kill)
            return wait_until_ready(process, directory)

        yield start_one


@pytest.fixture(scope="session")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Holdfast after its very first start, with samples; for tests that change nothing of it."""
    data = tmp_path_factory.mktemp("first-start") / "data"
    process = launch(data)
    try:
        yield wait_until_ready(process, data)
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
