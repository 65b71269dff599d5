"""``isaacgym.torch_utils``: rotations and small tensor helpers under the names that Isaac Gym programs import.

Quaternions are (x, y, z, w). Names, argument order and return shapes are those that client programs rely on; the
formulas are textbook ones (Hamilton product, ZYX Euler angles), that of rotations is ``contract.rotations``'. Every
function on tensors is plain enough for ``torch.jit.script``, since clients call them from scripted functions of their
own; a star import also brings ``torch`` and ``np``, which clients count on.
"""

from __future__ import annotations

import math
from typing import Any, List, Tuple

import numpy as np
import torch

from sb3_isaac.contract.rotations import rotate_by as _rotate_by  # star imports must not bring it into programs
from sb3_isaac.gymcompat.runtime.settings import device_for as _device_for


def to_torch(x: Any, dtype: torch.dtype = torch.float, device: str = "cuda:0",
             requires_grad: bool = False) -> torch.Tensor:
    """A new tensor of the numbers in `x` on `device`."""
    return torch.tensor(x, dtype=dtype, device=_device_for(device), requires_grad=requires_grad)


def normalize(x: torch.Tensor, eps: float = 1e-9) -> torch.Tensor:
    """Vectors (..., k) of length 1; those shorter than `eps` are divided by it instead."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=eps)


def quat_unit(a: torch.Tensor) -> torch.Tensor:
    """Quaternions (..., 4) of length 1."""
    return normalize(a)


def quat_conjugate(a: torch.Tensor) -> torch.Tensor:
    """The inverse rotations of unit quaternions (..., 4)."""
    return torch.cat((-a[..., :3], a[..., 3:]), dim=-1)


def quat_mul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Hamilton products (..., 4) of quaternions of one shape: the rotation `b`, then `a`."""
    u, v, s, t = a[..., :3], b[..., :3], a[..., 3:], b[..., 3:]
    return torch.cat((s * v + t * u + torch.linalg.cross(u, v), s * t - (u * v).sum(dim=-1, keepdim=True)), dim=-1)


def quat_apply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The vectors `b` rotated by the quaternions `a`, in the shape of `b`.

    Both are read as rows, so (N, 4k) holds k quaternions a row and goes with vectors (N, k, 3).
    """
    quat = a.reshape(-1, 4)
    return _rotate_by(quat[:, 3:], quat[:, :3], b.reshape(-1, 3)).reshape(b.shape)


def quat_rotate(q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Vectors (N, 3) rotated by quaternions (N, 4): from the body's frame to the world's."""
    return quat_apply(q, v)


