"""Rotations against matrices, in either layout and order, and from scripted functions."""

from __future__ import annotations

import math

import pytest
import torch

from sb3_isaac.contract import rotations as r


def batch(n: int = 50) -> "tuple[torch.Tensor, torch.Tensor]":
    generator = torch.Generator().manual_seed(0)
    quat = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return quat / quat.norm(dim=1, keepdim=True), torch.randn(n, 3, generator=generator, dtype=torch.float64)


def matrices(quat: torch.Tensor) -> torch.Tensor:
    w, x, y, z = quat.unbind(dim=1)
    rows = (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
    return torch.stack(rows, dim=1).view(-1, 3, 3)


@pytest.mark.parametrize("by_component", [False, True])
def test_vectors_turn_as_the_matrix_turns_them(by_component: bool) -> None:
    quat, vec = batch()
    expected = torch.einsum("nij,nj->ni", matrices(quat), vec)
    if by_component:
        quat, vec = quat.t().contiguous().t(), vec.t().contiguous().t()
    torch.testing.assert_close(r.rotate(quat, vec), expected)
    torch.testing.assert_close(r.rotate_inverse(quat, expected), vec)
    torch.testing.assert_close(torch.jit.script(r.rotate)(quat, vec), expected)
    for points in (vec[:7], vec[None, :7]):
        torch.testing.assert_close(r.rotate(quat[:, None], points),
                                   torch.einsum("nij,kj->nki", matrices(quat), vec[:7]))
    torch.testing.assert_close(r.down(quat), -matrices(quat)[:, 2])
    torch.testing.assert_close(r.matrix_of(quat), matrices(quat))
    torch.testing.assert_close(r.into_body(r.matrix_of(quat), expected), vec)
    torch.testing.assert_close(r.heading_of(r.matrix_of(quat)), r.yaw_of(quat))


def test_orders_and_headings() -> None:
    quat, _ = batch()
    assert torch.equal(r.xyzw_from_wxyz(quat), quat[:, [1, 2, 3, 0]])
    assert torch.equal(r.wxyz_from_xyzw(r.xyzw_from_wxyz(quat.view(5, 10, 4))), quat.view(5, 10, 4))
    yaw = torch.linspace(-3.1, 3.1, 20)
    torch.testing.assert_close(r.yaw_of(r.from_yaw(yaw)), yaw)
    nose = matrices(quat)[:, :, 0]
    torch.testing.assert_close(r.yaw_of(quat), torch.atan2(nose[:, 1], nose[:, 0]))
    upside_down = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    assert float(r.yaw_of(upside_down)) == 0.0 and float(r.yaw_of(torch.tensor([0.0, 0.0, 0.0, 1.0]))) == \
        pytest.approx(math.pi)
