"""Whether a model is still made of finite numbers."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import torch
from torch import nn

from sb3_isaac.contract.errors import NotFinite
from sb3_isaac.policy.module import is_finite


def learning_rate_of(model: Any) -> float:
    """The rate of an SB3 model's last update."""
    optimizer = getattr(model.policy, "optimizer", None)  # off-policy algorithms have one for each network
    return float(model.lr_schedule(model._current_progress_remaining) if optimizer is None
                 else optimizer.param_groups[0]["lr"])


def has_deviation(policy: nn.Module) -> bool:
    """Whether the standard deviation of a policy's Gaussian actions, if it has one, is finite and above 0."""
    log_std = getattr(policy, "log_std", None)
    if not isinstance(log_std, torch.Tensor):
        return True
    deviation = log_std.detach().exp()
    return bool((torch.isfinite(deviation) & (deviation > 0)).all())


def why_not_finite(model: Any) -> Optional[NotFinite]:
    """What of an SB3 model is NaN or infinite, its networks or its normaliser; None where nothing is."""
    what = ("the networks' parameters are not finite" if not is_finite(model.policy) else
            "the deviation of the actions is 0 or not finite" if not has_deviation(model.policy) else None)
    if what is not None:
        return NotFinite(f"{what} after {model.num_timesteps} steps: training has "
                         f"diverged, so try a smaller learning_rate (it was {learning_rate_of(model):g}).")
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None and not all(map(_has_finite_moments, _statistics(normalizer))):
        return NotFinite(f"the normaliser's statistics are not finite after {model.num_timesteps} steps: an "
                         "observation or reward was not, so correct the environment.")
    return None


def _statistics(normalizer: Any) -> list:
    observed = getattr(normalizer, "obs_rms", None)
    of_groups = list(observed.values()) if isinstance(observed, dict) else [observed]
    return [rms for rms in (*of_groups, normalizer.ret_rms) if rms is not None]


def _has_finite_moments(rms: Any) -> bool:
    return bool(np.isfinite(rms.mean).all() and np.isfinite(rms.var).all())
