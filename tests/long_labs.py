"""The adapters for mjlab and IsaacGymEnvs, on the real packages: the contract of a TensorEnv, for each task.

    python tests/long_labs.py mjlab:Mjlab-Velocity-Flat-Unitree-Go1 [--num-envs 4]
    python tests/long_labs.py isaacgymenvs:Ant isaacgymenvs:Humanoid isaacgymenvs:ShadowHand ... [--num-envs 8]

mjlab (1.6.0) pins an older MuJoCo and needs an environment of its own: pip install mjlab stable-baselines3 gymnasium
matplotlib PyYAML tqdm tensorboard, and this package on PYTHONPATH. Its kernels compile for minutes at the first start.
IsaacGymEnvs, hydra-core, omegaconf, rl-games and gym 0.23 are found on PYTHONPATH. Episodes are cut to --steps.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from sb3_isaac.clients import make_tensor_env
from sb3_isaac.testing import ContractError, check_tensor_env


def check(env_id: str, num_envs: int, steps: int) -> str:
    """What came of one task, in a line or several."""
    env: Any = make_tensor_env(env_id, num_envs, seed=0)
    if env_id.startswith("mjlab"):
        env.base.cfg.episode_length_s = steps * env.control_dt
    else:
        env.client.max_episode_length = steps
    env.max_steps = steps
    groups = {name: space.shape for name, space in env.observation_space.spaces.items()}
    start = time.perf_counter()
    env.reset(seed=0)
    for _ in range(5):
        env.step(torch.zeros(num_envs, *(env.action_space.shape or ()), device=env.device))
    took = (time.perf_counter() - start) / 5
    try:
        check_tensor_env(env)
        result = "the contract holds"
    except ContractError as error:
        result = f"BROKEN: {error}"
    env.close()
    return f"{groups}, {env.control_dt:.4f} s a step, which took {took * 1e3:.0f} ms; {result}"


def main() -> int:
    """0 if all tasks hold the contract."""
    parser = argparse.ArgumentParser()
    parser.add_argument("env", nargs="+")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    broken = 0
    for env_id in args.env:
        try:
            result = check(env_id, args.num_envs, args.steps)
        except Exception as error:
            result = f"BROKEN: {type(error).__name__}: {error}"
        broken += "BROKEN" in result
        print(f"{env_id}: {result}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
