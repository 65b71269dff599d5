"""``sb3-isaac robustness RUN [--with RUN]``: how policies hold under conditions that they may meet."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List

from sb3_isaac.cli.hub import RUN, here
from sb3_isaac.cli.main import (
    add_command,
    add_gym_packages,
    command_of,
    import_gym_packages,
    import_isaacgym_if_needed,
    positive,
    seed,
)
from sb3_isaac.cli.outputs import Output, check_outputs
from sb3_isaac.contract.errors import UserError, is_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One or two runs, the conditions, and where the picture goes."""
    add = parser.add_argument
    add("run", metavar="RUN", help=RUN)
    add("--with", metavar="RUN", dest="other", help="another, to be seen beside it")
    add("--vary", nargs="+", default=[], metavar="NAME:VALUES",
        help="other values of a condition, such as friction:[0.3,0.6] or push:0 (default: the task's)")
    add("--episodes", type=positive, default=8, help="in each combination of values (default: %(default)s)")
    add_command(parser, "the robots are told them in turn")
    add("--env-kwargs", nargs="+", default=[], metavar="KEY:VALUE",
        help="options in place of those it was trained with, such as episode_length_s:10")
    add("--seed", type=seed, default=0, help="of the starts (default: %(default)s)")
    add("--out", help="a .png, .pdf or .svg file; the JSON goes beside it (default: robustness.png in the run folder)")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add_gym_packages(parser)


def run(args: argparse.Namespace) -> int:
    """Try the policies, write picture and JSON, and print the verdict."""
    import_isaacgym_if_needed(args.env_kwargs, run=args.run)
    import_gym_packages(args)
    from sb3_isaac.clients import env_options
    from sb3_isaac.config import parse_options
    from sb3_isaac.contract.figures import PICTURES
    from sb3_isaac.contract.files import write_text
    from sb3_isaac.policy.formats import load_policy
    from sb3_isaac.rl.policy.evaluate import env_of
    from sb3_isaac.rl.policy.robustness import conditions_of, try_under, verdict
    from sb3_isaac.view.robustness import draw

    beside = f"{os.path.splitext(args.out)[0]}.json" if args.out else None
    check_outputs(Output("--out", args.out, PICTURES), Output("the JSON beside --out", beside, (".json",)))
    runs = [args.run] if args.other is None else [args.run, args.other]
    policies = [load_policy(here(run)) for run in runs]
    env_id = env_of(policies[0])
    conditions = conditions_of(env_id, _given(args.vary))
    settled = ("num_envs", "seed", "command", "stagger", "render_mode", "randomize")
    options: Dict[str, Any] = parse_options(args.env_kwargs, "--env-kwargs",
                                            [name for name in env_options(env_id) if name not in settled])
    reports: Dict[str, Any] = {}
    for name, policy in zip(_names(runs), policies):
        reports[name] = try_under(policy, conditions, args.episodes, command=command_of(args), seed=args.seed,
                                  env=env_id, on_step=_bar(name), **options)
    folder = Path(args.run)
    out = Path(args.out) if args.out else (folder if folder.is_dir() else folder.parent) / "robustness.png"
    draw(reports, out)
    said = verdict(reports)
    write_text(out.with_suffix(".json"), json.dumps({"verdict": said, "runs": reports}, indent=1))
    if args.json:
        print(json.dumps({"verdict": said, "runs": reports}))
    else:
        print(out, said, sep="\n")
    return 0


def _given(items: List[str]) -> Dict[str, List[float]]:
    """The values that ``--vary`` names."""
    from sb3_isaac.config.grammar import parse_key_values

    given: Dict[str, List[float]] = {}
    for name, value in parse_key_values(items, "--vary").items():
        values: List[Any] = value if isinstance(value, list) else [value]
        if not values or not all(map(is_number, values)):
            raise UserError(f"--vary {name} is {value!r}: give a number, or a list such as {name}:[0,0.5].")
        given[name] = values
    return given


def _names(runs: List[str]) -> List[str]:
    """What the runs are called: by their folder, or by their path where these are the same."""
    short = [Path(run).resolve().name if Path(run).is_dir() else Path(run).stem for run in runs]
    names = short if len(set(short)) == len(runs) else [str(Path(run)) for run in runs]
    return names if len(set(names)) == len(runs) else [f"{name} ({i + 1})" for i, name in enumerate(names)]


def _bar(name: str) -> Any:
    """A progress bar's update, where somebody watches."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar = tqdm(unit="step", leave=False, desc=name)
    return lambda *_: bar.update()
