"""Whether the structure of backup files is whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import ChainBroken
from holdfast.engine.qemu_image import check_image
from holdfast.engine.together import together

_MOST_AT_ONCE = 4


async def ensure_sound(files: Iterable[Path], key: DataKey | None = None) -> None:
    """Check the structure of backup files, some at a time; raise ChainBroken for a damaged one.

    Raise ToolMissing, or ToolFailed when one could not be checked, KeyRefused when one is encrypted
    and ``key`` is not its key.
    """
    turns = asyncio.Semaphore(min(os.cpu_count() or 1, _MOST_AT_ONCE))

    async def check(file: Path) -> None:
        async with turns:
            if damage := await check_image(file, key):
                raise ChainBroken(f"The backup file {file} is damaged: {damage}.")

    async with together() as group:
        for file in files:
            group.create_task(check(file))
