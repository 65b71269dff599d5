"""``sb3-isaac config ENV``: every setting that training would use, with where it comes from."""

from __future__ import annotations

import argparse
import os
from typing import Any, Dict, Iterator, Mapping, Tuple

from sb3_isaac.cli.main import add_gym_packages, import_gym_packages, import_isaacgym_if_needed
from sb3_isaac.cli.train import add_settings, config_of

Settings = Dict[str, Tuple[Any, str]]
"""Dotted key -> value and origin."""
_FLAGS = {"the argument num_envs": "--num-envs", "the argument n_timesteps": "-n", "the argument seed": "--seed",
          "the argument device": "--device"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``sb3-isaac train`` that make a configuration."""
    parser.add_argument("env", metavar="ENV", help="environment id")
    add_settings(parser)
    add_gym_packages(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    import_isaacgym_if_needed(args.env_kwargs, env=args.env)
    import_gym_packages(args)
    settings = settings_of(config_of(args))
    width = max(map(len, settings))
    for key, (value, origin) in settings.items():
        print(f"{key:<{width}}  {value!s:<24}  <- {origin}")
    return 0


def settings_of(config: Any) -> Settings:
    """Every setting of the configuration, the algorithm and the task, those that have their defaults included."""
    from sb3_isaac.clients import is_client
    from sb3_isaac.rl.training.build import algorithm, own_settings, settings_of_algorithm

    found = _with_origin(own_settings(config), config.origin, "default")
    found.update(_with_origin(settings_of_algorithm(config), config.origin,
                              f"default of {algorithm(config.algo).__name__}"))
    found.update(_with_origin({"env_kwargs": config.env_kwargs}, config.origin, ""))
    if not is_client(config.env):
        for key, value in _task_settings(config).items():
            found.setdefault(key, value)
    return found


def _task_settings(config: Any) -> Settings:
    """What the task itself sets: the defaults of its options, and the rewards and commands in effect."""
    from sb3_isaac.contract.tensor_env import constructor_parameters
    from sb3_isaac.envs.vec_env import IsaacVecEnv
    from sb3_isaac.tasks import task_class

    cls = task_class(config.env)
    env = IsaacVecEnv(config.env, num_envs=1, **config.env_kwargs)
    try:
        in_effect = env.env.options()
    finally:
        env.close()
    defaults = {name: parameter.default for name, parameter in constructor_parameters(cls).items()
                if name not in ("num_envs", "seed", "render_mode", *in_effect) and name not in config.env_kwargs}
    return _with_origin({"env_kwargs": {**defaults, **in_effect}}, config.origin, f"default of {cls.__name__}")


def _with_origin(tree: Mapping[str, Any], origin: Mapping[str, str], default: str) -> Settings:
    """Each leaf with the layer that set it."""
    return {key: (value, _short(origin.get(key, default))) for key, value in _leaves(tree)}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[Tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif not (isinstance(value, Mapping) and key == "env_kwargs"):
            yield f"{prefix}{key}", value


def _short(where: str) -> str:
    """A shipped file by its name alone, an argument by its flag."""
    from sb3_isaac.config.files import SHIPPED

    return _FLAGS.get(where, where.replace(f"{SHIPPED}{os.sep}", "the shipped "))
