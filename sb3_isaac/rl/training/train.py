"""The training run: build or resume, learn, leave a run folder behind."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv

from sb3_isaac.clients import env_options, is_client
from sb3_isaac.config import TrainConfig
from sb3_isaac.config.files import SHIPPED
from sb3_isaac.contract.errors import NotFinite, UserError
from sb3_isaac.contract.files import write_error, write_text
from sb3_isaac.contract.output import say
from sb3_isaac.contract.signals import Interrupts, tell
from sb3_isaac.contract.tensor_env import StopRule, plot_facts
from sb3_isaac.envs.vec_env import IsaacVecEnv, unwrap
from sb3_isaac.gymcompat.install import is_emulated
from sb3_isaac.rl import distributed
from sb3_isaac.rl.callbacks.doctor import Doctor
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.rl.callbacks.iteration import OffPolicyLog, iteration_of, transitions_of_iteration
from sb3_isaac.rl.callbacks.learning_rate import AdaptiveLearningRate
from sb3_isaac.rl.callbacks.progress import Progress
from sb3_isaac.rl.callbacks.tensorboard import TensorBoardScreen
from sb3_isaac.rl.callbacks.training_log import TrainingLog
from sb3_isaac.rl.policy.evaluate import eval_options
from sb3_isaac.rl.policy.finite import why_not_finite
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.checkpoint import (
    RunCheckpoints,
    SaveOnSignal,
    SaveOnStop,
    copy_checkpoint,
    write_done,
    write_start,
)
from sb3_isaac.rl.training.load import model_to_tune
from sb3_isaac.rl.training.memory import check_memory
from sb3_isaac.rl.training.metrics import MetricsCsv
from sb3_isaac.rl.training.off_policy import refill_replay_buffer
from sb3_isaac.rl.training.post_mortem import reason, write_post_mortem
from sb3_isaac.rl.training.ranks import check_ranks, own_share
from sb3_isaac.rl.training.run_folder import check_newest, task_state_file
from sb3_isaac.rl.training.run_lock import lock_run
from sb3_isaac.rl.training.saved_model import load_model, load_normalizer
from sb3_isaac.rl.training.task_state import load_task_state, restore_task_state
from sb3_isaac.rl.training.threads import choose_torch_threads


@dataclass(frozen=True)
class Settings:
    """How a run is watched and saved; frequencies are in iterations (one rollout and one update).

    ``log_interval`` is of progress lines; metrics.csv and TensorBoard have every iteration.
    """

    save_every: int = 100
    latest_every: int = 10
    eval_every: Optional[int] = None
    """None: when an evaluation can end training, see :class:`~sb3_isaac.rl.callbacks.evaluation.Evaluation`."""
    eval_episodes: Optional[int] = None
    """None: as many as the task's stop rule asks for, 48 where there is none."""
    early_stop: bool = True
    progress_bar: bool = False
    log_interval: int = 1
    tensorboard_log: Optional[str] = None
    """Where TensorBoard's files go; None is ``tb/`` in the run folder."""


def train(config: TrainConfig, run: Path, settings: Settings, resume_from: Optional[Path] = None,
          start_from: Optional[Path] = None, watchers: Sequence[BaseCallback] = ()) -> Any:
    """Train to ``config.n_timesteps``, in `run`, from scratch or from a checkpoint folder; returns the SB3 model.

    `resume_from` goes on where that checkpoint stood. `start_from` begins a run of its own with the networks, optimizer
    and normaliser of that checkpoint, in the environment and with the settings of `config`.

    `watchers` are callbacks that only look; they come after those that log and evaluate. The time of one with a
    ``spent_s`` counts as that of evaluations.

    At the end the last state is saved, then evaluated, then ``metrics.csv`` is completed and ``DONE`` written.

    :raises UserError: when the configuration does not fit the environment or the checkpoint, when another process
        trains in `run`, or when its files cannot be written.
    :raises Interrupted: after SIGINT, SIGTERM or SIGHUP, once this iteration is finished and saved in ``latest/``.
    """
    build.check_supported(config)
    if config.algo in build.UNTUNED and Path(config.source).parent == SHIPPED:
        say(f"the settings of {config.algo} in {Path(config.source).name} are untuned: sensible values that nobody has "
            "searched for.")
    configured = configured_callbacks(config)
    about = {"settings": asdict(settings), **({"from": str(start_from.resolve())} if start_from else {})}
    distributed.from_first(lambda: check_ranks(config, resume_from))
    share = own_share(config)
    with _written(run, config, about, resume_from):
        if not uses_nvidias_isaacgym(config):
            check_memory(share)
        choose_torch_threads()
        env = build.make_env(share)
        try:
            model, done, log = _model(share, env, resume_from, start_from)
            outputs: List[KVWriter] = []
            if distributed.rank() == 0:
                (run / "DONE").unlink(missing_ok=True)
                outputs = [MetricsCsv(run / "metrics.csv", from_step=done),
                           TensorBoardOutputFormat(settings.tensorboard_log or str(run / "tb"))]
            model.set_logger(Logger(str(run), outputs))
            for key, value in log.items():
                model.logger.record(key, value)
            if done and build.is_off_policy(config.algo):
                say(f"a checkpoint holds no replay buffer: {model.learning_starts} transitions are collected before "
                    "updates go on.")
                refill_replay_buffer(model)
            _learn(model, config, run, settings, configured, about, resume_from is not None, watchers)
        finally:
            env.close()
    return model


