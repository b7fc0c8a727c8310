"""Real manager and backup server processes, apart from each other."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .holdfast_process import HOLDFAST, START_LIMIT, Running, environment, holdfast


@dataclass
class Server:
    """A `holdfast server` that is ready."""

    process: subprocess.Popen[str]
    data: Path
    address: str
    fingerprint: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    @property
    def token(self) -> str:
        """Its token, as a person gets it."""
        return holdfast("server", "token", "--data", self.data).stdout.strip()

    def connection(self, **changes: Any) -> dict[str, Any]:
        """What a manager is told to connect it."""
        return {
            "Description": "of a test",
            "DnsNameOrIpAddress": "127.0.0.1",
            "Port": self.port,
            "Username": "any",
            "Password": self.token,
            "VbrCertificateThumbprint": self.fingerprint,
        } | changes


def _start(data: Path, *arguments: str | Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    data.parent.mkdir(parents=True, exist_ok=True)
    ready_file = data.with_name("ready.json")
    log = data.with_name("log.txt")
    with data.with_name("output.txt").open("w") as output, log.open("w") as errors:
        process = subprocess.Popen(
            [HOLDFAST, *arguments, "--data", data, "--ready-file", ready_file],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            text=True,
        )
    limit = time.monotonic() + START_LIMIT
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < limit, log.read_text()
        if ready_file.exists():
            ready = json.loads(ready_file.read_text())
            if ready["pid"] == process.pid:
                return process, ready
        time.sleep(0.05)


def start_server(data: Path, name: str, port: int = 0) -> Server:
    """Start a backup server; return it when it is ready."""
    arguments = ("server", "--host", "127.0.0.1", "--port", str(port), "--name", name)
    process, ready = _start(data, *arguments)
    return Server(process, data, ready["server"], ready["fingerprint"])


def start_manager(data: Path) -> Running:
    """Start a manager; return it when it is ready."""
    arguments = ("manager", "--host", "127.0.0.1", "--https-port", "0", "--http-port", "0")
    process, ready = _start(data, *arguments)
    output, log = data.with_name("output.txt"), data.with_name("log.txt")
    return Running(process, data, data.with_name("ready.json"), ready, output, log)


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return what a condition says as soon as that is true."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.1)
    return found
