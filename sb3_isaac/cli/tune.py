"""``sb3-isaac tune``: a study of the algorithm's and the task's settings, with rl-zoo's flags."""

from __future__ import annotations

import argparse
import importlib.util

from sb3_isaac.cli.main import (
    add_gym_packages,
    check_env_id,
    gym_packages_flag,
    import_gym_packages,
    positive,
    seed,
    whole,
)
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.signals import Interrupted, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """rl-zoo's names and meanings, and a few of our own."""
    add = parser.add_argument
    add_gym_packages(parser)
    add("--env", default="IsaacQuadrupedFlat-v0", help="environment id (default: %(default)s)")
    add("--algo", default="ppo", help="algorithm (default: %(default)s)")
    add("--num-envs", type=positive, help="number of environments")
    add("-n", "--n-timesteps", type=positive, help="transitions of a trial at most (default: the YAML's)")
    add("-conf", "--conf-file", help="YAML that trials start from, and the first trial")
    add("-params", "--hyperparams", nargs="+", default=[], metavar="KEY:VALUE", help="override YAML keys")
    add("--env-kwargs", nargs="+", default=[], metavar="KEY:VALUE", help="task options")
    add("--device", help="torch device of the learner (default: auto)")
    add("--space", help="YAML file of the search space (default: the one shipped for the algorithm)")
    add("--objective", choices=("steps", "reward"),
        help="steps to the stop rule, or evaluated reward at -n (default: steps, where the environment has the rule)")
    add("--n-trials", type=positive, default=100, help="trials of this call (default: %(default)s)")
    add("--max-total-trials", type=positive, help="trials of the whole study, whoever runs them; beats --n-trials")
    add("--n-jobs", type=positive, default=1, help="worker processes (default: %(default)s)")
    add("--sampler", default="tpe", choices=("tpe", "gp", "cmaes", "random"), help="(default: %(default)s)")
    add("--pruner", default="median", choices=("hyperband", "median", "none"), help="(default: %(default)s)")
    add("--n-startup-trials", type=whole, default=10, help="random trials before the sampler's (default: %(default)s)")
    add("--n-evaluations", type=positive, default=5, help="reports of a trial (default: %(default)s)")
    add("--eval-episodes", type=positive, default=32, help="environments of an evaluation (default: %(default)s)")
    add("--max-falls", type=float, default=0.1,
        help="a trial with a larger falls_fraction in its evaluation is infeasible (default: %(default)s)")
    add("--storage", help="journal file *.log, or a database URL (default: study.log in the study's folder)")
    add("--study-name", help="(default: ALGO-ENV)")
    add("--seed", type=seed, default=0, help="of all trials, and of the sampler (default: %(default)s)")
    add("--trial-id", type=whole, metavar="K", help="write trial_K.yml of the study, run nothing")
    add("-f", "--log-folder", default="logs", help="the study lives in FOLDER/tuning/NAME (default: %(default)s)")
    add("--heartbeat", type=positive, default=60, metavar="SECONDS",
        help="a worker that sends none for twice as long is taken for dead (default: %(default)s)")
    add("--final-top", type=whole, default=1, metavar="K",
        help="train the best K anew beside the shipped YAML; 0 for no final stage (default: %(default)s)")
    add("--final-seeds", type=positive, default=5, help="paired seeds of the final stage (default: %(default)s)")
    add("--final-timesteps", type=positive, help="transitions of its runs at most (default: -n)")


def run(args: argparse.Namespace) -> int:
    """Tune; or write the YAML of one trial."""
    for package in ("optuna", "scipy"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"tuning needs {package}, which is not installed: pip install 'sb3_isaac[tune]'.")
    import_gym_packages(args)
    check_env_id(args.env)
    from sb3_isaac.config import parse_key_values
    from sb3_isaac.tuning import Plan, open_study, tune, write_trial
    from sb3_isaac.tuning.storage import shown

    plan = Plan(
        env=args.env, algo=args.algo, conf=args.conf_file, hyperparams=parse_key_values(args.hyperparams, "-params"),
        env_kwargs=parse_key_values(args.env_kwargs, "--env-kwargs"), num_envs=args.num_envs, device=args.device,
        space=args.space, n_timesteps=args.n_timesteps, objective=args.objective, n_evaluations=args.n_evaluations,
        eval_episodes=args.eval_episodes, max_falls=args.max_falls, n_trials=args.n_trials,
        max_total_trials=args.max_total_trials, n_jobs=args.n_jobs, sampler=args.sampler, pruner=args.pruner,
        n_startup_trials=args.n_startup_trials, storage=args.storage, study_name=args.study_name, seed=args.seed,
        log_folder=args.log_folder, heartbeat_s=args.heartbeat, final_top=args.final_top,
        final_seeds=args.final_seeds, final_timesteps=args.final_timesteps,
        gym_packages=tuple(args.gym_packages))
    if args.trial_id is not None:
        path = write_trial(plan, plan.search_space(), open_study(plan), args.trial_id)
        print(f"{path}: sb3-isaac train --env {plan.env} --algo {plan.algo} -conf {path}{gym_packages_flag(args)}")
        return 0
    try:
        folder = tune(plan)
    except Interrupted as signal:
        tell(f"sb3-isaac: ended by {signal}; finished trials are kept in {shown(plan.storage_name)}, others wait "
             "there, and the same line goes on.")
        return signal.exit_code
    best = (f"   sb3-isaac train --env {plan.env} --algo {plan.algo} -conf {folder / 'best.yml'}"
            f"{gym_packages_flag(args)}")
    print(f"done: {folder / 'report.html'}{best if (folder / 'best.yml').exists() else ''}")
    return 0
