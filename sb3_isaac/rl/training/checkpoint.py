"""Checkpoints: their files, and the callback that writes them while a model learns."""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Union

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac.config import TrainConfig, dump_config
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import atomic_file, atomic_folder, write_text
from sb3_isaac.contract.signals import Interrupted, Interrupts
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.policy.torch_files import torch_bytes
from sb3_isaac.rl import distributed
from sb3_isaac.rl.callbacks.iteration import IterationCallback, iteration_of
from sb3_isaac.rl.policy.export import policy_content, warn_without_policy_file
from sb3_isaac.rl.policy.finite import why_not_finite
from sb3_isaac.rl.training.run_folder import CHECKPOINT_FILES, installed_versions, task_state_file
from sb3_isaac.rl.training.task_state import task_state

# What SB3 would put into the zip besides: live observations (kept in task_state.pt) and a buffer of episodes.
NOT_IN_ZIP = ("_last_obs", "_last_episode_starts", "_last_original_obs", "ep_info_buffer", "ep_success_buffer")


def write_checkpoint(model: Any, folder: Path, config: Optional[TrainConfig] = None,
                     about: Optional[Mapping[str, Any]] = None, task_states: Sequence[bytes] = ()) -> None:
    """The six files of a checkpoint into `folder`, one of :func:`~sb3_isaac.contract.files.atomic_folder`.

    Without a `config` there is no config.yml, and the checkpoint is for SB3's ``load`` and for ``load_policy``.
    `about` is added to meta.json. `task_states` are those of all processes that train; without them, this one's.
    """
    normalizer: Optional[VecNormalize] = model.get_vec_normalize_env()
    model.save(folder / "model.zip", exclude=NOT_IN_ZIP)
    if normalizer is not None:
        normalizer.save(str(folder / "vecnormalize.pkl"))
    for rank, state in enumerate(task_states or [torch_bytes(task_state(model))]):
        (folder / task_state_file(rank)).write_bytes(state)
    meta = {**(about or {}), **_meta(model.seed, model.num_timesteps, iteration_of(model))}
    if config is not None:
        meta.update(env=config.env, algo=config.algo)
        (folder / "config.yml").write_bytes(dump_config(config).encode("utf-8"))
    with contextlib.suppress(UserError):  # a policy that policy.pth cannot hold: the training began with a warning
        content = policy_content(model, normalizer, policy_facts(model, config))
        (folder / "policy.pth").write_bytes(torch_bytes(content))
    (folder / "meta.json").write_bytes((json.dumps(meta, indent=2) + "\n").encode("utf-8"))


def policy_facts(model: Any, config: Optional[TrainConfig]) -> Dict[str, Any]:
    """What is said of a policy: its environment's own facts, the steps it was trained for, and on what."""
    facts = {**unwrap(model.get_env()).env.metadata(), "steps": model.num_timesteps}
    if config is not None:  # how many threads there were is the machine's business, and no part of a policy
        facts.update(env=config.env, env_kwargs={key: value for key, value in config.env_kwargs.items()
                                                 if key != "threads"})
    return facts


def write_start(run: Path, config: TrainConfig, about: Mapping[str, Any]) -> None:
    """``config.yml`` and ``meta.json`` of a run without a checkpoint, from which ``train -i`` begins it again."""
    write_text(run / "config.yml", dump_config(config))
    meta = {**about, **_meta(config.seed, 0, 0), "env": config.env, "algo": config.algo}
    write_text(run / "meta.json", json.dumps(meta, indent=2) + "\n")


def copy_checkpoint(checkpoint: Path, run: Path, config: TrainConfig) -> None:
    """Make `checkpoint`, of another run, the ``latest/`` of a new one, which `config` goes on with."""
    with atomic_folder(run / "latest") as folder:
        for file in checkpoint.iterdir():
            if file.name in CHECKPOINT_FILES or fnmatch(file.name, "task_state_*.pt"):
                shutil.copyfile(file, folder / file.name)
        write_text(folder / "config.yml", dump_config(config))


