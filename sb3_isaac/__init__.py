"""Thousands of simulated legged robots as one Stable-Baselines3 ``VecEnv``.

Importing the package registers its environment ids with Gymnasium and does no more: torch, Stable-Baselines3 and the
simulator are imported when a name below is first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, List

from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.registration import register_all, register_task

if TYPE_CHECKING:
    from sb3_isaac.contract.tensor_env import Display, Step, StopRule, TensorEnv
    from sb3_isaac.envs.vec_env import IsaacVecEnv
    from sb3_isaac.envs.vec_normalize import VecNormalize
    from sb3_isaac.policy.formats import load_policy
    from sb3_isaac.rl.algo.ppo import PPO
    from sb3_isaac.rl.callbacks.doctor import Doctor
    from sb3_isaac.rl.callbacks.evaluation import Evaluation
    from sb3_isaac.rl.callbacks.exploration import FadingExploration
    from sb3_isaac.rl.callbacks.learning_rate import AdaptiveLearningRate
    from sb3_isaac.rl.callbacks.training_log import TrainingLog
    from sb3_isaac.rl.training.checkpoint import RunCheckpoints
    from sb3_isaac.rl.training.hub import load_from_hub, push_to_hub
    from sb3_isaac.rl.training.load import load_run
    from sb3_isaac.robots import Robot

__version__ = "0.1.0"
__all__ = ["AdaptiveLearningRate", "Display", "Doctor", "Evaluation", "FadingExploration", "IsaacVecEnv", "PPO",
           "Robot", "RunCheckpoints", "Step", "StopRule", "TensorEnv",
           "TrainingLog", "UserError", "VecNormalize", "load_from_hub", "load_policy", "load_run", "push_to_hub",
           "register_task"]

_LAZY = {
    "AdaptiveLearningRate": "sb3_isaac.rl.callbacks.learning_rate",
    "Doctor": "sb3_isaac.rl.callbacks.doctor",
    "Evaluation": "sb3_isaac.rl.callbacks.evaluation",
    "FadingExploration": "sb3_isaac.rl.callbacks.exploration",
    "IsaacVecEnv": "sb3_isaac.envs.vec_env",
    "PPO": "sb3_isaac.rl.algo.ppo",
    "Robot": "sb3_isaac.robots",
    "RunCheckpoints": "sb3_isaac.rl.training.checkpoint",
    "Step": "sb3_isaac.contract.tensor_env",
    "StopRule": "sb3_isaac.contract.tensor_env",
    "Display": "sb3_isaac.contract.tensor_env",
    "TensorEnv": "sb3_isaac.contract.tensor_env",
    "TrainingLog": "sb3_isaac.rl.callbacks.training_log",
    "VecNormalize": "sb3_isaac.envs.vec_normalize",
    "load_from_hub": "sb3_isaac.rl.training.hub",
    "load_policy": "sb3_isaac.policy.formats",
    "load_run": "sb3_isaac.rl.training.load",
    "push_to_hub": "sb3_isaac.rl.training.hub",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})


register_all()
if "rl_zoo3.exp_manager" in sys.modules:  # it was told --gym-packages sb3_isaac, and has brought torch in itself
    from sb3_isaac.rl_zoo import plug

    plug()
