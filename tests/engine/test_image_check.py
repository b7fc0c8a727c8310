"""What is known of backup files that were checked, or written, a short while ago."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.engine import image_check
from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import ChainBroken
from holdfast.engine.image_check import ensure_sound, ensure_still_sound

from .test_image_backup import MakeDisk, back_up


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are really read, from here on."""
    names: list[str] = []
    really = image_check.check_image

    async def noted(path: Path, key: DataKey | None = None) -> str | None:
        names.append(path.name)
        return await really(path, key)

    monkeypatch.setattr(image_check, "check_image", noted)
    monkeypatch.setattr(image_check, "_known", {})
    return names


async def test_a_file_is_read_once_in_a_day_unless_it_was_written_to(
    make_disk: MakeDisk, folder: Path, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = (await back_up(make_disk(), folder, "a")).path
    image_check._known.clear()  # as after a restart
    await ensure_still_sound([file])
    await ensure_still_sound([file])
    assert checked == ["a.qcow2"]
    await ensure_sound([file])
    assert checked == ["a.qcow2"] * 2
    os.utime(file, (1, 1))
    await ensure_still_sound([file])
    assert checked == ["a.qcow2"] * 3
    later = image_check.time.monotonic() + 25 * 60 * 60
    monkeypatch.setattr(image_check.time, "monotonic", lambda: later)
    await ensure_still_sound([file])
    assert checked == ["a.qcow2"] * 4


async def test_what_was_just_written_is_known_and_damage_to_it_is_seen(
    make_disk: MakeDisk, folder: Path, checked: list[str]
) -> None:
    disk = make_disk()
    full = await back_up(disk, folder, "a")
    increment = await back_up(disk, folder, "b", "a")
    assert increment.incremental
    assert checked == []
    status = full.path.stat()
    with full.path.open("r+b") as file:
        file.seek(40)
        file.seek(int.from_bytes(file.read(8)))
        file.write(b"\x80" + b"\xff" * 7)
    # Nobody can hide that it was written to.
    os.utime(full.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = await back_up(disk, folder, "c", "b")
    assert not after.incremental
    assert f"{full.path} is damaged" in str(after.note)


async def test_a_file_that_is_gone_or_damaged_is_never_known(
    make_disk: MakeDisk, folder: Path, checked: list[str]
) -> None:
    file = (await back_up(make_disk(), folder, "a")).path
    file.unlink()
    with pytest.raises(ChainBroken):
        await ensure_still_sound([file])
    file.write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(ChainBroken):
            await ensure_still_sound([file])
    assert checked == ["a.qcow2"] * 3
