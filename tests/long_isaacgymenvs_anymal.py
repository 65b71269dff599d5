"""A policy that IsaacGymEnvs' own ``train.py`` made of its task Anymal on the emulation: does it walk where it is told?

    sb3-isaac run --legacy-numpy --cuda-to-cpu tests/long_isaacgymenvs_anymal.py CHECKPOINT [--seconds 20]

CHECKPOINT is rl_games' ``runs/Anymal_*/nn/*.pth``; a checkout of IsaacGymEnvs and what it needs are on PYTHONPATH.
Eight robots under each of eight commands act by the mean of the policy; from second 5 on velocities are averaged.
"""

from __future__ import annotations

import argparse
import os
from typing import Any, Dict

import isaacgym  # isort: skip
import isaacgymenvs
import torch
from hydra import compose, initialize_config_dir

COMMANDS = ((0.5, 0.0, 0.0), (1.0, 0.0, 0.0), (-0.5, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, -0.4, 0.0), (0.0, 0.0, 0.5),
            (0.5, 0.0, -0.5), (0.0, 0.0, 0.0))
"""(forward m/s, left m/s, yaw rad/s)"""
EACH = 8


def mean_action(model: Dict[str, torch.Tensor], observations: torch.Tensor) -> torch.Tensor:
    """rl_games' network: normalised observations, three layers with ELU, the mean of the actions."""
    mean, var = model["running_mean_std.running_mean"], model["running_mean_std.running_var"]
    x = ((observations - mean.float()) / (var.float() + 1e-5).sqrt()).clamp(-5.0, 5.0)
    for layer in (0, 2, 4):
        x = torch.nn.functional.elu(torch.nn.functional.linear(x, model[f"a2c_network.actor_mlp.{layer}.weight"],
                                                               model[f"a2c_network.actor_mlp.{layer}.bias"]))
    action = torch.nn.functional.linear(x, model["a2c_network.mu.weight"], model["a2c_network.mu.bias"])
    return action.clamp(-1.0, 1.0)


def make_env(count: int) -> Any:
    config = os.path.join(os.path.dirname(isaacgymenvs.__file__), "cfg")
    with initialize_config_dir(config, version_base="1.1"):
        cfg = compose("config", overrides=["task=Anymal", f"num_envs={count}", "headless=True", "sim_device=cpu",
                                           "rl_device=cpu", "pipeline=cpu"])
        return isaacgymenvs.make(0, "Anymal", count, "cpu", "cpu", -1, True, False, False, False, cfg)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    model = torch.load(args.checkpoint, weights_only=False, map_location="cpu")["model"]
    commands = torch.tensor(COMMANDS).repeat_interleave(EACH, dim=0)
    env = make_env(len(commands))
    falls, sums, samples = torch.zeros(len(commands)), torch.zeros_like(commands), 0
    rewards = torch.zeros(len(commands))
    with torch.no_grad():
        for step in range(round(args.seconds / env.dt)):
            env.commands[:] = commands
            env.compute_observations()
            _, reward, done, _ = env.step(mean_action(model, env.obs_buf.clamp(-5.0, 5.0)))
            falls += done
            rewards += reward
            if step * env.dt >= 5.0:
                quat = env.root_states[:, 3:7]
                turn, move = (isaacgym.torch_utils.quat_rotate_inverse(quat, env.root_states[:, part])
                              for part in (slice(10, 13), slice(7, 10)))
                sums += torch.cat([move[:, :2], turn[:, 2:]], dim=1)
                samples += 1
    mean = (sums / samples).view(len(COMMANDS), EACH, 3).mean(dim=1)
    for command, got, fell in zip(COMMANDS, mean.tolist(), falls.view(-1, EACH).sum(dim=1).tolist()):
        print(f"command {command}: mean {tuple(round(v, 3) for v in got)}, {fell:.0f} falls of {EACH} robots")
    print(f"{falls.sum():.0f} falls; reward {rewards.mean():.2f} of at most "
          f"{1.5 * args.seconds:g} in {args.seconds:g} s")


if __name__ == "__main__":
    main()
