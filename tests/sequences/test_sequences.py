"""Chains of restore points live through random sequences, and every point stays what it was.

A sequence is made of backups (full and incremental), deletions, merges, restores, files that are
lost, and crashes of the server or of the programs it runs, at moments chosen at random.
Of three processes, the points of one are encrypted.

``HOLDFAST_SEQUENCES`` says how many (300), shared out over several processes. The seed is printed;
``HOLDFAST_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from .drive import AT_ONCE

SEQUENCES = int(os.environ.get("HOLDFAST_SEQUENCES", "300"))
SEED = os.environ.get("HOLDFAST_SEED")
_TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("first", range(0, SEQUENCES, AT_ONCE))
def test_every_point_stays_what_it_was_through_random_sequences(tmp_path: Path, first: int) -> None:
    seed = SEED or f"{random.SystemRandom().randrange(1 << 32)}"
    count = min(AT_ONCE, SEQUENCES - first)
    print(f"HOLDFAST_SEED={seed}, sequences {first} to {first + count - 1}")
    paths = [str(_TESTS), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "sequences.drive", seed, str(first), str(count), tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )
    print(done.stdout[-20_000:], done.stderr[-20_000:], sep="\n")
    assert done.returncode == 0
