"""A real Holdfast with its sample jobs done, and what a stranger is told of it."""

from __future__ import annotations

import base64
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cli.holdfast_process import STOP_LIMIT, launch, wait_until_ready


@dataclass(frozen=True)
class Site:
    """Where a Holdfast is: `https` and `http` are the addresses of its API (``…/api``)."""

    https: str
    http: str
    user: str
    password: str
    trust: ssl.SSLContext

    @property
    def basic(self) -> str:
        """The credentials as the header Authorization holds them."""
        text = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(text).decode()}"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Holdfast after its first start: two jobs, one run of each."""
    data = tmp_path_factory.mktemp("site") / "data"
    process = launch(data)
    try:
        running = wait_until_ready(process, data)
        yield Site(
            running.ready["https"],
            running.ready["http"],
            running.ready["user"],
            running.ready["password"],
            ssl.create_default_context(cafile=str(running.certificate)),
        )
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
