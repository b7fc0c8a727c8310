"""A real Holdfast process, started, asked, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

PASSWORD = "a password for tests"
START_LIMIT = 60.0
RUN_LIMIT = 60.0


class HoldfastProcess:
    """`holdfast up` on one data directory, and a client that is logged on to it."""

    def __init__(self, data: Path, log: Path) -> None:
        self.data = data
        self._log = log
        self._ready = data.parent / f"{data.name}-ready.json"
        self._password = data.parent / f"{data.name}-password"
        self._password.write_text(PASSWORD)
        self._password.chmod(0o600)
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    def start(self) -> None:
        """Start it and log on; returns when it answers."""
        command = [str(Path(sys.executable).with_name("holdfast")), "up", "--no-samples"]
        command += ["--data", str(self.data), "--https-port", "0", "--http-port", "0"]
        command += ["--ready-file", str(self._ready), "--password-file", str(self._password)]
        self._ready.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        give_up_at = time.monotonic() + START_LIMIT
        while not self._ready.exists():
            assert self._process.poll() is None, f"it ended: {self._log.read_text()[-2000:]}"
            assert time.monotonic() < give_up_at, f"not ready: {self._log.read_text()[-2000:]}"
            time.sleep(0.05)
        ready = json.loads(self._ready.read_text())
        self._client = httpx.Client(base_url=ready["http"], headers={"Accept": "application/json"})
        answer = self._client.post("/sessionMngr/?v=latest", auth=(ready["user"], PASSWORD))
        assert answer.status_code == 201, answer.text
        self._client.cookies.clear()
        self._client.headers["X-RestSvcSessionId"] = answer.headers["X-RestSvcSessionId"]

    def kill(self) -> None:
        """SIGKILL it: it has no chance to put anything in order."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def client(self) -> httpx.Client:
        """The client that is logged on."""
        assert self._client is not None, "not started"
        return self._client

    def entities(self, resource_type: str) -> list[dict[str, Any]]:
        """Every entity of a type, by query."""
        parameters = {"type": resource_type, "format": "Entities", "pageSize": 10_000}
        answer = self.client.get("/query", params=parameters)
        assert answer.status_code == 200, answer.text
        (container,) = answer.json()["Entities"].values()
        (entities,) = container.values()
        assert isinstance(entities, list)
        return entities

    def act(self, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """Ask for something that makes a task; return the task as it is then."""
        answer = self.client.post(path, json=body)
        assert answer.status_code == 202, answer.text
        task = answer.json()
        assert isinstance(task, dict)
        return task

    def finished(self, task: dict[str, Any]) -> dict[str, Any]:
        """Poll a task until it is Finished; it must have succeeded."""
        give_up_at = time.monotonic() + RUN_LIMIT
        while task["State"] != "Finished":
            assert time.monotonic() < give_up_at, task
            time.sleep(0.02)
            task = self.client.get(f"/tasks/{task['TaskId']}").json()
        assert task["Result"]["Success"], task
        return task

    def related(self, task: dict[str, Any]) -> str:
        """The GUID of what a finished task made."""
        (link,) = [link for link in task["Links"] if link["Rel"] == "Related"]
        return str(link["Href"]).rsplit("/", 1)[-1].split("?")[0]

    def create_job(self, specification: dict[str, object]) -> str:
        """Create a job; return its GUID."""
        return self.related(self.finished(self.act("/holdfast/v1/jobs", specification)))

    def run_job(self, job: str) -> str:
        """Run a job to its end, which must be a success; return its session's UID."""
        session = self.related(self.finished(self.act(f"/jobs/{job}?action=start")))
        shown = self.ended(session)
        assert shown["Result"] == "Success", shown
        return str(shown["UID"])

    def ended(self, session: str, collection: str = "backupSessions") -> dict[str, Any]:
        """Given the GUID of a session, wait for its end and return it."""
        give_up_at = time.monotonic() + RUN_LIMIT
        while True:
            shown = self.client.get(f"/{collection}/{session}?format=Entity").json()
            if shown["State"] == "Stopped":
                assert isinstance(shown, dict)
                return shown
            assert time.monotonic() < give_up_at, shown
            time.sleep(0.05)
