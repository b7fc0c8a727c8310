"""The tour of the README, run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from .conftest import StartHoldfast
from .holdfast_process import environment

README = Path(__file__).parents[2] / "README.md"
PRINTED_ADDRESS = "https://127.0.0.1:9398/api"
PRINTED_DIRECTORY = "/home/you/holdfast"
END_OF_BLOCK = "---- end of block ----"

#: What differs from run to run, and the word it is compared as.
CHANGING = (
    (r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "UID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r"\d+\.\d MB", "SIZE"),
    (r"─+", "─"),
    (r" +", " "),
)


def blocks(language: str) -> list[str]:
    tour = README.read_text().partition("## A tour")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", tour, re.DOTALL)


def comparable(output: str, directory: str) -> str:
    output = output.replace(directory, PRINTED_DIRECTORY).strip()
    for pattern, word in CHANGING:
        output = re.sub(pattern, word, output)
    return "\n".join(line.strip() for line in output.splitlines())


def test_tour_works_and_prints_what_it_says(start: StartHoldfast, tmp_path: Path) -> None:
    running = start(data=tmp_path / "var")
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    script = f"\necho '{END_OF_BLOCK}'\n".join(["set -euo pipefail", *blocks("bash")])
    done = subprocess.run(
        ["bash", "-c", script.replace(PRINTED_ADDRESS, running.ready["https"])],
        cwd=tmp_path,
        env=environment(),
        input=f"{running.ready['password']}\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = [output for output in done.stdout.split(END_OF_BLOCK) if output.strip()]
    printed = blocks("text")
    assert len(outputs) == len(printed)
    for output, expected in zip(outputs, printed, strict=True):
        assert comparable(output, str(tmp_path)) == comparable(expected, str(tmp_path))
