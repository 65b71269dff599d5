"""What differs between actors: friction, restitution, mass, and the three ways to drive a joint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable, List, Tuple

import numpy as np
import pytest
import torch
from gymcompat_robots import PENDULUM, WALKER, World, options, plane, sim_params

from sb3_isaac import UserError
from sb3_isaac.gymcompat.api import gymapi, gymtorch


def boxes(frictions: List[Any], ground: Any, edit: Callable[[Any, Any], None] = lambda gym, props: None,
          height: float = 0.1, shape: str = "box") -> Tuple[Any, Any, torch.Tensor]:
    """One box or ball for each friction; `edit` sees its shape properties. (gym, sim, root tensor)."""
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    gym.add_ground(sim, ground)
    asset = (gym.create_box(sim, 0.4, 0.4, 0.2, options(density=1000.0)) if shape == "box"
             else gym.create_sphere(sim, 0.1, options(density=1000.0)))
    props = gym.get_asset_rigid_shape_properties(asset)
    for friction in frictions:
        props[0].friction = friction
        edit(gym, props)
        gym.set_asset_rigid_shape_properties(asset, props)
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        gym.create_actor(env, asset, gymapi.Transform(p=gymapi.Vec3(0, 0, height)), "thing", 0, 0)
    gym.prepare_sim(sim)
    return gym, sim, gymtorch.wrap_tensor(gym.acquire_actor_root_state_tensor(sim))


def test_friction_is_the_average_of_robot_and_ground_and_each_actor_has_its_own() -> None:
    """Pulled sideways by 0.8 g, a box slides iff ½ (μ + μ ground) < 0.8, with (0.8 − μ) g.

    One asset, its properties set before each actor's creation, the values once as a (1, 1) tensor as legged_gym's.
    """
    frictions = [0.2, torch.tensor([[0.4]]), 1.0, 1.4]
    gym, sim, root = boxes(frictions, plane(friction=0.6))
    params = gym.get_sim_params(sim)
    params.gravity = gymapi.Vec3(0.8 * 9.81, 0, -9.81)
    gym.set_sim_params(sim, params)
    for _ in range(100):
        gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    expected = [(0.8 - mu) * 9.81 * 0.5 for mu in (0.4, 0.5)]
    assert root[:2, 7].tolist() == pytest.approx(expected, rel=0.1)
    assert root[2:, 7].tolist() == pytest.approx([0, 0], abs=0.01)


def test_contacts_stick(tmp_path: Path) -> None:
    """A robot on splayed legs presses its feet outwards, well within friction: in 2 s it does not sink by 0.1 mm."""
    world = World(tmp_path, WALKER, n=1, height=0.43)
    splayed = 0.4 * torch.tensor([1.0, 0, -1, 0, 1, 0, -1, 0])  # legs on the left turn out by +, on the right by −
    world.dof[..., 0] = splayed
    world.set_dof()
    heights = []
    for _ in range(600):
        world.effort(60.0 * (splayed - world.dof[..., 0]) - 2.0 * world.dof[..., 1])
        world.step(1)
        heights.append(world.root[0, 2].item())
    assert heights[-1] > 0.35 and abs(heights[-1] - heights[199]) < 1e-4


def test_restitution_is_the_average_too() -> None:
    """A ball of 1.0 on a ground of 0.0 bounces with half its speed, one of 0.0 hardly."""
    values = iter((1.0, 0.0))

    def bouncing(gym: Any, props: Any) -> None:
        props[0].restitution = next(values)

    gym, sim, root = boxes([1.0, 1.0], plane(), bouncing, height=0.6, shape="sphere")
    speed = []
    for _ in range(100):
        gym.simulate(sim)
        gym.refresh_actor_root_state_tensor(sim)
        speed.append(root[:, 9].clone())
    down, up = -torch.stack(speed).amin(dim=0), torch.stack(speed[60:]).amax(dim=0)
    assert down.tolist() == pytest.approx([math.sqrt(2 * 9.81 * 0.5)] * 2, rel=0.05)
    assert (up / down)[0].item() == pytest.approx(0.5, abs=0.1) and (up / down)[1] < 0.2


def test_shape_properties_of_an_actor_can_change_while_it_runs() -> None:
    gym, sim, root = boxes([1.4, 1.4], plane(friction=1.0))
    params = gym.get_sim_params(sim)
    params.gravity = gymapi.Vec3(0.8 * 9.81, 0, -9.81)
    gym.set_sim_params(sim, params)
    for _ in range(50):
        gym.simulate(sim)
    props = gym.get_actor_rigid_shape_properties(sim.envs[1], 0)
    props[0].friction = 0.0
    gym.set_actor_rigid_shape_properties(sim.envs[1], 0, props)
    for _ in range(50):
        gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    assert root[0, 7] < 0.1 and root[1, 7].item() == pytest.approx(0.3 * 9.81 * 0.25, rel=0.15)


def test_later_changes_of_the_asset_do_not_reach_actors_made_before(tmp_path: Path) -> None:
    seen = []

    def edit(world: World, i: int, env: Any, actor: int) -> None:
        seen.append(world.gym.get_actor_rigid_shape_properties(env, actor)[0].friction)
        props = world.gym.get_asset_rigid_shape_properties(world.asset)
        for prop in props:
            prop.friction = 0.25
        world.gym.set_asset_rigid_shape_properties(world.asset, props)

    world = World(tmp_path, WALKER, edit=edit)
    assert seen == [1.0, 0.25]
    friction = world.sim.running("test").groups[0].engine.model_field("geom_friction")[:, 1:, 0]
    assert friction[0].tolist() == pytest.approx([1.0] * friction.shape[1])
    assert friction[1].tolist() == pytest.approx([0.625] * friction.shape[1])


def test_a_mass_change_scales_the_inertia_only_if_asked(tmp_path: Path) -> None:
    """A pendulum of twice the mass needs twice the torque, and swings as fast by gravity alone."""
    def edit(world: World, i: int, env: Any, actor: int) -> None:
        props = world.gym.get_actor_rigid_body_properties(env, actor)
        props[1].mass *= (1.0, 2.0, 2.0)[i]
        world.gym.set_actor_rigid_body_properties(env, actor, props, recomputeInertia=i == 1)

    world = World(tmp_path, PENDULUM, n=3, fix_base_link=True, params=sim_params(gravity=0.0), edit=edit)
    world.effort(torch.ones(3))
    world.step(1)
    about_com, arm = 0.02, 0.5
    inertia = [about_com + 2 * arm**2, 2 * about_com + 4 * arm**2, about_com + 4 * arm**2]
    assert world.dof[:, 0, 1].tolist() == pytest.approx([0.005 / i for i in inertia], rel=1e-3)


FRAME = """<mujoco><worldbody><body name="trunk"><freejoint/><geom type="box" size=".2 .1 .05" mass="5"/>
<body name="leg" pos="0 0 -.1"><joint name="knee" axis="0 1 0" damping="1"/>
<geom type="capsule" size=".02 .05" mass=".5"/><body name="foot" pos="0 0 -.1"/></body></body></worldbody></mujoco>"""


def test_a_welded_body_without_mass_falls_with_its_robot(tmp_path: Path) -> None:
    """As in Unitree's go2.xml. 20 steps of 5 ms: semi-implicit Euler falls by g dt² n (n + 1) / 2."""
    def edit(world: World, i: int, env: Any, actor: int) -> None:
        props = world.gym.get_actor_rigid_body_properties(env, actor)
        assert props[2].mass == 0.0
        props[0].mass += float(i)
        world.gym.set_actor_rigid_body_properties(env, actor, props, recomputeInertia=True)

    world = World(tmp_path, FRAME, ground=False, edit=edit)
    world.step(20)
    assert world.sim.bad_worlds == 0
    assert world.root[:, 2].tolist() == pytest.approx([1.0 - 9.81 * 0.005**2 * 210] * 2, abs=1e-4)
    props = world.gym.get_actor_rigid_body_properties(world.envs[0], 0)
    props[2].mass = -1.0
    with pytest.raises(UserError, match=r"'foot'.*above 0"):
        world.gym.set_actor_rigid_body_properties(world.envs[0], 0, props)


