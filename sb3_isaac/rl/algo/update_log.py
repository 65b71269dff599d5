"""What an update of PPO logs: SB3's keys."""

from __future__ import annotations

from typing import Any, Optional

import torch

from sb3_isaac.rl import distributed

LOGGED = ("policy_gradient_loss", "value_loss", "entropy_loss", "clip_fraction", "approx_kl", "loss")
"""What is logged of each minibatch, in the order of its row."""
KL = LOGGED.index("approx_kl")


def log_update(model: Any, losses: torch.Tensor, last_epoch: int, clip_range: float,
               clip_range_vf: Optional[float]) -> float:
    """Record SB3's keys; `losses` (minibatches, len(LOGGED)), the last epoch's from row `last_epoch` on.

    Returns ``train/approx_kl``.
    """
    means = losses.mean(dim=0)
    means[KL] = losses[last_epoch:, KL].mean()  # as in SB3, of the last epoch
    means[LOGGED.index("loss")] = losses[-1, LOGGED.index("loss")]
    returns, values = (model.rollout_buffer.tensors[name] for name in ("returns", "values"))
    residual, whole = distributed.mean(torch.stack([x.var(correction=0) for x in (returns - values, returns)]))
    unexplained = residual / whole
    std = model.policy.log_std.detach().exp().mean() if hasattr(model.policy, "log_std") else unexplained
    *logged, explained_variance, std = torch.cat((means, torch.stack((1.0 - unexplained, std)))).tolist()
    for key, value in zip(LOGGED, logged):
        model.logger.record(f"train/{key}", value)
    model.logger.record("train/explained_variance", explained_variance)
    if hasattr(model.policy, "log_std"):
        model.logger.record("train/std", std)
    model.logger.record("train/n_updates", model._n_updates, exclude="tensorboard")
    model.logger.record("train/clip_range", clip_range)
    if clip_range_vf is not None:
        model.logger.record("train/clip_range_vf", clip_range_vf)
    return float(logged[KL])
