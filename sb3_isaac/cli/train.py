"""``sb3-isaac train``: rl-zoo's flags and YAML, all robots in one environment."""

from __future__ import annotations

import argparse
import contextlib
import math
import secrets
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from sb3_isaac.cli.main import (
    add_gym_packages,
    check_env_id,
    gym_packages_flag,
    import_gym_packages,
    import_isaacgym_if_needed,
    positive,
)
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.output import say
from sb3_isaac.contract.signals import Interrupted, tell

if TYPE_CHECKING:
    from sb3_isaac.config import TrainConfig
    from sb3_isaac.rl.training.train import Settings

DEFAULT_ENV, DEFAULT_ALGO, CLIENT_CONF, LOGS = "IsaacQuadrupedFlat-v0", "ppo", "ppo-client", "logs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """rl-zoo's names and meanings; frequencies are in timesteps, as there."""
    add = parser.add_argument
    add("--env", help=f"environment id (default: {DEFAULT_ENV})")
    add("--client", metavar="PACKAGE:TASK", help="a task of another package, such as legged_gym:go2, instead of --env")
    add("--algo", help="ppo, sb3-ppo, trpo, a2c, ppo_lstm, or off-policy sac, td3, tqc, crossq "
        f"(default: {DEFAULT_ALGO})")
    add("--num-envs", type=positive, help="number of robots; beats --env-kwargs num_envs:N and the YAML's n_envs")
    add("-n", "--n-timesteps", type=positive, help="transitions in all: steps of all robots together")
    add("-conf", "--conf-file", help="YAML file, or the name of a shipped one, such as ppo-fast or ppo-course")
    add("-params", "--hyperparams", nargs="+", default=[], metavar="KEY:VALUE", help="override YAML keys")
    add("--env-kwargs", nargs="+", default=[], metavar="KEY:VALUE", help="task options, such as robot:anymal")
    add("--seed", type=int, help="random seed (default: the YAML's, else a random one)")
    add("--device", help="torch device of the learner (default: auto)")
    add("-f", "--log-folder", help=f"where run folders are made (default: {LOGS})")
    add("-tb", "--tensorboard-log", help="folder of TensorBoard's files (default: RUN/tb)")
    add("-i", "--trained-agent", metavar="RUN", help="resume this run folder or checkpoint folder")
    add("-P", "--progress", action="store_true", help="show a progress bar instead of lines")
    add("--eval-freq", type=int, help="timesteps between evaluations; -1: only at the end (default: 10 iterations)")
    add("--eval-episodes", type=positive, help="episodes of an evaluation (default: 128)")
    add("--save-freq", type=positive, help="timesteps between numbered checkpoints (default: 100 iterations)")
    add("--log-interval", type=positive, help="iterations between progress lines (default: 1)")
    add("--no-early-stop", action="store_true", help="train to the end even when the task's stop rule is met")
    add_gym_packages(parser)


def run(args: argparse.Namespace) -> int:
    """Train; the run folder is printed first and last."""
    if args.client:
        args.env = _client(args)
    import_isaacgym_if_needed(args.env_kwargs, run=args.trained_agent, env=args.env)
    import_gym_packages(args)
    from sb3_isaac.rl.training.run_folder import new_run_folder, read_meta

    folder: Optional[Path] = None
    resume_from: Optional[Path] = None
    saved: Dict[str, Any] = {}
    if args.trained_agent:
        config, folder, resume_from = _resume(args)
        saved = read_meta(resume_from or folder).get("settings", {})
    else:
        config = _config(args)
    settings = _settings(args, config, saved)
    if folder is None:
        folder = new_run_folder(Path(args.log_folder or LOGS), config.algo, config.env)
    what = "resuming" if resume_from else "training"
    say(f"{what} {config.env}, {config.n_envs} robots, {config.n_timesteps / 1e6:g}M steps -> {folder}")
    from sb3_isaac.rl.training.train import train

    try:
        train(config, folder, settings, resume_from)
    except Interrupted as signal:
        tell(f"sb3-isaac: {_where_it_stands(signal, folder, args)}")
        return signal.exit_code
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # succeeds on an empty folder alone: a mistake found before anything was saved
    name, more = shlex.quote(str(folder)), _trusted(args)
    say("\n  ".join(("done:", f"sb3-isaac eval {name}{more}", f"sb3-isaac play {name} --video play.mp4{more}",
                     f"sb3-isaac plot {name}")))
    return 0


def _where_it_stands(signal: Interrupted, folder: Path, args: argparse.Namespace) -> str:
    """What a training that a signal has ended leaves, and the command that goes on."""
    from sb3_isaac.rl.training.run_folder import find_checkpoint, has_no_checkpoint_yet, steps_of

    name = shlex.quote(str(folder))
    if (folder / "DONE").exists():
        return f"ended by {signal} after the training: 'sb3-isaac eval {name}{_trusted(args)}' evaluates it."
    longer = f" -n {args.n_timesteps}" if args.trained_agent and args.n_timesteps else ""
    goes_on = f"'sb3-isaac train -i {name}{longer}{_trusted(args)}'"
    if has_no_checkpoint_yet(folder):
        return f"ended by {signal} before the first checkpoint in {folder}: {goes_on} begins it again."
    try:
        steps = steps_of(find_checkpoint(folder))
    except UserError:
        return f"ended by {signal}; nothing was saved in {folder}: give the same command again."
    return f"ended by {signal}; {steps} steps are saved in {folder}: {goes_on} goes on."


