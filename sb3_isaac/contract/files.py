"""Atomic writes: a file or folder is written under a temporary name, synced to disk, then renamed.

After a crash or a kill at any moment there is either the old content or the new one, never a part of it.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import stat
from pathlib import Path
from typing import Iterator, Union

from sb3_isaac.contract.errors import UserError

# What file systems answer that cannot sync a folder; the rename is then as safe as they make it.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.EACCES, errno.EPERM, errno.EBADF,
                   getattr(errno, "ENOTSUP", errno.EINVAL))


def _sync_file(path: Path) -> None:
    """Write the file's content to disk; Windows needs a descriptor that is open for writing."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Write the folder's names to disk; Windows cannot open folders."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def write_error(path: Union[str, Path], error: OSError) -> UserError:
    """The sentence for a file or folder that could not be written."""
    folder = Path(path).parent
    if not folder.exists() and error.errno not in (errno.ENOTDIR, errno.EACCES):
        return UserError(f"could not write {path}: there is no folder {folder}, or no longer; make it or choose "
                         "another place.")
    return UserError(f"could not write {path} ({error.strerror or error}): make room or choose another place; what "
                     "was saved before is unchanged.")


def expect_writable(path: Union[str, Path, None]) -> None:
    """Raise before work whose result could not be written to the file `path`, whose folder is made where it is missing;
    None is no file."""
    if path is None:
        return
    there = Path(path)
    if there.is_dir():
        raise UserError(f"could not write {path}, which is a folder: give the name of a file.")
    nearest = next(one for one in (there, *there.absolute().parents) if one.exists())
    if nearest != there and not nearest.is_dir():
        raise write_error(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(nearest, os.W_OK):
        raise write_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


@contextlib.contextmanager
def atomic_file(path: Union[str, Path]) -> Iterator[Path]:
    """A temporary path to write to; it replaces `path` when the block ends without an error, else it is deleted.

    A symbolic link is followed, so it stays a link. A device or a FIFO (``/dev/stdout``) is never replaced: the block
    gets `path` itself.

    :raises UserError: when `path` is a folder or cannot be written.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
    except OSError as error:
        raise write_error(path, error) from error
    if stat.S_ISDIR(mode):
        raise UserError(f"could not write {path}, which is a folder: give the name of a file.")
    if not stat.S_ISREG(mode):
        try:
            yield path
        except OSError as error:
            raise write_error(path, error) from error
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        _sync_file(temporary)
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Union[str, Path], content: bytes) -> None:
    """Make `content` the content of `path`, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Union[str, Path], text: str) -> None:
    """Make `text` the content of `path`, atomically; UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; it replaces `path` when the block ends without an error, else it is deleted.

    Folders cannot be exchanged in one step: the old one is ``.<name>.old`` until the new one is in place, so that at
    any moment one of the two is complete (see :func:`current_folder`). A symbolic link is followed. One process at a
    time may write a folder.

    :raises UserError: when `path` is a file or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"could not write the folder {path}, which is a file: delete it or choose another place.")
    target = Path(os.path.realpath(path))
    temporary, old = target.with_name(f".{target.name}.{os.getpid()}.tmp"), _old(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left_by_a_kill in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
            shutil.rmtree(left_by_a_kill, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _sync_file(file)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(target, old)
        os.replace(temporary, target)
        _sync_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def current_folder(path: Path) -> Path:
    """`path`, or ``.<name>.old`` where a kill between the two renames of :func:`atomic_folder` left only that."""
    old = _old(Path(os.path.realpath(path)))
    return old if not path.exists() and old.exists() else path


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")
