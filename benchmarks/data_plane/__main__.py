"""Compare backups and restores of a machine, in rounds, and print a table.

    make benchmark BENCHMARK_ARGS='--size 1024 --data 384 --rounds 3'

All is done in one scratch folder and over local sockets. Each contender has its turn in each round;
the median of the rounds is shown, and its ratio to the bare engine; then the same of the time that
processors worked for it, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import libvirt

from benchmarks.data_plane.contenders import (
    Bare,
    BarePush,
    Contender,
    Copy,
    Holdfast,
    HoldfastUncompressed,
    VirtNbdBackup,
    VirtNbdBackupUncompressed,
)
from benchmarks.data_plane.machine import (
    MIB,
    TICK,
    Machine,
    read_by_us,
    worked_by,
    write_disk,
)
from benchmarks.data_plane.product import Product
from engine.vm.lab import Host, libvirt_daemon

T = TypeVar("T")
STEPS = ("full", "increment", "restore")
CHANGED = 0.01


class Benchmark:
    """The times, in seconds, of each contender's steps, and what else was measured."""

    def __init__(self, host: Host, base: Path, data: int, with_peer: bool) -> None:
        self._host, self._base, self._data, self._with_peer = host, base, data, with_peer
        self.times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.work: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.notes: list[str] = []

    def round(self, folder: Path) -> None:
        """Let each contender do a full, an increment and a restore, in an empty folder."""
        kinds: list[Callable[[Machine, Path], Contender]] = [Copy, Bare, Holdfast, Product]
        kinds += [BarePush, HoldfastUncompressed]
        if self._with_peer:
            kinds += [VirtNbdBackup, VirtNbdBackupUncompressed]
        turns: list[tuple[Contender, Machine]] = []
        try:
            for kind in kinds:
                place = folder / kind.__name__
                place.mkdir(parents=True)
                # Of another name in each round: the daemon may not have let go of the last one yet.
                name = f"{kind.__name__}-{folder.name}"
                machine = Machine.make(self._host, name, self._base, self._data)
                turns.append((kind(machine, place), machine))
            idle = self._memory(turns, "VmRSS")
            for contender, machine in turns:
                self._timed(contender, machine, "full", contender.full)
            for contender, machine in turns:
                changed = machine.change(CHANGED)
                by_qemu, by_us = machine.read_by_qemu(), read_by_us()
                self._timed(contender, machine, "increment", contender.increment)
                if type(contender) is Holdfast:
                    by_qemu, by_us = machine.read_by_qemu() - by_qemu, read_by_us() - by_us
                    self.notes.append(
                        f"Of {changed / MIB:.1f} MiB that had changed, QEMU read "
                        f"{by_qemu / MIB:.1f} MiB, and Holdfast with its programs "
                        f"{by_us / MIB:.1f} MiB: what QEMU had copied, and their own code."
                    )
            peak = self._memory(turns, "VmHWM")
            self.notes.append(
                f"`holdfast up` had {idle / MIB:.0f} MiB of memory before its first job, and "
                f"{peak / MIB:.0f} MiB at the most, not counting the programs that it runs."
            )
            self._restores(turns, folder / "restored")
        finally:
            for contender, machine in turns:
                if isinstance(contender, Product):
                    contender.holdfast.kill()
                machine.discard()
            shutil.rmtree(folder, ignore_errors=True)

    def _timed(self, contender: Contender, machine: Machine, step: str, work: Callable[[], T]) -> T:
        os.sync()
        _fetch_memory(8 * self._data)
        worked, begun = _work_of(contender, machine), time.perf_counter()
        result = work()
        self.times[contender.name][step].append(time.perf_counter() - begun)
        self.work[contender.name][step].append(_work_of(contender, machine) - worked)
        return result

    def _restores(self, turns: list[tuple[Contender, Machine]], target: Path) -> None:
        digests = set()
        for contender, machine in turns:
            target.mkdir()
            restore = partial(contender.restore, target)
            restored = self._timed(contender, machine, "restore", restore)
            if not isinstance(contender, Copy):
                digests.add(digest_of(restored))
            shutil.rmtree(target)
        if len(digests) != 1:
            raise SystemExit("What was restored differs: the figures are worth nothing.")

    @staticmethod
    def _memory(turns: list[tuple[Contender, Machine]], what: str) -> int:
        [memory] = [each.memory(what) for each, _ in turns if isinstance(each, Product)]
        return memory

    @staticmethod
    def table(times: dict[str, dict[str, list[float]]]) -> str:
        """Return a table in Markdown: seconds, and how many times as fast as the bare engine."""
        lines = ["| | full | 1 % changed | restore |", "|---|---|---|---|"]
        for name, steps in times.items():
            cells = []
            # Each is beside the bare engine that does the same.
            bare_name = BarePush.name if name.endswith("not compressed") else Bare.name
            for step in STEPS:
                seconds = statistics.median(steps[step])
                pairs = zip(times[bare_name][step], steps[step], strict=True)
                # What is less than the clock of a process tells counts as one tick of it.
                ratio = statistics.median(max(bare, TICK) / max(own, TICK) for bare, own in pairs)
                cells.append(f"{seconds:.2f} s ({ratio:.2f})")
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join(lines)


