"""A robot looks for the ball of the colour that it is asked for, with a camera, over the frozen policy that walks."""

from __future__ import annotations

import math
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import number_above_zero, truth, unknown
from sb3_isaac.contract.tensor_env import Display, Obs, Panel, Shown, StopRule
from sb3_isaac.sim.ray_camera import FAR_M, RayCamera
from sb3_isaac.tasks.over_walker import OverWalker
from sb3_isaac.tasks.parts.feature import feature
from sb3_isaac.tasks.parts.legged import QUADRUPED_HEIGHT_M
from sb3_isaac.tasks.parts.memory import Memory
from sb3_isaac.tasks.parts.terms import Function, Term

PIXELS, FOV_DEG, PITCH_DEG = 84, 100.0, 8.0
EYE_B = (0.3, 0.0, 0.08)
"""Of the camera, m in the trunk's frame of the shipped quadruped; larger on larger robots."""
COLOURS: Mapping[str, Tuple[float, float, float]] = {
    "red": (0.9, 0.12, 0.1), "green": (0.1, 0.75, 0.15), "blue": (0.1, 0.2, 0.95)}
BALL_M, TOUCH_M = 0.25, 0.6
"""Radius of a ball, and how near to its centre the trunk's is where the ball counts as touched."""
BEARING_DEG, SPREAD_DEG, DISTANCE_M = (40.0, 0.0, -40.0), 5.0, (1.5, 2.5)
"""Where balls lie from where the robot starts and looks to; which is which is drawn."""


class VisionFeatures:
    """A robot and its balls at one moment.

    ============== ========= =======================================================
    feature        shape     unit
    ============== ========= =======================================================
    robot                    features of the walking task, LeggedFeatures
    distances      (N, 3)    m from the trunk's centre to each ball's, horizontally
    distance       (N,)      m to the ball that is asked for
    angle          (N,)      rad to it from straight ahead, to either side
    turned         (N,)      rad, how much less that is than before the decision
    touched        (N, 3)    bool
    found          (N,)      bool: the ball that is asked for is touched
    mistaken       (N,)      bool: another one is
    fallen         (N,)      bool
    asked          (N, 3)    1 for the colour that is asked for, else 0
    progress       (N,)      m, how much nearer it is than before the decision
    ============== ========= =======================================================
    """

    def __init__(self, task: "QuadrupedVision") -> None:
        self._task, self.robot = task, task.walking.features()
        self.last_distance, self.last_angle = task.last_distance, task.last_angle
        self.action, self.change = task.told, task.told - task.last_told

    @feature
    def _from_trunk_w(self) -> torch.Tensor:
        return self._task.balls_w - self.robot.trunk_pos_w[:, None]

    @feature
    def distances(self) -> torch.Tensor:
        """(N, 3) m."""
        return self._from_trunk_w.norm(dim=2)

    @property
    def asked(self) -> torch.Tensor:
        """(N, 3)."""
        return self._task.asked

    @feature
    def distance(self) -> torch.Tensor:
        """(N,) m."""
        return (self.distances * self.asked).sum(dim=1)

    @feature
    def angle(self) -> torch.Tensor:
        """(N,) rad."""
        x, y = (self._from_trunk_w * self.asked[:, :, None]).sum(dim=1).unbind(dim=1)
        cos, sin = self.robot.heading.cos(), self.robot.heading.sin()
        return torch.atan2((cos * y - sin * x).abs(), cos * x + sin * y)

    @property
    def turned(self) -> torch.Tensor:
        """(N,) rad."""
        return self.last_angle - self.angle

    @feature
    def touched(self) -> torch.Tensor:
        """(N, 3) bool."""
        return self.distances < TOUCH_M

    @property
    def found(self) -> torch.Tensor:
        """(N,) bool."""
        return (self.touched & (self.asked > 0)).any(dim=1)

    @property
    def mistaken(self) -> torch.Tensor:
        """(N,) bool."""
        return (self.touched & (self.asked == 0)).any(dim=1) & ~self.found

    @feature
    def fallen(self) -> torch.Tensor:
        """(N,) bool."""
        return self._task.fallen(self.robot)

    @property
    def progress(self) -> torch.Tensor:
        """(N,) m."""
        return self.last_distance - self.distance


