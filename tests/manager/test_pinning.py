"""Trust by fingerprint: how it is written, and what else is let through (nothing)."""

from __future__ import annotations

import socket
import ssl

import pytest

from holdfast.manager.pinning import WrongCertificate, fingerprint_of, pinned_context


def test_fingerprints_are_read_as_people_write_them() -> None:
    assert fingerprint_of("ab:" * 19 + "Ab") == "AB" * 20
    assert fingerprint_of(" " + "12 " * 32) == "12" * 32


@pytest.mark.parametrize("wrong", ["", "AB", "A" * 41, "G" * 40, "A" * 63, "é" * 40])
def test_anything_else_is_no_fingerprint(wrong: str) -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        fingerprint_of(wrong)


def test_a_way_round_the_check_does_not_work() -> None:
    context = pinned_context("AB" * 32)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(WrongCertificate):
        context.wrap_socket(ours, server_hostname="x", do_handshake_on_connect=False)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
