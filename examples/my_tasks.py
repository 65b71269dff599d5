"""Tasks and terms of one's own, in a file outside the package. From the folder of this file:

    sb3-isaac train --gym-packages my_tasks --env MyCart-v0
    sb3-isaac train --gym-packages my_tasks --env MyHop-v0
    sb3-isaac train --gym-packages my_tasks --env-kwargs "reward.jump:[0.3,'my_tasks.jump']"

and `train -i RUN`, eval, play, tune and bench likewise. `check_tensor_env` of `sb3_isaac.testing` says what is wrong
with a task. `docs/own_task.md` explains each part.
"""

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac import Step, StopRule, TensorEnv, register_task
from sb3_isaac.tasks.parts.command import Axis
from sb3_isaac.tasks.parts.terms import Term
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat


class Cart(TensorEnv):
    """A whole task: a cart on a rail is pushed back to the middle."""

    control_dt, max_steps = 0.05, 100
    observation_space = spaces.Dict({"policy": spaces.Box(-np.inf, np.inf, (2,), np.float32)})
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    stop_rule = StopRule({"reward_mean": (85.0, 100.0)}, goal="it stays in the middle")

    def __init__(self, num_envs=1):
        self.num_envs, self.device = num_envs, torch.device("cpu")

    def reset(self, seed=None):
        if seed is not None:
            torch.manual_seed(seed)
        self.state, self.steps = torch.rand(self.num_envs, 2) - 0.5, torch.zeros(self.num_envs)
        return self.observe()

    def observe(self):
        return {"policy": self.state.clone()}

    def step(self, actions):
        position, speed = self.state.unbind(dim=1)
        speed = speed + self.control_dt * torch.nan_to_num(actions[:, 0]).clamp(-1, 1) * 4
        self.state, self.steps = torch.stack((position + self.control_dt * speed, speed), dim=1), self.steps + 1
        reward, final_obs = torch.exp(-4 * self.state[:, 0] ** 2), self.observe()
        terminated = self.state[:, 0].abs() > 2
        truncated = (self.steps >= self.max_steps) & ~terminated
        over = terminated | truncated
        self.state = torch.where(over[:, None], torch.rand(self.num_envs, 2) - 0.5, self.state)
        self.steps = torch.where(over, 0.0, self.steps)
        return Step(self.observe(), reward, terminated, truncated, final_obs, {})


def jump(f):
    """A reward term, (N,): all feet in the air."""
    return (~f.foot_contact).all(dim=1).float()


def foot_height(f):
    """An observation: how high each foot is above its stance, (N, 4) m."""
    return f.foot_clearance


def upside_down(f):
    """A termination, (N,) bool."""
    return f.gravity_b[:, 2] > 0


HEIGHT = Axis(0.20, 0.34)
"""A command axis: trunk height in m."""


class Hop(QuadrupedFlat):
    """A task made of another's tables: hop forward, at a height that is told."""

    COMMAND = {**QuadrupedFlat.COMMAND, "height_m": HEIGHT}
    OBSERVATION = {**QuadrupedFlat.OBSERVATION,
                   "policy": {**QuadrupedFlat.OBSERVATION["policy"], "foot_height": foot_height}}
    TERMINATION = {**QuadrupedFlat.TERMINATION, "upside_down": upside_down}
    REWARD = {**QuadrupedFlat.REWARD, "jump": Term(0.3, jump), "trot": Term(0.0, jump),
              "height": Term(-2.0, lambda f: (f.trunk_height - f.command[:, 2]).square())}
    stop_rule = StopRule({"reward_mean": (200.0, 1000.0), "falls_fraction": (0.0, 0.05)}, goal="it hops")


register_task("MyCart-v0", "my_tasks:Cart")
register_task("MyHop-v0", "my_tasks:Hop")
