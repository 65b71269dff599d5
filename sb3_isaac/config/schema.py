"""What a training configuration holds, and the checks of single values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sb3_isaac.config.grammar import ACTIVATIONS, parse_schedule
from sb3_isaac.contract.errors import LARGEST_FLOAT, LARGEST_INT, UserError, brief, unknown

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
    | origin | dotted key -> the layer that set it: a file or an argument; what has its default is not in it |
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
    origin: Mapping[str, str] = field(default_factory=dict, compare=False)

    def set_in(self, *keys: str) -> str:
        """The file or argument that set the first of these keys that is set; without any, the file."""
        return next((self.origin[key] for key in keys if key in self.origin), self.source)

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


def check_count(key: str, value: object, where: str, most: int = 10**9) -> int:
    """`value` as a whole number from 1 to `most`."""
    if type(value) is not int or not 1 <= value <= most:
        raise UserError(f"{key} in {where} is {brief(value)}; give a whole number of at least 1 and at most {most}.")
    return value


def check_timesteps(key: str, value: object, where: str) -> int:
    """Like `check_count`, and 1e7 is taken as the whole number it is."""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return check_count(key, whole, where, most=LARGEST_INT)


def check_number(key: str, value: object, where: str, high: float = math.inf) -> float:
    """`value` as a number from 0 to `high`; True, False and NaN are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
        span = "of at least 0" if high == math.inf else f"from 0 to {high:g}"
        raise UserError(f"{key} in {where} is {brief(value)}; give a number {span}.")
    return value


def check_bool(key: str, value: object, where: str) -> bool:
    """`value` as True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{key} in {where} is {brief(value)}; give true or false.")
    return value


def check_text(key: str, value: object, where: str) -> str:
    """`value` as a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise UserError(f"{key} in {where} is {brief(value)}; give a name.")
    return value


def check_seed(key: str, value: object, where: str) -> int | None:
    """`value` as a seed; None and, as in Isaac Lab, -1 ask for a random one."""
    if value is None or (type(value) is int and value == -1):
        return None
    if type(value) is not int or not 0 <= value < 2**32:
        raise UserError(f"{key} in {where} is {brief(value)}; give a whole number from 0 to 2**32 - 1, or "
                        "-1 for random.")
    return value


def check_positive(key: str, value: object, where: str) -> float:
    """`value` as a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise UserError(f"{key} in {where} is {brief(value)}; give a positive number.")
    return value


def check_algo(key: str, value: object, where: str, default: object = None) -> None:
    """An argument of the algorithm: of the kind that its `default` is of, in a range that makes sense.

    Where the default says nothing (None), a value of any kind is the algorithm's to judge.
    """
    if value is None and default is None:
        return
    if key.endswith("_class"):
        raise UserError(f"{key} in {where} is {brief(value)}, and a configuration names no classes: give it in a "
                        "program of your own.")
    if key in ("learning_rate", "clip_range", "clip_range_vf"):
        if isinstance(value, str):
            parse_schedule(value, f"{key} in {where}")
        else:
            check_positive(key, value, where)
    elif key == "policy_kwargs":
        check_policy_kwargs(value, where)
    elif key in _MOST:
        check_count(key, value, where, _MOST[key])
    elif isinstance(default, bool):
        check_bool(key, value, where)
    elif type(default) is int and not (key == "train_freq" and isinstance(value, list)):
        _check_whole(key, value, where)
    elif type(default) is float or (key in _HIGHEST and not _is_auto(value, default)):
        check_number(key, value, where, _HIGHEST.get(key, LARGEST_FLOAT))


def _is_auto(value: object, default: object) -> bool:
    """Whether `value` leaves it to the algorithm, as SAC's ``auto_0.1`` does, where its default does too."""
    return isinstance(default, str) and isinstance(value, str) and value.startswith(default)


