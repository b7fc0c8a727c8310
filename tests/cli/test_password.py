"""`holdfast password`: a new one for who lost theirs."""

from __future__ import annotations

from pathlib import Path

from .conftest import StartHoldfast
from .holdfast_process import Running, holdfast


def test_new_password_replaces_the_old_one(start: StartHoldfast, tmp_path: Path) -> None:
    assert start("--no-samples").stop() == 0
    changed = holdfast("password", "--data", tmp_path / "data")
    assert changed.returncode == 0, changed.stderr
    new = changed.stdout.strip()
    running = start("--no-samples", HOLDFAST_PASSWORD=new)
    assert running.ready["password"] == new
    with running.client() as client:
        assert client.get("/jobs").status_code == 200


def test_password_is_not_changed_while_holdfast_runs(first_start: Running) -> None:
    refused = holdfast("password", "--data", first_start.data)
    assert refused.returncode == 1
    assert "in use by another Holdfast" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_unknown_account_is_named(start: StartHoldfast, tmp_path: Path) -> None:
    assert start("--no-samples").stop() == 0
    refused = holdfast("password", "--data", tmp_path / "data", "--user", "nobody")
    assert refused.returncode == 2
    assert refused.stderr == "holdfast: --user: expected the name of an account, not 'nobody'\n"


def test_data_directory_of_no_holdfast_is_told_and_not_made(tmp_path: Path) -> None:
    refused = holdfast("password", "--data", tmp_path / "none")
    assert refused.returncode == 1
    assert "no Holdfast has been started" in refused.stderr
    assert not (tmp_path / "none").exists()
