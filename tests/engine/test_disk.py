"""Parts of disks, and what is remembered of them."""

from __future__ import annotations

import random

import pytest

from holdfast.engine.disk import CachedDisk, DamagedError, Window, read_whole

from .test_xfs import Bytes

CONTENT = random.Random(1).randbytes(3_000_017)


def test_a_cached_disk_reads_what_the_disk_holds() -> None:
    chance = random.Random(2)
    disk = CachedDisk(Bytes(CONTENT))
    for _ in range(3000):
        offset = chance.randrange(-10, len(CONTENT) + 10)
        length = chance.choice([0, 1, 512, 65_536, 65_537, 300_000])
        wanted = CONTENT[offset : offset + length] if offset >= 0 else b""
        assert disk.read(offset, length) == wanted


def test_what_is_read_again_is_not_asked_for_again() -> None:
    below = Bytes(CONTENT)
    disk = CachedDisk(below)
    for _ in range(10):
        disk.read(70_000, 512)
    assert len(below.reads) == 1


def test_a_window_shows_nothing_from_outside_it() -> None:
    window = Window(Bytes(CONTENT), 1000, 500)
    assert window.read(0, 10_000) == CONTENT[1000:1500]
    assert window.read(490, 20) == CONTENT[1490:1500]
    assert window.read(500, 1) == window.read(-1, 2) == b""
    with pytest.raises(DamagedError):
        read_whole(window, 490, 20)
