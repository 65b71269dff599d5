"""Physics steps per second of the Warp engine alone, beside mujoco_warp's own benchmark of the same model.

    python tests/gpu_engine.py                                                  on a GPU
    python tests/gpu_engine.py --device cpu --num-envs 8 --steps 4              that the script works

A line for each number of robots: steps launched as the engine does, with a reset of 1 robot in 100 after each control
step of 2 (as in training), and ``mjwarp-testspeed`` with the same sizes. Times are of the GPU's events, medians of
rounds; the robots are the shipped quadruped, standing on a plane, under targets that move.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List, Optional

import mujoco
import torch

from sb3_isaac.contract.device_timer import DeviceTimer
from sb3_isaac.engine.warp import WarpEngine
from sb3_isaac.robots import get_robot
from sb3_isaac.sim.scene import compose_scene

ROBOT, PHYSICS_DT, ROUNDS = get_robot("quadruped"), 0.01, 3


def rates(model: mujoco.MjModel, num_envs: int, device: str, steps: int) -> List[float]:
    """Physics steps of one robot per second: [alone, with resets]."""
    engine = WarpEngine(model, num_envs, device=device)
    qpos, qvel = engine.field("qpos").clone(), engine.field("qvel").clone()
    qpos[:, 2], qpos[:, 7:] = ROBOT.base_height_m, torch.tensor(ROBOT.default_joint_pos)
    everyone = torch.ones(num_envs, dtype=torch.bool, device=engine.device)
    few, found = torch.rand(num_envs, device=engine.device) < 0.01, []
    targets = qpos[:, 7:] + 0.15 * torch.rand(8, num_envs, len(ROBOT.joints), device=engine.device)
    for resets in (False, True):
        engine.reset(everyone, qpos, qvel)
        engine.step(targets[0], 2)  # captures
        times = []
        for _ in range(ROUNDS):
            timer = DeviceTimer(engine.device)
            with timer:
                for k in range(steps):
                    engine.step(targets[k % 8], 2)
                    if resets:
                        engine.reset(few, qpos, qvel)
            times.append(timer.seconds)
        found.append(2 * steps * num_envs / statistics.median(times))
    assert not engine.diverged.any() and not any(engine.warnings().values())
    engine.close()
    return found


def testspeed(model: mujoco.MjModel, num_envs: int, device: str, steps: int) -> Optional[float]:
    """Steps per second by mujoco_warp's own benchmark, which runs on GPUs alone."""
    if not device.startswith("cuda"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.mjb"
        mujoco.mj_saveModel(model, str(path))
        command = [sys.executable, "-m", "mujoco_warp.testspeed", str(path), f"--nworld={num_envs}",
                   f"--nstep={2 * steps}", "--nconmax=24", "--njmax=64", f"--device={device}", "--keyframe=-1",
                   "--overflow_behavior=continue"]  # of line search iterations, which its own random controls provoke
        out = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"steps per second:\s*([\d,.]+)", out.stdout, re.IGNORECASE)
    if found is None:
        print(out.stdout[-2000:], out.stderr[-2000:])
        return None
    return float(found[1].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--num-envs", default="4096,8192,16384")
    parser.add_argument("--steps", type=int, default=200, help="control steps of a round")
    args = parser.parse_args()
    model = compose_scene(ROBOT, PHYSICS_DT)
    card = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else "CPU, of no meaning for a GPU"
    print(f"{card}; physics steps of one robot per second ({PHYSICS_DT} s each, pyramidal cone)")
    for num_envs in map(int, args.num_envs.split(",")):
        alone, with_resets = rates(model, num_envs, args.device, args.steps)
        theirs = testspeed(model, num_envs, args.device, args.steps)
        print(f"{num_envs:>7} robots: engine {alone:>12,.0f}   with resets {with_resets:>12,.0f}   "
              f"mjwarp-testspeed {theirs or float('nan'):>12,.0f}", flush=True)


if __name__ == "__main__":
    main()
