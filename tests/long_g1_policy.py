"""Unitree's shipped policies, trained in NVIDIA's Isaac Gym, in their own tasks on the emulation.

    python tests/long_g1_policy.py UNITREE_RL_GYM [--robot g1|h1|h1_2] [--seconds 20]
                                   [--control right|siblings|quaternion]

UNITREE_RL_GYM is a checkout of github.com/unitreerobotics/unitree_rl_gym; rsl_rl v1.0.2 must be importable. Eight
robots walk under eight commands. ``right`` must not fall and must track within 0.15 m/s and 0.15 rad/s; with the two
deliberate mistakes, siblings in the wrong order or quaternions as wxyz, the same test fails. Without ``--control`` all
three run, each in a process of its own. On one core 20 s take about a minute.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMANDS = ((0.5, 0.0, 0.0), (1.0, 0.0, 0.0), (-0.5, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, -0.4, 0.0), (0.0, 0.0, 0.5),
            (0.5, 0.0, -0.5), (0.0, 0.0, 0.0))
"""(forward m/s, left m/s, yaw rad/s)"""
TOLERANCE = 0.15


def make_mistake(control: str) -> None:
    """Break one convention, to show that the test would notice."""
    from sb3_isaac.gymcompat.model import urdf
    from sb3_isaac.gymcompat.runtime.states import States

    if control == "siblings":
        urdf.sibling_order = lambda joint: "".join(chr(0x10FFFF - ord(c)) for c in joint.name)
    if control == "quaternion":
        right = States._read_roots

        def wrong(self: States, out: Any) -> None:
            right(self, out)
            out[..., 3:7] = out[..., [6, 3, 4, 5]]

        States._read_roots = wrong


def make_env(robot: str, num_envs: int) -> Any:
    """The robot's task with what its play script switches off, and commands that stay."""
    from legged_gym.envs import task_registry  # registers the tasks
    from legged_gym.utils import get_args

    args = get_args()
    config, _ = task_registry.get_cfgs(name=robot)
    config.env.num_envs, config.env.episode_length_s, config.env.test = num_envs, 1e4, True
    config.noise.add_noise = False
    config.domain_rand.randomize_friction = config.domain_rand.push_robots = False
    config.domain_rand.randomize_base_mass = False
    config.commands.heading_command, config.commands.resampling_time = False, 1e6
    return task_registry.make_env(name=robot, args=args, env_cfg=config)[0]


def walk(root: Path, robot: str, seconds: float) -> bool:
    """Whether all eight walked as told."""
    import torch

    env = make_env(robot, len(COMMANDS))
    policy = torch.jit.load(str(root / f"deploy/pre_train/{robot}/motion.pt"))
    for name in ("hidden_state", "cell_state"):
        setattr(policy, name, torch.zeros(1, len(COMMANDS), getattr(policy, name).shape[-1]))
    commands = torch.tensor(COMMANDS)
    falls = torch.zeros(len(COMMANDS), dtype=torch.long)
    sums, samples = torch.zeros_like(commands), 0
    env.reset()
    env.commands[:, :3] = commands
    env.compute_observations()
    obs = env.get_observations()
    with torch.no_grad():
        for step in range(round(seconds / env.dt)):
            obs, _, _, done, _ = env.step(policy(obs))
            env.commands[:, :3] = commands
            falls += done.long()
            if step * env.dt >= 5.0:
                sums += torch.cat([env.base_lin_vel[:, :2], env.base_ang_vel[:, 2:]], dim=1)
                samples += 1
    mean = sums / max(samples, 1)
    error = torch.stack([(mean - commands)[:, :2].norm(dim=1), (mean - commands)[:, 2].abs()], dim=1)
    for command, got, fell, err in zip(COMMANDS, mean.tolist(), falls.tolist(), error.tolist()):
        print(f"command {command}: mean {tuple(round(v, 3) for v in got)}, falls {fell}, "
              f"errors {err[0]:.3f} m/s {err[1]:.3f} rad/s")
    print(f"{int(falls.sum())} falls, largest errors {float(error[:, 0].max()):.3f} m/s "
          f"and {float(error[:, 1].max()):.3f} rad/s after 5 s of {seconds:g} s")
    return int(falls.sum()) == 0 and float(error.max()) < TOLERANCE


def main() -> int:
    """0 if the right conventions pass and the wrong ones fail."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--robot", choices=("g1", "h1", "h1_2"), default="g1")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--control", choices=("right", "siblings", "quaternion"))
    args = parser.parse_args()
    if args.control is None:
        results = {}
        for control in ("right", "siblings", "quaternion"):
            print(f"== {control}", flush=True)
            command = [sys.executable, __file__, str(args.root), "--robot", args.robot, "--seconds", str(args.seconds),
                       "--control", control]
            results[control] = subprocess.run(command, check=False).returncode == 0
        print(results)
        return 0 if results == {"right": True, "siblings": False, "quaternion": False} else 1
    from sb3_isaac.gymcompat.install import install

    install("mujoco", cuda_to_cpu=True)
    make_mistake(args.control)
    sys.path.insert(0, str(args.root))
    sys.argv = [sys.argv[0], "--headless", "--sim_device", "cpu", "--rl_device", "cpu"]
    return 0 if walk(args.root, args.robot, args.seconds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
