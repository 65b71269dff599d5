"""Runs in Python: the model and environment of a run folder, to look at, to go on with, or to tune for another task."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_isaac.clients import env_of_file, env_options, registered_id
from sb3_isaac.config import TrainConfig, load_config
from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.policy.formats import NoPolicyFile, load_policy
from sb3_isaac.rl.policy.export import Actor, ModelPolicy
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.checkpoint import policy_facts
from sb3_isaac.rl.training.run_folder import find_checkpoint, read_meta
from sb3_isaac.rl.training.saved_model import load_model, load_normalizer


def load_run(run: Union[str, Path], num_envs: Optional[int] = None, device: str = "auto", training: bool = False,
             **env_kwargs: Any) -> Tuple[Any, VecEnv]:
    """The SB3 model of a run folder, its newest checkpoint, and its environment, normalised as it was in training.

    >>> model, env = load_run("logs/ppo/IsaacQuadrupedFlat-v0_1", num_envs=16)
    >>> obs = env.reset()
    >>> actions, _ = model.predict(obs, deterministic=True)

    :param run: a run folder, or a checkpoint folder in it.
    :param num_envs: environments; None is as many as in training.
    :param device: torch device of the model, or "auto".
    :param training: whether the normaliser goes on learning from observations, and normalises rewards, as
        ``model.learn`` needs it.
    :param env_kwargs: options of the task in place of those of the run, such as ``render_mode="rgb_array"``.
    :raises UserError: when there is no run, or its files do not fit the environment.

    Of the files numbers are taken alone: nothing that they may hold is executed.
    """
    checkpoint = find_checkpoint(Path(run))
    return _loaded(saved_config(checkpoint, device=device), checkpoint, num_envs, training, env_kwargs)


def _loaded(config: TrainConfig, checkpoint: Path, num_envs: Optional[int], training: bool,
            env_kwargs: Mapping[str, Any]) -> Tuple[Any, VecEnv]:
    options: Dict[str, Any] = {"seed": config.seed, **config.env_kwargs, **env_kwargs}
    env = IsaacVecEnv(config.env, num_envs=config.n_envs if num_envs is None else num_envs, **options)
    try:
        model = _saved_model(config, env, checkpoint)
    except Exception as error:  # what is read of a damaged file may raise anything
        env.close()
        raise UserError(f"{checkpoint} cannot be loaded ({_one_line(error)}): give options of the environment that it "
                        "was trained with, or another checkpoint.") from error
    normalizer = unwrap_vec_normalize(model.get_env())
    if normalizer is not None:
        normalizer.training = training
        normalizer.norm_reward = normalizer.norm_reward and training
    return model, model.get_env()


_SIMULATORS = ("sim", "device", "nconmax", "njmax", "cuda_graphs", "render_mode")
"""Options of a simulator that a policy may have been trained on."""


def load_actor(run: Union[str, Path], env: Optional[str] = None) -> Actor:
    """What acts where a run is evaluated or played: its ``policy.pth`` or, where its policy can be none, such as a
    recurrent one, its model.

    :param env: the environment, where the user has named it, see :func:`saved_config`.
    :raises UserError: when there is neither.
    """
    try:
        return load_policy(run)
    except NoPolicyFile:
        checkpoint = find_checkpoint(Path(run))
        config = saved_config(checkpoint, env, device="cpu")
        options = dict(config.env_kwargs)
        if registered_id(config.env) is not None:  # of its environment spaces and facts are read: any simulator will do
            options = {name: value for name, value in options.items() if name not in _SIMULATORS}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You have specified a mini-batch size", UserWarning)  # it trains no more
            model, made = _loaded(dataclasses.replace(config, env_kwargs=options), checkpoint, 2, False, {})
        made.close()
        return ModelPolicy(model, unwrap_vec_normalize(made), policy_facts(model, config))


def saved_config(checkpoint: Path, env: Optional[str] = None, **changes: Any) -> TrainConfig:
    """The configuration of a checkpoint folder; `changes` are arguments of ``load_config``.

    :param env: the environment, where the user has named it: then a client's package may be imported for it.
    :raises UserError: for an environment that is not ours and that only the file names.
    """
    meta = read_meta(checkpoint)
    for key in ("env", "algo"):
        if meta.get(key) is None:
            raise UserError(f"{checkpoint / 'meta.json'} has no {key}, so it is of a program's own training: load "
                            "model.zip and vecnormalize.pkl as that program does.")
    if env is None:
        env_of_file(meta["env"], str(checkpoint / "meta.json"))
    return load_config(meta["env"], meta["algo"], path=checkpoint / "config.yml",
                       algo_keys=build.algorithm_options(meta["algo"]), env_keys=env_options(meta["env"]), **changes)


def _saved_model(config: TrainConfig, env: IsaacVecEnv, checkpoint: Path, **changes: Any) -> Any:
    """The model of a checkpoint folder on `env`, behind its normaliser; `changes` are attributes of the model."""
    wrapped: VecEnv = env
    if config.normalize is not None:
        wrapped = load_normalizer(config, checkpoint / "vecnormalize.pkl", env)
    return load_model(config, checkpoint / "model.zip", wrapped, **changes)


_FIXED = ("policy_kwargs", "noise_type", "noise_std", "symmetry")
"""Settings that make networks and buffers, which a loaded model has already."""


def model_to_tune(config: TrainConfig, env: IsaacVecEnv, checkpoint: Path) -> Any:
    """The model of a checkpoint, to be trained from step 0 on `env` with what `config` sets differently."""
    saved, resolved = saved_config(checkpoint), build.algorithm_kwargs(config)
    changed = [key for key, value in config.algo_kwargs.items() if value != build.setting(saved, key)]
    for key in _FIXED:
        if key in changed:
            raise UserError(f"{key} cannot be changed on the trained networks of {checkpoint}: leave it out, or train "
                            "anew.")
    try:
        model = _saved_model(config, env, checkpoint, seed=config.seed, **{key: resolved[key] for key in changed})
    except Exception as error:  # what is read of a damaged file may raise anything
        raise UserError(f"{checkpoint} cannot be trained further in this environment ({_one_line(error)}): give "
                        "options that leave its observations and actions as they are.") from error
    model.num_timesteps = 0
    return model


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
