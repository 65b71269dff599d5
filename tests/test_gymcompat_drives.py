"""Drives of the emulation are integrated implicitly, their limit included: the law itself, worked step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import pytest
import torch
from gymcompat_robots import WALKER, World, sim_params

from sb3_isaac.gymcompat.api import gymapi, gymtorch

_ARM = """<robot name="arm">
<link name="base"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1"/></inertial></link>
<link name="arm"><inertial>
<mass value="{mass}"/><inertia ixx="{inertia}" iyy="{inertia}" izz="{inertia}"/></inertial></link>
<joint name="j" type="{kind}"><parent link="base"/><child link="arm"/><axis xyz="0 1 0"/>
<limit lower="-1" upper="1" effort="{effort}" velocity="100"/></joint></robot>"""

STIFF = {  # kind, mass kg, inertia kg·m², kp, kd, effort, dt s, substeps, target
    "a rotor": ("revolute", 0.05, 2e-5, 1000.0, 0.0, 1e4, 0.01, 2, 0.2),
    "a gripper's finger": ("prismatic", 0.1, 1e-4, 1e6, 1e2, 200.0, 1 / 60, 1, 0.02),
    "a softer finger": ("prismatic", 0.1, 1e-4, 5e3, 1e2, 200.0, 1 / 60, 2, 0.02),
    "a hand's joint, which saturates": ("revolute", 0.03, 1e-5, 3.0, 0.1, 0.5, 1 / 60, 2, 0.5),
    "a leg's joint": ("revolute", 0.5, 0.02, 85.0, 2.0, 80.0, 0.02, 2, 0.2),
    "a leg's joint, which saturates": ("revolute", 0.5, 0.02, 85.0, 20.0, 1.0, 0.02, 2, 0.2),
    "a joint that is all damping": ("revolute", 0.2, 1e-4, 500.0, 50.0, 1e4, 1 / 60, 2, 0.2),
}


def set_position_drive(kp: float, kd: float) -> Any:
    def edit(world: World, i: int, env: Any, actor: int) -> None:
        props = world.gym.get_actor_dof_properties(env, actor)
        props["driveMode"], props["stiffness"], props["damping"] = gymapi.DOF_MODE_POS, kp, kd
        world.gym.set_actor_dof_properties(env, actor, props)

    return edit


def implicit(inertia: float, kp: float, kd: float, effort: float, h: float, target: float, count: int) -> List[float]:
    """Positions of a single joint after each step of h seconds, by the law f = kp (target − q') − kd q̇'."""
    q = v = 0.0
    seen = []
    for _ in range(count):
        force = (kp * (target - q) - (kd + kp * h) * v) / (1 + h * (kd + kp * h) / inertia)
        v += h * min(max(force, -effort), effort) / inertia
        q += h * v
        seen.append(q)
    return seen


@pytest.mark.parametrize("case", STIFF)
def test_a_drive_of_any_stiffness_follows_the_implicit_law(case: str, tmp_path: Path) -> None:
    kind, mass, inertia, kp, kd, effort, dt, substeps, target = STIFF[case]
    robot = _ARM.format(kind=kind, mass=mass, inertia=inertia, effort=effort)
    world = World(tmp_path, robot, 1, params=sim_params(dt, substeps, 0.0), ground=False, fix_base_link=True,
                  edit=set_position_drive(kp, kd))
    world.gym.set_dof_position_target_tensor(world.sim, gymtorch.unwrap_tensor(torch.tensor([target])))
    own = mass if kind == "prismatic" else inertia
    right = implicit(own, kp, kd, effort, dt / substeps, target, 60 * substeps)[substeps - 1::substeps]
    seen = []
    for _ in range(60):
        world.step()
        seen.append(float(world.dof[0, 0, 0]))
    assert seen == pytest.approx(right, abs=0.03 * target if case == "a leg's joint, which saturates" else 1e-3)
    assert seen[-1] == pytest.approx(target, rel=0.01) and world.sim.bad_worlds == 0


def test_a_stiff_drive_pushes_no_harder_than_its_effort(tmp_path: Path) -> None:
    """200 N lift 5 kg to the target, and leave 25 kg at the lower limit."""
    robot = _ARM.format(kind="prismatic", mass="{mass}", inertia=1e-3, effort=200.0).replace("0 1 0", "0 0 1")
    for mass, lifts in ((25.0, False), (5.0, True)):
        world = World(tmp_path, robot.format(mass=mass), 1, ground=False, fix_base_link=True,
                      params=sim_params(1 / 60, 1), edit=set_position_drive(1e6, 100.0))
        world.gym.set_dof_position_target_tensor(world.sim, gymtorch.unwrap_tensor(torch.tensor([0.5])))
        world.step(120)
        assert float(world.dof[0, 0, 0]) == pytest.approx(0.5 if lifts else -1.0, abs=0.02), mass


def test_stiff_drives_on_all_legs_leave_a_robot_standing_and_its_worlds_apart(tmp_path: Path) -> None:
    """Two environments with different targets: each goes to its own, under load and in contact, on stiff drives."""
    world = World(tmp_path, WALKER, 2, height=0.6, params=sim_params(1 / 60, 2), edit=set_position_drive(1e5, 10.0))
    assert (world.sim.running("test").groups[0].scene.stiff >= 0).all()
    targets = torch.zeros(2, 8)
    targets[1] = 0.1
    world.gym.set_dof_position_target_tensor(world.sim, gymtorch.unwrap_tensor(targets))
    world.step(120)
    assert torch.allclose(world.dof[..., 0], targets, atol=0.02) and world.sim.bad_worlds == 0
    assert (world.root[:, 2] > 0.35).all(), "standing"
    assert world.contact[:, :, 2].sum(dim=1).tolist() == pytest.approx([world.mass * 9.81] * 2, rel=0.02)
