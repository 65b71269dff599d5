"""What a legged robot's tables are written in: the features of one moment, each computed when it is used."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from sb3_isaac.contract.rotations import down, rotate_inverse, yaw_of
from sb3_isaac.tasks.parts import gait

if TYPE_CHECKING:
    from sb3_isaac.tasks.parts.legged import LeggedTask

CONTACT_N = 1.0
"""A body counts as touching above this net force, N."""


def rows_of(field_w: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The rows (N, len(ids), ...) of some bodies in a field (N, B, ...), stored component by component."""
    return field_w.movedim(0, -1).index_select(0, ids).movedim(-1, 0)


def touches(contact_force_w: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Which of the bodies touch, (N, len(ids)) bool, by the net forces (N, B, 3) N."""
    x, y, z = rows_of(contact_force_w, ids).unbind(dim=2)
    return x * x + y * y + z * z > CONTACT_N**2


class LeggedFeatures:
    """A robot and its task at one moment: after a control step and before any restart, or after a restart.

    ================ ========== ==================================================================
    feature          shape      unit, frame
    ================ ========== ==================================================================
    lin_vel_b        (N, 3)     m/s, body
    ang_vel_b        (N, 3)     rad/s, body
    gravity_b        (N, 3)     unit vector, body; (0, 0, −1) upright
    heading          (N,)       rad, of the body's forward axis about the world's vertical one
    heading_rate     (N,)       rad/s, mean over the control step
    trunk_height     (N,)       m
    joint_pos        (N, J)     rad, minus the default pose
    joint_vel        (N, J)     rad/s
    torque           (N, J)     N·m
    power_w          (N,)       W, mechanical
    action           (N, J)     in [−1, 1], as applied
    last_action      (N, J)     the one before
    command          (N, C)     the task's command axes in their order
    tracking         (N,)       in (0, 1]: how well forward velocity and yaw rate are held
    foot_contact     (N, F)     bool
    foot_landed      (N, F)     bool: touched down in this step
    foot_air_time    (N, F)     s since the foot left the ground, its landing step included
    foot_clearance   (N, F)     m above its height in stance
    foot_vel_w       (N, F, 3)  m/s, mean over the control step
    swing_peak       (N, F)     m, highest clearance since the foot left the ground
    swing_ended      (N, F)     bool: it touches again after a swing above its height in stance
    knee_contact     (N,)       bool: a penalised body touches
    trunk_contact    (N,)       bool: a terminal body touches
    friction         (N,)       sliding friction of the ground
    ================ ========== ==================================================================

    Tensors may be live views of the simulation: a function of them returns new ones and changes none.
    """

    def __init__(self, task: "LeggedTask") -> None:
        self._task, self._state = task, task.sim.state
        self.action, self.last_action = task.action, task.last_action
        self.command, self.foot_air_time = task.command, task.foot_air_time
        self.joint_vel, self.torque = self._state.joint_vel, self._state.joint_torque
        self.friction = task.sim.friction

    @cached_property
    def lin_vel_b(self) -> torch.Tensor:
        """(N, 3) m/s, body."""
        return rotate_inverse(self._state.root_quat_w, self._state.root_lin_vel_w)

    @cached_property
    def ang_vel_b(self) -> torch.Tensor:
        """(N, 3) rad/s, body."""
        return self._state.root_ang_vel_b

    @cached_property
    def gravity_b(self) -> torch.Tensor:
        """(N, 3) unit vector, body."""
        return down(self._state.root_quat_w)

    @cached_property
    def heading(self) -> torch.Tensor:
        """(N,) rad."""
        return yaw_of(self._state.root_quat_w)

    @cached_property
    def heading_rate(self) -> torch.Tensor:
        """(N,) rad/s."""
        turned = self.heading - self._task.last_heading
        return (torch.remainder(turned + math.pi, 2 * math.pi) - math.pi) / self._task.control_dt

    @cached_property
    def trunk_height(self) -> torch.Tensor:
        """(N,) m."""
        return self._state.root_pos_w[:, 2]

    @cached_property
    def joint_pos(self) -> torch.Tensor:
        """(N, J) rad, minus the default pose."""
        return self._state.joint_pos - self._task.default_joint_pos

    @cached_property
    def power_w(self) -> torch.Tensor:
        """(N,) W."""
        return gait.mechanical_power(self.torque, self.joint_vel)

    @cached_property
    def tracking(self) -> torch.Tensor:
        """(N,) in (0, 1]."""
        return gait.track_velocity(self.lin_vel_b, self.ang_vel_b[:, 2], self.command)

    @cached_property
    def foot_contact(self) -> torch.Tensor:
        """(N, F) bool."""
        return touches(self._state.contact_force_w, self._task.feet)

    @cached_property
    def foot_landed(self) -> torch.Tensor:
        """(N, F) bool."""
        return self.foot_contact & (self.foot_air_time > 1.5 * self._task.control_dt)

    @cached_property
    def foot_pos_w(self) -> torch.Tensor:
        """(N, F, 3) m, world."""
        return self._state.foot_pos_w

    @cached_property
    def foot_clearance(self) -> torch.Tensor:
        """(N, F) m."""
        return self.foot_pos_w[..., 2] - self._task.stance_height

    @cached_property
    def foot_vel_w(self) -> torch.Tensor:
        """(N, F, 3) m/s."""
        return (self.foot_pos_w - self._task.last_foot_pos_w) / self._task.control_dt

    @cached_property
    def swing_peak(self) -> torch.Tensor:
        """(N, F) m."""
        return torch.maximum(self._task.last_swing_peak, self.foot_clearance.masked_fill(self.foot_contact, 0.0))

    @cached_property
    def swing_ended(self) -> torch.Tensor:
        """(N, F) bool."""
        return self.foot_contact & (self._task.last_swing_peak > 0.0)

    @cached_property
    def knee_contact(self) -> torch.Tensor:
        """(N,) bool."""
        return touches(self._state.contact_force_w, self._task.penalised).any(dim=1)

    @cached_property
    def trunk_contact(self) -> torch.Tensor:
        """(N,) bool."""
        return touches(self._state.contact_force_w, self._task.terminal).any(dim=1)
