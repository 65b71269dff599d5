"""The double pendulum: its mechanics against independent derivations, its episodes and its saved state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import TensorEnv
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.double_pendulum import (
    CONTROL_DT,
    FALLEN,
    GRAVITY_M_S2,
    LENGTH_M,
    MASS_KG,
    SUBSTEPS,
    TORQUE_NM,
    DoublePendulum,
    acceleration,
    advance,
)


def random_states(n: int, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)
    angle = 6.28 * torch.rand(n, 2, generator=generator, dtype=dtype)
    velocity = 4 * torch.randn(n, 2, generator=generator, dtype=dtype)
    torque = 3 * torch.randn(n, 2, generator=generator, dtype=dtype)
    return angle, velocity, torque


def positions(angle: torch.Tensor) -> torch.Tensor:
    """Positions (4, 2) of half-mass points at the two Gauss nodes of each rod, which give a rod's inertia exactly."""
    first = torch.stack((angle[0].sin(), angle[0].cos()))
    second = torch.stack((angle.sum().sin(), angle.sum().cos()))
    nodes = [0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5]
    return LENGTH_M * torch.stack([s * first for s in nodes] + [first + s * second for s in nodes])


def kinetic_and_potential(angle: torch.Tensor, velocity: torch.Tensor):
    jacobian = torch.autograd.functional.jacobian(positions, angle, create_graph=True)
    kinetic = MASS_KG / 4 * (jacobian @ velocity).square().sum()
    return kinetic, MASS_KG / 2 * GRAVITY_M_S2 * positions(angle)[:, 1].sum()


def lagrange_acceleration(angle: torch.Tensor, velocity: torch.Tensor, torque: torch.Tensor) -> torch.Tensor:
    """From d/dt ∂L/∂q̇ − ∂L/∂q = τ alone: L_vv a = τ + L_q − L_vq v, with L differentiated by machine."""
    def lagrangian(q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        kinetic, potential = kinetic_and_potential(q, v)
        return kinetic - potential

    hessian = torch.autograd.functional.hessian(lagrangian, (angle, velocity))
    slope = torch.autograd.functional.jacobian(lagrangian, (angle, velocity))[0]
    return torch.linalg.solve(hessian[1][1], torque + slope - hessian[1][0] @ velocity)


def test_equations_follow_from_the_lagrangian() -> None:
    states = random_states(8)
    derived = torch.stack([lagrange_acceleration(*state) for state in zip(*states)])
    torch.testing.assert_close(acceleration(*states), derived, rtol=1e-10, atol=1e-8)


def test_equations_agree_with_mujoco() -> None:
    mujoco = pytest.importorskip("mujoco")
    rod = (f'<inertial pos="0 0 {LENGTH_M / 2}" mass="{MASS_KG}" '
           f'diaginertia="{MASS_KG * LENGTH_M**2 / 12} {MASS_KG * LENGTH_M**2 / 12} 1e-6"/>')
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><option gravity="0 0 -{GRAVITY_M_S2}"/><worldbody><body><joint axis="0 1 0"/>{rod}'
        f'<body pos="0 0 {LENGTH_M}"><joint axis="0 1 0"/>{rod}</body></body></worldbody></mujoco>')
    data = mujoco.MjData(model)
    angle, velocity, torque = random_states(16)
    ours = acceleration(angle, velocity, torque)
    for i in range(16):
        data.qpos[:], data.qvel[:], data.qfrc_applied[:] = angle[i], velocity[i], torque[i]
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(data.qacc, ours[i], rtol=1e-6, atol=1e-6)


def energy_drift(dt: float) -> torch.Tensor:
    """Energy won or lost in 5 s of free tumbling, as a part of what lifts both rods from hanging to upright."""
    angle = start = torch.tensor([[1.5, 0.0], [2.0, 1.0], [0.5, -2.0]], dtype=torch.float64)
    velocity = torch.tensor([[0.0, 0.0], [1.0, -2.0], [3.0, 0.0]], dtype=torch.float64)
    before = torch.stack([sum(kinetic_and_potential(q, v)) for q, v in zip(angle, velocity)])
    for _ in range(round(5.0 / dt)):
        angle, velocity = advance(angle, velocity, torch.zeros_like(angle), dt)
    after = torch.stack([sum(kinetic_and_potential(q, v)) for q, v in zip(angle, velocity)])
    assert (angle - start).abs().max(dim=1).values.min() > 1.0
    return (after - before).abs().detach() / (4 * MASS_KG * GRAVITY_M_S2 * LENGTH_M)


def test_energy_is_conserved_without_torque() -> None:
    """To 5e-4 at the step in use, and as a fourth-order method should: a quarter of the step errs 4⁴ times less."""
    coarse, fine = energy_drift(CONTROL_DT / SUBSTEPS).max(), energy_drift(CONTROL_DT / SUBSTEPS / 4).max()
    assert coarse < 5e-4 and fine < coarse / 256


