"""Files that are either whole or not there: written under a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Iterator

from sb3_isaac.contract.errors import UserError


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it becomes `path` when the block ends well and vanishes when it does not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"could not write {path} ({error.strerror}): make room or choose another folder; "
                        "what was saved before is untouched.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """`content` as the whole of `path`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """`text` as the whole of `path`, UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; it becomes `path` when the block ends well.

    An older `path` is kept as ``.<name>.old`` until its successor stands, so that at any moment one of the two is
    whole (see :func:`standing_folder`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for left_by_a_kill in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    temporary.mkdir()
    old = path.with_name(f".{path.name}.old")
    try:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
        os.replace(temporary, path)
        _sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise UserError(f"could not write {path} ({error.strerror}): make room or choose another folder; "
                        "what was saved before is untouched.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def standing_folder(path: Path) -> Path:
    """`path`, or the older one that a kill between two renames left in its place."""
    old = path.with_name(f".{path.name}.old")
    return old if not path.exists() and old.exists() else path


def _sync_folder(path: Path) -> None:
    """Make a rename last; not every system lets folders be opened, and there the rename alone must do."""
    with contextlib.suppress(PermissionError):
        _sync(path)
