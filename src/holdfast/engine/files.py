"""File trees, kept by restic: one restic repository per folder, one snapshot per restore point.

A backup runs in the source folder with the path ".", so that the root of a snapshot is the tree
itself and a restore puts it directly below its target, wherever the source was.
"""

import asyncio
import contextlib
import os
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine import files_folder
from holdfast.engine.errors import (
    ChainBroken,
    EngineError,
    RepositoryUnavailable,
    SourceMissing,
    SourceUnreadable,
    ToolFailed,
)
from holdfast.engine.failures import last_words, reading_failure
from holdfast.engine.file_check import check_file
from holdfast.engine.process import run
from holdfast.engine.progress import Progress, ProgressCallback, ignore_progress
from holdfast.engine.restic import (
    DAMAGED,
    INCOMPLETE,
    BackupOutput,
    CheckOutput,
    CopyOutput,
    Restic,
    Snapshot,
    parse_snapshots,
    size_in,
)

_FILE_ERRORS_TOLD = 5
_SNAPSHOTS_PER_CALL = 500  # ids of 64 characters: far below the limit of a command line


@dataclass(frozen=True, slots=True)
class FilesPlan:
    """Which folder to back up.

    ``tag`` marks the snapshot as that of one restore point; ``host`` is the name kept in it.
    ``parent`` is the snapshot to compare file times with; without one, restic takes the newest of
    the same host and folder. What is stored does not depend on it, only the time it takes.
    ``compression`` is restic's: auto, off or max. At most ``rate_limit`` bytes a second are
    written. ``read_all`` reads files, too, that seem not to have changed.
    """

    source: Path
    tag: str
    host: str
    parent: str | None = None
    compression: str = "auto"
    rate_limit: int | None = None
    read_all: bool = False


@dataclass(frozen=True, slots=True)
class FilesResult:
    """A snapshot that is whole and on stable storage.

    Sizes in bytes: ``total_size`` of all files, ``added_size`` of what the repository did not
    hold yet, before compression. ``total_files`` are regular files; links and folders are kept,
    but not counted.
    """

    snapshot_id: str
    total_size: int
    total_files: int
    added_size: int
    warnings: tuple[str, ...]


