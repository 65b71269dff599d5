"""Where ``sb3-isaac train`` begins: with ``-i`` where a run stood, with ``--from`` in a new run with its networks."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional

from sb3_isaac.cli.main import check_env_id, gym_packages_flag
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.signals import Interrupted

if TYPE_CHECKING:
    from sb3_isaac.config import TrainConfig

LOGS = "logs"


class Begin(NamedTuple):
    """What a training begins with.

    | field | what |
    |---|---|
    | config | its configuration |
    | folder | the run folder; None for a new one |
    | resume_from | the checkpoint folder that it goes on from |
    | start_from | the checkpoint folder whose networks a new run begins with |
    | saved | the settings that the run was started with |
    """

    config: TrainConfig
    folder: Optional[Path] = None
    resume_from: Optional[Path] = None
    start_from: Optional[Path] = None
    saved: Dict[str, Any] = {}


def begin_of(args: argparse.Namespace) -> Begin:
    """What ``-i`` and ``--from`` name; other options for the task or another seed make a new run of a finished one."""
    from sb3_isaac.rl.training.run_folder import find_checkpoint, has_no_checkpoint_yet, read_meta, run_of

    given = Path(args.trained_agent or args.start_from).resolve()  # "." and ".." have no names to go by
    given = given.parent if given.is_file() else given
    again = bool(args.trained_agent) and has_no_checkpoint_yet(given)
    checkpoint = given if again else find_checkpoint(given)
    meta = {"env": None, "algo": None, "seed": None, **read_meta(checkpoint)}
    if meta["env"] is None or meta["algo"] is None:
        raise UserError(f"{checkpoint / 'meta.json'} says no environment or algorithm, so it is of a program's own "
                        "training: go on with that program.")
    check_env_id(meta["env"])
    if again:
        return _begin_again(args, given, meta)
    run = run_of(given)
    changed = bool(args.env_kwargs) or args.seed not in (None, meta["seed"])
    if args.start_from or (changed and run is not None and (run / "DONE").exists()):
        return _tune(args, checkpoint, meta)
    return _resume(args, given, checkpoint, meta)


def goes_on_with(run: Path, args: argparse.Namespace) -> argparse.Namespace:
    """The arguments of a command that began `run` as those of ``train -i RUN``."""
    begun = dict.fromkeys(("seed", "num_envs", "conf_file", "start_from"))
    return argparse.Namespace(**{**vars(args), **begun, "hyperparams": [], "env_kwargs": [], "trained_agent": str(run)})


def _tune(args: argparse.Namespace, checkpoint: Path, meta: Mapping[str, Any]) -> Begin:
    """A new run with the networks of a checkpoint and its configuration, changed by the flags."""
    from sb3_isaac.config import parse_key_values
    from sb3_isaac.rl.training.load import saved_config

    _refuse_changes("stays with the networks", {"--env": (args.env, meta["env"]), "--algo": (args.algo, meta["algo"]),
                                                "-conf": (args.conf_file, None)})
    config = saved_config(
        checkpoint, args.env, overrides=parse_key_values(args.hyperparams, "-params"), n_timesteps=args.n_timesteps,
        env_kwargs=parse_key_values(args.env_kwargs, "--env-kwargs"), num_envs=args.num_envs, seed=args.seed,
        device=args.device)
    return Begin(config, start_from=checkpoint, saved=meta.get("settings", {}))


def _begin_again(args: argparse.Namespace, run: Path, meta: Mapping[str, Any]) -> Begin:
    """A run that was ended before its first checkpoint, from its beginning."""
    _refuse_resumed_changes(args, meta)
    origin = meta.get("from")
    return Begin(_saved(args, run), _as_typed(args, run), start_from=Path(origin) if origin else None,
                 saved=meta.get("settings", {}))


def _resume(args: argparse.Namespace, given: Path, checkpoint: Path, meta: Mapping[str, Any]) -> Begin:
    """Where a run stood. A checkpoint's run is the folder above it; from one that stands alone, and from one that is
    not its run's newest, a new run goes on."""
    from sb3_isaac.rl.training.run_folder import find_checkpoint, new_run_folder, run_of, steps_of

    _refuse_resumed_changes(args, meta)
    config, saved = _saved(args, checkpoint), meta.get("settings", {})
    run = run_of(given)
    # A run folder means its newest state, also where a process that trains in it has saved another since it was read.
    if run is not None and (given == run or steps_of(find_checkpoint(run)) <= meta["num_timesteps"]):
        return Begin(config, _as_typed(args, run), checkpoint, saved=saved)
    # Going on from an older state is another run: what came after it in this one stays.
    beside = run.parent.parent if run is not None and run.parent.name == meta["algo"] else Path(LOGS)
    root = Path(args.log_folder) if args.log_folder else beside
    return Begin(config, new_run_folder(root, meta["algo"], meta["env"]), checkpoint, saved=saved)


def _saved(args: argparse.Namespace, folder: Path) -> TrainConfig:
    from sb3_isaac.rl.training.load import saved_config

    return saved_config(folder, args.env, n_timesteps=args.n_timesteps, device=args.device)


def _refuse_resumed_changes(args: argparse.Namespace, meta: Mapping[str, Any]) -> None:
    _refuse_changes("cannot change on a resumed run", {
        "--env": (args.env, meta["env"]), "--algo": (args.algo, meta["algo"]), "--seed": (args.seed, meta["seed"]),
        "--num-envs": (args.num_envs, None), "-conf": (args.conf_file, None),
        "-params": (args.hyperparams or None, None), "--env-kwargs": (args.env_kwargs or None, None)})


def _refuse_changes(why: str, given: Dict[str, Any]) -> None:
    for flag, (value, saved) in given.items():
        if value is not None and value != saved:
            raise UserError(f"{flag} {why}: leave it out, or begin another run, with --from RUN where it is to have "
                            "the networks of this one.")


def _as_typed(args: argparse.Namespace, run: Path) -> Path:
    """`run` as the user wrote it, where that is the same folder."""
    typed = Path(args.trained_agent)
    return typed if typed.is_dir() and typed.resolve() == run else run


def where_it_stands(signal: Interrupted, folder: Path, args: argparse.Namespace) -> str:
    """What a training that a signal has ended leaves, and the command that goes on."""
    from sb3_isaac.rl.training.run_folder import find_checkpoint, has_no_checkpoint_yet, steps_of

    name = shlex.quote(str(folder))
    if (folder / "DONE").exists():
        return f"ended by {signal} after the training: 'sb3-isaac eval {name}{trusted(args)}' evaluates it."
    longer = f" -n {args.n_timesteps}" if args.trained_agent and args.n_timesteps else ""
    track = " --track" if args.track else ""
    goes_on = f"'sb3-isaac train -i {name}{longer}{track}{trusted(args)}'"
    if has_no_checkpoint_yet(folder):
        return f"ended by {signal} before the first checkpoint in {folder}: {goes_on} begins it again."
    try:
        steps = steps_of(find_checkpoint(folder))
    except UserError:
        return f"ended by {signal}; nothing was saved in {folder}: give the same command again."
    return f"ended by {signal}; {steps} steps are saved in {folder}: {goes_on} goes on."


def trusted(args: argparse.Namespace) -> str:
    """What a command that is to be copied ends with: the packages and the client whose code may be imported."""
    from sb3_isaac.clients import is_client

    client = f" --env {args.env}" if args.env and is_client(args.env) else ""
    return f"{client}{gym_packages_flag(args)}"
