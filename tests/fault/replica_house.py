"""A Holdfast with two hosts, machines on one and their replicas on the other; any of it dies.

What each machine, each replica and each point ought to hold is kept here and compared again and
again. A watch sees to it that no machine ever runs beside its replica.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt
from sqlalchemy import Connection, create_engine, select

from engine.lab import MIB, wait_until
from engine.vm.lab import Guest, Host, VirtualDisk, pid_of
from fault.holdfast_process import HoldfastProcess
from holdfast.server import replicas, tables
from holdfast.server.database import sqlite_url
from holdfast.server.failover_record import record_of
from server.replica_lab import read_disk
from server.vm.lab import disks_of

DISK_SIZE = 4 * MIB
RETENTION = 2
#: Seconds that anything may take which is waited for.
LIMIT = 90.0
STUCK = "Power the machine off, restart the daemon"
#: How often in a row libvirt 9 may fail by itself after a kill, with what that leaves.
FAULTS_IN_A_ROW = 3
FAILED_OVER = ("Failover", "Failback", "PermanentFailover")

Contents = dict[str, bytes]


def is_running(host: Host, name: str) -> int | None:
    """Return the process id of a machine's QEMU if there is one that lives, without libvirt."""
    with suppress(OSError, ValueError):
        pid = pid_of(host, name)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state not in ("Z", "X"):
            return pid
    return None


@dataclass
class Pair:
    """A machine, its replica, and what each point of that ought to hold."""

    guest: Guest
    stand_in: Guest
    uid: str = ""
    points: dict[str, Contents] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/holdfast/v1/replicas/{self.uid}"

    def both_run(self) -> bool:
        first = is_running(self.guest.host, self.guest.name)
        second = is_running(self.stand_in.host, self.stand_in.name)
        again = is_running(self.guest.host, self.guest.name)
        return first is not None and second is not None and first == again


