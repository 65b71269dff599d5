"""From a configuration to SB3 objects: algorithm class, environment, normaliser, model."""

from __future__ import annotations

import importlib
import inspect
import warnings
from typing import Any, Dict, Mapping, Tuple, Type

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common import vec_env as sb3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_isaac.config import TrainConfig, is_schedule, parse_schedule
from sb3_isaac.contract.errors import UserError, brief, number_above_zero, unknown, whole_number
from sb3_isaac.contract.names import find_object
from sb3_isaac.contract.tensor_env import constructor_parameters
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.envs.vec_normalize import VecNormalize
from sb3_isaac.policy.layers import ACTIVATIONS
from sb3_isaac.rl.callbacks.iteration import off_policy_iteration

ALGORITHMS: Dict[str, str] = {
    "ppo": "sb3_isaac.rl.algo.ppo:PPO",
    "sb3-ppo": "stable_baselines3:PPO",
    "trpo": "sb3_contrib:TRPO",
    "a2c": "stable_baselines3:A2C",
    "sac": "stable_baselines3:SAC",
    "td3": "stable_baselines3:TD3",
    "tqc": "sb3_contrib:TQC",
    "crossq": "sb3_contrib:CrossQ",
    "ppo_lstm": "sb3_contrib:RecurrentPPO",
}
"""``--algo``, in rl-zoo's words -> ``module:class`` of an SB3 algorithm, on-policy or off-policy. ``sb3-`` is stock SB3
where an algorithm of ours has its name. Another one is another line here, and its settings in ``config/``."""
UNTUNED = ("a2c", "sac", "td3", "tqc", "crossq", "ppo_lstm")
"""Those whose shipped settings are sensible guesses: nobody has searched for better ones."""
MANY_MINIBATCHES = 64
NOISES: Dict[str, Any] = {"normal": NormalActionNoise, "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise}
ONE_GROUP, MANY_GROUPS = ("MlpPolicy", "CnnPolicy"), ("MultiInputPolicy", "AsymmetricPolicy")
"""Names of policies for an observation that is an array, and for one that is a dict of groups."""
CALLBACK_PACKAGES = ("stable_baselines3", "sb3_contrib", "sb3_isaac")


def algorithm(name: str) -> Any:
    """The class of ``--algo NAME``."""
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    module, cls = ALGORITHMS[name].split(":")
    try:
        return getattr(importlib.import_module(module), cls)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UserError(f"algorithm {name!r} is in {module}, which is not installed: "
                        f"pip install {module.replace('_', '-')}.") from error


def _parameters(name: str) -> Dict[str, inspect.Parameter]:
    """What the algorithm's constructor takes, and what it passes on as keywords to its parent's."""
    return constructor_parameters(algorithm(name))


def algorithm_options(name: str) -> Dict[str, Any]:
    """Keywords that the algorithm takes and a configuration may set, with their defaults."""
    not_configurable = ("policy", "env", "tensorboard_log", "verbose", "seed", "device", "_init_setup_model",
                        "action_noise", "replay_buffer_class", "rollout_buffer_class")
    noise = ("noise_type", "noise_std") if "action_noise" in _parameters(name) else ()
    return {**{key: parameter.default for key, parameter in _parameters(name).items() if key not in not_configurable},
            **dict.fromkeys(noise)}


def setting(config: TrainConfig, key: str) -> Any:
    """What the algorithm will run with: the configuration's value, else its own default, else None."""
    parameter = _parameters(config.algo).get(key)
    return config.algo_kwargs.get(key, None if parameter is None else parameter.default)


def own_settings(config: TrainConfig) -> Dict[str, Any]:
    """The settings of a training that are not the algorithm's, those that have their defaults included."""
    return {"n_timesteps": config.n_timesteps, "n_envs": config.n_envs, "policy": config.policy, "seed": config.seed,
            "device": config.device, "normalize": False if config.normalize is None else config.normalize or True,
            "desired_kl": config.desired_kl, "callback": [path for path, _ in config.callback] or None,
            "n_minibatches": config.n_minibatches}


def settings_of_algorithm(config: TrainConfig) -> Dict[str, Any]:
    """What the algorithm will run with, its defaults included."""
    own = own_settings(config)
    return {key: setting(config, key) for key in algorithm_options(config.algo) if key not in own}


def is_off_policy(name: str) -> bool:
    """Whether ``--algo NAME`` learns from a replay buffer."""
    return issubclass(algorithm(name), OffPolicyAlgorithm)


def iteration_size(config: TrainConfig) -> int:
    """Transitions of an iteration, see :mod:`sb3_isaac.rl.callbacks.iteration`."""
    if not is_off_policy(config.algo):
        return config.n_envs * int(setting(config, "n_steps"))
    steps, unit = _train_freq(setting(config, "train_freq"))
    return off_policy_iteration(config.n_envs * (steps if unit == "step" else 1))


def _train_freq(value: Any) -> Tuple[int, str]:
    """rl-zoo's ``train_freq``: a number of steps, or such as ``[1, episode]``."""
    steps, unit = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, "step")
    return whole_number("train_freq", steps), str(unit)


