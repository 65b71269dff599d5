"""Iterations: where a model stands, which episodes it logs, and callbacks that act once in each."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFrequencyUnit

from sb3_isaac.rl.distributed import world_size

LEAST_OFF_POLICY = 10_000
"""Transitions at least of an iteration of an off-policy algorithm, whose rollouts are often of a single step."""


def off_policy_iteration(rollout: int) -> int:
    """Transitions of an iteration that is made of whole rollouts of `rollout` transitions each."""
    return rollout * -(-LEAST_OFF_POLICY // rollout)


def robots_of(model: Any) -> int:
    """Robots that `model` learns from, those of all processes together."""
    return int(model.n_envs * world_size())


def transitions_of_iteration(model: Any) -> int:
    """Transitions of an iteration: one rollout on-policy, as many as make ``LEAST_OFF_POLICY`` off-policy."""
    if not isinstance(model, OffPolicyAlgorithm):
        return int(model.n_steps * robots_of(model))
    freq: Any = model.train_freq
    return off_policy_iteration(model.n_envs * (freq.frequency if freq.unit is TrainFrequencyUnit.STEP else 1))


def iteration_of(model: Any) -> int:
    """Iterations behind `model`: its transitions over those of one iteration."""
    return int(model.num_timesteps // transitions_of_iteration(model))


def share_episodes(model: Any, values: Mapping[str, float]) -> None:
    """SB3 logs the mean of its buffer of episodes: put the mean over all of this iteration's there."""
    if "rollout/ep_rew_mean" in values and model.ep_info_buffer is not None:
        model.ep_info_buffer.clear()
        model.ep_info_buffer.append({"r": values["rollout/ep_rew_mean"], "l": values["rollout/ep_len_mean"]})
    if "rollout/success_rate" in values and model.ep_success_buffer is not None:
        model.ep_success_buffer.clear()
        model.ep_success_buffer.append(values["rollout/success_rate"])


class IterationCallback(BaseCallback):
    """A callback that acts at the start and at the end of an iteration, also where that has many rollouts.

    A subclass writes ``_on_iteration_start``, after an update and before the next rollout, and ``_on_iteration_end``,
    after the iteration's last rollout and before its update.
    """

    def __init__(self) -> None:
        super().__init__()
        self._iteration: Optional[int] = None

    def on_training_start(self, locals_: Any, globals_: Any) -> None:
        """See SB3."""
        self._iteration = None
        super().on_training_start(locals_, globals_)

    def _on_rollout_start(self) -> None:
        iteration = iteration_of(self.model)
        if iteration != self._iteration:
            self._iteration = iteration
            self._on_iteration_start()

    def _on_rollout_end(self) -> None:
        if iteration_of(self.model) != self._iteration:
            self._on_iteration_end()

    def _on_iteration_start(self) -> None:
        pass

    def _on_iteration_end(self) -> None:
        pass

    def _on_step(self) -> bool:
        return True


class OffPolicyLog(IterationCallback):
    """Write the log once an iteration where SB3 would write it after some number of episodes.

    To be placed after those that record, with ``learn(log_interval=None)``. On-policy algorithms write it themselves.
    """

    def _on_iteration_end(self) -> None:
        if isinstance(self.model, OffPolicyAlgorithm):
            self.model.dump_logs()
