"""The TLS certificate of a Holdfast that was given none: self-signed, made at the first start.

The key is made once and kept. The certificate is valid for 825 days, the most that every client
accepts, and is renewed over the same key at a start within its last 30 days: who pins the key
sees no change. That of a backup server's private service is pinned as a whole, by its fingerprint,
and so is made to last. It is no certificate authority, so its key can vouch for nothing else.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.cli.errors import BadInput, Failure
from holdfast.cli.whole_file import write_whole

VALID_FOR = timedelta(days=825)
VALID_WHEN_PINNED = timedelta(days=36500)
RENEWED_BEFORE = timedelta(days=30)
_CLOCK_DIFFERENCE = timedelta(hours=1)
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - not a name to certify
_LONGEST_COMMON_NAME = 64


@dataclass(frozen=True)
class Certificate:
    """Where a certificate and its private key lie, both in PEM."""

    certificate: Path
    key: Path


def ensure(
    directory: Path,
    names: Iterable[str] = (),
    now: datetime | None = None,
    valid_for: timedelta = VALID_FOR,
) -> Certificate:
    """Given a directory, return the certificate in it; make or renew it where needed.

    `names` are host names and addresses it shall be valid for, beyond those of this machine; they
    count when it is made. Raise Failure when the directory's files cannot be read or written.
    """
    now = now or datetime.now(UTC)
    files = Certificate(directory / "cert.pem", directory / "key.pem")
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        key = _kept_key(files.key) or _new_key(files.key)
        if not _serves(files.certificate, key, now):
            made = _self_signed(key, [*_LOCAL_NAMES, socket.gethostname(), *names], now, valid_for)
            write_whole(files.certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None
    return files


def brought(certificate: Path | None, key: Path | None) -> Certificate | None:
    """Given the files that the settings name, return them as a certificate; None without any.

    Raise BadInput when one is missing or they do not belong together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise BadInput("--certificate-file, --key-file: expected both or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The password is empty, or a key with one would make OpenSSL ask for it.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # also what OpenSSL says
        expected = "expected a certificate chain in PEM and its key without a password"
        reason = error.strerror or str(error)
        raise BadInput(f"--certificate-file, --key-file: {expected}: {reason}") from None
    return Certificate(certificate, key)


def fingerprint(certificate: Path) -> str:
    """Given a certificate's path, return its SHA-256 fingerprint as ``AB:CD:…``."""
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    return loaded.fingerprint(hashes.SHA256()).hex(":").upper()


def _kept_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    key: PrivateKeyTypes | None
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        expected = "expected an elliptic curve key in PEM, without a password"
        raise Failure(f"{path}: {expected}; remove it to have one made")
    path.chmod(0o600)
    return key


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_whole(path, pem, 0o600)
    return key


def _serves(path: Path, key: ec.EllipticCurvePrivateKey, now: datetime) -> bool:
    """Tell whether there is a certificate over this key that will be valid for a while."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    same_key = certificate.public_key() == key.public_key()
    return same_key and now < certificate.not_valid_after_utc - RENEWED_BEFORE


def _self_signed(
    key: ec.EllipticCurvePrivateKey, names: list[str], now: datetime, valid_for: timedelta
) -> x509.Certificate:
    # The common name is for people; clients compare the alternative names.
    common_name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:_LONGEST_COMMON_NAME])]
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    alternatives = dict.fromkeys(_general_name(name) for name in names if name not in _EVERYWHERE)
    return (
        x509.CertificateBuilder()
        .subject_name(common_name)
        .issuer_name(common_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_DIFFERENCE)
        .not_valid_after(now - _CLOCK_DIFFERENCE + valid_for)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
