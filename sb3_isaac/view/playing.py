"""A policy at work in an environment, frame by frame, and what is written on each frame."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, Iterator, List

import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv
from sb3_isaac.view.traces import Traces

FPS = 25
SMOOTHING_S = 0.5
"""Numbers on the frame are low-passed with this time constant."""


class Playing:
    """Steps an environment with a policy and keeps what is to be said of the first environment.

    :param act: observations {group: (N, ...)} -> actions (N, A).
    """

    def __init__(self, env: TensorEnv, act: Callable[[Obs], torch.Tensor], seed: int = 0) -> None:
        self.env, self._act, self._share = env, act, min(1.0, env.control_dt / SMOOTHING_S)
        self._obs = env.reset(seed=seed)
        self._values: Dict[str, np.ndarray] = {}
        self._time_s = self._reward = 0.0
        self._traces = Traces()

    def step(self) -> None:
        """One control step."""
        actions = self._act(self._obs)
        step = self.env.step(actions)
        self._obs = step.obs
        self._traces.add(step.final_obs, actions, step.reward)
        self._measure(step)

    def _measure(self, step: Step) -> None:
        for shown in self.env.display.overlay:
            if shown.key in step.log:
                now = np.atleast_1d(step.log[shown.key][0].float().cpu().numpy()).copy()
                # Commands are vectors and jump; measured numbers are low-passed.
                before = self._values.get(shown.key, np.zeros_like(now)) if now.size == 1 else now
                self._values[shown.key] = before + self._share * (now - before)
        self._time_s += self.env.control_dt
        self._reward += float(step.reward[0])
        if bool(step.terminated[0] | step.truncated[0]):
            self._time_s = self._reward = 0.0
            self._values.clear()

    def lines(self) -> List[str]:
        """The task's numbers, and the reward and time of the first environment's episode."""
        shown = [f"{label}  {form.format(*self._values[key])}" for label, key, form in self.env.display.overlay
                 if key in self._values]
        return [*shown, f"reward  {self._reward:.1f}", f"time  {self._time_s:.1f} s"]

    def draw(self, width: int, height: int, robots: int) -> np.ndarray:
        """The scene (height, width, 3) uint8; curves of the first environment where the task draws nothing."""
        wanted: Dict[str, Any] = {"width": width, "height": height, "robots": robots, "lines": self.lines()}
        taken = inspect.signature(self.env.render).parameters
        image = self.env.render(**{name: value for name, value in wanted.items() if name in taken})
        return self._traces.draw(width, height, self.lines()) if image is None else np.asarray(image)

    def frames(self, seconds: float, width: int, height: int, robots: int) -> "Frames":
        """Frames at about ``FPS`` of so many seconds."""
        return Frames(self, seconds, width, height, robots)

    def watch(self, wait_until: Callable[[float], None]) -> None:
        """Show the first environment in a window until it is closed.

        :param wait_until: called with the seconds of simulated time since the start, to keep pace with the clock.
        """
        window = self.env.viewer()
        if window is None:
            raise UserError(f"{type(self.env).__name__} has no window to show: pass --video out.mp4 or --picture "
                            "out.png.")
        passed_s = 0.0
        try:
            while window.is_running():
                self.step()
                window.sync(self.lines())
                passed_s += self.env.control_dt
                wait_until(passed_s)
        finally:
            window.close()


class Frames:
    """An iterable of frames (height, width, 3) uint8; ``last_only`` steps through all and draws the last one."""

    def __init__(self, playing: Playing, seconds: float, width: int, height: int, robots: int) -> None:
        dt = playing.env.control_dt
        self.every = max(1, round(1.0 / (FPS * dt)))
        self.count = max(1, round(seconds / (self.every * dt)))
        self.fps = max(1, round(1.0 / (self.every * dt)))
        self.last_only, self.last = False, np.zeros((height, width, 3), np.uint8)
        self._playing, self._size = playing, (width, height, robots)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        for i in range(self.count):
            for _ in range(self.every):
                self._playing.step()
            if not self.last_only or i == self.count - 1:
                self.last = self._playing.draw(*self._size)
            yield self.last
