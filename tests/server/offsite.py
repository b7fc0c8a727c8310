"""A second repository of a lab, and copy jobs to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from holdfast.engine.durability import PARTIAL_SUFFIX
from holdfast.server import tables
from holdfast.server.messages import Change

from .lab import Lab, write_image


class Offsite:
    """A second repository of the lab's server, and copy jobs to it."""

    def __init__(self, lab: Lab, repository: UUID) -> None:
        self.lab = lab
        self.repository = repository

    @classmethod
    async def of(cls, lab: Lab) -> Offsite:
        path = lab.folder / "offsite"
        return cls(lab, await lab.server.add_repository("Offsite", path))

    @property
    def path(self) -> Path:
        return self.lab.folder / "offsite"

    async def copy_job(self, *jobs: UUID, name: str = "Copy", **more: Any) -> UUID:
        """Make a job that copies what jobs make; return its UID."""
        outcome = await self.lab.command(
            "create-job",
            **{
                "name": name,
                "kind": "BackupCopy",
                "repository": str(self.repository),
                "linked_jobs": [str(job) for job in jobs],
                **more,
            },
        )
        assert outcome.success, outcome.message
        assert outcome.made is not None
        return outcome.made.uid

    async def backup(self) -> UUID:
        """Return the backup of the one copy job."""
        rows = await self.lab.rows(tables.backup)
        return next(row.uid for row in rows if row.repository_uid == self.repository)

    async def points(self, kind: str = "image") -> list[Any]:
        """Return the points that lie here, oldest first."""
        backup, rows = await self.backup(), await self.lab.rows(tables.machine_point)
        found = [row for row in rows if row.backup_uid == backup and row.kind == kind]
        return sorted(found, key=lambda row: row.created)

    def files(self) -> dict[str, bytes]:
        """Return all backup files and manifests here by their names."""
        return {path.name: path.read_bytes() for path in self.path.glob("*/*") if path.is_file()}


async def back_up(lab: Lab, job: UUID, *seeds: int, machine: str = "a.raw") -> list[bytes]:
    """Back a machine up with one content after the other; return the contents."""
    contents = []
    for seed in seeds:
        contents.append(write_image(lab.source(machine), seed))
        assert (await lab.run(job)).values["Result"] == "Success"
    return contents


async def restored(lab: Lab, wanted: list[Any]) -> list[bytes]:
    return [await lab.restored(point.uid) for point in wanted]


def result_of(session: Change) -> tuple[Any, Any]:
    return session.values["Result"], session.values.get("FailureMessage")


async def until_copying(lab: Lab, offsite: Offsite) -> None:
    async def partial() -> bool:
        return any(offsite.path.glob(f"*/*{PARTIAL_SUFFIX}"))

    await lab.until(partial)
