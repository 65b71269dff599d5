"""The training run: build or resume, learn, leave a run folder behind."""

from __future__ import annotations

import math
import pickle
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, List, Optional, Tuple

from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv

from sb3_isaac.clients import env_options, is_client
from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import write_text
from sb3_isaac.contract.tensor_env import plot_facts
from sb3_isaac.envs.vec_env import IsaacVecEnv, unwrap
from sb3_isaac.gymcompat.install import is_emulated
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.rl.callbacks.iteration import iteration_of
from sb3_isaac.rl.callbacks.learning_rate import AdaptiveLearningRate
from sb3_isaac.rl.callbacks.progress import Progress
from sb3_isaac.rl.callbacks.training_log import TrainingLog
from sb3_isaac.rl.policy.evaluate import eval_options
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.checkpoint import RunCheckpoints, SaveOnStop, write_done
from sb3_isaac.rl.training.metrics import MetricsCsv
from sb3_isaac.rl.training.run_folder import check_newest
from sb3_isaac.rl.training.run_lock import lock_run
from sb3_isaac.rl.training.task_state import load_task_state, restore_task_state


@dataclass(frozen=True)
class Settings:
    """How a run is watched and saved; frequencies are in iterations (one rollout and one update).

    ``log_interval`` is of progress lines; metrics.csv and TensorBoard have every iteration.
    """

    save_every: int = 100
    latest_every: int = 10
    eval_every: int = 10
    eval_episodes: int = 128
    early_stop: bool = True
    progress_bar: bool = False
    log_interval: int = 1
    tensorboard_log: Optional[str] = None
    """Where TensorBoard's files go; None is ``tb/`` in the run folder."""


def train(config: TrainConfig, run: Path, settings: Settings, resume_from: Optional[Path] = None) -> Any:
    """Train to ``config.n_timesteps``, in `run`, from scratch or from a checkpoint folder; returns the SB3 model.

    At the end the last state is saved, then evaluated, then ``metrics.csv`` is completed and ``DONE`` written.

    :raises UserError: when the configuration does not fit the environment or the checkpoint, or when another process
        trains in `run`.
    """
    build.check_supported(config)
    configured = configured_callbacks(config)
    with lock_run(run):
        if resume_from is not None:
            check_newest(run, resume_from)
        env = build.make_env(config)
        try:
            model, done = _model(config, env, resume_from)
            (run / "DONE").unlink(missing_ok=True)
            metrics = MetricsCsv(run / "metrics.csv", from_step=done)
            tensorboard = TensorBoardOutputFormat(settings.tensorboard_log or str(run / "tb"))
            model.set_logger(Logger(str(run), [metrics, tensorboard]))
            _learn(model, config, run, settings, configured, done, resume_from is not None)
        finally:
            env.close()
    return model


def _model(config: TrainConfig, env: IsaacVecEnv, resume_from: Optional[Path]) -> Tuple[Any, int]:
    """A new model, or that of a checkpoint; and the transitions that it has behind it."""
    model: Any
    model, done = (_resumed(config, env, resume_from) if resume_from is not None
                   else (build.make_model(config, build.wrap_env(config, env)), 0))
    if done >= config.n_timesteps:
        raise UserError(f"{resume_from} has {done} steps of the {config.n_timesteps} asked for: give a larger -n.")
    return model, done


