"""A connection to a hypervisor's host by libvirt: the one place where its library is loaded.

libvirt's calls are C and block, some of them for ever when the other side hangs. Each connection
therefore has a thread of its own, in which its calls are made one after the other, and each call
has a time limit. What passes it makes the connection dead: its thread is left behind and nobody
waits for it, neither a task nor the end of the process. Keepalive messages find out that the other
side is gone, and end that thread, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import queue
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast.engine.errors import (
    AgentSilent,
    CheckpointUnusable,
    EngineError,
    HypervisorFailed,
    HypervisorUnavailable,
    MachineMissing,
)
from holdfast.engine.libvirt_uri import checked_uri

Result = TypeVar("Result")
Call = Callable[[Any, Any], Result]
"""Given the library and the open connection, do something. It runs in the connection's thread."""

TIME_LIMIT = 60.0
_KEEPALIVE_SECONDS = 5
_KEEPALIVE_MISSED = 6
_BROKEN = re.compile(
    r"client socket is closed|connection closed due to keepalive|end of file while reading data"
    r"|cannot (?:write|recv) data",
    re.IGNORECASE,
)
_loop_started = threading.Lock()
_loop: threading.Thread | None = None


class _Worker(threading.Thread):
    """Makes the calls that it is given, in order, until it is given None."""

    def __init__(self, name: str) -> None:
        # A daemon, and not of an executor: Python would wait for either when it ends.
        super().__init__(name=name, daemon=True)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def submit(self, function: Callable[[], Result]) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def deliver(result: Result | None, error: BaseException | None) -> None:
            if future.done():
                return  # nobody waits for it any more
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result, failure = None, None
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - it is handed to who waits
                failure = error
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(deliver, result, failure)

        self._work.put(work)
        return future

    def stop(self) -> None:
        self._work.put(None)


class LibvirtConnection:
    """An open connection, made by `connected`. Calls of several tasks wait for one another."""

    def __init__(self, uri: str, library: Any, account: Account | None) -> None:
        self.uri = uri
        self._library = library
        self._account = account
        self._connect: Any = None
        self._worker = _Worker(f"libvirt {uri}")
        self._hung = False

    async def open(self, time_limit: float = TIME_LIMIT) -> None:
        """Open it, or open it anew when it was lost; raise HypervisorUnavailable."""
        try:
            self._connect = await self.call(
                lambda library, _before: _open(library, self.uri, self._account),
                doing="connecting",
                time_limit=time_limit,
            )
        except HypervisorFailed as error:
            raise HypervisorUnavailable(str(error)) from error

    async def call(
        self, function: Call[Result], *, doing: str, time_limit: float = TIME_LIMIT
    ) -> Result:
        """Make a call and return what it returns; ``doing`` is a phrase such as "starting web1".

        Raise HypervisorUnavailable when there is no answer within ``time_limit`` seconds or the
        connection is lost, MachineMissing, AgentSilent, CheckpointUnusable, or HypervisorFailed.
        When cancelled, the call itself goes on; one made after it sees what it has done.
        """
        if self._hung:
            raise HypervisorUnavailable(f"{self.uri} has stopped to answer.")
        try:
            async with asyncio.timeout(time_limit):
                return await self._worker.submit(
                    functools.partial(function, self._library, self._connect)
                )
        except TimeoutError as error:
            self._hung = True
            raise HypervisorUnavailable(
                f"{self.uri} gave no answer within {time_limit:g} s while {doing}."
            ) from error
        except self._library.libvirtError as error:
            raise _failure(self._library, error, f"{self.uri}, {doing}") from error

    async def alive(self) -> bool:
        """Say whether the other side is there. Raise HypervisorUnavailable when it hangs."""
        try:
            return bool(
                await self.call(
                    lambda _library, connect: connect.isAlive() and connect.getLibVersion(),
                    doing="reaching it",
                )
            )
        except HypervisorUnavailable:
            if self._hung:
                raise
            return False

    def another(
        self, time_limit: float = TIME_LIMIT
    ) -> AbstractAsyncContextManager[LibvirtConnection]:
        """Open a second connection to the same host, for when this one hangs. See `connected`."""
        return connected(self.uri, account=self._account, time_limit=time_limit)

    async def close(self) -> None:
        """Close the connection; what does not close in time is left behind."""
        if not self._hung and self._connect is not None:
            with contextlib.suppress(EngineError):
                await self.call(
                    lambda _library, connect: connect.close(), doing="closing", time_limit=5.0
                )
        self._worker.stop()


