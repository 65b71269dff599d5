"""What a training configuration holds, and the checks of single values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sb3_isaac.config.grammar import ACTIVATIONS, parse_schedule
from sb3_isaac.contract.errors import UserError, unknown

OWN_KEYS = frozenset(
    {
        *("n_timesteps", "n_envs", "policy", "seed", "device", "normalize", "env_kwargs", "desired_kl", "callback"),
        *("frame_stack", "env_wrapper", "vec_env_wrapper"),
        *("n_minibatches", "normalize_input", "normalize_value", "clip_obs"),  # Isaac Lab's
    }
)
"""Keys of an entry that do not go to the algorithm."""


@dataclass(frozen=True)
class TrainConfig:
    """The effective configuration of one training run; two are equal whichever file they came from.

    | field | what |
    |---|---|
    | env, algo | environment id; algorithm name, such as "ppo" |
    | n_timesteps, n_envs | transitions in all; parallel environments |
    | policy, device | policy class name; torch device or "auto" |
    | seed | 0 to 2³²−1, or None for a random one |
    | normalize | keyword arguments of VecNormalize; None is off, {} its defaults |
    | env_kwargs | task options: sim, robot, reward, command, … |
    | algo_kwargs | arguments of the algorithm; an activation is its name ("nn.ELU"), a schedule its text ("lin_3e-4") |
    | desired_kl | target divergence (nat) per update of an adaptive learning rate; None is off |
    | callback | pairs of dotted path and keyword arguments |
    | frame_stack, env_wrapper, vec_env_wrapper | as written, in rl-zoo's form; None if not set |
    | n_minibatches | the setting that `algo_kwargs["batch_size"]` was computed from; None if it was given directly |
    | source | the file it came from |
    """

    env: str
    algo: str
    n_timesteps: int
    n_envs: int
    policy: str
    seed: int | None = None
    device: str = "auto"
    normalize: Mapping[str, object] | None = None
    env_kwargs: Mapping[str, object] = field(default_factory=dict)
    algo_kwargs: Mapping[str, object] = field(default_factory=dict)
    desired_kl: float | None = None
    callback: tuple[tuple[str, Mapping[str, object]], ...] = ()
    frame_stack: object = None
    env_wrapper: object = None
    vec_env_wrapper: object = None
    n_minibatches: int | None = field(default=None, compare=False)
    source: str = field(default="", compare=False)

    @property
    def minibatches(self) -> int:
        """Minibatches in an epoch: ⌈n_envs · n_steps / batch_size⌉; UserError unless both keys are set."""
        n_steps, batch_size = self.algo_kwargs.get("n_steps"), self.algo_kwargs.get("batch_size")
        if not (isinstance(n_steps, int) and isinstance(batch_size, int)):
            raise UserError(f"{self.source} does not set both n_steps and batch_size; add them to count minibatches.")
        return -(-self.n_envs * n_steps // batch_size)


def minibatch_size(transitions: int, n_minibatches: int) -> int:
    """The batch size that makes at most `n_minibatches` of `transitions`: ⌈transitions / n_minibatches⌉.

    Where the division leaves a rest, the last minibatch is the smaller one.
    """
    return -(-transitions // n_minibatches)


def check_count(key: str, value: object, where: str) -> int:
    """`value` as a whole number of at least 1."""
    if type(value) is not int or value < 1:
        raise UserError(f"{key} in {where} is {value!r}; give a whole number of at least 1.")
    return value


def check_timesteps(key: str, value: object, where: str) -> int:
    """Like `check_count`, and 1e7 is taken as the whole number it is."""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return check_count(key, whole, where)


def check_number(key: str, value: object, where: str, high: float = math.inf) -> float:
    """`value` as a number from 0 to `high`; True, False and NaN are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
        span = "of at least 0" if high == math.inf else f"from 0 to {high:g}"
        raise UserError(f"{key} in {where} is {value!r}; give a number {span}.")
    return value


def check_bool(key: str, value: object, where: str) -> bool:
    """`value` as True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{key} in {where} is {value!r}; give true or false.")
    return value


def check_text(key: str, value: object, where: str) -> str:
    """`value` as a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise UserError(f"{key} in {where} is {value!r}; give a name.")
    return value


