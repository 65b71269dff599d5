"""A legged robot as a task: its simulator, actions, start states, and what it remembers from step to step."""

from __future__ import annotations

import math
import warnings
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.device import known_empty
from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import mapping, truth
from sb3_isaac.contract.rotations import from_yaw
from sb3_isaac.contract.tensor_env import Obs
from sb3_isaac.robots import Robot
from sb3_isaac.sim import Simulator
from sb3_isaac.tasks.parts.command import Axis, Commands, outside, told_by
from sb3_isaac.tasks.parts.feature import keep_state_features
from sb3_isaac.tasks.parts.features import SETTLE_S, UNITS, WATCHED_S, LeggedFeatures
from sb3_isaac.tasks.parts.gait_report import gait_report, walked
from sb3_isaac.tasks.parts.ground import Ground
from sb3_isaac.tasks.parts.legged_randomize import LeggedRandomization
from sb3_isaac.tasks.parts.limits import TERMS, Limits
from sb3_isaac.tasks.parts.limits import measures as limit_measures
from sb3_isaac.tasks.parts.memory import Measure, Memory
from sb3_isaac.tasks.parts.randomize import Each, whole_ranges
from sb3_isaac.tasks.parts.robot_task import RobotTask

QUADRUPED_WEIGHT_N, QUADRUPED_HEIGHT_M = 147.31677, 0.3223
"""Of the shipped quadruped: the robot whose effort the rewards' weights are for."""


