"""How restic is called: the command line, its JSON lines read, its failures understood."""

import asyncio
import os
import re
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    RepositoryLocked,
    RepositoryUnavailable,
    SourceUnreadable,
    ToolFailed,
)
from holdfast.engine.failures import last_words, tool_failure
from holdfast.engine.process import Completed, LineCallback, end, run, spawn
from holdfast.engine.progress import Progress, ProgressCallback

#: Seconds to wait for another restic to end its work, before a lock counts as a failure.
LOCK_PATIENCE = 120.0
_LOCK_PAUSE = 1.0

DAMAGED = 1  # exit code of a check that found something
INCOMPLETE = 3  # exit code of a backup that left out files it could not read
_REPORTS_PER_SECOND = "4"
_PACKS_COPIED = re.compile(r"(\d+(?:\.\d+)?)% +\d+ / \d+ packs copied")
_DAMAGED_PACK = re.compile(r"(?:^pack |[Pp]ack ID does not match, want )([0-9a-f]{64})\b")
_DAMAGED_INSIDE = re.compile(r"^pack ([0-9a-f]{64}) contains \d+ errors")
# Of packs that are whole: what a crash has left, or that indexes say twice.
_NO_DAMAGE = re.compile(r"not referenced in any index|contained in several indexes")
_PIECE = 64 * 1024
_FAILURES: tuple[tuple[re.Pattern[str], type[EngineError], str], ...] = (
    (
        re.compile(r"wrong password|no key found", re.IGNORECASE),
        RepositoryUnavailable,
        "The restic repository {folder} does not open with the password in {password_file}.",
    ),
    (
        re.compile(r"Resolving password failed|password file", re.IGNORECASE),
        RepositoryUnavailable,
        "The password file {password_file} of the repository {folder} cannot be read.",
    ),
    (
        re.compile(r"already locked|unable to create lock", re.IGNORECASE),
        RepositoryLocked,
        "The restic repository {folder} is locked by another restic: {words}",
    ),
    (
        re.compile(r"unable to open config file|Is there a repository", re.IGNORECASE),
        RepositoryUnavailable,
        "There is no restic repository in {folder}. Is its disk or share mounted?",
    ),
    (
        re.compile(
            r"ciphertext verification failed|hash does not match|unable to load|invalid data"
            r"|not found in (?:the )?(?:index|repository)|pack .* (?:missing|damaged|truncated)"
        ),
        ChainBroken,
        "The restic repository {folder} is damaged: {words}",
    ),
    (
        re.compile(r"snapshot is empty"),
        SourceUnreadable,
        "{doing} failed: the folder is empty, and restic keeps no empty snapshot. "
        "Is the source's disk or share mounted?",
    ),
    (
        re.compile(r"no matching ID found|no snapshot found", re.IGNORECASE),
        ChainBroken,
        "The restic repository {folder} does not hold that snapshot: {words}",
    ),
)


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot as ``restic snapshots --json`` tells it; ``time`` is RFC 3339 text.

    ``original`` is the id of the snapshot that this one is a copy of, if it is one.
    """

    id: str
    time: str
    tree: str
    paths: tuple[str, ...] = ()
    hostname: str = ""
    tags: tuple[str, ...] = ()
    original: str = ""


class Summary(msgspec.Struct, frozen=True, tag_field="message_type", tag="summary"):
    """The last line of a backup; sizes in bytes. Old versions give a short ``snapshot_id``."""

    snapshot_id: str
    total_files_processed: int
    total_bytes_processed: int
    data_added: int


class _Status(msgspec.Struct, frozen=True, tag_field="message_type", tag="status"):
    percent_done: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    total_bytes: int = 0
    bytes_done: int = 0


class _Error(msgspec.Struct, frozen=True, tag_field="message_type", tag="error"):
    item: str = ""
    error: dict[str, object] = {}


_MESSAGE = msgspec.json.Decoder(Summary | _Status | _Error)
_SNAPSHOTS = msgspec.json.Decoder(list[Snapshot] | None)


class BackupOutput:
    """Reads the lines of ``restic backup --json``: progress, the summary, the file errors."""

    def __init__(self, on_progress: ProgressCallback) -> None:
        self.summary: Summary | None = None
        self.file_errors: list[str] = []
        self._on_progress = on_progress
        self._fraction = 0.0

    def read(self, line: str) -> None:
        """Take in one line of either stream; what is not one of the known messages is left."""
        try:
            message = _MESSAGE.decode(line)
        except msgspec.DecodeError:
            return  # plain text, or a kind of message that only a newer restic knows
        if isinstance(message, Summary):
            self.summary = message
        elif isinstance(message, _Status):
            # The total grows while restic is still looking around, so its fraction may fall.
            self._fraction = max(self._fraction, min(message.percent_done, 1.0))
            self._on_progress(Progress(self._fraction, message.bytes_done, message.total_bytes))
        else:
            self.file_errors.append(_file_error(message))


class CopyOutput:
    """Reads the lines of ``restic copy``, which has no JSON: how many of the packs are copied."""

    def __init__(self, on_progress: ProgressCallback) -> None:
        self._on_progress = on_progress
        self._fraction = 0.0

    def read(self, line: str) -> None:
        """Take in one line of either stream; what tells of no packs is left."""
        if found := _PACKS_COPIED.search(line):
            self._fraction = max(self._fraction, min(float(found[1]) / 100, 1.0))
            self._on_progress(Progress(self._fraction))


def _file_error(message: _Error) -> str:
    number = message.error.get("Err")
    said = message.error.get("message")
    reason = os.strerror(number) if isinstance(number, int) else str(said or "unreadable")
    return f"{message.item}: {reason}"


@dataclass
class CheckOutput:
    """Reads the lines of ``restic check``: the packs that it finds fault with.

    `inside` are those of them whose parts do not open, which may be although the pack as a whole
    is what was written.
    """

    packs: dict[str, None] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)

    def read(self, line: str) -> None:
        """Take in one line of either stream."""
        if not _NO_DAMAGE.search(line):
            self.packs.update(dict.fromkeys(_DAMAGED_PACK.findall(line)))
            self.inside.update(_DAMAGED_INSIDE.findall(line))


def parse_snapshots(output: str) -> list[Snapshot]:
    """Given the output of ``restic snapshots --json``, return the snapshots, oldest first."""
    try:
        return sorted(_SNAPSHOTS.decode(output) or [], key=lambda snapshot: snapshot.time)
    except msgspec.DecodeError as error:
        raise ToolFailed(f"The snapshot list of restic was not understood: {error}.") from error


class _Statistics(msgspec.Struct, frozen=True):
    total_size: int


def size_in(output: str) -> int:
    """Given the output of ``restic stats --json``, return the size it tells, in bytes."""
    try:
        return msgspec.json.decode(output, type=_Statistics).total_size
    except msgspec.DecodeError as error:
        raise ToolFailed(f"The statistics of restic were not understood: {error}.") from error


class Restic:
    """restic on one repository folder. The password is read by restic itself, from a file."""

    def __init__(self, folder: Path, password_file: Path) -> None:
        self.folder = folder
        self.password_file = password_file

    async def call(
        self,
        *arguments: str,
        doing: str,
        cwd: Path | None = None,
        on_line: LineCallback | None = None,
        writing: Path | None = None,
        reading: "Restic | None" = None,
        accept: Sequence[int] = (0,),
        otherwise: type[EngineError] = ToolFailed,
    ) -> Completed:
        """Run a restic command; raise the engine error its failure means.

        ``doing`` is the phrase that the error begins with, ``writing`` what is written to when it
        is not the repository, ``reading`` another repository that is read from, which is at fault
        where data turns out to be damaged. Exit codes in ``accept`` are returned; a failure that
        has no known reason raises ``otherwise``. While another restic has locked one of the
        repositories, wait for it; a lock whose restic is dead is removed.
        """
        patience_ends = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                return await self._call_once(
                    *arguments,
                    doing=doing,
                    cwd=cwd,
                    on_line=on_line,
                    writing=writing,
                    reading=reading,
                    accept=accept,
                    otherwise=otherwise,
                )
            except RepositoryLocked:
                if time.monotonic() > patience_ends:
                    raise
                for locked in (self, *([] if reading is None else [reading])):
                    await locked.unlock()
                await asyncio.sleep(_LOCK_PAUSE)

    async def unlock(self) -> None:
        """Remove the locks of restic processes that are dead; those of living ones stay."""
        await self._call_once("unlock", doing=f"Removing stale locks in {self.folder}")

    async def output(
        self,
        *arguments: str,
        doing: str,
        running: set[Process],
        otherwise: type[EngineError] = ToolFailed,
    ) -> AsyncIterator[bytes]:
        """Run a restic command and return what it writes, piece by piece.

        Raise the engine error its failure means, at the end. Nothing is kept in memory. While it
        runs, its process is among `running`: whoever lets it wait for ever can so be cut off.
        """
        process = await spawn(self._command(*arguments), environment=self._environment())
        running.add(process)
        assert process.stdout is not None  # noqa: S101 - both are pipes
        assert process.stderr is not None  # noqa: S101
        words = asyncio.create_task(_last_of(process.stderr))
        try:
            while piece := await process.stdout.read(_PIECE):
                yield piece
            completed = Completed(await process.wait(), "", await words)
            if completed.exit_code != 0:
                raise self._failure(completed, doing, self.folder, otherwise)
        finally:
            await end(process)
            running.discard(process)
            words.cancel()
            await asyncio.gather(words, return_exceptions=True)

    def _command(self, *arguments: str) -> list[str]:
        return ["restic", "--no-cache", "--repo", os.fspath(self.folder), *arguments]

    def _environment(self) -> dict[str, str]:
        return {
            "RESTIC_PASSWORD_FILE": os.fspath(self.password_file),
            "RESTIC_PROGRESS_FPS": _REPORTS_PER_SECOND,
        }

    async def _call_once(
        self,
        *arguments: str,
        doing: str,
        cwd: Path | None = None,
        on_line: LineCallback | None = None,
        writing: Path | None = None,
        reading: "Restic | None" = None,
        accept: Sequence[int] = (0,),
        otherwise: type[EngineError] = ToolFailed,
    ) -> Completed:
        completed = await run(
            [*self._command(*arguments), *_from(reading)],
            environment=self._environment(),
            cwd=cwd,
            on_line=self._watching(on_line, reading),
        )
        if completed.exit_code not in accept:
            at_fault = reading or self
            raise at_fault._failure(completed, doing, writing or self.folder, otherwise)
        return completed

    def ensure_present(self) -> None:
        """Raise RepositoryUnavailable unless the repository's config file is there."""
        if not (self.folder / "config").is_file():
            raise RepositoryUnavailable(
                f"There is no restic repository in {self.folder} (any more). "
                "Is its disk or share mounted?"
            )

    def _watching(
        self, on_line: LineCallback | None, reading: "Restic | None"
    ) -> LineCallback | None:
        if on_line is None:
            return None

        def read(line: str) -> None:
            # restic goes on trying for a quarter of an hour after its disk has gone.
            if "returned error, retrying" in line:
                self.ensure_present()
                if reading is not None:
                    reading.ensure_present()
            on_line(line)

        return read

    def _failure(
        self, completed: Completed, doing: str, writing: Path, otherwise: type[EngineError]
    ) -> EngineError:
        for pattern, kind, message in _FAILURES:
            if pattern.search(completed.stderr):
                return kind(
                    message.format(
                        doing=doing,
                        folder=self.folder,
                        password_file=self.password_file,
                        words=last_words(completed),
                    )
                )
        failure = tool_failure(completed, doing=doing, writing=writing)
        # A signal that ended restic says nothing about the repository.
        if type(failure) is ToolFailed and completed.exit_code > 0:
            return otherwise(str(failure))
        return failure


def _from(reading: Restic | None) -> list[str]:
    """Return the flags that name the repository to read from, if there is one."""
    if reading is None:
        return []
    password_file = os.fspath(reading.password_file)
    return ["--from-repo", os.fspath(reading.folder), "--from-password-file", password_file]


async def _last_of(stream: asyncio.StreamReader) -> str:
    """Read a stream to its end; return its last words."""
    kept = bytearray()
    while chunk := await stream.read(_PIECE):
        kept += chunk
        del kept[:-_PIECE]
    return kept.decode(errors="replace")
