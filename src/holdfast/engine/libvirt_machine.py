"""What libvirt is asked about one machine, each as a call with plain values in and out."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from holdfast.engine.errors import AgentSilent, HypervisorFailed, MachineBusy
from holdfast.engine.libvirt_connection import TIME_LIMIT, LibvirtConnection
from holdfast.engine.libvirt_xml import METADATA, backup_files_in, copy_xml, without_bitmap

Result = TypeVar("Result")

# Storing the bitmaps of a large disk takes its time when QEMU ends.
_POWER_SECONDS = 120.0
_AGENT_SECONDS = 60
#: What libvirt says when no agent listens in the guest, so that it was asked for nothing.
_NO_AGENT = "guest agent is not connected"
_NO_JOB = re.compile(
    r"not have an active block job|job '[^']*' (not found|in state '[^']*' cannot accept)",
    re.IGNORECASE,
)
_POLL_SECONDS = 0.2
_NO_BITMAP = re.compile(r"bitmap '[^']*' not found in backing chain of '([^']*)'")


class State(StrEnum):
    """What a machine does; everything between running and off counts as paused."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class BackupJob:
    """How far a backup job, or a job on a disk, is, in bytes."""

    done: int
    total: int


class MemorySaved(MachineBusy):
    """To start the machine would use up what was saved of its memory."""


