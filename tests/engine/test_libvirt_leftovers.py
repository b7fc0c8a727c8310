"""Which bitmaps in QEMU are left over, and which are somebody else's."""

import pytest

from holdfast.engine.libvirt_leftovers import is_left

TARGETS = {"vda", "sdb"}
KNOWN = ["backup-daily", "holdfast-1-p0", "backup-sdb"]


@pytest.mark.parametrize(
    ("bitmap", "left"),
    [
        ("backup-vda", True),
        ("holdfast-1-p1", True),
        ("holdfast-1-p0", False),
        ("holdfast-2-p0", False),
        # Of another program: a checkpoint that is recorded, and bitmaps that libvirt never makes.
        ("backup-daily", False),
        ("backup-sdb", False),
        ("backup-weekly", False),
        ("backup-vdc", False),
        ("backup-", False),
        ("", False),
    ],
)
def test_only_what_was_made_for_us_and_is_not_recorded_is_left(bitmap: str, left: bool) -> None:
    assert is_left(bitmap, "holdfast-1-", KNOWN, TARGETS) is left
