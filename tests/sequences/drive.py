"""Random sequences of what can happen to a chain, each step checked against the pure model.

    python -m sequences.drive SEED FIRST COUNT FOLDER

carries out COUNT sequences from number FIRST on. A server runs in a process of its own and is
killed now and then, or a program that it runs, or a session of it is stopped; see `life`. The model
is `holdfast.engine.chain`, and the bytes that the disk had when each point was made.
"""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from holdfast.engine import key_file
from holdfast.engine.chain import Chain, ChainPoint, RetentionStep, next_steps
from sequences.life import KILL, KILL_TOOL, STOP, Interruption, Life, Order, Report
from sequences.observed import PASSWORD, Observed, content_of
from server.lab import HandClock, running_lab

KIB = 1024
#: Whole clusters and a part of one; a chain begins anew with a full when the size changes.
SIZES = (512 * KIB, 1024 * KIB - 4 * KIB, 1024 * KIB)
#: How many steps a sequence has, at least and at most, and how many points it may begin with.
STEPS = (2, 4)
BEGINNINGS = 4
AT_ONCE = 50
_STEPS = {"run": 60, "restore": 12, "restart": 6, "lose": 8, "delete": 4}


@dataclass
class Sequence:
    """One sequence, on a server of its own."""

    folder: Path
    chance: random.Random
    life: Life = field(init=False)
    chain: Chain = field(default_factory=lambda: Chain([]))
    contents: dict[str, bytes] = field(default_factory=dict)
    disk: bytearray = field(default_factory=bytearray)
    lost: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    waits: dict[str, int] = field(
        default_factory=lambda: {"run": 150, "restore": 40, "delete": 60, "start": 60}
    )

    def carry_out(self) -> None:
        """Go through it from its beginning to its end."""
        self.start()
        try:
            for _ in range(self.chance.randint(*STEPS)):
                (what,) = self.chance.choices(list(_STEPS), list(_STEPS.values()))
                getattr(self, f"_{what}")(self._interruption(what))
        finally:
            self.life.end()
        self._check_end()

    def _check_end(self) -> None:
        """Whatever went before: what is not settled yet, is when a server starts."""
        if Observed.of(self.folder).journal:
            self.start()
            self.life.end()
        observed = Observed.of(self.folder)
        assert observed.chain.points == self.chain.points
        self._check_files(observed)
        self._check_contents()

    def _interruption(self, what: str) -> Interruption | None:
        kinds = {"run": [KILL, KILL, KILL_TOOL, STOP], "restore": [KILL, KILL_TOOL]}
        if what not in self.waits or self.chance.random() < 0.55:
            return None
        kind = self.chance.choice(kinds.get(what, [KILL]))
        linger = self.chance.choice([0, 0, self.chance.random() * 0.012])
        return Interruption(kind, self.chance.randint(1, self.waits[what]), linger)

    def _run(self, interruption: Interruption | None) -> None:
        self.run(interruption, self.chance.choice([1, 2, 2, 3, 3, 9]))

    def run(self, interruption: Interruption | None, keep: int) -> None:
        """Back the disk up, after some change to it, and keep so many points."""
        self._change()
        self._tell(f"run, keep {keep}", interruption)
        report = self._asked(Order("run", keep=keep, interruption=interruption))
        observed = Observed.of(self.folder)
        new = [point for point in observed.chain if point.uid not in self.contents]
        assert len(new) <= 1, new
        for point in new:
            self.contents[point.uid] = bytes(self.disk)
        allowed = list(self._outcomes(new, keep))
        if interruption is None:
            assert report is not None
            anew = self.chain.points and self._parent() is None
            assert report.result == ("Warning" if anew else "Success"), report
            assert new, "no point was made"
            allowed = allowed[-1:]
        chains = [chain.points for chain in allowed]
        assert observed.chain.points in chains, f"{observed.chain.points} is none of {chains}"
        was, self.chain = self.chain, observed.chain
        self.done["points"] += len(new)
        self.done["merges"] += observed.chain.points[:1] != was.points[:1] and bool(
            observed.chain.points and observed.chain.points[0].uid in was
        )
        if interruption is None:
            self._check_files(observed)
        elif report is None or self.chance.random() < 0.3:
            self._check_contents()

    def _outcomes(self, new: list[ChainPoint], keep: int) -> Iterator[Chain]:
        """Yield what the chain may be: as it was, with the new point, after steps of retention."""
        yield self.chain
        for point in new:
            chain = Chain([*self.chain, ChainPoint(point.uid, self._parent())])
            while True:
                yield chain
                if (step := self._step(chain, keep)) is None:
                    break
                chain = chain.after(step)

    def _step(self, chain: Chain, keep: int) -> RetentionStep | None:
        """Return the next step towards so many points that are not lost."""
        surplus: list[list[str]] = []
        good = 0
        for point in reversed(chain.points):
            if good >= keep:
                surplus.insert(0, [point.uid])
            good += point.uid not in self.lost
        return next(iter(next_steps(chain, surplus, self.lost)), None)

    def _parent(self) -> str | None:
        """Return the point that one of the disk as it is now is built on."""
        newest = {each.uid for each in self.chain.points[-1:]} - self.lost
        return next((uid for uid in newest if len(self.contents[uid]) == len(self.disk)), None)

    def _restore(self, interruption: Interruption | None) -> None:
        observed = Observed.of(self.folder)
        good = [uid for uid in observed.files if uid not in self.lost]
        if not good:
            return
        uid = self.chance.choice(good)
        self._tell("restore", interruption)
        target = self.folder / "restored"
        target.mkdir()
        order = Order(
            "restore",
            point=observed.files[uid].point,
            target=target / "disk.raw",
            interruption=interruption,
        )
        report = self._asked(order)
        names = [path.name for path in target.iterdir()]
        if report is not None and report.result == "Success":
            assert names == ["disk.raw"]
        elif report is not None:
            assert interruption is not None, report
            assert names == []
        if "disk.raw" in names:
            assert (target / "disk.raw").read_bytes() == self.contents[uid]
        shutil.rmtree(target)
        self.done["restores"] += 1
        assert Observed.of(self.folder).chain.points == observed.chain.points

    def _restart(self, _interruption: Interruption | None) -> None:
        self._tell("restart", None)
        self.life.end()
        self.start()
        self._check_files(Observed.of(self.folder))

    def _lose(self, _interruption: Interruption | None) -> None:
        """Somebody deletes a file while the server is down: what needs it is shown as damaged."""
        self.life.end()
        observed = Observed.of(self.folder)
        good = [uid for uid in observed.files if uid not in self.lost]
        if good and not observed.journal:
            uid = self.chance.choice(good)
            self._tell(f"lose {uid}", None)
            observed.files[uid].path.unlink()
            lost = self.chain.unrestorable_without(uid) - self.lost
            self.lost |= lost
            self.taken.add(uid)
            self.done["lost"] += len(lost)
        self.start()
        observed = Observed.of(self.folder)
        assert observed.chain.points == self.chain.points
        assert observed.damaged == self.lost & observed.files.keys()
        self._check_contents()

    def _delete(self, interruption: Interruption | None) -> None:
        """The time of the whole backup is over; the job goes on, with a new one."""
        self._tell("delete", interruption)
        if self._asked(Order("delete", interruption=interruption)) is None:
            self._asked(Order("delete"))
        self.chain = Chain([])
        observed = Observed.of(self.folder)
        assert observed.chain.points == ()
        self._check_files(observed)
        self.done["deletions"] += 1

    def _asked(self, order: Order) -> Report | None:
        """Return how it went, or None when the server died over it; then another one runs."""
        report = self.life.ask(order)
        if report is None:
            assert order.interruption is not None, "the server died by itself"
            assert order.interruption.kind == KILL
            self.done["crashes"] += 1
            self.start()
        elif order.interruption is None:
            self.waits[order.what] = report.waits
        else:
            self.done[order.interruption.kind] += report.result != "Success"
        return report

    def start(self) -> None:
        """Start a server; now and then it is killed before it has put everything right."""
        while self.chance.random() < 0.2:
            at = self.chance.randint(1, self.waits["start"])
            self._tell("start", Interruption(KILL, at))
            self.life = Life(self.folder, Interruption(KILL, at))
            if self.life.answer() is not None:
                return
            self.done["crashes"] += 1
        self.life = Life(self.folder)
        report = self.life.answer()
        assert report is not None
        self.waits["start"] = report.waits

    def _check_files(self, observed: Observed) -> None:
        observed.check_files(self.folder, self.taken)

    def _check_contents(self) -> None:
        """Every point that is there is the disk as it was, as qemu-img itself reads it."""
        observed = Observed.of(self.folder)
        for uid, file in observed.files.items():
            if uid in self.lost:
                continue
            content = content_of(file, self.folder / "content")
            assert content == self.contents[uid], f"{uid} holds something else"
            self.done["compared"] += 1

    def _change(self) -> None:
        """Write here and there, in part what does not compress, in part zeros; resize at times."""
        chance = self.chance
        if not self.disk or chance.random() < 0.12:
            size = chance.choice(SIZES)
            self.disk = self.disk[:size] + bytearray(max(size - len(self.disk), 0))
        for _ in range(chance.randint(0, 5)):
            length = chance.choice([512, 4 * KIB, 64 * KIB, 150 * KIB])
            start = chance.randrange(0, len(self.disk) - length + 1, 512)
            written = bytes(length) if chance.random() < 0.25 else chance.randbytes(length)
            self.disk[start : start + length] = written
        (self.folder / "sources" / "disk.raw").write_bytes(self.disk)

    def _tell(self, what: str, interruption: Interruption | None) -> None:
        self.told.append(what if interruption is None else f"{what}; {interruption}")


