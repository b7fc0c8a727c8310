"""Trust in a backup server's certificate: the one with the pinned fingerprint, and no other.

Names, dates and authorities say nothing here: a backup server's certificate is its own work, and
the fingerprint is what a person carried over from its console.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from collections.abc import Iterator
from typing import Any

_SEPARATORS = re.compile(r"[\s:-]")
_HASHES = {40: hashlib.sha1, 64: hashlib.sha256}


class WrongCertificate(ssl.SSLError):
    """The server showed another certificate than the pinned one."""


def fingerprint_of(written: str) -> str:
    """Given a SHA-256 or SHA-1 fingerprint as people write it, return its digits in capitals.

    ValueError for anything else.
    """
    digits = _SEPARATORS.sub("", written)
    if len(digits) not in _HASHES or not re.fullmatch(r"[0-9A-Fa-f]+", digits):
        raise ValueError("expected a SHA-256 (64 digits) or SHA-1 (40 digits) fingerprint")
    return digits.upper()


def pinned_context(fingerprint: str) -> ssl.SSLContext:
    """Given a fingerprint, return the TLS context that talks only to the certificate it is of.

    The check is part of the handshake: nothing is sent, no token above all, before it has passed.
    """
    expected = fingerprint_of(fingerprint)

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            _expect(self.getpeercert(binary_form=True), expected)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    # No authority is asked, since the fingerprint says more. The class above checks it.
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = Pinned
    # A way of connecting that would go round that check must not work at all.
    context.sslsocket_class = _Unchecked
    return context


def caused_by_certificate(error: BaseException) -> WrongCertificate | None:
    """Given an error of the transport, return the certificate that was refused, if one was."""
    return next((e for e in _causes(error) if isinstance(e, WrongCertificate)), None)


class _Unchecked(ssl.SSLSocket):
    def __new__(cls, *_arguments: Any, **_named: Any) -> _Unchecked:
        raise WrongCertificate("a connection without a check of the certificate was refused")

    @classmethod
    def _create(cls, *_arguments: Any, **_named: Any) -> _Unchecked:
        raise WrongCertificate("a connection without a check of the certificate was refused")


def _expect(certificate: bytes | None, expected: str) -> None:
    shown = _HASHES[len(expected)](certificate or b"").hexdigest().upper()
    if not certificate or not hmac.compare_digest(shown, expected):
        raise WrongCertificate(
            "the fingerprint of its certificate is not the one that was given; it shows"
            f" {':'.join(re.findall('..', shown))}"
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or at.__context__
