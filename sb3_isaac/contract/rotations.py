"""Rotations of batches of vectors by unit quaternions that take body to world coordinates, (w, x, y, z) unless told
otherwise. All functions are plain enough for ``torch.jit.script``."""

from __future__ import annotations

import torch


def rotate(quat: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """Body vectors (..., 3) in world coordinates, by v + 2w(u × v) + 2u × (u × v) (Rodrigues).

    Quaternions (..., 4) and vectors are broadcast against each other.
    """
    return rotate_by(quat[..., :1], quat[..., 1:], vec)


def rotate_inverse(quat: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """World vectors (..., 3) in body coordinates."""
    return rotate_by(-quat[..., :1], quat[..., 1:], vec)


def rotate_by(w: torch.Tensor, u: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """``rotate`` by quaternions of real part w (..., 1) and vector part u (..., 3), in whatever order they are stored.

    Written out where vectors are stored component by component: that is faster there than a cross product, and slower
    on rows.
    """
    if vec.stride(-1) == 1 and vec.dim() == u.dim():
        t = 2.0 * torch.linalg.cross(u, vec)
        return vec + w * t + torch.linalg.cross(u, t)
    r, (x, y, z), (a, b, c) = w[..., 0], u.unbind(dim=-1), vec.unbind(dim=-1)
    p, q, s = 2.0 * (y * c - z * b), 2.0 * (z * a - x * c), 2.0 * (x * b - y * a)
    return torch.stack((a + r * p + (y * s - z * q), b + r * q + (z * p - x * s), c + r * s + (x * q - y * p))).movedim(
        0, -1)


def matrix_of(quat: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (N, 3, 3), body to world, of quaternions (N, 4), stored component by component.

    (2w² − 1) I + 2w [u]× + 2 u uᵀ: a tenth of the operations of what is written out above, where several vectors are
    turned by the same quaternions.
    """
    q = quat.t()
    w, u, twice = q[0], q[1:], 2.0 * q
    across = twice[0] * u
    x, y, z = across.unbind()
    minus_x, minus_y, minus_z = (-across).unbind()
    along = twice[0] * w - 1.0
    turned = torch.stack((along, minus_z, y, z, along, minus_x, minus_y, x, along)).unflatten(0, (3, 3))
    return (turned + twice[1:, None] * u).movedim(-1, 0)


def into_body(matrix: torch.Tensor, vec: torch.Tensor) -> torch.Tensor:
    """World vectors (N, 3) in body coordinates, by matrices (N, 3, 3) of ``matrix_of``."""
    return (matrix.movedim(0, -1) * vec.t()[:, None]).sum(dim=0).t()


def heading_of(matrix: torch.Tensor) -> torch.Tensor:
    """``yaw_of`` by matrices (N, 3, 3) of ``matrix_of``, (N,) rad."""
    return torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])


def down(quat: torch.Tensor) -> torch.Tensor:
    """The world's downward direction (N, 3) in body coordinates: minus the third row of the rotation matrix."""
    w, x, y, z = quat.unbind(dim=1)
    return torch.stack((2.0 * (w * y - x * z), -2.0 * (w * x + y * z), 2.0 * (x * x + y * y) - 1.0)).t()


def from_yaw(yaw: torch.Tensor) -> torch.Tensor:
    """Quaternions (N, 4) of a turn by yaw (N,) rad about the world's z axis."""
    zero = torch.zeros_like(yaw)
    return torch.stack((torch.cos(0.5 * yaw), zero, zero, torch.sin(0.5 * yaw))).movedim(0, -1)


def yaw_of(quat: torch.Tensor) -> torch.Tensor:
    """The heading (...) rad of quaternions (..., 4): of the body's x axis, seen from above, in [−π, π]."""
    w, x, y, z = quat.unbind(dim=-1)
    return torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def wxyz_from_xyzw(quat: torch.Tensor) -> torch.Tensor:
    """Quaternions (..., 4) of Isaac Gym in MuJoCo's order, a copy."""
    return torch.cat((quat[..., 3:], quat[..., :3]), dim=-1)


def xyzw_from_wxyz(quat: torch.Tensor) -> torch.Tensor:
    """Quaternions (..., 4) of MuJoCo in Isaac Gym's order, a copy."""
    return torch.cat((quat[..., 1:], quat[..., :1]), dim=-1)
