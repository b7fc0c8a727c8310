"""The TLS keys of one transfer: made for it, known to its two ends alone, gone with it.

Each end has a certificate of an authority that vouches for these two and is then forgotten: its
key is never written down. So nobody else can read what is sent, or write in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from holdfast.engine.process import finished

# Only looked at when the two ends meet, at the beginning.
_VALID_FOR = timedelta(days=1)
_CLOCK_DIFFERENCE = timedelta(hours=1)
_PREFIX = "transfer-"


@dataclass(frozen=True, slots=True)
class TransferKeys:
    """The folders with the keys of the two ends, named as QEMU wants them (tls-creds-x509)."""

    sender: Path
    receiver: Path


@contextlib.asynccontextmanager
async def transfer_keys(folder: Path, address: str) -> AsyncIterator[TransferKeys]:
    """Make keys in a folder for a receiver at an IP address, and remove them after.

    Raise OSError when they cannot be written.
    """
    place = folder / f"{_PREFIX}{secrets.token_hex(8)}"
    making = asyncio.create_task(asyncio.to_thread(_make, place, address))
    try:
        yield await asyncio.shield(making)
    finally:
        await finished(_remove(place, making))


async def _remove(place: Path, making: asyncio.Task[TransferKeys]) -> None:
    # A cancellation does not end a thread: what it still writes must go, too.
    await asyncio.gather(making, return_exceptions=True)
    await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def sweep_transfer_keys(folder: Path) -> None:
    """Make a folder for keys, for this account only, and remove what a crash left. Blocking."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for left in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def _make(place: Path, address: str) -> TransferKeys:
    place.mkdir(mode=0o700)
    keys = TransferKeys(place / "sender", place / "receiver")
    authority = _Authority()
    authority.certify(keys.sender, "client", ExtendedKeyUsageOID.CLIENT_AUTH, None)
    authority.certify(keys.receiver, "server", ExtendedKeyUsageOID.SERVER_AUTH, address)
    return keys


class _Authority:
    """Vouches for the ends of one transfer."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Holdfast transfer")
        self._own = self._sign(self._key.public_key(), self._name, authority=True)

    def certify(
        self, folder: Path, end: str, purpose: ObjectIdentifier, address: str | None
    ) -> None:
        """Write an end's key, its certificate and that of the authority into a new folder."""
        folder.mkdir(mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(key.public_key(), _named(end), purpose=purpose, address=address)
        _write(folder / "ca-cert.pem", self._own.public_bytes(serialization.Encoding.PEM))
        _write(folder / f"{end}-cert.pem", certificate.public_bytes(serialization.Encoding.PEM))
        _write(
            folder / f"{end}-key.pem",
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        name: x509.Name,
        *,
        authority: bool = False,
        purpose: ObjectIdentifier | None = None,
        address: str | None = None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        usage |= dict.fromkeys(("crl_sign", "encipher_only", "decipher_only"), False)
        usage |= {"digital_signature": not authority, "key_cert_sign": authority}
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_DIFFERENCE)
            .not_valid_after(now + _VALID_FOR)
            .add_extension(x509.BasicConstraints(authority, 0 if authority else None), True)
            .add_extension(x509.KeyUsage(**usage), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        )
        if not authority:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = builder.add_extension(issuer, False)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
            builder = builder.add_extension(names, False)
        return builder.sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
