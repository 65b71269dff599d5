"""A double pendulum balances upright: a whole environment in pure torch, and a pattern for writing your own.

Two equal uniform rods hang end to end on a shoulder and an elbow, both driven by small torques. With the shoulder
angle q1 measured from upright and the elbow angle q2 relative to the first rod, dividing by m l² gives the manipulator
equation M(q) q̈ + c(q, q̇) + g(q) = τ / (m l²) with

    M11 = 5/3 + cos q2     M12 = M21 = 1/3 + cos(q2) / 2     M22 = 1/3
    c1 = -sin(q2) (q̇1 q̇2 + q̇2² / 2)                         c2 = sin(q2) q̇1² / 2
    g1 = -(g / l) (3 sin q1 + sin(q1 + q2)) / 2              g2 = -(g / l) sin(q1 + q2) / 2

These are the planar elbow manipulator of Spong, Hutchinson and Vidyasagar, *Robot Modeling and Control*, section 7.4,
with both centres of mass at l / 2, both moments of inertia about them m l² / 12, and angles from upright.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.device import usable_device
from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.tensor_env import Display, Panel, Shown, StopRule
from sb3_isaac.tasks.parts.episode import EpisodicTask
from sb3_isaac.tasks.parts.terms import Term

MASS_KG = 1.0
LENGTH_M = 0.5
GRAVITY_M_S2 = 9.81
TORQUE_NM = (4.0, 2.0)
"""Limits of shoulder and elbow. Holding both rods out level would take 9.8 N·m: once straight and still at a lean
beyond 24°, the shoulder alone cannot bring them back."""
CONTROL_DT, SUBSTEPS = 0.02, 2
FALLEN = 0.7
"""An episode ends when the tip is below this part of its greatest height."""


def acceleration(angle: torch.Tensor, velocity: torch.Tensor, torque: torch.Tensor) -> torch.Tensor:
    """Joint accelerations (N, 2) rad/s² from angles rad, velocities rad/s and torques N·m, each (N, 2)."""
    (q1, q2), (v1, v2) = angle.unbind(-1), velocity.unbind(-1)
    t1, t2 = (torque / (MASS_KG * LENGTH_M**2)).unbind(-1)
    cos2, sin2 = torch.cos(q2), torch.sin(q2)
    m11, m12, m22 = 5 / 3 + cos2, 1 / 3 + cos2 / 2, 1 / 3
    upper, lower = torch.sin(q1), torch.sin(q1 + q2)
    f1 = t1 + sin2 * (v1 * v2 + v2.square() / 2) + GRAVITY_M_S2 / LENGTH_M * (3 * upper + lower) / 2
    f2 = t2 - sin2 * v1.square() / 2 + GRAVITY_M_S2 / LENGTH_M * lower / 2
    return torch.stack((m22 * f1 - m12 * f2, m11 * f2 - m12 * f1), dim=-1) / (m11 * m22 - m12.square())[..., None]


def advance(angle: torch.Tensor, velocity: torch.Tensor, torque: torch.Tensor,
            dt: float) -> Tuple[torch.Tensor, torch.Tensor]:
    """Angles and velocities (N, 2) after `dt` seconds of constant torque, by one classical Runge-Kutta step."""
    v1, a1 = velocity, acceleration(angle, velocity, torque)
    v2 = velocity + dt / 2 * a1
    a2 = acceleration(angle + dt / 2 * v1, v2, torque)
    v3 = velocity + dt / 2 * a2
    a3 = acceleration(angle + dt / 2 * v2, v3, torque)
    v4 = velocity + dt * a3
    a4 = acceleration(angle + dt * v3, v4, torque)
    return angle + dt / 6 * (v1 + 2 * v2 + 2 * v3 + v4), velocity + dt / 6 * (a1 + 2 * a2 + 2 * a3 + a4)


@dataclass(frozen=True)
class Features:
    """The pendulums at one moment.

    ======== ======= =======================================================
    field    shape   what
    ======== ======= =======================================================
    angle    (N, 2)  rad, shoulder from upright, elbow from the first rod
    velocity (N, 2)  rad/s
    action   (N, 2)  in [−1, 1], as applied
    height   (N,)    the tip's height as a part of its greatest
    ======== ======= =======================================================
    """

    angle: torch.Tensor
    velocity: torch.Tensor
    action: torch.Tensor
    height: torch.Tensor


class DoublePendulum(EpisodicTask):
    """``IsaacDoublePendulum-v0``: a :class:`~sb3_isaac.contract.tensor_env.TensorEnv`.

    Observation group ``policy`` (6): ``joint_sin`` (2), ``joint_cos`` (2), ``joint_vel`` (2) rad/s, each shoulder then
    elbow. Action (2,) in [−1, 1]: torque as a part of ``TORQUE_NM``. Reward: the tip's height as a part of its
    greatest, less 0.05 of the squared action. An episode begins within 0.1 rad of upright.

    :param num_envs: N pendulums.
    :param device: where the tensors live; ``auto`` is the CPU.
    :param seed: of the first reset; None draws one.
    :param reward, observation, termination: changes of the tables, see
        :class:`~sb3_isaac.tasks.parts.episode.EpisodicTask`.
    :param episode_length_s: seconds until an episode runs out of time.
    :param stagger: give each pendulum's first episode a random length, so that time-outs do not come all at once.
    :param render_mode: ``rgb_array`` or None.
    """

    OBSERVATION = {"policy": {
        "joint_sin": lambda f: f.angle.sin(),
        "joint_cos": lambda f: f.angle.cos(),
        "joint_vel": lambda f: f.velocity,
    }}
    TERMINATION = {"fallen": lambda f: f.height < FALLEN}
    REWARD = {
        "height": Term(1.0, lambda f: f.height),
        "effort": Term(-0.05, lambda f: f.action.square().sum(dim=1)),
    }
    SOFT_OPTIONS = ("reward",)

    control_dt = CONTROL_DT
    logged = ("tip_height_m", "falls")
    stop_rule = StopRule({"reward_mean": (450.0, math.inf), "falls_fraction": (0.0, 0.02)}, goal="it balances",
                         early=("falls_fraction",))
    display = Display(
        progress=(Shown("tip", "rollout/tip_height_m", "{:.2f} m"), Shown("falls", "rollout/falls", "{:.0f}")),
        evaluation=(Shown("falls", "falls_fraction", "{:.1%}"), Shown("tip", "tip_height_mean_m", "{:.2f} m")),
        panels=(Panel("eval/tip_height_mean_m", "height of the tip\n(evaluation, m)"),),
        overlay=(Shown("tip", "tip_height_m", "{:.2f} m"),))
    _STATE = ("angle", "velocity", "action")

    def __init__(self, num_envs: int = 1, *, device: str = "auto", seed: Optional[int] = None,
                 reward: Optional[Mapping[str, Any]] = None, observation: Optional[Mapping[str, Any]] = None,
                 termination: Optional[Mapping[str, Any]] = None, episode_length_s: float = 10.0,
                 stagger: bool = True, render_mode: Optional[str] = None) -> None:
        self.setup(num_envs, usable_device(device), seed=seed, episode_length_s=episode_length_s, stagger=stagger,
                   render_mode=render_mode)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.angle, self.velocity = self.zeros(2), self.zeros(2)
        """Joint angles (N, 2) rad and velocities (N, 2) rad/s; writing them moves the pendulums."""
        self.action, self._noise = self.zeros(2), self.zeros(4)
        self._torque_limit = torch.tensor(TORQUE_NM, device=self.device)
        self.set_tables(reward=reward, observation=observation, termination=termination)

    def features(self) -> Features:
        """See :meth:`EpisodicTask.features`."""
        height = (self.angle[:, 0].cos() + self.angle.sum(dim=1).cos()) / 2
        return Features(self.angle, self.velocity, self.action, height)

    def act(self, actions: torch.Tensor) -> torch.Tensor:
        """See :meth:`EpisodicTask.act`."""
        self.action.copy_(actions).clamp_(-1.0, 1.0)
        angle, velocity = self.angle, self.velocity
        for _ in range(SUBSTEPS):
            angle, velocity = advance(angle, velocity, self.action * self._torque_limit, CONTROL_DT / SUBSTEPS)
        self.angle.copy_(angle)
        self.velocity.copy_(velocity)
        return ~torch.isfinite(angle.sum(dim=1) + velocity.sum(dim=1))

    def measures(self, features: Features, terminated: torch.Tensor) -> Dict[str, torch.Tensor]:
        """See :meth:`EpisodicTask.measures`."""
        return {"falls": terminated, "tip_height_m": 2 * LENGTH_M * features.height}

    def place(self, mask: torch.Tensor) -> None:
        """See :meth:`EpisodicTask.place`. All draw, so that no draw depends on who fell."""
        start = self.uniform(self._noise).mul_(0.1)
        torch.where(mask[:, None], start[:, :2], self.angle, out=self.angle)
        torch.where(mask[:, None], start[:, 2:], self.velocity, out=self.velocity)

    def report(self, episodes: Episodes) -> Dict[str, float]:
        """See :meth:`TensorEnv.report`: the share that fell and the tip's mean height, m."""
        return {"falls_fraction": float(episodes.terminated[episodes.good].float().mean()),
                "tip_height_mean_m": float(episodes.mean("tip_height_m").mean())}

    def metadata(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.metadata`."""
        return {"obs_table": dict(self.obs_table), "action_scale": 1.0, "control_dt": CONTROL_DT,
                "joint_names": ["shoulder", "elbow"]}

    def render(self, size: int = 240, robot: int = 0) -> Optional[np.ndarray]:
        """The pendulum of this index, (size, size, 3) uint8: pixels are coloured by their distance to each rod."""
        if self.render_mode is None:
            return None
        q1, q2 = self.angle[robot].tolist()
        shoulder = np.zeros(2)
        elbow = LENGTH_M * np.array([np.sin(q1), np.cos(q1)])
        tip = elbow + LENGTH_M * np.array([np.sin(q1 + q2), np.cos(q1 + q2)])
        side = np.linspace(-2.2 * LENGTH_M, 2.2 * LENGTH_M, size)
        pixels = np.stack(np.meshgrid(side, side[::-1]), axis=-1)
        image = np.full((size, size, 3), 245, dtype=np.uint8)
        for start, end, colour in ((shoulder, elbow, (40, 90, 160)), (elbow, tip, (220, 120, 40))):
            rod = end - start
            along = np.clip((pixels - start) @ rod / (rod @ rod), 0.0, 1.0)
            image[np.linalg.norm(pixels - start - along[..., None] * rod, axis=-1) < 0.03] = colour
        return image
