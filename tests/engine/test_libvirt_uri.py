"""Connection URIs: which are accepted, and that none of them runs a program."""

import pytest

from holdfast.engine.errors import EngineError
from holdfast.engine.libvirt_uri import checked_uri, daemon_of


@pytest.mark.parametrize(
    ("uri", "checked"),
    [
        ("qemu:///system", "qemu:///system"),
        ("qemu:///session", "qemu:///session"),
        ("qemu+unix:///session?socket=/run/x", "qemu+unix:///session?socket=/run/x"),
        ("qemu+tls://host:16514/system", "qemu+tls://host:16514/system"),
        ("qemu+ssh://backup@host/system", "qemu+ssh://backup@host/system?no_tty=1"),
        (
            "qemu+ssh://host:22/session?keyfile=/etc/key&no_tty=0",
            "qemu+ssh://host:22/session?keyfile=/etc/key&no_tty=0",
        ),
    ],
)
def test_uri_is_accepted(uri: str, checked: str) -> None:
    assert checked_uri(uri) == checked


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", "must begin with"),
        ("xen:///system", "must begin with"),
        ("qemu+ext:///system?command=/bin/sh", "must begin with"),
        ("qemu+ssh://host/system?command=/bin/sh", "the parameter command"),
        ("qemu+ssh://host/system?netcat=/bin/sh", "the parameter netcat"),
        ("qemu+ssh://-oProxyCommand=x/system", "begins with a dash"),
        ("qemu+ssh://-oProxyCommand=x@host/system", "begins with a dash"),
        ("qemu+ssh://user:secret@host/system", "neither a password"),
        ("qemu+ssh:///system", "must name a host"),
        ("qemu://host/system", "must not name a host"),
        ("qemu:///embed", "must be /system or /session"),
        ("qemu+tls://host:port/system", "is not a URI"),
    ],
)
def test_uri_is_refused_with_the_reason_and_without_its_password(uri: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason) as caught:
        checked_uri(uri)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("qemu:///system", "qemu+unix:///system", True),
        ("qemu:///system", "qemu+unix:///system?socket=/var/run/libvirt/libvirt-sock", True),
        ("qemu+unix:///session?socket=/a", "qemu+unix:///session?socket=/b", False),
        ("qemu:///system", "qemu:///session", False),
        ("qemu+ssh://root@kvm1/system", "qemu+tls://KVM1:16514/system?pkipath=/pki", True),
        ("qemu+ssh://kvm1/system", "qemu+ssh://kvm1:22/system?keyfile=/key", True),
        ("qemu+ssh://kvm1/system", "qemu+ssh://kvm1:2222/system", False),
        ("qemu+ssh://a@kvm1/session", "qemu+ssh://b@kvm1/session", False),
        ("qemu+ssh://kvm1/system", "qemu:///system", False),
    ],
)
def test_a_daemon_is_told_from_others_by_where_it_is(one: str, other: str, same: bool) -> None:
    assert (daemon_of(checked_uri(one)) == daemon_of(checked_uri(other))) is same