def test_it_is_a_tensor_env() -> None:
    env = make_task("IsaacDoublePendulum-v0", 3, seed=0)
    assert isinstance(env, TensorEnv)
    obs = env.reset()
    step = env.step(torch.zeros(3, 2))
    assert obs["policy"].data_ptr() == step.obs["policy"].data_ptr() != step.final_obs["policy"].data_ptr()
    assert step.reward.dtype == torch.float32 and step.terminated.dtype == step.truncated.dtype == torch.bool
    assert sum(env.metadata()["obs_table"].values()) == obs["policy"].shape[1] == 6
    torch.testing.assert_close(step.log["reward/height"] + step.log["reward/effort"], step.reward)


def test_a_step_is_the_torque_held_for_the_control_step() -> None:
    env = DoublePendulum(2, seed=0, stagger=False)
    env.reset()
    angle, velocity = env.angle.clone(), env.velocity.clone()
    for _ in range(SUBSTEPS):
        angle, velocity = advance(angle, velocity, torch.tensor([TORQUE_NM, (0.0, -TORQUE_NM[1] / 2)]),
                                  CONTROL_DT / SUBSTEPS)
    step = env.step(torch.tensor([[7.0, 1.0], [0.0, -0.5]]))
    torch.testing.assert_close(env.angle, angle)
    torch.testing.assert_close(step.obs["policy"], torch.cat((angle.sin(), angle.cos(), velocity), dim=1))
    torch.testing.assert_close(step.log["reward/effort"], torch.tensor([-0.1, -0.0125]))
    tip = LENGTH_M * (angle[:, 0].cos() + (angle[:, 0] + angle[:, 1]).cos())
    torch.testing.assert_close(step.log["tip_height_m"], tip)


def test_a_fall_ends_the_episode_and_only_its_own() -> None:
    env = DoublePendulum(3, seed=0, stagger=False)
    env.reset()
    env.angle[1] = torch.tensor([1.2, 0.0])
    step = env.step(torch.zeros(3, 2))
    assert np.cos(1.2) < FALLEN
    assert step.terminated.tolist() == [False, True, False] and not step.truncated.any()
    assert env.steps.tolist() == [1, 0, 1]
    assert step.final_obs["policy"][1, 0] > 0.9 and step.obs["policy"][1, 0].abs() < 0.1
    torch.testing.assert_close(step.final_obs["policy"][[0, 2]], step.obs["policy"][[0, 2]], rtol=0, atol=0)


def test_staggered_first_episodes_spread_over_the_time_limit() -> None:
    env = DoublePendulum(200, seed=0)
    env.reset()
    assert env.steps.min() < 50 and env.steps.max() > 450 and 200 < env.steps.double().mean() < 300
    assert DoublePendulum(4, stagger=False).steps.tolist() == [0, 0, 0, 0]


def test_state_dict_continues_bit_for_bit() -> None:
    env, other = DoublePendulum(16, seed=0, episode_length_s=1.0), DoublePendulum(16, seed=1, episode_length_s=1.0)
    generator = torch.Generator().manual_seed(0)
    actions = 2 * torch.rand(120, 16, 2, generator=generator) - 1
    obs, others_obs = env.reset()["policy"], other.reset()["policy"]
    for action in actions[:30]:
        env.step(action)
    other.load_state_dict(env.state_dict())
    assert torch.equal(obs, others_obs)
    ends = 0
    for action in actions[30:]:
        a, b = env.step(action), other.step(action)
        assert torch.equal(a.obs["policy"], b.obs["policy"]) and torch.equal(a.reward, b.reward)
        assert torch.equal(a.final_obs["policy"], b.final_obs["policy"])
        ends += int((a.terminated | a.truncated).sum())
    assert ends >= 16


def test_render_draws_both_rods_where_they_are() -> None:
    env = DoublePendulum(1, render_mode="rgb_array")
    env.angle[0] = torch.tensor([np.pi / 2, -np.pi / 2])
    image = env.render()
    assert image.shape == (240, 240, 3) and image.dtype == np.uint8

    def at(x: float, y: float) -> list:
        scale = 239 / (4.4 * LENGTH_M)
        return image[round(119.5 - y * scale), round(119.5 + x * scale)].tolist()

    background, first, second = at(-LENGTH_M, 0.0), at(LENGTH_M / 2, 0.0), at(LENGTH_M, LENGTH_M / 2)
    assert background != first != second != background
    assert DoublePendulum(1).render() is None


@pytest.mark.parametrize(("options", "sentence"), [
    ({"device": "cuda:77"}, "device 'cuda:77' is not available"),
    ({"device": "gpu"}, "device 'gpu' is not available"),
    ({"episode_length_s": 0.001}, "at least one control step"),
    ({"render_mode": "rgb"}, "did you mean 'rgb_array'"),
])
def test_mistakes_are_user_errors(options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        DoublePendulum(1, **options)
