"""One training process for each run folder: a lock of the operating system's, which ends with the process."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import sys
import time
from pathlib import Path
from typing import Iterator

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import write_error

LOCK_FILE = ".lock"
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, getattr(errno, "ENOTSUP", errno.ENOSYS))
_WINDOWS_OFFSET = 1 << 20  # Windows locks bytes against reading too: one behind the text


@contextlib.contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """Hold the lock of the run folder `run` inside the block.

    The operating system releases it when the process ends, however it ends. File systems without locks have none.

    :raises UserError: when another process holds it, with that process's id and host.
    """
    path = run / LOCK_FILE
    try:
        descriptor = _locked_descriptor(path)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}, since "
                             f"{time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise write_error(path, error) from error
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file cannot be deleted there
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _locked_descriptor(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _HELD:
                holder = os.read(descriptor, 1000).decode(errors="replace")
                os.close(descriptor)
                raise UserError(f"{path.parent} is being trained by {holder or 'another process'}: wait for it or "
                                "stop it, and give the command again.") from error
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
        if _is_current(path, descriptor):
            return descriptor
        os.close(descriptor)  # deleted by the process that held it, between the opening and the locking


def _is_current(path: Path, descriptor: int) -> bool:
    """Whether `path` is still the file of `descriptor`."""
    try:
        return sys.platform == "win32" or os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> None:
    """Lock the file without waiting; OSError where another process has it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _WINDOWS_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
