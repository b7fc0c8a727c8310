"""Running outside programs."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.engine.errors import ToolFailed, ToolMissing
from holdfast.engine.process import end, run, spawn

from .lab import processes, wait_until


async def test_output_and_exit_code_come_back_whole() -> None:
    done = await run(["sh", "-c", "seq 100000; echo wrong >&2; exit 4"])
    assert done.exit_code == 4
    assert done.stdout.splitlines() == [str(number) for number in range(1, 100001)]
    assert done.stderr == "wrong\n"


async def test_carriage_returns_end_lines_and_only_the_tail_is_kept() -> None:
    lines: list[str] = []
    script = "printf 'one\\rtwo\\r\\nthree'; sleep 0.1; printf ' more\\n'; seq 50000"
    done = await run(["sh", "-c", script], on_line=lines.append)
    assert lines[:3] == ["one", "two", "three more"]
    assert len(lines) == 50003
    assert len(done.stdout) <= 64 * 1024
    assert done.stdout.endswith("50000\n")


async def test_the_environment_is_minimal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SECRET", "x")
    done = await run(["env"], environment={"GIVEN": "yes"})
    names = {line.split("=")[0] for line in done.stdout.splitlines()}
    assert {"PATH", "LC_ALL", "GIVEN"} <= names <= {"PATH", "LC_ALL", "GIVEN", "HOME", "TMPDIR"}


async def test_standard_input_is_empty() -> None:
    assert (await run(["cat"])).stdout == ""


async def test_a_time_limit_kills_the_whole_group(tmp_path: Path) -> None:
    script = f"sh -c 'sleep 60; echo {tmp_path}' & sleep 61; echo {tmp_path}"
    with pytest.raises(ToolFailed, match=r"longer than 0\.2 s"):
        await run(["sh", "-c", script], time_limit=0.2)
    assert processes("sh", tmp_path) == []


async def test_a_program_that_ignores_the_first_signal_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.engine.process._GRACE_SECONDS", 0.2)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on'); time.sleep(61.5)"
    started = asyncio.Event()
    task = asyncio.create_task(
        run([sys.executable, "-u", "-c", code], on_line=lambda _line: started.set())
    )
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait_until(lambda: not processes(Path(sys.executable).name, "61.5"))


async def test_an_exception_from_the_line_callback_ends_the_program(tmp_path: Path) -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="hello"):
        await run(["sh", "-c", f"echo hello; seq 1000000; sleep 60; {tmp_path}"], on_line=refuse)
    assert processes("sh", tmp_path) == []


async def test_a_missing_program_is_told_before_anything_starts() -> None:
    with pytest.raises(ToolMissing, match="no-such-program"):
        await run(["no-such-program"])


async def test_a_missing_folder_to_run_in_is_a_system_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run(["true"], cwd=tmp_path / "gone")


async def test_a_program_has_a_process_group_of_its_own() -> None:
    done = await run(["sh", "-c", "ps -o pgid= -p $$"])
    assert int(done.stdout) != os.getpgrp()


def test_a_program_that_had_no_time_to_ask_for_it_dies_with_holdfast_too(tmp_path: Path) -> None:
    setpriv = shutil.which("setpriv")
    slow = tmp_path / "setpriv"
    slow.write_text(f'#!/bin/sh\nsleep 0.3; exec {setpriv} "$@"\n')
    slow.chmod(0o755)
    mark = tmp_path / "mark"
    dying = f"""
import asyncio, os, signal
from holdfast.engine.process import spawn

async def main():
    await spawn(["sh", "-c", "sleep 60; : {mark}"])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-c", dying], env=environment, check=False)
    time.sleep(0.5)
    wait_until(lambda: not any(processes(name, mark) for name in ("sh", "setpriv")))


async def test_a_program_is_gone_however_often_its_end_is_cancelled() -> None:
    process = await spawn(["sh", "-c", "trap '' TERM; echo on; while :; do sleep 0.1; done"])
    assert process.stdout is not None
    await process.stdout.readline()
    ending = asyncio.create_task(end(process))
    for _ in range(3):
        await asyncio.sleep(0.05)
        ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert process.returncode is not None
