"""A backup server with a repository, in a temporary folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from .lab import HandClock, Lab, running_lab
from .toy_platform import HERE, THERE, ToyPlatform


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock) as lab:
        yield lab


@pytest.fixture
def open_lab(tmp_path: Path, clock: HandClock) -> Callable[[], AbstractAsyncContextManager[Lab]]:
    """Start a server on the same folder, as often as wanted, one after the other."""
    return lambda: running_lab(tmp_path, clock)


@pytest.fixture
def platform() -> ToyPlatform:
    """Hosts of virtual machines, for the servers that are started with it."""
    platform = ToyPlatform()
    platform.add(HERE, "kvm1")
    platform.add(THERE, "kvm2")
    return platform