def _schedule(text: str) -> Any:
    """rl-zoo's ``lin_x``: from x down to 0 as training goes on."""
    _, start = parse_schedule(text)
    return lambda progress_remaining: progress_remaining * start


def algorithm_kwargs(config: TrainConfig) -> Dict[str, Any]:
    """The algorithm's arguments with names of activations and schedules resolved."""
    resolved: Dict[str, Any] = {key: _schedule(value) if isinstance(value, str) and is_schedule(value) else value
                for key, value in config.algo_kwargs.items()}
    policy_kwargs: Dict[str, Any] = {**(resolved.get("policy_kwargs") or {})}
    if "activation_fn" in policy_kwargs:
        policy_kwargs["activation_fn"] = ACTIVATIONS[policy_kwargs["activation_fn"]]
    if policy_kwargs:
        resolved["policy_kwargs"] = policy_kwargs
    if "train_freq" in resolved:
        resolved["train_freq"] = _train_freq(resolved["train_freq"])
    return resolved


def _action_noise(kind: Any, std: Any, space: spaces.Space) -> ActionNoise:
    """rl-zoo's ``noise_type`` and ``noise_std``, as a part of the action's range from -1 to 1."""
    if kind not in NOISES:
        raise unknown("noise_type", kind, NOISES)
    size = spaces.flatdim(space)
    return NOISES[kind](np.zeros(size), number_above_zero("noise_std", std) * np.ones(size))