class QuadrupedVision(OverWalker):
    """``IsaacQuadrupedVision-v0``: three balls, red, green and blue, 1.5 to 2.5 m ahead; one of them is asked for.

    Where they lie is only in the picture. Without seeing it a policy finds one of three.

    ============== ====== ============= ================================================ ====================
    group          name   shape, width  what                                             frame, unit
    ============== ====== ============= ================================================ ====================
    ``image``             (3, 84, 84)   the camera's picture, uint8: red, green, blue;   –
                          u8            with ``depth`` a fourth channel, 255 at 10 m
    ``policy``     asked  3             1 for the colour that is asked for, else 0       –
    ..             velocity 2           forward, left                                    body, m/s
    ..             imu_ang_vel_b 3      angular velocity                                 body, rad/s
    ..             imu_gravity_b 3      direction of gravity                             body, –
    ..             told   C             the last action                                  –
    ============== ====== ============= ================================================ ====================

    Reward of a decision: 0.5 for a metre that the ball came nearer, 2 for a rad that the robot turned to it, a little
    less for time; 2 for the ball and −1 for another one, which both end the episode, as a fall does, −2. Turning is
    what pictures are needed for, and is worth more than all else that an action does.

    :param walker, walker_options, decision_s: see :class:`~sb3_isaac.tasks.quadruped_waypoint.QuadrupedWaypoint`.
    :param asked: ``red``, ``green`` or ``blue``; ``any`` draws one for each episode.
    :param depth: add the distance of what a pixel shows.
    :param blind: the picture stays black: what a policy of the same network reaches without seeing.
    :param frame_s: seconds between two pictures, to the nearest decision; None is a picture for each decision.
    :param sim, device, threads, seed, reward, observation, termination, episode_length_s, stagger, render_mode: as in
        :class:`~sb3_isaac.tasks.parts.legged.LeggedTask`.
    """

    MEMORY = {"last_distance": Memory(keep=lambda f: f.distance, start=lambda f: f.distance),
              "last_angle": Memory(keep=lambda f: f.angle, start=lambda f: f.angle), "frame_age": Memory()}
    last_distance: torch.Tensor
    last_angle: torch.Tensor
    frame_age: torch.Tensor
    _STATE = (*OverWalker._STATE, "balls_w", "asked")
    OBSERVATION: Mapping[str, Mapping[str, Function]] = {"policy": {
        "asked": lambda f: f.asked,
        "velocity": lambda f: f.robot.lin_vel_b[:, :2],
        "imu_ang_vel_b": lambda f: f.robot.ang_vel_b,
        "imu_gravity_b": lambda f: f.robot.gravity_b,
        "told": lambda f: f.action,
    }}
    TERMINATION: Mapping[str, Function] = {"fall": lambda f: f.fallen, "touch": lambda f: f.touched.any(dim=1)}
    REWARD: Mapping[str, Term] = {
        "progress": Term(0.5, lambda f: f.progress),
        "turning": Term(2.0, lambda f: f.turned),
        "found": Term(2.0, lambda f: f.found.float()),
        "mistaken": Term(-1.0, lambda f: f.mistaken.float()),
        "time": Term(-0.02, lambda f: torch.ones_like(f.distance)),
        "fall": Term(-2.0, lambda f: f.fallen.float()),
    }
    logged = ("falls", "mistaken")
    stop_rule = StopRule({"success_fraction": (0.95, 1.0)}, goal="it finds the ball that it is asked for")
    display = Display(
        progress=(Shown("found", "rollout/success_rate", "{:.0%}"), Shown("another", "rollout/mistaken", "{:.0f}"),
                  Shown("falls", "rollout/falls", "{:.0f}")),
        evaluation=(Shown("found", "success_fraction", "{:.1%}"), Shown("another", "mistaken_fraction", "{:.1%}"),
                    Shown("falls", "falls_fraction", "{:.1%}"), Shown("time", "time_s", "{:.1f} s")),
        panels=(Panel("eval/success_fraction", "episodes that found the ball\n(evaluation)"),),
        overlay=(Shown("to go", "distance_m", "{:.2f} m"),))

    def __init__(self, num_envs: int = 1, *, walker: str = "IsaacQuadrupedVelocity-v0", walker_options: Any = None,
                 decision_s: float = 0.2, asked: str = "red", depth: bool = False, blind: bool = False,
                 frame_s: Optional[float] = None, sim: Optional[str] = None, device: Optional[str] = None,
                 threads: Optional[int] = None, seed: Optional[int] = None,
                 reward: Optional[Mapping[str, Any]] = None, observation: Optional[Mapping[str, Any]] = None,
                 termination: Optional[Mapping[str, Any]] = None, episode_length_s: float = 12.0, stagger: bool = True,
                 render_mode: Optional[str] = None) -> None:
        if asked not in (*COLOURS, "any"):
            raise unknown("asked", asked, (*COLOURS, "any"))
        self.depth, self.blind = truth("depth", depth), truth("blind", blind)
        self.stand_on(walker, num_envs, decision_s=decision_s, walker_options=walker_options, seed=seed,
                      episode_length_s=episode_length_s, stagger=stagger, render_mode=render_mode, sim=sim,
                      device=device, threads=threads)
        self._frames = 1 if frame_s is None else max(
            1, round(number_above_zero("frame_s", frame_s, most=3600.0) / self.control_dt))
        scale = self.walking.robot.base_height_m / QUADRUPED_HEIGHT_M
        self.camera = RayCamera(PIXELS, FOV_DEG, [scale * part for part in EYE_B], PITCH_DEG, self.device)
        self._colours = torch.tensor(list(COLOURS.values()), device=self.device)
        self._radius = torch.full((len(COLOURS),), BALL_M, device=self.device)
        self._bearing_deg = torch.tensor(BEARING_DEG, device=self.device)  # once: a copy to a device waits for it
        self._asked = torch.tensor([asked in ("any", name) for name in COLOURS], device=self.device).float()
        self.balls_w, self.asked = self.zeros(len(COLOURS), 2), self.zeros(len(COLOURS))
        """Centres of the balls (N, 3, 2), m in the world; the colour that is asked for (N, 3), 1 or 0."""
        self._drawn = self.zeros(4 * len(COLOURS))
        self._begun = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        """Whose episode has begun since the last observation."""
        self._stepped = False
        """Whether this is the first observation after a step."""
        self.set_tables(reward=reward, observation=observation, termination=termination)
        shape = (4 if self.depth else 3, PIXELS, PIXELS)
        self.observation_space = spaces.Dict({**self.observation_space.spaces,
                                              "image": spaces.Box(0, 255, shape, np.uint8)})
        for obs in (self._obs, self._final_obs):
            obs["image"] = torch.zeros(num_envs, *shape, dtype=torch.uint8, device=self.device)

    def act(self, actions: torch.Tensor) -> torch.Tensor:
        """See :meth:`OverWalker.act`."""
        self._stepped = True
        return super().act(actions)

    def features(self) -> VisionFeatures:
        """See :meth:`EpisodicTask.features`."""
        return VisionFeatures(self)

    def measures(self, features: VisionFeatures, terminated: torch.Tensor) -> Dict[str, torch.Tensor]:
        """See :meth:`EpisodicTask.measures`."""
        f = features
        return {"falls": f.fallen, "mistaken": f.mistaken, "is_success": f.found & ~f.fallen,
                "distance_m": f.distance, "position_w": f.robot.trunk_pos_w}

    def place(self, mask: torch.Tensor) -> None:
        """See :meth:`OverWalker.place`: balls left, ahead and right, in any order."""
        super().place(mask)
        self._begun |= mask
        order, aside, away, asked = self.uniform(self._drawn).split(len(COLOURS), dim=1)
        where = self._bearing_deg[order.argsort(dim=1)] + SPREAD_DEG * aside
        bearing = where * (math.pi / 180.0)
        distance = DISTANCE_M[0] + 0.5 * (away + 1.0) * (DISTANCE_M[1] - DISTANCE_M[0])
        start = self.walking.features()
        bearing = bearing + start.heading[:, None]
        centre = start.trunk_pos_w[:, None] + torch.stack((distance * bearing.cos(), distance * bearing.sin()), dim=2)
        torch.where(mask[:, None, None], centre, self.balls_w, out=self.balls_w)
        first = torch.where(self._asked > 0, asked, torch.full_like(asked, -2.0)).argmax(dim=1)
        torch.where(mask[:, None], torch.nn.functional.one_hot(first, len(COLOURS)).float(), self.asked, out=self.asked)

    def _remember(self, features: Any) -> None:
        super()._remember(features)
        self.frame_age.add_(1.0).remainder_(self._frames)

    def _observe(self, features: Any, out: Obs, keep: Optional[torch.Tensor] = None) -> Obs:
        """See EpisodicTask: the picture besides. After a step all cameras look where it is time for a picture; then
        those of robots that begin a new episode do."""
        super()._observe(features, out, keep)
        now = self._obs["image"]
        if self.blind:
            return out
        if self._stepped:
            due = self.frame_age == 0.0
            due = due if keep is None else due & ~keep
            torch.where(due[:, None, None, None], self.picture(), now, out=out["image"])
            now.copy_(out["image"])
        elif self.device.type == "cpu":
            rows = self._begun.nonzero()[:, 0]
            now[rows] = self.picture(rows)
        else:
            torch.where(self._begun[:, None, None, None], self.picture(), now, out=now)
        self._begun.zero_()
        self._stepped = False
        return out

    def picture(self, robots: Any = slice(None)) -> torch.Tensor:
        """What the cameras of these robots see now, (N, 3, 84, 84) uint8, or (N, 4, 84, 84) with ``depth``."""
        state, balls_w = self.walking.sim.state, self.balls_w[robots]
        centre_w = torch.cat((balls_w, torch.full_like(balls_w[:, :, :1], BALL_M)), dim=2)
        view = self.camera.look(state.root_pos_w[robots], state.root_quat_w[robots], centre_w, self._radius,
                                self._colours)
        if not self.depth:
            return view.colour
        depth = (view.depth * (255.0 / FAR_M)).round().to(torch.uint8)
        return torch.cat((view.colour, depth[:, None]), dim=1)

    def report(self, episodes: Episodes) -> Dict[str, float]:
        """See :meth:`TensorEnv.report`: shares of episodes, and the time of those that found the ball."""
        success = episodes.greatest("is_success") > 0
        took = episodes.length[episodes.good] * episodes.control_dt
        return {"success_fraction": float(success.float().mean()),
                "mistaken_fraction": float(episodes.greatest("mistaken").mean()),
                "falls_fraction": float(episodes.greatest("falls").mean()),
                "time_s": float(took[success].mean()) if bool(success.any()) else math.nan}

    def outcomes(self, episodes: Episodes) -> Dict[str, torch.Tensor]:
        """See :meth:`TensorEnv.outcomes`."""
        return {"success": episodes.greatest("is_success") > 0}

    def marks(self, robot: int) -> Sequence[Tuple[str, Sequence[float], Sequence[float], Sequence[float]]]:
        """See :meth:`OverWalker.marks`: the balls."""
        return [("sphere", (x, y, BALL_M), (BALL_M,) * 3, (*colour, 1.0))
                for (x, y), colour in zip(self.balls_w[robot].tolist(), COLOURS.values())]
