"""`holdfast up` as a process: first start, later starts, stop, refusals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import StartHoldfast
from .holdfast_process import Running, holdfast, launch

SESSIONS = "/query?type=BackupJobSession&format=Entities&sortAsc=JobName"


def job_sessions(client: httpx.Client) -> list[dict[str, Any]]:
    answer = client.get(SESSIONS)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["Entities"]["BackupJobSessions"][
        "BackupJobSessions"
    ]
    return found


def test_first_start_is_ready_with_both_sample_jobs_done(first_start: Running) -> None:
    with first_start.client() as client:
        ended = [(s["JobName"], s["JobType"], s["Result"]) for s in job_sessions(client)]
    assert ended == [
        ("Sample Disk Backup", "Backup", "Success"),
        ("Sample Files Backup", "NasBackup", "Success"),
    ]


def test_sample_jobs_run_daily_and_keep_fourteen_points(first_start: Running) -> None:
    with first_start.client() as client:
        found = client.get("/query?type=Job&format=Entities").json()["Entities"]["Jobs"]["Jobs"]
    # Other tests make jobs of their own here.
    jobs = [job for job in found if job["Name"].startswith("Sample ")]
    assert len(jobs) == 2
    for job in jobs:
        assert job["ScheduleEnabled"] is True
        assert job["JobScheduleOptions"]["Standart"]["OptionsDaily"]["Time"].startswith("22:00")
        retention = job["JobInfo"]["BackupJobInfo"]["SimpleRetentionPolicy"]
        assert retention["RetainCycles"] == 14


def test_ready_file_says_all_and_is_private(first_start: Running) -> None:
    assert first_start.ready.keys() == {"https", "http", "user", "password", "pid"}
    assert first_start.ready["https"].startswith("https://127.0.0.1:")
    assert first_start.ready["http"].endswith("/api")
    assert first_start.ready["user"] == "admin"
    assert stat.S_IMODE(first_start.ready_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(first_start.data.stat().st_mode) == 0o700


def test_http_answers_like_https(first_start: Running) -> None:
    with first_start.client("http") as client:
        assert len(job_sessions(client)) == 2


def test_session_header_keeps_its_case_on_the_wire(first_start: Running) -> None:
    host, port = first_start.ready["http"].removeprefix("http://").removesuffix("/api").split(":")
    credentials = httpx.BasicAuth("admin", first_start.ready["password"])
    authorization = next(credentials.auth_flow(httpx.Request("GET", "http://x"))).headers[
        "Authorization"
    ]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /api/sessionMngr/?v=latest HTTP/1.1\r\nContent-Length: 0\r\n"
            b"Connection: close\r\n"
            + f"Host: {host}:{port}\r\nAuthorization: {authorization}\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"\r\nX-RestSvcSessionId: " in answer
    assert b"\r\ndate: " in answer.lower()
    assert b"\r\nserver: " not in answer.lower()


def test_password_is_shown_once_and_nowhere_else(first_start: Running) -> None:
    password = first_start.ready["password"]
    assert first_start.output.read_text().count(password) == 1
    assert password not in first_start.log.read_text()
    for path in first_start.data.rglob("*"):
        if path.is_file() and "samples" not in path.parts:
            assert password.encode() not in path.read_bytes(), path


def test_output_is_plain_when_it_is_no_terminal(first_start: Running) -> None:
    output = first_start.output.read_text()
    assert "\x1b" not in output
    assert first_start.ready["https"] in output
    assert "/query?type=BackupJobSession&format=Entities" in output


def test_second_process_on_the_same_data_is_refused(first_start: Running) -> None:
    refused = holdfast("up", "--data", first_start.data, "--https-port", "0", "--http-port", "0")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"holdfast: {first_start.data}: in use by another Holdfast "
        f"(process {first_start.process.pid}); stop that first\n"
    )


def test_later_start_finds_everything_again(start: StartHoldfast) -> None:
    first = start()
    password = first.ready["password"]
    with first.client() as client:
        before = job_sessions(client)
    certificate = first.certificate.read_bytes()
    assert first.stop() == 0
    assert not first.ready_file.exists()

    second = start()
    assert second.ready["password"] is None
    assert password not in second.output.read_text()
    assert "holdfast password --data" in second.output.read_text()
    assert second.certificate.read_bytes() == certificate
    with second.client(password=password) as client:
        after = job_sessions(client)
    assert [session["UID"] for session in after] == [session["UID"] for session in before]
    assert second.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_first_jobs_that_are_cut_short_end_and_are_not_made_twice(
    start: StartHoldfast, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    data = tmp_path / "data"
    output, log = data.with_name("output.txt"), data.with_name("log.txt")
    process = launch(data)
    try:
        while "Running the first jobs" not in output.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(30) == exit_code
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()
    match = re.search(r"^Password +(\S+)$", output.read_text(), re.MULTILINE)
    assert match is not None
    with start().client(password=match[1]) as client:
        jobs = client.get("/query?type=Job").json()["Refs"]["Refs"]
        states = {session["State"] for session in job_sessions(client)}
    assert [job["Name"] for job in jobs] == ["Sample Disk Backup", "Sample Files Backup"]
    assert states == {"Stopped"}


def test_supplied_password_is_set_and_known_at_every_start(
    start: StartHoldfast, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse battery staple\n")
    for _ in range(2):
        running = start("--password-file", file, "--no-samples")
        assert running.ready["password"] == "correct horse battery staple"
        assert "correct horse" not in running.output.read_text()
        with running.client() as client:
            assert job_sessions(client) == []
        assert running.stop() == 0


def test_supplied_password_that_is_wrong_does_not_keep_holdfast_down(
    start: StartHoldfast,
) -> None:
    assert start("--no-samples").stop() == 0
    running = start("--no-samples", HOLDFAST_PASSWORD="another")
    assert running.ready["password"] is None
    assert "was not accepted" in running.log.read_text()


def test_stale_ready_file_is_gone_before_the_start_begins(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    ready_file.write_text(json.dumps({"pid": os.getpid()}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = holdfast(
            *("up", "--data", tmp_path / "data", "--ready-file", ready_file),
            *("--http-port", port, "--https-port", "0"),
        )
    assert refused.returncode == 1
    assert refused.stderr == (
        f"holdfast: --http-port: cannot listen on port {port} of 127.0.0.1: "
        "Address already in use\n"
    )
    assert not ready_file.exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["up", "--https-port", "x"], "--https-port: expected a valid integer, not 'x'"),
        (["up", "--https-port", "70000"], "--https-port: expected less than or equal to 65535"),
        (["up", "--no-such"], "No such option: --no-such"),
        (["up", "--password-file", "/no/such/file"], "--password-file: /no/such/file: expected"),
        (["up", "--ready-file", "/no/such/ready.json"], "--ready-file: /no/such/ready.json: expec"),
        (["up", "--key-file", "/no/such/key"], "--certificate-file, --key-file: expected both"),
        (["nonsense"], "No such command 'nonsense'"),
        (["restore", "only-one"], "POINT: expected the UID of a restore point"),
        (
            ["restore", "4f0f0b3c-6a6a-4a3e-8f0e-5d3c5f6d7a11"],
            "TARGET: expected the file or directory to make, or --to-host",
        ),
    ],
)
def test_wrong_input_is_told_in_one_line(tmp_path: Path, arguments: list[str], line: str) -> None:
    refused = holdfast(*arguments, HOLDFAST_DATA=str(tmp_path / "data"))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"holdfast: {line}")
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""


def test_a_key_that_is_damaged_is_told_in_one_line_with_what_to_do(tmp_path: Path) -> None:
    keys = tmp_path / "server" / "keys"
    keys.mkdir(parents=True)
    (keys / "secrets.key").write_bytes(b"")
    ended = holdfast("up", "--data", tmp_path, "--no-samples", "--https-port=0", "--http-port=0")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"holdfast: {keys / 'secrets.key'} must hold a key of 32 bytes")
    assert line.endswith("have to be entered again.")


def test_command_alone_shows_what_there_is() -> None:
    shown = holdfast()
    assert shown.returncode == 0
    for command in ("up", "password", "points", "restore", "settings"):
        assert f"\n  {command} " in shown.stdout