@contextlib.contextmanager
def _written(run: Path, config: TrainConfig, about: Mapping[str, Any], resume_from: Optional[Path]) -> Iterator[None]:
    """The block writes into the run folder, on rank 0; the others wait until it can."""
    with contextlib.ExitStack() as stack:
        if distributed.rank() == 0:
            stack.enter_context(lock_run(run))
            stack.enter_context(_write_errors(run))
            stack.enter_context(_started(run, config, about, resume_from))
        yield


@contextlib.contextmanager
def _write_errors(run: Path) -> Iterator[None]:
    """What goes wrong with files of the run in one sentence; TensorBoard's come from a thread of its own, too."""
    before = threading.excepthook
    threading.excepthook = lambda args: None if issubclass(args.exc_type, OSError) else before(args)
    try:
        yield
    except OSError as error:
        raise write_error(error.filename or run, error) from error
    finally:
        threading.excepthook = before


@contextlib.contextmanager
def _started(run: Path, config: TrainConfig, about: Mapping[str, Any], resume_from: Optional[Path]) -> Iterator[None]:
    """From here on ``train -i RUN`` goes on, however the process ends; a mistake found before that leaves nothing."""
    if resume_from is not None and run.resolve() in (resume_from.resolve(), *resume_from.resolve().parents):
        check_newest(run, resume_from)
        yield
        return
    again = (run / "config.yml").exists()
    write_start(run, config, about)
    if resume_from is not None:
        copy_checkpoint(resume_from, run, config)
    try:
        yield
    except Exception:
        if not again and resume_from is None and not (run / "metrics.csv").exists():
            for name in ("config.yml", "meta.json"):
                (run / name).unlink(missing_ok=True)
        raise


def _model(config: TrainConfig, env: IsaacVecEnv, resume_from: Optional[Path],
           start_from: Optional[Path]) -> Tuple[Any, int, Dict[str, Any]]:
    """A new model, or that of a checkpoint; the transitions behind it; what waits for the next row of its log."""
    model: Any
    state: Dict[str, Any] = {}
    if resume_from is not None:
        model, state = _resumed(config, env, resume_from)
    elif start_from is not None:
        model = model_to_tune(config, env, start_from)
    else:
        model = build.make_model(config, build.wrap_env(config, env))
    done = int(state.get("num_timesteps", 0))
    if done >= config.n_timesteps:
        raise UserError(f"{resume_from} has {done} steps of the {config.n_timesteps} asked for: give a larger -n.")
    return model, done, state.get("log", {})