def _learn(model: Any, config: TrainConfig, run: Path, settings: Settings, configured: List[BaseCallback], done: int,
           resumed: bool) -> None:
    """Train, and complete the run folder."""
    evaluation = _evaluation(config, settings)
    checkpoints = RunCheckpoints(run, config, settings.save_every, settings.latest_every,
                                 done=False,
                                 about={"settings": asdict(settings), **plot_facts(unwrap(model.get_env()).env)})
    log = TrainingLog(timed_callbacks=(evaluation, checkpoints))
    # The configured ones read the last update and may change the learning rate, which a checkpoint holds. Saving comes
    # before evaluating: what goes wrong in an evaluation costs no checkpoint.
    callbacks = [log, *configured, checkpoints, evaluation, SaveOnStop(checkpoints, lambda: evaluation.stopped),
                 Progress(_last_step(config), log, evaluation, bar=settings.progress_bar, every=settings.log_interval)]
    try:
        model.learn(config.n_timesteps - done, callback=CallbackList(callbacks), log_interval=1,
                    reset_num_timesteps=not resumed)
    finally:
        if checkpoints.final_steps is not None:
            # SB3 writes its log before an update: what the last update and evaluation recorded is written here.
            model.logger.dump(step=iteration_of(model) * model.n_steps * model.n_envs)
            write_text(run / "timing.txt", log.timing_table() + "\n")
            write_done(run, checkpoints.final_steps)
        model.logger.close()
    print(log.timing_table())
    if evaluation.stopped and evaluation.report is not None:
        rule = unwrap(model.get_env()).env.stop_rule
        print(f"{rule.goal if rule else 'stopped'}: stopped at {evaluation.report['steps']} steps "
              "(--no-early-stop goes on).")


def _last_step(config: TrainConfig) -> int:
    """Transitions at which SB3 stops: whole rollouts."""
    per_rollout = config.n_envs * int(build.setting(config, "n_steps"))
    return math.ceil(config.n_timesteps / per_rollout) * per_rollout


def _evaluation(config: TrainConfig, settings: Settings) -> Evaluation:
    """The evaluation callback; it never evaluates where the process has no room for a second simulation."""
    every = settings.eval_every
    if is_client(config.env):
        every = 0  # it has no stop rule, and its simulation may not be made twice
    elif uses_nvidias_isaacgym(config):
        every = 0
        print("no evaluation while training: NVIDIA's Isaac Gym allows one simulation in a process, so evaluate the "
              "run afterwards with sb3-isaac eval.", flush=True)
    options = eval_options(config.env, dict(config.env_kwargs), None)
    return Evaluation(lambda: IsaacVecEnv(config.env, num_envs=settings.eval_episodes, **options),
                      every=every, stop=settings.early_stop)


def uses_nvidias_isaacgym(config: TrainConfig) -> bool:
    """Whether the environment is simulated by NVIDIA's Isaac Gym, not by its emulation nor by MuJoCo."""
    asked = config.env_kwargs.get("sim", "auto")
    return ("isaacgym" in sys.modules and not is_emulated() and "sim" in env_options(config.env)
            and asked in ("auto", "isaacgym"))


def configured_callbacks(config: TrainConfig) -> List[BaseCallback]:
    """The callbacks that the configuration asks for; see :func:`~sb3_isaac.rl.training.build.yaml_callback`."""
    callbacks = [build.yaml_callback(path, kwargs) for path, kwargs in config.callback]
    adaptive = sum(isinstance(callback, AdaptiveLearningRate) for callback in callbacks)
    if adaptive + (config.desired_kl is not None) > 1:
        raise UserError(f"the learning rate in {config.source} is adapted by more than one of desired_kl and "
                        "AdaptiveLearningRate callbacks: keep one of them.")
    return callbacks if config.desired_kl is None else [AdaptiveLearningRate(config.desired_kl), *callbacks]


def _resumed(config: TrainConfig, env: IsaacVecEnv, folder: Path) -> Tuple[Any, int]:
    """The model of a checkpoint, its normaliser and environment where they stood."""
    try:
        wrapped: VecEnv = env
        if config.normalize is not None:
            wrapped = build.normalizer(config.algo).load(str(folder / "vecnormalize.pkl"), env)
        model = build.algorithm(config.algo).load(folder / "model.zip", env=wrapped, device=config.device)
        state = load_task_state(folder / "task_state.pt")
        restore_task_state(model, state)
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(f"the checkpoint {folder} cannot be continued ({error}): "
                        "choose another one below checkpoints/.") from error
    return model, int(state["num_timesteps"])
