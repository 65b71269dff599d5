"""What a legged robot's tables are written in: the features of one moment, each computed when it is used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Dict

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import heading_of, into_body, matrix_of
from sb3_isaac.tasks.parts import gait
from sb3_isaac.tasks.parts.feature import feature, state_feature, step_feature
from sb3_isaac.tasks.parts.ground import LEAST_TOLD_M, Ground

if TYPE_CHECKING:
    from sb3_isaac.tasks.parts.legged import LeggedTask

CONTACT_N = 1.0
"""A body counts as touching above this net force, N."""
VELOCITY_AXES = ("forward_m_s", "left_m_s", "yaw_rad_s")
COURSE_S = 2.0
"""How long, s, a robot's course error remembers."""
STANDING, SETTLE_S, WATCHED_S = 0.1, 2.0, 10.0
"""Commands up to this, m/s or rad/s, mean standing; a robot may take so long, s, to stand still, and how far it moves
from then on is measured over so long."""
UNITS = {
    "joint_pos": "rad, minus default_joint_pos", "joint_vel": "rad/s",
    "last_action": "action before, within bounds",
    "imu_ang_vel_b": "rad/s, body frame: x forward, y left, z up",
    "imu_gravity_b": "unit vector downwards, body frame: (0, 0, -1) upright",
    "command": "by the names of command", "height_scan": "m, of the ground below where it would stand if level",
}
"""What the numbers of observations of these names are, for programs on a robot."""
TURN_PER_RAD, MOST_TURN_RAD_S = 1.0, 1.2
"""A robot that is told a heading is told to turn by so many rad/s for each rad that it is off, up to the second."""


def touches(contact_force_w: torch.Tensor) -> torch.Tensor:
    """Which bodies touch, (N, B) bool, by the net forces (N, B, 3) N."""
    return (contact_force_w.movedim(0, -1).square().sum(dim=1) > CONTACT_N**2).t()