class House:
    """Holdfast, the two hosts, the pairs of machines, and a job that replicates them."""

    def __init__(
        self, folder: Path, source: Host, target: Host, chance: random.Random, names: Sequence[str]
    ) -> None:
        self.folder, self.source, self.target, self.chance = folder, source, target, chance
        self.holdfast = HoldfastProcess(folder / "data", folder / "log.txt")
        self.datastore = folder / "datastore"
        self.restored = 0
        self.cut_short = 0
        self.kills = 0
        self._usual: dict[str, float] = {}
        self._beside: list[str] = []
        disks = folder / "disks"
        disks.mkdir()
        connections = [libvirt.open(host.uri) for host in (source, target)]
        self.pairs = []
        for name in names:
            guest = Guest(source, name, disks, connections[0])
            stand_in = Guest(target, f"{name}_replica", disks, connections[1])
            for disk in ("vda", "vdb"):
                guest.add_disk(disk, size=DISK_SIZE)
                layer = VirtualDisk(disk, Path("a layer"), "qcow2", bytearray(DISK_SIZE))
                stand_in.disks[disk] = layer
            guest.define()
            guest.start()
            self.pairs.append(Pair(guest, stand_in))
        self.job = ""

    def begin(self) -> None:
        """Start Holdfast, tell it of the hosts, replicate each machine for the first time."""
        self.holdfast.start()
        for name, host in (("source", self.source), ("target", self.target)):
            task = self.holdfast.act("/holdfast/v1/hosts", {"uri": host.uri, "name": name})
            self.holdfast.finished(task)
        known = self.holdfast.client.get("/holdfast/v1/hosts").json()["hosts"]
        hosts = {host["name"]: host for host in known}
        self.job = self.holdfast.create_job(
            {
                "name": "Replication",
                "kind": "Replica",
                "retention": RETENTION,
                "objects": [{"reference": hosts["source"]["reference"]}],
                "target": {"host": hosts["target"]["uid"], "folder": str(self.datastore)},
            }
        )
        for pair in self.pairs:
            self.change(pair.guest)
        self.replicate()
        found = self.holdfast.client.get("/holdfast/v1/replicas").json()["replicas"]
        uids = {each["name"]: each["uid"].rpartition(":")[2] for each in found}
        for pair in self.pairs:
            pair.uid = uids[pair.stand_in.name]
        self.check_points()

    # What goes on in the machines.

    def change(self, guest: Guest) -> None:
        """Write here and there on each disk, as the guest would."""
        with suppress(libvirt.libvirtError):
            guest.domain.suspend()
        for target, disk in guest.disks.items():
            for _ in range(2):
                length = self.chance.choice([4096, 70_144, 1 << 19])
                offset = self.chance.randrange(0, len(disk.content) - length, 512)
                guest.write(target, offset, length, self.chance.randrange(1, 256))

    def on(self, guest: Guest) -> None:
        """Power a machine on, unless it is; what runs in it stands still."""
        if guest.domain.isActive():
            with suppress(libvirt.libvirtError):
                guest.domain.suspend()
        else:
            guest.start()

    def off(self, guest: Guest) -> None:
        if guest.domain.isActive():
            guest.power_off()

    # What is asked of Holdfast.

    def replicate(self) -> None:
        """Replicate to the end, which must be good."""
        session = self._mended(self._of_job)
        assert session["Result"] in ("Success", "Warning"), self._told(session)

    def _mended(self, done: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Have something done until libvirt 9 is not what failed; return the last session."""
        session = done()
        # A daemon that crashed may leave a machine that allows no backup, which is seen next.
        for _ in range(FAULTS_IN_A_ROW):
            if session["Result"] != "Failed" or not self._mend(session["FailureMessage"]):
                break
            session = done()
        return session

    def _mend(self, message: str) -> bool:
        """Do what a person would where libvirt 9 itself is what failed; say whether it was."""
        mended = False
        for host in (self.source, self.target):
            if host.process.poll() is not None:
                # It crashes now and then when it had been killed in the middle.
                print(f"libvirtd ended by itself: {host.process.returncode}")
                self.start_daemon(host)
                mended = True
        for guest in [each for pair in self.pairs for each in (pair.guest, pair.stand_in)]:
            if STUCK in message and guest.domain.UUIDString() in message:
                self.off(guest)
                guest.host.kill()
                self.start_daemon(guest.host)
                self.on(guest)
                mended = True
        return mended

    def _told(self, session: dict[str, Any]) -> str:
        tasks = self.holdfast.entities("ReplicaTaskSession")
        return f"{session['FailureMessage']} {[task.get('Reason') for task in tasks][-4:]}"

    def _started_job(self) -> str:
        return self.holdfast.related(
            self.holdfast.finished(self.holdfast.act(f"/jobs/{self.job}?action=start"))
        )

    def _of_job(self) -> dict[str, Any]:
        begun = time.monotonic()
        session = self.holdfast.ended(self._started_job(), "replicaSessions")
        self._usual["replicate"] = time.monotonic() - begun
        return session

    def killed_replication(self, victim: str) -> None:
        """Kill something while the job runs; wait for its end."""
        session = self._started_job()
        self._kill_within("replicate", victim, self.pairs[0])
        ended = self.holdfast.ended(session, "replicaSessions")
        self.cut_short += ended["Result"] == "Failed"
        for pair in self.pairs:
            self.settled(pair)

    def do(self, pair: Pair, operation: str) -> None:
        """Have an operation done to its end, which must be good."""
        session = self._mended(lambda: self._done(pair, operation))
        assert session["Result"] in ("Success", "Warning"), session["FailureMessage"]

    def _done(self, pair: Pair, operation: str) -> dict[str, Any]:
        begun = time.monotonic()
        session = self.holdfast.ended(self._asked(pair, operation), "restoreSessions")
        self._usual[operation] = time.monotonic() - begun
        return session

    def _asked(self, pair: Pair, operation: str) -> str:
        # By force, the replica would be started although the source's host does not answer.
        force = operation != "undo-failback"
        body = {"seconds": 1, "force": force}
        task = self.holdfast.act(f"{pair.path}?action={operation}", body)
        return self.holdfast.related(self.holdfast.finished(task))

    def killed(self, pair: Pair, operation: str, victim: str) -> str:
        """Kill something while an operation is under way; return the state when all is settled."""
        session = self._asked(pair, operation)
        self._kill_within(operation, victim, pair)
        ended = self.holdfast.ended(session, "restoreSessions")
        self.cut_short += ended["Result"] == "Failed"
        print(ended["Result"], ended["FailureMessage"])
        return self.settled(pair)

    def create_plan(self) -> str:
        """Make a failover plan of all pairs; return its path."""
        body = {"name": "All", "machines": [{"replica": pair.uid} for pair in self.pairs]}
        self.holdfast.finished(self.holdfast.act("/holdfast/v1/failoverPlans", body))
        answer = self.holdfast.client.get("/holdfast/v1/failoverPlans")
        [plan] = answer.json()["failover_plans"]
        return f"/failoverPlans/{plan['uid'].rpartition(':')[2]}"

    def act_on_plan(self, plan: str, action: str, victim: str) -> dict[str, Any]:
        """Start or undo a plan, and kill something meanwhile; return how it stands in the end."""
        begun = time.monotonic()
        body: dict[str, object] | None = {"StartNow": True} if action == "start" else None
        task = self.holdfast.act(f"{plan}?action={action}", body)

        def is_done() -> bool:
            return not self.holdfast.client.get(f"/holdfast/v1{plan}").json()["doing"]

        def is_begun() -> bool:
            asked = self.holdfast.client.get(f"/tasks/{task['TaskId']}").json()
            return asked["State"] == "Finished" or not is_done()

        # The task lasts as long as the plan.
        wait_until(is_begun, seconds=LIMIT)
        if victim:
            self._kill_within(action, victim, self.chance.choice(self.pairs))
        wait_until(is_done, seconds=LIMIT)
        if not victim:
            self._usual[action] = time.monotonic() - begun
        shown = self.holdfast.client.get(f"/holdfast/v1{plan}").json()
        print(f"{action}: {shown['outcome']}")
        self.cut_short += bool(victim) and not shown["outcome"].startswith("2 of 2")
        assert isinstance(shown, dict)
        return shown

    def state(self, pair: Pair) -> dict[str, Any]:
        """Return what is shown of a replica; one that is in use for good is none any more."""
        answer = self.holdfast.client.get(pair.path)
        if answer.status_code == 404:
            row = self._read(lambda c: replicas.find_replica(c, UUID(pair.uid)))
            return {"state": row.state, "doing": record_of(row).doing}
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert isinstance(shown, dict)
        return shown

    def settled(self, pair: Pair) -> str:
        """Wait until nothing is under way with a replica; return its state."""

        def at_rest() -> bool:
            shown = self.state(pair)
            return not shown["doing"] and shown["state"] != "Processing"

        wait_until(at_rest, seconds=LIMIT)
        return str(self.state(pair)["state"])

    # What dies.

    def _kill_within(self, what: str, victim: str, pair: Pair) -> None:
        delay = self.chance.random() * self._usual.get(what, 1.0)
        print(f"{what}: {victim} is killed after {delay:.3f} s")
        time.sleep(delay)
        self.kill(victim, pair)

    def kill(self, victim: str, pair: Pair) -> None:
        """Kill something; start it again, but for a machine."""
        self.kills += 1
        guests = {"source's QEMU": pair.guest, "replica's QEMU": pair.stand_in}
        if victim in guests:
            if self._kill_machine(guests[victim]):
                return
            # There is none at the moment.
            victim = victim.replace("QEMU", "libvirtd")
        if victim == "Holdfast":
            self.holdfast.kill()
            self.holdfast.start()
            return
        host = self.source if victim == "source's libvirtd" else self.target
        host.kill()
        time.sleep(self.chance.random() * 0.3)
        self.start_daemon(host)

    @staticmethod
    def _kill_machine(guest: Guest) -> bool:
        """Kill a machine's QEMU and wait until its host knows; say whether there was one."""
        pid = is_running(guest.host, guest.name)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

        def is_known() -> bool:
            another = is_running(guest.host, guest.name)
            return another not in (None, pid) or not guest.domain.isActive()

        wait_until(is_known, seconds=LIMIT)
        return True

    def start_daemon(self, host: Host) -> None:
        host.start()
        connection = libvirt.open(host.uri)
        for pair in self.pairs:
            for guest in (pair.guest, pair.stand_in):
                if guest.host is host:
                    guest.connection = connection

    @contextmanager
    def watch(self) -> Iterator[None]:
        """For the time of a block, see to it that no machine runs beside its replica."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.02):
                self._beside.extend(pair.guest.name for pair in self.pairs if pair.both_run())

        watching = threading.Thread(target=look)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()
        self.check_alone()

    def check_alone(self) -> None:
        """No machine has run beside its replica since the watch began."""
        assert not self._beside, f"machine and replica ran both: {sorted(set(self._beside))}"

    # What must be so.

    def check_points(self) -> None:
        """Every point holds what the machine did, each file is a point's, none is half made.

        New points are those of the machines as they are now.
        """
        for pair in self.pairs:
            found = self._read(lambda c, pair=pair: self._points(c, pair))
            before = list(pair.points)
            kept = [uid for uid in found if uid in pair.points]
            assert kept == before[len(before) - len(kept) :], "good points were lost"
            assert len(found) >= min(RETENTION, len(before))
            for uid, files in found.items():
                scratch = self.folder / "raw"
                held = {disk: read_disk(path, scratch) for disk, path in files.items()}
                wanted = pair.points.setdefault(uid, pair.guest.contents())
                assert held == wanted, f"point {uid} of {pair.guest.name} is wrong"
                self.restored += 1
            pair.points = {uid: pair.points[uid] for uid in found}
        self._check_nothing_half_made()

    @staticmethod
    def _points(connection: Connection, pair: Pair) -> dict[str, dict[str, Path]]:
        found = {}
        for row in replicas.points_of(connection, UUID(pair.uid)):
            point = replicas.replica_point(connection, row.uid)
            found[str(row.uid)] = {
                disk.state.target: point.folder / disk.file.name for disk in point.known.disks
            }
        return found

    def _check_nothing_half_made(self) -> None:
        give_up_at = time.monotonic() + LIMIT
        while left := self._half_made():
            assert time.monotonic() < give_up_at, left
            time.sleep(0.1)

    def _half_made(self) -> list[str]:
        """Return what lies about and belongs to no point, and no replica that is in use."""

        def known(connection: Connection) -> tuple[set[str], list[str]]:
            rows = connection.execute(select(tables.backup_file.c.path))
            intents = connection.execute(select(tables.intent)).all()
            return {str(self.datastore / row.path) for row in rows}, [str(row) for row in intents]

        files, left = self._read(known)
        for pair in self.pairs:
            state = self.state(pair)["state"]
            if state in FAILED_OVER:
                layers = disks_of(pair.stand_in.domain)
                assert layers.keys() == pair.stand_in.disks.keys()
                files |= {str(layer) for layer in layers.values()}
        there = {str(path) for path in self.datastore.rglob("*") if path.is_file()}
        images = {path for path in there if path.endswith(".qcow2")}
        strange = {path for path in there if re.search(r"\.partial|\.tmp", Path(path).name)}
        keys = (self.holdfast.data / "server/transfers").glob("*")
        return [*left, *(images ^ files), *strange, *map(str, keys)]

    def check_source(self, pair: Pair) -> None:
        """After a replication, a machine has what the next one needs, and nothing else."""
        pair.guest.ensure_untouched()
        checkpoints = pair.guest.checkpoints()
        assert 1 <= len(checkpoints) <= 2, checkpoints
        assert all(name.startswith("holdfast.") for name in checkpoints)
        if not pair.guest.domain.isActive():
            return
        for bitmaps in pair.guest.bitmaps_in_use().values():
            assert checkpoints[-1] in bitmaps
            assert bitmaps <= set(checkpoints)
        assert pair.guest.ask_qemu("query-block-jobs") == []
        files = {node["file"] for node in pair.guest.ask_qemu("query-named-block-nodes")}
        assert files == {str(disk.path) for disk in pair.guest.disks.values()}

    def check_held(self, guest: Guest, paths: dict[str, Path]) -> None:
        """The disks of a machine hold what they ought to."""
        held = {disk: read_disk(path, self.folder / "raw") for disk, path in paths.items()}
        assert held == guest.contents(), f"the disks of {guest.name} are wrong"
        self.restored += 1

    def _read(self, look: Callable[[Connection], Any]) -> Any:
        """Look into the server's own database, as it is now."""
        engine = create_engine(sqlite_url(self.holdfast.data / "server/server.sqlite"))
        try:
            with engine.connect() as connection:
                return look(connection)
        finally:
            engine.dispose()
