"""What the page shows of a training: a few of its robots, its curves, its reward terms."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Tuple

import numpy as np
from stable_baselines3.common.logger import KVWriter

from sb3_isaac.contract.tensor_env import Display
from sb3_isaac.contract.wording import reached
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.callbacks.iteration import IterationCallback
from sb3_isaac.rl.callbacks.pace import Pace, clock
from sb3_isaac.view.live.content import Curves, clip, number, scene
from sb3_isaac.view.live.server import LiveServer

MOST_FRAMES = 250
"""Of an iteration that are shown."""
TERM = "reward/"


class TrainingPage(IterationCallback):
    """Feeds a page while a model learns: once an iteration, and nothing but a few joint angles in between.

    Shown are the first robots of the training itself, as they were in the last iteration, at the pace of training.

    :param page: where they are shown; it is closed at the end of training.
    :param total: transitions at which training ends.
    :param robots: how many.
    :param title: of the page; `what` is said below it.
    """

    def __init__(self, page: LiveServer, total: int, robots: int = 5, title: str = "",
                 what: str = "") -> None:
        super().__init__()
        self._page, self._total, self._robots, self._title, self._what = page, total, robots, title, what
        self._snapshots: List[np.ndarray] = []

    def _on_training_start(self) -> None:
        env = unwrap(self.training_env).env
        self._stage, self._control_dt = env.stage(), env.control_dt
        self._robots = min(self._robots, env.num_envs)
        writer = _PageLog(self._page, env.display, self._total)
        writer.begin(self.model.num_timesteps)
        self.logger.output_formats.append(writer)
        self._page.keep("scene", lambda: scene(self._stage, self._robots, self._title, self._what))
        self._iteration_start = 0.0

    def _on_step(self) -> bool:
        if self._page.watched and len(self._snapshots) < MOST_FRAMES:
            self._snapshots.append(self._stage.snapshot(self._robots))
        return True

    def _on_iteration_end(self) -> None:
        now, shown = time.perf_counter(), self._snapshots
        lasted, self._iteration_start, self._snapshots = now - self._iteration_start, now, []
        self._page.actions()  # nothing can be pressed while training
        if shown and shown[0].size:
            most_s = len(shown) * max(self._control_dt, 0.5)  # of an iteration that is long for other reasons
            self._page.send("clip", clip(self._stage, shown, min(lasted, most_s)))

    def _on_training_end(self) -> None:
        self._page.close()


class _PageLog(KVWriter):
    """What is logged, on the page: written by SB3's logger once an iteration."""

    def __init__(self, page: LiveServer, display: Display, total: int) -> None:
        self._page, self._total = page, total
        shown = {"rollout/ep_rew_mean": "reward of an episode", "eval/reward_mean": "reward, evaluation",
                 **{key: title.replace("\n", " ") for key, title in display.panels}}
        for label, key, _ in display.progress:
            shown.setdefault(key, label)
        self._curves = Curves(shown, "steps")
        self._numbers = (("reward", "rollout/ep_rew_mean", "{:.1f}"), *display.progress)
        page.keep("curves", self._curves.content)

    def begin(self, steps: int) -> None:
        """Training begins with so many transitions behind it."""
        self._pace = Pace(self._total, steps)

    def write(self, key_values: Dict[str, Any], key_excluded: Dict[str, Tuple[str, ...]], step: int = 0) -> None:
        """Take in a row, and show it."""
        values = {key: value for key, value in key_values.items() if isinstance(value, (int, float, np.number))}
        self._curves.add(step, values)
        self._pace.add(step)
        numbers = [[label, form.format(values[key])] for label, key, form in self._numbers if key in values]
        terms = [[key[len(TERM):], number(value)] for key, value in values.items() if key.startswith(TERM)]
        text = (f"{reached(step, self._total)} steps, {self._pace.per_s:,.0f} a second, "
                f"{clock(self._pace.left_s)} to go")
        status = {"progress": min(1.0, step / self._total), "text": text, "numbers": numbers, "terms": terms}
        self._page.keep("status", lambda: status)
        self._page.keep("curves", self._curves.content)

    def close(self) -> None:
        """Nothing stays open."""
