"""``Doctor``: says what ails a training run, once, with the remedy; nothing while it is healthy."""

from __future__ import annotations

import math
from typing import Any, Dict

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac.contract.output import say
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.callbacks.findings import FINDINGS, Facts, History
from sb3_isaac.rl.callbacks.iteration import IterationCallback, robots_of, transitions_of_iteration

LOOKED_AT_EVERY = 10
"""Iterations between looks at what the normaliser clips."""


class Doctor(IterationCallback):
    """Prints a sentence for each failure of :mod:`~sb3_isaac.rl.callbacks.findings` that the run shows.

    It reads what is logged, once an iteration, at its end. It stands after a
    :class:`~sb3_isaac.rl.callbacks.training_log.TrainingLog`, which logs most of that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.findings: Dict[str, str] = {}
        """What was found so far: name -> sentence."""

    def _on_training_start(self) -> None:
        model: Any = self.model
        transitions = transitions_of_iteration(model)
        env, space = unwrap(self.training_env).env, model.action_space
        half = 0.0
        if isinstance(space, spaces.Box):
            half = float(np.min(space.high - space.low)) / 2
        self.history = History(Facts(
            max_steps=float(getattr(env, "max_steps", None) or math.inf), transitions=transitions,
            n_steps=transitions // robots_of(model), half_range=half if math.isfinite(half) else 1.0,
            target_kl=getattr(model, "target_kl", None) or 0.0))

    def _on_iteration_end(self) -> None:
        self.history.add(self.logger.name_to_value)
        if self.history.count % LOOKED_AT_EVERY == 0:
            self.history.clipped = self._clipped()
        for name, find in FINDINGS.items():
            sentence = None if name in self.findings else find(self.history)
            if sentence is not None:
                self.findings[name] = sentence
                say(f"doctor: {sentence}")

    def _clipped(self) -> Dict[str, float]:
        """Observation -> the share of its values in this rollout that the normaliser has clipped."""
        normalizer: Any = self.model.get_vec_normalize_env()
        if not isinstance(normalizer, VecNormalize) or not normalizer.norm_obs:
            return {}
        buffer = getattr(self.model, "rollout_buffer", None)
        observed = {} if buffer is None else buffer.observations
        groups = observed if isinstance(observed, dict) else {"policy": observed}
        normalised = normalizer.norm_obs_keys or list(groups)
        shares: Dict[str, float] = {}
        for group, values in groups.items():
            tensor = torch.as_tensor(values)
            if group in normalised and tensor.dim() == 3:
                clipped = (tensor.abs() >= normalizer.clip_obs).float().mean(dim=(0, 1)).tolist()
                shares.update(self._named(group, clipped))
        return shares

    def _named(self, group: str, shares: Any) -> Dict[str, float]:
        """The largest share of each observation that the group is joined from."""
        table = unwrap(self.training_env).env.metadata().get("obs_table", {}) if group == "policy" else {}
        if sum(table.values()) != len(shares):
            table = {f"{group}[{i}]": 1 for i in range(len(shares))}
        named, start = {}, 0
        for name, width in table.items():
            named[name] = max(shares[start:start + width])
            start += width
        return named
