"""Proving that it is them: checks of a name and a password.

There are two: the passwords of the local store, and an outside program that asks whatever a
machine's administrator trusts (PAM, a directory). The program is used only when it is configured,
and only for accounts without a local password.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from holdfast.catalog.store import CatalogStore
from holdfast.query.literals import fold

_log = logging.getLogger(__name__)

#: Seconds the outside program has.
_LIMIT = 10.0

#: What is stored for an account without a password; no password ever has it for a hash.
NO_PASSWORD = ""


class CredentialCheck(Protocol):
    """Something that can tell whether a name and a password belong together."""

    async def accepts(self, name: str, password: str) -> bool:
        """Given an account's name and a password, say whether it is theirs."""


class LocalPasswords:
    """The passwords of the local store, kept as argon2id hashes and nowhere else."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self._hasher = PasswordHasher()
        # Verified in place of a hash when there is none, so that both take as long.
        self._nobodys = self._hasher.hash("no account")

    async def hash(self, password: str) -> str:
        """Given a password, return what is kept of it."""
        return await asyncio.to_thread(self._hasher.hash, password)

    async def accepts(self, name: str, password: str) -> bool:
        """Given an account's name and a password, say whether it is the one that was set."""
        query = "SELECT password_hash FROM account WHERE name_key = ?"
        row = await self._store.read(lambda c: c.execute(query, (fold(name),)).fetchone())
        known = row is not None and row[0] != NO_PASSWORD
        hashed = row[0] if known else self._nobodys
        matches = await asyncio.to_thread(self._matches, hashed, password)
        return known and matches

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


class OutsideProgram:
    """A program that checks credentials: ``pwauth`` and its like.

    It is run without arguments and without our environment. The name and the password come as two
    lines on its standard input; the exit code 0 means that they belong together, any other that
    they do not. Its output is not read.
    """

    def __init__(self, program: Path, limit: float = _LIMIT) -> None:
        self._program = program
        self._limit = limit

    async def accepts(self, name: str, password: str) -> bool:
        """Given a name and a password, ask the program. No answer means no."""
        if any(sign in f"{name}{password}" for sign in "\n\r\0"):
            return False  # it could be taken for another line
        try:
            process = await asyncio.create_subprocess_exec(
                str(self._program),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PATH": os.defpath},
                start_new_session=True,
            )
        except OSError as error:
            _log.error("The logon program %s cannot be run: %s", self._program, error)
            return False
        return await self._answer(process, f"{name}\n{password}\n".encode())

    async def _answer(self, process: asyncio.subprocess.Process, credentials: bytes) -> bool:
        try:
            await asyncio.wait_for(process.communicate(credentials), self._limit)
        except TimeoutError:
            _log.error("The logon program %s took longer than %s s.", self._program, self._limit)
            return False
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode == 0
