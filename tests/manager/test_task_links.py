"""Where finished tasks lead: to a mount where it is, and to a file in it."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from holdfast.manager.task_links import link_of
from holdfast.server.messages import Command, Made


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("VmRestorePointMount", "/vmRestorePoints"),
        ("VmReplicaPointMount", "/vmReplicaPoints"),
    ],
)
def test_mount_is_linked_below_the_kind_of_point_that_it_is_of(kind: str, points: str) -> None:
    point = UUID(int=7)
    made = Made(type=kind, uid=uuid4(), name=f"{point}@2")
    mounted = link_of(Command(request_id=uuid4(), operation="mount-point"), made)
    assert mounted is not None
    assert mounted["Path"] == f"{points}/{point}/mounts/2"
    # The API names the type so for both.
    assert mounted["Type"] == "VmRestorePointMount"
    command = Command(
        request_id=uuid4(), operation="restore-file", arguments={"path": "volume1/a b"}
    )
    file = link_of(command, made)
    assert file is not None
    assert file["Path"] == f"{points}/{point}/mounts/2/volume1/a%20b?action=download"
