"""Rotations of batches of vectors by unit quaternions (w, x, y, z) that take body to world coordinates."""

from __future__ import annotations

import torch


def rotate(quat: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """Body vectors (N, 3) in world coordinates, by v + 2w(u × v) + 2u × (u × v) (Rodrigues)."""
    w, u = quat[:, :1], quat[:, 1:]
    t = 2.0 * torch.linalg.cross(u, vec)
    return vec + w * t + torch.linalg.cross(u, t)


def rotate_inverse(quat: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """World vectors (N, 3) in body coordinates."""
    w, u = quat[:, :1], quat[:, 1:]
    t = 2.0 * torch.linalg.cross(u, vec)
    return vec - w * t + torch.linalg.cross(u, t)


def down(quat: torch.Tensor) -> torch.Tensor:
    """The world's downward direction (N, 3) in body coordinates: minus the third row of the rotation matrix."""
    w, x, y, z = quat.unbind(dim=1)
    return torch.stack((2.0 * (w * y - x * z), -2.0 * (w * x + y * z), 2.0 * (x * x + y * y) - 1.0), dim=1)


def from_yaw(yaw: torch.Tensor) -> torch.Tensor:
    """Quaternions (N, 4) of a turn by yaw (N,) rad about the world's z axis."""
    zero = torch.zeros_like(yaw)
    return torch.stack((torch.cos(0.5 * yaw), zero, zero, torch.sin(0.5 * yaw)), dim=-1)