def test_centre_of_mass_and_inertia_can_be_given(tmp_path: Path) -> None:
    """Moving the rod's centre of mass into the pivot leaves its inertia about that: 0.3 here, off its old axes."""
    def edit(world: World, i: int, env: Any, actor: int) -> None:
        props = world.gym.get_actor_rigid_body_properties(env, actor)
        props[1].com = gymapi.Vec3(0, 0, 0)
        props[1].inertia.x, props[1].inertia.y = gymapi.Vec3(0.2, 0.05, 0), gymapi.Vec3(0.05, 0.3, 0)
        props[1].inertia.z = gymapi.Vec3(0, 0, 0.3)
        world.gym.set_actor_rigid_body_properties(env, actor, props)

    world = World(tmp_path, PENDULUM, n=1, fix_base_link=True, edit=edit)
    world.effort(torch.ones(1))
    world.step(1)
    assert world.dof[0, 0, 1].item() == pytest.approx(0.005 / 0.3, rel=1e-3)


def driven(mode: int, stiffness: float = 0.0, damping: float = 0.0, **fields: float) -> Callable[..., None]:
    def edit(world: World, i: int, env: Any, actor: int) -> None:
        props = world.gym.get_actor_dof_properties(env, actor)
        props["driveMode"], props["stiffness"], props["damping"] = mode, stiffness, damping
        for name, value in fields.items():
            props[name] = value
        world.gym.set_actor_dof_properties(env, actor, props)

    return edit


def targets(world: World, call: str, value: float) -> None:
    tensor = torch.full((world.n, world.num_dofs), value)
    getattr(world.gym, call)(world.sim, gymtorch.unwrap_tensor(tensor))


