"""A policy at work in an environment, frame by frame, and what is written on each frame."""

from __future__ import annotations

import inspect
import re
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv
from sb3_isaac.rl.policy.export import ModelPolicy, starts_anew
from sb3_isaac.view.controls import Controls
from sb3_isaac.view.traces import Traces

FPS = 25
SMOOTHING_S = 0.5
"""Numbers on the frame are low-passed with this time constant."""


class Playing:
    """Steps an environment with a policy and keeps what is to be said of one of them, the first at the start.

    :param act: observations {group: (N, ...)} -> actions (N, A).
    """

    def __init__(self, env: TensorEnv, act: Callable[[Obs], torch.Tensor], seed: int = 0) -> None:
        self.env, self._act, self._share = env, act, min(1.0, env.control_dt / SMOOTHING_S)
        self._obs = env.reset(seed=seed)
        starts_anew(act)
        self.robot = 0
        """The environment that numbers are of."""
        self.values: Dict[str, np.ndarray] = {}
        """The overlay's numbers of that environment, by key."""
        self.terms: Dict[str, float] = {}
        """Its reward terms, by key, low-passed as numbers are."""
        self.step_reward = 0.0
        self._time_s = self._reward = 0.0
        self._traces = Traces()

    @torch.no_grad()
    def step(self) -> None:
        """One control step."""
        actions = self._act(self._obs)
        step = self.env.step(actions)
        self._obs = step.obs
        if isinstance(self._act, ModelPolicy):
            self._act.begin(step.terminated | step.truncated)
        self._traces.add(step.final_obs, actions, step.reward)
        self._measure(step)

    def _measure(self, step: Step) -> None:
        for shown in self.env.display.overlay:
            if shown.key in step.log:
                now = np.atleast_1d(step.log[shown.key][self.robot].float().cpu().numpy()).copy()
                # Commands are vectors and jump; measured numbers are low-passed.
                before = self.values.get(shown.key, np.zeros_like(now)) if now.size == 1 else now
                self.values[shown.key] = before + self._share * (now - before)
        for key, term in step.log.items():
            if key.startswith("reward/"):
                last = self.terms.get(key, 0.0)
                self.terms[key] = last + self._share * (float(term[self.robot]) - last)
        self.step_reward = float(step.reward[self.robot])
        self._time_s += self.env.control_dt
        self._reward += float(step.reward[self.robot])
        if bool(step.terminated[self.robot] | step.truncated[self.robot]):
            self._time_s = self._reward = 0.0
            self.values.clear()

    def lines(self) -> List[str]:
        """The task's numbers, and the reward and time of the episode."""
        shown = [f"{label}  {form.format(*self.values[key])}" for label, key, form in self.env.display.overlay
                 if key in self.values]
        lines = [*shown, f"reward  {self._reward:.1f}", f"time  {self._time_s:.1f} s"]
        return [re.sub(r"-(0(\.0*)?)(?![\d.])", r"\1", line) for line in lines]  # no -0.00

    def draw(self, width: int, height: int, robots: int) -> np.ndarray:
        """The scene (height, width, 3) uint8; curves of the first environment where the task draws nothing."""
        wanted: Dict[str, Any] = {"width": width, "height": height, "robots": robots, "lines": self.lines()}
        taken = inspect.signature(self.env.render).parameters
        image = self.env.render(**{name: value for name, value in wanted.items() if name in taken})
        return self._traces.draw(width, height, self.lines()) if image is None else np.asarray(image)

    def frames(self, seconds: float, width: int, height: int, robots: int, fps: int = FPS) -> "Frames":
        """Frames of so many seconds, at about `fps` frames a second."""
        return Frames(self, seconds, width, height, robots, fps)

    def watch(self, wait_until: Callable[[float], None],
              ranges: Optional[Mapping[str, Sequence[float]]] = None) -> None:
        """Show an environment in a window until it is closed; keys steer, push, pause and go to the next robot.

        :param wait_until: called with the seconds of simulated time since the start, to keep pace with the clock.
        :param ranges: of a command's numbers, see :class:`~sb3_isaac.view.controls.Controls`.
        """
        window = self.env.viewer()
        if window is None:
            raise UserError(f"{type(self.env).__name__} has no window to show: pass --video out.mp4, --picture out.png "
                            "or --view.")
        controls = Controls(self.env.stage(), self.env.num_envs, ranges)
        passed_s = 0.0
        try:
            while window.is_running():
                for key in window.pressed():
                    controls.press(key)
                self.robot = controls.robot
                controls.follow()
                if not controls.paused:
                    self.step()
                    passed_s += self.env.control_dt
                window.sync([*self.lines(), "", *controls.help()], controls.robot)
                wait_until(passed_s)
                if controls.paused:
                    time.sleep(self.env.control_dt)
        finally:
            window.close()


class Frames:
    """An iterable of frames (height, width, 3) uint8; ``last_only`` steps through all and draws the last one."""

    def __init__(self, playing: Playing, seconds: float, width: int, height: int, robots: int, fps: int) -> None:
        dt = playing.env.control_dt
        self.every = max(1, round(1.0 / (fps * dt)))
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
