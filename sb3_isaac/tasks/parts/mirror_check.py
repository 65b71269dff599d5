"""A robot's mirror images put to the test: what it does in the mirror, step by step."""

from __future__ import annotations

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.robots import Robot
from sb3_isaac.sim import make_simulator
from sb3_isaac.tasks.parts.mirror import EVERYWHERE

STEPS = 10
MOST_DIFFERENCE = 0.05
"""Largest difference after STEPS, of what the joints moved; the shipped robots, whose inertias are those of real ones
and not quite symmetric, differ by 0.002."""


def check_robot_mirror(robot: Robot, joints: Mirror) -> None:
    """Simulate a robot and its mirror image for 0.2 s of random targets, and compare.

    :raises UserError: where they part, so that `joints` is not how the robot mirrors: its masses, say, or its drives.
    """
    sim = make_simulator("mujoco", robot, 2, device="cpu", threads=1)
    generator = torch.Generator().manual_seed(0)

    def both(size: float, mirror: Mirror) -> torch.Tensor:
        x = size * (2.0 * torch.rand(len(mirror.source), generator=generator) - 1.0)
        return torch.stack((x, mirror.of(x)))

    try:
        pose = torch.tensor(robot.default_joint_pos)
        start = pose + both(0.1, joints)
        sim.reset(torch.ones(2, dtype=torch.bool), torch.tensor([[0.0, 0.0, robot.base_height_m]] * 2),
                  torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 2), both(0.2, EVERYWHERE["vector"]),
                  both(0.2, EVERYWHERE["axial"]), start, both(0.5, joints))
        rest, scale = torch.tensor(robot.rest_target), torch.tensor(robot.target_scale)
        for _ in range(STEPS):
            sim.step(rest + scale * both(0.3, joints))
        end = sim.state.joint_pos
        missed = float((joints.of(end[0]) - end[1]).abs().max() / (end - start).abs().max())
    finally:
        sim.close()
    if not missed <= MOST_DIFFERENCE:
        raise UserError(f"robot {robot.name!r} is not symmetric: its mirror image, driven in the same way, moves "
                        f"differently by {missed:.0%} after {STEPS} steps; mend its model, or train without symmetry.")
