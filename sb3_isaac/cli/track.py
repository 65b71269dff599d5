"""``--track``: a training as a run of Weights & Biases, under rl-zoo's flags."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from sb3_isaac.config import TrainConfig


def add_track(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    add = parser.add_argument
    add("--track", action="store_true", help="log to Weights & Biases too (needs the extra track); a resumed run goes "
        "on with its run there")
    add("--wandb-project-name", metavar="NAME", help="project there (default: sb3)")
    add("--wandb-entity", metavar="NAME", help="user or team there (default: yours)")
    add("--wandb-group", metavar="NAME", help="group there")
    add("-tags", "--wandb-tags", nargs="+", default=[], metavar="TAG", help="tags of the run there")


def trackers(args: argparse.Namespace, config: TrainConfig, folder: Path) -> List[Any]:
    """The callback that the flags ask for; wandb is imported here, and not without the flag."""
    if not args.track:
        return []
    from sb3_isaac.rl.callbacks.wandb_log import WandbLog
    from sb3_isaac.rl.training.build import own_settings, settings_of_algorithm

    settings = {"env": config.env, "algo": config.algo, **own_settings(config), **settings_of_algorithm(config),
                "env_kwargs": config.env_kwargs, "run": str(folder), "command_line": " ".join(sys.argv)}
    return [WandbLog(folder, settings, args.wandb_project_name, args.wandb_entity, args.wandb_group, args.wandb_tags)]
