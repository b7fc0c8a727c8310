"""A client of a disk waits until its server listens, and leaves nothing open when it is refused."""

import socket
from pathlib import Path

import pytest

from holdfast.engine.nbd import NbdDisk, is_listening


def test_a_socket_that_is_there_is_not_listened_on_yet(tmp_path: Path) -> None:
    path = tmp_path / "a disk"
    assert not is_listening(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        assert path.exists()
        assert not is_listening(path)
        with pytest.raises(ConnectionRefusedError):
            NbdDisk(str(path))
        server.listen()
        assert is_listening(path)
    assert not is_listening(path)
