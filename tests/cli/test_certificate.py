"""The self-signed certificate."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from holdfast.cli import certificate
from holdfast.cli.errors import BadInput, Failure

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_certificate_is_valid_for_this_machine_and_for_the_names_given(tmp_path: Path) -> None:
    files = certificate.ensure(tmp_path / "tls", ["backup.example.com", "192.0.2.7", "::"])
    names = read(files.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert {"localhost", "backup.example.com"} <= set(names.value.get_values_for_type(x509.DNSName))
    assert names.value.get_values_for_type(x509.IPAddress) == [
        ip_address("127.0.0.1"),
        ip_address("::1"),
        ip_address("192.0.2.7"),
    ]


def test_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    files = certificate.ensure(tmp_path / "tls")
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o700


def test_certificate_stays_the_same_at_the_next_start(tmp_path: Path) -> None:
    first = certificate.ensure(tmp_path / "tls").certificate.read_bytes()
    assert certificate.ensure(tmp_path / "tls").certificate.read_bytes() == first


def test_certificate_is_renewed_over_the_same_key_before_it_ends(tmp_path: Path) -> None:
    first = read(certificate.ensure(tmp_path / "tls", now=NOW).certificate)
    late = NOW + certificate.VALID_FOR - timedelta(days=10)
    second = read(certificate.ensure(tmp_path / "tls", now=late).certificate)
    assert second.not_valid_after_utc > first.not_valid_after_utc
    assert second.public_key() == first.public_key()


def test_missing_certificate_is_made_anew_over_the_key(tmp_path: Path) -> None:
    files = certificate.ensure(tmp_path / "tls")
    key = files.key.read_bytes()
    files.certificate.unlink()
    assert read(certificate.ensure(tmp_path / "tls").certificate)
    assert files.key.read_bytes() == key


def test_broken_key_is_told_and_not_replaced(tmp_path: Path) -> None:
    files = certificate.ensure(tmp_path / "tls")
    files.key.write_text("nonsense")
    with pytest.raises(Failure, match="expected an elliptic curve key"):
        certificate.ensure(tmp_path / "tls")
    assert files.key.read_text() == "nonsense"


def test_certificate_of_ones_own_is_used_as_it_is(tmp_path: Path) -> None:
    own = certificate.ensure(tmp_path / "own")
    assert certificate.brought(own.certificate, own.key) == own
    assert certificate.brought(None, None) is None


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    own, other = certificate.ensure(tmp_path / "own"), certificate.ensure(tmp_path / "other")
    for wrong in ((own.certificate, other.key), (own.key, own.key), (tmp_path / "no", own.key)):
        with pytest.raises(BadInput, match="expected a certificate chain in PEM and its key"):
            certificate.brought(*wrong)
    with pytest.raises(BadInput, match="expected both or neither"):
        certificate.brought(own.certificate, None)
