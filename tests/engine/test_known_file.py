"""Files are known again by device and inode; only a device that is none may change its number."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.engine.known_file import KnownFile, remove_known


@pytest.mark.parametrize("major", [0, 8])
async def test_only_the_very_file_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    monkeypatch.setattr(os, "major", lambda _device: major)
    path = tmp_path / "disk"
    path.write_bytes(b"held")
    known = KnownFile.at(path)
    assert known.device is not None
    assert known.inode is not None
    another = replace(known, inode=known.inode + 1)
    mounted_anew = replace(known, device=known.device + 1)
    assert (await remove_known([another]))[0].startswith(f"{path} stays: it is not the file")
    assert path.exists()
    said = await remove_known([mounted_anew])
    # A share has another number with each mount; another disk is another disk.
    assert path.exists() is bool(said) is (major != 0)
    assert await remove_known([known]) == []
    assert not path.exists()
