"""Rotations of batches of vectors by unit quaternions (w, x, y, z) that take body to world coordinates."""

from __future__ import annotations

import torch


def rotate(quat: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """Body vectors (N, 3) in world coordinates, by v + 2w(u × v) + 2u × (u × v) (Rodrigues)."""
    w, x, y, z = quat.unbind(dim=-1)
    return _turn(w, x, y, z, vec)


def rotate_inverse(quat: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """World vectors (N, 3) in body coordinates."""
    w, x, y, z = quat.unbind(dim=-1)
    return _turn(-w, x, y, z, vec)


def _turn(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """Written out: on vectors that are stored component by component it is faster than a cross product."""
    a, b, c = vec.unbind(dim=-1)
    s, t, u = 2.0 * (y * c - z * b), 2.0 * (z * a - x * c), 2.0 * (x * b - y * a)
    return torch.stack((a + w * s + (y * u - z * t), b + w * t + (z * s - x * u), c + w * u + (x * t - y * s))).movedim(
        0, -1)


def down(quat: torch.Tensor) -> torch.Tensor:
    """The world's downward direction (N, 3) in body coordinates: minus the third row of the rotation matrix."""
    w, x, y, z = quat.unbind(dim=1)
    return torch.stack((2.0 * (w * y - x * z), -2.0 * (w * x + y * z), 2.0 * (x * x + y * y) - 1.0)).t()


def from_yaw(yaw: torch.Tensor) -> torch.Tensor:
    """Quaternions (N, 4) of a turn by yaw (N,) rad about the world's z axis."""
    zero = torch.zeros_like(yaw)
    return torch.stack((torch.cos(0.5 * yaw), zero, zero, torch.sin(0.5 * yaw))).movedim(0, -1)


def heading(quat: torch.Tensor) -> torch.Tensor:
    """Angle (N,) rad of the body's forward axis about the world's vertical one, in (−π, π]."""
    w, x, y, z = quat.unbind(dim=-1)
    return torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def xyzw(quat: torch.Tensor) -> torch.Tensor:
    """Quaternions (..., 4) in the order (x, y, z, w), which Isaac Gym and ROS use, from (w, x, y, z)."""
    return torch.cat((quat[..., 1:], quat[..., :1]), dim=-1)


def wxyz(quat: torch.Tensor) -> torch.Tensor:
    """Quaternions (..., 4) in the order (w, x, y, z), which MuJoCo uses, from (x, y, z, w)."""
    return torch.cat((quat[..., 3:], quat[..., :3]), dim=-1)
