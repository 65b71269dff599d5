"""The training run: build or resume, learn, leave a run folder behind."""

from __future__ import annotations

import math
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, List, Optional, Tuple

import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv

from sb3_isaac.clients import is_client
from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import write_text
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.rl.callbacks.iteration import iteration_of
from sb3_isaac.rl.callbacks.learning_rate import AdaptiveLearningRate
from sb3_isaac.rl.callbacks.progress import Progress
from sb3_isaac.rl.callbacks.training_log import TrainingLog
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.checkpoint import RunCheckpoints, restore_task_state
from sb3_isaac.rl.training.evaluate import eval_options
from sb3_isaac.rl.training.metrics import MetricsCsv


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

    :raises UserError: when the configuration does not fit the environment or the checkpoint.
    """
    build.check_supported(config)
    env = build.make_env(config)
    model: Any
    model, done = (_resumed(config, env, resume_from) if resume_from is not None
                   else (build.make_model(config, build.wrap_env(config, env)), 0))
    if done >= config.n_timesteps:
        env.close()
        raise UserError(f"{resume_from} has {done} steps of the {config.n_timesteps} asked for: give a larger -n.")
    (run / "DONE").unlink(missing_ok=True)
    metrics = MetricsCsv(run / "metrics.csv", from_step=done)
    tensorboard = TensorBoardOutputFormat(settings.tensorboard_log or str(run / "tb"))
    model.set_logger(Logger(str(run), [metrics, tensorboard]))
    callbacks, log, evaluation = _callbacks(config, run, settings)
    model.learn(config.n_timesteps - done, callback=CallbackList(callbacks), log_interval=1,
                reset_num_timesteps=resume_from is None)
    _log_the_end(model)
    write_text(run / "timing.txt", log.timing_table() + "\n")
    print(log.timing_table())
    if evaluation.stopped and evaluation.report is not None:
        print(f"it walks: stopped at {evaluation.report['steps']} steps (--no-early-stop goes on).")
    env.close()
    return model


def _log_the_end(model: Any) -> None:
    """SB3 writes its log before an update: what the last update and evaluation recorded is written here."""
    model.logger.dump(step=iteration_of(model) * model.n_steps * model.n_envs)
    model.logger.close()


def _callbacks(config: TrainConfig, run: Path,
               settings: Settings) -> Tuple[List[BaseCallback], TrainingLog, Evaluation]:
    """In order: the learning rate reads the last update, the log is filled, the state evaluated, shown and saved."""
    options = eval_options(config.env, dict(config.env_kwargs), None)
    # A client has no stop rule, and Isaac Gym no room for a second simulation in a process.
    evaluation = Evaluation(lambda: IsaacVecEnv(config.env, num_envs=settings.eval_episodes, **options),
                            every=0 if is_client(config.env) else settings.eval_every, stop=settings.early_stop)
    checkpoints = RunCheckpoints(run, config, settings.save_every, settings.latest_every,
                                 about={"settings": asdict(settings)}, stops=lambda: evaluation.stopped)
    log = TrainingLog(asides=(evaluation, checkpoints))
    per_rollout = config.n_envs * int(build.setting(config, "n_steps"))
    total = math.ceil(config.n_timesteps / per_rollout) * per_rollout
    progress = Progress(total, log, evaluation, bar=settings.progress_bar, every=settings.log_interval)
    return [log, *configured_callbacks(config), evaluation, checkpoints, progress], log, evaluation


def configured_callbacks(config: TrainConfig) -> List[BaseCallback]:
    """The callbacks that the configuration asks for."""
    adaptive: List[BaseCallback] = [] if config.desired_kl is None else [AdaptiveLearningRate(config.desired_kl)]
    return adaptive + [build.yaml_callback(path, kwargs) for path, kwargs in config.callback]


def _resumed(config: TrainConfig, env: IsaacVecEnv, folder: Path) -> Tuple[Any, int]:
    """The model of a checkpoint, its normaliser and environment where they stood."""
    try:
        wrapped: VecEnv = env
        if config.normalize is not None:
            wrapped = build.normalizer(config.algo).load(str(folder / "vecnormalize.pkl"), env)
        model = build.algorithm(config.algo).load(folder / "model.zip", env=wrapped, device=config.device)
        state = torch.load(folder / "task_state.pt", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(f"the checkpoint {folder} cannot be continued ({error}): "
                        "choose another one below checkpoints/.") from error
    restore_task_state(model, state)
    return model, int(state["num_timesteps"])