def check_supported(config: TrainConfig) -> None:
    """Refuse an unknown device, and what rl-zoo's YAML can say and environments that are one object cannot do."""
    if config.device != "auto":
        try:
            torch.zeros(1, device=config.device).tolist()  # "meta" has no numbers
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise UserError(f"device {config.device!r} cannot be used here: give auto, cpu, or a CUDA device such as "
                            f"cuda:0 where torch finds one ({torch.cuda.device_count()} found).") from error
    for key in ("env_wrapper", "vec_env_wrapper", "frame_stack"):
        if getattr(config, key) is not None:
            raise UserError(f"{key} in {config.set_in(key)} is not supported: all robots are one environment, so write "
                            "what it does into a task of your own, and remove the key.")
    if config.desired_kl is not None and not issubclass(algorithm(config.algo), stable_baselines3.PPO):
        raise UserError(f"desired_kl in {config.set_in('desired_kl')} steers the learning rate of PPO, and "
                        f"{config.algo} has no use for it: remove the key, or give target_kl where the algorithm takes "
                        "one.")
    n_steps, batch_size = setting(config, "n_steps"), setting(config, "batch_size")
    if not is_off_policy(config.algo) and isinstance(n_steps, int) and isinstance(batch_size, int):
        minibatches = -(-config.n_envs * n_steps // batch_size)
        if minibatches > MANY_MINIBATCHES:
            warnings.warn(f"batch_size {batch_size} makes {minibatches} minibatches of each epoch, which is slow: "
                          f"try batch_size {config.n_envs * n_steps // 12} or n_minibatches 12.", stacklevel=2)


def make_env(config: TrainConfig) -> IsaacVecEnv:
    """The training environment."""
    return IsaacVecEnv(config.env, num_envs=config.n_envs, seed=config.seed, **config.env_kwargs)  # type: ignore


def wrap_env(config: TrainConfig, env: IsaacVecEnv) -> VecEnv:
    """`env` behind a VecNormalize, where the configuration asks for it; its gamma is the algorithm's."""
    if config.normalize is None:
        return env
    kwargs: Dict[str, Any] = {"gamma": config.algo_kwargs.get("gamma", 0.99), **config.normalize}
    try:
        return normalizer(config.algo)(env, **kwargs)
    except (ValueError, TypeError, AssertionError) as error:
        raise UserError(f"normalize in {config.set_in('normalize')} cannot be used with {config.env} "
                        f"({' '.join(str(error).split()).rstrip('.')}): correct it.") from error


def normalizer(algo: str) -> Type[sb3.VecNormalize]:
    """The class that normalises for ``--algo``: SB3's own for SB3's own algorithms."""
    return sb3.VecNormalize if algo.startswith("sb3-") else VecNormalize


def make_model(config: TrainConfig, env: VecEnv, set_up: bool = True) -> BaseAlgorithm:
    """A fresh model; raises UserError with SB3's own words where it refuses a value.

    :param set_up: whether it has networks and buffers; without, it is what SB3's ``load`` begins with.
    """
    policy, kwargs = _policy(config, env), algorithm_kwargs(config)
    several = isinstance(env.observation_space, spaces.Dict)
    if policy in ONE_GROUP + MANY_GROUPS and several != (policy in MANY_GROUPS):
        raise UserError(f"policy {policy} in {config.set_in('policy')} is for {'one group' if several else 'groups'} "
                        f"of observations, and {config.env} has {'groups' if several else 'one'}: give policy: auto.")
    if "noise_type" in kwargs or "noise_std" in kwargs:
        kwargs["action_noise"] = _action_noise(kwargs.pop("noise_type", "normal"), kwargs.pop("noise_std", None),
                                               env.action_space)
    try:
        model: BaseAlgorithm = algorithm(config.algo)(
            policy, env, seed=config.seed, device=config.device, **kwargs,
            **({} if set_up else {"_init_setup_model": False}))
    except Exception as error:  # SB3 and torch answer a value that they cannot use in many ways
        named = [key for key in (*config.algo_kwargs, "policy") if key in str(error).lower()]
        raise UserError(f"{config.algo} cannot be made from {config.set_in(*named)} "
                        f"({' '.join(str(error).split()).rstrip('.')[:250]}): correct that value.") from error
    return model


def _policy(config: TrainConfig, env: VecEnv) -> str:
    """The name of the policy class; ``auto`` is the one that the observation groups call for."""
    if config.policy != "auto":
        return config.policy
    kinds = algorithm(config.algo).policy_aliases
    groups: Any = env.observation_space.spaces if isinstance(env.observation_space, spaces.Dict) else ()
    wanted = ("AsymmetricPolicy", "MultiInputPolicy", "MultiInputLstmPolicy") if groups else ("MlpPolicy",
                                                                                               "MlpLstmPolicy")
    found = [kind for kind in wanted if kind in kinds]
    if not found:
        raise UserError(f"{config.algo} has no policy for several groups of observations, and {config.env} has "
                        f"{', '.join(groups)}: leave out the option that adds one, or take another algorithm.")
    return found[0]


def yaml_callback(path: str, kwargs: Mapping[str, Any]) -> BaseCallback:
    """The callback that a configuration names by its dotted path, in SB3, sb3_contrib or an allowed package.

    :raises UserError: for a class in another package, one that is no ``BaseCallback``, or arguments that it refuses.
    """
    cls = find_object(path, f"callback {path!r}", also=CALLBACK_PACKAGES)
    if not (isinstance(cls, type) and issubclass(cls, BaseCallback)):
        raise UserError(f"callback {path!r} is not a class derived from stable_baselines3's BaseCallback: give one.")
    try:
        callback: BaseCallback = cls(**kwargs)
    except Exception as error:  # a class of the user's may raise anything
        raise UserError(f"callback {path!r} refuses {brief(dict(kwargs))} ({error}): correct its arguments.") from error
    return callback
