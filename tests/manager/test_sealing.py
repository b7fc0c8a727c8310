"""Sealed secrets: what opens them, and what does not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from holdfast.sealing import Seal, SealBroken


def test_a_secret_comes_back_and_no_two_seals_are_alike(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "secrets.key"
    seal = Seal(key)
    first, second = seal.close("ünlock", "a"), seal.close("ünlock", "a")
    assert first != second
    assert Seal(key).open(first, "a") == Seal(key).open(second, "a") == "ünlock"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in key.parent.iterdir()] == ["secrets.key"]


def test_another_purpose_key_or_text_opens_nothing(tmp_path: Path) -> None:
    seal = Seal(tmp_path / "one")
    sealed = seal.close("secret", "a")
    for opening, text, purpose in (
        (seal, sealed, "b"),
        (Seal(tmp_path / "two"), sealed, "a"),
        (seal, sealed[:-1], "a"),
        (seal, b"\x02" + sealed[1:], "a"),
        (seal, b"", "a"),
    ):
        with pytest.raises(SealBroken):
            opening.open(text, purpose)


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(SealBroken, match="must hold a key"):
        Seal(tmp_path / "key")
