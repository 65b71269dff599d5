"""Whole training iterations with physics and learner on one GPU: rates, beside rsl_rl; syncs; kernels; the default run.

    python tests/gpu_training.py                        steps/s at 4096, 8192 and 16384 robots, ours and rsl_rl
    python tests/gpu_training.py --profile              which kernels an iteration at 4096 consists of
    python tests/gpu_training.py --syncs                how often an iteration waits for the GPU, and where
    python tests/gpu_training.py --command              wall time of the default training command
    ... --device cpu --num-envs 8 --rounds 1            that the script works

Rates are medians of rounds by the clock, after the GPU has finished. rsl_rl learns on the same environment with the
same networks, epochs and minibatches. Each is measured with CUDA graphs and without them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any, List

import torch

from sb3_isaac.bench.contenders import bench_config, make_contender, why_no_rsl_rl

ENV = "IsaacQuadrupedFlat-v0"


def contender(algo: str, num_envs: int, device: str, graphs: bool = True) -> Any:
    config = bench_config(ENV, "ppo", num_envs, 0, {"sim": "mujoco_warp", "device": device, "cuda_graphs": graphs})
    return make_contender(algo, replace(config, device=device,
                                        algo_kwargs={**config.algo_kwargs, "cuda_graphs": graphs}))


def rates(sizes: List[int], device: str, rounds: int) -> None:
    missing = why_no_rsl_rl()
    if missing:
        print(missing)
    algos = ("ppo", *(() if missing else ("rsl_rl",)))
    for num_envs, algo, graphs in itertools.product(sizes, algos, (True, False)):
        made = contender(algo, num_envs, device, graphs)
        made.iterate()
        times = [made.iterate() for _ in range(rounds)]
        made.env.close()
        parts = {name: statistics.median(t[name] for t in times) for name in times[0]}
        steps = num_envs * bench_config(ENV, "ppo", num_envs, 0).algo_kwargs["n_steps"]
        print(f"{num_envs:>7} robots  {algo + (' with graphs' if graphs else ''):<18} "
              f"{steps / parts['iteration']:>10,.0f} steps/s   "
              + "  ".join(f"{name} {1e3 * seconds:,.0f} ms" for name, seconds in parts.items()), flush=True)


def profile(num_envs: int, device: str) -> None:
    made = contender("ppo", num_envs, device)
    made.iterate()
    with torch.profiler.profile() as found:
        made.iterate()
    by = "cuda_time_total" if device.startswith("cuda") else "cpu_time_total"
    print(found.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=60))
    made.env.close()


def syncs(num_envs: int, device: str) -> None:
    """Waits of an iteration by the line of ours that asked for them. torch counts them on a GPU alone."""
    made, where = contender("ppo", num_envs, device), Counter()  # type: ignore[var-annotated]
    made.iterate()

    def count(message: Any, *args: Any, **kwargs: Any) -> None:
        ours = [f for f in traceback.extract_stack() if "sb3_isaac" in f.filename]
        where[f"{ours[-1].filename.split('sb3_isaac/')[-1]}:{ours[-1].lineno}" if ours else str(message)] += 1

    show, warnings.showwarning = warnings.showwarning, count
    warnings.simplefilter("always")
    if device.startswith("cuda"):
        torch.cuda.set_sync_debug_mode("warn")
    made.iterate()
    if device.startswith("cuda"):
        torch.cuda.set_sync_debug_mode("default")
    warnings.showwarning = show
    print(f"{sum(where.values())} waits in an iteration of {made.model.n_steps} steps and {made.model.n_epochs} epochs"
          f"{'' if device.startswith('cuda') else ', for torch counts them on a GPU alone'}")
    for line, times in where.most_common():
        print(f"{times:>5}  {line}")
    made.env.close()


def command(num_envs: int, device: str, smoke: bool) -> None:
    start = time.perf_counter()
    words = [sys.executable, "-m", "sb3_isaac", "train", "--num-envs", str(num_envs), "--device", device,
             "--env-kwargs", "sim:mujoco_warp", f"device:'{device}'",
             *(["-n", str(24 * num_envs), "--eval-episodes", "2"] if smoke else [])]
    code = subprocess.run(words).returncode
    print(f"{' '.join(words[1:])}: exit {code} after {time.perf_counter() - start:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--num-envs", default="4096,8192,16384")
    parser.add_argument("--rounds", type=int, default=5)
    for flag in ("--profile", "--syncs", "--command"):
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    sizes, on_gpu = [int(n) for n in args.num_envs.split(",")], args.device.startswith("cuda")
    print(torch.cuda.get_device_name(args.device) if on_gpu else "on the CPU: its figures say nothing of a GPU")
    if args.profile:
        profile(sizes[0], args.device)
    elif args.syncs:
        syncs(sizes[0], args.device)
    elif args.command:
        command(sizes[0], args.device, smoke=not on_gpu)
    else:
        rates(sizes, args.device, args.rounds)


if __name__ == "__main__":
    main()
