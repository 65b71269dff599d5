"""What a rollout costs besides physics, task and policy: ``python tests/long_glue.py``; one torch thread.

An environment that gives prepared tensors back stands in for the simulator, so that episodes end as often as is asked
for, half of them by a time-out. 4096 robots × 24 steps, with normalisation and statistics; stock SB3 with VecMonitor
and VecNormalize beside it, alternating; medians of processor time. The second table is of callbacks: none, one that
looks at nothing, ones that read rewards, the infos or the rollout at each step.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor
from stable_baselines3.common.vec_env import VecNormalize as StockVecNormalize

from sb3_isaac import PPO, IsaacVecEnv, VecNormalize
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv
from sb3_isaac.rl.algo import ppo

ROBOTS, STEPS, ROUNDS = 4096, 24, 9
DONE_RATES = (0.0, 1 / 100, 1 / 20)


class Prepared(TensorEnv):
    """A TensorEnv whose steps were drawn beforehand."""

    max_steps = 1000

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


class Looks(BaseCallback):
    """A callback that does one thing at each step."""

    def __init__(self, look: Callable[[Any], Any]) -> None:
        super().__init__()
        self._look = look

    def _on_step(self) -> bool:
        self._look(self.locals)
        return True


CALLBACKS: Dict[str, Optional[Callable[[Any], Any]]] = {
    "none": None, "looks at nothing": lambda seen: None, "reads rewards": lambda seen: seen["rewards"].mean(),
    "changes rewards": lambda seen: seen["rewards"].__iadd__(1.0),
    "reads rewards, dones, new_obs": lambda seen: (seen["rewards"].mean(), seen["dones"].any(), seen["new_obs"].max()),
    "reads infos": lambda seen: [info["episode"]["r"] for info in seen["infos"] if "episode" in info],
    "reads the rollout": lambda seen: seen["rollout_buffer"].rewards.mean(),
}


class Rollout:
    """Times ``collect_rollouts`` of one algorithm, less its policy's forward passes."""

    def __init__(self, ours: bool, done_rate: float, look: Optional[Callable[[Any], Any]] = None) -> None:
        env: Any = IsaacVecEnv(Prepared(done_rate))
        env = VecNormalize(env) if ours else StockVecNormalize(VecMonitor(env))
        kwargs: Dict[str, Any] = {"n_steps": STEPS, "batch_size": 8192, "seed": 0, "device": "cpu", "policy_kwargs": {
            "net_arch": [256, 128, 64], "activation_fn": torch.nn.ELU}}
        self.model = (PPO if ours else stable_baselines3.PPO)("MlpPolicy", env, **kwargs)
        self._callback = self.model._setup_learn(10**9, None if look is None else Looks(look))[1]
        self._callback.on_training_start({}, {})
        self.policy_s = 0.0
        if not ours:
            self.model.policy.forward = self._timed(self.model.policy.forward)
        self.model.policy.predict_values = self._timed(self.model.policy.predict_values)

    def _timed(self, function: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            result = function(*args, **kwargs)
            self.policy_s += time.process_time() - start
            return result
        return timed

    def glue_s(self) -> float:
        act, ppo.act = ppo.act, self._timed(ppo.act)
        self.policy_s, start = 0.0, time.process_time()
        self.model.collect_rollouts(self.model.env, self._callback, self.model.rollout_buffer, STEPS)
        whole = time.process_time() - start
        ppo.act = act
        return whole - self.policy_s


def measure(rollouts: Dict[Any, Rollout]) -> Dict[Any, List[float]]:
    """Milliseconds of glue of each, in turn; the first round is left out."""
    times: Dict[Any, List[float]] = {key: [] for key in rollouts}
    for i in range(ROUNDS + 1):
        for key, rollout in rollouts.items():
            glue = 1e3 * rollout.glue_s()
            if i:
                times[key].append(glue)
    return times


def main() -> None:
    torch.set_num_threads(1)
    print(f"rollout glue of {ROBOTS} robots x {STEPS} steps, ms, medians of {ROUNDS} rounds")
    times = measure({(name, rate): Rollout(name == "ours", rate) for rate in DONE_RATES for name in ("ours", "sb3")})
    for (name, rate), values in times.items():
        print(f"{name:<6} done rate {rate:<6.3f} {statistics.median(values):8.1f}")
    ratios = [ended / never for ended, never in zip(times["ours", DONE_RATES[-1]], times["ours", 0.0])]
    print(f"ours at a done rate of 1/20 / at 0: {statistics.median(ratios):.3f}")
    times = measure({(what, name): Rollout(name == "ours", 1 / 100, look)
                     for what, look in CALLBACKS.items() for name in ("ours", "sb3")})
    for what in CALLBACKS:
        ours, stock = (statistics.median(times[what, name]) for name in ("ours", "sb3"))
        print(f"callback that {what:<32} ours {ours:8.1f}   sb3 {stock:8.1f}")


if __name__ == "__main__":
    main()
