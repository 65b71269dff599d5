"""What a rollout costs besides physics, task and policy: ``python tests/long_glue.py``; one torch thread.

An environment that gives prepared tensors back stands in for the simulator, so that episodes end as often as is asked
for, half of them by a time-out. 4096 robots × 24 steps, with normalisation and statistics; stock SB3 with VecMonitor
and VecNormalize beside it, alternating; medians.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Dict, List, Mapping, Optional

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor
from stable_baselines3.common.vec_env import VecNormalize as StockVecNormalize

from sb3_isaac import PPO, IsaacVecEnv, VecNormalize
from sb3_isaac.contract.tensor_env import Obs, Step
from sb3_isaac.rl.algo import ppo

ROBOTS, STEPS, ROUNDS = 4096, 24, 9
DONE_RATES = (0.0, 1 / 100, 1 / 20)


class Prepared:
    """A TensorEnv whose steps were drawn beforehand."""

    render_mode: Optional[str] = None
    physics_s = 0.0

    def __init__(self, done_rate: float) -> None:
        self.num_envs, self.device = ROBOTS, torch.device("cpu")
        self.observation_space = spaces.Dict({"policy": spaces.Box(-np.inf, np.inf, (44,), np.float32)})
        self.action_space: spaces.Space = spaces.Box(-1.0, 1.0, (12,), np.float32)
        self._steps = [self._draw(done_rate) for _ in range(STEPS)]
        self._next = 0

    def _draw(self, done_rate: float) -> Step:
        over, timed_out = torch.rand(ROBOTS) < done_rate, torch.rand(ROBOTS) < 0.5
        log = {f"reward/{i}": torch.randn(ROBOTS) for i in range(11)}
        log.update(bad_world=torch.zeros(ROBOTS, dtype=torch.bool), fall=over & ~timed_out,
                   forward_speed=torch.randn(ROBOTS))
        return Step({"policy": torch.randn(ROBOTS, 44)}, torch.randn(ROBOTS), over & ~timed_out, over & timed_out,
                    {"policy": torch.randn(ROBOTS, 44)}, log)

    def reset(self, seed: Optional[int] = None) -> Obs:
        return self._steps[0].obs

    def step(self, actions: torch.Tensor) -> Step:
        self._next = (self._next + 1) % STEPS
        return self._steps[self._next]

    def metadata(self) -> Dict[str, Any]:
        return {}

    def render(self) -> Any:
        return None

    def state_dict(self) -> Dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


class Quiet(BaseCallback):
    """A callback that only lets the rollout go on."""

    def _on_step(self) -> bool:
        return True


class Rollout:
    """Times ``collect_rollouts`` of one algorithm, less its policy's forward passes."""

    def __init__(self, ours: bool, done_rate: float) -> None:
        env: Any = IsaacVecEnv(Prepared(done_rate))
        env = VecNormalize(env) if ours else StockVecNormalize(VecMonitor(env))
        kwargs: Dict[str, Any] = {"n_steps": STEPS, "batch_size": 8192, "seed": 0, "device": "cpu", "policy_kwargs": {
            "net_arch": [256, 128, 64], "activation_fn": torch.nn.ELU}}
        self.model = (PPO if ours else stable_baselines3.PPO)("MlpPolicy", env, **kwargs)
        self._callback = self.model._setup_learn(10**9, Quiet())[1]
        self.policy_s = 0.0
        if not ours:
            self.model.policy.forward = self._timed(self.model.policy.forward)
        self.model.policy.predict_values = self._timed(self.model.policy.predict_values)

    def _timed(self, function: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.policy_s += time.perf_counter() - start
            return result
        return timed

    def glue_s(self) -> float:
        act, ppo.act = ppo.act, self._timed(ppo.act)
        self.policy_s, start = 0.0, time.perf_counter()
        self.model.collect_rollouts(self.model.env, self._callback, self.model.rollout_buffer, STEPS)
        whole = time.perf_counter() - start
        ppo.act = act
        return whole - self.policy_s


def main() -> None:
    torch.set_num_threads(1)
    rollouts = {(name, rate): Rollout(name == "ours", rate) for rate in DONE_RATES for name in ("ours", "sb3")}
    seconds: Dict[Any, List[float]] = {key: [] for key in rollouts}
    for i in range(ROUNDS + 1):
        for key, rollout in rollouts.items():
            glue = rollout.glue_s()
            if i:
                seconds[key].append(glue)
    print(f"rollout glue of {ROBOTS} robots x {STEPS} steps, medians of {ROUNDS} rounds")
    for (name, rate), values in seconds.items():
        print(f"{name:<6} done rate {rate:<6.3f} {1e3 * statistics.median(values):8.1f} ms")
    ratios = [ended / never for ended, never in zip(seconds["ours", DONE_RATES[-1]], seconds["ours", 0.0])]
    print(f"ours at a done rate of 1/20 / at 0: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
