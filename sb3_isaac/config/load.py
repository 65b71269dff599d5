"""From a file, overrides and arguments to one `TrainConfig`, and back to YAML."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sb3_isaac.config import schema
from sb3_isaac.config.files import find_file, read_entry, to_yaml
from sb3_isaac.config.grammar import parse_key_values, parse_literal, plain, resolve
from sb3_isaac.config.schema import OWN_KEYS, TrainConfig
from sb3_isaac.contract.errors import UserError, brief, unknown

# Options of a task or wrapper are free text: only `dict(...)` as the whole of env_kwargs is parsed.
_VERBATIM = ("env_kwargs", "env_wrapper", "vec_env_wrapper", "callback")
MOST_ENVS = 10**7
DEEPEST = 8
"""Parts of a dotted key."""
_CARRIED = ("frame_stack", "env_wrapper", "vec_env_wrapper")
_LAB_NORMALIZE = {"normalize_input": "norm_obs", "normalize_value": "norm_reward", "clip_obs": "clip_obs"}


def load_config(
    env: str,
    algo: str,
    *,
    path: str | os.PathLike[str] | None = None,
    algo_keys: Collection[str],
    env_keys: Collection[str],
    overrides: Mapping[str, object] = {},
    env_kwargs: Mapping[str, object] = {},
    num_envs: int | None = None,
    n_timesteps: float | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> TrainConfig:
    """The configuration of training `env` with `algo`, in rl-zoo's or Isaac Lab's SB3 dialect.

    `path` is a file or the stem of a shipped one; None is the shipped `<algo>.yml`. `algo_keys` and `env_keys` are the
    arguments that the algorithm and the task accept; as a mapping, `algo_keys` gives their defaults, by which values
    are checked. Later layers win: file, `overrides` (dotted keys reach inside
    mappings: `policy_kwargs.log_std_init`), `env_kwargs`, the remaining arguments. Inside env_kwargs a mapping is
    merged by key. `env_kwargs["num_envs"]` is `n_envs`. `n_minibatches` beats `batch_size` of the same or an earlier
    layer and sets the batch size to ⌈n_envs · n_steps / n_minibatches⌉. Raises UserError for everything unknown,
    missing, repeated or out of range.
    """
    file = find_file(algo, path)
    draft = _Draft(str(file), OWN_KEYS | set(algo_keys), {"num_envs", *env_keys},
                   algo_keys if isinstance(algo_keys, Mapping) else {})
    draft.add(read_entry(file, env), str(file))
    draft.add(overrides, "-params")
    draft.add({"env_kwargs": env_kwargs}, "--env-kwargs")
    arguments = {"num_envs": num_envs, "n_timesteps": n_timesteps, "seed": seed, "device": device}
    for name, value in arguments.items():
        if value is not None:
            draft.add({"n_envs" if name == "num_envs" else name: value}, f"the argument {name}")
    return draft.build(env, algo)


def parse_options(items: Sequence[str], flag: str, keys: Collection[str]) -> dict[str, object]:
    """The `key:value` strings given to `flag` as options of a task, whose names are `keys`; dotted keys are nested."""
    options: dict[str, object] = {}
    for dotted, value in parse_key_values(items, flag).items():
        path = dotted.split(".")
        if path[0] not in keys:
            raise unknown("key", path[0], keys, flag)
        _put(options, path, value, flag, merge=True)
    return options


def dump_config(config: TrainConfig) -> str:
    """YAML, the environment id on top, that `load_config` reads back to an equal configuration."""
    entry: dict[str, object] = {
        "n_timesteps": config.n_timesteps,
        "n_envs": config.n_envs,
        "policy": config.policy,
        "seed": config.seed,
        "device": config.device,
        "normalize": False if config.normalize is None else config.normalize or True,
        "env_kwargs": config.env_kwargs,
        "desired_kl": config.desired_kl,
        "callback": [{path: kwargs} if kwargs else path for path, kwargs in config.callback],
        **{key: getattr(config, key) for key in _CARRIED},
        **config.algo_kwargs,
    }
    if config.n_minibatches is not None:  # it goes with any number of environments, a batch size does not
        entry = {**{key: value for key, value in entry.items() if key != "batch_size"},
                 "n_minibatches": config.n_minibatches}
    where = f"the configuration of {config.env}"
    return to_yaml({config.env: {key: plain(value, where) for key, value in entry.items()}})


@dataclass
class _Draft:
    """An entry while its layers are laid on each other; remembers which layer a key came from."""

    source: str
    keys: Collection[str]
    env_keys: Collection[str]
    defaults: Mapping[str, object]
    """The algorithm's own values."""
    values: dict[str, object] = field(default_factory=dict)
    env_kwargs: dict[str, object] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    leaves: dict[str, str] = field(default_factory=dict)
    """The same of dotted keys inside mappings."""

    def add(self, layer: Mapping[str, object], where: str) -> None:
        """Lay `layer` on top."""
        for dotted, value in layer.items():
            root, *rest = str(dotted).split(".")
            if root not in self.keys:
                raise unknown("key", root, self.keys, where)
            self.origin[root] = where
            if root == "env_kwargs":
                self._add_env(rest, value, where)
            else:
                convert = plain if root in _VERBATIM else resolve
                converted = convert(value, f"{dotted} in {where}")
                _put(self.values, [root, *rest], converted, where)
                self._note(dotted, converted, where)
        if "batch_size" in layer and "n_minibatches" not in layer:
            self.values.pop("n_minibatches", None)
        if "num_envs" in self.env_kwargs:
            self.values["n_envs"], self.origin["n_envs"] = self.env_kwargs.pop("num_envs"), where
            self.leaves["n_envs"] = where

    def _note(self, key: str, value: object, where: str) -> None:
        """Remember `where` for `key` and every key inside it."""
        self.leaves[key] = where
        if isinstance(value, dict):
            for inner, part in value.items():
                self._note(f"{key}.{inner}", part, where)

    def build(self, env: str, algo: str) -> TrainConfig:
        """The checked configuration."""
        normalize = self._normalize()
        n_envs = schema.check_count("n_envs", *self._take("n_envs"), most=MOST_ENVS)
        carried = {key: self.values.pop(key, None) for key in _CARRIED}
        desired_kl, where = self._take("desired_kl", None)
        return TrainConfig(
            env=env,
            algo=algo,
            n_timesteps=schema.check_timesteps("n_timesteps", *self._take("n_timesteps")),
            n_envs=n_envs,
            policy=schema.check_text("policy", *self._take("policy")),
            seed=schema.check_seed("seed", *self._take("seed", None)),
            device=schema.check_text("device", *self._take("device", "auto")),
            normalize=normalize,
            env_kwargs=self.env_kwargs,
            desired_kl=None if desired_kl is None else schema.check_positive("desired_kl", desired_kl, where),
            callback=schema.check_callback(*self._take("callback", None)),
            source=self.source,
            n_minibatches=self._resolve_minibatches(n_envs),
            algo_kwargs=self._algo_kwargs(),
            origin=self.leaves,
            **carried,
        )

    def _add_env(self, path: list[str], value: object, where: str) -> None:
        name = ".".join(["env_kwargs", *path]) + f" in {where}"
        if path:
            self._put_env(path, plain(value, name), where)
            return
        given = plain(parse_literal(value, name) if isinstance(value, str) else value, name)
        if not isinstance(given, dict) and given is not None:
            raise UserError(f"{name} is {brief(value)}; give a mapping or a dict(...) string.")
        for key, item in (given or {}).items():
            self._put_env(key.split("."), item, where)

    def _put_env(self, path: list[str], value: object, where: str) -> None:
        if path[0] not in self.env_keys:
            raise unknown("env_kwargs key", path[0], self.env_keys, where)
        _put(self.env_kwargs, path, value, where, merge=True)
        self._note(".".join(["env_kwargs", *path]), value, where)

    def _take(self, key: str, *default: object) -> tuple[object, str]:
        """Remove `key`: its value, or the default, and the layer it came from."""
        if key not in self.values and not default:
            raise UserError(f"{self.source} does not set {key}; add it to the entry or give it with -params.")
        return self.values.pop(key, *default), self.origin.get(key, self.source)

    def _normalize(self) -> dict[str, object] | None:
        """Either dialect as arguments of VecNormalize; Isaac Lab's default for rewards is off."""
        lab = {key: self._take(key) for key in _LAB_NORMALIZE if key in self.values}
        value, where = self._take("normalize", None)
        if not lab:
            return schema.check_normalize(value, where)
        first, (_, lab_where) = next(iter(lab.items()))
        if value:
            raise UserError(
                f"{first} in {lab_where} and normalize in {where} exclude each other; "
                f"use normalize.{_LAB_NORMALIZE[first]} instead of {first}."
            )
        given = {_LAB_NORMALIZE[key]: item for key, (item, _) in lab.items()}
        self.leaves.update({f"normalize.{_LAB_NORMALIZE[key]}": origin for key, (_, origin) in lab.items()})
        checked = schema.check_normalize({"norm_obs": False, "norm_reward": False, **given}, lab_where)
        return checked if given.get("norm_obs") or given.get("norm_reward") else None

    def _resolve_minibatches(self, n_envs: int) -> int | None:
        """Set `batch_size` to what `n_minibatches`, if given, makes of one rollout; returns `n_minibatches`."""
        given, where = self._take("n_minibatches", None)
        if given is None:
            return None
        n_minibatches = schema.check_count("n_minibatches", given, where)
        if "buffer_size" in self.keys:
            raise UserError(f"n_minibatches in {where} divides a rollout, and this algorithm draws from a replay "
                            "buffer; give batch_size.")
        if "n_steps" not in self.values:
            raise UserError(f"n_minibatches in {where} needs n_steps; set n_steps as well.")
        n_steps = schema.check_count("n_steps", self.values["n_steps"], self.origin["n_steps"])
        transitions = n_envs * n_steps
        if n_minibatches > transitions:
            raise UserError(
                f"n_minibatches in {where} is {n_minibatches}, more than the {transitions} transitions of a rollout "
                f"(n_envs {n_envs} * n_steps {n_steps}); give fewer."
            )
        self.values["batch_size"] = schema.minibatch_size(transitions, n_minibatches)
        self.leaves["batch_size"] = f"n_minibatches in {where}"
        return n_minibatches

    def _algo_kwargs(self) -> dict[str, object]:
        """What is left in the entry."""
        for key, value in self.values.items():
            schema.check_algo(key, value, self.origin.get(key, self.source), self.defaults.get(key))
        return self.values


def _put(tree: dict[str, object], path: list[str], value: object, where: str, merge: bool = False) -> None:
    """Set `tree[a][b]...` to `value`; absent, null and (normalize: true) true parents become mappings."""
    if not all(path) or len(path) > DEEPEST:
        raise UserError(f"{brief('.'.join(path))} in {where} has an empty part, or more than {DEEPEST}; write "
                        "key.inner_key.")
    for depth, key in enumerate(path[:-1]):
        child = tree.get(key)
        if child is None or child is True:
            child = tree[key] = {}
        if not isinstance(child, dict):
            parent = ".".join(path[: depth + 1])
            raise UserError(f"{'.'.join(path)} in {where} cannot be set as {parent} is {brief(child)}; set {parent} "
                            "first.")
        tree = child
    old = tree.get(path[-1])
    if merge and isinstance(old, dict) and isinstance(value, dict):
        old.update(value)
    else:
        tree[path[-1]] = value
