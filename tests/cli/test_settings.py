"""Settings: where they come from, which one wins, and what is said about a wrong one."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest

from holdfast.cli.commands.manager import manager
from holdfast.cli.commands.server import server
from holdfast.cli.commands.up import up
from holdfast.cli.errors import BadInput
from holdfast.cli.settings import NOT_IN_FILE, Settings
from holdfast.cli.settings_loading import load
from holdfast.cli.settings_sample import sample


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HOLDFAST_{name.upper()}", raising=False)


def write_file(data: Path, text: str) -> None:
    (data / "holdfast.toml").write_text(text)


def test_flag_wins_over_variable_over_file_over_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, "https_port = 1\nhttp_port = 1\nhttps_host = '127.0.0.3'\n")
    monkeypatch.setenv("HOLDFAST_HTTPS_PORT", "2")
    monkeypatch.setenv("HOLDFAST_HTTP_PORT", "2")
    settings = load({"data": tmp_path, "https_port": 3, "http_port": None})
    assert (settings.https_port, settings.http_port) == (3, 2)
    assert (settings.https_host, settings.http_host) == ("127.0.0.3", "127.0.0.1")


def test_file_is_found_through_the_variable_of_the_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, "samples = false\n")
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path))
    assert load({}).samples is False


def test_allowed_hosts_are_a_list_in_the_file_and_separated_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, 'allowed_hosts = ["a.example", "b.example"]\n')
    assert load({"data": tmp_path}).allowed_hosts == ("a.example", "b.example")
    monkeypatch.setenv("HOLDFAST_ALLOWED_HOSTS", "c.example, d.example")
    assert load({"data": tmp_path}).allowed_hosts == ("c.example", "d.example")


def test_repositories_are_named_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, 'repositories = ["Off site=/mnt/a, b", "Tape = /mnt/tape"]\n')
    expected = {"Off site": Path("/mnt/a, b"), "Tape": Path("/mnt/tape")}
    assert load({"data": tmp_path}).repository_directories == expected
    monkeypatch.setenv("HOLDFAST_REPOSITORIES", "Off site=/mnt/a, Tape=/mnt/tape")
    expected["Off site"] = Path("/mnt/a")
    assert load({"data": tmp_path}).repository_directories == expected


@pytest.mark.parametrize(
    ("flags", "file", "message"),
    [
        (
            {"https_port": 70000},
            "",
            "--https-port: expected less than or equal to 65535, not",
        ),
        ({"public_url": "backup"}, "", "--public-url: expected an address such as https://"),
        ({"https_host": "a b"}, "", "--https-host: expected an IP address or a host name"),
        ({}, "http_port = 'x'", "holdfast.toml: http_port: expected a valid integer, not 'x'"),
        ({}, "http_prot = 1", "holdfast.toml: http_prot: no such setting; expected one of allow"),
        (
            {},
            "data = '/'",
            "holdfast.toml: data: expected elsewhere, in the variable HOLD",
        ),
        ({}, "password = 'x'", "holdfast.toml: password: expected elsewhere"),
        ({"repositories": "/mnt"}, "", "--repositories: expected a name and an absolute path"),
        ({"repositories": "a=b"}, "", "--repositories: expected a name and an absolute path"),
        ({}, "http_port =", "holdfast.toml: expected a readable TOML file"),
    ],
)
def test_wrong_setting_is_named_with_what_was_expected(
    tmp_path: Path, flags: dict[str, object], file: str, message: str
) -> None:
    write_file(tmp_path, file)
    with pytest.raises(BadInput) as caught:
        load({"data": tmp_path, **flags})
    assert message in str(caught.value)


def test_wrong_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HTTPS_PORT", "abc")
    with pytest.raises(
        BadInput, match=r"^HOLDFAST_HTTPS_PORT: expected a valid integer, not 'abc'"
    ):
        load({"data": tmp_path})


def test_sample_names_every_setting_and_says_what_no_file_says(tmp_path: Path) -> None:
    text = sample()
    assert tomllib.loads(text) == {}
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line)
    assert tomllib.loads(uncommented).keys() == Settings.model_fields.keys() - NOT_IN_FILE
    write_file(tmp_path, uncommented)
    changed = load({"data": tmp_path}).model_dump(exclude_defaults=True)
    assert changed.keys() == {
        *("data", "public_url", "ready_file", "password_file"),
        *("certificate_file", "key_file", "logon_program", "server_name"),
        *("concurrent_per_repository", "concurrent_per_host"),
    }


def test_every_setting_has_a_flag() -> None:
    commands = (up, manager, server)
    flags = {name for command in commands for name in inspect.signature(command).parameters}
    # A password among the arguments could be read by every user of the machine.
    assert flags - {"context"} == Settings.model_fields.keys() - {"password"}


def test_password_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOLDFAST_PASSWORD", "very-secret")
    assert "very-secret" not in repr(load({"data": tmp_path}))
