"""What `holdfast up` prints: where it answers, who may log on, what to try first."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console

from holdfast.cli.administrator import Administrator

_QUERY = "query?type=BackupJobSession&format=Entities"


class Announcement:
    """Prints to standard output; in colour on a terminal, plain anywhere else."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

    def starting(self, data: Path) -> None:
        """Say that the start has begun."""
        self._line(f"Starting Holdfast with its data in {data}")

    def address(self, https: str, http: str, fingerprint: str) -> None:
        """Given the bases of the API and the certificate's fingerprint, say where it answers."""
        self._line("")
        self._entry("Address", https, "bold")
        self._entry("", f"{http} (this machine only)" if _loopback(http) else http)
        self._entry("Certificate", f"SHA-256 {fingerprint}")

    def account(self, account: Administrator, data: Path) -> None:
        """Say who may log on: with a password made just now, or how to have a new one made."""
        self._entry("User", account.user, "bold")
        if account.generated:
            self._entry("Password", account.password or "", "bold")
            self._entry("", "shown only this once; Holdfast keeps no readable copy")
            return
        self._entry("Password", "was set at the first start; no readable copy is kept")
        reset = f"holdfast password --data {shlex.quote(str(data))}"
        self._entry("", f"for a new one, stop Holdfast and run: {reset}")

    def server(self, address: str, fingerprint: str) -> None:
        """Given a backup server's address and fingerprint, say where managers reach it."""
        self._line("")
        self._entry("Server", address, "bold")
        self._entry("Certificate", f"SHA-256 {fingerprint}")

    def token(self, token: str | None, data: Path) -> None:
        """Given a token that was drawn just now, show it; given None, say how to see it."""
        if token is not None:
            self._entry("Token", token, "bold")
        again = f"holdfast server token --data {shlex.quote(str(data))}"
        self._entry("" if token is not None else "Token", f"shown again by: {again}")
        self._line("")
        self._line("A manager connects this backup server with these three.")
        self._line("Holdfast is ready. Ctrl-C stops it.")

    def running_samples(self) -> None:
        """Say that the sample jobs are running for the first time."""
        self._line("Running the first jobs ...")

    def ready(self, https: str, user: str, certificate: Path) -> None:
        """Say that the start is over, with the commands that log on and show the job sessions."""
        curl = f"curl --silent --cacert {shlex.quote(str(certificate))}"
        self._line("")
        self._line("Log on (curl asks for the password), then list the sessions of the jobs:")
        self._line("")
        self._line(
            f"  SESSION=$({curl} --user {user} --request POST --dump-header - --output /dev/null"
            f" '{https}/sessionMngr/?v=latest' | tr -d '\\r'"
            " | sed -n 's/^X-RestSvcSessionId: //p')"
        )
        self._line(f"  {curl} --header \"X-RestSvcSessionId: $SESSION\" '{https}/{_QUERY}'")
        self._line("")
        self._line("Holdfast is ready. Ctrl-C stops it.")

    def _entry(self, name: str, text: str, style: str = "") -> None:
        self._console.print(f"{name:<13}", end="", style="dim")
        self._console.print(text, style=style)

    def _line(self, text: str) -> None:
        self._console.print(text)


def _loopback(base: str) -> bool:
    return "//127." in base or "//[::1]" in base or "//localhost" in base