@dataclass(frozen=True)
class Beginning:
    """A server with a chain of some length, made once for all sequences that begin with it."""

    folder: Path
    sequence: Sequence

    def begin(self, place: Path, chance: random.Random) -> Sequence:
        """Return a sequence that goes on from here, at the place where this was made."""
        shutil.copytree(self.folder, place)
        made = self.sequence
        return replace(
            made,
            chance=chance,
            contents=dict(made.contents),
            disk=bytearray(made.disk),
            lost=set(),
            taken=set(),
            told=[f"begin with {len(made.chain)} points"],
            done=Counter(),
            waits=dict(made.waits),
        )


def _beginnings(
    folder: Path, place: Path, chance: random.Random, *, encrypted: bool
) -> list[Beginning]:
    place.mkdir()
    asyncio.run(_make_job(place, encrypted=encrypted))
    sequence = Sequence(place, chance)
    made = []
    for number in range(BEGINNINGS):
        if number:
            sequence.start()
            sequence.run(None, keep=BEGINNINGS)
            sequence.life.end()
        beginning = Beginning(folder / f"beginning {number}", replace(sequence))
        shutil.copytree(place, beginning.folder)
        made.append(beginning)
    shutil.rmtree(place)
    return made


async def _make_job(folder: Path, *, encrypted: bool) -> None:
    async with running_lab(folder, HandClock()) as lab:
        (folder / "sources" / "disk.raw").write_bytes(bytes(SIZES[0]))
        options = {}
        if encrypted:
            password = await lab.command("create-password", hint="", password=PASSWORD)
            assert password.made is not None
            options = {"encryption": str(password.made.uid)}
        await lab.create_job("disk.raw", options=options)


def main(seed: str, first: int, count: int, folder: Path) -> None:
    place = folder / "place"
    # Of three processes, the points of one are encrypted.
    encrypted = first // AT_ONCE % 3 == 1
    # Slowness against guessing is no matter here.
    key_file._N = 2**10
    beginnings = _beginnings(folder, place, random.Random(seed), encrypted=encrypted)
    # What is there by now is never looked at again: so no process need copy it.
    gc.freeze()
    done: Counter[str] = Counter()
    for number in range(first, first + count):
        chance = random.Random(f"{seed} {number}")
        sequence = chance.choice(beginnings).begin(place, chance)
        try:
            sequence.carry_out()
        except BaseException:
            print(f"Sequence {number} of the seed {seed}, in {place}:", *sequence.told, sep="\n  ")
            raise
        done += sequence.done
        shutil.rmtree(place)
    print(", ".join(f"{number} {what}" for what, number in sorted(done.items())))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
