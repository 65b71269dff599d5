"""A user's program as type checkers see it: mypy reads this file, and nobody runs it.

A line with ``type: ignore`` has a mistake that has to be found; one that is not needed is an error as well.
"""

from __future__ import annotations

from typing import List

import numpy as np
import torch

from sb3_isaac import PPO, IsaacVecEnv, Robot, Step, TensorEnv, VecNormalize, load_policy

env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=16, robot="anymal", reward={"energy": -1e-3}, stagger=False)
rough = IsaacVecEnv("IsaacQuadrupedRough-v0", terrain={"levels": 3}, scan=True, sim="mujoco")
mine = IsaacVecEnv("MyTask-v0", num_envs=16, option_of_mine=3)
step: Step = env.step_tensor(torch.zeros(16, 12))
rewards: torch.Tensor = step.reward
task: TensorEnv = env.env

model = PPO("MlpPolicy", VecNormalize(env), learning_rate=1e-3, n_steps=24, desired_kl=0.02, symmetry="auto")
wrong = PPO("MlpPolicy", env, n_step=24)  # type: ignore[call-arg]
other = PPO("MlpPolicy", env, n_steps="24")  # type: ignore[arg-type]
robot = Robot.from_file("robot.xml", kp=30.0)
names: List[str] = list(robot.joints)
actions: torch.Tensor = load_policy("run")(torch.zeros(1, 44))
predicted: np.ndarray = model.predict(np.zeros(44))[0]