class LibvirtMachine:
    """One machine, by its UUID. Every method raises what `LibvirtConnection.call` raises."""

    def __init__(self, connection: LibvirtConnection, uuid: str) -> None:
        self.connection = connection
        self.uuid = uuid
        # libvirt's own object, and the connection it is of, which may be opened anew.
        self._domain: Any = None
        self._connect: Any = None

    async def _ask(
        self, function: Callable[[Any, Any], Result], doing: str, time_limit: float = TIME_LIMIT
    ) -> Result:
        def ask(library: Any, connect: Any) -> Result:
            # Looked up once: that takes longer than most of what is asked.
            if self._domain is None or self._connect is not connect:
                self._domain, self._connect = connect.lookupByUUIDString(self.uuid), connect
            return function(library, self._domain)

        return await self.connection.call(
            ask, doing=f"{doing} machine {self.uuid}", time_limit=time_limit
        )

    async def state(self) -> State:
        """Return whether the machine runs."""
        return await self._ask(state_of, "looking at")

    async def definition(self, *, live: bool) -> str:
        """Return the domain XML, with its secrets: as it runs, or as it would start next time."""

        def get(library: Any, domain: Any) -> str:
            flags = library.VIR_DOMAIN_XML_SECURE
            if not live and domain.isPersistent():
                flags |= library.VIR_DOMAIN_XML_INACTIVE
            return str(domain.XMLDesc(flags))

        return await self._ask(get, "reading the definition of")

    async def start(self) -> None:
        """Power the machine on."""
        await self._ask(lambda _library, domain: domain.create(), "starting", _POWER_SECONDS)

    async def saved_definition(self) -> str | None:
        """Return the domain XML that the machine goes on with, or None when no memory is saved."""

        def get(library: Any, domain: Any) -> str | None:
            if not domain.hasManagedSaveImage():
                return None
            return str(domain.managedSaveGetXMLDesc(library.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))

        return await self._ask(get, "looking for a saved memory of")

    async def discard_saved(self) -> None:
        """Forget what was saved of the memory; nothing is fine."""

        def discard(_library: Any, domain: Any) -> None:
            if domain.hasManagedSaveImage():
                domain.managedSaveRemove()

        await self._ask(discard, "discarding the saved memory of")

    async def start_paused(self, mark: str) -> None:
        """Power the machine on without carrying out an instruction of the guest, and mark it.

        Raise MemorySaved when it would go on where it was instead.
        """

        def start(library: Any, domain: Any) -> None:
            # In the same call, since it may have been saved since somebody has looked.
            if domain.hasManagedSaveImage():
                raise MemorySaved(f"The memory of the machine {self.uuid} was saved meanwhile.")
            domain.createWithFlags(library.VIR_DOMAIN_START_PAUSED)
            try:
                _write_mark(library, domain, mark)
            except library.libvirtError:
                # Nobody would know later that it may be powered off.
                domain.destroyFlags(library.VIR_DOMAIN_DESTROY_GRACEFUL)
                raise

        await self._ask(start, "starting", _POWER_SECONDS)

    async def destroy(self) -> None:
        """Power the machine off, but never by SIGKILL: QEMU stores its bitmaps when it ends."""

        def destroy(library: Any, domain: Any) -> None:
            limit = time.monotonic() + _POWER_SECONDS
            while True:
                try:
                    domain.destroyFlags(library.VIR_DOMAIN_DESTROY_GRACEFUL)
                except library.libvirtError as error:
                    if not domain.isActive():
                        return
                    # libvirt gives up after some seconds, but QEMU still writes what it must.
                    slow = error.get_error_code() == library.VIR_ERR_SYSTEM_ERROR
                    if not slow or time.monotonic() > limit:
                        raise
                else:
                    return

        await self._ask(destroy, "powering off", _POWER_SECONDS + TIME_LIMIT)

    async def shut_down(self, seconds: float) -> bool:
        """Ask the guest to end, by its agent or ACPI; say whether it was off in time."""

        def ask(library: Any, domain: Any) -> None:
            try:
                domain.shutdown()
            except library.libvirtError:
                if domain.isActive():
                    raise

        if await self.state() is State.OFF:
            return True
        limit = time.monotonic() + seconds
        with contextlib.suppress(HypervisorFailed):  # a paused machine cannot be asked
            await self._ask(ask, "shutting down")
        while await self.state() is not State.OFF:
            if time.monotonic() > limit:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def define(self, xml: str) -> None:
        """Give the machine another definition, or the first; it counts from the next start."""
        await self.connection.call(
            lambda _library, connect: connect.defineXML(xml), doing=f"defining {self.uuid}"
        )

    async def undefine(self) -> None:
        """Take the definition away, and the records of checkpoints and snapshots; files stay."""

        def undefine(library: Any, domain: Any) -> None:
            domain.undefineFlags(
                library.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                | library.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                | library.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                | library.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
            )

        await self._ask(undefine, "removing")

    async def begin_copy(self, target: str, path: Path) -> None:
        """Have QEMU copy a disk to a new qcow2 file, and keep the copy equal from then on."""
        disk = copy_xml(path)

        def begin(library: Any, domain: Any) -> None:
            # Not resumed by libvirt after the machine's end: we see to that.
            domain.blockCopy(target, disk, None, library.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)

        await self._ask(begin, f"copying {target} of")

    async def pivot(self, target: str) -> bool:
        """Have the machine go on with the copy of a disk; say whether it does.

        It does not before the copy is equal to the disk, which is a moment after all is copied.
        """

        def pivot(library: Any, domain: Any) -> bool:
            try:
                domain.blockJobAbort(target, library.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
            except library.libvirtError as error:
                if error.get_error_code() != library.VIR_ERR_BLOCK_COPY_ACTIVE:
                    raise
                return False
            return True

        return await self._ask(pivot, f"changing to the copy of {target} of")

    async def block_job(self, target: str) -> BackupJob | None:
        """Return how far the job on a disk is, or None when there is none."""
        found: dict[str, int] = await self._ask(
            lambda _library, domain: domain.blockJobInfo(target, 0), f"following {target} of"
        )
        return BackupJob(int(found["cur"]), int(found["end"])) if found else None

    async def abort_block_job(self, target: str) -> None:
        """Have the job on a disk stop, soon; nothing to stop is fine."""

        def abort(library: Any, domain: Any) -> None:
            try:
                domain.blockJobAbort(target, library.VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC)
            except library.libvirtError as error:
                # It is over, or the machine is off.
                over = (library.VIR_ERR_INVALID_ARG, library.VIR_ERR_OPERATION_INVALID)
                if error.get_error_code() not in over:
                    raise

        await self._ask(abort, f"leaving {target} of")

    async def mark(self, text: str | None) -> None:
        """Write a note into the running machine's metadata, or remove it; it goes with its end."""

        await self._ask(
            lambda library, domain: _write_mark(library, domain, text),
            "marking",
        )

    async def capacity(self, target: str) -> int:
        """Return the virtual size, in bytes, of the disk that the guest has at ``target``."""
        info: list[int] = await self._ask(
            lambda _library, domain: domain.blockInfo(target), f"measuring {target} of"
        )
        return info[0]

    async def file_size(self, target: str) -> int:
        """Return how many bytes the file of a disk has, as the host sees it."""
        info: list[int] = await self._ask(
            lambda _library, domain: domain.blockInfo(target), f"measuring the file of {target} of"
        )
        return info[2]

    async def begin_backup(self, backup: str, checkpoint: str | None) -> None:
        """Begin a backup job and make a checkpoint, both at one instant."""
        await self._ask(
            lambda _library, domain: domain.backupBegin(backup, checkpoint, 0),
            "beginning the backup of",
        )

    async def begin_backup_into_existing(self, backup: str, checkpoint: str | None) -> None:
        """As `begin_backup`, with files that are there already, and empty."""
        await self._ask(
            lambda library, domain: domain.backupBegin(
                backup, checkpoint, library.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL
            ),
            "beginning the backup of",
        )

    async def limit_backup(self, target: str, rate: int) -> None:
        """Let the backup job read at most ``rate`` bytes a second of a disk.

        A job that has copied the disk already is fine.
        """

        def limit(library: Any, domain: Any) -> None:
            flag = library.VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES
            try:
                domain.blockJobSetSpeed(target, rate, flag)
            except library.libvirtError as error:
                # A disk with nothing to copy is done before it can be asked for.
                if not _NO_JOB.search(str(error)):
                    raise

        await self._ask(limit, f"limiting the backup of {target} of")

    async def backup_job(self) -> BackupJob | None:
        """Return how far the backup job is, or None when there is none."""

        def get(library: Any, domain: Any) -> BackupJob | None:
            statistics = domain.jobStats()
            if statistics.get("type", 0) == library.VIR_DOMAIN_JOB_NONE:
                return None
            return BackupJob(
                int(statistics.get("disk_processed", 0)), int(statistics.get("disk_total", 0))
            )

        return await self._ask(get, "following the backup of")

    async def backup_outcome(self) -> str | None:
        """Return why the last job failed, or None when it did not."""

        def get(library: Any, domain: Any) -> str | None:
            statistics = domain.jobStats(library.VIR_DOMAIN_JOB_STATS_COMPLETED)
            if statistics.get("type") == library.VIR_DOMAIN_JOB_COMPLETED:
                return None
            if statistics.get("type") == library.VIR_DOMAIN_JOB_CANCELLED:
                return "it was cancelled by another program"
            return str(statistics.get("errmsg") or "no reason was given")

        return await self._ask(get, "asking how the backup ended of")

    async def backup_targets(self) -> list[Path] | None:
        """Return the files that the running backup job writes, or None without a job."""

        def get(library: Any, domain: Any) -> list[Path] | None:
            try:
                xml = domain.backupGetXMLDesc()
            except library.libvirtError as error:
                if error.get_error_code() == library.VIR_ERR_NO_DOMAIN_BACKUP:
                    return None
                raise
            return backup_files_in(xml)

        return await self._ask(get, "looking for a backup of")

    async def abort_backup(self) -> None:
        """Stop the backup job; nothing to stop is fine."""

        def abort(library: Any, domain: Any) -> None:
            try:
                domain.abortJob()
            except library.libvirtError as error:
                if error.get_error_code() != library.VIR_ERR_OPERATION_INVALID:
                    raise

        await self._ask(abort, "stopping the backup of")

    async def checkpoints(self) -> list[str]:
        """Return the names of the checkpoints, oldest first."""

        def get(library: Any, domain: Any) -> list[str]:
            found = domain.listAllCheckpoints(library.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)
            return [str(checkpoint.getName()) for checkpoint in found]

        return await self._ask(get, "listing the checkpoints of")

    async def delete_checkpoint(self, name: str) -> None:
        """Delete a checkpoint and its bitmaps; where some are missing, those that are there.

        While the machine is off, only the record goes: libvirt does not touch the images then.
        """

        def delete(library: Any, domain: Any) -> None:
            record = library.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY
            while True:
                checkpoint = domain.checkpointLookupByName(name)
                if not domain.isActive():
                    checkpoint.delete(record)
                    return
                xml = checkpoint.getXMLDesc(0)
                try:
                    checkpoint.delete(0)
                except library.libvirtError as error:
                    missing = _NO_BITMAP.search(str(error))
                    if missing is None:
                        raise
                    checkpoint.delete(record)
                    # libvirt stops at the first disk without a bitmap and leaves those of others.
                    smaller = without_bitmap(xml, missing[1])
                    if smaller is None:
                        return
                    domain.checkpointCreateXML(
                        smaller, library.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
                    )
                else:
                    return

        await self._ask(delete, f"deleting the checkpoint {name} of")

    async def ask_qemu(self, command: str, **arguments: Any) -> Any:
        """Give QEMU itself a command, past libvirt, and return what it answers.

        libvirt notes of a machine that this was done. So it is for what libvirt cannot do.
        """
        text = json.dumps({"execute": command, "arguments": arguments})

        def ask(_library: Any, domain: Any) -> Any:
            monitor = importlib.import_module("libvirt_qemu")
            answer = json.loads(monitor.qemuMonitorCommand(domain, text, 0))
            if "error" in answer:
                raise HypervisorFailed(f"QEMU refuses {command}: {answer['error']['desc']}.")
            return answer["return"]

        return await self._ask(ask, "asking QEMU of")

    async def freeze(self) -> None:
        """Have the guest agent freeze the file systems.

        Raise AgentSilent when it has not said that it did, and yet may do so.
        """

        def freeze(_library: Any, domain: Any) -> None:
            domain.agentSetResponseTimeout(_AGENT_SECONDS, 0)
            domain.fsFreeze()

        try:
            await self._ask(freeze, "freezing", _AGENT_SECONDS + TIME_LIMIT)
        except AgentSilent as error:
            if _NO_AGENT in str(error):
                raise HypervisorFailed(str(error)) from error
            raise

    async def thaw(self) -> None:
        """Have the guest agent thaw the file systems; thawed ones are fine.

        Raise AgentSilent when they may be frozen still.
        """
        await self._ask(
            lambda _library, domain: domain.fsThaw(), "thawing", _AGENT_SECONDS + TIME_LIMIT
        )


def _write_mark(library: Any, domain: Any, text: str | None) -> None:
    domain.setMetadata(
        library.VIR_DOMAIN_METADATA_ELEMENT,
        None if text is None else f"<session>{text}</session>",
        "holdfast",
        METADATA,
        library.VIR_DOMAIN_AFFECT_LIVE,
    )


def state_of(library: Any, domain: Any) -> State:
    """Given libvirt's domain, return its state."""
    return state_told(library, domain.state()[0])


def state_told(library: Any, number: int) -> State:
    """Given the number by which libvirt tells a state, return that."""
    if number in (library.VIR_DOMAIN_SHUTOFF, library.VIR_DOMAIN_CRASHED):
        return State.OFF
    if number in (library.VIR_DOMAIN_RUNNING, library.VIR_DOMAIN_BLOCKED):
        return State.RUNNING
    return State.PAUSED
