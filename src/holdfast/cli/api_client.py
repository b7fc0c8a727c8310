"""How a command talks to a Holdfast that runs: over its API, on this machine's loopback."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from holdfast.cli.errors import BadInput, Failure
from holdfast.cli.passwords import asked, supplied
from holdfast.cli.settings import Settings

_SESSION = "X-RestSvcSessionId"
_JSON = {"Accept": "application/json"}
_POLL_SECONDS = (0.1, 1.0)


class ApiClient:
    """A logon session. Every method raises Failure with the API's own reason."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str) -> Any:
        """Given a path below the API, return what it answers."""
        return self._ask("GET", path).json()

    def have_done(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask for something that is done under a task, and wait until it is; return the task."""
        # The task's address is another machine's way to here, where a proxy is in between.
        task = self._ask(method, path, body).json()
        wait, longest = _POLL_SECONDS
        while task["State"] != "Finished":
            time.sleep(wait)
            wait = min(2 * wait, longest)
            task = self.get(f"/tasks/{task['TaskId']}")
        if not task["Result"]["Success"]:
            raise Failure(task["Result"]["Message"])
        return task

    def have_restored(
        self, path: str, body: dict[str, Any], on_percent: Callable[[int], None]
    ) -> str:
        """Ask for something that is a restore session, and wait for its end.

        `on_percent` is told how far it is. Return what there is to be known of it, if anything.
        """
        found = self.have_run(path, body, "RestoreSession", "/restoreSessions", on_percent)
        if found["Result"] == "Failed":
            raise Failure(found["FailureMessage"])
        return str(found["FailureMessage"])

    def have_run(
        self,
        path: str,
        body: dict[str, Any],
        kind: str,
        collection: str,
        on_percent: Callable[[int], None],
    ) -> dict[str, Any]:
        """Ask for something that is a session of a kind, in a collection; wait for its end.

        `on_percent` is told how far it is. Return the session's document, with its ``uid``.
        """
        task = self.have_done("POST", path, body)
        [made] = [link for link in task["Links"] if link.get("Type") == kind]
        uid = made["Href"].rpartition("/")[2].partition("?")[0]
        session = f"{collection}/{uid}?format=Entity"
        wait, longest = _POLL_SECONDS
        while (found := self.get(session))["State"] != "Stopped":
            on_percent(found.get("Progress") or 0)
            time.sleep(wait)
            wait = min(2 * wait, longest)
        return dict(found) | {"uid": uid}

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return _answered(self._client, method, path, json=body)


@contextmanager
def logged_on(settings: Settings, user: str) -> Iterator[ApiClient]:
    """Log on to the Holdfast that runs with these settings, for the time of a block.

    The password is the settings' own, or is asked for. Raise Failure when nothing answers or the
    password is wrong.
    """
    base = _base(settings)
    with httpx.Client(base_url=base, headers=_JSON, timeout=60.0, trust_env=False) as client:
        try:
            client.get("/")
        except httpx.TransportError:
            raise _nobody(base) from None
        password = supplied(settings)
        if password is None:
            password = asked(f"Password of {user}", "--password-file or HOLDFAST_PASSWORD")
        auth = httpx.BasicAuth(user, password)
        answer = _answered(client, "POST", "/sessionMngr/?v=latest", auth=auth)
        client.headers[_SESSION] = answer.headers[_SESSION]
        session = answer.json()["SessionId"]
        try:
            yield ApiClient(client)
        finally:
            _answered(client, "DELETE", f"/logonSessions/{session}")


def _base(settings: Settings) -> str:
    """Return where the API answers on this machine: by its ready file, or by its settings."""
    if settings.ready_file is not None:
        try:
            return str(json.loads(settings.ready_file.read_text("utf-8"))["http"])
        except (OSError, ValueError, KeyError, TypeError):
            raise Failure(f"{settings.ready_file}: no Holdfast is ready there") from None
    if settings.http_port == 0:
        raise BadInput("--http-port: expected the port that Holdfast listens on, or --ready-file")
    host = settings.http_host
    try:
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        # The password would travel in the clear.
        raise Failure(f"The HTTP port is on {host}; this command uses it on loopback alone.")
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.http_port}/api"


def _answered(client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    try:
        answer = client.request(method, path, **more)
    except httpx.TransportError:
        raise _nobody(str(client.base_url)) from None
    if answer.is_success:
        return answer
    try:
        reason = str(answer.json()["Message"])
    except (ValueError, KeyError, TypeError):
        reason = f"the API answered {answer.status_code}"
    raise Failure(reason)


def _nobody(base: str) -> Failure:
    return Failure(
        f"No Holdfast answers at {base.rstrip('/')}; start it first or, when it listens on another "
        "port, give its --http-port or its --ready-file"
    )
