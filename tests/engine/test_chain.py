"""The chain model against brute force."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.chain import (
    Chain,
    ChainPoint,
    Drop,
    InvalidChainError,
    Merge,
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
