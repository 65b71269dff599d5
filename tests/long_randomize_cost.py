"""What randomisation costs of a step of many walking robots: ``python tests/long_randomize_cost.py [N] [ROUNDS]``.

Tasks with and without it take steps by turns in one process, driven by the policy that is in the package. What is
drawn has no effect, so that all robots move alike: its ranges are narrowed to a billionth around what changes nothing
once the task is made, with buffers for the true ranges. Printed are medians of the processor time of all threads.
Give it a core of its own: two minutes there.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any, Dict, List

import torch

from sb3_isaac import load_policy
from sb3_isaac.policy.module import PolicyModule
from sb3_isaac.tasks import make_task

ENV, WALKING_STEPS = "IsaacQuadrupedFlat-v0", 25
FIELDS: Dict[str, Any] = {
    "payload_kg": [-3, 3], "mass": [0.95, 1.05], "com": [-0.02, 0.02], "friction": [0.4, 1.25], "kp": [0.9, 1.1],
    "kd": [0.9, 1.1], "motor_strength": [0.9, 1.1], "armature": [0.8, 1.2]}
SENSORS: Dict[str, Any] = {
    "obs_latency_s": [0.0, 0.03], "joint_offset": [-0.02, 0.02], "push": {"range": [0.0, 0.5], "interval_s": 5.0},
    "obs_noise": {"joint_pos": 0.01, "joint_vel": 1.5, "imu_ang_vel_b": 0.2, "imu_gravity_b": 0.05}}
LATE: Dict[str, Any] = {"latency_s": [0.0, 0.05]}
CASES: Dict[str, Dict[str, Any]] = {
    "none": {}, "model fields": FIELDS, "sensors and pushes": SENSORS, "late targets": LATE,
    "all": {**FIELDS, **SENSORS, **LATE}}


def neutral(task: Any) -> None:
    """Let what `task` draws from now on change nothing."""
    drawn = task.randomization
    for together in (*drawn._begins.values(), *drawn._intervals.values()):
        value = torch.cat([task.sim.friction[:1] if name == "friction" else draws[0]  # neutral: nothing was drawn yet
                           for name, draws in together.draws.items()])
        together._low, together._high = value, value + 1e-9
    if drawn._sensors is not None:
        drawn._sensors._noise_size.mul_(1e-9)


def walk(task: Any, policy: PolicyModule, steps: int = 1) -> float:
    """Processor seconds of the last of `steps`, the policy's apart."""
    for _ in range(steps):
        with torch.inference_mode():
            actions = policy(task.observe()["policy"]).clone()
        start = time.process_time()
        task.step(actions)
    return time.process_time() - start


def main() -> None:
    num_envs = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    torch.set_num_threads(1)
    policy = load_policy(ENV)
    tasks = {}
    for name, randomize in CASES.items():
        tasks[name] = make_task(ENV, num_envs, threads=1, seed=0, privileged=True, randomize=randomize,
                                command={"forward_m_s": [1.0, 1.0], "yaw_rad_s": [0.0, 0.0]})
        neutral(tasks[name])
        tasks[name].reset(seed=0)
        walk(tasks[name], policy, WALKING_STEPS)
    times: Dict[str, List[float]] = {name: [] for name in CASES}
    for k in range(rounds):
        order = list(CASES)[k % len(CASES):] + list(CASES)[:k % len(CASES)]
        for name in order:
            times[name].append(walk(tasks[name], policy))
    for name, taken in times.items():
        more = [100 * (own / none - 1) for own, none in zip(taken, times["none"])]
        low, middle, high = statistics.quantiles(more, n=4)
        print(f"{name}: {1e3 * statistics.median(taken):.1f} ms; {middle:+.1f}% (quarters {low:+.1f}% to {high:+.1f}%)",
              flush=True)


if __name__ == "__main__":
    main()
