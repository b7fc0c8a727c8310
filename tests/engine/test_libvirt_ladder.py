"""The rungs of the ladder, without any machine."""

from dataclasses import replace
from typing import Any

import pytest

from holdfast.engine.libvirt_ladder import Decision, DiskState, Rung, decide, fallen, lowest

DISK = DiskState("vda", "/images/a.qcow2", "qcow2", 1 << 30, 17)


def decided(now: DiskState = DISK, before: DiskState | None = DISK, **changed: Any) -> Decision:
    known: dict[str, Any] = {
        "tracked": True,
        "first": False,
        "parent_problem": None,
        "checkpoint": "c1",
        "checkpoints": ["c0", "c1"],
    }
    return decide(now, before, **known | changed)


def test_disk_as_it_was_is_backed_up_by_changed_blocks() -> None:
    assert decided() == Decision("vda", Rung.CHANGED_BLOCKS)


@pytest.mark.parametrize(
    ("decision", "rung", "reason", "expected"),
    [
        (decided(before=None, first=True), Rung.FULL, "first point", True),
        (decided(before=None), Rung.FULL, "does not hold this disk", False),
        (decided(replace(DISK, virtual_size=512)), Rung.FULL, "its size changed", False),
        (decided(parent_problem="the file is gone"), Rung.FULL, "the file is gone", False),
        (decided(tracked=False), Rung.DIFFERENCE, "keeps no record", True),
        (decided(replace(DISK, path="/b")), Rung.DIFFERENCE, "in another place", False),
        (decided(replace(DISK, format="raw")), Rung.DIFFERENCE, "in another place", False),
        (decided(replace(DISK, inode=18)), Rung.DIFFERENCE, "replaced by another", False),
        (decided(checkpoint=None), Rung.DIFFERENCE, "without a checkpoint", False),
        (decided(checkpoints=["c0"]), Rung.DIFFERENCE, "is gone", False),
    ],
)
def test_disk_falls_to_a_rung_for_a_reason(
    decision: Decision, rung: Rung, reason: str, expected: bool
) -> None:
    assert (decision.rung, decision.expected) == (rung, expected)
    assert reason in str(decision.reason)


def test_inode_that_cannot_be_seen_from_here_does_not_count() -> None:
    assert decided(replace(DISK, inode=None)).rung is Rung.CHANGED_BLOCKS
    assert decided(before=replace(DISK, inode=None)).rung is Rung.CHANGED_BLOCKS


def test_only_the_disk_that_libvirt_names_falls_and_all_when_it_names_none() -> None:
    both = [Decision(target, Rung.CHANGED_BLOCKS) for target in ("vda", "vdb")]
    message = "checkpoint inconsistent: missing or broken bitmap 'c1' for disk 'vdb'"
    once = fallen(both, message)
    assert [decision.rung for decision in once] == [Rung.CHANGED_BLOCKS, Rung.DIFFERENCE]
    # The same refusal again cannot go on for ever.
    assert {decision.rung for decision in fallen(once, message)} == {Rung.DIFFERENCE}
    assert {decision.rung for decision in fallen(both, "no such thing")} == {Rung.DIFFERENCE}


def test_a_point_is_a_full_only_when_all_its_disks_are() -> None:
    changed, difference, full = Rung
    assert lowest([full, full]) is full
    assert lowest([full, changed]) is changed
    assert lowest([changed, difference, full]) is difference
