"""Compare backups and restores of a machine, in rounds, and print a table.

    make benchmark BENCHMARK_ARGS='--size 2048 --data 768 --rounds 3'

All is done in one scratch folder and over local sockets. Each contender has its turn in each round;
the median of the rounds is shown, and its ratio to the bare engine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

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
from benchmarks.data_plane.machine import MIB, Machine, read_by_us, write_disk
from benchmarks.data_plane.product import Product
from engine.vm.lab import Host, libvirt_daemon

STEPS = ("full", "increment", "restore")
CHANGED = 0.01


class Benchmark:
    """The times, in seconds, of each contender's steps, and what else was measured."""

    def __init__(self, host: Host, base: Path, data: int) -> None:
        self._host, self._base, self._data = host, base, data
        self.times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.notes: list[str] = []

    def round(self, folder: Path) -> None:
        """Let each contender do a full, an increment and a restore, in an empty folder."""
        kinds: list[Callable[[Machine, Path], Contender]] = [Copy, Bare, Holdfast, Product]
        kinds += [BarePush, HoldfastUncompressed]
        if VirtNbdBackup.installed():
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
            for contender, _ in turns:
                self._timed(contender.name, "full", contender.full)
            for contender, machine in turns:
                changed = machine.change(CHANGED)
                by_qemu, by_us = machine.read_by_qemu(), read_by_us()
                self._timed(contender.name, "increment", contender.increment)
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
            self._restores([contender for contender, _ in turns], folder / "restored")
        finally:
            for contender, machine in turns:
                if isinstance(contender, Product):
                    contender.holdfast.kill()
                machine.discard()
            shutil.rmtree(folder, ignore_errors=True)

    def _timed(self, name: str, step: str, work: Callable[[], object]) -> None:
        os.sync()
        begun = time.perf_counter()
        work()
        self.times[name][step].append(time.perf_counter() - begun)

    def _restores(self, contenders: list[Contender], target: Path) -> None:
        digests = set()
        for contender in contenders:
            target.mkdir()
            begun = time.perf_counter()
            restored = contender.restore(target)
            self.times[contender.name]["restore"].append(time.perf_counter() - begun)
            if not isinstance(contender, Copy):
                digests.add(digest_of(restored))
            shutil.rmtree(target)
        if len(digests) != 1:
            raise SystemExit("What was restored differs: the figures are worth nothing.")

    @staticmethod
    def _memory(turns: list[tuple[Contender, Machine]], what: str) -> int:
        [memory] = [each.memory(what) for each, _ in turns if isinstance(each, Product)]
        return memory

    def table(self) -> str:
        """Return a table in Markdown: seconds, and how many times as fast as the bare engine."""
        lines = ["| | full | 1 % changed | restore |", "|---|---|---|---|"]
        for name, steps in self.times.items():
            cells = []
            # Each is beside the bare engine that does the same.
            bare_name = BarePush.name if name.endswith("not compressed") else Bare.name
            for step in STEPS:
                seconds = statistics.median(steps[step])
                pairs = zip(self.times[bare_name][step], steps[step], strict=True)
                ratio = statistics.median(bare / own for bare, own in pairs)
                cells.append(f"{seconds:.2f} s ({ratio:.2f})")
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join(lines)


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
    parser.add_argument("--size", type=int, default=2048, help="of the disk, in MiB (2048)")
    parser.add_argument("--data", type=int, default=768, help="that it holds, in MiB (768)")
    parser.add_argument("--rounds", type=int, default=3, help="how many (3)")
    parser.add_argument("--folder", type=Path, help="where to work; about six times the data")
    chosen = parser.parse_args()
    if not 1 <= chosen.data <= chosen.size or chosen.rounds < 1:
        parser.error("--data must be between 1 and --size, --rounds at least 1")
    with tempfile.TemporaryDirectory(prefix="hf-", dir=chosen.folder) as scratch:
        print(run(Path(scratch), chosen.size * MIB, chosen.data * MIB, chosen.rounds))


def run(folder: Path, size: int, data: int, rounds: int) -> str:
    """Return what to print after so many rounds; sizes in bytes."""
    with libvirt_daemon() as host:
        # Its errors come as exceptions; without this they are printed as well.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        base = folder / "base.qcow2"
        write_disk(base, size, data)
        benchmark = Benchmark(host, base, data)
        for number in range(rounds):
            benchmark.round(folder / f"round-{number}")
    lines = [f"{size // MIB} MiB disk, {data // MIB} MiB of data, {os.cpu_count()} processors;"]
    lines += ["seconds, and in brackets how many times as fast as the bare engine.", ""]
    lines += [benchmark.table(), "", *dict.fromkeys(benchmark.notes)]
    if not VirtNbdBackup.installed():
        lines.append("virtnbdbackup is not installed, so it was left out.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