def quat_rotate_inverse(q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Vectors (N, 3) rotated back by quaternions (N, 4): from the world's frame to the body's."""
    return quat_apply(quat_conjugate(q), v)


def quat_axis(q: torch.Tensor, axis: int = 0) -> torch.Tensor:
    """A coordinate axis of the bodies with orientations (N, 4), in the world's frame (N, 3)."""
    basis = torch.zeros(q.shape[0], 3, device=q.device)
    basis[:, axis] = 1.0
    return quat_rotate(q, basis)


def get_basis_vector(q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The body axes `v` (N, 3) in the world's frame."""
    return quat_rotate(q, v)


def quat_from_angle_axis(angle: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
    """Rotations (..., 4) by `angle` (...) rad about `axis` (..., 3), of any length above 0."""
    half = (0.5 * angle).unsqueeze(-1)
    return torch.cat((normalize(axis) * torch.sin(half), torch.cos(half)), dim=-1)


def quat_from_euler_xyz(roll: torch.Tensor, pitch: torch.Tensor, yaw: torch.Tensor) -> torch.Tensor:
    """Rotations (..., 4) about the fixed axes x, then y, then z, by angles (...) rad."""
    cr, sr = torch.cos(0.5 * roll), torch.sin(0.5 * roll)
    cp, sp = torch.cos(0.5 * pitch), torch.sin(0.5 * pitch)
    cy, sy = torch.cos(0.5 * yaw), torch.sin(0.5 * yaw)
    return torch.stack((sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy,
                        cr * cp * sy - sr * sp * cy, cr * cp * cy + sr * sp * sy), dim=-1)


def get_euler_xyz(q: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Roll, pitch and yaw (N) of rotations (N, 4), each in [0, 2π): a pitch of −0.1 comes back as 2π − 0.1."""
    x, y, z, w = q[:, 0], q[:, 1], q[:, 2], q[:, 3]
    roll = torch.atan2(2.0 * (w * x + y * z), w * w - x * x - y * y + z * z)
    pitch = torch.asin((2.0 * (w * y - z * x)).clamp(-1.0, 1.0))
    yaw = torch.atan2(2.0 * (w * z + x * y), w * w + x * x - y * y - z * z)
    return roll % (2.0 * math.pi), pitch % (2.0 * math.pi), yaw % (2.0 * math.pi)


def normalize_angle(x: torch.Tensor) -> torch.Tensor:
    """The same angles in (−π, π]."""
    return torch.atan2(torch.sin(x), torch.cos(x))


def tf_inverse(q: torch.Tensor, t: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """The inverse of the transforms that rotate by q (N, 4), then move by t (N, 3)."""
    inverse = quat_conjugate(q)
    return inverse, -quat_apply(inverse, t)


def tf_apply(q: torch.Tensor, t: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Points `v` (N, 3) after the transforms (q, t)."""
    return quat_apply(q, v) + t


def tf_vector(q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Directions `v` (N, 3) after transforms with the rotation q."""
    return quat_apply(q, v)


def tf_combine(q1: torch.Tensor, t1: torch.Tensor, q2: torch.Tensor,
               t2: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """The transforms (q2, t2), then (q1, t1), as one."""
    return quat_mul(q1, q2), quat_apply(q1, t2) + t1


def get_axis_params(value: float, axis_idx: int, x_value: float = 0.0, dtype: Any = float,
                    n_dims: int = 3) -> List[Any]:
    """The arguments of a vector with `value` on one axis and 0 elsewhere; the first of them is always `x_value`."""
    params = [0.0] * n_dims
    params[axis_idx] = value
    params[0] = x_value
    return [dtype(param) for param in params]


def copysign(a: float, b: torch.Tensor) -> torch.Tensor:
    """|a| with the signs of b (N); 0 where b is 0."""
    return abs(a) * torch.sign(b)


def torch_rand_float(lower: float, upper: float, shape: Tuple[int, int], device: str) -> torch.Tensor:
    """Uniform draws from [lower, upper), of a shape with two dimensions."""
    return (upper - lower) * torch.rand(shape[0], shape[1], device=device) + lower


def torch_rand_sqrt_float(lower: float, upper: float, shape: Tuple[int, int], device: str) -> torch.Tensor:
    """Draws from [lower, upper] that are seldom near the middle: half a range times ±√u for a uniform u."""
    draw = 2.0 * torch.rand(shape[0], shape[1], device=device) - 1.0
    return 0.5 * (upper - lower) * (torch.sign(draw) * torch.sqrt(torch.abs(draw)) + 1.0) + lower


def torch_random_dir_2(shape: Tuple[int, int], device: str) -> torch.Tensor:
    """Random unit vectors in the plane: (N, 2) for the shape (N, 1)."""
    angle = torch_rand_float(0.0, 2.0 * math.pi, shape, device).squeeze(-1)
    return torch.stack((torch.cos(angle), torch.sin(angle)), dim=-1)


def tensor_clamp(t: torch.Tensor, min_t: torch.Tensor, max_t: torch.Tensor) -> torch.Tensor:
    """`t` within bounds of its own shape, or one that broadcasts to it."""
    return torch.max(torch.min(t, max_t), min_t)


def scale(x: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """From [−1, 1] to [lower, upper]."""
    return lower + 0.5 * (x + 1.0) * (upper - lower)


def unscale(x: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """From [lower, upper] to [−1, 1]."""
    return (2.0 * x - upper - lower) / (upper - lower)


def unscale_np(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """From [lower, upper] to [−1, 1], for arrays."""
    result: np.ndarray = (2.0 * x - upper - lower) / (upper - lower)
    return result


def compute_heading_and_up(
    torso_rotation: torch.Tensor, inv_start_rot: torch.Tensor, to_target: torch.Tensor, vec0: torch.Tensor,
    vec1: torch.Tensor, up_idx: int,
) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """How a body stands towards a target and the vertical.

    Gives its rotation since the start (N, 4), the vertical part of its axis `vec1` (N), the part of its axis `vec0`
    towards the target (N), and both axes in the world's frame: `vec1`, then `vec0` (N, 3).
    """
    torso_quat = quat_mul(torso_rotation, inv_start_rot)
    up_vec = get_basis_vector(torso_quat, vec1)
    heading_vec = get_basis_vector(torso_quat, vec0)
    heading_proj = (heading_vec * normalize(to_target)).sum(dim=-1)
    return torso_quat, up_vec[:, up_idx], heading_proj, up_vec, heading_vec


def compute_rot(
    torso_quat: torch.Tensor, velocity: torch.Tensor, ang_velocity: torch.Tensor, targets: torch.Tensor,
    torso_positions: torch.Tensor,
) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Velocities in the body's frame (N, 3), roll, pitch, yaw, and the angle to the target (N) rad.

    The target's bearing is taken in the plane of the axes x and z, as the programs written against this function
    expect.
    """
    roll, pitch, yaw = get_euler_xyz(torso_quat)
    offset = targets - torso_positions
    angle_to_target = torch.atan2(offset[:, 2], offset[:, 0]) - yaw
    return (quat_rotate_inverse(torso_quat, velocity), quat_rotate_inverse(torso_quat, ang_velocity), roll, pitch,
            yaw, angle_to_target)
