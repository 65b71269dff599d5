"""isaacgym.torch_utils by hand: rotations of axes, identities, and what client programs rely on."""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np
import pytest
import torch

from sb3_isaac import UserError
from sb3_isaac.gymcompat.api import torch_utils as tu
from sb3_isaac.gymcompat.runtime.settings import Settings, current, use

HALF = math.sqrt(0.5)
X, Y, Z = torch.eye(3).unbind()


def unit(n: int = 50) -> torch.Tensor:
    return tu.normalize(torch.randn(n, 4, generator=torch.Generator().manual_seed(0)))


def matrix(q: torch.Tensor) -> torch.Tensor:
    """The rotation matrix of one quaternion (x, y, z, w), written out element by element."""
    x, y, z, w = q.tolist()
    return torch.tensor([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                         [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                         [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


@pytest.mark.parametrize(("axis", "vector", "turned"), [(Z, X, Y), (X, Y, Z), (Y, Z, X), (Z, Y, -X)])
def test_a_quarter_turn_takes_one_axis_to_the_next(axis: torch.Tensor, vector: torch.Tensor,
                                                   turned: torch.Tensor) -> None:
    quat = torch.cat((HALF * axis, torch.tensor([HALF])))[None]
    torch.testing.assert_close(tu.quat_from_angle_axis(torch.tensor([math.pi / 2]), 3.0 * axis[None]), quat)
    for rotate in (tu.quat_rotate, tu.quat_apply, tu.get_basis_vector, tu.tf_vector):
        torch.testing.assert_close(rotate(quat, vector[None]), turned[None], atol=1e-6, rtol=0.0)
    torch.testing.assert_close(tu.quat_rotate_inverse(quat, turned[None]), vector[None], atol=1e-6, rtol=0.0)


def test_rotation_is_that_of_the_matrix_and_products_are_matrix_products() -> None:
    a, b = unit(), unit().flip(0)
    vec = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    by_matrix = torch.stack([matrix(q) @ v for q, v in zip(a, vec)])
    torch.testing.assert_close(tu.quat_rotate(a, vec), by_matrix, atol=1e-5, rtol=0.0)
    product = torch.stack([matrix(p) @ matrix(q) for p, q in zip(a, b)])
    torch.testing.assert_close(torch.stack([matrix(q) for q in tu.quat_mul(a, b)]), product, atol=1e-5, rtol=0.0)
    identity = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(50, 4)
    torch.testing.assert_close(tu.quat_mul(a, tu.quat_conjugate(a)), identity, atol=1e-6, rtol=0.0)
    for axis in range(3):
        columns = torch.stack([matrix(q)[:, axis] for q in a])
        torch.testing.assert_close(tu.quat_axis(a, axis), columns, atol=1e-5, rtol=0.0)


def test_quat_apply_reads_rows_of_several_quaternions() -> None:
    """legged_gym rotates (N, points, 3) by quaternions repeated to (N, 4 points)."""
    quat, points = unit(2), torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(2))
    one_by_one = torch.stack([torch.stack([matrix(q) @ p for p in row]) for q, row in zip(quat, points)])
    torch.testing.assert_close(tu.quat_apply(quat.repeat(1, 5), points), one_by_one, atol=1e-5, rtol=0.0)


def test_euler_angles_are_about_fixed_axes_and_come_back_between_0_and_2_pi() -> None:
    roll, pitch, yaw = (torch.tensor([v]) for v in (0.3, -0.4, 2.5))
    quat = tu.quat_from_euler_xyz(roll, pitch, yaw)
    turns = [tu.quat_from_angle_axis(angle, axis[None]) for angle, axis in ((roll, X), (pitch, Y), (yaw, Z))]
    torch.testing.assert_close(quat, tu.quat_mul(turns[2], tu.quat_mul(turns[1], turns[0])))
    back = tu.get_euler_xyz(quat)
    torch.testing.assert_close(torch.cat(back), torch.tensor([0.3, 2 * math.pi - 0.4, 2.5]))
    straight_up = tu.get_euler_xyz(torch.tensor([[0.0, HALF, 0.0, HALF]]) * 1.0001)
    assert float(straight_up[1]) == pytest.approx(math.pi / 2, abs=1e-2)  # asin of a little more than 1 is no NaN


def test_transforms_compose_and_invert() -> None:
    q1, q2 = unit(), unit().roll(1, 0)
    t1, t2, point = torch.randn(3, 50, 3, generator=torch.Generator().manual_seed(3)).unbind()
    both = tu.tf_apply(*tu.tf_combine(q1, t1, q2, t2), point)
    torch.testing.assert_close(both, tu.tf_apply(q1, t1, tu.tf_apply(q2, t2, point)), atol=1e-5, rtol=0.0)
    there = tu.tf_apply(q1, t1, point)
    torch.testing.assert_close(tu.tf_apply(*tu.tf_inverse(q1, t1), there), point, atol=1e-5, rtol=0.0)


def test_scaling_and_bounds() -> None:
    lower, upper = torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 6.0])
    middle = torch.tensor([[0.0, 0.5]])
    torch.testing.assert_close(tu.scale(middle, lower, upper), torch.tensor([[1.0, 5.0]]))
    torch.testing.assert_close(tu.unscale(tu.scale(middle, lower, upper), lower, upper), middle)
    assert tu.unscale_np(np.array([1.0]), np.array([-1.0]), np.array([3.0])).tolist() == [0.0]
    clamped = tu.tensor_clamp(torch.tensor([-5.0, 7.0]), lower, upper)
    torch.testing.assert_close(clamped, torch.tensor([-1.0, 6.0]))
    torch.testing.assert_close(tu.normalize_angle(torch.tensor([3.5, -3.5])),
                               torch.tensor([3.5 - 2 * math.pi, 2 * math.pi - 3.5]))
    torch.testing.assert_close(tu.copysign(-2.0, torch.tensor([-1.0, 0.0, 3.0])), torch.tensor([-2.0, 0.0, 2.0]))
    assert tu.get_axis_params(-1.0, 2) == [0.0, 0.0, -1.0]
    assert tu.get_axis_params(0.5, 1, x_value=9.0, dtype=int, n_dims=2) == [9, 0]
    torch.testing.assert_close(tu.normalize(torch.zeros(1, 3)), torch.zeros(1, 3))


def test_random_draws_fill_their_range() -> None:
    torch.manual_seed(0)
    draws = tu.torch_rand_float(-2.0, 3.0, (10_000, 1), "cpu")
    assert draws.shape == (10_000, 1)
    assert float(draws.min()) >= -2.0 and float(draws.max()) < 3.0
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.1)
    directions = tu.torch_random_dir_2((10_000, 1), "cpu")
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(10_000))
    assert float(directions.mean(dim=0).abs().max()) < 0.05


