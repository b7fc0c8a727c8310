"""How much of a disk has to be read, and why: the rungs of the ladder. Pure.

From the best to the last: the blocks that changed since a checkpoint; the whole disk, of which the
difference to the parent point is kept; the whole disk. A rung is only taken when nothing speaks
against it. What a bitmap says is trusted for the very disk it was made on, and for nothing else:
two disks that changed places have bitmaps of the same name, each right for the other chain.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum


class Rung(StrEnum):
    """How a disk was backed up."""

    CHANGED_BLOCKS = "changed blocks"
    DIFFERENCE = "difference"
    FULL = "full"


def lowest(rungs: Collection[Rung]) -> Rung:
    """Given the rungs of the disks of a point, return that of the point.

    It is a full only when all of them are: a point with an increment needs others.
    """
    order = list(Rung)
    return max(
        (rung for rung in rungs if rung is not Rung.FULL), key=order.index, default=Rung.FULL
    )


@dataclass(frozen=True, slots=True)
class DiskState:
    """What identifies a disk. ``virtual_size`` in bytes.

    ``inode`` is that of the file, where it can be seen from here: it tells a file that was replaced
    by another of the same name.
    """

    target: str
    path: str | None
    format: str
    virtual_size: int
    inode: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The rung for a disk. ``reason`` says why it is not the first; None on the first.

    ``expected`` when it lies in the nature of the disk or of the plan: then it is no warning.
    """

    target: str
    rung: Rung
    reason: str | None = None
    expected: bool = False


def decide(
    now: DiskState,
    before: DiskState | None,
    *,
    tracked: bool,
    first: bool,
    parent_problem: str | None,
    checkpoint: str | None,
    checkpoints: Collection[str],
    why_full: str | None = None,
) -> Decision:
    """Given a disk as it is and as the parent point recorded it, return the rung to take.

    ``tracked``: its format can keep a bitmap. ``first``: there is no parent point at all, for
    the reason ``why_full``, if it is another than that the chain begins.
    ``parent_problem`` says why the parent's file cannot be built on, or is None. ``checkpoint`` is
    the one made with the parent point, ``checkpoints`` those that exist.
    """
    target = now.target
    if first:
        reason = why_full or "it is the first point of the chain"
        return Decision(target, Rung.FULL, reason, True)
    if before is None:
        return Decision(target, Rung.FULL, "the previous point does not hold this disk")
    if before.virtual_size != now.virtual_size:
        sizes = f"from {before.virtual_size} to {now.virtual_size} bytes"
        return Decision(target, Rung.FULL, f"its size changed {sizes} since the previous point")
    if parent_problem is not None:
        return Decision(target, Rung.FULL, parent_problem)
    if not tracked:
        reason = f"its format {now.format} keeps no record of what changed"
        return Decision(target, Rung.DIFFERENCE, reason, True)
    if (before.path, before.format) != (now.path, now.format):
        reason = f"it lies in another place ({now.path}) than at the previous point ({before.path})"
        return Decision(target, Rung.DIFFERENCE, reason)
    if None not in (before.inode, now.inode) and before.inode != now.inode:
        reason = f"its file {now.path} was replaced by another since the previous point"
        return Decision(target, Rung.DIFFERENCE, reason)
    if checkpoint is None:
        return Decision(target, Rung.DIFFERENCE, "the previous point was made without a checkpoint")
    if checkpoint not in checkpoints:
        reason = (
            f"the checkpoint {checkpoint} of the previous point is gone: the machine was restored, "
            "or another program deleted it"
        )
        return Decision(target, Rung.DIFFERENCE, reason)
    return Decision(target, Rung.CHANGED_BLOCKS)


_BROKEN_BITMAP = re.compile(r"bitmap '[^']*' for disk '([^']*)'")


def fallen(decisions: Collection[Decision], refusal: str) -> list[Decision]:
    """Given decisions that libvirt refused for a checkpoint, return those to try next.

    The disk that the message names falls a rung, and when it names none, every disk on the first.
    """
    named = _BROKEN_BITMAP.search(refusal)
    on_first = {decision.target for decision in decisions if decision.rung is Rung.CHANGED_BLOCKS}
    falling = on_first if named is None or named[1] not in on_first else {named[1]}
    reason = "its record of what changed is missing or broken, as after a crash of QEMU"
    return [
        replace(decision, rung=Rung.DIFFERENCE, reason=reason)
        if decision.target in falling
        else decision
        for decision in decisions
    ]