@pytest.mark.parametrize(("mode", "moves"), [
    (gymapi.DOF_MODE_EFFORT, "set_dof_actuation_force_tensor"), (gymapi.DOF_MODE_POS, "set_dof_position_target_tensor"),
    (gymapi.DOF_MODE_VEL, "set_dof_velocity_target_tensor")])
def test_a_joint_obeys_the_commands_of_its_drive_mode_and_ignores_the_others(mode: int, moves: str,
                                                                            tmp_path: Path) -> None:
    stiffness = 50.0 if mode == gymapi.DOF_MODE_POS else 0.0
    edit = driven(mode, stiffness, 0.0 if mode == gymapi.DOF_MODE_EFFORT else 5.0)
    for call in ("set_dof_actuation_force_tensor", "set_dof_position_target_tensor", "set_dof_velocity_target_tensor"):
        if mode == gymapi.DOF_MODE_POS and call == "set_dof_velocity_target_tensor":
            continue  # the damping of a position drive is towards the velocity target
        world = World(tmp_path, PENDULUM, n=1, fix_base_link=True, params=sim_params(gravity=0.0), edit=edit)
        targets(world, call, 0.5)
        world.step(10)
        assert (world.dof[0, 0, 1].abs().item() > 1e-3) is (call == moves), call


def test_a_position_drive_is_a_spring_to_its_target(tmp_path: Path) -> None:
    """At rest kp (target − q) = m g l sin q."""
    world = World(tmp_path, PENDULUM, n=1, fix_base_link=True, edit=driven(gymapi.DOF_MODE_POS, 50.0, 10.0))
    targets(world, "set_dof_position_target_tensor", 0.8)
    world.step(600)
    q = world.dof[0, 0, 0].item()
    assert 0.5 < q < 0.8 and 50.0 * (0.8 - q) == pytest.approx(2.0 * 9.81 * 0.5 * math.sin(q), rel=1e-3)


def test_a_velocity_drive_reaches_its_target(tmp_path: Path) -> None:
    world = World(tmp_path, PENDULUM, n=1, fix_base_link=True, params=sim_params(gravity=0.0),
                  edit=driven(gymapi.DOF_MODE_VEL, damping=20.0))
    targets(world, "set_dof_velocity_target_tensor", 3.0)
    world.step(100)
    assert world.dof[0, 0, 1].item() == pytest.approx(3.0, rel=1e-3)


def test_a_drive_gives_no_more_than_its_effort(tmp_path: Path) -> None:
    world = World(tmp_path, PENDULUM, n=1, fix_base_link=True, params=sim_params(gravity=0.0),
                  edit=driven(gymapi.DOF_MODE_POS, 1e4, 0.0, effort=3.0))
    targets(world, "set_dof_position_target_tensor", 1.0)
    world.step(1)
    assert world.dof[0, 0, 1].item() == pytest.approx(3.0 * 0.005 / (0.02 + 2.0 * 0.5**2), rel=1e-3)


def test_drives_damping_and_limits_differ_between_environments(tmp_path: Path) -> None:
    """Environment i is damped by i N·m·s/rad: ω decays as exp(−i t / I)."""
    def edit(world: World, i: int, env: Any, actor: int) -> None:
        driven(gymapi.DOF_MODE_EFFORT, damping=float(i))(world, i, env, actor)

    world = World(tmp_path, PENDULUM, n=3, fix_base_link=True, params=sim_params(dt=0.001, gravity=0.0), edit=edit)
    world.dof[..., 1] = 1.0
    world.set_dof()
    world.step(200)
    assert world.dof[:, 0, 1].tolist() == pytest.approx([math.exp(-i * 0.2 / 0.52) for i in range(3)], rel=0.01)


def test_efforts_stay_until_they_are_set_again(tmp_path: Path) -> None:
    world = World(tmp_path, PENDULUM, n=1, fix_base_link=True, params=sim_params(gravity=0.0))
    world.effort(torch.ones(1))
    world.step(10)
    assert world.dof[0, 0, 1].item() == pytest.approx(10 * 0.005 / 0.52, rel=1e-3)
    world.effort(torch.zeros(1))
    world.step(10)
    assert world.dof[0, 0, 1].item() == pytest.approx(10 * 0.005 / 0.52, rel=1e-3)


def test_joint_limits_stop_the_joint_and_are_reported(tmp_path: Path) -> None:
    world = World(tmp_path, WALKER, ground=False, params=sim_params(gravity=0.0))
    props = world.gym.get_actor_dof_properties(world.envs[0], 0)
    assert props["lower"].tolist() == [-1, -2] * 4 and props["upper"].tolist() == [1, 2] * 4
    assert props["effort"].tolist() == [30, 40] * 4 and props["velocity"].tolist() == [20] * 8
    assert props["hasLimits"].all() and (props["driveMode"] == gymapi.DOF_MODE_EFFORT).all()
    world.effort(torch.tensor([5.0, 0] * 4).repeat(2))
    world.step(300)
    assert np.allclose(world.dof[:, ::2, 0], 1.0, atol=0.1)
