"""`holdfast job`: jobs are shown, created and edited at a Holdfast that runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest

from holdfast.cli.application import run

from .holdfast_process import HOLDFAST, START_LIMIT, Running, environment


class Command(Protocol):
    def __call__(self, *arguments: object) -> tuple[int, str, str]: ...


@pytest.fixture
def job(
    first_start: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command about jobs; return its exit code, output and errors."""
    monkeypatch.setenv("HOLDFAST_PASSWORD", str(first_start.ready["password"]))
    place = ["--data", str(first_start.data), "--ready-file", str(first_start.ready_file)]

    def command(*arguments: object) -> tuple[int, str, str]:
        code = run(["job", *map(str, arguments), *place])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def shown(job: Command, name: str) -> dict[str, Any]:
    code, output, errors = job("show", name)
    assert code == 0, errors
    found: dict[str, Any] = json.loads(output)
    return found


def test_everything_about_a_job_can_be_made_shown_and_changed(job: Command, tmp_path: Path) -> None:
    other = shown(job, "sample disk backup")
    assert other["target"] is None
    described = tmp_path / "job.json"
    source = {"path": str(tmp_path / "a.raw")}
    given = {"name": "Long", "repository": other["repository"], "sources": [source]}
    described.write_text(json.dumps(given))
    assert job("create", described) == (0, "Long created\n", "")

    changes = ("options.gfs.weekly.keep=4", "options.bandwidth=1000000", "retention_days=30")
    asked = [part for change in changes for part in ("--set", change)]
    assert job("edit", "long", *asked)[0] == 0
    code, _, _ = job("edit", "long", "--set", "options.bandwidth=null")
    assert code == 0
    found = shown(job, "Long")
    gfs = {"weekly": {"keep": 4, "day": "Sunday"}, "monthly": None, "yearly": None, "zone": "UTC"}
    assert found["options"] == {"gfs": gfs}
    assert found["retention_days"] == 30
    described.write_text(json.dumps({"schedule": {"type": "Daily", "time": "22:00:00"}}))
    more = ("--set", "name=Longer", "--set", "schedule_enabled=true")
    renamed = job("edit", found["uid"], "--file", described, *more)
    assert renamed == (0, "Longer changed\n", "")
    listed = json.loads(job("list", "--json")[1])
    [longer] = [each for each in listed if each["name"] == "Longer"]
    assert longer["schedule_enabled"] is True
    assert "30 days and longer" in job("list")[1]

    for wrong, code, reason in (
        (("edit", "no such job", "--set", "retention=1"), 2, "JOB: expected the name or UID"),
        (("edit", "Longer"), 2, "expected --set or --file"),
        (("edit", "Longer", "--set", "retention"), 2, "--set: expected FIELD=VALUE"),
        (("edit", "Longer", "--set", "retry.times=3"), 2, "retry is given whole"),
        (
            ("edit", "Longer", "--set", "options.speed=3"),
            1,
            "options.speed: there is no such field",
        ),
        (("create", tmp_path / "none"), 2, "FILE: "),
    ):
        ended = job(*wrong)
        assert ended[0] == code, ended
        assert reason in ended[2]
        assert len(ended[2].splitlines()) == 1


def test_a_password_comes_on_a_pipe_where_there_is_no_terminal(first_start: Running) -> None:
    place = ("--data", first_start.data, "--ready-file", first_start.ready_file)

    def listed(said: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HOLDFAST, "job", "list", "--json", *place],
            env=environment(),
            input=said,
            capture_output=True,
            text=True,
            timeout=START_LIMIT,
            check=False,
            start_new_session=True,  # with no terminal of its own
        )

    done = listed(f"{first_start.ready['password']}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)
    refused = listed("")
    assert refused.returncode == 2
    assert refused.stderr.startswith("holdfast: --password-file or HOLDFAST_PASSWORD: expected")
    assert len(refused.stderr.splitlines()) == 1
