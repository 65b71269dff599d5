"""What gaits are rewarded by: pure functions of tensors that return (N,). Signs and sizes are in a task's weights."""

from __future__ import annotations

import math

import torch


def held(square_error: torch.Tensor, wide: float, narrow: float) -> torch.Tensor:
    """0.5 exp(−e² / wide) + 0.5 exp(−e² / narrow), in (0, 1]: a wide kernel to find the way to a command and a narrow
    one to hold it (exponential kernels as in legged_gym, Rudin et al. 2021, arXiv 2109.11978)."""
    return 0.5 * (torch.exp(square_error * (-1.0 / wide)) + torch.exp(square_error * (-1.0 / narrow)))


def track_velocity(lin_vel_b: torch.Tensor, yaw_rate: torch.Tensor, command: torch.Tensor) -> torch.Tensor:
    """In (0, 1]: how well the commanded velocity (N, 3), forward m/s, left m/s and yaw rad/s, is held.

    held(e², 0.4, 0.05) · (0.5 + 0.5 exp(−(ω_z − c_ω)² / 0.25)), where e² is (v_x − c_x)² + (v_y − c_y)². The yaw
    kernel is multiplied, not added: a robot that stands still while told to walk would otherwise earn all of the yaw
    part.
    """
    miss = sum_square(lin_vel_b[:, :2] - command[:, :2])
    return held(miss, 0.4, 0.05) * (0.5 + 0.5 * torch.exp((yaw_rate - command[:, 2]).square() * (-1.0 / 0.25)))


def track_course(lin_vel_b: torch.Tensor, heading_rate: torch.Tensor, command: torch.Tensor,
                 course_error: torch.Tensor) -> torch.Tensor:
    """In (0, 1]: how well the commanded velocity (N, 3), forward m/s, left m/s and yaw rad/s, and the course are held.

    held(e², 0.4, 0.05) · (0.5 + 0.25 exp(−(ψ̇ − c_ω)² / 0.25) + 0.25 exp(−ε² / 0.0125)), with e² of
    :func:`track_velocity`, ψ̇ the heading's rate in rad/s, and ε the course error in rad.

    Each stride swings the heading's rate by several tenths of a rad/s, beside which a drift of 0.05 rad/s, a circle, is
    not seen; ε sees it, for what swings to and fro cancels there. The body's yaw rate would not do: a trunk that rolls
    and pitches as it trots turns by some 0.05 rad/s more than that tells.
    """
    miss = sum_square(lin_vel_b[:, :2] - command[:, :2])
    turn = torch.exp((heading_rate - command[:, 2]).square() * (-1.0 / 0.25))
    course = torch.exp(course_error.square() * (-1.0 / 0.0125))
    return held(miss, 0.4, 0.05) * (0.5 + 0.25 * (turn + course))


def approach(square_error: torch.Tensor, wide: float, narrow: float) -> torch.Tensor:
    """0.5 / (1 + e² / wide) + 0.5 exp(−e² / narrow), in (0, 1].

    However far off, a little nearer is worth more: a robot that stands while it is told to run backward finds no slope
    in exponentials of e².
    """
    return 0.5 / (1.0 + square_error / wide) + 0.5 * torch.exp(-square_error / narrow)


def mechanical_power(torque: torch.Tensor, joint_vel: torch.Tensor) -> torch.Tensor:
    """Σ |τ q̇| in W: what the motors give and, since a leg drive recovers little, what they brake."""
    return (torque * joint_vel).abs().sum(dim=1)


def sum_square(x: torch.Tensor) -> torch.Tensor:
    """Σ x², for rates, torques and deviations (N, k)."""
    return (x * x).sum(dim=1)


def air_time(air_time_s: torch.Tensor, landed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    """Σ over feet that land in this step of the time in the air beyond 0.1 s, up to 0.3 s, while told to move.

    Short hops are worth nothing rather than less: a cost on them teaches a robot that has not yet taken a step to
    keep its feet on the ground.
    """
    return ((air_time_s.clamp(0.1, 0.3) - 0.1) * landed).sum(dim=1) * moving


def in_turn(landed: torch.Tensor, contact: torch.Tensor) -> torch.Tensor:
    """(N, F) bool: feet that land while the one across from them stands; feet in the order left, right, left, ….

    A policy that is symmetric tends to bound, both front feet at once and both rear feet at once, for that is its own
    mirror image: there no foot lands in turn.
    """
    stands = contact & ~landed
    return landed & stands.unflatten(1, (-1, 2)).flip(2).flatten(1)


def pairs_in_air(contact: torch.Tensor) -> torch.Tensor:
    """How many pairs of a left and a right foot are in the air at once: contact (N, F) bool, feet in the order left,
    right, left, …. In a bound each pair is, half of the time; in a trot and at rest none is.
    """
    left, right = contact[:, 0::2], contact[:, 1::2]
    return (~(left[:, :right.shape[1]] | right)).sum(dim=1, dtype=torch.float32)


def trot(contact: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    """1 where the feet of one diagonal are on the ground and those of the other are in the air, while told to move.

    contact (N, 4) bool, feet in the order front left, front right, rear left, rear right.
    """
    front_left, front_right, rear_left, rear_right = contact.unbind(dim=1)
    return ((rear_right == front_left) & (rear_left == front_right) & (front_left != front_right) & moving).float()


def stepping(contact: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    """1 where one or two feet are in the air, while told to move: contact (N, 4) bool."""
    down = contact.sum(dim=1)
    return ((down == 2) | (down == 3)) * moving.float()


def still(contact: torch.Tensor, joint_vel: torch.Tensor) -> torch.Tensor:
    """In [0, 1]: the share of feet on the ground, times 1 / (1 + Σ q̇² / 20): contact (N, F), joint_vel (N, J) rad/s.

    It has a slope for a robot that trots on the spot, so that it comes to rest by and by.
    """
    return contact.float().mean(dim=1) / (1.0 + sum_square(joint_vel) / 20.0)


def swing_height(clearance: torch.Tensor, foot_vel_w: torch.Tensor, target: float) -> torch.Tensor:
    """Σ over feet of (clearance − target)² · horizontal speed: moving feet should be `target` m above the ground.

    clearance (N, F) m, foot_vel_w (N, F, 3) m/s; a foot at rest costs nothing, so stance is free (Ji et al. 2022,
    arXiv 2202.05481).
    """
    x, y, _ = foot_vel_w.unbind(dim=-1)
    return ((clearance - target).square() * (x * x + y * y).sqrt()).sum(dim=1)


def slip(contact: torch.Tensor, foot_vel_w: torch.Tensor) -> torch.Tensor:
    """Σ over feet on the ground of their squared horizontal speed, m²/s²: contact (N, F) bool, foot_vel_w (N, F, 3)."""
    x, y, _ = foot_vel_w.unbind(dim=-1)
    return ((x * x + y * y) * contact).sum(dim=1)


def turn_towards(heading_error: torch.Tensor, gain: float, most: float) -> torch.Tensor:
    """The yaw rate, rad/s, that turns by `heading_error` rad the shorter way: `gain` · error within ± `most`."""
    wrapped = torch.remainder(heading_error + math.pi, 2 * math.pi) - math.pi
    return (gain * wrapped).clamp(-most, most)