def test_heading_and_up_of_a_body_lying_on_its_side() -> None:
    on_its_side = torch.tensor([[HALF, 0.0, 0.0, HALF]])  # rolled by 90°: its z axis points to −y
    _, up, heading, up_vec, heading_vec = tu.compute_heading_and_up(
        on_its_side, torch.tensor([[0.0, 0.0, 0.0, 1.0]]), torch.tensor([[4.0, 3.0, 0.0]]), X[None], Z[None], 2)
    torch.testing.assert_close(up_vec, -Y[None], atol=1e-6, rtol=0.0)
    torch.testing.assert_close(heading_vec, X[None], atol=1e-6, rtol=0.0)
    assert float(up) == pytest.approx(0.0, abs=1e-6) and float(heading) == pytest.approx(0.8)
    velocity = torch.tensor([[0.0, -2.0, 0.0]])
    vel_b, ang_b, roll, _, yaw, to_target = tu.compute_rot(
        on_its_side, velocity, velocity, torch.tensor([[1.0, 0.0, 1.0]]), torch.zeros(1, 3))
    torch.testing.assert_close(vel_b, torch.tensor([[0.0, 0.0, 2.0]]), atol=1e-6, rtol=0.0)
    torch.testing.assert_close(ang_b, vel_b)
    assert float(roll) == pytest.approx(math.pi / 2, abs=1e-5)
    assert float(to_target + yaw) == pytest.approx(math.pi / 4, abs=1e-5)


def test_clients_may_call_them_from_scripted_functions() -> None:
    names = ("quat_mul quat_apply quat_rotate quat_rotate_inverse quat_conjugate quat_from_angle_axis normalize "
             "get_euler_xyz quat_from_euler_xyz torch_rand_float tensor_clamp scale unscale copysign quat_axis "
             "normalize_angle tf_combine tf_inverse compute_heading_and_up compute_rot torch_random_dir_2").split()
    for name in names:
        torch.jit.script(getattr(tu, name))
    scripted = torch.jit.script(tu.quat_mul)
    torch.testing.assert_close(scripted(unit(), unit()), tu.quat_mul(unit(), unit()))


def test_a_star_import_brings_what_clients_use_without_importing_it() -> None:
    names: dict = {}
    from sb3_isaac.gymcompat.api import torch_utils
    names.update({k: v for k, v in vars(torch_utils).items() if not k.startswith("_")})
    assert names["torch"] is torch and names["np"] is np


def test_to_torch_goes_where_it_is_told() -> None:
    before = current()
    try:
        assert tu.to_torch([1, 2], device="cpu").dtype == torch.float32
        use(Settings(cuda_to_cpu=False))
        with pytest.raises(UserError, match="--cuda-to-cpu"):
            tu.to_torch([1.0])
        use(Settings(cuda_to_cpu=True))
        assert tu.to_torch([[1.0]]).device.type == "cpu"
    finally:
        use(before)


def test_shapes() -> None:
    shapes: Tuple[torch.Size, ...] = tuple(part.shape for part in tu.get_euler_xyz(unit()))
    assert shapes == ((50,),) * 3
    assert tu.quat_mul(unit(6).view(2, 3, 4), unit(6).view(2, 3, 4)).shape == (2, 3, 4)
