"""What two processes of one training do, for test_distributed.py: ``python distributed_program.py FOLDER``.

Started by torchrun or with its variables. What they did is left in the folder, a JSON file for each.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Dict

import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback

from sb3_isaac import PPO, IsaacVecEnv, Step, TensorEnv, VecNormalize
from sb3_isaac.cli.main import main
from sb3_isaac.rl import distributed

ROBOTS, STEPS = 8, 6
TRAIN = ["train", "--env", "IsaacDoublePendulum-v0", "--num-envs", "8", "--seed", "1", "--eval-episodes", "2",
         "-params", "n_steps:8", "batch_size:32", "n_epochs:2"]
PER_ITERATION = 64


class Rows(TensorEnv):
    """Robots that differ by their number among all of them, from `first` on; nothing in it is random."""

    max_steps, device = 4, torch.device("cpu")
    observation_space = spaces.Dict({"policy": spaces.Box(-100.0, 100.0, (3,))})
    action_space = spaces.Box(-1.0, 1.0, (2,))
    logged = ("far",)

    def __init__(self, num_envs: int, first: int = 0) -> None:
        self.num_envs = num_envs
        self.number = torch.arange(first, first + num_envs).float()
        self.reset()

    def _obs(self) -> Dict[str, torch.Tensor]:
        return {"policy": torch.stack((self.x, (self.number + self.t).sin(), 3.0 + self.number * self.t), dim=1)}

    def reset(self, seed: Any = None) -> Dict[str, torch.Tensor]:
        self.x, self.t = self.number.cos(), torch.zeros(self.num_envs)
        return self._obs()

    def step(self, actions: torch.Tensor) -> Step:
        self.x, self.t = self.x + 0.3 * actions.sum(dim=1), self.t + 1
        reward = self.number.sqrt() - self.x.abs()
        over = self.t >= self.max_steps - self.number % 2
        final_obs = self._obs()
        self.x, self.t = torch.where(over, self.number.cos(), self.x), torch.where(over, 0.0, self.t)
        return Step(self._obs(), reward, torch.zeros_like(over), over, final_obs, {"far": self.x.abs() > 1.0})


class Deterministic:
    """Noise by the number of the robot and the order of the calls; minibatches in the order of time."""

    def __init__(self, first: int) -> None:
        self.first, self.calls = first, 0
        self.before = torch.randn_like, torch.randperm

    def __enter__(self) -> None:
        torch.randn_like, torch.randperm = self.noise, torch.arange  # type: ignore[assignment]

    def __exit__(self, *_: Any) -> None:
        torch.randn_like, torch.randperm = self.before  # type: ignore[assignment]

    def noise(self, mean: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        numbers = self.first + torch.arange(len(mean)).unsqueeze(1)
        return (17.0 * numbers + 5.0 * torch.arange(mean.shape[1]) + 3.0 * self.calls).sin()


def learn(ranks: int, rank: int, iterations: int, **options: Any) -> PPO:
    """PPO after some iterations on this rank's part of ``ROBOTS`` robots, in two minibatches."""
    share = ROBOTS // ranks
    env = VecNormalize(IsaacVecEnv(Rows(share, first=rank * share)))
    model = PPO("MlpPolicy", env, n_steps=STEPS, batch_size=STEPS * share // 2, n_epochs=3, seed=7 + rank, device="cpu",
                policy_kwargs={"net_arch": [16]}, **options)
    with Deterministic(rank * share):
        model.learn(iterations * ROBOTS * STEPS)
    return model


def numbers_of(model: PPO) -> Dict[str, Any]:
    """What has to be the same of one process and of several."""
    env: Any = model.get_env()
    logged = {key: value for key, value in model.logger.name_to_value.items()
              if key.split("/")[0] in ("train", "rollout")}
    return {"parameters": torch.cat([p.detach().flatten() for p in model.policy.parameters()]).tolist(),
            "obs_mean": env.obs_rms.mean.tolist(), "obs_var": env.obs_rms.var.tolist(), "count": env.obs_rms.count,
            "ret_var": float(env.ret_rms.var), "steps": model.num_timesteps, "updates": model._n_updates,
            "episodes": list(model.ep_info_buffer or ()), "far": env.venv.statistics.read()["rollout/far"],
            "logged": logged}


class At(BaseCallback):
    """Does something on rank 1 alone, at a call of it."""

    def __init__(self, what: str, call: int) -> None:
        super().__init__()
        self.what, self.call = what, call

    def _on_step(self) -> bool:
        if distributed.rank() == 1 and self.n_calls == self.call:
            if self.what == "stop":
                return False
            if self.what == "die":
                os._exit(9)
            signal.raise_signal(signal.SIGTERM)
        return True


def command(*arguments: str) -> Dict[str, Any]:
    """A command's exit code and what it printed as errors."""
    errors, handle = io.StringIO(), signal.getsignal(signal.SIGTERM)
    with contextlib.redirect_stderr(errors):
        try:
            code = main(list(arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
    signal.signal(signal.SIGTERM, handle)
    return {"code": code, "errors": errors.getvalue()}


def run(folder: Path) -> Dict[str, Any]:
    """Everything, in the order in which both processes do it; the last ends rank 1."""
    rank, done = distributed.rank(), {}
    done["rank"] = rank
    done["equal"] = numbers_of(learn(2, rank, 1))
    done["equal later"] = numbers_of(learn(2, rank, 3, desired_kl=0.01))
    done["kl"] = numbers_of(learn(2, rank, 1, target_kl=1e-7))
    done["stop"] = learn_until(At("stop", 4))
    packages = ["--gym-packages", "distributed_program", "-f", str(folder)]
    whole, half = (["-n", str(n * PER_ITERATION)] for n in (4, 2))
    done["whole"] = command(*TRAIN, *packages, *whole)
    done["half"] = command(*TRAIN, *packages, *half)
    done["resumed"] = command("train", "-i", str(folder / "ppo/IsaacDoublePendulum-v0_2"), *whole)
    done["other seed"] = command(*TRAIN, *packages, "--seed", str(rank))
    done["odd"] = command(*TRAIN, *packages, "--num-envs", "7")
    done["signal"] = command(*TRAIN, at("signal", 20), *packages, *whole)
    (folder / f"{rank}.json").write_text(json.dumps(done))
    done["dies"] = command(*TRAIN, at("die", 20), *packages, *whole, "--save-freq", str(PER_ITERATION))
    return done


def at(what: str, call: int) -> str:
    return f"callback:[{{'distributed_program.At': {{'what': '{what}', 'call': {call}}}}}]"


def learn_until(callback: BaseCallback) -> int:
    """Transitions that both ranks had behind them when the callback of one of them ended training."""
    env = IsaacVecEnv(Rows(4))
    return int(PPO("MlpPolicy", env, n_steps=STEPS, batch_size=12, device="cpu").learn(
        1000, callback=callback).num_timesteps)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    torch.set_num_threads(1)
    with distributed.joined():
        target = Path(sys.argv[1])
        done = run(target)
        (target / f"{distributed.rank()}.json").write_text(json.dumps(done))
        os._exit(0)  # the other rank is gone, and the group cannot be left in order
