"""A high-level policy leads a walking robot through waypoints, over the frozen policy that walks."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import whole_number
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.contract.tensor_env import Display, Panel, Shown, StopRule
from sb3_isaac.tasks.over_walker import OverWalker
from sb3_isaac.tasks.parts.feature import feature
from sb3_isaac.tasks.parts.memory import Memory
from sb3_isaac.tasks.parts.mirror import command_mirror
from sb3_isaac.tasks.parts.terms import Function, Term

ARRIVED_M = 0.35
"""A waypoint is reached when the trunk's centre is this near."""
LEG_M = (1.5, 3.0)
"""From one waypoint to the next, in any direction."""
OBSTACLE_M, ASIDE_M, CLEAR_M, NEAR_M, SEEN = (0.15, 0.3), 0.8, 0.3, 0.6, 3
"""Radii of obstacles, how far they are beside the straight way at most, what the trunk's centre has to keep from their
surface, from where on it costs to be near, and how many of the nearest are seen."""


class WaypointFeatures:
    """A robot and its waypoints at one moment.

    ============== ========= ======================================================================
    feature        shape     unit, frame
    ============== ========= ======================================================================
    robot                    features of the walking task, LeggedFeatures
    next_b         (N, 2)    m, the next waypoint from the trunk: forward, left
    after_b        (N, 2)    m, the one after it; at the last one that again
    distance       (N,)      m to the next waypoint
    bearing        (N, 2)    direction to it, cosine and sine of the angle from straight ahead
    arrived        (N,)      bool: the next waypoint is reached now
    left           (N,)      how many are not reached yet, the next one included
    finished       (N,)      bool: the last waypoint is reached now
    fallen         (N,)      bool
    obstacles_b    (N, 9)    m, of the nearest three obstacles: centre forward and left, radius
    clearance      (N,)      m from the trunk's centre to the nearest surface of an obstacle
    angle          (N,)      rad to the next waypoint from straight ahead, to either side
    progress       (N,)      m, how much nearer the next waypoint is than before the decision
    turned         (N,)      rad, how much less the angle is than before the decision
    change         (N, C)    of the action, from the decision before
    ============== ========= ======================================================================
    """

    def __init__(self, task: "QuadrupedWaypoint") -> None:
        self._task, self.robot = task, task.walking.features()
        self.reached, self.last_distance, self.last_angle = task.reached, task.last_distance, task.last_angle
        self.action, self.change = task.told, task.told - task.last_told

    def in_body(self, point_w: torch.Tensor) -> torch.Tensor:
        """Points (N, k, 2) m in the world from the trunk, forward and left, by its heading."""
        x, y = (point_w - self.robot.trunk_pos_w[:, None]).unbind(dim=2)
        cos, sin = self.robot.heading.cos()[:, None], self.robot.heading.sin()[:, None]
        return torch.stack((cos * x + sin * y, cos * y - sin * x), dim=2)

    @feature
    def _two_b(self) -> torch.Tensor:
        """The next two waypoints, (N, 2, 2) m."""
        index = (self.reached[:, None].long() + torch.arange(2, device=self.reached.device)).clamp(
            max=self._task.waypoints_w.shape[1] - 1)
        return self.in_body(self._task.waypoints_w.gather(1, index[:, :, None].expand(-1, -1, 2)))

    @property
    def next_b(self) -> torch.Tensor:
        """(N, 2) m."""
        return self._two_b[:, 0]

    @property
    def after_b(self) -> torch.Tensor:
        """(N, 2) m."""
        return self._two_b[:, 1]

    @feature
    def distance(self) -> torch.Tensor:
        """(N,) m."""
        return self.next_b.norm(dim=1)

    @property
    def angle(self) -> torch.Tensor:
        """(N,) rad."""
        return _angle(self.next_b)

    @property
    def bearing(self) -> torch.Tensor:
        """(N, 2)."""
        return self.next_b / self.distance.clamp(min=1e-6)[:, None]

    @feature
    def arrived(self) -> torch.Tensor:
        """(N,) bool."""
        return self.distance < ARRIVED_M

    @property
    def left(self) -> torch.Tensor:
        """(N,)."""
        return (self._task.waypoints_w.shape[1] - self.reached).float()

    @property
    def finished(self) -> torch.Tensor:
        """(N,) bool."""
        return self.arrived & (self.left == 1)

    @feature
    def fallen(self) -> torch.Tensor:
        """(N,) bool."""
        return self._task.fallen(self.robot)

    @feature
    def _gaps(self) -> torch.Tensor:
        """(N, k) m, from the trunk's centre to the surface of each obstacle."""
        return self.in_body(self._task.obstacles_w).norm(dim=2) - self._task.obstacle_radius

    @property
    def obstacles_b(self) -> torch.Tensor:
        """(N, 9) m."""
        nearest = self._gaps.topk(min(SEEN, self._gaps.shape[1]), dim=1, largest=False, sorted=True).indices
        centres = self.in_body(self._task.obstacles_w).gather(1, nearest[:, :, None].expand(-1, -1, 2))
        radii = self._task.obstacle_radius.gather(1, nearest)
        return torch.cat((centres, radii[:, :, None]), dim=2).flatten(1)

    @property
    def clearance(self) -> torch.Tensor:
        """(N,) m."""
        return self._gaps.amin(dim=1)

    @property
    def progress(self) -> torch.Tensor:
        """(N,) m."""
        return self.last_distance - self.distance

    @property
    def turned(self) -> torch.Tensor:
        """(N,) rad."""
        return self.last_angle - self.angle


