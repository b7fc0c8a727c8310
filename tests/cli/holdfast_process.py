"""Real Holdfast processes to test."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

HOLDFAST = Path(sys.executable).with_name("holdfast")
START_LIMIT = 120.0
STOP_LIMIT = 30.0


def environment(**more: str) -> dict[str, str]:
    """Return this environment without any setting of Holdfast, and with some more variables."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HOLDFAST_")}
    return kept | {"COLUMNS": "80"} | more


def holdfast(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Holdfast to its end and return how it ended."""
    return subprocess.run(
        [HOLDFAST, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@dataclass
class Running:
    """A `holdfast up` that is ready."""

    process: subprocess.Popen[str]
    data: Path
    ready_file: Path
    ready: dict[str, Any]
    output: Path
    log: Path

    @property
    def certificate(self) -> Path:
        """The certificate to trust."""
        return self.data / "tls" / "cert.pem"

    @contextmanager
    def client(self, base: str = "https", password: str | None = None) -> Iterator[httpx.Client]:
        """Give a client that has logged on as the administrator, and asks for JSON."""
        trust = ssl.create_default_context(cafile=str(self.certificate))
        with httpx.Client(base_url=self.ready[base], verify=trust, timeout=30) as client:
            client.headers["Accept"] = "application/json"
            user = (self.ready["user"], password or self.ready["password"])
            answer = client.post("/sessionMngr/?v=latest", auth=user)
            assert answer.status_code == 201, answer.text
            client.headers["X-RestSvcSessionId"] = answer.headers["X-RestSvcSessionId"]
            yield client

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT)


def launch(data: Path, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    """Start `holdfast up` on free ports of the loopback and return at once."""
    data.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        output = files.enter_context(data.with_name("output.txt").open("w"))
        log = files.enter_context(data.with_name("log.txt").open("w"))
        return subprocess.Popen(
            [
                *(HOLDFAST, "up", "--data", data, "--host", "127.0.0.1"),
                *("--https-port", "0", "--http-port", "0"),
                *("--ready-file", data.with_name("ready.json"), *arguments),
            ],
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            text=True,
        )


def wait_until_ready(process: subprocess.Popen[str], data: Path) -> Running:
    """Given a launched process, return it when it is ready."""
    ready_file = data.with_name("ready.json")
    log = data.with_name("log.txt")
    limit = time.monotonic() + START_LIMIT
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < limit, log.read_text()
        if ready_file.exists():
            ready = json.loads(ready_file.read_text())
            if ready["pid"] == process.pid:
                return Running(process, data, ready_file, ready, data.with_name("output.txt"), log)
        time.sleep(0.05)
