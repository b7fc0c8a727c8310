"""What copy jobs copy from: linked, unlinked, refused."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from holdfast.server import tables

from .lab import Lab
from .offsite import Offsite, back_up


async def test_what_cannot_be_copied_is_refused_with_the_reason(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    copy = await offsite.copy_job(job)

    async def refused(operation: str, target: UUID | None = None, **arguments: Any) -> str:
        outcome = await lab.command(operation, target, **arguments)
        assert not outcome.success
        return outcome.message

    base = {"name": "Wrong", "kind": "BackupCopy", "repository": str(offsite.repository)}
    create = ("create-job", None)
    assert "linked_jobs, linked_repositories: expected at" in await refused(*create, **base)
    assert "sources: a copy job has linked_jobs" in await refused(
        *create, **base, sources=[{"path": "/x"}]
    )
    again = {"linked_jobs": [str(job)]}
    assert "only a copy job has any" in await refused(*create, **base | {"kind": "Backup"}, **again)
    assert "once" in await refused(*create, **base, linked_jobs=[str(job), str(job)])
    assert "another one" in await refused(
        *create, **base | {"repository": str(lab.repository)}, **again
    )
    assert "copy job itself" in await refused(*create, **base, linked_jobs=[str(copy)])
    assert "another one" in await refused(
        *create, **base, linked_repositories=[str(offsite.repository)]
    )
    unknown = uuid4()
    assert f"Cannot find job [{unknown}]" in await refused(
        *create, **base, linked_jobs=[str(unknown)]
    )
    assert "Cannot find repository" in await refused(
        "add-linked-repository", copy, repository=str(unknown)
    )
    assert "copies from job" in await refused("add-linked-job", copy, job=str(job))
    assert "no copy job" in await refused("add-linked-job", job, job=str(job))
    assert "no copy job" in await refused("sync-job", job)
    reference = "urn:Qemu:Vm:x"
    assert "knows no object" in await refused("add-object", copy, reference=reference)
    daily = {"type": "Daily", "time": "22:00:00"}
    at_once = base | {"kind": "ImmediateBackupCopy"}
    assert "type Continuously" in await refused(*create, **at_once, **again, schedule=daily)
    assert 'Copy job "Copy" copies' in await refused("delete-job", job)
    [link] = await lab.rows(tables.job_link)
    assert "nothing left" in await refused("remove-linked-job", link.uid)
    assert "Cannot find LinkedBackupRepositoryObject" in await refused(
        "remove-linked-repository", link.uid
    )
    assert len(await lab.rows(tables.job_link)) == 1
    cloned = {"name": "Clone", "repository": str(lab.repository)}
    assert "another one" in await refused("clone-job", copy, **cloned)


async def test_links_are_added_removed_cloned_and_go_with_their_job(lab: Lab) -> None:
    offsite = await Offsite.of(lab)
    jobs = [await lab.create_job(f"{name}.raw", job=name) for name in "ab"]
    copy = await offsite.copy_job(jobs[0])

    assert (await lab.command("add-linked-job", copy, job=str(jobs[1]))).success
    added = await lab.command("add-linked-repository", copy, repository=str(lab.repository))
    assert added.success
    shown = await lab.resources("LinkedJobObject")
    assert [link.values["LinkedJobUid"] for link in shown] == [str(job) for job in jobs]
    assert {link.relations["job"] for link in shown} == {copy}
    assert (await lab.command("remove-linked-job", shown[0].uid)).success
    assert [link.uid for link in await lab.resources("LinkedJobObject")] == [shown[1].uid]
    assert (await lab.command("delete-job", jobs[0])).success

    clone = await lab.command("clone-job", copy, name="Second")
    assert clone.success, clone.message
    assert len(await lab.resources("LinkedBackupRepositoryObject")) == 2
    assert (await lab.command("delete-job", copy)).success
    [left] = await lab.resources("LinkedJobObject")
    assert clone.made is not None
    assert left.relations["job"] == clone.made.uid


async def test_a_copied_machine_can_still_be_put_into_a_job_with_its_format(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw")
    await back_up(lab, job, 1)
    await lab.run(await offsite.copy_job(job))
    reference = (await lab.rows(tables.machine_point))[0].reference
    other = await lab.create_job("b.raw", job="Other")

    assert (await lab.command("add-object", other, reference=reference)).success

    table = tables.job_object
    added = await lab.write(
        lambda c: c.execute(
            select(table).where(table.c.job_uid == other, table.c.reference == reference)
        ).one()
    )
    assert added.format == "raw"
    assert len(await lab.resources("ObjectInJob")) == 3
