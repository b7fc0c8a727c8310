"""Scripts of the administrator's that run before and after a backup."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.errors import ScriptFailed, ToolFailed, ToolMissing
from holdfast.engine.failures import last_words
from holdfast.engine.process import run


@dataclass(frozen=True, slots=True)
class Script:
    """An executable file and how long it may run, in seconds."""

    path: Path
    time_limit: float = 600.0


async def run_script(script: Script, environment: Mapping[str, str]) -> None:
    """Run a script; raise ScriptFailed unless it ends with exit code 0 within its time limit.

    It is given nothing but PATH, HOME, TMPDIR, LC_ALL and ``environment``.
    """
    if not script.path.is_absolute():
        raise ScriptFailed(f"The script {script.path} must be named with its whole path.")
    try:
        completed = await run(
            [str(script.path)], environment=environment, time_limit=script.time_limit
        )
    except ToolMissing as error:
        raise ScriptFailed(f"The script {script.path} does not exist or may not run.") from error
    except ToolFailed as error:
        raise ScriptFailed(f"The script {script.path} failed: {error}") from error
    if completed.exit_code != 0:
        raise ScriptFailed(
            f"The script {script.path} failed (exit code {completed.exit_code}): "
            f"{last_words(completed)}"
        )


@asynccontextmanager
async def around(
    before: Script | None,
    after: Script | None,
    environment: Mapping[str, str],
    problems: list[str],
) -> AsyncIterator[None]:
    """Run a script before a block, and one after it, however it ends.

    Raise ScriptFailed when the first fails; then the second does not run. Why the second failed is
    added to ``problems``.
    """
    if before is not None:
        await run_script(before, environment)
    try:
        yield
    finally:
        if after is not None:
            try:
                await run_script(after, environment)
            except ScriptFailed as error:
                problems.append(str(error))
