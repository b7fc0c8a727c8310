"""Machines come back from a repository whose server has lost its database."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from engine.vm.lab import Guest, Host
from holdfast.server import tables
from holdfast.server.data_keys import DataKeys
from holdfast.server.keys import Keys
from holdfast.server.manifest import read_manifest
from holdfast.server.repository_scan import Scanned, scan
from server.lab import HandClock

from .lab import bytes_of, disks_of, running_hosted_lab

pytestmark = pytest.mark.vm


async def ensure_forged_names_are_refused(repository: Path, forged: Path) -> None:
    """Have a manifest name a good file, but one of another folder."""
    shutil.copytree(repository, forged)
    definition = ""
    for path in sorted(forged.glob("*/*.qcow2.json")):
        detail = read_manifest(path.with_suffix("")).detail
        assert detail is not None
        definition = definition or detail.definition.name
        text = path.read_text()
        path.write_text(text.replace(f'"{definition}"', f'"../{definition}"'))
        if not (forged / definition).exists():
            shutil.copy(path.with_name(definition), forged)
    of = Scanned(forged, uuid4(), uuid4())
    nothing = cast("DataKeys", None)  # nothing is encrypted
    [found] = [each async for each in scan(of, Keys(forged.parent / "keys"), nothing)]
    assert len(found.points) == 1
    [problem] = found.problems
    assert f'its manifest names "../{definition}", which is no file of its folder.' in problem


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_new_server_restores_machines_of_a_lost_one(
    tmp_path: Path,
    clock: HandClock,
    daemon: Host,
    make_guest: Callable[..., Guest],
    encrypted: bool,
) -> None:
    guest = make_guest("vda", "vdb")
    held = {}
    password = {"hint": "of the vault", "password": "a long secret"}
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        options = {}
        if encrypted:
            made = (await lab.command("create-password", **password)).made
            assert made is not None
            options = {"encryption": str(made.uid)}
        job = await lab.job_of(guest, retention=2, options=options)
        for number in range(3):
            point = await lab.backed_up(guest, job, number)
            held[point] = guest.contents()
        # The first has been merged into the second.
        before = {row.uid: row for row in await lab.rows(tables.machine_point)}
        assert len(before) == 2
        repository = lab.repository_path
    if not encrypted:
        await ensure_forged_names_are_refused(repository, tmp_path / "forged")
    shutil.rmtree(tmp_path / "server")
    guest.power_off()
    targets, other = tmp_path / "targets", tmp_path / "other"
    targets.mkdir()
    other.mkdir()
    async with running_hosted_lab(other, clock, daemon) as lab:
        if encrypted:
            assert (await lab.command("create-password", **password)).success
        outcome = await lab.command("import-repository", folder=str(repository))
        assert outcome.message == "2 restore points imported, of 1 backup; 0 known already."
        after = {row.uid: row for row in await lab.rows(tables.machine_point)}
        assert {(row.uid, row.reference, row.total_size) for row in after.values()} == {
            (row.uid, row.reference, row.total_size) for row in before.values()
        }
        for number, uid in enumerate(after):
            name = f"copy{number}"
            await lab.done(
                "restore-machine",
                uid,
                new_name=name,
                new_identifiers=True,
                folder=str(targets),
                host=str(lab.host),
            )
            disks = disks_of(guest.connection.lookupByName(name))
            assert {target: bytes_of(path) for target, path in disks.items()} == held[uid]
        # A second job begins anew, with a full of its own.
        session = await lab.run(await lab.job_of(guest))
        assert session.values["Result"] == "Success", session.values
