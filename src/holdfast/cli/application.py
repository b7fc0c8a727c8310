"""The `holdfast` command: its subcommands and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import UserDict
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from holdfast import __version__
from holdfast.cli.errors import CommandError
from holdfast.engine.errors import EngineError
from holdfast.manager.connection import BackupServerUnavailable
from holdfast.sealing import SealBroken
from holdfast.server.refusal import RefusedError

INTERRUPTED = 130

_logger = logging.getLogger(__name__)

# Where they are: functions, or applications with commands of their own.
_COMMANDS = {
    "up": "up.up",
    "manager": "manager.manager",
    "server": "server.application",
    "password": "password.password",
    "points": "points.points",
    "restore": "restore.restore",
    "unlock": "unlock.unlock",
    "check": "check.check",
    "job": "job.application",
    "host": "host.application",
    "replica": "replica.application",
    "instant": "instant.application",
    "repository": "repository.application",
    "settings": "settings.settings",
}


class _ImportedWhenNamed(UserDict[str, Any]):
    """The commands, each imported when it is asked for: all together need the whole product."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = self.data[name].partition(".")
        part = getattr(import_module(f"holdfast.cli.commands.{module}"), attribute)
        if isinstance(part, typer.Typer):
            return typer.main.get_group(part)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name)(part)
        return typer.main.get_command(alone)


class _Commands(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _ImportedWhenNamed(_COMMANDS)


application = typer.Typer(
    name="holdfast",
    cls=_Commands,
    help="Run, watch, query and restore backups.",
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@application.callback()
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Run, watch, query and restore backups."""
    if version:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: list[str] | None = None) -> int:
    """Given arguments (those of the process when None), carry them out and return the exit code.

    0: done; 1: it could not be done; 2: the input was wrong; 130: interrupted. In the last three
    cases one line on standard error says why.
    """
    try:
        return _exit_code(application(args=arguments, prog_name="holdfast", standalone_mode=False))
    except TyperException as error:
        message = error.format_message()
        if message.startswith("Usage: "):  # `holdfast job` alone: its help, as of `holdfast` alone
            typer.echo(message)
            return 0
        return _ended(message, error.exit_code)
    except CommandError as error:
        return _ended(str(error), error.exit_code)
    except (EngineError, RefusedError, SealBroken, BackupServerUnavailable) as error:
        return _ended(str(error), 1)
    except (Abort, KeyboardInterrupt, asyncio.CancelledError):
        return _ended("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has left: nothing more to say, also not when Python flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        reason = error.strerror or str(error)
        return _ended(f"{error.filename}: {reason}" if error.filename else reason, 1)
    except Exception as error:
        _logger.debug("unexpected error", exc_info=True)
        return _ended(f"unexpected error: {type(error).__name__}: {error}", 1)


def _exit_code(result: Any) -> int:
    return result if isinstance(result, int) else 0


def _ended(message: str, exit_code: int) -> int:
    line = " ".join(message.split())
    if line:
        typer.echo(f"holdfast: {line}", err=True)
    return exit_code
