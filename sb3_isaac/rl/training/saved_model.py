"""``model.zip`` and ``vecnormalize.pkl`` of a checkpoint, read without running what they may hold.

Both are pickles, by which SB3's own ``load`` runs whatever a file says. A run's configuration says how its model is
made, so here only numbers and weights are taken from the zip; the normaliser's pickle may name the classes of a
normaliser and nothing else.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any, Dict

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.records import number, whole
from sb3_isaac.rl.callbacks.evaluation import DUE, LAST_EVALUATION
from sb3_isaac.rl.training import build

COUNTERS = ("num_timesteps", "_total_timesteps", "_num_timesteps_at_start", "_episode_num", "_n_updates",
            LAST_EVALUATION, DUE)
_SERIALIZED = ":serialized:"
_NORMALIZER = {
    "stable_baselines3.common.vec_env.vec_normalize": {"VecNormalize"},
    "stable_baselines3.common.running_mean_std": {"RunningMeanStd"},
    **{f"gymnasium.spaces.{module}": {name} for module, name in (
        ("box", "Box"), ("dict", "Dict"), ("discrete", "Discrete"), ("multi_discrete", "MultiDiscrete"),
        ("multi_binary", "MultiBinary"))},
    "numpy": {"dtype", "ndarray"},
    **{f"numpy.{core}.multiarray": {"_reconstruct", "scalar"} for core in ("core", "_core")},
    **{f"numpy.{core}.numeric": {"_frombuffer"} for core in ("core", "_core")},
    "numpy.random._pickle": {"__generator_ctor", "__bit_generator_ctor"},
    "numpy.random._pcg64": {"PCG64"},
    "numpy.random.bit_generator": {"__pyx_unpickle_SeedSequence", "SeedSequence"},
    "collections": {"OrderedDict"}, "builtins": {"dict", "set"}, "_codecs": {"encode"},
}
"""Module -> what a pickled normaliser may name of it."""


class _NormalizerUnpickler(pickle.Unpickler):
    """Finds the classes of a normaliser alone."""

    def find_class(self, module: str, name: str) -> Any:
        """See pickle.Unpickler; a name that is not in the table is not imported."""
        if name not in _NORMALIZER.get(module, ()):
            raise UserError(f"it names {module}.{name}, and loading that could run anything")
        return super().find_class(module, name)


def load_normalizer(config: TrainConfig, path: Path, env: VecEnv) -> VecEnv:
    """`env` in the normaliser of a ``vecnormalize.pkl``.

    :raises UserError: when the pickle names anything that a normaliser does not have.
    """
    with path.open("rb") as file:
        held = getattr(_NormalizerUnpickler(file).load(), "__dict__", {})
    for name in ("clip_obs", "clip_reward", "epsilon", "gamma"):
        number()(name, held.get(name))
    normalizer: VecEnv = build.normalizer(config.algo).load(str(path), env)
    return normalizer


def load_model(config: TrainConfig, path: Path, env: VecEnv, **changes: Any) -> BaseAlgorithm:
    """The model of a ``model.zip``, made from `config`; of the zip come weights, the optimizer's state and numbers.

    Numbers that a callback may have changed (a learning rate, a coefficient) are the zip's; everything that is no
    number is the configuration's, so nothing is unpickled. `changes` are attributes that have other values than either.

    :raises UserError: when the zip is not of a model that `config` makes.
    """
    with zipfile.ZipFile(path) as archive:
        saved = json.loads(archive.read("data"))
    like = build.make_model(config, env, set_up=False)
    taken: Dict[str, Any] = {key: _taken(key, value, like) for key, value in saved.items()}
    model: BaseAlgorithm = build.algorithm(config.algo).load(path, env=env, device=config.device, custom_objects=taken,
                                                             **changes)
    return model


def _taken(key: str, value: Any, like: BaseAlgorithm) -> Any:
    """What a model has at `key`: the zip's `value` where it is a number, else what the new model `like` has."""
    if key in COUNTERS:
        return whole()(key, value)
    ours = getattr(like, key, None)
    if type(ours) is float and type(value) in (int, float):
        return number()(key, value)
    if isinstance(value, dict) and _SERIALIZED in value and not hasattr(like, key) and key != "lr_schedule":
        raise UserError(f"its {key} is pickled, and loading that could run anything")
    return ours
