"""Atomic writes: complete or not there, on each operating system, and never in place of what is not a file."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from sb3_isaac import UserError
from sb3_isaac.contract import files

fcntl = pytest.importorskip("fcntl", reason="Windows has neither FIFOs nor flags of descriptors")


def test_only_descriptors_that_are_open_for_writing_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows wants it, where folders cannot be opened at all."""
    def sync(descriptor: int) -> None:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY

    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: Any = None) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return os_open(path, flags, mode, dir_fd=dir_fd)

    os_open = os.open
    monkeypatch.setattr(files.os, "fsync", sync)
    monkeypatch.setattr(files.os, "open", open_)
    files.write_text(tmp_path / "file", "text")
    with files.atomic_folder(tmp_path / "folder") as folder:
        (folder / "file").write_text("text")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "file").read_text() == "text"


def test_a_file_system_that_cannot_sync_folders_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(files.os, "fsync", sync)
    files.write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_a_link_stays_a_link_and_modes_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    link.symlink_to(target)
    files.write_text(link, "first")  # dangling until now
    target.chmod(0o640)
    files.write_text(link, "second")
    assert link.is_symlink() and target.read_text() == "second" and stat.S_IMODE(target.stat().st_mode) == 0o640
    folder_link = tmp_path / "latest"
    folder_link.symlink_to(tmp_path / "there", target_is_directory=True)
    with files.atomic_folder(folder_link) as folder:
        (folder / "new").write_text("x")
    assert folder_link.is_symlink() and [p.name for p in (tmp_path / "there").iterdir()] == ["new"]


def test_devices_and_fifos_are_written_to(tmp_path: Path) -> None:
    files.write_text("/dev/null", "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: "list[str]" = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()), daemon=True)
    reader.start()
    files.write_text(fifo, "text")
    reader.join(timeout=5)
    assert read == ["text"] and stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_folder_is_no_place_for_a_file_nor_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match="is a folder"):
        files.write_text(tmp_path / "folder", "text")
    with pytest.raises(UserError, match="is a file"), files.atomic_folder(tmp_path / "file"):
        pass
    with pytest.raises(UserError, match="could not write"):
        files.write_text(tmp_path / "nowhere" / "file", "text")
    assert (tmp_path / "file").read_text() == "kept" and sorted(p.name for p in tmp_path.iterdir()) == [
        "file", "folder"]


def test_a_kill_between_two_renames_leaves_the_old_folder(tmp_path: Path) -> None:
    latest = tmp_path / "latest"
    with files.atomic_folder(latest) as folder:
        (folder / "file").write_text("old")
    latest.rename(tmp_path / ".latest.old")
    (tmp_path / ".latest.99.tmp").mkdir()  # what was being written
    assert (files.current_folder(latest) / "file").read_text() == "old"
    with files.atomic_folder(latest) as folder:
        (folder / "file").write_text("new")
    assert files.current_folder(latest) == latest and [p.name for p in tmp_path.iterdir()] == ["latest"]


def test_a_checkpoint_waits_for_the_disk_once_for_each_of_its_files(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """And once for the folder that they are in."""
    pytest.importorskip("stable_baselines3")
    from sb3_isaac import PPO, IsaacVecEnv, RunCheckpoints

    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=2, seed=0)
    checkpoints, synced = RunCheckpoints(tmp_path), []
    checkpoints.model = PPO("MlpPolicy", env, n_steps=4, batch_size=8).learn(8)
    sync = files.os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (synced.append(descriptor), sync(descriptor)))
    checkpoints.save_latest()
    written = sorted(path.name for path in (tmp_path / "latest").iterdir())
    assert written == ["meta.json", "model.zip", "policy.pth", "task_state.pt"] and len(synced) == len(written) + 1
    env.close()
