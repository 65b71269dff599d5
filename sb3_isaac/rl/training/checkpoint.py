"""The run folder: what a training run leaves behind, and how it goes on from there."""

from __future__ import annotations

import contextlib
import json
import platform
import random
import shutil
import sys
import time
from collections import deque
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Union

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from sb3_isaac.config import TrainConfig, dump_config
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import standing_folder, whole_file, whole_folder, write_bytes, write_text
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.callbacks.iteration import iteration_of
from sb3_isaac.rl.policy.export import policy_content, warn_without_policy_file
from sb3_isaac.rl.policy.formats import save_policy, torch_bytes

CHECKPOINT_FILES = ("model.zip", "vecnormalize.pkl", "config.yml", "meta.json", "task_state.pt", "policy.pth")
# What SB3 would put into the zip besides: live observations (kept in task_state.pt) and a buffer of episodes.
NOT_IN_ZIP = ("_last_obs", "_last_episode_starts", "_last_original_obs", "ep_info_buffer", "ep_success_buffer")


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
    """The folder to continue from: the newest whole checkpoint of a run folder, or a checkpoint folder itself."""
    if not path.is_dir():
        raise UserError(f"there is no run folder {str(path)!r}: give one that 'sb3-isaac train' made.")
    numbered = [p for p in (path / "checkpoints").glob("[0-9]*") if p.name.isdigit()]
    # The run folder's own files come last: they are copied one by one, and a kill may leave them mixed.
    found = [p for p in (*numbered, standing_folder(path / "latest"), path) if _is_whole(p)]
    if not found:
        raise UserError(f"{str(path)!r} holds no checkpoint yet: start the training anew.")
    return max(found, key=lambda p: int(read_meta(p)["num_timesteps"]))


def _is_whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("model.zip", "config.yml", "meta.json", "task_state.pt"))


def read_meta(folder: Path) -> Dict[str, Any]:
    """``meta.json`` of a run or checkpoint folder."""
    try:
        meta: Dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return meta
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'meta.json'} cannot be read: give a folder that 'sb3-isaac train' wrote.") \
            from error


def installed_versions(*names: str) -> Dict[str, str]:
    """The version of each distribution, ``absent`` where it is not installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def _meta(model: BaseAlgorithm) -> Dict[str, Any]:
    versions = installed_versions("sb3_isaac", "stable-baselines3", "gymnasium", "torch", "numpy", "mujoco")
    return {
        "seed": model.seed, "num_timesteps": model.num_timesteps,
        "iteration": iteration_of(model), "command_line": sys.argv, "python": platform.python_version(),
        "platform": platform.platform(), "versions": versions, "saved_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def task_state(model: Any) -> Dict[str, Any]:
    """What SB3's zip leaves out and an unbroken continuation needs: tensors and builtins only."""
    env: VecEnv = model.get_env()
    normalizer = unwrap_vec_normalize(env)
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        "num_timesteps": model.num_timesteps,
        "last_obs": _tensors(model._last_obs),
        "last_episode_starts": torch.as_tensor(model._last_episode_starts),
        "episodes": [{key: float(value) for key, value in info.items()} for info in model.ep_info_buffer or ()],
        "env": unwrap(env).state_dict(),
        "random": {"torch": torch.get_rng_state(), "python": _plain(random.getstate()),
                   "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                   "numpy": [str(kind), torch.as_tensor(np.asarray(keys, dtype=np.int64)), int(position),
                             int(has_gauss), float(gauss)]},
    }
    if normalizer is not None:
        state["discounted_returns"] = torch.as_tensor(normalizer.returns)
    return state