def _trusted(args: argparse.Namespace) -> str:
    """What a command that is to be copied ends with: the packages and the client whose code may be imported."""
    from sb3_isaac.clients import is_client

    client = f" --env {args.env}" if args.env and is_client(args.env) else ""
    return f"{client}{gym_packages_flag(args)}"


def _client(args: argparse.Namespace) -> str:
    """The environment id that ``--client`` gives."""
    package, colon, task = args.client.partition(":")
    if not (package.isidentifier() and colon and task):
        raise UserError(f"--client is {args.client!r}: give a package and one of its tasks, such as legged_gym:go2.")
    if args.env and args.env != args.client:
        raise UserError(f"--env {args.env} and --client {args.client} name two environments: give one of them.")
    return str(args.client)


def _config(args: argparse.Namespace) -> TrainConfig:
    from sb3_isaac.clients import env_options, is_client, registered_id
    from sb3_isaac.config import load_config, parse_key_values
    from sb3_isaac.rl.training.build import algorithm_options

    env, algo = args.env or DEFAULT_ENV, args.algo or DEFAULT_ALGO
    env = registered_id(env) or env
    check_env_id(env)
    config = load_config(
        env, algo, path=args.conf_file or (CLIENT_CONF if is_client(env) else None), algo_keys=algorithm_options(algo),
        env_keys=[name for name in env_options(env) if name not in ("seed", "render_mode")],
        overrides=parse_key_values(args.hyperparams, "-params"),
        env_kwargs=parse_key_values(args.env_kwargs, "--env-kwargs"),
        num_envs=args.num_envs, n_timesteps=args.n_timesteps, seed=args.seed, device=args.device)
    return replace(config, seed=secrets.randbelow(2**31)) if config.seed is None else config


def _resume(args: argparse.Namespace) -> Tuple[TrainConfig, Path, Optional[Path]]:
    """Configuration, run folder and checkpoint folder of ``-i``; no checkpoint where the run has none yet.

    A checkpoint's run is the folder above it; from one that stands alone, and from one that is not its run's newest, a
    new run goes on.
    """
    from sb3_isaac.clients import env_of_file, env_options
    from sb3_isaac.config import load_config
    from sb3_isaac.rl.training.build import algorithm_options
    from sb3_isaac.rl.training.run_folder import (
        find_checkpoint,
        has_no_checkpoint_yet,
        new_run_folder,
        read_meta,
        run_of,
        steps_of,
    )

    given = Path(args.trained_agent).resolve()  # "." and ".." have no names to go by
    given = given.parent if given.is_file() else given
    checkpoint = given if has_no_checkpoint_yet(given) else find_checkpoint(given)
    meta = {"env": None, "algo": None, "seed": None, **read_meta(checkpoint)}
    if meta["env"] is None or meta["algo"] is None:
        raise UserError(f"{checkpoint / 'meta.json'} says no environment or algorithm, so it is of a program's own "
                        "training: go on with that program.")
    fixed = {"--env": (args.env, meta["env"]), "--algo": (args.algo, meta["algo"]), "--seed": (args.seed, meta["seed"]),
             "--num-envs": (args.num_envs, None), "-conf": (args.conf_file, None),
             "-params": (args.hyperparams or None, None), "--env-kwargs": (args.env_kwargs or None, None)}
    for flag, (value, saved) in fixed.items():
        if value is not None and value != saved:
            raise UserError(f"{flag} cannot change on a resumed run: leave it out, or start a new run.")
    if args.env is None:
        env_of_file(meta["env"], str(checkpoint / "meta.json"))
    check_env_id(meta["env"])
    config = load_config(meta["env"], meta["algo"], path=checkpoint / "config.yml",
                         algo_keys=algorithm_options(meta["algo"]), env_keys=env_options(meta["env"]),
                         n_timesteps=args.n_timesteps, device=args.device)
    if has_no_checkpoint_yet(given):
        return config, _as_typed(args, given), None
    run = run_of(given)
    if run is not None and steps_of(find_checkpoint(run)) <= meta["num_timesteps"]:
        return config, _as_typed(args, run), checkpoint
    # Going on from an older state is another run: what came after it in this one stays.
    beside = run.parent.parent if run is not None and run.parent.name == meta["algo"] else Path(LOGS)
    root = Path(args.log_folder) if args.log_folder else beside
    return config, new_run_folder(root, meta["algo"], meta["env"]), checkpoint


def _as_typed(args: argparse.Namespace, run: Path) -> Path:
    """`run` as the user wrote it, where that is the same folder."""
    typed = Path(args.trained_agent)
    return typed if typed.is_dir() and typed.resolve() == run else run


def _settings(args: argparse.Namespace, config: TrainConfig, saved: Dict[str, Any]) -> Settings:
    """The flags over what a resumed run was started with, over the defaults."""
    from sb3_isaac.rl.training.build import iteration_size
    from sb3_isaac.rl.training.train import Settings

    per_iteration = iteration_size(config)
    given = {"eval_episodes": args.eval_episodes, "early_stop": False if args.no_early_stop else None,
             "progress_bar": args.progress, "log_interval": args.log_interval, "tensorboard_log": args.tensorboard_log}
    settings = Settings(**{**saved, **{name: value for name, value in given.items() if value is not None}})
    if args.eval_freq is not None:
        never = args.eval_freq < 1
        settings = replace(settings, eval_every=10**9 if never else max(1, round(args.eval_freq / per_iteration)))
    if args.save_freq is not None:
        settings = replace(settings, save_every=max(1, math.ceil(args.save_freq / per_iteration)))
    return settings
