"""The commands: each is there with its help, and imports only what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from holdfast.cli.application import run

COMMANDS = (
    "up", "manager", "server", "password", "points", "restore", "unlock", "check", "job", "host",
    "replica", "instant", "repository", "settings",
)  # fmt: skip


def test_all_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    shown = capsys.readouterr().out.partition("Commands:")[2]
    assert tuple(line.split()[0] for line in shown.strip().splitlines()) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: holdfast {name} ")
    assert "--help" in shown


def test_commands_that_have_commands_show_their_help_when_they_are_given_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["instant"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Usage: holdfast instant ")
    assert "  migrate " in shown.out
    assert shown.err == ""


def test_a_name_that_is_nearly_right_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hots"]) == 2
    assert "Did you mean 'host'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["check", "job", "host", "replica", "instant", "repository"])
def test_a_command_that_asks_the_api_imports_no_server(name: str) -> None:
    script = (
        "import sys; from holdfast.cli.application import run; run([sys.argv[1], '--help']); "
        "heavy = {'sqlalchemy', 'holdfast.server.store', 'holdfast.api.app'}; "
        "print(*(heavy & {*sys.modules}), file=sys.stderr, end='')"
    )
    done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True)
    assert done.stdout.startswith("Usage: ")
    assert done.stderr == ""
