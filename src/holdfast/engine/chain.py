"""What depends on what: restore points, pure and without any I/O.

A point is either a full (no parent) or an increment on its parent. A chain holds the points of
one disk or one machine, oldest first; it may hold several fulls, since a new one is taken after a
size change. Whoever wants to delete or merge asks here first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace


class InvalidChainError(ValueError):
    """The points given do not make a chain: a parent is missing, later, or the point itself."""


@dataclass(frozen=True, slots=True)
class ChainPoint:
    """A restore point and the point it is an increment on, or None for a full."""

    uid: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete the file of ``uid``: nothing depends on it."""

    uid: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge the increment ``next`` into the full ``oldest``: ``next`` becomes the full."""

    oldest: str
    next: str


RetentionStep = Drop | Merge


class Chain:
    """Points, oldest first. Never changes: ``after`` returns the chain that a step leaves."""

    def __init__(self, points: Iterable[ChainPoint]) -> None:
        self.points = tuple(points)
        self._by_uid = {point.uid: point for point in self.points}

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[ChainPoint]:
        return iter(self.points)

    def __contains__(self, uid: object) -> bool:
        return uid in self._by_uid

    def validate(self) -> None:
        """Raise InvalidChainError unless uids are unique and every parent is an older point.

        A parent that is older than its child also rules every circle out.
        """
        seen: set[str] = set()
        for point in self.points:
            if point.uid in seen:
                raise InvalidChainError(f"The point {point.uid} is there twice.")
            if point.parent is not None and point.parent not in seen:
                state = "newer than it" if point.parent in self._by_uid else "missing"
                raise InvalidChainError(
                    f"The point {point.uid} is an increment on {point.parent}, which is {state}."
                )
            seen.add(point.uid)

    def children(self, uid: str) -> list[str]:
        """Return the uids of the increments directly on a point, oldest first."""
        return [point.uid for point in self.points if point.parent == uid]

    def dependents(self, uid: str) -> set[str]:
        """Return the *other* points that cannot be restored without this one."""
        return self.unrestorable_without(uid) - {uid}

    def unrestorable_without(self, uid: str) -> set[str]:
        """Return what becomes unrestorable if a point's file goes: itself and all built on it.

        Raise KeyError for a uid that is not in the chain.
        """
        lost = {self._by_uid[uid].uid}
        # One pass is enough, because a parent always stands before its children.
        for point in self.points:
            if point.parent in lost:
                lost.add(point.uid)
        return lost

    def ancestry(self, uid: str) -> list[str]:
        """Return the uids whose files a restore of ``uid`` reads, from itself to the full.

        Raise KeyError for a uid, or a parent, that is not in the chain.
        """
        line = [uid]
        while (parent := self._by_uid[line[-1]].parent) is not None:
            if len(line) > len(self.points):
                raise InvalidChainError(f"The point {uid} depends on itself.")
            line.append(parent)
        return line

    def depth(self, uid: str) -> int:
        """Return how many files a restore of ``uid`` reads: 1 for a full."""
        return len(self.ancestry(uid))

    def after(self, step: RetentionStep) -> "Chain":
        """Return the chain that a retention step leaves."""
        if isinstance(step, Drop):
            return Chain(point for point in self.points if point.uid != step.uid)
        return Chain(
            replace(point, parent=None) if point.uid == step.next else point
            for point in self.points
            if point.uid != step.oldest
        )


def retention_step(chain: Chain, keep: int) -> RetentionStep | None:
    """Given how many points to keep (1 or more), return the next step towards it, or None.

    Steps are taken one by one, ``chain = chain.after(step)``, until there is none. The newest
    ``keep`` points always stay restorable. The surplus points are tried oldest first: one without
    dependents is dropped; a full with exactly one child is merged with it (forever forward
    incremental). In a straight chain that always reaches ``keep``. A point with several children
    waits until they, surplus themselves, are gone, so more than ``keep`` may remain for a time.
    """
    if keep < 1:
        raise ValueError("At least one restore point must be kept.")
    for point in chain.points[: max(len(chain) - keep, 0)]:
        children = chain.children(point.uid)
        if not children:
            return Drop(point.uid)
        if point.parent is None and len(children) == 1:
            return Merge(point.uid, children[0])
    return None
