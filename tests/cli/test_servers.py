"""Two backup server processes and a manager process, joined over HTTPS on loopback."""

from __future__ import annotations

import signal
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from .apart import Server, start_manager, start_server, wait_for
from .holdfast_process import STOP_LIMIT, Running, holdfast

CREATE = "/backupServers?action=create"


class House:
    """A manager and two backup servers, started once for the tests of this module."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._stack = stack
        self.directory = directory
        self.manager = start_manager(directory / "manager" / "data")
        self._kill_at_end(self.manager)
        self.password = self.manager.ready["password"]
        self.first = self.server("first")
        self.second = self.server("second")

    def server(self, name: str, port: int = 0) -> Server:
        server = start_server(self.directory / name / "data", name, port)
        self._kill_at_end(server)
        return server

    def restart_manager(self) -> None:
        self.manager.stop()
        self.manager = start_manager(self.directory / "manager" / "data")
        self._kill_at_end(self.manager)

    def _kill_at_end(self, running: Running | Server) -> None:
        self._stack.callback(running.process.wait, STOP_LIMIT)
        self._stack.callback(running.process.kill)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("house"), stack)


@pytest.fixture
def api(house: House) -> Iterator[httpx.Client]:
    with house.manager.client(password=house.password) as client:
        yield client


def connected(api: httpx.Client) -> dict[str, str]:
    """Return the UIDs of the connected servers by their names."""
    refs = api.get("/backupServers").json()["Refs"]
    return {ref["Name"]: ref["UID"].rpartition(":")[2] for ref in refs}


def connect(api: httpx.Client, server: Server, name: str) -> str:
    """Connect a server unless it is connected; return its UID."""
    if name not in connected(api):
        answer = api.post(CREATE, json=server.connection())
        assert (answer.status_code, answer.content) == (202, b""), answer.text
        assert answer.headers["Location"].endswith(connected(api)[name])
    return connected(api)[name]


def entities(api: httpx.Client, kind: str, container: str, **more: str) -> list[dict[str, Any]]:
    answer = api.get("/query", params={"type": kind, "format": "Entities", **more})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["Entities"][container][container]
    return found


def test_only_the_pinned_certificate_and_the_token_open_the_line(
    house: House, api: httpx.Client
) -> None:
    wrong = "AB" * 32
    refused = api.post(CREATE, json=house.first.connection(VbrCertificateThumbprint=wrong))
    assert refused.status_code == 400
    assert "fingerprint" in refused.json()["Message"]
    other = house.first.connection(VbrCertificateThumbprint=house.second.fingerprint)
    assert api.post(CREATE, json=other).status_code == 400
    refused = api.post(CREATE, json=house.first.connection(Password="not-the-token"))
    assert refused.status_code == 400
    assert "token" in refused.json()["Message"]
    missing = house.first.connection()
    del missing["VbrCertificateThumbprint"]
    refused = api.post(CREATE, json=missing)
    assert refused.status_code == 400
    assert "VbrCertificateThumbprint" in refused.json()["Message"]
    down = api.post(CREATE, json=house.first.connection(Port=1))
    assert down.status_code == 503
    assert connected(api) == {}


def test_both_servers_are_collected_from(house: House, api: httpx.Client) -> None:
    first, second = connect(api, house.first, "first"), connect(api, house.second, "second")
    assert first != second
    wait_for(lambda: len(entities(api, "Repository", "Repositories")) == 2)
    entity = api.get(f"/backupServers/{first}?format=Entity").json()
    assert entity["Description"] == "of a test"
    assert entity["Port"] == house.first.port
    assert entity["VbrCertificateThumbprint"] == house.first.fingerprint.replace(":", "")
    rels = [link["Rel"] for link in entity["Links"]]
    assert rels[:3] == ["Alternate", "Edit", "Delete"]
    again = api.post(CREATE, json=house.first.connection())
    assert again.status_code == 400
    assert "connected already" in again.json()["Message"]


def test_secrets_are_readable_nowhere(house: House, api: httpx.Client) -> None:
    connect(api, house.first, "first")
    token = house.first.token.encode()
    manager = house.manager.data / "manager"
    for path in (path for path in manager.rglob("*") if path.is_file()):
        assert token not in path.read_bytes(), path
    key = manager / "keys" / "secrets.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    # A token is printed at the first start alone.
    assert house.first.data.with_name("output.txt").read_text().count(token.decode()) <= 1


def test_a_killed_server_leaves_the_api_up_and_is_collected_from_again_exactly_once(
    house: House, api: httpx.Client
) -> None:
    uid = connect(api, house.first, "first")
    connect(api, house.second, "second")
    repository = wait_for(
        lambda: entities(api, "Repository", "Repositories", filter=f'BackupServerUid=="{uid}"')
    )[0]
    source = house.directory / "disk.raw"
    source.write_bytes(b"x" * 65536)
    job = {
        "name": "Nightly",
        "kind": "Backup",
        "sources": [{"path": str(source)}],
        "repository": repository["UID"],
    }
    port = house.first.port
    house.first.process.send_signal(signal.SIGKILL)
    house.first.process.wait(STOP_LIMIT)

    asked = time.monotonic()
    task = api.post("/holdfast/v1/jobs", json=job).json()["TaskId"]
    assert len(connected(api)) == 2
    assert len(entities(api, "Repository", "Repositories")) == 2
    assert time.monotonic() - asked < 15

    def ended() -> Any:
        told = api.get(f"/tasks/{task}").json()
        return told if told["State"] == "Finished" else None

    failed = wait_for(ended)["Result"]
    assert failed["Success"] is False
    assert "does not answer" in failed["Message"]
    secret = api.post(f"/backupServers/{uid}/credentials", json={"Username": "u"})
    assert secret.status_code == 503

    house.restart_manager()
    with house.manager.client(password=house.password) as later:
        assert set(connected(later)) == {"first", "second"}
        house.first = house.server("first", port)
        wait_for(lambda: later.post(f"/backupServers/{uid}?action=collect").status_code == 202)
        task = later.post("/holdfast/v1/jobs", json=job).json()["TaskId"]
        done = wait_for(
            lambda: (told := later.get(f"/tasks/{task}").json())["State"] == "Finished" and told
        )
        assert done["Result"]["Success"] is True, done
        jobs = entities(later, "Job", "Jobs")
        assert [job["Name"] for job in jobs] == ["Nightly"]
        job_uid = jobs[0]["UID"].rpartition(":")[2]
        later.post(f"/jobs/{job_uid}?action=start")

        def sessions() -> list[dict[str, Any]]:
            found = entities(later, "BackupJobSession", "BackupJobSessions")
            return [one for one in found if one["State"] == "Stopped"]

        assert [session["Result"] for session in wait_for(sessions)] == ["Success"]
        assert len(entities(later, "BackupTaskSession", "BackupTaskSessions")) == 1
        found = later.get("/lookup", params={"host": root_of(later, uid), "name": "DI*"}).json()
        assert [item["ObjectName"] for item in found["HierarchyItems"]] == ["disk"]


def root_of(api: httpx.Client, server: str) -> str:
    roots = entities(api, "HierarchyRoot", "HierarchyRoots", filter=f'BackupServerUid=="{server}"')
    uid: str = roots[0]["UID"]
    return uid


def test_a_connection_is_changed_only_to_the_same_server(house: House, api: httpx.Client) -> None:
    uid = connect(api, house.second, "second")
    first = house.first.connection()
    refused = api.put(f"/backupServers/{uid}", json=first)
    assert refused.status_code == 400
    assert "Another backup server" in refused.json()["Message"]
    elsewhere = {
        "Port": house.first.port,
        "VbrCertificateThumbprint": house.first.fingerprint,
    }
    without_token = api.put(f"/backupServers/{uid}", json=elsewhere)
    assert without_token.status_code == 400
    assert "Password" in without_token.json()["Message"]
    body = (
        '<BackupServerSpec xmlns="http://www.veeam.com/ent/v1.0"><Description>new</Description>'
        f"<DnsNameOrIpAddress>localhost</DnsNameOrIpAddress><Port>{house.second.port}</Port>"
        "<Username>u</Username></BackupServerSpec>"
    )
    changed = api.put(
        f"/backupServers/{uid}", content=body, headers={"Content-Type": "application/xml"}
    )
    assert (changed.status_code, changed.content) == (204, b""), changed.text
    assert api.get(f"/backupServers/{uid}?format=Entity").json()["Description"] == "new"


def test_a_removed_server_takes_its_rows_along_and_can_come_back(
    house: House, api: httpx.Client
) -> None:
    kept, uid = connect(api, house.first, "first"), connect(api, house.second, "second")
    wait_for(lambda: len(entities(api, "ManagedServer", "ManagedServers")) == 2)
    gone = api.delete(f"/backupServers/{uid}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert api.get(f"/backupServers/{uid}").status_code == 404
    assert connected(api) == {"first": kept}
    wait_for(lambda: len(entities(api, "ManagedServer", "ManagedServers")) == 1)
    wait_for(lambda: "was removed, and of the catalog" in house.manager.log.read_text())
    assert connect(api, house.second, "second") == uid
    wait_for(lambda: len(entities(api, "ManagedServer", "ManagedServers")) == 2)


def test_a_server_that_is_away_holds_up_no_stop_and_no_start(
    house: House, api: httpx.Client
) -> None:
    connect(api, house.second, "second")
    assert house.second.process.poll() is None
    began = time.monotonic()
    house.second.process.terminate()
    assert house.second.process.wait(STOP_LIMIT) == 0
    # A manager that waits for news does not keep it.
    assert time.monotonic() - began < 10
    house.second = house.server("second", house.second.port)


def test_token_needs_a_backup_server(tmp_path: Path) -> None:
    refused = holdfast("server", "token", "--data", tmp_path / "none")
    assert refused.returncode == 1
    assert "no Holdfast has been started" in refused.stderr
