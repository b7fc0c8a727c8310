"""Where the disks of a restored machine come when nobody says so."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from holdfast.engine.libvirt_ladder import DiskState, Rung
from holdfast.engine.libvirt_point import DiskPoint, MachinePoint, StoredFile
from holdfast.server.hosted_restore_plan import folder_for
from holdfast.server.refusal import RefusedError


def disk(target: str, path: str | None) -> DiskPoint:
    state = DiskState(target, path, "raw", 1 << 20, None)
    return DiskPoint(state, StoredFile(f"{target}.qcow2", ""), 1, 1, False, Rung.FULL, None)


def point_of(*disks: DiskPoint) -> MachinePoint:
    return MachinePoint("u", "web", None, None, StoredFile("web.xml", ""), None, disks)


def test_disks_come_to_the_files_of_the_original_and_never_among_devices() -> None:
    volume, image = disk("vda", "/dev/vg/web"), disk("vdb", "/srv/images/web.img")
    with create_engine("sqlite://").connect() as connection:
        assert folder_for(connection, point_of(volume, image), None, "") == "/srv/images"
        for known, wanted in (
            (point_of(volume), None),
            (point_of(volume, image), ("vda",)),
            (point_of(disk("vdc", None)), None),
        ):
            with pytest.raises(RefusedError, match="folder: say where the disks are to come"):
                folder_for(connection, known, wanted, "")
