"""Keeps the files of a disk image from being written while they are read.

QEMU locks an image by locking single bytes of it (block/file-posix.c, in use since QEMU 2.10):
byte 100+n says "I use permission n", byte 200+n says "I allow nobody to use permission n".
``qemu-img convert`` refuses a source that a machine writes to, but ``qemu-img rebase`` reads its
backing file without a word. So Holdfast takes the reader's side of that protocol itself, for the
whole time: a machine that runs is noticed, and one that starts meanwhile is refused by QEMU.

Programs other than QEMU know nothing of these locks; against them, size and modification time of
regular files are compared before and after.
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.engine.errors import ImageInUse, SourceMissing, SourceUnreadable
from holdfast.engine.failures import reading_failure

_FLOCK = struct.Struct("@hhqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length, pid
_USED_BASE = 100
_DENIED_BASE = 200
_PERMISSIONS = {1: "write", 3: "resize"}  # bit numbers of BLK_PERM_WRITE and BLK_PERM_RESIZE
# NFS without a lock daemon and some FUSE file systems have no locks; QEMU goes on there, too.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})

_State = tuple[int, int]


@contextlib.contextmanager
def unchanged_while_read(files: Sequence[Path]) -> Iterator[None]:
    """Hold the given files of one image against writers; notice those that do not ask.

    Raise ImageInUse when one is open for writing already, SourceMissing and SourceUnreadable;
    SourceUnreadable at the end, too, when a file was changed meanwhile.
    """
    with contextlib.ExitStack() as stack:
        opened = [(path, _open(path, stack)) for path in files]
        for path, descriptor in opened:
            _lock(path, descriptor)
        before = [_state(descriptor) for _path, descriptor in opened]
        yield
        for (path, descriptor), state in zip(opened, before, strict=True):
            if _state(descriptor) != state:
                raise SourceUnreadable(
                    f"The disk image {path} was changed while it was read, so the copy would be "
                    "worth nothing. Make sure that nothing writes to it, then try again."
                )


def _open(path: Path, stack: contextlib.ExitStack) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise SourceMissing(f"The disk image {path} does not exist.") from error
    except OSError as error:
        raise reading_failure(error, path) from error
    stack.callback(os.close, descriptor)
    return descriptor


def _lock(path: Path, descriptor: int) -> None:
    """Deny writing and resizing to others, then see whether somebody does it already."""
    # In this order, as QEMU does it: of two that come at once, at least one sees the other.
    try:
        for bit in _PERMISSIONS:
            deny = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _DENIED_BASE + bit, 1, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, deny)
        for bit, name in _PERMISSIONS.items():
            ask = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _USED_BASE + bit, 1, 0)
            answer = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, ask))
            if answer[0] != fcntl.F_UNLCK:
                raise _in_use(path, name)
    except BlockingIOError as error:
        raise _in_use(path, "exclusive") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise reading_failure(error, path) from error


def _in_use(path: Path, permission: str) -> ImageInUse:
    return ImageInUse(
        f"The disk image {path} is in use: another process, usually a running machine, holds it "
        f"open with {permission} access. Shut the machine down or back it up while it runs."
    )


def _state(descriptor: int) -> _State:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return os.lseek(descriptor, 0, os.SEEK_END), 0  # a device's times say nothing
    return status.st_size, status.st_mtime_ns
