"""Mirror images: of robots, of tasks, and policies that are their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stable_baselines3
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from sb3_isaac import PPO, IsaacVecEnv, UserError, VecNormalize
from sb3_isaac.contract.mirror import Mirror, Mirrors
from sb3_isaac.envs.mean_std import TensorMeanStd
from sb3_isaac.rl.algo.gradient import gradient_vector, set_gradients
from sb3_isaac.rl.algo.symmetry import Symmetry
from sb3_isaac.rl.policy.export import policy_module
from sb3_isaac.robots import get_robot
from sb3_isaac.robots.mirror import robot_mirror
from sb3_isaac.tasks.parts.command import Axis
from sb3_isaac.tasks.parts.mirror import mirrors_as
from sb3_isaac.tasks.parts.mirror_check import check_robot_mirror
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat
from sb3_isaac.tasks.quadruped_velocity import QuadrupedVelocity
from sb3_isaac.testing import check_tensor_env

ENV = "IsaacQuadrupedFlat-v0"


def test_a_mirror_is_a_permutation_with_signs_that_undoes_itself() -> None:
    mirror = Mirror.joined([Mirror((1, 0), (-1, -1)), Mirror.same(1)])
    assert mirror.of(torch.tensor([1.0, 2.0, 3.0])).tolist() == [-2.0, -1.0, 3.0]
    for source, sign in (((1, 2, 0), (1, 1, 1)), ((1, 0), (1, -1)), ((0, 0), (1, 1)), ((0,), (1, 1)), ((0,), (2,))):
        with pytest.raises(UserError, match="mirroring twice changes nothing"):
            Mirror(source, sign)


@pytest.mark.parametrize("name", ["quadruped", "anymal"])
def test_legs_change_sides_and_hips_their_sign(name: str) -> None:
    joints, feet = robot_mirror(get_robot(name))
    assert joints.source == (3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8) and joints.sign == (-1, 1, 1) * 4
    assert feet == Mirror((1, 0, 3, 2), (1,) * 4)
    check_robot_mirror(get_robot(name), joints)


def test_a_robot_that_is_no_mirror_image_of_itself_is_refused(tmp_path: Path) -> None:
    robot = get_robot("quadruped")
    pose = list(robot.default_joint_pos)
    pose[1] += 0.2
    with pytest.raises(UserError, match="default_joint_pos that is not its own mirror image"):
        robot_mirror(replace(robot, default_joint_pos=tuple(pose)))
    heavy = tmp_path / "heavy.xml"
    text = Path(robot.mjcf).read_text(encoding="utf-8")
    assert text.count('mass="1.152"') == 4
    heavy.write_text(text.replace('mass="1.152"', 'mass="4.0"', 1), encoding="utf-8")
    robot = replace(robot, mjcf=str(heavy))
    with pytest.raises(UserError, match="is not symmetric: its mirror image"):
        check_robot_mirror(robot, robot_mirror(robot).joints)
    moved = tmp_path / "moved.xml"
    moved.write_text(text.replace('pos="0 0.0955 0"', 'pos="0 0.2 0"', 1), encoding="utf-8")
    with pytest.raises(UserError, match="no joint that is the mirror image of 'FL_thigh_joint'"):
        robot_mirror(replace(robot, mjcf=str(moved)))


def task(**options: Any) -> QuadrupedFlat:
    return QuadrupedFlat(2, threads=1, seed=0, **options)


def height(f: Any) -> torch.Tensor:
    return f.trunk_height


def test_a_task_says_how_it_looks_in_a_mirror() -> None:
    made = task(privileged=True)
    mirrors = made.mirror()
    sign = mirrors.observation["policy"].sign
    assert sign[:36] == (-1, 1, 1) * 12
    assert sign[36:] == (-1, 1, -1, 1, -1, 1, 1, -1), "turning is axial, gravity a vector, yaw changes its sign"
    assert mirrors.observation["critic"] == Mirror((0, 1, 2, 4, 3, 6, 5, 7), (1, -1, 1, 1, 1, 1, 1, 1))
    check_tensor_env(task(episode_length_s=0.2))
    told = QuadrupedVelocity(2, threads=1, seed=0, clock=True, heading=True).mirror().observation["policy"].sign
    assert told[42:] == (1, -1, -1, 1, -1, -1), "forward, left, yaw rate; to stand; half a stride later"


def test_terms_of_ones_own_say_their_mirror_or_symmetry_is_refused() -> None:
    with pytest.raises(UserError, match="observation 'height' does not say how it looks in a mirror"):
        task(observation={"policy": {"height": height}}).mirror()
    said = task(observation={"policy": {"height": mirrors_as("same")(lambda f: f.trunk_height)}})
    assert said.mirror().observation["policy"].source[-1] == 44
    with pytest.raises(UserError, match="kind of mirror 'sme'"):
        task(observation={"policy": {"height": mirrors_as("sme")(lambda f: f.trunk_height)}}).mirror()
    with pytest.raises(UserError, match="has 1 numbers and its mirror 3"):
        task(observation={"policy": {"height": mirrors_as("vector")(lambda f: f.trunk_height)}}).mirror()
    with pytest.raises(UserError, match="command axis 'lean' does not say"):
        task(command={"lean": Axis(0.0, 1.0)}).mirror()
    assert task(command={"lean": Axis(0.0, 1.0, mirror=-1)}).mirror().observation["policy"].sign[-3:] == (1, -1, -1)


def trained(policy: str = "AsymmetricPolicy", steps: int = 256, **kwargs: Any) -> PPO:
    env = VecNormalize(IsaacVecEnv(ENV, num_envs=16, seed=0, threads=1, privileged=policy != "MlpPolicy"))
    model = PPO(policy, env, n_steps=8, batch_size=32, n_epochs=2, seed=0, learning_rate=1e-3, symmetry="equivariant",
                policy_kwargs={"net_arch": [16, 8], "activation_fn": nn.ELU, **kwargs})
    return model.learn(steps)


@pytest.mark.parametrize("policy", ["MlpPolicy", "AsymmetricPolicy"])
def test_a_trained_policy_does_in_the_mirror_what_it_does(policy: str, tmp_path: Path) -> None:
    model = trained(policy)
    env = model.get_env()
    mirrors = env.unwrapped.env.mirror()  # type: ignore[union-attr]
    raw = torch.randn(5, 44)
    actor = policy_module(model, model.get_vec_normalize_env(), env.unwrapped.env.metadata())  # type: ignore
    actions = actor(raw)
    assert actions.abs().max() > 1e-3
    torch.testing.assert_close(actor(mirrors.observation["policy"].of(raw)), mirrors.action.of(actions),
                               atol=1e-6, rtol=1e-4)
    obs = {"policy": raw, "critic": torch.randn(5, 8)}
    seen = obs if policy == "AsymmetricPolicy" else raw
    image = {group: mirrors.observation[group].of(value) for group, value in obs.items()} \
        if isinstance(seen, dict) else mirrors.observation["policy"].of(raw)
    values = model.policy.predict_values(seen)
    assert values.std() > 1e-3
    torch.testing.assert_close(model.policy.predict_values(image), values, atol=1e-6, rtol=1e-4)
    model.save(tmp_path / "model")
    stock = stable_baselines3.PPO.load(tmp_path / "model", device="cpu")
    numpy_obs = {group: value.numpy() for group, value in obs.items()} if isinstance(seen, dict) else raw.numpy()
    assert (stock.predict(numpy_obs, deterministic=True)[0] == model.predict(numpy_obs, deterministic=True)[0]).all()
    again = PPO.load(tmp_path / "model", env=env)
    before = [p.clone() for p in again.policy.parameters()]
    again.learn(0)
    assert again.symmetry == "equivariant" and all(map(torch.equal, before, again.policy.parameters()))


def test_a_policy_that_sees_all_groups_is_symmetric_too() -> None:
    model = trained("MultiInputPolicy")
    mirrors = model.get_env().unwrapped.env.mirror()  # type: ignore[union-attr]
    obs = {group: torch.randn(5, len(mirror.sign)) for group, mirror in mirrors.observation.items()}
    image = {group: mirrors.observation[group].of(value) for group, value in obs.items()}
    with torch.no_grad():
        actions, mirrored = (model.policy.get_distribution(seen).mode() for seen in (obs, image))
        assert actions.abs().max() > 1e-3
        torch.testing.assert_close(mirrored, mirrors.action.of(actions), atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(model.policy.predict_values(image), model.policy.predict_values(obs), atol=1e-6,
                                   rtol=1e-4)


def test_its_gradient_is_that_of_the_data_and_their_mirror_image() -> None:
    model = trained("MlpPolicy", steps=128)
    mirrors: Mirrors = model.get_env().unwrapped.env.mirror()  # type: ignore[union-attr]
    obs, target = torch.randn(7, 44), torch.randn(7, 12)

    def gradients(obs: torch.Tensor, target: torch.Tensor) -> Any:
        model.policy.zero_grad()
        latent = model.policy.mlp_extractor.policy_net(obs)
        (model.policy.action_net(latent) - target).square().mean().backward()
        return [p.grad.clone() for p in model.policy.mlp_extractor.policy_net.parameters()]

    both = gradients(torch.cat((obs, mirrors.observation["policy"].of(obs))),
                     torch.cat((target, mirrors.action.of(target))))
    gradients(obs, target)
    parameters = list(model.policy.parameters())
    set_gradients(parameters, Symmetry(model.policy, mirrors).of_gradients(gradient_vector(parameters)))
    for ours, wanted in zip(model.policy.mlp_extractor.policy_net.parameters(), both):
        torch.testing.assert_close(ours.grad, wanted, atol=1e-6, rtol=1e-4)


def test_moments_are_those_of_the_observations_and_their_mirror_image() -> None:
    model = trained(steps=128)
    env = model.get_vec_normalize_env()
    assert env is not None
    mirror = env.obs_rms["policy"].mirror  # type: ignore[index]
    rms, twin = TensorMeanStd(shape=(44,)), TensorMeanStd(shape=(44,))
    rms.mirror, batch = mirror, torch.randn(50, 44) + 1.0
    rms.update(batch)
    twin.update(torch.cat((batch, mirror.of(batch))))
    assert rms.count == pytest.approx(twin.count - 50)
    assert rms.mean == pytest.approx(twin.mean, abs=1e-5) and rms.var == pytest.approx(twin.var, abs=1e-4)


class OnePlus(FlattenExtractor):
    """As wide as what it sees, and no mirror image of itself."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return super().forward(observations) + 1.0


def test_what_cannot_be_symmetric_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="net_arch has one of 5"):
        trained(net_arch=[5])
    with pytest.raises(UserError, match=r"IsaacVecEnv, alone or in sb3_isaac\.VecNormalize"):
        PPO("MlpPolicy", "CartPole-v1", symmetry="equivariant")
    with pytest.raises(UserError, match="has a OnePlus of its own"):
        trained("MlpPolicy", features_extractor_class=OnePlus)
    with pytest.raises(UserError, match="symmetry 'yes'"):
        PPO("MlpPolicy", "CartPole-v1", symmetry="yes")
    with pytest.raises(UserError, match="train without symmetry"):
        PPO("MlpPolicy", IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, seed=0), symmetry="equivariant")
    with pytest.warns(UserWarning, match="the policy is not kept symmetric: DoublePendulum has no mirror"):
        PPO("MlpPolicy", IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, seed=0), symmetry="auto")
