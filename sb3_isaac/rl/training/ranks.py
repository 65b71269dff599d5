"""A training by several processes: each one's share of the configuration, and where a restarted one goes on."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional

from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import UserError
from sb3_isaac.rl.distributed import rank, world_size
from sb3_isaac.rl.training.build import setting
from sb3_isaac.rl.training.run_folder import read_meta

SEED_STEP = 1_000_003
"""Between the seeds of two ranks, so that runs with seeds 0, 1, 2 share no robot."""


def check_ranks(config: TrainConfig, resume_from: Optional[Path] = None) -> None:
    """Refuse what several processes cannot share, and to resume with another number of them.

    :raises UserError: which says what to give instead.
    """
    ranks = world_size()
    saved = ranks if resume_from is None else read_meta(resume_from).get("processes", 1)
    if saved != ranks:  # each one's robots stand in a file of its own
        raise UserError(f"{resume_from} was trained by {saved} process{'es' if saved > 1 else ''} and would be resumed "
                        f"by {ranks}: start as many as before, or begin another run with its networks, "
                        f"--from {resume_from}.")
    if ranks > 1 and config.algo != "ppo":
        raise UserError(f"{config.algo} is trained by one process, and torchrun started {ranks}: take --algo ppo.")
    for name, value in (("--num-envs", config.n_envs), ("batch_size", _batch_size(config))):
        if value % ranks:
            raise UserError(f"{name} is {value}, which {ranks} processes cannot share equally: give a multiple of "
                            f"{ranks}, such as {max(1, value // ranks) * ranks}.")


def own_share(config: TrainConfig) -> TrainConfig:
    """What a configuration, which says the whole, is for this rank: its robots and minibatches, a seed, a device."""
    ranks = world_size()
    if ranks == 1:
        return config
    gpu = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    env_kwargs: Dict[str, Any] = {key: gpu if (key, value) == ("device", "cuda") else value
                                  for key, value in config.env_kwargs.items()}
    return replace(config, n_envs=config.n_envs // ranks, seed=((config.seed or 0) + SEED_STEP * rank()) % 2**32,
                   algo_kwargs={**config.algo_kwargs, "batch_size": _batch_size(config) // ranks},
                   env_kwargs=env_kwargs, device=gpu if config.device == "cuda" else config.device)


def _batch_size(config: TrainConfig) -> int:
    return int(setting(config, "batch_size") or 0)


def interrupted_run(folder: Path) -> Optional[Path]:
    """The run below `folder` that this very command began, where torchrun has started it again after a failure."""
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        return None
    begun = []
    for meta in folder.glob("*/*/meta.json"):
        with contextlib.suppress(UserError):  # another's file that cannot be read
            if read_meta(meta.parent).get("command_line") == sys.argv and not (meta.parent / "DONE").exists():
                begun.append(meta.parent)
    return max(begun, key=lambda run: (run / "config.yml").stat().st_mtime, default=None)