def restore_task_state(model: Any, state: Mapping[str, Any]) -> None:
    """Put ``task_state(model)`` back, so that ``learn(reset_num_timesteps=False)`` goes on without a reset.

    Where the environment could not save its own state, a reset it is.
    """
    env: VecEnv = model.get_env()
    goes_on = bool(state["env"]["env"])
    if goes_on:
        unwrap(env).load_state_dict(state["env"])
    normalizer = unwrap_vec_normalize(env)
    if normalizer is not None and "discounted_returns" in state:
        normalizer.returns = state["discounted_returns"].numpy().copy()
    model.ep_info_buffer = deque(state["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    model._last_obs = _arrays(state["last_obs"]) if goes_on else None  # SB3 resets where there is none
    model._last_episode_starts = state["last_episode_starts"].numpy().copy()
    torch.set_rng_state(state["random"]["torch"])
    if len(state["random"]["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(state["random"]["cuda"])
    kind, keys, *rest = state["random"]["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["random"]["python"]
    random.setstate((version, tuple(internal), gauss))


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _tensors(obs: Any) -> Any:
    return {k: torch.as_tensor(v) for k, v in obs.items()} if isinstance(obs, dict) else torch.as_tensor(obs)


def _arrays(obs: Any) -> Any:
    return {k: v.numpy().copy() for k, v in obs.items()} if isinstance(obs, dict) else obs.numpy().copy()


def write_state(model: Any, folder: Path, config: Optional[TrainConfig] = None,
                about: Optional[Mapping[str, Any]] = None) -> None:
    """The six files of a checkpoint into an existing `folder`, each whole or not there.

    There is no policy.pth of a policy that it cannot hold.
    Without a `config` there is no config.yml, and the checkpoint is for SB3's ``load`` and for ``load_policy``.
    `about` is added to meta.json.
    """
    normalizer: Optional[VecNormalize] = model.get_vec_normalize_env()
    with whole_file(folder / "model.zip") as path:
        model.save(path, exclude=NOT_IN_ZIP)
    if normalizer is not None:
        with whole_file(folder / "vecnormalize.pkl") as path:
            normalizer.save(str(path))
    write_bytes(folder / "task_state.pt", torch_bytes(task_state(model)))
    facts, meta = unwrap(model.get_env()).env.metadata(), {**(about or {}), **_meta(model)}
    if config is not None:
        facts.update(env=config.env, env_kwargs=dict(config.env_kwargs))
        meta.update(env=config.env, algo=config.algo)
        write_text(folder / "config.yml", dump_config(config))
    with contextlib.suppress(UserError):  # a policy that policy.pth cannot hold: the training began with a warning
        save_policy(folder / "policy.pth", policy_content(model, normalizer, facts))
    write_text(folder / "meta.json", json.dumps(meta, indent=2) + "\n")


class RunCheckpoints(BaseCallback):
    """``checkpoints/<steps>/`` every `every` iterations and at the end; ``latest/``, replaced, every `latest_every`.

    At the end the run folder itself gets the files too, and ``DONE``. A checkpoint is taken after an update and before
    the next rollout, where nothing is under way.

    :param config: written as config.yml, so that ``sb3-isaac train -i`` can go on; None where there is none.
    :param about: added to meta.json.
    :param stops: says at such a moment whether training is about to stop, so that its last state is taken there: SB3
        takes one more step before it does.
    """

    def __init__(self, run: Union[str, Path], config: Optional[TrainConfig] = None, every: int = 100,
                 latest_every: int = 10, about: Optional[Mapping[str, Any]] = None,
                 stops: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self.run_folder, self.config, self.every, self.latest_every = Path(run), config, every, latest_every
        self.spent_s = 0.0
        self._about, self._stops, self._finished = about, stops, False

    def _on_training_start(self) -> None:
        self._finished, self._first_steps = False, self.model.num_timesteps
        warn_without_policy_file(self.model)

    def _on_rollout_start(self) -> None:
        iteration = iteration_of(self.model)
        if self._stops():
            self._finish()
        elif self.model.num_timesteps > self._first_steps:
            if iteration % self.every == 0:
                self._save(self.run_folder / "checkpoints" / str(self.model.num_timesteps))
            if iteration % self.latest_every == 0:
                self._save(self.run_folder / "latest")

    def _save(self, folder: Path) -> None:
        start = time.perf_counter()
        with whole_folder(folder) as temporary:
            write_state(self.model, temporary, self.config, self._about)
        self.spent_s += time.perf_counter() - start

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        if not self._finished:
            self._finish()

    def _finish(self) -> None:
        self._finished = True
        final = self.run_folder / "checkpoints" / str(self.model.num_timesteps)
        self._save(final)
        self._save(self.run_folder / "latest")
        for file in sorted(final.iterdir()):
            with whole_file(self.run_folder / file.name) as path:
                shutil.copyfile(file, path)
        write_text(self.run_folder / "DONE", f"{self.model.num_timesteps}\n")
