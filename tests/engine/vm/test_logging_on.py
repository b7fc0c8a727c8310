"""Logging on to a host with a name and a password, against libvirt's own test driver."""

from pathlib import Path

import libvirt
import pytest

from holdfast.engine.libvirt_connection import Account, _logged_on

pytestmark = pytest.mark.vm

_HOST = "<node><auth><user password='open sesame'>operator</user></auth></node>"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    file = tmp_path / "host.xml"
    file.write_text(_HOST)
    return f"test://{file}"


def test_a_host_that_asks_is_told_name_and_password(uri: str) -> None:
    connect = _logged_on(libvirt, uri, Account("operator", "open sesame"))
    assert connect.isAlive()
    connect.close()


@pytest.mark.parametrize(
    "account", [None, Account("operator", "wrong"), Account("nobody", "open sesame")]
)
def test_a_host_that_asks_refuses_whoever_cannot_tell(uri: str, account: Account | None) -> None:
    with pytest.raises(libvirt.libvirtError):
        _logged_on(libvirt, uri, account)


def test_a_password_is_not_shown() -> None:
    assert "sesame" not in repr(Account("operator", "open sesame"))
