"""The `holdfast` command: its subcommands and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, TyperException

from holdfast import __version__
from holdfast.cli.commands import (
    check,
    host,
    instant,
    job,
    manager,
    password,
    points,
    replica,
    repository,
    restore,
    server,
    settings,
    unlock,
    up,
)
from holdfast.cli.errors import CommandError
from holdfast.engine.errors import EngineError
from holdfast.manager.connection import BackupServerUnavailable
from holdfast.server.refusal import RefusedError

INTERRUPTED = 130

_logger = logging.getLogger(__name__)

application = typer.Typer(
    name="holdfast",
    help="Run, watch, query and restore backups.",
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
application.command("up")(up.up)
application.command("manager")(manager.manager)
application.add_typer(server.application, name="server")
application.command("password")(password.password)
application.command("points")(points.points)
application.command("restore")(restore.restore)
application.command("unlock")(unlock.unlock)
application.command("check")(check.check)
application.add_typer(job.application, name="job")
application.add_typer(host.application, name="host")
application.add_typer(replica.application, name="replica")
application.add_typer(instant.application, name="instant")
application.add_typer(repository.application, name="repository")
application.command("settings")(settings.settings)


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
        return _exit_code(application(args=arguments, standalone_mode=False))
    except TyperException as error:
        return _ended(error.format_message(), error.exit_code)
    except CommandError as error:
        return _ended(str(error), error.exit_code)
    except (EngineError, RefusedError, BackupServerUnavailable) as error:
        return _ended(str(error), 1)
    except (Abort, KeyboardInterrupt, asyncio.CancelledError):
        return _ended("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has left: nothing more to say, also not when Python flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _ended(str(error), 1)
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
