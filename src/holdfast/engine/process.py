"""The one place where outside programs are run.

A program is an argument list, never a shell line. It runs in a process group of its own with a
minimal environment and without standard input; it dies with its task (cancellation), with its
time limit, and with Holdfast itself. Secrets reach it through the environment or a file, never
through its arguments, which every user of the machine can read.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.errors import ToolFailed, ToolMissing

LineCallback = Callable[[str], None]

_GRACE_SECONDS = 3.0
_DRAIN_SECONDS = 1.0
_READ_SIZE = 64 * 1024
_TAIL_SIZE = 64 * 1024
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("HOME", "TMPDIR")
# Run once the kernel has been told to kill the child with its parent; see _dying_with_us.
_ONLY_WITH_PARENT = '[ "$PPID" = "$0" ] && unset PWD && exec "$@"'
_DEBIAN_PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "restic": "restic",
    "mke2fs": "e2fsprogs",
}


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended.

    ``exit_code`` is negative when a signal ended it. ``stdout`` and ``stderr`` are whole, or
    their last 64 KiB when the lines were handed out one by one.
    """

    exit_code: int
    stdout: str
    stderr: str


async def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    on_line: LineCallback | None = None,
    cwd: Path | None = None,
    time_limit: float | None = None,
    descriptors: Collection[int] = (),
    on_start: Callable[[int], None] | None = None,
) -> Completed:
    """Given an argument list, run the program to its end and return how it ended.

    ``environment`` is added to PATH, HOME, TMPDIR and LC_ALL=C. ``on_line`` is given every line
    of both streams, without its end; a carriage return ends a line too, since qemu-img draws its
    progress with it. An exception from ``on_line`` ends the program. ``time_limit`` is in seconds.
    The program has ``descriptors`` open under the same numbers, such as sockets. ``on_start`` is
    given its process id.

    Raise ToolMissing when the program is not installed, ToolFailed when the time limit passes,
    OSError when ``cwd`` cannot be entered. An exit code other than 0 raises nothing.
    """
    process = await spawn(argv, environment=environment, cwd=cwd, descriptors=descriptors)
    if on_start is not None:
        on_start(process.pid)
    assert process.stdout is not None  # noqa: S101 - both were asked for as pipes
    assert process.stderr is not None  # noqa: S101
    collectors = [
        asyncio.create_task(_collect(process.stdout, on_line)),
        asyncio.create_task(_collect(process.stderr, on_line)),
    ]
    try:
        async with asyncio.timeout(time_limit):
            stdout, stderr = await asyncio.gather(*collectors)
            exit_code = await process.wait()
    except TimeoutError as error:
        raise ToolFailed(f"{argv[0]} was stopped: it ran longer than {time_limit} s.") from error
    finally:
        await end(process)
        await _read_out(process, collectors)
    return Completed(exit_code, stdout, stderr)


def work_done(pid: int) -> int:
    """Return the processor time that a process has used, in ticks of the clock; 0 without it."""
    try:
        # The name of the program comes before, in brackets, and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


async def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input_wanted: bool = False,
    unprivileged: bool = False,
    descriptors: Collection[int] = (),
) -> asyncio.subprocess.Process:
    """Start a program as `run` does, and return it with its output as pipes.

    With ``input_wanted`` its standard input is a pipe too; ``unprivileged`` lets it gain no rights
    by what it executes. Whoever starts it must `end` it. Raise ToolMissing, or OSError when ``cwd``
    cannot be entered.
    """
    full_environment = _environment(environment)
    program = _program(argv[0], full_environment["PATH"])
    standard_input = asyncio.subprocess.PIPE if input_wanted else asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        *_dying_with_us(full_environment["PATH"], unprivileged=unprivileged),
        program,
        *argv[1:],
        stdin=standard_input,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=full_environment,
        cwd=cwd,
        start_new_session=True,
        pass_fds=tuple(descriptors),
    )


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    environment = {"PATH": os.environ.get("PATH", _DEFAULT_PATH), "LC_ALL": "C"}
    environment |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return environment | dict(extra or {})


def _program(name: str, search_path: str) -> str:
    """Given a program's name, return its path; raise ToolMissing when there is none."""
    # Looked up here and not by exec: behind setpriv a missing program is only an exit code.
    found = shutil.which(name, path=search_path)
    if found is None:
        package = _DEBIAN_PACKAGES.get(name, name)
        raise ToolMissing(
            f"The program {name} is not installed or not in PATH ({search_path}). "
            f"On Debian, install it with: apt-get install {package}"
        )
    return found


def _dying_with_us(search_path: str, *, unprivileged: bool) -> list[str]:
    """Return the prefix that makes a child die when Holdfast is killed with SIGKILL."""
    # The kernel sends the signal when the *thread* that started the child ends. asyncio starts
    # children from the thread of the event loop, which lives as long as the work does.
    setpriv = shutil.which("setpriv", path=search_path)
    shell = shutil.which("sh", path=search_path)
    if setpriv is None or shell is None:
        return []
    signalled = [setpriv, "--pdeathsig", "KILL", *["--no-new-privs"] * unprivileged, "--"]
    # A parent that dies before the child has asked for the signal sends none: so the child looks,
    # once it has asked, whether its parent is still there.
    return [*signalled, shell, "-c", _ONLY_WITH_PARENT, str(os.getpid())]


async def _collect(stream: asyncio.StreamReader, on_line: LineCallback | None) -> str:
    """Read a stream to its end; return all of it, or its tail when lines are handed out."""
    kept = bytearray()
    unfinished = bytearray()
    while chunk := await stream.read(_READ_SIZE):
        kept += chunk
        if on_line is None:
            continue
        del kept[:-_TAIL_SIZE]
        *lines, last = chunk.replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            _hand_out(bytes(unfinished) + line, on_line)
            unfinished.clear()
        unfinished += last
        del unfinished[:-_TAIL_SIZE]
    if on_line is not None:
        _hand_out(bytes(unfinished), on_line)
    return kept.decode(errors="replace")


def _hand_out(line: bytes, on_line: LineCallback) -> None:
    if line:
        on_line(line.decode(errors="replace"))


async def end(process: asyncio.subprocess.Process) -> None:
    """See to it that nothing of the program is left: SIGTERM, a grace, then SIGKILL.

    When this returns, or is cancelled, the program is gone and has no file open any more.
    """
    await finished(_end(process))


async def finished(work: Coroutine[None, None, None]) -> None:
    """Do the work to its end even when cancelled meanwhile, and only then be cancelled."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    _signal_group(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        _signal_group(process, signal.SIGKILL)
        await process.wait()


async def _read_out(
    process: asyncio.subprocess.Process, collectors: Sequence[asyncio.Task[str]]
) -> None:
    """Read what an ended program left in its pipes: only then does asyncio close them."""
    for collector in collectors:
        collector.cancel()
    await asyncio.gather(*collectors, return_exceptions=True)
    for stream in (process.stdout, process.stderr):
        # A grandchild that outlived the program could hold a pipe open: do not wait for it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while stream is not None and await stream.read(_READ_SIZE):
                    pass


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it ended by itself in this very moment
