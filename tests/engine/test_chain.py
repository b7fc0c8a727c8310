"""The chain model against brute force."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.chain import (
    Chain,
    ChainPoint,
    Drop,
    InvalidChainError,
    Merge,
    Rebase,
    next_steps,
    retention_step,
)


@st.composite
def chains(draw: st.DrawFn, *, straight: bool = False) -> Chain:
    count = draw(st.integers(0, 12))
    points: list[ChainPoint] = []
    for number in range(count):
        if number == 0 or draw(st.integers(0, 3)) == 0:
            parent = None
        else:
            position = number - 1 if straight else draw(st.integers(0, number - 1))
            parent = points[position].uid
        points.append(ChainPoint(f"p{number}", parent))
    return Chain(points)


def restorable(points: dict[str, str | None], uid: str | None) -> bool:
    """Brute force: follow the parents; whoever meets a missing one is lost."""
    while uid is not None:
        if uid not in points:
            return False
        uid = points[uid]
    return True


@given(chains(), st.data())
def test_what_is_lost_without_a_point_is_what_brute_force_finds(
    chain: Chain, data: st.DataObject
) -> None:
    chain.validate()
    if not len(chain):
        return
    uid = data.draw(st.sampled_from([point.uid for point in chain]))
    left = {point.uid: point.parent for point in chain if point.uid != uid}
    lost = {point.uid for point in chain if not restorable(left, point.uid)}
    assert chain.unrestorable_without(uid) == lost
    assert chain.dependents(uid) == lost - {uid}


@given(chains(), st.integers(1, 6))
def test_retention_never_loses_one_of_the_newest_points(chain: Chain, keep: int) -> None:
    # What a point restores is the set of days whose changes its files hold. A merge moves the
    # full's content into the increment's file; a drop takes a file away.
    newest = [point.uid for point in chain][-keep:]
    contents = {point.uid: frozenset(chain.ancestry(point.uid)) for point in chain}
    files = {point.uid: frozenset([point.uid]) for point in chain}
    before = len(chain)
    while step := retention_step(chain, keep):
        if isinstance(step, Merge):
            files[step.next] |= files.pop(step.oldest)
        else:
            del files[step.uid]
        chain = chain.after(step)
        chain.validate()
        assert len(chain) == before - 1
        before = len(chain)
        for point in chain:
            read = frozenset[str]().union(*(files[uid] for uid in chain.ancestry(point.uid)))
            assert read == contents[point.uid]
        assert [point.uid for point in chain][-keep:] == newest


@given(chains(straight=True), st.integers(1, 6))
def test_retention_of_a_straight_chain_reaches_the_number_to_keep(chain: Chain, keep: int) -> None:
    expected = min(len(chain), keep)
    while step := retention_step(chain, keep):
        chain = chain.after(step)
    assert len(chain) == expected


def test_depth_counts_the_files_a_restore_reads() -> None:
    chain = Chain([ChainPoint("a"), ChainPoint("b", "a"), ChainPoint("c", "b"), ChainPoint("d")])
    assert [chain.depth(point.uid) for point in chain] == [1, 2, 3, 1]


def test_the_oldest_full_with_one_child_is_merged_and_one_without_is_dropped() -> None:
    assert retention_step(Chain([ChainPoint("a"), ChainPoint("b", "a")]), 1) == Merge("a", "b")
    assert retention_step(Chain([ChainPoint("a"), ChainPoint("b")]), 1) == Drop("a")
    assert retention_step(Chain([ChainPoint("a"), ChainPoint("b")]), 2) is None


def test_a_full_with_two_children_waits_until_one_of_them_is_surplus() -> None:
    chain = Chain([ChainPoint("a"), ChainPoint("b", "a"), ChainPoint("c", "a")])
    assert retention_step(chain, 2) is None
    assert retention_step(chain, 1) == Drop("b")


@pytest.mark.parametrize(
    "points",
    [
        [ChainPoint("a", "a")],
        [ChainPoint("a", "b"), ChainPoint("b", "a")],
        [ChainPoint("a", "gone")],
        [ChainPoint("a"), ChainPoint("a")],
    ],
)
def test_circles_missing_parents_and_doubles_are_invalid(points: list[ChainPoint]) -> None:
    with pytest.raises(InvalidChainError):
        Chain(points).validate()


def test_keeping_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="At least one"):
        retention_step(Chain([]), 0)


@st.composite
def machines(draw: st.DrawFn) -> tuple[Chain, list[tuple[str, ...]]]:
    """Points of one or two disks, each disk with a chain of its own; and the points as groups."""
    disks = draw(st.integers(1, 2))
    groups: list[tuple[str, ...]] = []
    points: list[ChainPoint] = []
    for number in range(draw(st.integers(0, 9))):
        for disk in range(disks):
            older = [point.uid for point in points if point.uid.startswith(f"d{disk}")]
            # Mostly on the one before; now and then a full, or on an older one.
            choice = draw(st.integers(0, 5))
            parent = None
            if older and choice:
                parent = older[-1] if choice < 5 else draw(st.sampled_from(older))
            points.append(ChainPoint(f"d{disk}p{number}", parent))
        groups.append(tuple(f"d{disk}p{number}" for disk in range(disks)))
    return Chain(points), groups


@given(machines(), st.data())
def test_whatever_is_surplus_all_that_stays_restores_the_same(
    machine: tuple[Chain, list[tuple[str, ...]]], data: st.DataObject
) -> None:
    chain, groups = machine
    kept = {group for group in groups if data.draw(st.booleans())}
    damaged = frozenset(
        uid for group in groups if data.draw(st.integers(0, 9)) == 0 for uid in group
    )
    damaged |= {uid for one in damaged for uid in chain.unrestorable_without(one)}
    surplus = [group for group in groups if group not in kept]
    # What a point restores is the set of layers that its files hold; a file's own are in `files`.
    contents = {point.uid: frozenset(chain.ancestry(point.uid)) for point in chain}
    files = {point.uid: frozenset([point.uid]) for point in chain}
    for _ in range(200):
        steps = next_steps(chain, surplus, damaged)
        if not steps:
            break
        for step in steps:
            if isinstance(step, Merge):
                assert step.next not in damaged
                assert chain.parent(step.oldest) is None
                assert chain.children(step.oldest) == [step.next]
                files[step.next] |= files.pop(step.oldest)
            elif isinstance(step, Rebase):
                assert step.uid not in damaged
                below = frozenset[str]()
                if step.parent is not None:
                    assert step.parent in chain.ancestry(step.uid)[1:]
                    below = frozenset().union(*(files[uid] for uid in chain.ancestry(step.parent)))
                files[step.uid] = contents[step.uid] - below
            else:
                assert chain.children(step.uid) == []
                del files[step.uid]
            chain = chain.after(step)
            chain.validate()
        gone = [group for group in surplus if not all(uid in chain for uid in group)]
        # All files of a point go at once.
        assert all(uid not in chain for group in gone for uid in group)
        surplus = [group for group in surplus if group not in gone]
        for point in chain:
            read = frozenset[str]().union(*(files[uid] for uid in chain.ancestry(point.uid)))
            assert read == contents[point.uid]
    else:
        raise AssertionError("retention does not come to an end")
    assert all(uid in chain for group in kept for uid in group)


def test_surplus_between_two_points_that_stay_is_cut_out() -> None:
    days = [ChainPoint("a"), *(ChainPoint(after, before) for before, after in pairwise("abcde"))]
    chain = Chain(days)
    surplus = [("b",), ("c",)]
    taken = []
    while steps := next_steps(chain, surplus):
        taken += steps
        for step in steps:
            chain = chain.after(step)
        surplus = [group for group in surplus if group[0] in chain]
    assert taken == [Rebase("d", "a"), Drop("c"), Drop("b")]
    assert chain.ancestry("e") == ["e", "d", "a"]


def test_damaged_points_hold_what_they_are_built_on() -> None:
    chain = Chain([ChainPoint("a"), ChainPoint("b", "a"), ChainPoint("c")])
    assert next_steps(chain, [("a",)], {"b"}) == ()
    assert next_steps(chain, [("a",), ("b",)], {"b"}) == (Drop("b"),)
