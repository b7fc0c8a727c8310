"""`holdfast replica`: replicas, listed and told to take over at a Holdfast that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from holdfast.cli.api_client import ApiClient
from holdfast.cli.commands import api_command
from holdfast.cli.commands import replica as commands

from .holdfast_process import Running, holdfast


def replica(running: Running, *arguments: str) -> tuple[int, str, str]:
    """Run a command about replicas; return its exit code, output and errors."""
    password = {"HOLDFAST_PASSWORD": str(running.ready["password"])}
    place = ("--data", running.data, "--ready-file", running.ready_file)
    ended = holdfast("replica", *arguments, *place, **password)
    return ended.returncode, ended.stdout, ended.stderr


def test_without_replicas_there_are_none_to_be_listed_or_to_take_over(first_start: Running) -> None:
    assert replica(first_start, "list", "--json") == (0, "[]\n", "")
    code, output, errors = replica(first_start, "failover", "web_replica")
    assert (code, output) == (2, "")
    assert "REPLICA: expected the name or UID of one replica, not 'web_replica'" in errors


def test_operation_is_asked_for_and_its_end_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    uid = "4f0f0b3c-6a6a-4a3e-8f0e-5d3c5f6d7a11"
    asked: list[tuple[str, str, bytes]] = []
    document = {"uid": uid, "name": "web_replica", "source": "web", "state": "Failback"}
    document |= {"doing": "", "failback": "vda: 65536 bytes compared.", "source_runs_on": "kvm1"}
    link = {"Type": "RestoreSession", "Href": "http://x/api/restoreSessions/5?format=Entity"}
    task = {"State": "Finished", "Result": {"Success": True}, "Links": [link]}
    session = {"State": "Stopped", "Result": "Warning", "FailureMessage": "It was powered off."}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        asked.append((request.method, f"{path}?{request.url.query.decode()}", request.content))
        if request.method == "POST":
            return httpx.Response(202, json=task)
        return httpx.Response(200, json=session if "Sessions" in path else {"replicas": [document]})

    @contextmanager
    def logged_on(_settings: Any, _user: str) -> Iterator[ApiClient]:
        transport = httpx.MockTransport(answer)
        with httpx.Client(base_url="http://x/api", transport=transport) as client:
            yield ApiClient(client)

    monkeypatch.setattr(api_command, "logged_on", logged_on)
    ended = CliRunner().invoke(commands.application, ["list"])
    assert "Failback (source runs on kvm1)" in ended.output
    wanted = ["failback", "WEB", "--seconds", "5", "--force"]
    ended = CliRunner().invoke(commands.application, wanted)
    assert ended.exit_code == 0, ended.output
    assert ended.output == (
        "web_replica: Failback. vda: 65536 bytes compared.\nIt was powered off.\n"
    )
    [(_method, path, body)] = [each for each in asked if each[0] == "POST"]
    assert path == f"/api/holdfast/v1/replicas/{uid}?action=failback"
    assert body == b'{"seconds":5,"force":true}'
    place = ["--host", uid, "--folder", "/srv/vm", "--name", "new", "--network", "office=lab"]
    ended = CliRunner().invoke(commands.application, ["failback", "web", *place])
    assert ended.exit_code == 0, ended.output
    [*_, (_method, _path, body)] = [each for each in asked if each[0] == "POST"]
    assert msgspec.json.decode(body) == {
        "seconds": 300,
        "force": False,
        "host": uid,
        "folder": "/srv/vm",
        "name": "new",
        "networks": {"office": "lab"},
    }
    ended = CliRunner().invoke(commands.application, ["failback", "web", "--network", "office"])
    assert "--network: expected OLD=NEW, not 'office'" in str(ended.exception)


def test_name_that_two_replicas_have_is_told_with_their_uids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [
        {"uid": uid, "name": "web_replica", "source": source, "state": "Ready", "doing": ""}
        for uid, source in (("urn:veeam:Replica:1", "web"), ("urn:veeam:Replica:2", "WEB"))
    ]

    @contextmanager
    def logged_on(_settings: Any, _user: str) -> Iterator[ApiClient]:
        answers = httpx.MockTransport(lambda _asked: httpx.Response(200, json={"replicas": found}))
        with httpx.Client(base_url="http://x/api", transport=answers) as client:
            yield ApiClient(client)

    monkeypatch.setattr(api_command, "logged_on", logged_on)
    for name in ("web", "Web_Replica"):
        ended = CliRunner().invoke(commands.application, ["failover", name])
        assert str(ended.exception) == (
            f"REPLICA: expected the name or UID of one replica: {name!r} is the name of 2, "
            "give the UID: urn:veeam:Replica:1, urn:veeam:Replica:2"
        )
