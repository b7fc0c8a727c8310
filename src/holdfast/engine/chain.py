"""What depends on what: restore points, pure and without any I/O.

A point is either a full (no parent) or an increment on its parent. A chain holds the points of
one disk or one machine, oldest first; it may hold several fulls, since a new one is taken after a
size change. Whoever wants to delete or merge asks here first.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
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


@dataclass(frozen=True, slots=True)
class Rebase:
    """Write the file of ``uid`` anew, built on the older point ``parent``, or on none: a full.

    What it restores stays the same, and so does all that is built on it. Nothing is lost at any
    moment; what it was built on before may have one child less.
    """

    uid: str
    parent: str | None


RetentionStep = Drop | Merge | Rebase


class Chain:
    """Points, oldest first. Never changes: ``after`` returns the chain that a step leaves."""

    def __init__(self, points: Iterable[ChainPoint]) -> None:
        self.points = tuple(points)
        self._by_uid = {point.uid: point for point in self.points}
        self._children: dict[str, list[str]] = {}
        for point in self.points:
            if point.parent is not None:
                self._children.setdefault(point.parent, []).append(point.uid)

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
        return list(self._children.get(uid, ()))

    def parent(self, uid: str) -> str | None:
        """Return what a point is an increment on, or None for a full; KeyError if unknown."""
        return self._by_uid[uid].parent

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
        if isinstance(step, Rebase):
            return Chain(
                replace(point, parent=step.parent) if point.uid == step.uid else point
                for point in self.points
            )
        return Chain(
            replace(point, parent=None) if point.uid == step.next else point
            for point in self.points
            if point.uid != step.oldest
        )


def next_steps(
    chain: Chain, surplus: Sequence[Collection[str]], untouchable: Collection[str] = ()
) -> tuple[RetentionStep, ...]:
    """Return the next steps towards a chain without the surplus; none when there is nothing to do.

    ``surplus`` are the points that are to go, oldest first. Each is a collection of uids, since a
    point of several disks has a file for each: they go together or stay together. All others stay
    restorable at every moment. ``untouchable`` files (those that are damaged) are never merged
    into, and never written anew: what they are built on waits until they are surplus and gone.

    Several steps are drops and merges of one point, to be taken in any order; or there is one step
    that prepares others. After them, ask again.

    - A point that nothing is built on is dropped, the newest first.
    - A full with exactly one child is merged into it (forever forward incremental).
    - What is to stay and is built on a surplus increment is written anew, on the nearest point
      before it that stays or is a full. So the surplus between two points that stay gets free.

    A full with several children waits until all but one are gone.
    """
    going = {uid for point in surplus for uid in point}
    for point in reversed(surplus):
        if point and not any(chain.children(uid) for uid in point):
            return tuple(Drop(uid) for uid in point)
    for point in surplus:
        steps = [_departure(chain, uid, untouchable) for uid in point]
        if steps and None not in steps:
            return tuple(step for step in steps if step is not None)
    for kept in chain:
        parent = kept.parent
        if kept.uid in going or kept.uid in untouchable or parent not in going:
            continue
        if chain.parent(parent) is not None:
            return (Rebase(kept.uid, _firm_ground(chain, parent, going)),)
    return ()


def _departure(chain: Chain, uid: str, untouchable: Collection[str]) -> RetentionStep | None:
    """Return how a file can go at once, or None."""
    children = chain.children(uid)
    if not children:
        return Drop(uid)
    # Into what is damaged nothing is merged, and nothing damaged into what is whole: the full gets
    # a new checksum, and the damage would look whole for ever after.
    if (
        chain.parent(uid) is None
        and len(children) == 1
        and {uid, *children}.isdisjoint(untouchable)
    ):
        return Merge(uid, children[0])
    return None


def _firm_ground(chain: Chain, uid: str, going: Collection[str]) -> str:
    """Return the nearest point, from a surplus one back, that stays or is a full."""
    while uid in going and (parent := chain.parent(uid)) is not None:
        uid = parent
    return uid


def retention_step(chain: Chain, keep: int) -> Drop | Merge | None:
    """Given how many points to keep (1 or more), return the next step towards it, or None.

    Steps are taken one by one, ``chain = chain.after(step)``, until there is none. The newest
    ``keep`` points always stay restorable. See `next_steps`; in a straight chain that always
    reaches ``keep``, and nothing is ever written anew.
    """
    if keep < 1:
        raise ValueError("At least one restore point must be kept.")
    surplus = [(point.uid,) for point in chain.points[: max(len(chain) - keep, 0)]]
    step = next(iter(next_steps(chain, surplus)), None)
    return None if isinstance(step, Rebase) else step