def _fetch_memory(size: int) -> None:
    """Have so many bytes of free memory at hand, or half of what there is.

    What is free a hypervisor may have taken back, to give it when it is used: who comes first pays
    for that with a second for each GiB. Several times what is needed, since which free memory is
    used first is the kernel's choice.
    """
    half = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, min(size, half), flags=flags).close()


def _work_of(contender: Contender, machine: Machine) -> float:
    """Return the seconds that processors have worked for what is going on, QEMU's included."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = time.process_time() + children.ru_utime + children.ru_stime
    pids = [machine.guest.pid]
    if isinstance(contender, Product):
        pids.append(contender.holdfast.pid)
    return worked + sum(map(worked_by, pids))


def digest_of(disk: Path) -> str:
    """Return the SHA-256 of what a raw or qcow2 file holds."""
    raw = disk
    if disk.suffix != ".raw":
        raw = disk.with_suffix(".raw")
        # What has written it may not have let go of it yet.
        convert = ["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", disk, raw]
        time.sleep(2)
        subprocess.run(convert, check=True)
    with raw.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_plane", description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="of the disk, in MiB (512)")
    parser.add_argument("--data", type=int, default=256, help="that it holds, in MiB (256)")
    parser.add_argument("--rounds", type=int, default=3, help="how many (3)")
    parser.add_argument("--folder", type=Path, help="where to work; about six times the data")
    parser.add_argument(
        "--virtnbdbackup",
        action=argparse.BooleanOptionalAction,
        default=VirtNbdBackup.installed(),
        help="whether it takes part (when it is installed)",
    )
    chosen = parser.parse_args()
    if not 1 <= chosen.data <= chosen.size or chosen.rounds < 1:
        parser.error("--data must be between 1 and --size, --rounds at least 1")
    if chosen.virtnbdbackup and not VirtNbdBackup.installed():
        parser.error("--virtnbdbackup: it is not installed")
    with tempfile.TemporaryDirectory(prefix="hf-", dir=chosen.folder) as scratch:
        sizes = chosen.size * MIB, chosen.data * MIB
        print(run(Path(scratch), *sizes, chosen.rounds, chosen.virtnbdbackup))


def run(folder: Path, size: int, data: int, rounds: int, with_peer: bool) -> str:
    """Return what to print after so many rounds; sizes in bytes."""
    with libvirt_daemon() as host:
        # Its errors come as exceptions; without this they are printed as well.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        base = folder / "base.qcow2"
        write_disk(base, size, data)
        benchmark = Benchmark(host, base, data, with_peer)
        for number in range(rounds):
            benchmark.round(folder / f"round-{number}")
    lines = [f"{size // MIB} MiB disk, {data // MIB} MiB of data, {os.cpu_count()} processors;"]
    lines += ["seconds, and in brackets how many times as fast as the bare engine.", ""]
    lines += [benchmark.table(benchmark.times), "", "The time that processors worked:", ""]
    lines += [benchmark.table(benchmark.work), "", *dict.fromkeys(benchmark.notes)]
    if not with_peer:
        lines.append("virtnbdbackup did not take part.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