def check_seed(key: str, value: object, where: str) -> int | None:
    """`value` as a seed; None and, as in Isaac Lab, -1 ask for a random one."""
    if value is None or (type(value) is int and value == -1):
        return None
    if type(value) is not int or not 0 <= value < 2**32:
        raise UserError(f"{key} in {where} is {value!r}; give a whole number from 0 to 2**32 - 1, or -1 for random.")
    return value


def check_positive(key: str, value: object, where: str) -> float:
    """`value` as a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise UserError(f"{key} in {where} is {value!r}; give a positive number.")
    return value


def check_algo(key: str, value: object, where: str) -> None:
    """The arguments whose mistakes are common and late to show; the others are the algorithm's to judge."""
    if key in _NULLABLE and value is None:
        return
    if key in ("learning_rate", "clip_range", "clip_range_vf"):
        if isinstance(value, str):
            parse_schedule(value, f"{key} in {where}")
        else:
            check_positive(key, value, where)
    elif key in ("n_steps", "n_epochs", "batch_size"):
        check_count(key, value, where)
    elif key in _HIGHEST and not (key == "ent_coef" and str(value).startswith("auto")):
        check_number(key, value, where, _HIGHEST[key])
    elif key == "policy_kwargs":
        _check_policy_kwargs(value, where)


def check_normalize(value: object, where: str) -> dict[str, object] | None:
    """rl-zoo's `normalize` as keyword arguments of VecNormalize, None if off."""
    if value is None or value is False:
        return None
    if value is True:
        return {}
    if not isinstance(value, Mapping):
        raise UserError(f"normalize in {where} is {value!r}; give true, false or a mapping such as norm_obs: true.")
    for key, item in value.items():
        if key not in _NORMALIZE:
            raise unknown("normalize key", key, _NORMALIZE, where)
        _NORMALIZE[key](f"normalize.{key}", item, where)
    return dict(value)


def check_callback(value: object, where: str) -> tuple[tuple[str, Mapping[str, object]], ...]:
    """rl-zoo's `callback`, a path or a list of paths and {path: kwargs}, as pairs."""
    items = [] if value is None else value if isinstance(value, list) else [value]
    return tuple(_callback(item, where) for item in items)


def _callback(item: object, where: str) -> tuple[str, Mapping[str, object]]:
    path, kwargs = next(iter(item.items())) if isinstance(item, Mapping) and len(item) == 1 else (item, {})
    kwargs = {} if kwargs is None else kwargs
    if isinstance(path, str) and re.fullmatch(r"\w+(\.\w+)+", path) and isinstance(kwargs, Mapping):
        return path, dict(kwargs)
    raise UserError(f"callback in {where} is {item!r}; give package.module.Class or {{package.module.Class: kwargs}}.")


def _check_policy_kwargs(value: object, where: str) -> None:
    if not isinstance(value, Mapping):
        raise UserError(f"policy_kwargs in {where} is {value!r}; give a mapping or a dict(...) string.")
    if value.get("activation_fn", ACTIVATIONS[0]) not in ACTIVATIONS:
        raise unknown("activation", value["activation_fn"], ACTIVATIONS, where)


def _check_keys(key: str, value: object, where: str) -> None:
    if value is not None and not isinstance(value, list):
        raise UserError(f"{key} in {where} is {value!r}; give a list of observation keys.")


_NULLABLE = ("clip_range_vf", "target_kl", "policy_kwargs")
_HIGHEST = {
    "gamma": 1.0,
    "gae_lambda": 1.0,
    "ent_coef": math.inf,
    "vf_coef": math.inf,
    "max_grad_norm": math.inf,
    "target_kl": math.inf,
}
_NORMALIZE: dict[str, Callable[[str, object, str], object]] = {
    "training": check_bool,
    "norm_obs": check_bool,
    "norm_reward": check_bool,
    "clip_obs": check_number,
    "clip_reward": check_number,
    "gamma": check_number,
    "epsilon": check_positive,
    "norm_obs_keys": _check_keys,
}
