"""Scripts of the administrator's that run before and after a backup."""

from __future__ import annotations

import asyncio
import os
import stat
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


def ensure_trustworthy(path: Path) -> None:
    """Raise ScriptFailed unless a script is there, and only root and this account may change it.

    It would run with the rights of this account. Blocking.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ScriptFailed(
            f"the script {path} cannot be found on the backup server: {error.strerror or error}."
        ) from error
    if not (stat.S_ISREG(status.st_mode) and os.access(path, os.X_OK)):
        raise ScriptFailed(f"{path} is not an executable file.")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ScriptFailed(
            f"others than its owner may write to the script {path}, and it would run with the "
            "rights of the backup server."
        )
    if status.st_uid not in (0, os.geteuid()):
        raise ScriptFailed(
            f"the script {path} belongs to neither root nor the account of the backup server, and "
            "it would run with the rights of that."
        )


async def run_script(script: Script, environment: Mapping[str, str]) -> None:
    """Run a script; raise ScriptFailed unless it ends with exit code 0 within its time limit.

    It is given nothing but PATH, HOME, TMPDIR, LC_ALL and ``environment``. One that others may
    have changed is not run.
    """
    if not script.path.is_absolute():
        raise ScriptFailed(f"The script {script.path} must be named with its whole path.")
    try:
        await asyncio.to_thread(ensure_trustworthy, script.path)
    except ScriptFailed as error:
        raise ScriptFailed(f"A script of the job was not run: {error}") from error
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