class QuadrupedWaypoint(OverWalker):
    """``IsaacQuadrupedWaypoint-v0``: several waypoints, one after another, in any direction, 1.5 to 3 m apart.

    Observation group ``policy`` (14 over a walker that is told three numbers):

    ============= ===== ================================================ ==========================
    name          width what                                             frame, unit
    ============= ===== ================================================ ==========================
    distance      1     of the next waypoint                             m
    bearing       2     of it: cosine and sine from straight ahead       yaw frame
    after         2     the waypoint after it, forward and left          yaw frame, m
    left          1     waypoints that are not reached yet               –
    velocity      2     forward, left                                    body, m/s
    imu_ang_vel_b 3     angular velocity                                 body, rad/s
    told          C     the last action                                  –
    obstacles     9     with ``obstacles``: the nearest three, centre    yaw frame, m
                        forward and left, and radius
    ============= ===== ================================================ ==========================

    Reward of a decision: metres that the robot came nearer, 0.3 for a rad that it turned to the waypoint, 1 for each
    waypoint, and a little less for time and for changes of the action; −2 for a fall and for coming too near to an
    obstacle, which both end the episode, as the last waypoint does; to be nearer than 0.6 m to one costs 1 a metre.
    Waypoints of 9 m in all are worth about 12.

    :param walker: policy.pth, or run folder, of the frozen policy that walks: of ``IsaacQuadrupedVelocity-v0``,
        ``IsaacQuadrupedFlat-v0``, any walking task of LeggedTask's, with whatever robot. By default one that comes with
        sb3_isaac.
    :param walker_options: options of the walking task in place of those the walker was trained with.
    :param decision_s: seconds between two decisions.
    :param waypoints: of an episode.
    :param obstacles: of an episode, round pillars that stand beside the way; 0 is none.
    :param sim, device, threads, seed, reward, observation, termination, episode_length_s, stagger, render_mode: as in
        :class:`~sb3_isaac.tasks.parts.legged.LeggedTask`.
    """

    MEMORY = {"reached": Memory(keep=lambda f: f.reached + f.arrived, start=lambda f: torch.zeros_like(f.reached)),
              "last_distance": Memory(keep=lambda f: torch.where(f.arrived, f.after_b.norm(dim=1), f.distance),
                                      start=lambda f: f.distance),
              "last_angle": Memory(keep=lambda f: torch.where(f.arrived, _angle(f.after_b), f.angle),
                                   start=lambda f: f.angle)}
    reached: torch.Tensor
    last_distance: torch.Tensor
    last_angle: torch.Tensor
    _STATE = (*OverWalker._STATE, "waypoints_w", "obstacles_w", "obstacle_radius")
    OBSERVATION: Mapping[str, Mapping[str, Function]] = {"policy": {
        "distance": lambda f: f.distance,
        "bearing": lambda f: f.bearing,
        "after": lambda f: f.after_b,
        "left": lambda f: f.left,
        "velocity": lambda f: f.robot.lin_vel_b[:, :2],
        "imu_ang_vel_b": lambda f: f.robot.ang_vel_b,
        "told": lambda f: f.action,
    }}
    TERMINATION: Mapping[str, Function] = {"fall": lambda f: f.fallen, "finished": lambda f: f.finished}
    REWARD: Mapping[str, Term] = {
        "progress": Term(1.0, lambda f: f.progress),
        "turning": Term(0.3, lambda f: f.turned),
        "arrival": Term(1.0, lambda f: f.arrived.float()),
        "time": Term(-0.02, lambda f: torch.ones_like(f.distance)),
        "change": Term(-0.01, lambda f: f.change.square().sum(dim=1)),
        "fall": Term(-2.0, lambda f: f.fallen.float()),
    }
    logged = ("falls", "arrived")
    stop_rule = StopRule({"success_fraction": (0.98, 1.0)}, goal="it gets to all its waypoints")
    display = Display(
        progress=(Shown("all waypoints", "rollout/success_rate", "{:.0%}"), Shown("falls", "rollout/falls", "{:.0f}"),
                  Shown("arrived", "rollout/arrived", "{:.0f}")),
        evaluation=(Shown("all waypoints", "success_fraction", "{:.1%}"), Shown("falls", "falls_fraction", "{:.1%}"),
                    Shown("reached", "waypoints_mean"), Shown("time", "time_s", "{:.1f} s")),
        panels=(Panel("eval/success_fraction", "episodes that reached all waypoints\n(evaluation)"),
                Panel("eval/time_s", "time of those\n(evaluation, s)")),
        overlay=(Shown("to go", "distance_m", "{:.2f} m"), Shown("speed", "speed", "{:.2f} m/s")))

    def __init__(self, num_envs: int = 1, *, walker: str = "IsaacQuadrupedVelocity-v0", walker_options: Any = None,
                 decision_s: float = 0.2, waypoints: int = 4, obstacles: int = 0, sim: Optional[str] = None,
                 device: Optional[str] = None, threads: Optional[int] = None, seed: Optional[int] = None,
                 reward: Optional[Mapping[str, Any]] = None, observation: Optional[Mapping[str, Any]] = None,
                 termination: Optional[Mapping[str, Any]] = None, episode_length_s: float = 60.0, stagger: bool = True,
                 render_mode: Optional[str] = None) -> None:
        self.stand_on(walker, num_envs, decision_s=decision_s, walker_options=walker_options, seed=seed,
                      episode_length_s=episode_length_s, stagger=stagger, render_mode=render_mode, sim=sim,
                      device=device, threads=threads)
        count = whole_number("waypoints", waypoints, most=100)
        pillars = whole_number("obstacles", obstacles, least=0, most=100)
        self.waypoints_w, self.obstacles_w = self.zeros(count, 2), self.zeros(pillars, 2)
        """Waypoints (N, W, 2) and centres of obstacles (N, K, 2), m in the world."""
        self.obstacle_radius = self.zeros(pillars)
        self._drawn = self.zeros(2 * count + 3 * pillars)
        self.MIRROR = {"distance": "same", "bearing": Mirror((0, 1), (1, -1)), "after": Mirror((0, 1), (1, -1)),
                       "left": "same", "velocity": Mirror((0, 1), (1, -1)), "imu_ang_vel_b": "axial",
                       "told": command_mirror(self.walking.axes), "obstacles": Mirror((0, 1, 2), (1, -1, 1))}
        if pillars:
            self.OBSERVATION = {"policy": {**self.OBSERVATION["policy"], "obstacles": lambda f: f.obstacles_b}}
            self.TERMINATION = {**self.TERMINATION, "collision": lambda f: f.clearance < CLEAR_M}
            self.REWARD = {**self.REWARD, "near": Term(-1.0, lambda f: (NEAR_M - f.clearance).clamp(min=0.0)),
                           "collision": Term(-2.0, lambda f: (f.clearance < CLEAR_M).float())}
        self.set_tables(reward=reward, observation=observation, termination=termination)

    def features(self) -> WaypointFeatures:
        """See :meth:`EpisodicTask.features`."""
        return WaypointFeatures(self)

    def measures(self, features: WaypointFeatures, terminated: torch.Tensor) -> Dict[str, torch.Tensor]:
        """See :meth:`EpisodicTask.measures`."""
        f = features
        collided = f.clearance < CLEAR_M if self.obstacles_w.shape[1] else torch.zeros_like(f.fallen)
        return {"falls": f.fallen, "collisions": collided, "arrived": f.arrived,
                "is_success": f.finished & ~f.fallen & ~collided, "distance_m": f.distance,
                "speed": f.robot.lin_vel_b[:, :2].norm(dim=1), "position_w": f.robot.trunk_pos_w}

    def place(self, mask: torch.Tensor) -> None:
        """See :meth:`OverWalker.place`: a way of legs in any direction, and obstacles beside the legs' middles."""
        super().place(mask)
        count, pillars = self.waypoints_w.shape[1], self.obstacles_w.shape[1]
        turn, length, along, aside, radius = self.uniform(self._drawn).split([count, count, *[pillars] * 3], dim=1)
        angle, length = math.pi * turn, _between(LEG_M, length)
        legs = torch.stack((length * angle.cos(), length * angle.sin()), dim=2)
        ends = legs.cumsum(dim=1)
        start = self.walking.features().trunk_pos_w[:, None]
        _put(mask, start + ends, self.waypoints_w)
        if pillars:
            leg = torch.arange(pillars, device=self.device) % count
            way, normal = legs[:, leg], torch.stack((-legs[:, leg, 1], legs[:, leg, 0]), dim=2)
            radius = _between(OBSTACLE_M, radius)
            off = ASIDE_M * aside / length[:, leg]
            centre = start + (ends - legs)[:, leg] + way * (0.5 + 0.05 * along)[:, :, None] + normal * off[:, :, None]
            _put(mask, centre, self.obstacles_w)
            # One that another leg passes over by chance is taken away: no start and no waypoint is blocked.
            points = torch.cat((start.expand(-1, 1, -1), start + ends), dim=1)
            nearest = (centre[:, :, None] - points[:, None]).norm(dim=3).amin(dim=2)
            free = nearest > radius + CLEAR_M + 0.1
            _put(mask, torch.where(free, radius, torch.full_like(radius, -10.0)), self.obstacle_radius)

    def report(self, episodes: Episodes) -> Dict[str, float]:
        """See :meth:`TensorEnv.report`: shares of episodes, waypoints reached, and the time of those that finished."""
        success = episodes.greatest("is_success") > 0
        took = episodes.length[episodes.good] * episodes.control_dt
        return {"success_fraction": float(success.float().mean()),
                "falls_fraction": float(episodes.greatest("falls").mean()),
                "collisions_fraction": float(episodes.greatest("collisions").mean()),
                "waypoints_mean": float(episodes.sum("arrived").mean()),
                "time_s": float(took[success].mean()) if bool(success.any()) else math.nan,
                "speed_mean": float(episodes.mean("speed").mean())}

    def outcomes(self, episodes: Episodes) -> Dict[str, torch.Tensor]:
        """See :meth:`TensorEnv.outcomes`."""
        return {"success": episodes.greatest("is_success") > 0}

    def marks(self, robot: int) -> Sequence[Tuple[str, Sequence[float], Sequence[float], Sequence[float]]]:
        """See :meth:`OverWalker.marks`: waypoints that are left, the next one red, and obstacles."""
        reached = int(self.reached[robot])
        marks: List[Any] = []
        for i, (x, y) in enumerate(self.waypoints_w[robot].tolist()):
            if i >= reached:
                marks.append(("cylinder", (x, y, 0.01), (ARRIVED_M, 0.01, 0.0),
                              (0.9, 0.2, 0.15, 0.8) if i == reached else (0.95, 0.75, 0.2, 0.6)))
        for (x, y), radius in zip(self.obstacles_w[robot].tolist(), self.obstacle_radius[robot].tolist()):
            if radius > 0.0:
                marks.append(("cylinder", (x, y, 0.4), (radius, 0.4, 0.0), (0.35, 0.4, 0.5, 1.0)))
        return marks


def _between(ends: Tuple[float, float], drawn: torch.Tensor) -> torch.Tensor:
    """Numbers of [−1, 1) in a range."""
    return ends[0] + 0.5 * (drawn + 1.0) * (ends[1] - ends[0])


def _angle(point_b: torch.Tensor) -> torch.Tensor:
    """(N,) rad, of points (N, 2) from straight ahead, to either side."""
    return torch.atan2(point_b[:, 1].abs(), point_b[:, 0])


def _put(mask: torch.Tensor, values: torch.Tensor, out: torch.Tensor) -> None:
    torch.where(mask.reshape(-1, *[1] * (out.dim() - 1)), values, out, out=out)
