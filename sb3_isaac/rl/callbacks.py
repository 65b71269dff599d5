"""Callbacks for SB3's ``learn()``, each of use on its own with stock PPO on an IsaacVecEnv.

An iteration is one rollout and one update. ``save_freq`` and the like of SB3 count calls of ``step``; these count
iterations, so that "every 100" means every 100 × n_steps × num_envs transitions.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import torch
from stable_baselines3.common.callbacks import BaseCallback

from sb3_isaac.errors import UserError
from sb3_isaac.rl.evaluate import evaluate, walks
from sb3_isaac.rl.export import ExportedPolicy, policy_content
from sb3_isaac.vec_env import IsaacVecEnv, unwrap

PHASES = ("physics", "task", "inference", "update", "aside")


def iteration_of(model: Any) -> int:
    """Iterations behind `model`: its transitions over those of one rollout."""
    return int(model.num_timesteps // (model.n_steps * model.n_envs))


def peak_memory_mb() -> float:
    """The process's largest resident memory so far, MB; NaN where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def share_episodes(model: Any, values: Mapping[str, float]) -> None:
    """SB3 logs the mean of its buffer of episodes: put the mean over all of this rollout's there."""
    if "rollout/ep_rew_mean" in values and model.ep_info_buffer is not None:
        model.ep_info_buffer.clear()
        model.ep_info_buffer.append({"r": values["rollout/ep_rew_mean"], "l": values["rollout/ep_len_mean"]})


def adapted_rate(rate: float, kl: float, desired_kl: float, low: float = 1e-5, high: float = 1e-2) -> float:
    """The learning rate after an update that moved the policy by `kl` nat, within [low, high].

    Above twice `desired_kl` it is divided by 1.5, below half of it multiplied by 1.5: the rule of rsl_rl and of
    Schulman's adaptive-KL PPO (arXiv 1707.06347), applied once an iteration.
    """
    if kl > 2.0 * desired_kl:
        return max(low, rate / 1.5)
    return min(high, rate * 1.5) if kl < 0.5 * desired_kl else rate


class AdaptiveLearningRate(BaseCallback):
    """Steer the learning rate so that an update moves the policy by about `desired_kl` nat: :func:`adapted_rate`.

    The rate is the model's ``learning_rate``, so a saved model carries it.

    :param desired_kl: above 0; locomotion commonly uses 0.01.
    :param low, high: bounds of the rate.
    """

    def __init__(self, desired_kl: float = 0.01, low: float = 1e-5, high: float = 1e-2) -> None:
        super().__init__()
        if not desired_kl > 0 or not 0 < low <= high:
            raise UserError(f"desired_kl {desired_kl}, low {low} and high {high} must be above 0 with low <= high.")
        self.desired_kl, self.low, self.high = desired_kl, low, high
        self._answered: Optional[int] = None

    def _on_training_start(self) -> None:
        rate = self.model.learning_rate
        if callable(rate):
            if rate(1.0) != rate(0.0):
                raise UserError("AdaptiveLearningRate needs a number as learning_rate to start from: drop the "
                                "schedule.")
            self.model.learning_rate = rate(1.0)  # rl-zoo makes a constant schedule of a number

    def _on_rollout_start(self) -> None:
        self._adapt()

    def _on_training_end(self) -> None:
        self._adapt()

    def _adapt(self) -> None:
        """Answer the last update, once."""
        kl = self.logger.name_to_value.get("train/approx_kl")
        updates = getattr(self.model, "_n_updates", None)
        if kl is None or updates == self._answered:
            return
        self._answered = updates
        rate = float(self.model.learning_rate)  # type: ignore[arg-type]
        self.model.learning_rate = adapted_rate(rate, kl, self.desired_kl, self.low, self.high)
        self.model._setup_lr_schedule()

    def _on_step(self) -> bool:
        return True


class FadingExploration(BaseCallback):
    """Hold the standard deviation of a Gaussian policy's actions below a ceiling that falls as training goes on.

    A policy that explores widely learns a mean action that makes up for its noise: without the noise the robot then
    runs ahead of its command. The ceiling falls geometrically from `start_std` to `end_std` between the timesteps
    `begin` and `until`, and stays there; what the policy itself learns below it is left alone.

    :param start_std, end_std: in units of the action, above 0.
    :param begin, until: timesteps, 0 <= begin < until.
    """

    def __init__(self, start_std: float = 0.25, end_std: float = 0.1, begin: float = 1.0e6,
                 until: float = 3.5e6) -> None:
        super().__init__()
        if not (start_std > 0 and end_std > 0 and 0 <= begin < until):
            raise UserError(f"start_std {start_std} and end_std {end_std} must be above 0, and begin {begin} and until "
                            f"{until} timesteps with 0 <= begin < until.")
        self.start_std, self.end_std, self.begin, self.until = start_std, end_std, begin, until

    def ceiling(self, timesteps: int) -> float:
        """The largest standard deviation after `timesteps`."""
        part = min(1.0, max(0.0, (timesteps - self.begin) / (self.until - self.begin)))
        return float(self.start_std * (self.end_std / self.start_std) ** part)

    def _on_training_start(self) -> None:
        if not isinstance(getattr(self.model.policy, "log_std", None), torch.Tensor):
            raise UserError(f"FadingExploration needs a policy with log_std and was given "
                            f"{type(self.model.policy).__name__} on {self.model.action_space}: drop the callback.")

    def _on_rollout_start(self) -> None:
        with torch.no_grad():
            log_std: Any = self.model.policy.log_std
            log_std.clamp_(max=math.log(self.ceiling(self.model.num_timesteps)))

    def _on_step(self) -> bool:
        return True


