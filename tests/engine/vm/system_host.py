"""A libvirt daemon of the whole machine, as of an account of its own for QEMU: `qemu:///system`.

Its folders, its settings and that account are seen by itself alone, in a mount namespace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .lab import Host

#: Debian's libvirt asks for this account by name, whatever is set.
ACCOUNT = "libvirt-qemu"
ACCOUNT_ID = 64055
_SETTINGS = """
stdio_handler = "file"
security_driver = "none"
namespaces = []
cgroup_controllers = []
"""
#: What lies in the host's folder, and where the daemon sees it.
_MOUNTS = {
    "run": "/run",
    "var": "/var",
    "config": "/etc/libvirt",
    "passwd": "/etc/passwd",
    "group": "/etc/group",
}


class SystemHost(Host):
    """The daemon. Its QEMU owns the disks of machines that are on, and may enter nothing private.

    Of the folder `apart` it sees one of its own, as a host does that has not mounted a share.
    """

    def __init__(self, apart: Path | None = None) -> None:
        super().__init__()
        self._apart = apart
        (self.folder / "apart").mkdir(mode=0o777)
        self.folder.chmod(0o711)
        self.staging = self.folder / "staging"
        self.staging.mkdir(mode=0o711)
        for name in ("lib", "log", "cache"):
            (self.folder / "var" / name).mkdir(parents=True)
        (self.folder / "config/qemu.conf").write_text(_SETTINGS)
        (self.folder / "config/libvirtd.conf").write_text("")
        for name, entry in (
            ("passwd", f"{ACCOUNT}:x:{ACCOUNT_ID}:{ACCOUNT_ID}::/:/usr/sbin/nologin"),
            ("group", f"{ACCOUNT}:x:{ACCOUNT_ID}:"),
        ):
            known = Path(f"/etc/{name}").read_text().rstrip()
            (self.folder / name).write_text(f"{known}\n{entry}\n")
        (self.folder / "closed").touch(mode=0)
        self.pids = self.folder / "run/libvirt/qemu"
        self.uri = self.uri.replace("/session", "/system")

    def command(self) -> list[str]:
        """Return what the daemon is to be started with."""
        mounts = [f'mount --bind "$0/{name}" {there}' for name, there in _MOUNTS.items()]
        if Path("/dev/kvm").exists():
            # One that root may use and QEMU may not, libvirt asks QEMU for anew with every call.
            mounts.append('mount --bind "$0/closed" /dev/kvm')
        if self._apart is not None:
            mounts.append(f'mount --bind "$0/apart" {self._apart}')
        script = " && ".join([*mounts, 'exec "$@"'])
        return ["unshare", "--mount", "sh", "-c", script, str(self.folder)]


@contextmanager
def system_daemon(apart: Path | None = None) -> Iterator[SystemHost]:
    """Run such a daemon, where the account of the tests may."""
    if os.geteuid() != 0:
        pytest.skip("only root starts a daemon of the whole machine")
    host = SystemHost(apart)
    host.start()
    try:
        yield host
    finally:
        host.discard()
