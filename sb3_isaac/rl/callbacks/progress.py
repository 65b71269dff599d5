"""What a person watching a training run sees: a table on a terminal, one line an iteration elsewhere, or a bar."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

from sb3_isaac.contract.output import fitted, say, terminal_width
from sb3_isaac.contract.tensor_env import Display, Shown
from sb3_isaac.contract.wording import MILLIONS_FROM, reached
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.rl.callbacks.iteration import IterationCallback
from sb3_isaac.rl.callbacks.pace import Pace, clock
from sb3_isaac.rl.callbacks.table import Table, can_show_table
from sb3_isaac.rl.callbacks.training_log import TrainingLog

_EVERY_TASK = (Shown("reward", "rollout/ep_rew_mean", "{:.1f}"), Shown("length", "rollout/ep_len_mean", "{:.0f}"))


class Progress(IterationCallback):
    """Shows progress with the time that is left: on a terminal, where the package rich is, as a table that stays in
    its place; elsewhere in a line an iteration.

    :param total: transitions at which training ends.
    :param log: the TrainingLog whose values are shown; it must stand before this callback.
    :param evaluation: shown when it has a new report.
    :param bar: a tqdm bar in place of both.
    :param every: iterations between lines.
    """

    def __init__(self, total: int, log: TrainingLog, evaluation: Optional[Evaluation] = None, bar: bool = False,
                 every: int = 1) -> None:
        super().__init__()
        self.total, self.log, self.evaluation, self.use_bar, self.every = total, log, evaluation, bar, every
        self._bar: Any = None
        self._table: Optional[Table] = None
        self._last_report: Optional[Dict[str, Any]] = None
        self._lines = 0

    def _on_training_start(self) -> None:
        self._display: Display = unwrap(self.training_env).env.display
        self._pace = Pace(self.total, self.model.num_timesteps)
        longest = (self.total, min(self.total, MILLIONS_FROM - 1))
        self._width = max(len(reached(count, self.total)) for count in longest)
        if self.use_bar:
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, initial=self.model.num_timesteps, unit="step", unit_scale=True,
                             dynamic_ncols=True)
        elif can_show_table():
            self._table = Table()

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.update(self.model.num_timesteps - self._bar.n)
        return True

    def _on_iteration_start(self) -> None:
        report = self.evaluation.report if self.evaluation else None
        if report is not None and report is not self._last_report:
            self._last_report = report
            self._say(evaluation_line(report, self._display))
        if self.evaluation and self.evaluation.given_up:
            self._say(f"  evaluation {self.evaluation.given_up}")

    def _on_iteration_end(self) -> None:
        self._lines += 1
        self._pace.add(self.model.num_timesteps)
        values, pace = self.log.values, self._pace
        shown = (*_EVERY_TASK, *self._display.progress)
        rows = [(label, form.format(values[key])) for label, key, form in shown if key in values]
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(f"{label} {text}" for label, text in rows), refresh=False)
            return
        done = f"  {reached(self.model.num_timesteps, self.total):>{self._width}}"
        times = f"{clock(pace.passed_s)} gone, {clock(pace.left_s)} to go"
        if self._table is not None:
            self._table.show(f"{done.strip()} steps  {times}", self.model.num_timesteps / self.total,
                             [*rows, ("steps/s", f"{pace.per_s:,.0f}")])
        elif self._lines % self.every == 0:
            numbers = [*(f"{label} {text}" for label, text in rows), f"{pace.per_s:,.0f} steps/s"]
            self._say(progress_line(done, numbers, clock(pace.passed_s), clock(pace.left_s), terminal_width()))

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._on_iteration_start()
        self.close()

    def close(self) -> None:
        """Give the terminal back; also where training has ended otherwise."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text)
        elif self._table is not None:
            self._table.say(fitted(text))
        else:
            say(text)


def progress_line(done: str, numbers: Sequence[str], gone: str, to_go: str, width: Optional[int] = None) -> str:
    """An iteration in one line of at most `width` columns: without as many of the last `numbers` as do not fit."""
    line = "  ".join((done, *numbers, f"{gone} gone, {to_go} to go"))
    if width is None or len(line) <= width:
        return line
    fits = [line for line in ("  ".join((done, *numbers[:count], f"{to_go} to go"))
                              for count in range(len(numbers) + 1)) if len(line) <= width]
    return fits[-1] if fits else done.strip()


def evaluation_line(report: Dict[str, Any], display: Display) -> str:
    """An evaluation in one line."""
    parts = [f"{label} {form.format(report[key])}" for label, key, form in display.evaluation if key in report]
    return ", ".join([f"  evaluation, {report['episodes']} episodes: reward {report['reward_mean']:.1f}", *parts])
