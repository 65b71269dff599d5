"""Running straight ahead as fast as possible, with torques for actions: what the ant and the humanoid share.

Rewards are of the form of IsaacGymEnvs (``tasks/ant.py`` and ``tasks/humanoid.py`` there, Makoviychuk et al. 2021,
arXiv 2108.10470): speed, a bonus for each step of not falling, for being upright and for facing ahead, less what
torques, power and bent joints cost.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Union

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.contract.rotations import from_yaw, heading_of, into_body, matrix_of
from sb3_isaac.contract.tensor_env import Display, Panel, Shown
from sb3_isaac.sim import Simulator
from sb3_isaac.tasks.parts.feature import feature, step_feature
from sb3_isaac.tasks.parts.features import columns, touches
from sb3_isaac.tasks.parts.gait import mechanical_power
from sb3_isaac.tasks.parts.memory import Memory
from sb3_isaac.tasks.parts.mirror import Kind
from sb3_isaac.tasks.parts.robot_task import RobotTask
from sb3_isaac.tasks.parts.terms import Function

UPRIGHT, FACING = 0.93, 0.8
"""Cosines: upright is a tilt below 21.6°; facing ahead counts in full from 36.9° on."""


class RunFeatures:
    """A robot that runs along the world's x axis, at one moment.

    ============ ======= =====================================================================
    feature      shape   unit, frame
    ============ ======= =====================================================================
    trunk_height (N,)    m
    pos_w        (N, 2)  m, horizontal, of the trunk
    speed        (N,)    m/s along the world's x axis, mean over the control step
    sideways     (N,)    m/s along the world's y axis, mean over the control step
    lin_vel_b    (N, 3)  m/s, body
    ang_vel_b    (N, 3)  rad/s, body
    gravity_b    (N, 3)  unit vector, body; (0, 0, −1) upright
    heading      (N, 2)  cosine and sine of the heading, 0 being ahead
    upright      (N,)    cosine of the trunk's tilt
    facing       (N,)    cosine of the angle between the trunk's x axis and the world's
    joint_pos    (N, J)  share of the joint's range: −1 lowest, 1 highest
    joint_vel    (N, J)  rad/s
    action       (N, J)  in [−1, 1], as applied: torque over the largest
    strength     (J,)    largest torque of each joint over that of the strongest
    power_w      (N,)    W, mechanical
    foot_contact (N, F)  bool
    ============ ======= =====================================================================

    Tensors may be live views of the simulation: a function of them returns new ones and changes none.
    """

    def __init__(self, task: RunTask) -> None:
        self._task, self._state = task, task.sim.state
        self.action, self.strength, self.joint_vel = task.action, task.strength, self._state.joint_vel
        self.trunk_height, self.pos_w = self._state.root_pos_w[:, 2], self._state.root_pos_w[:, :2]
        self.ang_vel_b = self._state.root_ang_vel_b

    @step_feature
    def speed(self) -> torch.Tensor:
        """(N,) m/s."""
        return (self.pos_w[:, 0] - self._task.last_pos_w[:, 0]) / self._task.control_dt

    @step_feature
    def sideways(self) -> torch.Tensor:
        """(N,) m/s."""
        return (self.pos_w[:, 1] - self._task.last_pos_w[:, 1]) / self._task.control_dt

    @feature
    def body_to_world(self) -> torch.Tensor:
        """(N, 3, 3)."""
        return matrix_of(self._state.root_quat_w)

    @feature
    def lin_vel_b(self) -> torch.Tensor:
        """(N, 3) m/s."""
        return into_body(self.body_to_world, self._state.root_lin_vel_w)

    @feature
    def gravity_b(self) -> torch.Tensor:
        """(N, 3)."""
        return -self.body_to_world[:, 2]

    @feature
    def heading(self) -> torch.Tensor:
        """(N, 2)."""
        yaw = heading_of(self.body_to_world)
        return torch.stack((yaw.cos(), yaw.sin())).t()

    @feature
    def upright(self) -> torch.Tensor:
        """(N,)."""
        return -self.gravity_b[:, 2]

    @feature
    def facing(self) -> torch.Tensor:
        """(N,): the first element of the rotation matrix."""
        return self.body_to_world[:, 0, 0]

    @feature
    def joint_pos(self) -> torch.Tensor:
        """(N, J)."""
        low, high = self._task.sim.joint_range.unbind(dim=1)
        return (2.0 * self._state.joint_pos - (low + high)) / (high - low)

    @feature
    def power_w(self) -> torch.Tensor:
        """(N,) W."""
        return mechanical_power(self._state.joint_torque, self.joint_vel)

    @feature
    def foot_contact(self) -> torch.Tensor:
        """(N, F) bool."""
        return columns(touches(self._state.contact_force_w), self._task.feet)


def faces_ahead(f: RunFeatures) -> torch.Tensor:
    """(N,): 1 where the trunk faces ahead, within 36.9°, and less the further it is turned away."""
    return (f.facing / FACING).clamp(max=1.0)


def is_upright(f: RunFeatures) -> torch.Tensor:
    """(N,): 1 where the trunk leans less than 21.6°."""
    return (f.upright > UPRIGHT).float()


def effort(f: RunFeatures) -> torch.Tensor:
    """Σ a², (N,)."""
    return f.action.square().sum(dim=1)


def electricity(f: RunFeatures) -> torch.Tensor:
    """Σ |a q̇| · strength, (N,) rad/s: mechanical power over the largest torque."""
    return ((f.action * f.joint_vel).abs() * f.strength).sum(dim=1)


class RunTask(RobotTask):
    """N robots run ahead; a subclass gives robot, rewards and the height below which they have fallen.

    Action (J,) in [−1, 1]: torques as a share of ``Robot.torque_limit_nm``, held for a control step of 1/60 s. An
    episode of 1000 steps starts in the default pose facing the world's x axis, joints off by up to 0.2 rad.

    Observation group ``policy``:

    ============ ===== =============================================
    name         width what
    ============ ===== =============================================
    trunk_height 1     m
    lin_vel_b    3     m/s, body
    ang_vel_b    3     rad/s, body
    gravity_b    3     gravity direction, body
    heading      2     cosine and sine, 0 being ahead
    joint_pos    J     share of the joint's range, −1 to 1
    joint_vel    J     rad/s
    foot_contact F     0 or 1
    last_action  J     previous action, as applied
    ============ ===== =============================================

    :param num_envs: N robots.
    :param sim, device, threads, physics_dt, substeps, nconmax, njmax, cuda_graphs: see
        :func:`~sb3_isaac.sim.make_simulator`; ``sim`` may be a Simulator, which brings the others. By default 2 physics
        steps of 1/120 s.
    :param seed: of the first reset; None draws one.
    :param reward, observation, termination: changes of the tables, see
        :class:`~sb3_isaac.tasks.parts.episode.EpisodicTask`.
    :param episode_length_s: seconds until an episode runs out of time.
    :param stagger: give each robot's first episode a random length, so that time-outs do not come all at once.
    :param render_mode: ``rgb_array`` or None.
    """

    DRIVE, PHYSICS_DT, SUBSTEPS = "torque", 1.0 / 120.0, 2
    JOINT_NOISE_RAD, JOINT_SPEED_RAD_S = 0.2, 0.1
    SOFT_OPTIONS = ("reward",)
    OBSERVATION: Mapping[str, Mapping[str, Function]] = {"policy": {
        "trunk_height": lambda f: f.trunk_height,
        "lin_vel_b": lambda f: f.lin_vel_b,
        "ang_vel_b": lambda f: f.ang_vel_b,
        "gravity_b": lambda f: f.gravity_b,
        "heading": lambda f: f.heading,
        "joint_pos": lambda f: f.joint_pos,
        "joint_vel": lambda f: f.joint_vel,
        "foot_contact": lambda f: f.foot_contact.float(),
        "last_action": lambda f: f.action,
    }}
    MIRROR: Mapping[str, Kind] = {
        "trunk_height": "same", "lin_vel_b": "vector", "ang_vel_b": "axial", "gravity_b": "vector",
        "heading": Mirror((0, 1), (1, -1)), "joint_pos": "joints", "joint_vel": "joints", "foot_contact": "feet",
        "last_action": "joints"}
    MEMORY = {
        "action": Memory(lambda task: (len(task.robot.joints),)),
        "last_pos_w": Memory(lambda task: (2,), lambda f: f.pos_w, lambda f: f.pos_w),
    }
    action: torch.Tensor
    last_pos_w: torch.Tensor
    logged = ("forward_speed", "falls")
    display = Display(
        progress=(Shown("speed", "rollout/forward_speed", "{:.2f} m/s"), Shown("falls", "rollout/falls", "{:.0f}")),
        evaluation=(Shown("falls", "falls_fraction", "{:.1%}"), Shown("speed", "forward_speed_mean", "{:.2f} m/s"),
                    Shown("upright", "upright_fraction", "{:.1%}"), Shown("off course", "sideways_m", "{:.1f} m")),
        panels=(Panel("eval/forward_speed_mean", "speed ahead\n(evaluation, m/s)"),),
        overlay=(Shown("speed", "forward_speed", "{:.2f} m/s"), Shown("height", "trunk_height_m", "{:.2f} m")))

    def __init__(self, num_envs: int = 1, *, sim: Union[str, Simulator] = "auto", device: str = "auto",
                 seed: Optional[int] = None, reward: Optional[Mapping[str, Any]] = None,
                 observation: Optional[Mapping[str, Any]] = None, termination: Optional[Mapping[str, Any]] = None,
                 episode_length_s: float = 1000.0 / 60.0, stagger: bool = True, physics_dt: Optional[float] = None,
                 substeps: Optional[int] = None, threads: Optional[int] = None, nconmax: Optional[int] = None,
                 njmax: Optional[int] = None, cuda_graphs: Optional[bool] = None,
                 render_mode: Optional[str] = None) -> None:
        self.set_simulator(sim, num_envs, device=device, physics_dt=physics_dt, substeps=substeps, threads=threads,
                           nconmax=nconmax, njmax=njmax, cuda_graphs=cuda_graphs)
        self.setup(self.sim.num_envs, self.sim.device, seed=seed, episode_length_s=episode_length_s, stagger=stagger,
                   render_mode=render_mode)
        joints, on = len(self.robot.joints), self.device
        self.action_space = spaces.Box(-1.0, 1.0, (joints,), np.float32)
        self._torque_limit_nm = torch.tensor(self.robot.torque_limit_nm, device=on)
        self.strength = self._torque_limit_nm / self._torque_limit_nm.max()
        self.feet = torch.tensor([self.sim.body_names.index(name) for name in self.robot.feet], device=on)
        self._pose, self._noise = torch.tensor(self.robot.default_joint_pos, device=on), self.zeros(2 * joints)
        self._start_pos_w, self._still = self.zeros(3), self.zeros(3)
        self._start_pos_w[:, 2] = self.robot.base_height_m
        self._start_quat_w = from_yaw(torch.zeros(self.num_envs, device=on))
        self.set_tables(reward=reward, observation=observation, termination=termination)

    def features(self) -> RunFeatures:
        """See :meth:`EpisodicTask.features`."""
        return RunFeatures(self)

    def act(self, actions: torch.Tensor) -> torch.Tensor:
        """See :meth:`EpisodicTask.act`."""
        self.action.copy_(actions).clamp_(-1.0, 1.0)
        self.sim.step(self._torque_limit_nm * self.action)
        return self.sim.diverged.clone()

    def place(self, mask: torch.Tensor) -> None:
        """See :meth:`EpisodicTask.place`. All robots draw, so that no draw depends on who fell."""
        joints, (low, high) = len(self.robot.joints), self.sim.joint_range.unbind(dim=1)
        drawn = self.uniform(self._noise)
        pose = torch.maximum(torch.minimum(self._pose + self.JOINT_NOISE_RAD * drawn[:, :joints], high), low)
        self.sim.reset(mask, self._start_pos_w, self._start_quat_w, self._still, self._still, pose,
                       self.JOINT_SPEED_RAD_S * drawn[:, joints:])

    def measures(self, features: RunFeatures, terminated: torch.Tensor) -> Dict[str, torch.Tensor]:
        """See :meth:`EpisodicTask.measures`."""
        f = features
        return {"falls": terminated, "forward_speed": f.speed, "sideways_speed": f.sideways, "upright": is_upright(f),
                "trunk_height_m": f.trunk_height, "power_w": f.power_w, "foot_contact": f.foot_contact}

    def report(self, episodes: Episodes) -> Dict[str, Any]:
        """See :meth:`TensorEnv.report`, means over the episodes that did not diverge.

        ``falls_fraction``; ``forward_speed_mean/std`` m/s; ``sideways_m`` (how far off the straight line at the end);
        ``upright_fraction`` (of steps); ``min_trunk_height_m`` (of all robots and steps); ``cost_of_transport``
        (Σ|τ q̇|Δt over weight × distance ahead, median); ``duty_factor`` (share of time a foot is on the ground).
        """
        speed, dt = episodes.mean("forward_speed"), self.control_dt
        distance = (episodes.sum("forward_speed") * dt).clamp(min=1e-6)
        return {
            "falls_fraction": float(episodes.terminated[episodes.good].float().mean()),
            "forward_speed_mean": float(speed.mean()),
            "forward_speed_std": float(speed.std(correction=0)),
            "sideways_m": float((episodes.sum("sideways_speed") * dt).abs().mean()),
            "upright_fraction": float(episodes.mean("upright").mean()),
            "min_trunk_height_m": float(episodes.least("trunk_height_m").min()),
            "cost_of_transport": float((episodes.sum("power_w") * dt / (self.sim.weight_n * distance)).median()),
            "duty_factor": float(episodes.mean("foot_contact").mean()),
        }

    def metadata(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.metadata`."""
        return {"obs_table": dict(self.obs_table), "action_scale": 1.0, "joint_names": list(self.robot.joints),
                "torque_limit_nm": list(self.robot.torque_limit_nm), "control_dt": self.control_dt,
                "weight_n": self.sim.weight_n, "joint_range": self.sim.joint_range.tolist()}
