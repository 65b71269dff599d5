"""``sb3-isaac bench --out DIR``: what an iteration costs here, beside stock SB3, rsl_rl and the floors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

from sb3_isaac.cli.main import (
    add_gym_packages,
    check_env_id,
    import_gym_packages,
    positive,
    seed,
)
from sb3_isaac.cli.train import DEFAULT_ENV
from sb3_isaac.contract.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured, how often, and where the results go."""
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder of bench.json and bench.png")
    add("--env", default=DEFAULT_ENV, help="environment id (default: %(default)s)")
    add("--num-envs", type=counts, default=(4096,), metavar="N[,N...]",
        help="number of environments; of several, the contenders are compared at 4096 if it is among them, else at the "
             "largest, and a table of speed-ups is made (default: 4096)")
    add("--rounds", type=positive, default=5, help="measured iterations of each contender (default: %(default)s)")
    add("--algos", default="ppo,ppo-symmetric,sb3-ppo,rsl_rl", help="contenders (default: %(default)s)")
    add("--env-kwargs", nargs="+", default=[], metavar="KEY:VALUE", help="task options, such as sim:mujoco_warp")
    add("--seed", type=seed, default=0, help="random seed (default: %(default)s)")
    add("--default-batch", action="store_true", help="stock SB3 with its default batch_size of 64 too, one iteration")
    add("--no-memory", action="store_true", help="leave out peak memory, which takes a process for each contender")
    add_gym_packages(parser)


def counts(text: str) -> Tuple[int, ...]:
    """An argparse type: whole numbers of at least 1 with commas between."""
    return tuple(positive(part) for part in text.split(","))


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the results."""
    import_gym_packages(args)
    check_env_id(args.env)
    from sb3_isaac.bench import Plan, bench
    from sb3_isaac.config import parse_key_values
    from sb3_isaac.contract.files import write_text

    plan = Plan(env=args.env, num_envs=args.num_envs, rounds=args.rounds, seed=args.seed,
                algos=tuple(name.strip() for name in args.algos.split(",")), default_batch=args.default_batch,
                memory=not args.no_memory, gym_packages=tuple(args.gym_packages),
                env_kwargs=parse_key_values(args.env_kwargs, "--env-kwargs"))
    out = _folder(Path(args.out))
    result = bench(plan, lambda line: print(line, flush=True))
    write_text(out / "bench.json", json.dumps(result, indent=1) + "\n")
    from sb3_isaac.view.bench_plot import draw

    draw(result, out / "bench.png")
    print("\n".join(["", *table(result), "", str(out / "bench.json"), str(out / "bench.png")]))
    return 0


def _folder(out: Path) -> Path:
    """`out`, made if it is not there: before hours are spent on what could not be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {str(out)!r} cannot be made ({error.strerror}): give a folder that can be written.") \
            from error
    return out


def table(result: Dict[str, Any]) -> List[str]:
    """The rows as lines of text: times in seconds, then ratios, memory and the speed-up."""
    config = result["config"]
    width = max(len(row["name"]) for row in result["rows"])
    lines = [f"{config['env']}, {config['num_envs']} environments x {config['n_steps']} steps, "
             f"{config['n_epochs']} epochs of {config['minibatches']} minibatches; medians",
             *(f"{row['name']:<{width}} {row['median_s']:>9.3f} s   n={row['n']}" for row in result["rows"]
               if row["median_s"] is not None),
             *(f"{row['name']:<{width}} {row['ratio']:>9.3f}     n={row['n']}" for row in result["rows"]
               if row["ratio"] is not None),
             *(f"{name + ' peak memory, alone':<{width}} {peak:>9.0f} MB" for name, peak in
               result["peak_memory_mb"].items())]
    if result["speed"]:
        over = result["speed"][0]["speedup_over"]
        lines += ["", f"{'envs':>8} {'stepping/s':>12} {'x':>8} {'training/s':>12} {'x':>8}   (x over {over})"]
        lines += [f"{row['num_envs']:>8} {row['stepping_per_s']:>12,.0f} {row['stepping_speedup']:>8.1f} "
                  f"{row['training_per_s']:>12,.0f} {row['training_speedup']:>8.1f}" for row in result["speed"]]
    return lines
