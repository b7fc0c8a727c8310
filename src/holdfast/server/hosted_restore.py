"""Restores machines of hosts: to a host, in place, or their disks to files.

What a restore is about to write and to name stands in its session's ledger before it is done, so
that the next start of the server can take back, or bring to its end, what a crash interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, update

from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import (
    CannotFinish,
    EngineError,
    HypervisorUnavailable,
    KeyRefused,
    LeftUnfinished,
)
from holdfast.engine.known_file import KnownFile
from holdfast.engine.libvirt_point import MachinePoint
from holdfast.engine.libvirt_restore import RestorePlan, restore_disks
from holdfast.engine.progress import Abreast, Progress, ProgressCallback
from holdfast.engine.restored_files import (
    ProvenLedger,
    WholeFile,
    all_named,
    carried_out,
    finish_naming,
    partials_there,
    take_back,
)
from holdfast.engine.together import proven_meanwhile
from holdfast.server import hosted_points, instant_records, restore_sessions, tables
from holdfast.server.hosts import Hosts
from holdfast.server.point_files import verify, verify_sizes
from holdfast.server.recovery import STOPPED_UNEXPECTEDLY
from holdfast.server.refusal import RefusedError
from holdfast.server.repositories import BackupPlace, Repositories
from holdfast.server.restore_plan import Hosted, Plan, RestoreDisks, RestoreHosted, point_row
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

_HOST_AGAIN_SECONDS = 30.0
_COMPLETED = (
    "The backup server stopped unexpectedly while this was running. What was restored is whole; "
    "see whether it is powered on."
)


_MAY_RUN = (
    "The backup server stopped unexpectedly while this was running, and the host has not answered "
    "since. The machine may run from its restore point, which is kept: discard it when the host "
    "answers."
)


_LEFT = "What is left of it is put right as soon as that can be done."
_LEFT_IN_PLACE = (
    "Its disks had begun to be replaced, so there is no way back: what is missing of the restore "
    "follows as soon as that can be done."
)


class _Noted(msgspec.Struct, frozen=True):
    """What a session's ledger says: the names of the files to be, and which were about to be named.

    `files` is None before all of them were whole.
    """

    paths: tuple[str, ...]
    files: tuple[WholeFile, ...] | None = None

    @property
    def known(self) -> list[KnownFile]:
        """The files as far as they are known: by their names alone before they are whole."""
        if self.files is None:
            return [KnownFile(path) for path in self.paths]
        return [KnownFile(file.path, file.device, file.inode) for file in self.files]


class _SessionLedger:
    """The ledger of a restore, in the row of its session."""

    def __init__(
        self, store: Store, session: UUID, instant: UUID | None, settling: Collection[UUID]
    ) -> None:
        self._store = store
        self._session = session
        self._instant = instant
        self._settling = settling
        self._paths: tuple[str, ...] = ()

    async def writing(self, paths: Sequence[str]) -> None:
        """Files that are to have these names are about to be written under temporary ones."""
        self._paths = tuple(paths)
        await self._note(_Noted(self._paths), alone=True)

    async def naming(self, files: Sequence[WholeFile]) -> None:
        """These files are about to be named."""
        await self._note(_Noted(self._paths, tuple(files)))

    async def _note(self, noted: _Noted, *, alone: bool = False) -> None:
        def write(connection: Connection) -> None:
            table = tables.restore_session
            if alone:
                _refuse_if_written(connection, self._session, noted.paths)
                _refuse_if_left_over(connection, noted.paths, self._settling)
            values = {"ledger": msgspec.json.encode(noted).decode()}
            connection.execute(update(table).where(table.c.uid == self._session).values(values))
            if self._instant is not None:
                instant_records.note_files(connection, self._instant, noted.known)

        await self._store.write(write)


class HostedRestore:
    """The restores of machines of hosts."""

    def __init__(self, store: Store, repositories: Repositories, hosts: Hosts) -> None:
        self._store = store
        self._repositories = repositories
        self._hosts = hosts
        # The restores of which something is being put right after their end.
        self._settling: set[UUID] = set()

    async def run(
        self,
        session: UUID,
        place: BackupPlace,
        row: Row[Any],
        plan: Hosted,
        on_progress: ProgressCallback,
    ) -> str:
        """Carry a plan out, of a point whose files nobody changes; return what is to be noted.

        Raise EngineError or RefusedError with the reason for a failure; then, and when cancelled,
        nothing of it is left.
        """
        known = await self._store.read(lambda c: hosted_points.known_point(c, plan.point))
        folder = place.path(row.path).parent
        abreast = Abreast(on_progress, 2)
        wanted = [disk for disk in known.disks if _is_wanted(plan, disk.state.target)]
        images = [folder / disk.file.name for disk in wanted]
        instant = plan.instant if isinstance(plan, RestoreHosted) else None
        if instant is not None:
            # To read all of it would take longer than the machine may stand still.
            await verify_sizes(self._store, place, images)
        checked, written = abreast.part(0), abreast.part(1)

        def advance(progress: Progress) -> None:
            written(progress.fraction)

        key = await self._repositories.data_keys.of_file(row.backup_file_uid)
        work = _for_the_engine(plan, known, folder, key)
        unread = plan.force or instant is not None
        warning = ""
        async with proven_meanwhile(
            verify(self._store, place, images, checked, force=unread)
        ) as good:
            kept = _SessionLedger(self._store, session, instant, self._settling)
            ledger = ProvenLedger(kept, good)
            if isinstance(plan, RestoreDisks):
                await restore_disks(work, plan.format, advance, ledger)
                return ""
            access = await self._hosts.access(plan.host)
            platform = self._hosts.platform
            if plan.in_place:
                warning = await platform.restore_in_place(access, work, advance, ledger)
            else:
                await platform.restore(access, work, advance, ledger)
        # It is restored: nothing that is asked for now can change that.
        with contextlib.suppress(asyncio.CancelledError):
            await self._hosts.refresh([plan.host])
        return warning

    async def put_right(self, session: UUID, plan: Hosted, ledger: str | None) -> str:
        """Put right what a crash left of a restore; return what is to be noted if it is whole now.

        Waits for a host that does not answer. Raise EngineError or RefusedError, with the reason,
        for a restore that has failed; LeftUnfinished when something is left for `settle`.
        """
        noted = _decoded(ledger)
        while True:
            try:
                return await self._put_right(plan, noted)
            except HypervisorUnavailable as error:
                _LOGGER.warning("Restore %s is not put right yet: %s", session, error)
                await asyncio.sleep(_HOST_AGAIN_SECONDS)

    async def settle(self, session: UUID, plan: Hosted, ledger: str) -> None:
        """Put right what a restore has left that has ended.

        Raise HypervisorUnavailable or LeftUnfinished when that cannot be done now; EngineError or
        RefusedError with what there is to say when it is done or can never be.
        """
        noted = _decoded(ledger)
        self._settling.add(session)
        try:
            # In a writing transaction: what begins after it sees that this one is being settled.
            await self._store.write(lambda c: _wait_if_written(c, session, noted.paths))
            await self._put_right(plan, noted)
        finally:
            self._settling.discard(session)

    async def _put_right(self, plan: Hosted, noted: _Noted) -> str:
        try:
            return await self._completed_or_taken_back(plan, noted)
        except OSError as error:
            raise LeftUnfinished(
                f"{STOPPED_UNEXPECTEDLY} What it has left cannot be removed yet: {error}."
            ) from error

    async def _completed_or_taken_back(self, plan: Hosted, noted: _Noted) -> str:
        if noted.files is not None:
            if isinstance(plan, RestoreHosted) and plan.in_place:
                await self._name(noted)
                await self._finish(plan, noted.files)
                return _COMPLETED
            if await self._is_whole(plan, noted.files):
                await take_back(noted.paths, ())
                return _COMPLETED
        await take_back(noted.paths, noted.files or ())
        if noted.files is not None and isinstance(plan, RestoreHosted) and plan.instant is not None:
            await self._take_key_back(plan)
        raise RefusedError(STOPPED_UNEXPECTEDLY)

    async def _take_key_back(self, plan: RestoreHosted) -> None:
        """Take back what the machine was to open its point with, if nothing else runs with it."""
        others = await self._store.read(
            lambda c: instant_records.others_with(c, plan.host, plan.uuid, plan.instant)
        )
        if not others:
            access = await self._hosts.access(plan.host)
            await self._hosts.platform.take_key_back(access, plan.uuid)

    async def _is_whole(self, plan: Hosted, files: Sequence[WholeFile]) -> bool:
        if isinstance(plan, RestoreDisks):
            return await all_named(files)
        # It was defined last of all. Another machine may have taken its UUID.
        access = await self._hosts.access(plan.host)
        disks = await self._hosts.platform.machine_disks(access, plan.uuid)
        return disks is not None and not {file.path for file in files}.isdisjoint(disks.values())

    async def _name(self, noted: _Noted) -> None:
        """Bring the disks of a restore in place to one point. No host is needed for that."""
        files = noted.files or ()
        try:
            await carried_out(finish_naming(files))
        except CannotFinish:
            await take_back(noted.paths, ())
            raise
        except EngineError as error:
            raise LeftUnfinished(f"{STOPPED_UNEXPECTEDLY} {error}") from error

    async def _finish(self, plan: RestoreHosted, files: Sequence[WholeFile]) -> None:
        try:
            row = await self._store.read(lambda c: point_row(c, plan.point))
            known = await self._store.read(lambda c: hosted_points.known_point(c, plan.point))
            key = await self._repositories.data_keys.of_file(row.backup_file_uid)
        except (RefusedError, KeyRefused) as error:
            # Its definition has gone with it, or cannot be opened; the disks are whole.
            raise RefusedError(
                f"The disks were restored, but not the definition: {error}"
            ) from error
        place = await self._repositories.place_of(row.backup_uid)
        access = await self._hosts.access(plan.host)
        work = _for_the_engine(plan, known, place.path(row.path).parent, key)
        await self._hosts.platform.finish_in_place(access, work, files)


def given_up(plan: Plan, ledger: str | None) -> str:
    """Return what is to be noted when nobody puts a restore right that a crash interrupted.

    Empty for one that has failed. A machine that may run from its point must keep that.
    """
    if not isinstance(plan, RestoreHosted) or plan.instant is None or ledger is None:
        return ""
    return _MAY_RUN if msgspec.json.decode(ledger, type=_Noted).files is not None else ""


def left_by(plan: Plan, ledger: str | None) -> str | None:
    """Return what is to be said of what a restore has left that nobody has put right yet, or None
    when that is nothing."""
    if ledger is None or not isinstance(plan, RestoreHosted | RestoreDisks):
        return None
    begun = msgspec.json.decode(ledger, type=_Noted).files is not None
    in_place = isinstance(plan, RestoreHosted) and plan.in_place
    return _LEFT_IN_PLACE if begun and in_place else _LEFT


def _decoded(ledger: str | None) -> _Noted:
    return _Noted(()) if ledger is None else msgspec.json.decode(ledger, type=_Noted)


def _wait_if_written(connection: Connection, session: UUID, paths: Sequence[str]) -> None:
    """Raise LeftUnfinished while another restore writes files that have these names."""
    try:
        _refuse_if_written(connection, session, paths)
    except RefusedError as error:
        raise LeftUnfinished(str(error)) from error


def _refuse_if_left_over(
    connection: Connection, paths: Sequence[str], settling: Collection[UUID]
) -> None:
    """Refuse files of which an earlier restore, that has ended, has left temporaries: they are
    needed to put the machine right, and this one would remove them.
    """
    for row in restore_sessions.left_over(connection):
        common = sorted(set(_decoded(row.ledger).paths).intersection(paths))
        if common and (row.uid in settling or partials_there(common)):
            raise RefusedError(
                f"An earlier restore has still to be put right, which wrote to {common[0]}. That "
                "is done as soon as it can be. Try again later."
            )


def _refuse_if_written(connection: Connection, session: UUID, paths: Sequence[str]) -> None:
    """Refuse files that another restore writes, be it of another machine or to another host: both
    would write to the same temporary name.
    """
    for row in restore_sessions.unfinished(connection):
        if row.uid == session or row.ledger is None:
            continue
        taken = set(msgspec.json.decode(row.ledger, type=_Noted).paths)
        if common := sorted(taken.intersection(paths)):
            raise RefusedError(f"Another restore is writing to {common[0]}.")


def _is_wanted(plan: Hosted, target: str) -> bool:
    return plan.disks is None or target in plan.disks


def _for_the_engine(
    plan: Hosted, known: MachinePoint, folder: Path, key: DataKey | None
) -> RestorePlan:
    work = RestorePlan(
        known,
        folder,
        Path(plan.folder),
        plan.name,
        disks=None if plan.disks is None else frozenset(plan.disks),
        key=key,
    )
    if isinstance(plan, RestoreDisks):
        return work
    return replace(
        work,
        new_identifiers=plan.new_identifiers,
        power_on=plan.power_on,
        uuid=plan.uuid,
        instant=plan.instant is not None,
    )
