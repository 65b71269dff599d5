"""``sb3-isaac train``: rl-zoo's flags and YAML, all robots in one environment."""

from __future__ import annotations

import argparse
import contextlib
import math
import secrets
import shlex
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from sb3_isaac.cli.live import add_view, live_page
from sb3_isaac.cli.main import (
    add_gym_packages,
    check_env_id,
    import_gym_packages,
    import_isaacgym_if_needed,
    positive,
    whole,
)
from sb3_isaac.cli.resume import LOGS, Begin, begin_of, goes_on_with, trusted, where_it_stands
from sb3_isaac.cli.track import add_track, trackers
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.output import drop_output, say
from sb3_isaac.contract.signals import Interrupted, tell
from sb3_isaac.contract.wording import steps

if TYPE_CHECKING:
    from sb3_isaac.config import TrainConfig
    from sb3_isaac.rl.training.train import Settings

DEFAULT_ENV, DEFAULT_ALGO, CLIENT_CONF = "IsaacQuadrupedFlat-v0", "ppo", "ppo-client"
EXAMPLE_ENV = "IsaacQuadrupedVelocity-v0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """rl-zoo's names and meanings; frequencies are in timesteps, as there."""
    parser.epilog = f"For example: sb3-isaac train --env {EXAMPLE_ENV} --seed 0 --view"
    add = parser.add_argument
    add("--env", help=f"environment id; 'sb3-isaac list' shows them (default: {DEFAULT_ENV})")
    add_settings(parser)
    add("--client", metavar="PACKAGE:TASK", help="a task of another package, such as legged_gym:go2, instead of --env")
    add("-f", "--log-folder", help=f"where run folders are made (default: {LOGS})")
    add("-tb", "--tensorboard-log", help="folder of TensorBoard's files (default: RUN/tb)")
    add("-i", "--trained-agent", metavar="RUN", help="resume this run folder or checkpoint folder")
    add("--from", dest="start_from", metavar="RUN",
        help="begin a run with the networks of this one and its settings, changed by -params, --env-kwargs and others")
    add("-P", "--progress", action="store_true", help="show a progress bar instead of lines")
    add("--eval-freq", type=whole,
        help="timesteps between evaluations; -1 or 0: only at the end (default: about 10 iterations once they can end "
             "training, given up when they cannot; a whole one every 200)")
    add("--eval-episodes", type=positive,
        help="episodes of an evaluation (default: what the task's stop rule asks for, 24 or 48)")
    add("--save-freq", type=positive, help="timesteps between numbered checkpoints (default: 100 iterations)")
    add("--log-interval", type=positive, help="iterations between progress lines (default: 1)")
    add("--no-early-stop", action="store_true", help="train to the end even when the task's stop rule is met")
    add_view(parser)
    add("--log-video", action="store_true", help="at each evaluation, seconds of the policy as a moving picture in "
        "TensorBoard, and in wandb with --track (default: none)")
    add_track(parser)
    add_gym_packages(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The flags that make a configuration."""
    add = parser.add_argument
    add("--algo", help="ppo, sb3-ppo, trpo, a2c, ppo_lstm, or off-policy sac, td3, tqc, crossq "
        f"(default: {DEFAULT_ALGO})")
    add("--num-envs", type=positive, help="number of robots; beats --env-kwargs num_envs:N and the YAML's n_envs")
    add("-n", "--n-timesteps", type=positive, help="transitions in all: steps of all robots together")
    add("-conf", "--conf", "--conf-file", dest="conf_file",
        help="YAML file, or the name of a shipped one, such as ppo-course")
    add("-params", "--hyperparams", nargs="+", default=[], metavar="KEY:VALUE", help="override YAML keys")
    add("--env-kwargs", nargs="+", default=[], metavar="KEY:VALUE", help="task options, such as robot:anymal")
    add("--seed", type=whole, help="random seed (default: the YAML's, else a random one)")
    add("--device", help="torch device of the learner (default: auto)")


def run(args: argparse.Namespace) -> int:
    """Train, with the other processes that torchrun has started, if it did."""
    if args.client:
        args.env = _client(args)
    import_isaacgym_if_needed(args.env_kwargs, run=args.trained_agent or args.start_from, env=args.env)
    import_gym_packages(args)
    from sb3_isaac.rl.distributed import check_same, joined, rank

    with joined():
        if rank() > 0:
            drop_output()
            warnings.simplefilter("ignore")
        check_same(vars(args))
        return _train(args)


def _begin(args: argparse.Namespace) -> Begin:
    """What the training begins with, its run folder and seed chosen."""
    from sb3_isaac.rl.training.ranks import interrupted_run
    from sb3_isaac.rl.training.run_folder import new_run_folder

    if args.trained_agent and args.start_from:
        raise UserError("-i goes on with a run and --from begins another one with its networks: give one of them.")
    root = Path(args.log_folder or LOGS)
    interrupted = None if args.trained_agent else interrupted_run(root)
    if interrupted is not None:
        args = goes_on_with(interrupted, args)
    begin = begin_of(args) if args.trained_agent or args.start_from else Begin(config_of(args))
    config = begin.config if begin.config.seed is not None else replace(begin.config, seed=secrets.randbelow(2**31))
    return begin._replace(config=config, folder=begin.folder or new_run_folder(root, config.algo, config.env))


def _train(args: argparse.Namespace) -> int:
    """Train; the run folder is printed first and last."""
    from sb3_isaac.rl.distributed import from_first, rank

    begin = from_first(lambda: _begin(args))
    config, folder = begin.config, begin.folder
    assert folder is not None
    settings = _settings(args, config, begin.saved)
    what = "resuming" if begin.resume_from else "training"
    tuned = f" from {begin.start_from}" if begin.start_from else ""
    say(f"{what} {config.env}{tuned}, {config.n_envs} robots, {steps(config.n_timesteps)} steps -> {folder}")
    from sb3_isaac.rl.training.train import train

    try:
        watchers = _watchers(args, config, folder) if rank() == 0 else []
        train(config, folder, settings, begin.resume_from, begin.start_from, watchers)
    except Interrupted as signal:
        if rank() == 0:
            tell(f"sb3-isaac: {where_it_stands(signal, folder, args)}")
        return signal.exit_code
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # succeeds on an empty folder alone: a mistake found before anything was saved
    name, more = shlex.quote(str(folder)), trusted(args)
    say("\n  ".join(("done:", f"sb3-isaac eval {name}{more}", f"sb3-isaac play {name} --view{more}",
                     f"sb3-isaac play {name} --video play.mp4{more}", f"sb3-isaac plot {name}")), copied=True)
    return 0


def _watchers(args: argparse.Namespace, config: TrainConfig, folder: Path) -> List[Any]:
    """The callbacks that show the training elsewhere."""
    watchers, page = trackers(args, config, folder), live_page(args)
    if page is not None:
        from sb3_isaac.view.live.training import TrainingPage

        watchers.append(TrainingPage(page, config.n_timesteps, title=config.env, what=str(folder)))
    if args.log_video:
        from sb3_isaac.clients import is_client
        from sb3_isaac.rl.training.train import uses_nvidias_isaacgym
        from sb3_isaac.view.training_video import TrainingVideo

        if is_client(config.env) or uses_nvidias_isaacgym(config):
            raise UserError(f"--log-video shows evaluations, and a training of {config.env} on this simulator has "
                            "none: leave it out.")
        watchers.append(TrainingVideo(config.env, config.env_kwargs))
    return watchers


def _client(args: argparse.Namespace) -> str:
    """The environment id that ``--client`` gives."""
    package, colon, task = args.client.partition(":")
    if not (package.isidentifier() and colon and task):
        raise UserError(f"--client is {args.client!r}: give a package and one of its tasks, such as legged_gym:go2.")
    if args.env and args.env != args.client:
        raise UserError(f"--env {args.env} and --client {args.client} name two environments: give one of them.")
    return str(args.client)


def config_of(args: argparse.Namespace) -> TrainConfig:
    """The configuration that the flags make; its seed may be None, for a random one."""
    from sb3_isaac.clients import env_options, is_client, registered_id
    from sb3_isaac.config import load_config, parse_key_values
    from sb3_isaac.rl.training.build import algorithm_options

    env, algo = args.env or DEFAULT_ENV, args.algo or DEFAULT_ALGO
    env = registered_id(env) or env
    check_env_id(env)
    return load_config(
        env, algo, path=args.conf_file or (CLIENT_CONF if is_client(env) else None), algo_keys=algorithm_options(algo),
        env_keys=[name for name in env_options(env) if name not in ("seed", "render_mode")],
        overrides=parse_key_values(args.hyperparams, "-params"),
        env_kwargs=parse_key_values(args.env_kwargs, "--env-kwargs"),
        num_envs=args.num_envs, n_timesteps=args.n_timesteps, seed=args.seed, device=args.device)


def _settings(args: argparse.Namespace, config: TrainConfig, saved: Dict[str, Any]) -> Settings:
    """The flags over what a resumed run was started with, over the defaults."""
    from sb3_isaac.rl.training.build import iteration_size
    from sb3_isaac.rl.training.train import Settings

    per_iteration = iteration_size(config)
    given = {"eval_episodes": args.eval_episodes, "early_stop": False if args.no_early_stop else None,
             "progress_bar": args.progress, "log_interval": args.log_interval, "tensorboard_log": args.tensorboard_log}
    settings = Settings(**{**saved, **{name: value for name, value in given.items() if value is not None}})
    if args.eval_freq is not None:
        every = 10**9 if args.eval_freq < 1 else max(1, round(args.eval_freq / per_iteration))
        settings = replace(settings, eval_every=every)
    if args.save_freq is not None:
        settings = replace(settings, save_every=max(1, math.ceil(args.save_freq / per_iteration)))
    return settings
