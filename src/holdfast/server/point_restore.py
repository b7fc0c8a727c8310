"""Carries out the plan of a restore: a machine's disk, files of a directory, a host's machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from holdfast.engine.errors import LeftUnfinished, MachineBusy
from holdfast.engine.guest_snapshot import GuestSnapshot
from holdfast.engine.image import inspect, restore_image
from holdfast.engine.progress import Abreast, Progress, ProgressCallback
from holdfast.engine.together import proven_meanwhile
from holdfast.engine.tree_restore import restore_into_tree
from holdfast.server.chain_locks import PATIENCE, ChainLocks, share_soon, turn_at
from holdfast.server.finished_chains import FinishedChains
from holdfast.server.hosted_restore import HostedRestore
from holdfast.server.instant_recoveries import InstantRecoveries
from holdfast.server.journal import ChainKey
from holdfast.server.point_files import verify
from holdfast.server.recovery import STOPPED_UNEXPECTEDLY
from holdfast.server.refusal import RefusedError
from holdfast.server.repositories import BackupPlace, Repositories
from holdfast.server.restore_plan import (
    DiscardInstant,
    MigrateInstant,
    Plan,
    RestoreDisks,
    RestoreFiles,
    RestoreHosted,
    RestoreMachine,
    point_row,
)
from holdfast.server.session_state import JobSessionState
from holdfast.server.store import Store


def _damage(row: Row[Any]) -> str:
    """Return what is to be said of a point that is restored although it is known to be damaged."""
    return "" if row.damaged is None else f"The restore point is damaged: {row.damaged}"


class PointRestore:
    """Restores what points hold. Merges wait for it."""

    def __init__(
        self,
        store: Store,
        repositories: Repositories,
        locks: ChainLocks,
        chains: FinishedChains,
        hosted: HostedRestore,
        instant: InstantRecoveries,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._locks = locks
        self._chains = chains
        self._hosted = hosted
        self._instant = instant

    async def run(self, session: UUID, plan: Plan, on_progress: ProgressCallback) -> str:
        """Carry a plan out; return what is to be noted about it, if anything.

        Raise RefusedError when the point is gone, EngineError with the reason for a failure; then,
        and when cancelled, nothing of it is left.
        """
        if isinstance(plan, MigrateInstant | DiscardInstant):
            return await self._instant.run(plan, on_progress)
        if isinstance(plan, RestoreHosted) and plan.in_place:
            # It may take hours, and wait for a backup of the chain, which may wait for the machine.
            row = await self._store.read(lambda c: point_row(c, plan.point))
            await self._chains.finish(ChainKey.of(row.backup_uid, row.kind, row.reference))
        async with self._turn(plan):
            return await self._run(session, plan, on_progress)

    @contextlib.asynccontextmanager
    async def _turn(self, plan: Plan, seconds: float | None = None) -> AsyncIterator[None]:
        """Keep backups and others off a machine that is restored in place."""
        if isinstance(plan, RestoreHosted) and plan.in_place:
            async with turn_at(self._locks.machines, plan.uuid, plan.name, seconds):
                yield
        else:
            yield

    @contextlib.asynccontextmanager
    async def _turn_now(self, plan: Plan) -> AsyncIterator[None]:
        """As `_turn`, for what is tried again: others must not wait for it for long.

        Raise LeftUnfinished when somebody else is at the machine.
        """
        async with contextlib.AsyncExitStack() as held:
            try:
                await held.enter_async_context(self._turn(plan, PATIENCE))
            except MachineBusy as error:
                raise LeftUnfinished(str(error)) from error
            yield

    async def _run(
        self,
        session: UUID,
        plan: RestoreMachine | RestoreFiles | RestoreHosted | RestoreDisks,
        on_progress: ProgressCallback,
    ) -> str:
        row = await self._store.read(lambda c: point_row(c, plan.point))
        place = await self._repositories.place_of(row.backup_uid)
        await asyncio.to_thread(place.repository.ensure_available)
        async with self._chains.share(ChainKey.of(row.backup_uid, row.kind, row.reference)):
            # What was cut off while we waited for our turn is finished by that, too. Retention may
            # have taken the point, or merged its file.
            row = await self._store.read(lambda c: point_row(c, plan.point))
            match plan:
                case RestoreMachine():
                    await self._machine(place, row, plan, on_progress)
                    return plan.note
                case RestoreFiles():
                    return await self._files(session, place, row, plan)
                case RestoreHosted() | RestoreDisks():
                    note = await self._hosted.run(session, place, row, plan, on_progress)
                    return " ".join(filter(None, (note, _damage(row))))

    def leave_going(self) -> None:
        """Let machines go on moving to their own storage, as the server ends."""
        self._instant.leave_going()

    async def put_right(self, session: Row[Any], plan: Plan, on_progress: ProgressCallback) -> str:
        """Put right what a crash left of a restore of a machine of a host, or go on with it.

        Return what is to be noted, or raise EngineError or RefusedError with the reason for a
        failure.
        """
        match plan:
            case RestoreHosted() | RestoreDisks():
                async with self._turn_now(plan):
                    return await self._hosted.put_right(session.uid, plan, session.ledger)
            case MigrateInstant() | DiscardInstant():
                stopping = session.state == JobSessionState.STOPPING
                stopped = session.failure_message if stopping else None
                return await self._instant.put_right(plan, on_progress, stopped)
            case _:
                raise RefusedError(STOPPED_UNEXPECTEDLY)

    async def settle(self, session: Row[Any], plan: Plan) -> None:
        """Put right what a restore has left that has ended. See `HostedRestore.settle`."""
        if isinstance(plan, RestoreHosted | RestoreDisks):
            async with self._turn_now(plan):
                await self._hosted.settle(session.uid, plan, session.ledger)

    async def true_names(self, point: UUID, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Given a path in a directory's point as it is shown, return the names restic knows.

        The path begins with the name of the directory. None for a machine's point. Refuse an
        unknown point, and one that retention works on for longer than a moment: whoever asked does
        not expect a restore that begins hours later. Raise NoSuchEntry for what is not in it.
        """
        row = await self._store.read(lambda c: point_row(c, point))
        if row.snapshot_id is None:
            return ()
        place = await self._repositories.place_of(row.backup_uid)
        await asyncio.to_thread(place.repository.ensure_available)
        key = ChainKey.of(row.backup_uid, row.kind, row.reference)
        async with share_soon(self._locks.files, key):
            row = await self._store.read(lambda c: point_row(c, point))
            root = Path(row.source_path).name or row.display_name
            names, _ = await GuestSnapshot(place.files(), row.snapshot_id, root).true_path(parts)
            return names

    async def ensure_finished(self, point: UUID | None) -> None:
        """Finish what was interrupted in a point's chain, before a machine is to run from that.

        Refuse an unknown point, and one of which that cannot be done now, with the reason.
        """
        row = await self._store.read(lambda c: point_row(c, point))
        key = ChainKey.of(row.backup_uid, row.kind, row.reference)
        if reasons := await self._chains.finish(key):
            raise RefusedError(
                "The restore point is being worked on by retention, which cannot finish now: "
                f"{reasons[0]} Try again later."
            )

    async def _machine(
        self,
        place: BackupPlace,
        row: Row[Any],
        plan: RestoreMachine,
        on_progress: ProgressCallback,
    ) -> None:
        image, target = place.path(row.path), Path(plan.target)
        abreast = Abreast(on_progress, 2)
        checked, written = abreast.part(0), abreast.part(1)

        def advance(progress: Progress) -> None:
            written(progress.fraction)

        key = await self._repositories.data_keys.of_file(row.backup_file_uid)
        async with proven_meanwhile(
            verify(self._store, place, [image], checked, force=plan.force)
        ) as good:
            image_format = plan.format or await _format_of(target)
            await restore_image(
                image,
                target,
                advance,
                format=image_format,
                overwrite=plan.overwrite,
                key=key,
                proof=good,
            )

    async def _files(
        self, session: UUID, place: BackupPlace, row: Row[Any], plan: RestoreFiles
    ) -> str:
        path = await restore_into_tree(
            place.files(),
            row.snapshot_id,
            plan.names,
            Path(plan.directory),
            token=session.hex,
            overwrite=plan.overwrite,
        )
        wanted = plan.names[-1]
        return "" if path.name == wanted else f"{wanted} is there already; restored as {path.name}."


async def _format_of(target: Path) -> str:
    """Return the format that a disk image under this name is expected to have."""
    if await asyncio.to_thread(target.is_file):
        return (await inspect(target, None)).format
    return "qcow2" if target.suffix.lower() == ".qcow2" else "raw"
