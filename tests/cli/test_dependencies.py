"""Every dependency has a reason, written down."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_dependency_is_listed_with_its_reason_and_no_other_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    wanted = {*project["dependencies"], *optional["dev"], *optional["libvirt"]}
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0] for requirement in wanted}
    page = (ROOT / "docs" / "design" / "dependencies.md").read_text().partition("## Programs")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.{10,}) \|$", page, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(names)
    assert rows