def _meta(seed: Optional[int], num_timesteps: int, iteration: int) -> Dict[str, Any]:
    versions = installed_versions("sb3_isaac", "stable-baselines3", "gymnasium", "torch", "numpy", "mujoco")
    return {
        "seed": seed, "num_timesteps": num_timesteps, "iteration": iteration, "processes": distributed.world_size(),
        "command_line": sys.argv, "python": platform.python_version(),
        "platform": platform.platform(), "versions": versions, "saved_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def write_done(run: Path, steps: Optional[int]) -> None:
    """``DONE``: the run's training has come to its end, after so many transitions."""
    write_text(run / "DONE", f"{steps}\n")


class RunCheckpoints(IterationCallback):
    """``checkpoints/<steps>/`` every `every` iterations and at the end; ``latest/``, replaced, every `latest_every`.

    At the end the run folder itself gets the files too, and ``DONE``. A checkpoint is taken after an update and before
    the next rollout, when no episode step or update is half done. A model that is not finite is never saved: NotFinite
    ends the training, and what was saved before stays.

    :param config: written as config.yml, so that ``sb3-isaac train -i`` can resume; None where there is none.
    :param about: added to meta.json.
    :param done: whether to write ``DONE``; False for a caller who does more at the end and then writes it.
    """

    def __init__(self, run: Union[str, Path], config: Optional[TrainConfig] = None, every: int = 100,
                 latest_every: int = 10, about: Optional[Mapping[str, Any]] = None,
                 done: bool = True) -> None:
        super().__init__()
        self.run_folder, self.config, self.every, self.latest_every = Path(run), config, every, latest_every
        self.spent_s = 0.0
        self.final_steps: Optional[int] = None
        """Transitions of the run's last state, once that is saved."""
        self._about, self._done = about, done

    def _on_training_start(self) -> None:
        self.final_steps, self._first_steps = None, self.model.num_timesteps
        warn_without_policy_file(self.model)

    def _on_iteration_start(self) -> None:
        iteration = iteration_of(self.model)
        if self.model.num_timesteps > self._first_steps:
            if iteration % self.every == 0:
                self._save(self.run_folder / "checkpoints" / str(self.model.num_timesteps))
            if iteration % self.latest_every == 0:
                self.save_latest()

    def save_latest(self) -> None:
        """Save the model as it is now, to be called between an update and the next rollout."""
        self._save(self.run_folder / "latest")

    def _save(self, folder: Path) -> None:
        start = time.perf_counter()
        error = why_not_finite(self.model)
        if error is not None:
            raise error
        states = distributed.gathered(torch_bytes(task_state(self.model)))
        if distributed.rank() == 0:
            with atomic_folder(folder) as temporary:
                write_checkpoint(self.model, temporary, self.config, self._about, states)
        self.spent_s += time.perf_counter() - start

    def _on_training_end(self) -> None:
        if self.final_steps is None:
            self.finish()
        if self._done and distributed.rank() == 0:
            write_done(self.run_folder, self.final_steps)

    def finish(self) -> None:
        """Save the model as it is now as the last state of the run, once."""
        final = self.run_folder / "checkpoints" / str(self.model.num_timesteps)
        self._save(final)
        self.save_latest()
        if distributed.rank() == 0:
            # meta.json last: until then it says, truly, that the files here may be older than those in latest/.
            for file in sorted(final.iterdir(), key=lambda file: (file.name == "meta.json", file.name)):
                with atomic_file(self.run_folder / file.name) as path:
                    shutil.copyfile(file, path)
        self.final_steps = self.model.num_timesteps


class SaveOnStop(IterationCallback):
    """Save the run's last state where an evaluation, at the start of a rollout, has decided to stop training.

    SB3 takes one more step before it stops. To be placed after the evaluation.

    :param stops: whether training is about to stop.
    """

    def __init__(self, checkpoints: RunCheckpoints, stops: Callable[[], bool]) -> None:
        super().__init__()
        self._checkpoints, self._stops = checkpoints, stops

    def _on_iteration_start(self) -> None:
        if self._stops() and self._checkpoints.final_steps is None:
            self._checkpoints.finish()


class SaveOnSignal(BaseCallback):
    """Where a signal has come, to any process of the training, save ``latest/`` after this iteration's update, and
    raise Interrupted on all.

    To be placed after the evaluation, so that a run that is over anyway ends as such.
    """

    def __init__(self, checkpoints: RunCheckpoints, interrupts: Interrupts) -> None:
        super().__init__()
        self._checkpoints, self._interrupts = checkpoints, interrupts

    def _on_training_start(self) -> None:
        self._first_steps = self.model.num_timesteps

    def _on_rollout_start(self) -> None:
        number = distributed.largest(self._interrupts.number or 0)
        if number and self._checkpoints.final_steps is None:
            if self.model.num_timesteps > self._first_steps:
                self._checkpoints.save_latest()
            raise Interrupted(number)

    def _on_step(self) -> bool:
        return True
