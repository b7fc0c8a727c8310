"""Holdfast, either host's libvirtd and either QEMU are killed while replicas are made and used.

Each operation is cut short by a SIGKILL at a random moment, and what was killed is started again.
Then the replica is in one of the states that the operation leads to, its points and its disks hold
what they ought to, nothing half-made lies about, and the same operation succeeds. All the time a
watch sees to it that no machine runs beside its replica.

``HOLDFAST_REPLICA_CRASHES`` says how often in all (11). The seed is printed; ``HOLDFAST_SEED``
repeats one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import libvirt
import pytest

from engine.vm.lab import Guest, Host, libvirt_daemon
from fault.replica_house import House, Pair
from server.vm.lab import disks_of

pytestmark = pytest.mark.vm

#: What is done in a life, each with a kill: with one machine, and with a plan of two.
WALK = (
    "replicate",
    "failover",
    "undo-failover",
    "planned-failover",
    "failback",
    "undo-failback",
    "commit-failback",
)
PLAN = ("start", "undo", "permanent", "permanent")
CRASHES = int(os.environ.get("HOLDFAST_REPLICA_CRASHES", "11"))
LIVES = -(-CRASHES // (len(WALK) + len(PLAN)))
SEED = os.environ.get("HOLDFAST_SEED")
VICTIMS = ("Holdfast", "source's libvirtd", "replica's libvirtd", "source's QEMU", "replica's QEMU")
#: The states from which an operation sets out, and to which it leads.
WAYS = {
    "failover": ("Ready", "Failover"),
    "undo-failover": ("Failover", "Ready"),
    "planned-failover": ("Ready", "Failover"),
    "failback": ("Failover", "Failback"),
    "undo-failback": ("Failback", "Failover"),
    "commit-failback": ("Failback", "Ready"),
    "permanent-failover": ("Failover", "PermanentFailover"),
}

libvirt.registerErrorHandler(lambda _context, _error: None, None)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with libvirt_daemon() as source, libvirt_daemon() as target:
        yield source, target


class Life:
    """The life of a house: what is done in it, and what must be so after each kill."""

    def __init__(self, folder: Path, hosts: tuple[Host, Host], life: int, *names: str) -> None:
        seed = SEED or f"{random.SystemRandom().randrange(1 << 32)}"
        print(f"HOLDFAST_SEED={seed}, life {life}")
        self.chance = random.Random(f"{seed} {life} {names}")
        self.house = House(folder, *hosts, self.chance, names)
        self.victims = cycle(self.chance.sample(VICTIMS, len(VICTIMS)))

    def replicate(self, *, killed: bool = True) -> None:
        """Replicate what has changed; with something killed meanwhile, too."""
        house = self.house
        for pair in house.pairs:
            house.on(pair.guest)
            house.change(pair.guest)
        if killed:
            house.killed_replication(next(self.victims))
            house.check_points()
            for pair in house.pairs:
                house.on(pair.guest)
                house.change(pair.guest)
        house.replicate()
        house.check_points()
        for pair in house.pairs:
            self.check(pair, "Ready")
            house.check_source(pair)

    def go(self, pair: Pair, operation: str, *, killed: bool = True) -> None:
        """Have an operation cut short, and then done."""
        before, after = WAYS[operation]
        self.set_out(pair, operation)
        if killed:
            victim = next(self.victims)
            state = self.house.killed(pair, operation, victim)
            assert state in (before, after)
            self.arrived(pair, operation, state)
            self.check(pair, state, victim)
            if state == after:
                return
            self.set_out(pair, operation)
        self.house.do(pair, operation)
        self.arrived(pair, operation, after)
        self.check(pair, after)

    def set_out(self, pair: Pair, operation: str) -> None:
        """Bring the machine to where people have it before an operation."""
        if operation == "planned-failover":
            self.house.on(pair.guest)
        elif operation in ("failover", "failback"):
            self.house.off(pair.guest)

    def arrived(self, pair: Pair, operation: str, state: str) -> None:
        """Note what the disks ought to hold, now that an operation has led to a state."""
        self.house.check_points()
        if operation in ("failover", "planned-failover") and state == "Failover":
            adopt(pair.stand_in, list(pair.points.values())[-1])
        if operation == "failback" and state == "Failback":
            adopt(pair.guest, pair.stand_in.contents())

    def check(self, pair: Pair, state: str, victim: str = "") -> None:
        """The replica is as it is to be in a state. A QEMU that was killed is started again."""
        house = self.house
        house.check_alone()
        assert house.state(pair)["state"] == state
        there = disks_of(pair.stand_in.domain)
        layered = {path.name.startswith("failover-") for path in there.values()}
        assert layered == {state != "Ready"}
        if state == "Ready":
            assert not pair.stand_in.domain.isActive()
            return
        runs, rests = pair.stand_in, pair.guest
        if state == "Failback":
            runs, rests = rests, runs
        assert not rests.domain.isActive(), f"{rests.name} is on in the state {state}"
        assert runs.domain.isActive() or victim.endswith("QEMU"), f"{runs.name} is off"
        house.on(runs)
        house.check_held(pair.stand_in, there)
        if state == "Failback":
            house.check_held(pair.guest, {t: disk.path for t, disk in pair.guest.disks.items()})

    def act_on_plan(self, plan: str, action: str, *, killed: bool) -> dict[str, Any]:
        """Start or undo a plan; return how it stands when nothing goes on any more."""
        house = self.house
        victim = next(self.victims) if killed else ""
        shown = house.act_on_plan(plan, action, victim)
        for pair in house.pairs:
            state = house.settled(pair)
            assert state in ("Ready", "Failover")
            # Only what had not taken over before runs on new layers; nothing was written since.
            self.arrived(pair, "failover", state)
            self.check(pair, state, victim)
        return shown


def adopt(guest: Guest, contents: dict[str, bytes]) -> None:
    """From now on the disks of a machine ought to hold this."""
    for target, content in contents.items():
        guest.disks[target].content[:] = content


@pytest.mark.parametrize("life", range(LIVES))
def test_replica_takes_over_and_gives_back_whatever_is_killed(
    tmp_path: Path, hosts: tuple[Host, Host], life: int
) -> None:
    walk = Life(tmp_path, hosts, life, "web")
    house = walk.house
    [pair] = house.pairs
    try:
        with house.watch():
            house.begin()
            walk.replicate()
            # What the machine still writes is lost with it.
            house.change(pair.guest)
            walk.go(pair, "failover")
            house.change(pair.stand_in)
            walk.go(pair, "undo-failover")
            house.on(pair.guest)
            house.change(pair.guest)
            walk.go(pair, "planned-failover")
            house.change(pair.stand_in)
            walk.go(pair, "failback")
            # What it writes now is lost by going back to the replica.
            house.change(pair.guest)
            walk.go(pair, "undo-failback")
            house.change(pair.stand_in)
            walk.go(pair, "failback", killed=False)
            walk.go(pair, "commit-failback")
            walk.replicate(killed=False)
    finally:
        house.holdfast.kill()
    print(f"{house.cut_short} of {house.kills} kills cut something short")
    print(f"{house.restored} contents compared")


@pytest.mark.parametrize("life", range(LIVES))
def test_plan_and_what_is_for_good_whatever_is_killed(
    tmp_path: Path, hosts: tuple[Host, Host], life: int
) -> None:
    walk = Life(tmp_path, hosts, life, "db", "web")
    house = walk.house
    try:
        with house.watch():
            house.begin()
            plan = house.create_plan()
            for pair in house.pairs:
                house.off(pair.guest)
            shown = walk.act_on_plan(plan, "start", killed=True)
            if shown["outcome"] != "2 of 2 machines have taken over.":
                shown = walk.act_on_plan(plan, "start", killed=False)
            assert shown["outcome"] == "2 of 2 machines have taken over."
            assert all(machine["started"] for machine in shown["machines"])
            shown = walk.act_on_plan(plan, "undo", killed=True)
            if any(machine["started"] for machine in shown["machines"]):
                shown = walk.act_on_plan(plan, "undo", killed=False)
            assert not any(machine["started"] for machine in shown["machines"])
            assert [house.settled(pair) for pair in house.pairs] == ["Ready", "Ready"]
            house.act_on_plan(plan, "start", "")
            for pair in house.pairs:
                assert house.settled(pair) == "Failover"
                walk.arrived(pair, "failover", "Failover")
                house.change(pair.stand_in)
                walk.go(pair, "permanent-failover")
                assert "urn:holdfast" not in pair.stand_in.domain.XMLDesc(0)
            assert not house.holdfast.entities("VmReplicaPoint")
    finally:
        house.holdfast.kill()
    print(f"{house.cut_short} of {house.kills} kills cut something short")
    print(f"{house.restored} contents compared")
