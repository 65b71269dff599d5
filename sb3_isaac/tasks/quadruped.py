"""A legged robot follows a commanded forward velocity and yaw rate on flat ground."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict, Mapping, Optional, Union

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.errors import UserError, number_above_zero, truth, unknown, whole_number
from sb3_isaac.contract.rotations import down, from_yaw, rotate_inverse
from sb3_isaac.contract.tensor_env import Obs, Step
from sb3_isaac.robots import Robot, get_robot
from sb3_isaac.sim import Simulator, make_simulator
from sb3_isaac.tasks import rewards
from sb3_isaac.tasks.command import Command
from sb3_isaac.tasks.quadruped_reward import Features, paid, reward_weights

CONTACT_N = 1.0
"""A body counts as touching above this net force, N."""
MAX_TILT_COS = 0.5
"""A robot has fallen when its trunk leans further than 60° (the cosine of the angle to upright)."""


def _bodies(field_w: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The rows (N, len(ids), ...) of some bodies in a field (N, B, ...), stored component by component."""
    return field_w.movedim(0, -1).index_select(0, ids).movedim(-1, 0)


def _touches(contact_force_w: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Which of the bodies touch, (N, len(ids)) bool, by the net forces (N, B, 3)."""
    x, y, z = _bodies(contact_force_w, ids).unbind(dim=2)
    return x * x + y * y + z * z > CONTACT_N**2


class QuadrupedFlat:
    """``IsaacQuadrupedFlat-v0``: a :class:`~sb3_isaac.contract.tensor_env.TensorEnv`.

    Observation group ``policy`` (44 for 12 joints):

    ============= ===== ============================== ==========================
    slice         width what                           frame, unit
    ============= ===== ============================== ==========================
    joint_pos     12    joint angle minus default pose rad
    joint_vel     12    joint velocity                 rad/s
    last_action   12    previous action, as applied    –
    imu_ang_vel_b 3     angular velocity               body, rad/s
    imu_gravity_b 3     gravity direction              body, –
    command       2     forward velocity, yaw rate     body, m/s and rad/s
    ============= ===== ============================== ==========================

    With ``privileged=True`` there is a group ``critic`` of what only a simulator knows, for a critic of its own
    (:class:`~sb3_isaac.rl.policy.asymmetric.AsymmetricPolicy`): ``lin_vel_b`` 3 m/s, body; ``foot_contact`` 4, 0 or 1;
    ``friction`` 1, of the ground.

    Action (12,) in [−1, 1]: joint target = default pose + ``Robot.action_scale_rad`` · action, clipped to the joint's
    range. An episode ends in a fall when a terminal body touches the ground or the trunk leans beyond 60°, and runs
    out after ``episode_length_s``.

    :param num_envs: N robots.
    :param sim, device, threads, physics_dt, substeps: see :func:`~sb3_isaac.sim.make_simulator`. 100 Hz physics is
        stable here and twice as fast as 200 Hz.
    :param seed: of the first reset; None draws one.
    :param robot: a registered name or a :class:`~sb3_isaac.robots.Robot`.
    :param reward: weights by term, in place of those in ``REWARD``.
    :param command: ranges of :class:`Command` by name.
    :param stagger: give each robot's first episode a random length, so that time-outs do not come all at once.
    :param privileged: add the observation group ``critic``.
    :param render_mode: ``rgb_array`` or None.
    """

    def __init__(
        self, num_envs: int = 1, *, sim: Union[str, Simulator] = "auto", device: str = "auto",
        seed: Optional[int] = None, robot: Union[str, Robot] = "quadruped",
        reward: Optional[Mapping[str, float]] = None, command: Optional[Mapping[str, Any]] = None,
        episode_length_s: float = 20.0, stagger: bool = True, physics_dt: float = 0.01, substeps: int = 2,
        threads: Optional[int] = None, privileged: bool = False, render_mode: Optional[str] = None,
    ) -> None:
        if isinstance(sim, str):
            sim = make_simulator(sim, get_robot(robot), num_envs, device=device, physics_dt=physics_dt,
                                 substeps=substeps, threads=threads)
        if render_mode not in (None, "rgb_array"):
            raise unknown("render_mode", render_mode, ("rgb_array", "None"))
        self.sim, self.robot, self.device, self.num_envs = sim, sim.robot, sim.device, sim.num_envs
        self.render_mode = render_mode
        self.control_dt = self.sim.control_dt
        self.max_steps = round(number_above_zero("episode_length_s", episode_length_s) / self.control_dt)
        if self.max_steps < 1:
            raise UserError(f"episode_length_s is {episode_length_s}: give at least one control step, "
                            f"{self.control_dt} s.")
        self.stagger, self.privileged = truth("stagger", stagger), truth("privileged", privileged)
        self.change_options(reward=reward, command=command)
        self._generator = torch.Generator(device=self.device)
        self._started = False
        self._renderer: Any = None
        self._allocate()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(whole_number("seed", seed, least=0))

    SOFT_OPTIONS = ("reward", "command")

    def change_options(self, *, reward: Optional[Mapping[str, float]] = None,
                    command: Optional[Mapping[str, Any]] = None) -> None:
        """From now on, the reward weights and command ranges of a robot made with these ``SOFT_OPTIONS``.

        No physics is built anew; ``reset()`` begins anew.
        """
        self.weights = reward_weights(reward)
        self.command_ranges = Command.parse(command)
        feet = len(self.robot.feet)
        if feet != 4 and self.weights["trot"] != 0.0:
            raise UserError(f"robot {self.robot.name!r} has {feet} feet, and a trot is for four: pass reward="
                            "{'trot': 0.0}.")
        self._resample_steps = max(1, round(self.command_ranges.resample_s / self.control_dt))

    def options(self) -> Dict[str, Dict[str, Any]]:
        """The ``SOFT_OPTIONS`` in effect, those of the defaults included."""
        return {"reward": dict(self.weights), "command": asdict(self.command_ranges)}

    def _allocate(self) -> None:
        n, joints, feet = self.num_envs, len(self.robot.joints), len(self.robot.feet)
        kw: Dict[str, Any] = {"device": self.device}
        self.obs_table = {"joint_pos": joints, "joint_vel": joints, "last_action": joints,
                          "imu_ang_vel_b": 3, "imu_gravity_b": 3, "command": 2}
        width = sum(self.obs_table.values())
        assert joints != 12 or width == 44
        widths = {"policy": width, **({"critic": 3 + feet + 1} if self.privileged else {})}
        self.observation_space = spaces.Dict({group: spaces.Box(-np.inf, np.inf, (k,), np.float32)
                                              for group, k in widths.items()})
        self.action_space = spaces.Box(-1.0, 1.0, (joints,), np.float32)
        self.command = self._zeros(2)
        """Forward velocity m/s and yaw rate rad/s that each robot is told to hold. Another task may write it, with a
        ``resample_s`` that leaves it alone."""
        self.steps = torch.zeros(n, dtype=torch.long, **kw)
        """Control steps since the episode began (a staggered first episode begins in its midst)."""
        self._action, self._last_action = self._zeros(joints), self._zeros(joints)
        self._air_time = self._zeros(feet)
        self._foot_pos_w = self._zeros(feet, 3)
        self._obs, self._final_obs = ({group: torch.zeros(n, k, **kw) for group, k in widths.items()}
                                      for _ in range(2))
        self._wobble, self._turn = self._zeros(6 + 2 * joints), 0
        self._default_joint_pos = torch.tensor(self.robot.default_joint_pos, **kw)
        self._start_pos_w, self._start_quat_w = self._zeros(3), from_yaw(torch.zeros(n, **kw))
        index = {name: i for i, name in enumerate(self.sim.body_names)}
        groups = (self.robot.feet, self.robot.penalised_bodies, self.robot.terminal_bodies)
        self._feet, self._penalised, self._terminal = (
            torch.tensor([index[name] for name in names], dtype=torch.long, **kw) for names in groups)
        self._stance_height = self._measure_stance()

    def _zeros(self, *shape: int) -> torch.Tensor:
        """Zeros (N, *shape), stored component by component as the simulator's state is."""
        return torch.zeros(*shape, self.num_envs, device=self.device).movedim(-1, 0)

    def _measure_stance(self) -> torch.Tensor:
        """Height (F,) m of the feet's frames when the robot stands in its default pose."""
        everyone = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self._place(everyone, noise=0.0)
        return self._feet_pos_w()[0, :, 2].clone()

    def reset(self, seed: Optional[int] = None) -> Obs:
        """See :meth:`TensorEnv.reset`."""
        if seed is not None:
            self._generator.manual_seed(seed)
        self._started = False
        everyone = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self._draw_command(everyone)
        self._begin(everyone)
        self._observe_now()
        return self._obs

    def step(self, actions: torch.Tensor) -> Step:
        """See :meth:`TensorEnv.step`."""
        if actions.shape != self._action.shape:
            raise UserError(f"actions have shape {tuple(actions.shape)}: give {tuple(self._action.shape)}.")
        self._last_action.copy_(self._action)
        self._action.copy_(actions).clamp_(-1.0, 1.0)
        self.sim.step(self._default_joint_pos + self.robot.action_scale_rad * self._action)
        self.steps += 1
        bad = self.sim.diverged.clone()
        features = self._features()
        terminated = bad | features.trunk_contact | (features.gravity_b[:, 2] > -MAX_TILT_COS)
        truncated = (self.steps >= self.max_steps) & ~terminated
        terms, reward = paid(features, self.weights, bad)
        log = self._measures(features, terms, terminated, bad)
        self._observe(self._final_obs, features.ang_vel_b, features.gravity_b)
        for group, last in self._obs.items():
            torch.where(bad[:, None], last, self._final_obs[group], out=self._final_obs[group])
        self._air_time *= ~features.foot_contact
        self._foot_pos_w.copy_(self._feet_pos_w())
        over = terminated | truncated
        self._draw_command(over | (self.steps % self._resample_steps == 0))
        self._begin(over)
        self._observe_now()
        return Step(self._obs, reward, terminated, truncated, self._final_obs, log)

    def _features(self) -> Features:
        state = self.sim.state
        foot_contact, knee_contact, trunk_contact = (_touches(state.contact_force_w, ids)
                                                     for ids in (self._feet, self._penalised, self._terminal))
        self._air_time += self.control_dt
        feet_pos_w = self._feet_pos_w()
        lin_vel_b = rotate_inverse(state.root_quat_w, state.root_lin_vel_w)
        ang_vel_b = state.root_ang_vel_b
        return Features(
            lin_vel_b=lin_vel_b,
            ang_vel_b=ang_vel_b,
            gravity_b=down(state.root_quat_w),
            trunk_height=state.root_pos_w[:, 2],
            joint_pos=state.joint_pos - self._default_joint_pos,
            joint_vel=state.joint_vel,
            torque=state.joint_torque,
            power_w=rewards.mechanical_power(state.joint_torque, state.joint_vel),
            action=self._action,
            last_action=self._last_action,
            command=self.command,
            tracking=rewards.track_velocity(lin_vel_b, ang_vel_b[:, 2], self.command),
            foot_contact=foot_contact,
            foot_landed=foot_contact & (self._air_time > 1.5 * self.control_dt),
            foot_air_time=self._air_time,
            foot_clearance=feet_pos_w[..., 2] - self._stance_height,
            foot_vel_w=(feet_pos_w - self._foot_pos_w) / self.control_dt,
            knee_contact=knee_contact.any(dim=1),
            trunk_contact=trunk_contact.any(dim=1),
        )

    def _measures(self, f: Features, terms: Dict[str, torch.Tensor], terminated: torch.Tensor,
                  bad: torch.Tensor) -> Dict[str, torch.Tensor]:
        """What evaluation and logs are made of; rows of bad worlds are zero or to be skipped."""
        def good(value: torch.Tensor) -> torch.Tensor:
            return value.masked_fill(bad if value.dim() == 1 else bad[:, None], 0)

        return {
            **terms,
            "bad_world": bad,
            "fall": good(terminated),
            "forward_speed": good(f.lin_vel_b[:, 0]),
            "yaw_rate": good(f.ang_vel_b[:, 2]),
            "power_w": good(f.power_w),
            "trunk_height_m": good(f.trunk_height),
            "knee_contact": good(f.knee_contact),
            "foot_contact": good(f.foot_contact),
            "foot_clearance_m": good(f.foot_clearance),
            "command": f.command.clone(),
        }

    def _observe_now(self) -> None:
        """Bring ``_obs`` to the present state."""
        state = self.sim.state
        self._observe(self._obs, state.root_ang_vel_b, down(state.root_quat_w))

    def _observe(self, out: Obs, ang_vel_b: torch.Tensor, gravity_b: torch.Tensor) -> None:
        state = self.sim.state
        torch.cat((state.joint_pos - self._default_joint_pos, state.joint_vel, self._action, ang_vel_b, gravity_b,
                   self.command), dim=1, out=out["policy"])
        if self.privileged:
            lin_vel_b = rotate_inverse(state.root_quat_w, state.root_lin_vel_w)
            contact = _touches(state.contact_force_w, self._feet).float()
            torch.cat((lin_vel_b, contact, self.sim.friction[:, None]), dim=1, out=out["critic"])

    def _begin(self, mask: torch.Tensor) -> None:
        """Start a new episode for the robots of `mask`."""
        self._draw_starts()
        self._place(mask)
        self.steps.masked_fill_(mask, 0)
        if not self._started and self.stagger:
            self.steps.copy_(torch.randint(0, self.max_steps, (self.num_envs,), generator=self._generator,
                                           device=self.device))
        self._started = True
        self._action.masked_fill_(mask[:, None], 0.0)  # filled, not multiplied: it may hold NaN
        self._air_time.masked_fill_(mask[:, None], 0.0)
        torch.where(mask[:, None, None], self._feet_pos_w(), self._foot_pos_w, out=self._foot_pos_w)

    def _draw_starts(self) -> None:
        """Draw the noise of coming starts anew, uniform in ±1: of all robots first, then of an eighth at each step,
        which is cheaper and as good while no robot falls twice in eight steps."""
        share = -(-self.num_envs // 8)
        rows = self._wobble[self._turn * share:(self._turn + 1) * share] if self._started else self._wobble
        rows.copy_(torch.rand(rows.shape, generator=self._generator, device=self.device).mul_(2.0).sub_(1.0))
        self._turn = (self._turn + 1) % 8 if self._started else 0

    def _place(self, mask: torch.Tensor, noise: float = 1.0) -> None:
        """Stand the robots of `mask` at the origin, joints off by up to 0.1 rad and moving a little."""
        joints, wobble = len(self.robot.joints), self._wobble if noise == 1.0 else noise * self._wobble
        self._start_pos_w[:, 2] = self.robot.base_height_m + 0.02 * noise
        self.sim.reset(mask, self._start_pos_w, self._start_quat_w, 0.2 * wobble[:, :3], 0.2 * wobble[:, 3:6],
                       self._default_joint_pos + 0.1 * wobble[:, 6:6 + joints], 0.5 * wobble[:, 6 + joints:])

    def _draw_command(self, mask: torch.Tensor) -> None:
        ranges = (self.command_ranges.forward_m_s, self.command_ranges.yaw_rad_s)
        for column, (low, high), drawn in zip(self.command.unbind(dim=1), ranges, self._random(2)):
            torch.where(mask, drawn.mul_(high - low).add_(low), column, out=column)

    def _random(self, rows: int) -> torch.Tensor:
        """Uniform in [0, 1), (rows, N)."""
        return torch.rand(rows, self.num_envs, generator=self._generator, device=self.device)

    def _feet_pos_w(self) -> torch.Tensor:
        return self.sim.state.foot_pos_w

    @property
    def physics_s(self) -> float:
        """See :class:`TensorEnv`."""
        return self.sim.physics_s

    def metadata(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.metadata`."""
        return {
            "obs_table": dict(self.obs_table), "action_scale": self.robot.action_scale_rad,
            "default_joint_pos": list(self.robot.default_joint_pos), "kp": self.robot.kp, "kd": self.robot.kd,
            "joint_names": list(self.robot.joints), "control_dt": self.control_dt, "weight_n": self.sim.weight_n,
        }

    def render(self) -> Optional[np.ndarray]:
        """See :meth:`TensorEnv.render`."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = self.sim.make_renderer(width=640, height=480)
        return self._renderer.frame()

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.state_dict`."""
        own = {name: getattr(self, name).clone() for name in self._STATE}
        return {"task": own, "obs": {group: value.clone() for group, value in self._obs.items()},
                "started": self._started, "turn": self._turn, "generator": self._generator.get_state(),
                "sim": self.sim.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`TensorEnv.load_state_dict`."""
        self.sim.load_state_dict(state["sim"])
        for name in self._STATE:
            getattr(self, name).copy_(state["task"][name])
        for group, value in self._obs.items():
            value.copy_(state["obs"][group])
        self._started, self._turn = state["started"], state["turn"]
        self._generator.set_state(state["generator"])

    _STATE = ("command", "steps", "_action", "_last_action", "_air_time", "_foot_pos_w", "_wobble")

    def close(self) -> None:
        """See :meth:`TensorEnv.close`."""
        if self._renderer is not None:
            self._renderer.close()
        self.sim.close()