def _check_whole(key: str, value: object, where: str) -> None:
    least = _LEAST.get(key, 1)
    if type(value) is not int or not least <= value <= 10**9:
        raise UserError(f"{key} in {where} is {brief(value)}; give a whole number of at least {least}.")


def check_normalize(value: object, where: str) -> dict[str, object] | None:
    """rl-zoo's `normalize` as keyword arguments of VecNormalize, None if off."""
    if value is None or value is False:
        return None
    if value is True:
        return {}
    if not isinstance(value, Mapping):
        raise UserError(f"normalize in {where} is {brief(value)}; give true, false or a mapping such as "
                        "norm_obs: true.")
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
    raise UserError(f"callback in {where} is {brief(item)}; give package.module.Class or "
                    "{package.module.Class: kwargs}.")


def check_policy_kwargs(value: object, where: str) -> None:
    """SB3's arguments of policies; what is not in the table is the policy's to judge."""
    if not isinstance(value, Mapping):
        raise UserError(f"policy_kwargs in {where} is {brief(value)}; give a mapping or a dict(...) string.")
    if value.get("activation_fn", ACTIVATIONS[0]) not in ACTIVATIONS:
        raise unknown("activation", value["activation_fn"], ACTIVATIONS, where)
    for key, item in value.items():
        name = f"policy_kwargs.{key}"
        if key.endswith("_class"):
            raise UserError(f"{name} in {where} is {brief(item)}, and a configuration names no classes: give it in a "
                            "program of your own.")
        if key in _POLICY_KWARGS and item is not None:
            _POLICY_KWARGS[key](name, item, where)


def _check_net_arch(key: str, value: object, where: str, deep: bool = False) -> None:
    """Widths of layers, or a mapping of pi, vf or qf to them."""
    if isinstance(value, Mapping) and not deep and set(value) <= {"pi", "vf", "qf"}:
        for name, widths in value.items():
            _check_net_arch(f"{key}.{name}", widths, where, deep=True)
        return
    if not isinstance(value, list) or len(value) > 64 or not all(
            type(width) is int and 1 <= width <= WIDEST for width in value):
        raise UserError(f"{key} in {where} is {brief(value)}; give a list of widths from 1 to {WIDEST} such as "
                        "[256, 128, 64], or one each for pi and vf.")


def _check_log_std(key: str, value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 20:
        raise UserError(f"{key} in {where} is {brief(value)}; give a number from -20 to 20, the logarithm of a spread.")


def _check_mapping(key: str, value: object, where: str) -> None:
    if not isinstance(value, Mapping):
        raise UserError(f"{key} in {where} is {brief(value)}; give a mapping.")


def _check_keys(key: str, value: object, where: str) -> None:
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise UserError(f"{key} in {where} is {brief(value)}; give a list of observation keys.")


_HIGHEST = {
    "gamma": 1.0,
    "gae_lambda": 1.0,
    "ent_coef": 1e6,
    "vf_coef": 1e6,
    "max_grad_norm": math.inf,
    "target_kl": 1e6,
    "tau": 1.0,
    "cg_damping": 1e6,
    "line_search_shrinking_factor": 1.0,
}
_MOST = {"n_steps": 10**6, "n_epochs": 10**4, "batch_size": 10**9}
_LEAST = {"sde_sample_freq": -1, "gradient_steps": -1, "learning_starts": 0, "top_quantiles_to_drop_per_net": 0}
WIDEST = 8192
_POLICY_KWARGS: dict[str, Callable[[str, object, str], object]] = {
    "net_arch": _check_net_arch,
    "log_std_init": _check_log_std,
    **dict.fromkeys(("ortho_init", "full_std", "use_expln", "squash_output", "share_features_extractor",
                     "normalize_images", "enable_critic_lstm", "shared_lstm"), check_bool),
    **dict.fromkeys(("n_critics", "n_quantiles", "lstm_hidden_size", "n_lstm_layers"), check_count),
    **dict.fromkeys(("optimizer_kwargs", "features_extractor_kwargs", "lstm_kwargs"), _check_mapping),
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
