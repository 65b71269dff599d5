"""How physics and torch threads share the cores: ``python tests/long_threads.py``, on an idle machine.

Seconds of training iterations of 4096 robots on one core, on two, and so on in powers of two up to all there are, with
the default threads and with others, each in a process of its own bound to those cores, in turn; medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import Dict, List, Tuple

from sb3_isaac.engine.cpu import available_cores

ROUNDS, ITERATIONS = 2, 2
CODE = """
import os, sys
cores, physics, torch_threads, iterations = map(int, sys.argv[1:])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import torch
from dataclasses import replace
if torch_threads:
    torch.set_num_threads(torch_threads)
from sb3_isaac.bench.contenders import bench_config, make_contender
config = bench_config("IsaacQuadrupedFlat-v0", "ppo", 4096, 0)
if physics:
    config = replace(config, env_kwargs={**config.env_kwargs, "threads": physics})
contender = make_contender("ppo", config)
contender.iterate()
print(*(contender.iterate()["iteration"] for _ in range(iterations)), contender.env.env.sim.engine.threads,
      torch.get_num_threads())
"""


def plans() -> List[Tuple[int, int, int]]:
    """(cores, physics threads, torch threads), 0 for the default."""
    found, cores = [], 1
    while cores <= available_cores():
        half = max(1, cores // 2)
        found += [(cores, 0, 0)] + ([(cores, 0, half), (cores, half, 0), (cores, half, half)] if cores > 1 else
                                    [(cores, 2, 2)])
        cores *= 2
    return found


def main() -> None:
    seconds: Dict[Tuple[int, int, int], List[float]] = {plan: [] for plan in plans()}
    threads: Dict[Tuple[int, int, int], List[str]] = {}
    for _ in range(ROUNDS):
        for plan in seconds:
            out = subprocess.run([sys.executable, "-c", CODE, *map(str, plan), str(ITERATIONS)], check=True,
                                 capture_output=True, text=True, env=dict(os.environ)).stdout.split()
            seconds[plan] += [float(value) for value in out[:ITERATIONS]]
            threads[plan] = out[ITERATIONS:]
    print("cores  physics threads  torch threads  an iteration")
    for plan, values in seconds.items():
        default = "  the default" if plan[1:] == (0, 0) else ""
        print(f"{plan[0]:>5}  {threads[plan][0]:>15}  {threads[plan][1]:>13}  {statistics.median(values):>10.2f} s"
              f"{default}")


if __name__ == "__main__":
    main()