class TrainingLog(BaseCallback):
    """Means over every robot, step and finished episode of an iteration, under SB3's log keys and ours.

    ``rollout/ep_rew_mean`` and ``rollout/ep_len_mean`` become means over all episodes that finished in the iteration
    (SB3 keeps the last 100, which at 4096 environments are those with the highest index);
    ``rollout/{forward_speed,falls,timeouts,bad_worlds}``; ``reward/<term>``;
    ``time/{physics,task,inference,update,aside}_s``, aside being evaluation and saving.
    Falls, time-outs and bad worlds are counts. As in SB3, a row's ``train/*`` and ``time/update_s`` are those of the
    update before its rollout.

    :param asides: callbacks with a ``spent_s``, whose time is neither inference nor update.
    """

    def __init__(self, asides: Sequence[Any] = ()) -> None:
        super().__init__()
        self._asides = asides
        self.totals = dict.fromkeys(PHASES, 0.0)
        """Seconds spent in each phase since training began."""
        self.values: Dict[str, float] = {}
        """What was recorded of the last rollout."""
        self._rollout_start = self._rollout_end = 0.0

    def _on_training_start(self) -> None:
        self._env: IsaacVecEnv = unwrap(self.training_env)
        self._rollout_end = 0.0

    def _on_rollout_start(self) -> None:
        now = time.perf_counter()
        if self._rollout_end:
            self._record_time("update", now - self._rollout_end)
            self._rollout_end = 0.0
        self._rollout_start, self._aside_start = now, self._aside_s()
        self._env_start, self._physics_start = self._env.step_s, self._env.env.physics_s
        self._env.statistics.clear()

    def _on_step(self) -> bool:
        return True

    def _aside_s(self) -> float:
        return float(sum(callback.spent_s for callback in self._asides))

    def _on_rollout_end(self) -> None:
        self.values = self._env.statistics.read()
        for key, value in self.values.items():
            self.logger.record(key, value)
        share_episodes(self.model, self.values)
        self._rollout_end = time.perf_counter()
        step_s = self._env.step_s - self._env_start
        physics_s = self._env.env.physics_s - self._physics_start
        self._record_time("physics", physics_s)
        self._record_time("task", step_s - physics_s)
        aside_s = self._aside_s() - self._aside_start
        self._record_time("aside", aside_s)
        self._record_time("inference", self._rollout_end - self._rollout_start - step_s - aside_s)

    def _record_time(self, phase: str, seconds: float) -> None:
        self.totals[phase] += seconds
        self.logger.record(f"time/{phase}_s", seconds)

    def _on_training_end(self) -> None:
        if self._rollout_end:
            self.totals["update"] += time.perf_counter() - self._rollout_end

    def timing_table(self) -> str:
        """The timing breakdown as lines of text."""
        whole = sum(self.totals.values()) or 1.0
        names = {**{phase: phase for phase in PHASES}, "aside": "evaluation and saving"}
        rows = [f"{names[phase]:<22} {self.totals[phase]:>9.1f} s {100 * self.totals[phase] / whole:>5.1f} %"
                for phase in PHASES]
        memory = f"{'memory':<22} {peak_memory_mb():>9.0f} MB at its peak"
        return "\n".join(["where the time went", *rows, f"{'in all':<22} {whole:>9.1f} s", memory])


class Evaluation(BaseCallback):
    """Evaluate the deterministic policy every `every` iterations on an environment of its own.

    Each key of :func:`~sb3_isaac.rl.evaluate.evaluate` is logged as ``eval/<key>``, in the row of the next iteration;
    ``eval/steps`` is where the policy stood. The state that training starts from is not evaluated.

    :param make_env: makes the small evaluation IsaacVecEnv; it is called once, at the first evaluation.
    :param every: iterations between evaluations; there is one at the end as well. 0 is none at all.
    :param stop: end training as soon as ``walks(report)``: reward > 300, forward speed 0.95–1.05 m/s, falls ≤ 1%.
    """

    def __init__(self, make_env: Callable[[], IsaacVecEnv], every: int = 10, stop: bool = False,
                 seed: Optional[int] = 0) -> None:
        super().__init__()
        self._make_env, self.every, self.stop, self.seed = make_env, every, stop, seed
        self._env: Optional[IsaacVecEnv] = None
        self.report: Optional[Dict[str, Any]] = None
        """The last evaluation, with ``steps``."""
        self.stopped, self.spent_s = False, 0.0
        self._first_steps = 0

    def _on_training_start(self) -> None:
        self.stopped, self._first_steps = False, self.model.num_timesteps

    def _on_rollout_start(self) -> None:
        iteration = iteration_of(self.model)
        if self.every and self.model.num_timesteps > self._first_steps and iteration % self.every == 0:
            self.stopped = walks(self.evaluate()) and self.stop

    def _on_step(self) -> bool:
        return not self.stopped

    def evaluate(self) -> Dict[str, Any]:
        """Evaluate now; one report for one state of the policy."""
        steps = self.model.num_timesteps
        if self.report is None or self.report["steps"] != steps:
            start = time.perf_counter()
            if self._env is None:
                self._env = self._make_env()
            content = policy_content(self.model, self.model.get_vec_normalize_env(),  # type: ignore[arg-type]
                                     self._env.env.metadata())
            self.report = {**evaluate(self._env.env, ExportedPolicy(content), seed=self.seed), "steps": steps}
            for key, value in self.report.items():
                if isinstance(value, (int, float)) and key != "seed":
                    self.logger.record(f"eval/{key}", value)
            self.spent_s += time.perf_counter() - start
        return self.report

    def _on_training_end(self) -> None:
        if self.every and not self.stopped:
            self.evaluate()
        if self._env is not None:
            self._env.close()
            self._env = None