class LeggedTask(RobotTask):
    """N robots of one kind whose joints are driven to target positions; a subclass gives the tables.

    Action (J,) in [−1, 1]: joint target = default pose + ``Robot.action_scale_rad`` · action, clipped to the joint's
    range. An episode starts in the default pose, joints off by up to 0.1 rad and moving a little.

    :param num_envs: N robots.
    :param sim, device, threads, physics_dt, substeps, nconmax, njmax, cuda_graphs: see
        :func:`~sb3_isaac.sim.make_simulator`; ``sim`` may be a Simulator, which brings the others. By default 2 physics
        steps of 0.01 s: 100 Hz is stable here and twice as fast as 200 Hz.
    :param seed: of the first reset; None draws one.
    :param robot: a :class:`~sb3_isaac.robots.Robot`, or what stands for one (:func:`~sb3_isaac.robots.get_robot`): a
        registered name, the path of an MJCF or URDF file, a mapping of ``mjcf`` and fields that are used as given;
        None is the task's own.
    :param reward, command, observation, termination: changes of the tables, see
        :class:`~sb3_isaac.tasks.parts.episode.EpisodicTask`.
    :param randomize: changes of the table ``RANDOMIZE``: parameter -> [low, high], see
        :mod:`~sb3_isaac.tasks.parts.legged_parameters`; None takes one out.
    :param limits: of joints, see :mod:`~sb3_isaac.tasks.parts.limits`; they cost what ``reward`` gives to
        ``range_limit speed_limit torque_limit``.
    :param episode_length_s: seconds until an episode runs out of time.
    :param stagger: give each robot's first episode a random length, so that time-outs do not come all at once.
    :param terrain: ground that is not a plane, see :class:`~sb3_isaac.tasks.parts.ground.Ground`; ``{}`` is all its
        defaults. An episode then starts in the middle of a tile, in any direction, and ends, as by time, when the robot
        leaves the tile.
    :param privileged: add the observation group ``critic``, for a critic of its own
        (:class:`~sb3_isaac.rl.policy.asymmetric.AsymmetricPolicy`).
    :param render_mode: ``rgb_array`` or None.
    """

    JOINT_NOISE_RAD, JOINT_SPEED_RAD_S, SPEED_M_S, TURN_RAD_S, DROP_M = 0.1, 0.5, 0.2, 0.2, 0.02
    MEMORY = {
        "action": Memory(lambda task: (len(task.robot.joints),)),
        "last_action": Memory(lambda task: (len(task.robot.joints),)),
        "foot_air_time": Memory(lambda task: (len(task.robot.feet),),
                                lambda f: torch.where(f.foot_contact, 0.0, f.foot_air_time)),
        "last_foot_pos_w": Memory(lambda task: (len(task.robot.feet), 3), lambda f: f.foot_pos_w,
                                  lambda f: f.foot_pos_w),
        "last_swing_peak": Memory(lambda task: (len(task.robot.feet),),
                                  lambda f: torch.where(f.foot_contact, 0.0, f.swing_peak)),
        "last_heading": Memory(keep=lambda f: f.heading, start=lambda f: f.heading),
        "course_error": Memory(keep=lambda f: f.course_error),
        "stood_s": Memory(keep=lambda f: f.standing * torch.where(
            f.stood_s < SETTLE_S + WATCHED_S, f.stood_s + f.control_dt, SETTLE_S)),
        "stood_at_w": Memory(lambda task: (2,), lambda f: torch.where(f.settled[:, None], f.stood_at_w, f.trunk_pos_w),
                             lambda f: f.trunk_pos_w),
    }
    action: torch.Tensor
    last_action: torch.Tensor
    foot_air_time: torch.Tensor
    last_foot_pos_w: torch.Tensor
    last_swing_peak: torch.Tensor
    last_heading: torch.Tensor
    course_error: torch.Tensor
    stood_s: torch.Tensor
    stood_at_w: torch.Tensor
    told_w: torch.Tensor
    level: torch.Tensor
    origin_w: torch.Tensor
    TERRAIN: Optional[Mapping[str, Any]] = None
    """The task's own terrain: settings that differ from the usual ones; None is a plane."""
    RANDOMIZE: Mapping[str, Any] = {}
    """What each robot has of its own: nothing, unless it is asked for."""
    KNOWN: Tuple[str, ...] = ("last_action", "command", "told_to_stand", "clock")
    """Observations that no sensor tells: never late or noisy."""
    CONDITIONS = {"friction": (0.4, 0.8, 1.25), "payload_kg": (-3.0, 0.0, 3.0), "latency_s": (0.0, 0.025, 0.05),
                  "noise_level": (0.0, 1.0), "push": (0.0, 0.5), "terrain": ()}
    """``terrain`` is a level of the ground; without values it is the task's own ground."""
    SENSOR_NOISE: Mapping[str, Any] = {"joint_pos": 0.01, "joint_vel": 1.5, "imu_ang_vel_b": 0.2, "imu_gravity_b": 0.05}
    """What a ``noise_level`` is a factor of, where the policy was trained without noise."""
    UNITS: Mapping[str, str] = UNITS
    """What the observations' numbers are, for programs on a robot."""
    EVALUATION: Sequence[Mapping[str, float]] = ()
    """The commands of evaluations, {axis: value}; an axis that is missing in one is drawn, from its whole range."""
    SHOWN: Sequence[Mapping[str, float]] = ()
    """Those of a demonstration, all robots told the same; without them they are those of evaluations, by turns."""

    def __init__(
        self, num_envs: int = 1, *, sim: Union[str, Simulator] = "auto", device: str = "auto",
        seed: Optional[int] = None, robot: Union[str, Mapping[str, Any], Robot, None] = None,
        reward: Optional[Mapping[str, Any]] = None, command: Optional[Mapping[str, Any]] = None,
        observation: Optional[Mapping[str, Any]] = None, termination: Optional[Mapping[str, Any]] = None,
        randomize: Optional[Mapping[str, Any]] = None, limits: Optional[Mapping[str, Any]] = None,
        episode_length_s: float = 20.0, stagger: bool = True, physics_dt: Optional[float] = None,
        substeps: Optional[int] = None, threads: Optional[int] = None, nconmax: Optional[int] = None,
        njmax: Optional[int] = None, cuda_graphs: Optional[bool] = None,
        terrain: Optional[Mapping[str, Any]] = None, privileged: bool = False,
        render_mode: Optional[str] = None,
    ) -> None:
        self.ground = self._ground_of(terrain)
        self.set_simulator(sim, num_envs, robot=robot, device=device, physics_dt=physics_dt, substeps=substeps,
                           threads=threads, nconmax=nconmax, njmax=njmax, cuda_graphs=cuda_graphs,
                           ground=None if self.ground is None else self.ground.grid.ground)
        if self.ground is not None:
            self.MEMORY = {**self.MEMORY, "told_w": Memory(lambda task: (2,), lambda f: f.told_w)}
            self._STATE = (*self._STATE, "level", "origin_w")
            self.logged = (*self.logged, *self.ground.logged)
        self.setup(self.sim.num_envs, self.sim.device, seed=seed, episode_length_s=episode_length_s, stagger=stagger,
                   render_mode=render_mode)
        self.privileged = truth("privileged", privileged)
        self.randomization = LeggedRandomization(self, randomize, observation)
        """``.draws`` is what each robot has, {parameter: (N, k)}."""
        self.OBSERVATION = {**self.OBSERVATION, "critic": {**self.randomization.critic,
                                                           **self.OBSERVATION.get("critic", {})}}
        self.MIRROR = {**{name: kind for name, kind in self.randomization.mirror.items() if kind}, **self.MIRROR}
        self.limits = Limits(limits, self.sim.joint_range, torch.tensor(self.robot.torque_limit_nm, device=self.device))
        self.REWARD = {**TERMS, **self.REWARD}
        self.TERMINATION = {**self.limits.terminations(), **self.TERMINATION}
        self._allocate()
        self.set_tables(reward=reward, command=command, observation=observation, termination=termination,
                        groups=("policy", "critic") if privileged else ("policy",))
        self.randomization.sense(self.obs_table)

    def _allocate(self) -> None:
        joints = len(self.robot.joints)
        self.action_space = spaces.Box(-1.0, 1.0, (joints,), np.float32)
        self.default_joint_pos = torch.tensor(self.robot.default_joint_pos, device=self.device)
        # Effort costs by size: else a heavy robot had better stand still.
        self.power_scale = round(QUADRUPED_WEIGHT_N / self.sim.weight_n, 6)
        self.torque_scale = self.power_scale * QUADRUPED_HEIGHT_M / self.robot.base_height_m
        self._noise = self.zeros(6 + 2 * joints + (self.ground is not None))
        if self.ground is not None:
            self.ground.settle(self.num_envs, self.device)
            self.level = self.ground.first_level()
            self.origin_w = self.ground.origin(self.level)
        self._start_pos_w = self.zeros(3)
        self._start_quat_w = from_yaw(torch.zeros(self.num_envs, device=self.device))
        index = {name: i for i, name in enumerate(self.sim.body_names)}
        self.feet, self.penalised, self.terminal = (
            torch.tensor([index[name] for name in names], dtype=torch.long, device=self.device)
            for names in (self.robot.feet, self.robot.penalised_bodies, self.robot.terminal_bodies))
        self._put(torch.ones(self.num_envs, dtype=torch.bool, device=self.device), noise=0.0)
        feet_pos_w, start = self.sim.state.foot_pos_w[0], self._start_pos_w[0]
        self.stance_height = feet_pos_w[:, 2] - (start[2] - self.robot.base_height_m)
        """Height (F,) m of the feet's frames when the robot stands in its default pose."""
        if self.ground is not None:
            self.ground.check_size(float((feet_pos_w - start)[:, :2].norm(dim=1).max()))
        self.command = self.zeros(0)

    @classmethod
    def _ground_of(cls, terrain: Optional[Mapping[str, Any]]) -> Optional[Ground]:
        """The terrain that is given, over the task's own."""
        if terrain is None and cls.TERRAIN is None:
            return None
        return Ground({**(cls.TERRAIN or {}), **mapping("terrain", terrain)})

    # ---- the loop's parts

    def features(self) -> LeggedFeatures:
        """See :meth:`EpisodicTask.features`."""
        return LeggedFeatures(self)

    def features_again(self, features: LeggedFeatures) -> LeggedFeatures:
        """See :meth:`EpisodicTask.features_again`."""
        again = self.features()
        keep_state_features(again, features)
        return again

    def act(self, actions: torch.Tensor) -> torch.Tensor:
        """See :meth:`EpisodicTask.act`."""
        self.last_action.copy_(self.action)
        self.action.copy_(actions).clamp_(-1.0, 1.0)
        self.randomization.go_on(self.control_dt)
        self.sim.step(self.randomization.targets(self.default_joint_pos + self.robot.action_scale_rad * self.action))
        self.foot_air_time += self.control_dt
        return self.sim.diverged.clone()

    def tell(self, group: str, obs: torch.Tensor) -> None:
        """See :meth:`EpisodicTask.tell`: the actor's sensors may be late, noisy and off; the critic sees the truth."""
        if group == "policy":
            self.randomization.tell(obs)

    def widen(self, followed: torch.Tensor) -> None:
        """See :meth:`EpisodicTask.widen`: the ranges of what is randomised, too."""
        super().widen(followed)
        if not self.randomization.widens:
            return
        settings = self._commands.settings
        self.randomization.widened(followed.mean() > settings["widen_at"], self.control_dt / settings["widen_s"])

    def measures(self, features: LeggedFeatures, terminated: torch.Tensor) -> Mapping[str, Measure]:
        """See :meth:`EpisodicTask.measures`."""
        f = features
        return {
            "falls": terminated,
            "forward_speed": lambda: f.lin_vel_b[:, 0],
            "left_speed": lambda: f.lin_vel_b[:, 1],
            "tracking_error": lambda: (f.velocity - f.velocity_command).abs(),
            "foot_slip_m_s": lambda: f.foot_slip,
            "standing": lambda: f.standing,
            "standing_steps": lambda: f.foot_landed.sum(dim=1) * f.settled,
            "standing_drift_m": lambda: f.standing_drift,
            "heading_rate": lambda: f.heading_rate,
            "power_w": lambda: f.power_w,
            "trunk_height_m": lambda: f.trunk_height,
            "knee_contact": lambda: f.knee_contact,
            "foot_contact": lambda: f.foot_contact,
            "foot_clearance_m": lambda: f.foot_clearance,
            "swing_peak_m": lambda: f.swing_peak * f.swing_ended,
            "swing_ended": lambda: f.swing_ended,
            "command": f.command,
            **limit_measures(f),
            **({} if self.ground is None else self.ground.measures(f, self.level, terminated)),
        }

    def place(self, mask: torch.Tensor) -> None:
        """See :meth:`EpisodicTask.place`. All robots draw, so that no two starts are the same."""
        self.randomization.start(mask, first_time=not self._started)
        self.uniform(self._noise)
        if not known_empty(mask):
            self._put(mask, noise=1.0)

    def _put(self, mask: torch.Tensor, noise: float) -> None:
        joints, drawn = len(self.robot.joints), self._noise
        self._start_pos_w[:, 2] = self.robot.base_height_m + self.DROP_M * noise
        if self.ground is not None:
            torch.where(mask[:, None], self.ground.origin(self.level), self.origin_w, out=self.origin_w)
            self._start_pos_w[:, :2] = 0.0
            self._start_pos_w += self.origin_w
            self._start_quat_w.copy_(from_yaw(math.pi * drawn[:, -1]))
        self.sim.reset(mask, self._start_pos_w, self._start_quat_w, self.SPEED_M_S * drawn[:, :3],
                       self.TURN_RAD_S * drawn[:, 3:6],
                       self.default_joint_pos + self.JOINT_NOISE_RAD * drawn[:, 6:6 + joints],
                       self.JOINT_SPEED_RAD_S * drawn[:, 6 + joints:6 + 2 * joints])

    def timed_out(self, features: LeggedFeatures) -> torch.Tensor:
        """See :meth:`EpisodicTask.timed_out`: on terrain, also when a robot leaves its tile."""
        over = super().timed_out(features)
        return over if self.ground is None else over | features.left_tile

    def learnt(self, features: LeggedFeatures, terminated: torch.Tensor, truncated: torch.Tensor) -> None:
        """See :meth:`EpisodicTask.learnt`: levels of terrain."""
        if self.ground is not None:
            good = (terminated | truncated) & ~self.sim.diverged
            self.level.copy_(self.ground.next_level(features, self.level, good, terminated, self._generator))

    def reset(self, seed: Optional[int] = None) -> Obs:
        """See :meth:`TensorEnv.reset`; levels of terrain begin anew too, and by a seed ranges of what is randomised."""
        if seed is not None:
            self.randomization.reach.zero_()
        if self.ground is not None:
            self.level.copy_(self.ground.first_level())
        return super().reset(seed)

    # ---- the rest of TensorEnv

    def report(self, episodes: Episodes) -> Dict[str, Any]:
        """See :meth:`TensorEnv.report`: the figures of a gait."""
        figures = gait_report(episodes, self.sim.weight_n, list(self._commands.axes))
        return {**figures, **({} if self.ground is None else self.ground.report(episodes))}

    @classmethod
    def condition_options(cls, options: Mapping[str, Any], each: Mapping[str, Sequence[float]]) -> Dict[str, Any]:
        """See :meth:`TensorEnv.condition_options`: nothing else is randomised."""
        each, changed = dict(each), {}
        if "terrain" in each:
            levels = [int(level) if float(level).is_integer() else level for level in each.pop("terrain")]
            changed["terrain"] = {**(options.get("terrain") or {}), "level": {"each": levels}}
        trained = options.get("randomize") or {}
        randomize: Dict[str, Any] = dict.fromkeys((*cls.RANDOMIZE, *trained))
        randomize.update({name: {"each": list(values)} for name, values in each.items()})
        if "noise_level" in each:
            randomize["obs_noise"] = trained.get("obs_noise") or cls.SENSOR_NOISE
        return {"randomize": randomize, **changed}

    def outcomes(self, episodes: Episodes) -> Dict[str, torch.Tensor]:
        """See :meth:`TensorEnv.outcomes`."""
        return walked(episodes, list(self._commands.axes))

    @classmethod
    def command_axes(cls, options: Mapping[str, Any]) -> Mapping[str, Axis]:
        """The task's own axes when it is made with `options`, in the order of ``--command``."""
        return cls.COMMAND

    @classmethod
    def evaluation_options(cls, options: Mapping[str, Any], command: Optional[Sequence[Any]] = None,
                           hold_s: Optional[float] = None) -> Dict[str, Any]:
        """See :meth:`TensorEnv.evaluation_options`: the task's commands unless others are given, by turns."""
        given = dict(options.get("command") or {})
        given.pop("sequence", None)
        axes: List[str] = [*cls.command_axes(options)]
        axes += [name for name in given if name not in (*axes, *Commands.SETTINGS)]
        demo = command is None and hold_s is not None and bool(cls.SHOWN)
        if command is None:
            told = [{name: value for name, value in one.items() if name in axes}
                    for one in (cls.SHOWN if demo else cls.EVALUATION)]
        else:
            several = command if all(isinstance(one, (list, tuple)) for one in command) else [command]
            told = [told_by(axes, one) for one in several]
        beyond = outside(Commands(cls.command_axes(options), given).axes, told)
        if beyond and command is None:
            warnings.warn(f"the task's own commands go beyond what the policy is trained for, {', '.join(beyond)}, so "
                          "it may miss them or fall: give --command, or train with their ranges.", stacklevel=2)
        elif beyond:
            warnings.warn(f"the command {', '.join(beyond)} is outside what the policy was trained for, and it may "
                          "fall: command less, or train with that range in --env-kwargs.", stacklevel=2)
        if len(told) > 1:
            order = {name: True for name, holds in (("together", demo), ("shuffled", _has_turns(options))) if holds}
            given.update(sequence=told, random_times=False, **order)
        for name, value in (told[0].items() if len(told) == 1 else ()):
            given[name] = value if name in cls.command_axes(options) else Axis(value, value)  # one's own has to be that
        drawn = [name for name in axes if not told or any(name not in one for one in told)]
        if {*drawn} & {*cls.COMMAND_SETTINGS.get("first", {}), *given.get("first", {})}:
            given["first"] = {}  # from whole ranges, as what is randomised
        randomize = {"randomize": whole_ranges(options["randomize"])} if options.get("randomize") else {}
        made = {**super().evaluation_options(options), **randomize, "command": {**given, "resample_s": hold_s or 1e6}}
        if cls._ground_of(made.get("terrain")) is not None:
            made["terrain"] = {**(made.get("terrain") or {}), "curriculum": False}  # on all levels alike
        return made

    def metadata(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.metadata`."""
        return {
            "obs_table": dict(self.obs_table), "action_scale": self.robot.action_scale_rad,
            "default_joint_pos": list(self.robot.default_joint_pos), "kp": list(self.robot.kp),
            "kd": list(self.robot.kd), "joint_names": list(self.robot.joints), "control_dt": self.control_dt,
            "weight_n": self.sim.weight_n, "joint_range": self.sim.joint_range.tolist(),
            "torque_limit_nm": list(self.robot.torque_limit_nm),
            "units": {name: self.UNITS[name] for name in self.obs_table if name in self.UNITS},
            "command": {name: [axis.low, axis.high] for name, axis in self._commands.axes.items()},
            "latency_s": list(self.randomization.bounds("latency_s")),
        }

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.state_dict`."""
        randomized = {"randomization": self.randomization.state_dict()} if self.randomization.acts else {}
        return {**super().state_dict(), **randomized}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`TensorEnv.load_state_dict`."""
        super().load_state_dict(state)
        if self.randomization.acts:
            self.randomization.load_state_dict(state.get("randomization", {}))


def _has_turns(options: Mapping[str, Any]) -> bool:
    """Whether robots have values of something by turns, as they would have commands."""
    values = (*(options.get("randomize") or {}).values(), (options.get("terrain") or {}).get("level"))
    return any(isinstance(value, Each) or (isinstance(value, Mapping) and "each" in value) for value in values)