def _learn(model: Any, config: TrainConfig, run: Path, settings: Settings, configured: List[BaseCallback],
           about: Mapping[str, Any], resumed: bool, watchers: Sequence[BaseCallback]) -> None:
    """Train, and complete the run folder."""
    evaluation = _evaluation(config, settings, unwrap(model.get_env()).env.stop_rule)
    about = {**about, **plot_facts(unwrap(model.get_env()).env)}
    done = model.num_timesteps if resumed else 0
    if not resumed and distributed.rank() == 0:
        write_start(run, config, about)  # with what only the environment knows
    checkpoints = RunCheckpoints(run, config, settings.save_every, settings.latest_every, done=False, about=about)
    interrupts = Interrupts(_tell_of_signal)
    log = TrainingLog(timed_callbacks=(evaluation, checkpoints, *(w for w in watchers if hasattr(w, "spent_s"))))
    progress = Progress(_last_step(config), log, evaluation, every=settings.log_interval,
                        bar=settings.progress_bar and distributed.rank() == 0)
    # The configured ones read the last update and may change the learning rate, which a checkpoint holds. Saving comes
    # before evaluating: what goes wrong in an evaluation costs no checkpoint.
    callbacks = [log, Doctor(), OffPolicyLog(), *configured, checkpoints, evaluation,
                 SaveOnStop(checkpoints, lambda: evaluation.stopped), SaveOnSignal(checkpoints, interrupts),
                 TensorBoardScreen(asdict(config)), *(watchers if distributed.rank() == 0 else ()), progress]
    off_policy = build.is_off_policy(config.algo)
    try:
        # On-policy algorithms complete their last iteration and log it by themselves.
        with interrupts.held():
            model.learn((_last_step(config) if off_policy else config.n_timesteps) - done,
                        callback=CallbackList(callbacks), log_interval=None if off_policy else 1,
                        reset_num_timesteps=not resumed)
    except (ValueError, ArithmeticError) as error:
        diverged = reason(model, error)
        if diverged is None:
            raise
        raise write_post_mortem(model, run, config, diverged) from error
    finally:
        progress.close()
        if checkpoints.final_steps is not None and distributed.rank() == 0:
            # SB3 writes its log before an update: what the last update and evaluation recorded is written here.
            model.logger.dump(step=iteration_of(model) * transitions_of_iteration(model))
            write_text(run / "timing.txt", log.timing_table() + "\n")
            write_done(run, checkpoints.final_steps)
        model.logger.close()
    say(log.timing_table())
    if evaluation.stopped and evaluation.report is not None:
        rule = unwrap(model.get_env()).env.stop_rule
        say(f"{rule.goal if rule else 'stopped'}: stopped at {evaluation.report['steps']:,} steps "
            "(--no-early-stop goes on).")


def _tell_of_signal(number: int) -> None:
    if distributed.rank() == 0:
        tell(f"sb3-isaac: {signal.Signals(number).name}: this iteration is finished and saved, then training ends; "
             "a second signal ends it at once.")


def _last_step(config: TrainConfig) -> int:
    """Transitions at which training ends: whole iterations."""
    per_iteration = build.iteration_size(config)
    return math.ceil(config.n_timesteps / per_iteration) * per_iteration


def _evaluation(config: TrainConfig, settings: Settings, rule: Optional[StopRule]) -> Evaluation:
    """The evaluation callback; it never evaluates where the process has no room for a second simulation."""
    every = settings.eval_every
    if is_client(config.env):
        every = 0  # it has no stop rule, and its simulation may not be made twice
    elif uses_nvidias_isaacgym(config):
        every = 0
        say("no evaluation while training: NVIDIA's Isaac Gym allows one simulation in a process, so evaluate the "
            "run afterwards with sb3-isaac eval.")
    options = eval_options(config.env, dict(config.env_kwargs), None)
    episodes = settings.eval_episodes or (rule or StopRule({})).episodes
    return Evaluation(lambda: IsaacVecEnv(config.env, num_envs=episodes, **options),
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


def _resumed(config: TrainConfig, env: IsaacVecEnv, folder: Path) -> Tuple[Any, Dict[str, Any]]:
    """The model of a checkpoint, its normaliser and environment where they stood; and its task state."""
    wrapped: VecEnv = env
    name = "vecnormalize.pkl"
    try:
        if config.normalize is not None:
            wrapped = load_normalizer(config, folder / name, env)
        name = "model.zip"
        model = load_model(config, folder / name, wrapped)
        name = task_state_file(distributed.rank())
        state = load_task_state(folder / name)
        restore_task_state(model, state)
        diverged = why_not_finite(model)
        if diverged is not None:
            raise diverged
    except Exception as error:  # what is read of a damaged or foreign file may raise anything
        why = " ".join(str(error).split()).rstrip(".")[:250] or type(error).__name__
        where = "" if isinstance(error, NotFinite) else f"{name}: "
        raise UserError(f"the checkpoint {folder} cannot be continued ({where}{why}): "
                        "choose another one below checkpoints/.") from error
    return model, state
