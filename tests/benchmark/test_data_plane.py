"""The benchmark of the data plane runs and compares what it says; its figures are not looked at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.vm

_ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_measures_each_step_of_each_contender(tmp_path: Path) -> None:
    paths = [str(_ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    arguments = ["--size", "64", "--data", "16", "--rounds", "1", "--folder", str(tmp_path)]
    # The slowest contender, whether it is installed or not.
    arguments.append("--no-virtnbdbackup")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.data_plane", *arguments],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\w[^|]*) \|((?: \d+\.\d\d s \(\d+\.\d\d\) \|){3})$", done.stdout, re.M)
    # Once for the time that passed, once for the time that processors worked.
    assert [name for name, _ in rows] == 2 * [
        "cp",
        "bare engine",
        "Holdfast",
        "Holdfast, a job",
        "bare engine, not compressed",
        "Holdfast, not compressed",
    ]
    assert "virtnbdbackup did not take part." in done.stdout
    # QEMU reads what changed, and some of its own tables, but never the whole disk.
    changed, read = re.search(r"Of ([\d.]+) MiB .* QEMU read ([\d.]+) MiB", done.stdout).groups()
    assert float(changed) <= float(read) < 4
    assert list(tmp_path.iterdir()) == []
