"""PPO stops where its numbers are no longer finite: looked at once before and once after an update."""

from __future__ import annotations

from typing import Any

import torch

from sb3_isaac.contract.errors import NotFinite
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.policy.finite import learning_rate_of, why_not_finite


def check_rollout(model: Any) -> None:
    """Raise NotFinite where a rollout holds what would make an update's loss NaN."""
    env = model.get_env().unwrapped
    if isinstance(env, IsaacVecEnv):
        env.check_finite()
    rollout = model.rollout_buffer.tensors
    sums = torch.stack([rollout[name].sum() for name in ("values", "log_probs", "advantages")])
    names = [name for name, finite in zip(("values", "log-probabilities", "advantages"),
                                          torch.isfinite(sums).tolist()) if not finite]
    if names:
        raise NotFinite(f"the {' and '.join(names)} of the rollout that ended at {model.num_timesteps} steps are not "
                        "finite: look for a reward or observation that is not, or try a smaller learning_rate.")


def check_update(model: Any, losses: torch.Tensor) -> None:
    """Raise NotFinite where an update has met a loss (one for each minibatch) or left parameters that are not finite.

    A gradient that is not finite leaves such parameters.
    """
    finite = torch.isfinite(losses).tolist()
    if not all(finite):
        raise NotFinite(f"the loss was not finite in minibatch {finite.index(False) + 1} of the update at "
                        f"{model.num_timesteps} steps: training has diverged, so try a smaller learning_rate (it was "
                        f"{learning_rate_of(model):g}).")
    error = why_not_finite(model)
    if error is not None:
        raise error
