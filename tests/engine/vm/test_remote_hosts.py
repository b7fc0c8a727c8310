"""Hosts that are reached over SSH and TLS, both on this machine."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from engine.lab import wait_until
from holdfast.engine.errors import HypervisorUnavailable
from holdfast.engine.libvirt_connection import connected
from holdfast.engine.libvirt_host import list_machines
from holdfast.engine.libvirt_in_place import restore_in_place
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.libvirt_restore import RestorePlan

from .lab import Guest, Host, back_up, libvirt_daemon, restored_disks
from .test_machine_restore import bytes_of

pytestmark = pytest.mark.vm

_SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def over_ssh(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of the tests' host, by an SSH server of the tests' own."""
    if _SSHD is None:
        # `make test` does not install it: Debian's package starts a server for all the world.
        pytest.skip("there is no sshd on this machine")
    port = free_port()
    make_key(tmp_path / "host")
    make_key(tmp_path / "user")
    known = f"[127.0.0.1]:{port} {(tmp_path / 'host.pub').read_text()}"
    (tmp_path / "known").write_text(known)
    (tmp_path / "settings").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path}/user.pub\nStrictModes no\nUsePAM no\n"
    )
    # ssh finds the host keys it knows by the account's home, which tests leave alone.
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(
        f'#!/bin/sh\nexec {shutil.which("ssh")} -o UserKnownHostsFile={tmp_path}/known "$@"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen([_SSHD, "-D", "-e", "-f", tmp_path / "settings"], stderr=log) as run:
        try:
            wait_until(lambda: answers(port))
            path = host.uri.partition("?")[2]
            yield (
                f"qemu+ssh://{getpass.getuser()}@127.0.0.1:{port}/session"
                f"?{path}&keyfile={tmp_path}/user"
            )
        finally:
            run.terminate()


async def test_a_machine_is_backed_up_over_ssh(
    over_ssh: str, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    async with connected(over_ssh) as connection:
        assert guest.name in {machine.name for machine in await list_machines(connection)}
        guest.write_something(1)
        full = await back_up(connection, guest, folder, "p1")
        guest.write_something(2)
        increment = await back_up(connection, guest, folder, "p2", full)
    assert increment.rung is Rung.CHANGED_BLOCKS
    assert await restored_disks(increment, folder, tmp_path / "out") == guest.contents()


async def test_a_key_that_the_host_does_not_know_is_refused(over_ssh: str, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    with pytest.raises(HypervisorUnavailable):
        async with connected(over_ssh.replace("/user", "/other")):
            pass


def certified(folder: Path, authority: str, name: str) -> None:
    """Make a certificate for localhost that an authority, made when it is missing, vouches for."""
    folder.mkdir(exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    if not (folder / f"{authority}cert.pem").exists():
        made = ["-keyout", f"{authority}key.pem", "-out", f"{authority}cert.pem"]
        usage = ["-addext", "keyUsage=critical,keyCertSign"]
        openssl("req", "-x509", *new, *made, "-subj", "/CN=authority", *usage)
    openssl("req", *new, "-keyout", f"{name}key.pem", "-out", "request", "-subj", "/CN=localhost")
    (folder / "extensions").write_text("subjectAltName=DNS:localhost\n")
    signing = ["-CA", f"{authority}cert.pem", "-CAkey", f"{authority}key.pem", "-CAcreateserial"]
    extended = ["-extfile", "extensions", "-out", f"{name}cert.pem"]
    openssl("x509", "-req", "-in", "request", *signing, *extended)
    for file in folder.iterdir():
        file.chmod(0o644)  # the daemon is another user


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[str, Host]]:
    """A host that listens with TLS alone, and the URI up to the folder of certificates."""
    port, trusted = free_port(), tmp_path / "trusted"
    certified(trusted, "ca", "server")
    certified(trusted, "ca", "client")
    settings = (
        f'listen_tls = 1\nlisten_tcp = 0\nlisten_addr = "127.0.0.1"\ntls_port = "{port}"\n'
        f'key_file = "{trusted}/serverkey.pem"\ncert_file = "{trusted}/servercert.pem"\n'
        f'ca_file = "{trusted}/cacert.pem"\n'
    )
    # Its user must be able to come as far as the certificates.
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    with libvirt_daemon("--listen", settings=settings) as host:
        wait_until(lambda: answers(port))
        yield f"qemu+tls://localhost:{port}/session?pkipath=", host


async def test_a_machine_is_backed_up_and_restored_in_place_over_tls(
    over_tls: tuple[str, Host], folder: Path, tmp_path: Path
) -> None:
    uri, host = over_tls
    disks = tmp_path / "disks"
    disks.mkdir()
    guest = Guest(host, "tls", disks, libvirt.open(host.uri))
    guest.add_disk("vda")
    guest.define()
    guest.start()
    try:
        guest.write_something(1)
        async with connected(uri + str(tmp_path / "trusted")) as connection:
            full = await back_up(connection, guest, folder, "p1")
            assert await restored_disks(full, folder, tmp_path / "out") == guest.contents()
            guest.write_something(2)
            guest.power_off()
            # The host shows that it has the disks under the same paths.
            await restore_in_place(connection, RestorePlan(full.point, folder, folder))
        assert [path.name for path in disks.iterdir()] == [guest.disks["vda"].path.name]
        after = await restored_disks(full, folder, tmp_path / "out")
        assert bytes_of(guest.disks["vda"].path, "qcow2", tmp_path / "back") == after["vda"]
    finally:
        guest.discard()
        guest.connection.close()


async def test_a_certificate_of_another_authority_is_refused(
    over_tls: tuple[str, Host], tmp_path: Path
) -> None:
    uri, _host = over_tls
    other = tmp_path / "other"
    certified(other, "other", "client")
    shutil.copy(tmp_path / "trusted/cacert.pem", other)
    with pytest.raises(HypervisorUnavailable):
        async with connected(uri + str(other)):
            pass
