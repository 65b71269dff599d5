"""The run folder: where it is made, what its files are called, and its newest complete checkpoint."""

from __future__ import annotations

import contextlib
import functools
import json
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import current_folder
from sb3_isaac.contract.records import Check, list_of, mapping_of, number, optional, record, text, truth, whole

CHECKPOINT_FILES = ("model.zip", "vecnormalize.pkl", "config.yml", "meta.json", "task_state.pt", "policy.pth")
RUN_FILES = (*CHECKPOINT_FILES, "metrics.csv", "DONE")
_NEEDED_TO_RESUME = ("model.zip", "config.yml", "meta.json", "task_state.pt")


def task_state_file(rank: int) -> str:
    """The file of a checkpoint with the task state of one process of those that trained it."""
    return "task_state.pt" if rank == 0 else f"task_state_{rank}.pt"


def new_run_folder(root: Path, algo: str, env: str) -> Path:
    """``<root>/<algo>/<env>_<k>`` with the first k that is free, made here."""
    parent, env = root / algo, env.replace(":", "-")  # a client's package:task
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for k in range(1, 100_000):
            with contextlib.suppress(FileExistsError):
                (parent / f"{env}_{k}").mkdir()
                return parent / f"{env}_{k}"
    except OSError as error:
        raise UserError(f"cannot make a run folder in {parent} ({error.strerror}): choose another one with -f.") \
            from error
    raise UserError(f"{parent} is full of runs: choose another folder with -f.")


def find_checkpoint(path: Path) -> Path:
    """The folder to resume from: the newest complete checkpoint of a run folder, or a checkpoint folder itself."""
    if not path.is_dir():
        raise UserError(f"there is no run folder {str(path)!r}: give one that 'sb3-isaac train' made.")
    found = _complete_checkpoints(path)
    if not found:
        raise UserError(f"{str(path)!r} holds no checkpoint: give a run folder that 'sb3-isaac train' made.")
    return max(found, key=steps_of)


def has_no_checkpoint_yet(run: Path) -> bool:
    """Whether a training was begun in `run` and ended before its first checkpoint: `train -i` begins it again."""
    return _has_configuration_alone(run) and (run / "meta.json").is_file() and not _complete_checkpoints(run)


def _has_configuration_alone(folder: Path) -> bool:
    return (folder / "config.yml").is_file() and not any(
        (folder / name).exists() for name in ("model.zip", "task_state.pt", "policy.pth"))


def run_of(folder: Path) -> Optional[Path]:
    """The run folder that `folder` is or that it is a checkpoint of; None for a checkpoint that stands alone.

    A run folder has a ``metrics.csv`` or its configuration beside ``latest/`` or ``checkpoints/``, or no more than its
    configuration yet.
    """
    if folder.parent.name == "checkpoints":
        run = folder.parent.parent
    else:
        run = folder.parent if folder.name in ("latest", ".latest.old") else folder
    of_run = (run / "metrics.csv").exists() or ((run / "config.yml").is_file() and any(
        (run / name).is_dir() for name in ("latest", "checkpoints")))
    return run if of_run or _has_configuration_alone(run) else None


def _complete_checkpoints(path: Path) -> List[Path]:
    """Checkpoint folders of a run; its own files come last: they are copied one by one, and a kill may mix them."""
    numbered = [p for p in (path / "checkpoints").glob("[0-9]*") if p.name.isdigit()]
    return [p for p in (*numbered, current_folder(path / "latest"), path)
            if all((p / name).is_file() for name in _NEEDED_TO_RESUME)]


def steps_of(folder: Path) -> int:
    """Transitions behind the model of a run or checkpoint folder."""
    steps: int = read_meta(folder, needed=("num_timesteps",))["num_timesteps"]
    return steps


def check_newest(run: Path, checkpoint: Path) -> None:
    """Refuse a `checkpoint` that is older than the newest one in `run`: another process trained there meanwhile."""
    steps = steps_of(checkpoint)
    if any(steps_of(other) > steps for other in _complete_checkpoints(run)):
        raise UserError(f"{checkpoint} has {steps} steps and {run} holds a newer checkpoint by now: resume from {run}.")


_EVERY = whole(1, 10**12)
META_FIELDS: Dict[str, Check] = {
    "num_timesteps": whole(), "iteration": optional(whole()), "seed": optional(whole(0, 2**32 - 1)), "env": text(256),
    "algo": text(100), "from": text(4000), "processes": whole(1, 10**6), "command_line": list_of(text(10**5)),
    "settings": lambda name, value: record(name, value, {
        "save_every": _EVERY, "latest_every": _EVERY, "eval_every": optional(whole(0, 10**12)),
        "eval_episodes": optional(whole(1, 10**7)), "early_stop": truth, "progress_bar": truth, "log_interval": _EVERY,
        "tensorboard_log": optional(text(4000))}, others=False),
    "panels": list_of(list_of(text(200), 2)),
    "stop_rule": mapping_of(list_of(optional(number()), 2)),
}
"""What ``meta.json`` holds that is used again; the rest is for people."""
LARGEST_META = 2**24


def read_meta(folder: Path, needed: Sequence[str] = ()) -> Dict[str, Any]:
    """``meta.json`` of a run or checkpoint folder, which holds what ``META_FIELDS`` says.

    :param needed: keys that have to be there.
    :raises UserError: when it is missing, no JSON, or holds something else.
    """
    path = folder / "meta.json"
    try:
        if path.stat().st_size > LARGEST_META:
            raise ValueError(f"more than {LARGEST_META} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:100]
        raise UserError(f"{path} cannot be read ({reason}): give a folder that 'sb3-isaac train' wrote.") from error
    return record(str(path), content, META_FIELDS, needed)


def installed_versions(*names: str) -> Dict[str, str]:
    """The version of each distribution, ``absent`` where it is not installed."""
    return {name: _version(name) for name in names}


@functools.lru_cache(maxsize=None)
def _version(name: str) -> str:
    """Read once: it takes as long as writing the files of a checkpoint."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
