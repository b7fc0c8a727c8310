"""A backup server in a process of its own, told what to do, and interrupted at a chosen moment.

The moment is told by counting: every time any task of the server has to wait is one. So a moment
lies between any two things that the server does, and a seed leads to the same one again, or nearly.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import update

from holdfast.engine.errors import EngineError
from holdfast.server import tables
from holdfast.server.guest_catalog import GuestCatalog
from holdfast.server.refusal import RefusedError
from server.lab import HandClock, Lab, running_lab

T = TypeVar("T")

KILL = "the server is killed"
KILL_TOOL = "a program it runs is killed"
STOP = "somebody stops it"


@dataclass(frozen=True)
class Interruption:
    """What happens at which wait, and how many seconds programs that run then go on alone."""

    kind: str
    at: int
    linger: float = 0.0


@dataclass(frozen=True)
class Order:
    """Something to do: "run" the job and keep so many points, "restore", "delete" or "stop"."""

    what: str
    keep: int = 0
    point: str = ""
    target: Path | None = None
    interruption: Interruption | None = None


@dataclass(frozen=True)
class Report:
    """How it went, in a word and a text, and how often something had to wait meanwhile."""

    result: str
    reason: str = ""
    waits: int = 0


class Life:
    """The server's process, from its start to its end or to its death."""

    def __init__(self, folder: Path, interruption: Interruption | None = None) -> None:
        """Start a server on a folder, to be interrupted at a wait of its start, if at any."""
        self._line, there = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._line.close()
            status = 1
            try:
                asyncio.run(_live(folder, there, interruption))
                status = 0
            finally:
                # Nothing that the parent has prepared for its own end may run here, too.
                os._exit(status)
        there.close()
        self.alive = True

    def ask(self, order: Order) -> Report | None:
        """Have something done; return how it went, or None when the server died over it."""
        self._line.send(order)
        return self.answer()

    def answer(self) -> Report | None:
        """Return what the server says next, or None when it died."""
        if self._line.poll(60):
            with suppress(EOFError, ConnectionResetError):
                report = self._line.recv()
                assert isinstance(report, Report)
                return report
        else:
            os.kill(self._pid, signal.SIGABRT)
        self._gone()
        return None

    def end(self) -> None:
        """Let it stop by itself."""
        if self.alive:
            self._line.send(Order("stop"))
            assert self.answer() is None
            self._gone()

    def _gone(self) -> None:
        if self.alive:
            self.alive = False
            self._line.close()
            status = os.waitpid(self._pid, 0)[1]
            assert status in (0, signal.SIGKILL), f"the server ended with the status {status}"


class _Waits:
    """Counts the waits of all tasks, and does something at one of them."""

    def __init__(self) -> None:
        self.seen = 0
        self._due = 0
        self._act: Callable[[], bool] | None = None

    def arm(self, at: int, act: Callable[[], bool]) -> None:
        """Call `act` at the wait of that number and those after it, until it says that it did."""
        self._due, self._act = self.seen + at, act

    def disarm(self) -> None:
        self._act = None

    def note(self) -> None:
        self.seen += 1
        if self._act is not None and self.seen >= self._due and self._act():
            self._act = None

    def make_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **more: Any
    ) -> asyncio.Task[T]:
        """Make a task as asyncio does, whose waits are counted."""
        return asyncio.Task(self._watched(work), loop=loop, **more)

    async def _watched(self, work: Coroutine[Any, Any, T]) -> T:
        return await _stepped(work, self.note)


@types.coroutine
def _stepped(
    work: Coroutine[Any, Any, T], at_each_wait: Callable[[], None]
) -> Generator[Any, None, T]:
    """Carry a coroutine out step by step, from wait to wait."""
    error: BaseException | None = None
    while True:
        try:
            waiting = work.send(None) if error is None else work.throw(error)
        except StopIteration as stop:
            return stop.value
        at_each_wait()
        error = None
        try:
            yield waiting
        except BaseException as thrown:  # noqa: BLE001 - it belongs to the coroutine
            error = thrown


async def _live(folder: Path, line: Connection, interruption: Interruption | None) -> None:
    # Reading the files inside the disks has no part in this, and takes a process each time.
    GuestCatalog.run = _nothing
    waits = _Waits()
    asyncio.get_running_loop().set_task_factory(waits.make_task)
    if interruption is not None:
        waits.arm(interruption.at, lambda: _kill(None, None, interruption))
    async with running_lab(folder, HandClock()) as lab:
        waits.disarm()
        [job] = [row.uid for row in await lab.rows(tables.job)]
        line.send(Report("ready", waits=waits.seen))
        while (order := await asyncio.to_thread(line.recv)).what != "stop":
            line.send(await _carried_out(lab, job, order, waits))


async def _nothing(_catalog: GuestCatalog) -> None:
    return


async def _carried_out(lab: Lab, job: UUID, order: Order, waits: _Waits) -> Report:
    work = {"run": _run, "restore": _restore, "delete": _delete}[order.what]
    before = waits.seen
    if order.interruption is not None:
        interruption, act = order.interruption, _ACTS[order.interruption.kind]
        waits.arm(interruption.at, lambda: act(lab, job, interruption))
    try:
        result, reason = await work(lab, job, order)
    finally:
        waits.disarm()
    return Report(result, reason, waits.seen - before)


async def _run(lab: Lab, job: UUID, order: Order) -> tuple[str, str]:
    [row] = await lab.rows(tables.job)
    if row.retention != order.keep:
        assert (await lab.command("edit-job", job, retention=order.keep)).success
    session = await lab.run(job)
    return session.values["Result"], session.values.get("FailureMessage") or ""


async def _restore(lab: Lab, _job: UUID, order: Order) -> tuple[str, str]:
    assert order.target is not None
    try:
        await lab.server.restore.point(UUID(order.point), order.target)
    except (EngineError, RefusedError) as error:
        return "Failed", str(error)
    return "Success", ""


async def _delete(lab: Lab, job: UUID, _order: Order) -> tuple[str, str]:
    """Let the time of the backup be over, and wait until it is gone."""
    await lab.write(lambda c: c.execute(update(tables.backup).values(expires=1)))
    # Whatever is asked for: the server looks again at what has expired.
    await lab.command("toggle-schedule", job)

    async def gone() -> bool:
        return not await lab.rows(tables.backup)

    await lab.until(gone)
    return "Success", ""


def _kill(_lab: Lab | None, _job: UUID | None, interruption: Interruption) -> bool:
    time.sleep(interruption.linger)
    os.kill(os.getpid(), signal.SIGKILL)
    return True


def _kill_tool(_lab: Lab, _job: UUID, interruption: Interruption) -> bool:
    pid = os.getpid()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if children:
        time.sleep(interruption.linger)
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(int(children[0]), signal.SIGKILL)
            return True
    return False


def _stop(lab: Lab, job: UUID, _interruption: Interruption) -> bool:
    running = list(lab.server._runner._work)
    if running:
        # By the loop itself: the task that is being carried out just now cannot be cancelled.
        asyncio.get_running_loop().call_soon(
            lambda: _stopping.add(asyncio.ensure_future(lab.command("stop-job", job)))
        )
    return bool(running)


_stopping: set[asyncio.Future[Any]] = set()
_ACTS = {KILL: _kill, KILL_TOOL: _kill_tool, STOP: _stop}
