"""Means over a whole iteration, and where its time went."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from typing import Any, Dict, Sequence

from sb3_isaac.envs.vec_env import IsaacVecEnv, unwrap
from sb3_isaac.rl.callbacks.iteration import IterationCallback, share_episodes
from sb3_isaac.rl.distributed import gathered

PHASES = ("physics", "task", "inference", "update", "evaluation_and_saving")


def peak_memory_mb() -> float:
    """The process's largest resident memory so far, MB; NaN where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class TrainingLog(IterationCallback):
    """Means over every robot, step and finished episode of an iteration, under SB3's log keys and ours.

    ``rollout/ep_rew_mean`` and ``rollout/ep_len_mean`` become means over all episodes that finished in the iteration
    (SB3 keeps the last 100, which at 4096 environments are those with the highest index);
    ``rollout/{episodes,timeouts,bad_worlds}``, ``rollout/<name>`` for what the task has ``logged`` and for warnings
    of its simulator; ``reward/<term>``; ``time/{physics,task,inference,update,evaluation_and_saving}_s``.
    Time-outs, bad worlds, warnings and booleans of the task are counts. As in SB3, a row's ``train/*`` and
    ``time/update_s`` are those of the update before its rollout. Where a GPU simulates, physics and task are timed by
    its own events, for their calls return before the work is done; all else is timed by the clock, at moments when the
    GPU was waited for.

    :param timed_callbacks: those that evaluate and save, with a ``spent_s``: it counts as neither inference nor update.
    """

    def __init__(self, timed_callbacks: Sequence[Any] = ()) -> None:
        super().__init__()
        self._timed_callbacks = timed_callbacks
        self.totals = dict.fromkeys(PHASES, 0.0)
        """Seconds spent in each phase since training began."""
        self.values: Dict[str, float] = {}
        """What was recorded of the last iteration."""
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._rollout_start = self._rollout_end = 0.0

    def _on_training_start(self) -> None:
        self._env: IsaacVecEnv = unwrap(self.training_env)
        self._rollout_end = 0.0
        self._all_callbacks_start = self._callbacks_s()

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        now = time.perf_counter()
        if self._rollout_end:
            self._spend("update", now - self._rollout_end)
            self._rollout_end = 0.0
        self._rollout_start, self._callbacks_start = now, self._callbacks_s()
        self._env_start, self._physics_start = self._env.step_s, self._env.env.physics_s

    def _on_iteration_start(self) -> None:
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._env.statistics.clear()

    def _callbacks_s(self) -> float:
        return float(sum(callback.spent_s for callback in self._timed_callbacks))

    def _on_rollout_end(self) -> None:
        super()._on_rollout_end()
        self._rollout_end = time.perf_counter()
        step_s = self._env.step_s - self._env_start
        physics_s = self._env.env.physics_s - self._physics_start
        self._spend("physics", physics_s)
        self._spend("task", step_s - physics_s)
        callbacks_s = self._callbacks_s() - self._callbacks_start
        self._spend("evaluation_and_saving", callbacks_s)
        self._spend("inference", self._rollout_end - self._rollout_start - step_s - callbacks_s)

    def _on_iteration_end(self) -> None:
        self.values = self._env.statistics.read()
        self._env.check_finite()  # before an update by them would leave a policy of NaN
        warnings: Counter[str] = Counter()
        for counts in gathered(self._env.env.warnings()):
            warnings.update(counts)
        self.values.update({f"rollout/{name}": float(count) for name, count in warnings.items()})
        for key, value in self.values.items():
            self.logger.record(key, value)
        share_episodes(self.model, self.values)

    def _spend(self, phase: str, seconds: float) -> None:
        """Add to a phase of this iteration, and of all."""
        self.totals[phase] += seconds
        self._spent[phase] += seconds
        self.logger.record(f"time/{phase}_s", self._spent[phase])

    def _on_training_end(self) -> None:
        if self._rollout_end:
            self.totals["update"] += time.perf_counter() - self._rollout_end

    def timing_table(self) -> str:
        """The timing breakdown as lines of text."""
        # Those that ended training come after its last rollout.
        totals = {**self.totals, "evaluation_and_saving": self._callbacks_s() - self._all_callbacks_start}
        whole = sum(totals.values()) or 1.0
        rows = [f"{phase.replace('_', ' '):<22} {totals[phase]:>9.1f} s {100 * totals[phase] / whole:>5.1f} %"
                for phase in PHASES]
        peak_mb = peak_memory_mb()
        memory = [] if math.isnan(peak_mb) else [f"{'memory':<22} {peak_mb:>9.0f} MB at its peak"]
        by_events = self._env.device.type == "cuda"
        title = f"where the time went{', physics and task by events of the GPU' if by_events else ''}"
        return "\n".join([title, *rows, f"{'in all':<22} {whole:>9.1f} s", *memory])
