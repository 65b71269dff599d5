"""``sb3-isaac eval RUN``: the figures of a trained policy."""

from __future__ import annotations

import argparse
import json
import sys

from sb3_isaac.cli.hub import RUN, here
from sb3_isaac.cli.main import (
    add_command,
    add_gym_packages,
    check_env_id,
    command_of,
    import_gym_packages,
    import_isaacgym_if_needed,
    positive,
    seed,
)
from sb3_isaac.contract.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and how to score it."""
    add = parser.add_argument
    add("run", metavar="RUN", help=RUN)
    add("--episodes", type=positive, default=256, help="one for each robot (default: %(default)s)")
    add_command(parser, "each robot keeps one of them")
    add("--env", help="another environment than the one it was trained on")
    add("--env-kwargs", nargs="+", default=[], metavar="KEY:VALUE",
        help="options in place of those it was trained with, such as sim:isaacgym")
    add("--seed", type=seed, default=0, help="of the starts (default: %(default)s)")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add_gym_packages(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    import_isaacgym_if_needed(args.env_kwargs, run=args.run, env=args.env)
    import_gym_packages(args)
    from sb3_isaac.rl.policy.evaluate import env_of, evaluate, given_options, make_eval_env
    from sb3_isaac.rl.training.load import load_actor

    if len(args.command or ()) > args.episodes:
        raise UserError(f"{len(args.command)} commands are more than the {args.episodes} episodes, of which each is "
                        "told one: give as many --episodes at least.")
    policy = load_actor(here(args.run), args.env)
    env_id = env_of(policy, args.env)
    check_env_id(env_id)
    options = given_options(env_id, args.env_kwargs)
    env = make_eval_env(policy, args.episodes, command=command_of(args), seed=args.seed, env=args.env, **options)
    bar = None
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar = tqdm(total=env.max_steps, unit="step", leave=False)
    report = {**evaluate(env, policy, seed=args.seed,
                         on_step=None if bar is None else lambda *_: bar.update()), "steps": policy.info.get("steps")}
    if bar is not None:
        bar.close()
    env.close()
    if args.json:
        print(json.dumps(report))
        return 0
    width = max(map(len, report))
    for key, value in report.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            print(key, *("  ".join(f"{number:8.3f}" for number in row) for row in value), sep="\n")
        else:
            print(f"{key:<{width}}  {value:.4f}" if isinstance(value, float) else f"{key:<{width}}  {value}")
    return 0