def columns(of_bodies: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """What some bodies have of a field (N, B), (N, len(ids)), stored component by component."""
    return of_bodies.t().index_select(0, ids).t()


class LeggedFeatures:
    """A robot and its task at one moment: after a control step and before any restart, or after a restart.

    ================ ========== ==================================================================
    feature          shape      unit, frame
    ================ ========== ==================================================================
    body_to_world    (N, 3, 3)  rotation matrix of the body
    lin_vel_b        (N, 3)     m/s, body
    ang_vel_b        (N, 3)     rad/s, body
    gravity_b        (N, 3)     unit vector, body; (0, 0, −1) upright
    heading          (N,)       rad, of the body's forward axis about the world's vertical one
    heading_rate     (N,)       rad/s, mean over the control step
    course_error     (N,)       rad, turned otherwise than told in the last seconds: what lies 2 s back counts for 1/e
    trunk_height     (N,)       m above the ground below it
    trunk_pos_w      (N, 2)     m, horizontal
    joint_pos        (N, J)     rad, minus the default pose
    joint_vel        (N, J)     rad/s
    torque           (N, J)     N·m
    power_w          (N,)       W, mechanical
    scaled_torque    (N, J)     N·m, by weight · height as of the shipped quadruped: a share of what holds the robot
    scaled_power_w   (N,)       W, by weight as of the shipped quadruped: a cost of transport
    action           (N, J)     in [−1, 1], as applied
    last_action      (N, J)     the one before
    command          (N, C)     the task's command axes in their order
    velocity_command (N, 3)     m/s forward, m/s left, rad/s yaw: what is told of these, 0 where there is no such axis
    velocity         (N, 3)     the same as measured: body, and the heading's rate
    standing         (N,)       bool: told to stand, nothing in velocity_command being above 0.1
    settled          (N,)       bool: has been told to stand for 2 s
    standing_drift   (N,)       m from where it was after these 2 s, and then each 10 s; 0 before
    tracking         (N,)       in (0, 1]: how well velocity_command is held
    contact          (N, B)     bool, of each body but the world
    foot_contact     (N, F)     bool
    foot_landed      (N, F)     bool: touched down in this step
    foot_air_time    (N, F)     s since the foot left the ground, its landing step included
    foot_pos_w       (N, F, 3)  m, world, of the feet's frames
    foot_clearance   (N, F)     m above its height in stance on the ground below it
    foot_vel_w       (N, F, 3)  m/s, mean over the control step
    foot_slip        (N,)       m/s, mean horizontal speed of the feet on the ground
    swing_peak       (N, F)     m, highest clearance since the foot left the ground
    swing_ended      (N, F)     bool: it touches again after a swing above its height in stance
    knee_contact     (N,)       bool: a penalised body touches
    trunk_contact    (N,)       bool: a terminal body touches
    friction         (N,)       sliding friction of the ground
    beyond           {limit}    how far each joint is beyond its soft limits, (N, J) each, 0 within: ``range`` rad,
                                ``speed`` rad/s, ``torque`` N·m, see :mod:`~sb3_isaac.tasks.parts.limits`
    draws            {name}     what is randomised, (N, k) each, see :mod:`~sb3_isaac.tasks.parts.legged_parameters`
    ================ ========== ==================================================================

    On terrain (:class:`~sb3_isaac.tasks.parts.ground.Ground`) there are besides:

    ================ ========== ==================================================================
    height_scan      (N, 187)   m, of the ground below where the robot would stand on level ground; up to ±1
    walked_w         (N, 2)     m, from where the episode began
    told_w           (N, 2)     m, how far it was told to go since then, by its heading at each moment
    timed_out        (N,)       bool: the episode ends here if it is no fall
    left_tile        (N,)       bool: beyond the edge of its tile
    got_on           (N,)       bool: at least half as far from its start as told, or told to go less than 1 m
    ================ ========== ==================================================================

    Tensors may be live views of the simulation: a function of them returns new ones and changes none.
    """

    def __init__(self, task: "LeggedTask") -> None:
        self._task, self._state = task, task.sim.state
        self.action, self.last_action = task.action, task.last_action
        self.command, self.foot_air_time, self.control_dt = task.command, task.foot_air_time, task.control_dt
        self.stood_s, self.stood_at_w = task.stood_s, task.stood_at_w
        self.joint_vel, self.torque = self._state.joint_vel, self._state.joint_torque
        self.friction, self.draws = task.sim.friction, task.randomization.draws

    def to_body(self, vector_w: torch.Tensor) -> torch.Tensor:
        """World vectors (N, 3) in the body's frame."""
        return into_body(self.body_to_world, vector_w)

    @state_feature
    def body_to_world(self) -> torch.Tensor:
        """(N, 3, 3) rotation matrices."""
        return matrix_of(self._state.root_quat_w)

    @state_feature
    def lin_vel_b(self) -> torch.Tensor:
        """(N, 3) m/s, body."""
        return self.to_body(self._state.root_lin_vel_w)

    @state_feature
    def ang_vel_b(self) -> torch.Tensor:
        """(N, 3) rad/s, body."""
        return self._state.root_ang_vel_b

    @state_feature
    def gravity_b(self) -> torch.Tensor:
        """(N, 3) unit vector, body."""
        return -self.body_to_world[:, 2]

    @state_feature
    def heading(self) -> torch.Tensor:
        """(N,) rad."""
        return heading_of(self.body_to_world)

    @step_feature
    def heading_rate(self) -> torch.Tensor:
        """(N,) rad/s."""
        turned = self.heading - self._task.last_heading
        return (torch.remainder(turned + math.pi, 2 * math.pi) - math.pi) / self._task.control_dt

    @step_feature
    def course_error(self) -> torch.Tensor:
        """(N,) rad."""
        turned = (self.heading_rate - self.velocity_command[:, 2]) * self.control_dt
        return self._task.course_error * (1.0 - self.control_dt / COURSE_S) + turned

    @state_feature
    def trunk_height(self) -> torch.Tensor:
        """(N,) m."""
        return self.above_ground(self._state.root_pos_w)

    def above_ground(self, pos_w: torch.Tensor) -> torch.Tensor:
        """Heights (...) m of points (..., 3) m above the ground below them."""
        x, y, z = pos_w.unbind(dim=-1)
        ground = self._task.ground
        return z if ground is None else z - ground.heights.exact_height_at(x, y)

    @state_feature
    def trunk_pos_w(self) -> torch.Tensor:
        """(N, 2) m."""
        return self._state.root_pos_w[:, :2]

    @state_feature
    def joint_pos(self) -> torch.Tensor:
        """(N, J) rad, minus the default pose."""
        return self._state.joint_pos - self._task.default_joint_pos

    @state_feature
    def beyond(self) -> Dict[str, torch.Tensor]:
        """{limit: (N, J)}."""
        return self._task.limits.beyond(self._state.joint_pos, self.joint_vel, self.torque)

    @state_feature
    def power_w(self) -> torch.Tensor:
        """(N,) W."""
        return gait.mechanical_power(self.torque, self.joint_vel)

    def told(self, axis: str) -> torch.Tensor:
        """(N,) the command on one axis, 0 where the task has no such axis.

        Told a direction, ``heading_rad``, a robot is told to turn towards it.
        """
        columns = self._task.command_columns
        if axis in columns:
            return self.command[:, columns[axis]]
        if axis == "yaw_rad_s" and "heading_rad" in columns:
            error = self.command[:, columns["heading_rad"]] - self.heading
            return gait.turn_towards(error, TURN_PER_RAD, MOST_TURN_RAD_S)
        return torch.zeros_like(self.heading)

    @feature
    def velocity_command(self) -> torch.Tensor:
        """(N, 3) m/s, m/s, rad/s."""
        return torch.stack([self.told(axis) for axis in VELOCITY_AXES]).t()

    @feature
    def velocity(self) -> torch.Tensor:
        """(N, 3) m/s, m/s, rad/s."""
        return torch.stack((self.lin_vel_b[:, 0], self.lin_vel_b[:, 1], self.heading_rate)).t()

    @feature
    def standing(self) -> torch.Tensor:
        """(N,) bool."""
        return self.velocity_command.abs().amax(dim=1) <= STANDING

    @step_feature
    def settled(self) -> torch.Tensor:
        """(N,) bool."""
        return self.standing & (self.stood_s > SETTLE_S)

    @step_feature
    def standing_drift(self) -> torch.Tensor:
        """(N,) m."""
        x, y = (self.trunk_pos_w - self.stood_at_w).unbind(dim=1)
        return (x * x + y * y).sqrt() * self.settled

    @state_feature
    def scaled_torque(self) -> torch.Tensor:
        """(N, J) N·m."""
        return self.torque * self._task.torque_scale

    @state_feature
    def scaled_power_w(self) -> torch.Tensor:
        """(N,) W."""
        return self.power_w * self._task.power_scale

    @feature
    def tracking(self) -> torch.Tensor:
        """(N,) in (0, 1]."""
        return gait.track_course(self.lin_vel_b, self.heading_rate, self.velocity_command, self.course_error)

    @state_feature
    def contact(self) -> torch.Tensor:
        """(N, B) bool."""
        return touches(self._state.contact_force_w)

    @state_feature
    def foot_contact(self) -> torch.Tensor:
        """(N, F) bool."""
        return columns(self.contact, self._task.feet)

    @step_feature
    def foot_landed(self) -> torch.Tensor:
        """(N, F) bool."""
        return self.foot_contact & (self.foot_air_time > 1.5 * self._task.control_dt)

    @state_feature
    def foot_pos_w(self) -> torch.Tensor:
        """(N, F, 3) m, world."""
        return self._state.foot_pos_w

    @state_feature
    def foot_clearance(self) -> torch.Tensor:
        """(N, F) m."""
        return self.above_ground(self.foot_pos_w) - self._task.stance_height

    @step_feature
    def foot_vel_w(self) -> torch.Tensor:
        """(N, F, 3) m/s."""
        return (self.foot_pos_w - self._task.last_foot_pos_w) / self._task.control_dt

    @feature
    def foot_slip(self) -> torch.Tensor:
        """(N,) m/s."""
        x, y, _ = self.foot_vel_w.unbind(dim=-1)
        on_ground = self.foot_contact.sum(dim=1).clamp(min=1)
        return ((x * x + y * y).sqrt() * self.foot_contact).sum(dim=1) / on_ground

    @step_feature
    def swing_peak(self) -> torch.Tensor:
        """(N, F) m."""
        return torch.maximum(self._task.last_swing_peak, torch.where(self.foot_contact, 0.0, self.foot_clearance))

    @step_feature
    def swing_ended(self) -> torch.Tensor:
        """(N, F) bool."""
        return self.foot_contact & (self._task.last_swing_peak > 0.0)

    @state_feature
    def knee_contact(self) -> torch.Tensor:
        """(N,) bool."""
        return columns(self.contact, self._task.penalised).any(dim=1)

    @state_feature
    def trunk_contact(self) -> torch.Tensor:
        """(N,) bool."""
        return columns(self.contact, self._task.terminal).any(dim=1)

    # ---- on terrain

    @property
    def ground(self) -> Ground:
        """The task's terrain; UserError where it has none."""
        if self._task.ground is None:
            raise UserError("there is no terrain to scan or to walk away from: give the option terrain.")
        return self._task.ground

    @state_feature
    def height_scan(self) -> torch.Tensor:
        """(N, 187) m."""
        state, ground = self._state, self.ground
        heights = ground.heights.scan(state.root_pos_w, state.root_quat_w, ground.scan_points)
        stands_at = state.root_pos_w[:, 2:] - self._task.robot.base_height_m
        return (heights - stands_at).clamp_(-1.0, 1.0)

    @feature
    def walked_w(self) -> torch.Tensor:
        """(N, 2) m."""
        return self.trunk_pos_w - self._task.origin_w[:, :2]

    @step_feature
    def told_w(self) -> torch.Tensor:
        """(N, 2) m."""
        forward, left, _ = self.velocity_command.unbind(dim=1)
        cos, sin = self.heading.cos(), self.heading.sin()
        told = torch.stack((cos * forward - sin * left, sin * forward + cos * left)).t()
        return self._task.told_w + self._task.control_dt * told

    @feature
    def timed_out(self) -> torch.Tensor:
        """(N,) bool."""
        return self._task.timed_out(self)

    @feature
    def left_tile(self) -> torch.Tensor:
        """(N,) bool."""
        return self.walked_w.abs().amax(dim=1) > self.ground.half_tile_m

    @feature
    def got_on(self) -> torch.Tensor:
        """(N,) bool."""
        told = self.told_w.norm(dim=1)
        return (told < LEAST_TOLD_M) | (self.walked_w.norm(dim=1) >= 0.5 * told)