class ResticRepository:
    """A restic repository in a folder of its own.

    Every method raises RepositoryUnavailable (not there, locked, wrong password), NoSpace,
    ToolMissing or ToolFailed, beside what it names itself. Only one command at a time may write
    to a repository; the caller sees to that.
    """

    def __init__(self, folder: Path, password_file: Path) -> None:
        # Absolute, because a backup runs in the source's folder.
        self.folder = folder.absolute()
        self._restic = Restic(self.folder, password_file.absolute())

    async def ensure(self) -> None:
        """Make the repository when there is none; one whose making was interrupted is made again.

        A folder without restic's ``config`` that holds snapshots, data, or files that are not
        restic's is left alone: RepositoryUnavailable is raised.
        """
        if not await asyncio.to_thread(files_folder.prepare, self.folder):
            await self._restic.call("init", doing=f"Making a restic repository in {self.folder}")

    async def back_up(
        self, plan: FilesPlan, on_progress: ProgressCallback = ignore_progress
    ) -> FilesResult:
        """Take a snapshot of a folder. A file that cannot be read makes the backup a failure.

        So does an empty source, which is what a share that is not mounted looks like.

        Raise SourceMissing, or SourceUnreadable with the first few reasons. Then no snapshot is
        left. When cancelled, data without a snapshot may stay; ``prune`` removes it.
        """
        if "," in plan.tag:
            raise ValueError("A tag must not contain a comma: restic would make two of it.")
        await asyncio.to_thread(_ensure_readable_folder, plan.source)
        identity = await asyncio.to_thread(files_folder.identity, self.folder)
        parent, warnings = await self._known_parent(None if plan.read_all else plan.parent)
        arguments = ["backup", "--json", "--host", plan.host, "--tag", plan.tag]
        arguments += ["--compression", plan.compression]
        arguments += ["--force"] * plan.read_all
        arguments += [] if parent is None else ["--parent", parent]
        arguments += _limited(plan.rate_limit)
        # What a restore is just putting together there comes and goes: not part of the source.
        arguments += ["--exclude", files_folder.staging_pattern()]
        output = BackupOutput(on_progress)
        try:
            completed = await self._restic.call(
                *arguments,
                ".",
                cwd=plan.source,
                doing=f"Backing up {plan.source}",
                on_line=output.read,
                accept=(0, INCOMPLETE),
            )
        except OSError as error:  # the source could not be entered
            raise reading_failure(error, plan.source) from error
        except asyncio.CancelledError:
            # restic, ended by a signal, leaves its lock behind. Not being able to remove it now
            # is no reason to hide that the backup was stopped.
            with contextlib.suppress(EngineError):
                await self.unlock()
            raise
        # When the disk is unmounted meanwhile, restic makes its folders anew in the empty mount
        # point and reports success.
        if await asyncio.to_thread(files_folder.identity, self.folder) != identity:
            raise RepositoryUnavailable(f"{self.folder} was replaced while it was written to.")
        if completed.exit_code == INCOMPLETE:
            raise await self._incomplete(plan, output)
        if output.summary is None:
            raise ToolFailed(f"restic told nothing about the backup of {plan.source}.")
        if output.summary.total_files_processed == 0:
            warnings += (f"{plan.source} holds no files.",)
        on_progress(Progress(1.0, *[output.summary.total_bytes_processed] * 2))
        return FilesResult(
            snapshot_id=await self._whole_id(output.summary.snapshot_id),
            total_size=output.summary.total_bytes_processed,
            total_files=output.summary.total_files_processed,
            added_size=output.summary.data_added,
            warnings=warnings,
        )

    async def copy_snapshot(
        self,
        source: "ResticRepository",
        snapshot_id: str,
        on_progress: ProgressCallback = ignore_progress,
        *,
        compression: str = "auto",
        rate_limit: int | None = None,
    ) -> str:
        """Copy a snapshot of another repository, tags and all; return its id here.

        ``compression`` and ``rate_limit`` are as in `FilesPlan`. Only data that is not here yet is
        read, and each piece is proved by its hash. One that was copied before is not copied again.
        Raise ChainBroken when the snapshot or its data is
        missing or damaged; then no snapshot is left. When cancelled, data without a snapshot may
        stay; ``prune`` removes it.
        """
        identity = await asyncio.to_thread(files_folder.identity, self.folder)
        source._restic.ensure_present()
        try:
            await self._restic.call(
                *("copy", snapshot_id, "--compression", compression, *_limited(rate_limit)),
                doing=f"Copying {snapshot_id} from {source.folder} to {self.folder}",
                on_line=CopyOutput(on_progress).read,
                reading=source._restic,
            )
        except asyncio.CancelledError:
            # As with a backup; this restic had locked both.
            with contextlib.suppress(EngineError):
                await self.unlock()
                await source.unlock()
            raise
        if await asyncio.to_thread(files_folder.identity, self.folder) != identity:
            raise RepositoryUnavailable(f"{self.folder} was replaced while it was written to.")
        # What restic says of a copy names it by a short id only.
        there = await self.snapshots()
        copies = [item.id for item in there if item.original == snapshot_id]
        if not copies:
            # Of a copy of a copy it names the first.
            known = await source.snapshots(locked=False)
            first = {item.original for item in known if item.id == snapshot_id} - {""}
            copies = [item.id for item in there if item.original in first]
        if not copies:
            raise ChainBroken(f"The restic repository {source.folder} holds no {snapshot_id}.")
        on_progress(Progress(1.0))
        return copies[-1]

    async def snapshots(self, *, locked: bool = True) -> list[Snapshot]:
        """Return all snapshots, oldest first; not ``locked``, nothing is written meanwhile."""
        completed = await self._restic.call(
            "snapshots",
            "--json",
            *["--no-lock"] * (not locked),
            doing=f"Listing the snapshots of {self.folder}",
        )
        return parse_snapshots(completed.stdout)

    async def whole_size(self, snapshot_id: str) -> int:
        """Read all of a snapshot; return the size of its files in bytes. Nothing is written.

        Raise ChainBroken when any of it is missing or damaged.
        """
        doing = f"Reading {snapshot_id}"
        running: set[Process] = set()
        async for _ in self._restic.output(
            "dump", "--no-lock", snapshot_id, "/", doing=doing, running=running,
            otherwise=ChainBroken,
        ):  # fmt: skip
            pass
        completed = await self._restic.call(
            "stats", "--no-lock", "--json", "--mode", "restore-size", snapshot_id, doing=doing,
            otherwise=ChainBroken,
        )  # fmt: skip
        return size_in(completed.stdout)

    async def forget(self, snapshot_ids: Sequence[str]) -> None:
        """Remove snapshots; those that are gone already are fine. ``prune`` frees the space."""
        for start in range(0, len(snapshot_ids), _SNAPSHOTS_PER_CALL):
            await self._restic.call(
                "forget",
                *snapshot_ids[start : start + _SNAPSHOTS_PER_CALL],
                doing=f"Removing snapshots from {self.folder}",
            )

    async def prune(self) -> None:
        """Free the space of what no snapshot needs. It may be interrupted at any moment.

        Raise ChainBroken when restic does not, since data that some snapshot needs is missing.
        """
        await self._restic.call(
            "prune", doing=f"Freeing space in {self.folder}", otherwise=ChainBroken
        )

    async def unlock(self) -> None:
        """Remove the locks of restic processes that are dead; those of living ones stay."""
        await self._restic.unlock()

    async def restore(self, snapshot_id: str, target_dir: Path) -> None:
        """Put the tree of a snapshot directly below ``target_dir``, which is empty or absent.

        Raise ChainBroken when the snapshot is missing or damaged, EngineError when the target is
        not empty. After a failure, or when cancelled, the target is empty again.
        """
        target = await asyncio.to_thread(files_folder.prepare_target, target_dir)
        try:
            await self._restic.call(
                "restore",
                snapshot_id,
                "--target",
                os.fspath(target),
                doing=f"Restoring {snapshot_id} to {target}",
                writing=target,
            )
            await synchronise_tree(target)
        except BaseException:  # cancellation too: half a tree must not look like a whole one
            await asyncio.to_thread(files_folder.empty, target)
            raise

    async def list_folder(
        self, snapshot_id: str, folder: str | None, on_line: Callable[[str], None]
    ) -> None:
        """Hand out what is in a folder of a snapshot (None: in all), a JSON line for each entry.

        Raise ChainBroken when the snapshot is missing or damaged.
        """
        await self._restic.call(
            "ls",
            "--json",
            snapshot_id,
            *([] if folder is None else [folder]),
            doing=f"Looking into {snapshot_id}",
            on_line=on_line,
            otherwise=ChainBroken,
        )

    def dump(self, snapshot_id: str, path: str, running: set[Process]) -> AsyncIterator[bytes]:
        """Return a file's content, piece by piece; raise ChainBroken when it cannot be read.

        `running` as in `Restic.output`.
        """
        return self._restic.output(
            "dump",
            snapshot_id,
            path,
            doing=f"Reading {path} from {snapshot_id}",
            running=running,
            otherwise=ChainBroken,
        )

    async def restore_part(self, snapshot_id: str, path: str, target: Path, *, shown: Path) -> None:
        """Put one file or folder of a snapshot below ``target``, with the folders that lead to it.

        ``shown`` is what people are told is being written.
        Raise ChainBroken when the snapshot is damaged. What a failure leaves is the caller's.
        """
        await self._restic.call(
            "restore",
            snapshot_id,
            "--target",
            os.fspath(target),
            "--include",
            files_folder.pattern_of(path),
            doing=f"Restoring {path} from {snapshot_id}",
            writing=shown,
            otherwise=ChainBroken,
        )
        await synchronise_tree(target)

    async def check(self, *, read_data: bool = False) -> None:
        """Check the structure of the repository and, if asked, every byte of its data.

        Raise ChainBroken with what is wrong.
        """
        await self._restic.call(
            "check",
            *["--read-data"] * read_data,
            doing=f"Checking {self.folder}",
            otherwise=ChainBroken,
        )

    async def damaged_packs(self) -> tuple[str, ...]:
        """Read every byte of the repository; return which of its packs are damaged or missing.

        Only those whose content is not what their name, its hash, says, or whose parts do not open:
        each was read twice. Raise ChainBroken when something else is damaged, such as an index.
        """
        found, words = await self._checked()
        if words is None:
            return ()
        damaged = [pack for pack in found.packs if await self._is_damaged(pack)]
        if not damaged or found.inside.difference(damaged):
            again, words = await self._checked()
            damaged += sorted((found.inside & again.inside).difference(damaged))
        if not damaged and words is None:
            return ()
        if not damaged:
            raise ChainBroken(f"The restic repository {self.folder} is damaged: {words}")
        return tuple(damaged)

    async def _checked(self) -> tuple[CheckOutput, str | None]:
        """Read every byte; return what restic tells, and its last words when there is damage."""
        found = CheckOutput()
        completed = await self._restic.call(
            "check",
            "--no-lock",
            "--read-data",
            doing=f"Checking {self.folder}",
            on_line=found.read,
            accept=(0, DAMAGED),
            otherwise=ChainBroken,
        )
        return found, last_words(completed) if completed.exit_code == DAMAGED else None

    async def _is_damaged(self, pack: str) -> bool:
        try:
            await check_file(files_folder.pack_path(self.folder, pack), pack)
        except ChainBroken:
            # Of a disk that has gone meanwhile, everything seems to be missing.
            await asyncio.to_thread(self.ensure_present)
            return True
        return False

    def ensure_present(self) -> None:
        """Raise RepositoryUnavailable unless the repository is there. Blocking."""
        self._restic.ensure_present()

    def present_snapshots(self) -> set[str]:
        """Return the ids of all snapshots that are there, whole or not. Blocking.

        Raise RepositoryUnavailable.
        """
        found = self.snapshot_files()
        self.ensure_present()
        return found

    def snapshot_files(self) -> set[str]:
        """As `present_snapshots`; none when somebody has taken all of the repository away."""
        try:
            return set(files_folder.snapshot_names(self.folder, ""))
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise RepositoryUnavailable(
                f"The restic repository {self.folder} cannot be read: {error.strerror or error}."
            ) from error

    async def set_aside(self, packs: Sequence[str]) -> None:
        """Take damaged packs out of the repository, so that a backup stores anew what they held.

        They are kept in a folder beside it. May be interrupted at any moment, and called again.
        """
        await asyncio.to_thread(files_folder.set_aside, self.folder, packs)
        await self._restic.call("rebuild-index", doing=f"Rebuilding the index of {self.folder}")

    async def sweep_temporary(self) -> list[str]:
        """Remove the temporary files that a killed restic left; return their names.

        Only to be called while no restic runs on the repository.
        """
        return await asyncio.to_thread(files_folder.sweep_temporary, self.folder)

    async def sweep_locks(self) -> list[str]:
        """As `sweep_temporary`, those of locks alone: also who only reads takes one."""
        locks = self.folder / "locks"
        return await asyncio.to_thread(files_folder.sweep_temporary, locks)

    async def _known_parent(self, parent: str | None) -> tuple[str | None, tuple[str, ...]]:
        if parent is None or any(item.id.startswith(parent) for item in await self.snapshots()):
            return parent, ()
        return None, (f"The previous snapshot {parent} is gone; every file was read again.",)

    async def _incomplete(self, plan: FilesPlan, output: BackupOutput) -> SourceUnreadable:
        """Remove the snapshot of an incomplete backup; return the error that says why."""
        if output.summary is not None:
            await self.forget([output.summary.snapshot_id])
        told = "; ".join(output.file_errors[:_FILE_ERRORS_TOLD])
        more = len(output.file_errors) - _FILE_ERRORS_TOLD
        return SourceUnreadable(
            f"Not all of {plan.source} could be read, so nothing was kept. "
            f"{told}{f'; and {more} more' if more > 0 else ''}."
        )

    async def _whole_id(self, snapshot_id: str) -> str:
        found = await asyncio.to_thread(files_folder.snapshot_names, self.folder, snapshot_id)
        if len(found) != 1:
            raise ToolFailed(f"{self.folder} holds {len(found)} snapshots named {snapshot_id}.")
        return found[0]


def _limited(rate_limit: int | None) -> list[str]:
    """Return the arguments that let restic write no more than so many bytes a second."""
    # In KiB; the least that a job may ask for is more than one.
    return [] if rate_limit is None else ["--limit-upload", str(max(rate_limit // 1024, 1))]


def _ensure_readable_folder(source: Path) -> None:
    if not source.exists():
        raise SourceMissing(f"The folder {source} does not exist.")
    if not source.is_dir():
        raise SourceUnreadable(f"{source} is not a folder.")
    try:
        with os.scandir(source) as entries:
            next(entries, None)
    except OSError as error:
        raise reading_failure(error, source) from error


async def synchronise_tree(folder: Path) -> None:
    """Bring everything on the folder's file system to stable storage."""
    # syncfs() is not in Python's standard library; coreutils has it.
    completed = await run(["sync", "--file-system", os.fspath(folder)])
    if completed.exit_code != 0:
        raise EngineError(f"{folder} could not be brought to the disk: {last_words(completed)}")
