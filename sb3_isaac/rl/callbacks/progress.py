"""What a person watching a training run sees: one line an iteration, or a bar."""

from __future__ import annotations

import time
from typing import Any, Dict, Optional

from sb3_isaac.contract.output import say
from sb3_isaac.contract.tensor_env import Display, Shown
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.rl.callbacks.iteration import IterationCallback
from sb3_isaac.rl.callbacks.training_log import TrainingLog

_EVERY_TASK = (Shown("reward", "rollout/ep_rew_mean", "{:.1f}"), Shown("length", "rollout/ep_len_mean", "{:.0f}"))


def clock(seconds: float) -> str:
    """h:mm:ss."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


class Progress(IterationCallback):
    """Prints progress with the time that is left.

    :param total: transitions at which training ends.
    :param log: the TrainingLog whose values are shown; it must stand before this callback.
    :param evaluation: shown when it has a new report.
    :param bar: a tqdm bar in place of lines.
    :param every: iterations between lines.
    """

    def __init__(self, total: int, log: TrainingLog, evaluation: Optional[Evaluation] = None, bar: bool = False,
                 every: int = 1) -> None:
        super().__init__()
        self.total, self.log, self.evaluation, self.use_bar, self.every = total, log, evaluation, bar, every
        self._bar: Any = None
        self._last_report: Optional[Dict[str, Any]] = None
        self._lines = 0

    def _on_training_start(self) -> None:
        self._display: Display = unwrap(self.training_env).env.display
        self._start, self._first = time.perf_counter(), self.model.num_timesteps
        if self.use_bar:
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, initial=self._first, unit="step", unit_scale=True, dynamic_ncols=True)

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.update(self.model.num_timesteps - self._bar.n)
        return True

    def _on_iteration_start(self) -> None:
        report = self.evaluation.report if self.evaluation else None
        if report is not None and report is not self._last_report:
            self._last_report = report
            self._say(evaluation_line(report, self._display))

    def _on_iteration_end(self) -> None:
        self._lines += 1
        values = self.log.values
        shown = (*_EVERY_TASK, *self._display.progress)
        parts = [f"{label} {form.format(values[key])}" for label, key, form in shown if key in values]
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(parts), refresh=False)
        elif self._lines % self.every == 0:
            elapsed, done = time.perf_counter() - self._start, self.model.num_timesteps - self._first
            left = (self.total - self.model.num_timesteps) * elapsed / max(done, 1)
            self._say(f"{self.model.num_timesteps / 1e6:6.2f}M of {self.total / 1e6:g}M  {'  '.join(parts)}  "
                      f"{done / elapsed:,.0f} steps/s  {clock(elapsed)} gone, {clock(left)} to go")

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._on_iteration_start()

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text)
        else:
            say(text)


def evaluation_line(report: Dict[str, Any], display: Display) -> str:
    """An evaluation in one line."""
    parts = [f"{label} {form.format(report[key])}" for label, key, form in display.evaluation if key in report]
    return ", ".join([f"  evaluation, {report['episodes']} episodes: reward {report['reward_mean']:.1f}", *parts])