@dataclass(frozen=True)
class Account:
    """What to log on with, where a host asks for a name and a password (SASL)."""

    username: str
    password: str = field(repr=False)


async def uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Do some work to its end, and only then be cancelled, should that be asked for meanwhile.

    For what must not be left half done on a host. It ends, since every call has a time limit.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            await asyncio.wait({task})
        raise


@contextlib.asynccontextmanager
async def connected(
    uri: str, *, account: Account | None = None, time_limit: float = TIME_LIMIT
) -> AsyncIterator[LibvirtConnection]:
    """Open a connection for the time of a block.

    Raise EngineError for a URI that is not allowed, HypervisorUnavailable when libvirt's Python
    module is not installed or the host does not answer within ``time_limit`` seconds.
    """
    checked = checked_uri(uri)
    library = await asyncio.to_thread(_library)
    connection = LibvirtConnection(checked, library, account)
    try:
        await connection.open(time_limit)
        yield connection
    finally:
        await connection.close()


def _library() -> Any:
    """Load libvirt's module and start its event loop, which sends the keepalive messages."""
    global _loop
    try:
        library = importlib.import_module("libvirt")
    except ImportError as error:
        raise HypervisorUnavailable(
            "Machines on libvirt need the Python module libvirt, which is not installed here. "
            'Install it with: pip install "holdfast[libvirt]" (it is compiled; on Debian it needs '
            "the packages libvirt-dev, pkg-config and gcc)."
        ) from error
    with _loop_started:
        if _loop is None:
            # Errors reach us as exceptions; without this they are printed as well.
            library.registerErrorHandler(lambda _context, _error: None, None)
            library.virEventRegisterDefaultImpl()
            _loop = threading.Thread(
                target=_run_events, args=(library,), name="libvirt events", daemon=True
            )
            _loop.start()
    return library


def _run_events(library: Any) -> None:
    # A timer keeps it from waiting for ever on an empty list, unaware of what is added later.
    library.virEventAddTimeout(1000, lambda _timer, _data: None, None)
    while True:
        library.virEventRunDefaultImpl()


def _open(library: Any, uri: str, account: Account | None) -> Any:
    connect = _logged_on(library, uri, account)
    connect.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_MISSED)
    return connect


def _logged_on(library: Any, uri: str, account: Account | None) -> Any:
    answers = {}
    if account is not None:
        answers = {
            library.VIR_CRED_AUTHNAME: account.username,
            library.VIR_CRED_USERNAME: account.username,
            library.VIR_CRED_PASSPHRASE: account.password,
        }

    def answer(questions: list[list[Any]], _data: object) -> int:
        """Fill in what is asked: of each question the kind is the first, the answer the last."""
        for question in questions:
            if question[0] not in answers:
                return -1
            question[4] = answers[question[0]]
        return 0

    # Without an account, nothing can be answered: nobody sits at a terminal to be asked.
    return library.openAuth(uri, [list(answers), answer, None], 0)


def _failure(library: Any, error: Any, doing: str) -> EngineError:
    """Given a libvirt error, return the engine error it means."""
    code = error.get_error_code()
    words = (error.get_error_message() or str(error)).rstrip(".")
    message = f"{doing}: {words}."
    if code == library.VIR_ERR_NO_DOMAIN:
        return MachineMissing(message)
    if code in (library.VIR_ERR_NO_DOMAIN_CHECKPOINT, library.VIR_ERR_CHECKPOINT_INCONSISTENT):
        return CheckpointUnusable(message)
    if code in (library.VIR_ERR_AGENT_UNRESPONSIVE, library.VIR_ERR_AGENT_UNSYNCED):
        return AgentSilent(message)
    if code in (library.VIR_ERR_NO_CONNECT, library.VIR_ERR_RPC) or _BROKEN.search(words):
        return HypervisorUnavailable(message)
    return HypervisorFailed(message)
