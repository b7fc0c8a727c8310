"""What is done after a machine's disks were copied, or could not be."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from holdfast.engine import libvirt_push
from holdfast.engine.data_key import DataKey
from holdfast.engine.qemu_image import Storing


async def test_the_script_after_runs_when_it_is_stopped_while_the_key_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after: Any = object()
    plan = SimpleNamespace(
        uuid=str(uuid4()), point="p", before=None, after=after, storing=Storing(key=DataKey.draw())
    )
    work: Any = SimpleNamespace(
        plan=plan,
        definition=SimpleNamespace(name="machine"),
        machine=SimpleNamespace(connection=None),
    )
    ran = []

    @contextlib.asynccontextmanager
    async def no_start(_work: Any) -> AsyncIterator[None]:
        raise OSError("no start")
        yield

    async def stopped(_connection: Any, _secret: str) -> None:
        raise asyncio.CancelledError

    async def run_after(_work: Any, script: Any, _environment: dict[str, str]) -> None:
        ran.append(script)

    monkeypatch.setattr(libvirt_push, "_started", no_start)
    monkeypatch.setattr(libvirt_push, "take_secret_back_if_possible", stopped)
    monkeypatch.setattr(libvirt_push, "_run_after", run_after)
    with pytest.raises(asyncio.CancelledError):
        await libvirt_push.push(work)
    assert ran == [after]
