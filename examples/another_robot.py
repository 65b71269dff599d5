"""The same task on another robot: a registered one by name, or one of your own.

`python examples/another_robot.py` lets both stand for two seconds. To train: `sb3-isaac train --env-kwargs
robot:anymal`, `robot:my_robot.xml`, or pass a `Robot` to `IsaacVecEnv(..., robot=...)`; see docs/robots.md.
"""

from dataclasses import replace

import torch

from sb3_isaac import IsaacVecEnv
from sb3_isaac.robots import get_robot

stiffer = replace(get_robot("quadruped"), name="stiffer", kp=40.0, kd=1.0, action_scale_rad=0.5)
for robot in ("anymal", stiffer):
    env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=16, robot=robot, stagger=False)
    env.reset_tensor()
    for _ in range(100):
        step = env.step_tensor(torch.zeros(16, 12))
    name = robot if isinstance(robot, str) else robot.name
    mass, height = env.env.metadata()["weight_n"] / 9.81, step.log["trunk_height_m"].mean()
    feet = int(step.log["foot_contact"].sum())
    print(f"{name}: {mass:.1f} kg, trunk at {height:.2f} m, {feet} of 64 feet on the ground")
    env.close()
