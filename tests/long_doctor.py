"""The Doctor's findings in real trainings, each spoilt in one way: ``python tests/long_doctor.py [NAME ...]``; minutes.

A line for each: what was meant to be found, and what was.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, Tuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import CallbackList

from sb3_isaac import PPO, Doctor, IsaacVecEnv, Step, TensorEnv, VecNormalize
from sb3_isaac.rl.callbacks.training_log import TrainingLog


class Sled(TensorEnv):
    """A sled on a rail is paid for its speed, and falls off 2 m from the middle: it lunges."""

    control_dt, max_steps = 0.05, 500
    observation_space = spaces.Dict({"policy": spaces.Box(-np.inf, np.inf, (2,), np.float32)})
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, num_envs: int, penalty: float = 0.0, bad: float = 0.0) -> None:
        self.num_envs, self.device, self.penalty, self.bad = num_envs, torch.device("cpu"), penalty, bad

    def reset(self, seed: Any = None) -> Dict[str, torch.Tensor]:
        self.state, self.steps = torch.zeros(self.num_envs, 2), torch.zeros(self.num_envs)
        return {"policy": self.state.clone()}

    def step(self, actions: torch.Tensor) -> Step:
        position, speed = self.state.unbind(dim=1)
        speed = speed + 5.0 * self.control_dt * actions[:, 0].clamp(-1.0, 1.0)
        self.state, self.steps = torch.stack((position + self.control_dt * speed, speed), dim=1), self.steps + 1
        bad = torch.rand(self.num_envs) < self.bad
        terminated = (self.state[:, 0].abs() > 2.0) | bad
        truncated = (self.steps >= self.max_steps) & ~terminated
        final, over = self.state, terminated | truncated
        self.state = torch.where(over[:, None], 0.1 * torch.randn(self.num_envs, 2), self.state)
        self.steps = self.steps.masked_fill(over, 0.0)
        alive = torch.full_like(speed, 0.2)
        terms = {"reward/speed": speed, "reward/alive": alive, "reward/penalty": -self.penalty * torch.ones_like(speed)}
        reward = sum(terms.values(), torch.zeros_like(speed)).masked_fill(bad, 0.0)
        return Step({"policy": self.state.clone()}, reward, terminated, truncated, {"policy": final},
                    {**terms, "bad_world": bad})


def sled(**kwargs: float) -> Callable[[], IsaacVecEnv]:
    return lambda: IsaacVecEnv(Sled(64, **kwargs))


def pendulum(**kwargs: Any) -> Callable[[], IsaacVecEnv]:
    return lambda: IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=64, seed=0, **kwargs)


CASES: Dict[str, Tuple[Callable[[], IsaacVecEnv], int, Dict[str, Any]]] = {
    "(healthy)": (pendulum(), 60, {}),
    "reward_is_zero": (pendulum(reward={"height": 0.0, "effort": 0.0}), 22, {}),
    "no_exploration": (pendulum(), 12, {"policy_kwargs": {"log_std_init": -6.0}}),
    "steps_too_long": (pendulum(), 20, {"learning_rate": 0.05}),
    "no_steps": (pendulum(), 22, {"learning_rate": 1e-12}),
    "ends_at_once": (pendulum(episode_length_s=20.0), 80, {"learning_rate": 1e-12, "n_epochs": 1}),
    "critic_is_lost": (pendulum(), 40, {"learning_rate": 0.3, "max_grad_norm": 1e9}),
    "collapse": (pendulum(), 90, {"learning_rate": lambda left: 1e-3 if left > 0.55 else 0.03}),
    "lunges": (sled(), 70, {}),
    "one_term_dominates": (sled(penalty=20.0), 25, {}),
    "worlds_diverge": (sled(bad=0.01), 12, {}),
}


def main() -> None:
    for name, (make, iterations, changes) in CASES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        settings: Dict[str, Any] = {"n_steps": 16, "batch_size": 256, "n_epochs": 5, "learning_rate": 1e-3,
                                    "gamma": 0.98, "seed": 0, "device": "cpu", **changes}
        doctor = Doctor()
        model = PPO("MlpPolicy", VecNormalize(make()), **settings)
        ended = ""
        try:
            model.learn(64 * 16 * iterations, callback=CallbackList([TrainingLog(), doctor]))
        except ValueError as error:
            ended = f"; ended by {error}"
        print(f"{name:<20} found {', '.join(doctor.findings) or 'nothing'}{ended}", flush=True)


if __name__ == "__main__":
    main()
